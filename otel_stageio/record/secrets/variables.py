"""Which values of the environment are secrets to be hidden wherever they turn up, also as other programs write them.

All functions are pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from otel_stageio.record.secrets.names import OPEN, unquoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The shortest value that is looked for everywhere; with both letters and digits; of letters alone, which may be words;
#: of digits alone, which may be dates; and a line of a value of many lines.
_SHORTEST: Final = 8
_SHORTEST_MIXED: Final = 6
_SHORTEST_WORDS: Final = 12
_SHORTEST_NUMBER: Final = 12
_SHORTEST_LINE: Final = 32
_LOGIN: Final = r"://[^/?#@:\s]*:([^@/\s]+)@"
_FILE: Final = r"(?:~|\.{0,2}/).*|[A-Za-z]:\\.*"
_FOLDERS: Final = r"/(?:home|etc|usr|var|run|tmp|opt|mnt|media|data|root|srv|proc|dev|Users)/.*|[~.].*|.*\.\w{1,5}"
#: Where a shell is and was: no passwords, whatever the names say.
_PLACES: Final = frozenset({"PWD", "OLDPWD"})
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")


def literals(environ: Mapping[str, str], kind: Callable[[str], int]) -> Iterator[str]:
    """Yield the texts that are secrets because of the variable that they are the value of; `kind` judges its name.

    Too short values, words, numbers, paths and addresses are none: hiding them would hide much else. An address may
    have a password in it, and the headers of OpenTelemetry's exporters a key.
    """
    for name, value in environ.items():
        for secret in _secrets(name, value, kind):
            if is_distinct(secret):
                yield from _forms(secret)


def _secrets(name: str, value: str, kind: Callable[[str], int]) -> Iterator[str]:
    if name in _PLACES:
        return
    if kind(name) != OPEN:
        yield value.strip()
        for line in value.split("\n")[1:]:  # of a private key, say
            if len(line) >= _SHORTEST_LINE and " " not in line:
                yield line.strip()
    elif name.startswith("OTEL_EXPORTER_OTLP") and name.endswith("_HEADERS"):
        for pair in value.split(","):
            yield from unquoted(pair.partition("=")[2]).split()
    elif "://" in value and "@" in value:
        for found in re.finditer(_LOGIN, value):
            yield from {found[1], unquoted(found[1])}


def is_distinct(value: str) -> bool:
    """Tell whether a value is so much its own that it is nothing else where it turns up."""
    joined = value.replace("-", "").replace("_", "").replace(".", "").replace(" ", "")
    if joined.isdigit():
        return len(joined) >= _SHORTEST_NUMBER
    if joined.isalpha():
        return len(joined) >= _SHORTEST_WORDS
    if len(value) < _SHORTEST:
        return len(value) >= _SHORTEST_MIXED and joined.isalnum()
    if "://" in value and "@" not in value:
        return False
    return not (re.fullmatch(_FILE, value) and re.fullmatch(_FOLDERS, value))


def _forms(value: str) -> Iterator[str]:
    """Yield a value as it stands, and as JSON, the repr of a text and an address have it."""
    yield value
    if not value.isalnum():
        from json.encoder import encode_basestring_ascii

        yield encode_basestring_ascii(value)[1:-1]
        yield repr(value)[1:-1]
        yield "".join(one if one in _UNRESERVED else _percent(one) for one in value)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))
