"""The console sink: finished lines to sys.stderr (or sys.stdout) as it is at that moment, without tearing a bar.

Looking at the stream anew for each line is what makes capsys, redirect_stderr, notebooks and rich's live displays work.
Nothing here raises: a console that is closed, gone or cannot encode costs the line, or its odd characters, and the next
line is tried again.
"""

from __future__ import annotations

import copy
import logging
import sys
from typing import TYPE_CHECKING, Any

from otel_stageio.errors import SettingError, guard

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODES = ("auto", "stderr", "stdout", "off")
_PREFIX = "otel-stageio: "
#: From this level on, this colour; INFO keeps the terminal's own. (SGR codes of ECMA-48.)
_COLORS = ((logging.CRITICAL, "\x1b[1;31m"), (logging.ERROR, "\x1b[31m"), (logging.WARNING, "\x1b[33m"))
_DIM, _RESET = "\x1b[2m", "\x1b[0m"
#: What streams raise: closed, broken pipe, written to from within their own write, detached, no stream at all.
_TROUBLE = (OSError, ValueError, RuntimeError, LookupError, AttributeError, TypeError)
#: A FileHandler on one of these writes to the console; on anything else it is a file.
_DEVICES = frozenset({"/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/console"})


class Console:
    """Writes lines to the console. `level` may be set at any time; all methods may be called from any thread.

    mode    "auto" and "stderr" write to sys.stderr, "stdout" to sys.stdout, "off" nowhere; they differ in
            `shown_elsewhere`, which only in "auto" keeps back what a handler of the host shows.
    level   the lowest level that `write` lets pass
    color   True and False say so; None: where the stream is a terminal and `no_color` (NO_COLOR, TERM=dumb) is unset
    """

    def __init__(
        self,
        mode: str = "auto",
        level: int = logging.INFO,
        color: bool | None = None,
        *,
        no_color: bool = False,
    ) -> None:
        """Raise SettingError where there is no such mode."""
        if mode not in _MODES:
            raise SettingError(f"console mode {mode!r} is unknown: use {', '.join(_MODES)}")
        self.mode = mode
        self.level = level
        self._color = False if no_color and color is None else color
        # What was found out about the stream that was written to last; replaced as one.
        self._looked_at: tuple[object, bool] = (None, False)

    def write(self, line: str, levelno: int) -> None:
        """Write a finished line (which may have continuation lines) and a newline, in one call; never raises."""
        if levelno < self.level or self.mode == "off":
            return
        stream: Any = sys.stdout if self.mode == "stdout" else sys.stderr
        if stream is None:
            return
        known, terminal = self._looked_at
        if known is not stream:
            terminal = _is_terminal(stream)
            self._looked_at = (stream, terminal)
        if terminal if self._color is None else self._color:
            line = _colored(line, levelno)
        _put(stream, line + "\n", terminal=terminal)

    def shown_elsewhere(self, record: logging.LogRecord, logger: logging.Logger, own: logging.Handler) -> bool:
        """Tell whether, in mode "auto", a handler of the host puts `record` of `logger` on the console anyway.

        It is one that the record reaches from `logger` upward, other than `own`, whose level and filters let the
        record pass, and that is rich's RichHandler or a StreamHandler on sys.stdout, sys.stderr or a terminal. Filters
        are asked with a copy of the record; one that raises lets nothing pass.
        """
        if self.mode != "auto":
            return False
        current: logging.Logger | None = logger
        while current is not None:
            for handler in current.handlers:
                if (
                    handler is not own
                    and record.levelno >= handler.level
                    and _on_console(handler, record.levelno)
                    and _passes(handler, record)
                ):
                    return True
            current = current.parent if current.propagate else None
        return False

    @staticmethod
    def report(line: str) -> None:
        """Write one line about trouble of our own to sys.stderr, whatever the mode; never raises."""
        stream = sys.stderr
        if stream is not None:
            text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
            with guard(_forget):
                _put(stream, f"{_PREFIX}{text}\n", terminal=_is_terminal(stream))


def _forget(_: BaseException) -> None:
    """Let go of trouble with the stream that trouble is told to: there is nowhere left to tell it."""


def _colored(line: str, levelno: int) -> str:
    for level, color in _COLORS:
        if levelno >= level:
            return f"{color}{line}{_RESET}"
    return line if levelno >= logging.INFO else f"{_DIM}{line}{_RESET}"


def _put(stream: Any, text: str, *, terminal: bool) -> None:
    try:
        bars = _open_bars() if terminal else None
        if bars is None:
            stream.write(text)
        else:
            with bars.external_write_mode(file=stream):
                stream.write(text)
        stream.flush()
    except UnicodeEncodeError:
        if text != (possible := _encodable(text, stream)):
            _put(stream, possible, terminal=terminal)
    except _TROUBLE:
        return


def _encodable(text: str, stream: Any) -> str:
    """Return `text` with what the stream cannot encode as backslash escapes."""
    try:
        encoding = stream.encoding or "ascii"
        return str(text.encode(encoding, "backslashreplace").decode(encoding))
    except _TROUBLE:
        return text.encode("ascii", "backslashreplace").decode()


def _open_bars() -> Any:
    """Return tqdm's class while it has bars on a terminal, which it has to take away for the time of a line."""
    bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if bars is None or not getattr(bars, "_instances", None) or not hasattr(bars, "external_write_mode"):
        return None
    return bars if any(_is_terminal(getattr(bar, "fp", None)) for bar in list(bars._instances)) else None  # noqa: SLF001 - tqdm has no public way to ask


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except _TROUBLE:
        return False


def _is_descriptor(stream: Any) -> bool:
    try:
        return stream.fileno() in (1, 2)
    except _TROUBLE:
        return False


def _on_console(handler: logging.Handler, level: int) -> bool:
    stream: Any = None
    if any(behind is not handler and _on_console(behind, level) for behind in _behind(handler)):
        return True
    if _in_loguru(handler, level):
        return True
    if isinstance(handler, logging.FileHandler):
        return handler.baseFilename in _DEVICES
    if isinstance(handler, logging.StreamHandler):
        stream = getattr(handler, "stream", None)
    elif "rich" in sys.modules and any(base.__name__ == "RichHandler" for base in type(handler).__mro__):
        stream = getattr(getattr(handler, "console", None), "file", None)
    return _is_console(stream)


def _is_console(stream: Any) -> bool:
    if stream is None or getattr(stream, "closed", False) is True:
        return False
    if any(stream is one for one in _standard_streams()):
        return True
    return _is_terminal(stream) or _is_descriptor(stream)


def _behind(handler: logging.Handler) -> Iterator[logging.Handler]:
    """The handlers that this one hands its records on to: a MemoryHandler's, a QueueHandler's, loguru's."""
    target = getattr(handler, "target", None)
    if isinstance(target, logging.Handler):
        yield target
    # A QueueHandler knows its listener from Python 3.12 on, where logging.config made both.
    for behind in getattr(getattr(handler, "listener", None), "handlers", ()):
        if isinstance(behind, logging.Handler):
            yield behind


def _in_loguru(handler: logging.Handler, level: int) -> bool:
    """Whether this is the handler that loguru documents for handing records to it, and loguru shows `level`."""
    loguru = sys.modules.get("loguru")
    if loguru is None or type(handler).__name__ != "InterceptHandler":
        return False
    with guard(_forget):
        sinks = loguru.logger._core.handlers.values()  # noqa: SLF001 - loguru has no public way to ask
        return any(
            level >= sink._levelno and _is_console(getattr(sink._sink, "_stream", None))  # noqa: SLF001 - the same
            for sink in sinks
        )
    return False


def _standard_streams() -> Iterator[object]:
    yield sys.stderr
    yield sys.stdout
    yield sys.__stderr__
    yield sys.__stdout__
    # While a live display of rich runs, these are proxies before the streams that handlers know.
    yield getattr(sys.stderr, "rich_proxied_file", None)
    yield getattr(sys.stdout, "rich_proxied_file", None)


def _passes(handler: logging.Handler, record: logging.LogRecord) -> bool:
    if not handler.filters and type(handler).filter is logging.Filterer.filter:
        return True
    with guard(_forget):
        # A filter may write into the record; the handler's own turn comes later.
        return bool(handler.filter(copy.copy(record)))
    return False
