"""JSON as `json.dumps` writes it with an indent of two, long lists by the encoder in C, which knows no indent.

The C encoder takes any separators. Those used here hold line breaks, which no text in JSON does, so that a line break
in what it made stands between two items, or between a key and its value, and nowhere else. Of objects that hold nothing
nested only the brackets have to be moved then.
"""

from __future__ import annotations

import functools
import json
from json.encoder import encode_basestring as _text
from typing import TYPE_CHECKING, Any, Final

from otel_stageio.journal.encode import base64_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_INDENT: Final = "  "
#: Where an item of a list at the document's top level stands.
_ITEM: Final = f"\n{_INDENT * 2}"
#: Between a key and its value, until it is known whether the value is nested.
_COLON: Final = ":\n"
#: Entries that are encoded in one call, which keeps the interpreter's lock: a millisecond.
_CHUNK: Final = 256


class Ready(str):
    """The text of an item of a list at the document's top level: it goes into the document as it is."""

    __slots__ = ()


def ready(item: Mapping[str, Any]) -> Ready:
    """The text of an item, to be put in its place as often as it is wanted."""
    return Ready((_flat([item], _ITEM) if item else None) or _any(item, _ITEM))


def indented(document: Mapping[str, Any]) -> str:
    """The text of a document whose keys are text; bytes values are written as base64.

    Other threads may run meanwhile: no long list is encoded in one go.
    """
    if not document:
        return "{}"
    inner = f"\n{_INDENT}"
    items = (
        f"{_any(key, inner)}: {_list(of, inner) if of and isinstance(of, list) else _any(of, inner)}"
        for key, of in document.items()
    )
    return f"{{{inner}{f',{inner}'.join(items)}\n}}"


def _any(value: Any, outer: str) -> str:
    if type(value) is str:  # most are, and `dumps` makes an encoder for each
        return _text(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=base64_text).replace("\n", outer)


def _list(of: Sequence[Any], outer: str) -> str:
    return f"[{_ITEM}{f',{_ITEM}'.join(_items(of))}{outer}]"


def _items(of: Sequence[Any]) -> Iterator[str]:
    """The items of a list, many of them in one piece."""
    flat = True
    for start in range(0, len(of), _CHUNK):
        chunk = of[start : start + _CHUNK]
        kinds = set(map(type, chunk))
        if Ready in kinds:
            yield from chunk if len(kinds) == 1 else map(_ready_or_not, chunk)
        elif kinds == {str}:
            yield _encoder(_ITEM)(chunk)[1:-1]
        else:
            # Where one entry nests, so do its neighbours: not worth a try again.
            text = _flat(chunk, _ITEM) if flat and kinds == {dict} and all(chunk) else None
            flat = text is not None
            yield text or _any(chunk, f"\n{_INDENT}")[1:-1].strip("\n ")


def _ready_or_not(item: Any) -> str:
    return item if isinstance(item, Ready) else _any(item, _ITEM)


def _flat(of: Sequence[Mapping[str, Any]], outer: str) -> str | None:
    """The text of objects that are not empty, commas between them; None where one of them holds something nested."""
    inner = outer + _INDENT
    text = _encoder(inner)(of)
    if f"{_COLON}{{" in text or f"{_COLON}[" in text:
        return None
    text = text[2:-2].replace(f"}},{inner}{{", f"{outer}}},{outer}{{{inner}").replace(_COLON, ": ")
    return f"{{{inner}{text}{outer}}}"


@functools.cache
def _encoder(inner: str) -> Callable[[Any], str]:
    """The C encoder for items each of which stands behind the line break and indent `inner`."""
    return json.JSONEncoder(ensure_ascii=False, separators=(f",{inner}", _COLON), default=base64_text).encode
