r"""Lines of stage.log, the pipeline log and the console: ``[2025-11-27 13:30:01.123] [asr] [INFO] message``.

One record is one head line and its continuation. No message can forge a line: only a head line begins with ``[``, the
message's further lines with four blanks, and an exception's lines with ``  ! ``. Control characters other than the tab
are written as ``\x1b`` or ``\u2028``; a backslash before something that looks like such an escape is doubled, so that
`parse` gives back exactly what was said, and ``C:\temp`` stays readable.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MESSAGE_INDENT: Final = "    "
EXCEPTION_INDENT: Final = "  ! "
#: Nanoseconds.
_SECOND: Final = 1_000_000_000

# The patterns are text, which `re` compiles and keeps when they are first used: most stages meet none of this.
# C0 without tab and newline, DEL, C1, the separators that some viewers break lines at, what turns the direction of the
# text around it, lone surrogates.
_CONTROL: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_RISKY: Final = f"[{_CONTROL}\\\\]"
# A run of backslashes is looked at from its start only: else a long one would take its length squared.
_ESCAPED: Final = rf"(?<!\\)(\\*)(?:([{_CONTROL}])|(?=x[0-9a-f]{{2}}|u[0-9a-f]{{4}}))"
_TAG_ESCAPED: Final = rf"(?<!\\)(\\*)(?:([]\n{_CONTROL}])|(?=x[0-9a-f]{{2}}|u[0-9a-f]{{4}}))"
_UNESCAPED: Final = r"(?<!\\)(\\+)(x[0-9a-f]{2}|u[0-9a-f]{4})"
_HEAD: Final = r"(?s)\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3})\] \[([^]]*)\] \[([^]]*)\] ?(.*)"


class ParsedRecord(NamedTuple):
    """A record read back from a log file; `time` is the local time as it stands there."""

    time: str
    stage: str
    level: str
    message: str
    exception: str


class LineClock:
    """Local times for log lines. The text of a second is made once; a record costs its milliseconds."""

    __slots__ = ("_known", "_offset")

    def __init__(self, offset: int | None = None) -> None:
        """Know no second yet. With `offset`, seconds ahead of UTC, the times are those of another place."""
        self._offset = offset
        # One tuple, replaced whole: threads may make the same text twice, but never mix two seconds.
        self._known = (1 << 64, "")  # later than any time

    def text(self, nanoseconds: int) -> str:
        """A Unix time in nanoseconds as ``2025-11-27 13:30:01.123``."""
        began, text = self._known
        rest = nanoseconds - began
        if not 0 <= rest < _SECOND:
            rest = nanoseconds % _SECOND
            began = nanoseconds - rest
            second = began // _SECOND
            at = time.localtime(second) if self._offset is None else time.gmtime(second + self._offset)
            text = time.strftime("%Y-%m-%d %H:%M:%S", at)
            self._known = (began, text)
        return f"{text}.{rest // 1_000_000:03d}"


def escape(text: str) -> str:
    """Text with its control characters written out; newlines stay."""
    if text.isprintable() and "\\" not in text:
        return text
    if re.search(_RISKY, text) is None:
        return text
    return re.sub(_ESCAPED, _escape_one, text)


def _escape_one(found: re.Match[str]) -> str:
    slashes, control = found.groups()
    if control is None:
        return slashes * 2
    code = ord(control)
    return slashes * 2 + (f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}")  # noqa: PLR2004


def unescape(text: str) -> str:
    """What `escape` made the text from."""
    return re.sub(_UNESCAPED, _unescape_one, text)


def _unescape_one(found: re.Match[str]) -> str:
    slashes, code = found.groups()
    half = "\\" * (len(slashes) // 2)
    return half + (chr(int(code[1:], 16)) if len(slashes) % 2 else code)


def tag(name: str) -> str:
    """A stage or level name as it stands between brackets."""
    if name.isprintable() and "\\" not in name and "]" not in name:
        return name
    return re.sub(_TAG_ESCAPED, _escape_one, name)


def render(at: str, stage: str, level: str, message: str, exception: str = "") -> str:
    """One record as text without its last newline; `stage` and `level` as `tag` made them."""
    message = escape(message)
    if "\n" in message:
        message = message.replace("\n", "\n" + MESSAGE_INDENT)
    line = f"[{at}] [{stage}] [{level}] {message}"
    if exception:
        line += "\n" + EXCEPTION_INDENT + escape(exception).replace("\n", "\n" + EXCEPTION_INDENT)
    return line


def parse(lines: Iterable[str]) -> Iterator[ParsedRecord]:
    r"""Read records back from the lines of a log file; headers of attempts and blank lines are passed over.

    Lines are split at newlines only (``open(..., newline="\n")``).
    """
    head: tuple[str, str, str] | None = None
    message: list[str] = []
    exception: list[str] = []
    for line in (each.removesuffix("\n") for each in lines):
        if line.startswith("["):
            if head:
                yield _parsed(head, message, exception)
            found = re.fullmatch(_HEAD, line)
            head = (found[1], found[2], found[3]) if found else None
            message, exception = [found[4]] if found else [], []
        elif head and line.startswith(MESSAGE_INDENT):
            message.append(line.removeprefix(MESSAGE_INDENT))
        elif head and line.startswith(EXCEPTION_INDENT):
            exception.append(line.removeprefix(EXCEPTION_INDENT))
    if head:
        yield _parsed(head, message, exception)


def _parsed(head: tuple[str, str, str], message: list[str], exception: list[str]) -> ParsedRecord:
    at, stage, level = head
    return ParsedRecord(
        at, unescape(stage), unescape(level), unescape("\n".join(message)), unescape("\n".join(exception))
    )


def header(at: str, offset: str, *, stage: str, number: int, attempt: int, run: int, pid: int, host: str) -> str:
    """The line that opens an attempt in stage.log; `offset` is the local time's distance from UTC."""
    return f"# {at} {offset} stage {tag(stage)} ({number:02d}), attempt {attempt}, run {run}, pid {pid} on {tag(host)}"
