"""shipped.json: how far each file of a folder was delivered, for each destination.

It is written whenever a batch is acknowledged, and holds nothing secret: a destination is its scheme, host and port. A
file is known again by its beginning, so that one which was replaced, or a cursor that came with a copy of another job,
starts anew: delivered twice is told apart by the backend or its reader, delivered never is lost.
"""

from __future__ import annotations

import json
import os
import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from otel_stageio.journal import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_stageio.settings import Signal

SHIPPED: Final = "shipped.json"
_FORMAT: Final = 1
#: More than it ever has, with the reasons of all that was refused.
_MOST_BYTES: Final = 64 << 20
#: By so many bytes a file is known again: it is appended to, so they stay.
_BEGINNING: Final = 1_000


class Refused(NamedTuple):
    """A record that a backend refused by itself: its `log.record.uid` or span id, and what the backend said."""

    record: str
    why: str


class Cursor(NamedTuple):
    """How far a file is delivered to a destination."""

    #: Bytes from the start of the file, at the end of a line.
    offset: int = 0
    #: How the file begins, as a number; None while nothing is delivered.
    beginning: int | None = None
    delivered: int = 0
    #: Records that the backend took the batch of and rejected all the same.
    rejected: int = 0
    refused: tuple[Refused, ...] = ()
    #: What it said of the last that it rejected.
    rejected_why: str = ""


class Delivered(NamedTuple):
    """What a destination has of a folder's files, and which signals it does not take: with what it said of them."""

    files: Mapping[str, Cursor] = MappingProxyType({})
    not_taken: Mapping[str, str] = MappingProxyType({})
    #: The signals that were meant to go there when they were recorded; without any nobody said, and all were.
    meant: frozenset[str] = frozenset()


class NewerFormatError(OSError):
    """A newer version wrote shipped.json: what it says of deliveries is not ours to change."""


def destination(signal: Signal) -> str:
    """Scheme, host and port of where a signal goes, without credentials, path and query; "" where it goes nowhere."""
    if not signal.endpoint:
        return ""
    scheme = "grpc" if signal.protocol == "grpc" else urlsplit(signal.endpoint).scheme
    if not signal.host:  # a socket of gRPC's
        return signal.endpoint.partition("?")[0]
    host = f"[{signal.host}]" if ":" in signal.host else signal.host
    return f"{scheme}://{host}:{signal.port}"


def load(folder: str, say: Callable[[str], None] = lambda _: None) -> dict[str, Delivered]:
    """What was delivered of a folder, by destination.

    What cannot be understood says nothing, and its files are delivered from their start: `say` hears it. Raises OSError
    where shipped.json is there and cannot be read, and NewerFormatError where a newer version wrote it.
    """
    path = os.path.join(folder, SHIPPED)
    try:
        document = json.loads(files.small(path, _MOST_BYTES))
        written = document["format"]
        if type(written) is int and written > _FORMAT:
            raise NewerFormatError(
                f"{SHIPPED} is of format {written}, and this otel-stageio knows {_FORMAT}: upgrade otel-stageio"
            )
        return {str(to): _delivered(of) for to, of in document["destinations"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        say(f"{SHIPPED} cannot be understood")
        return {}


def save(folder: str, known: Mapping[str, Delivered]) -> None:
    """Write what was delivered of a folder, as a whole or not at all. Raises OSError."""
    document = {
        "format": _FORMAT,
        "destinations": {
            to: {
                "files": {name: _document(cursor) for name, cursor in of.files.items()},
                "not_taken": dict(of.not_taken),
                **({"meant": sorted(of.meant)} if of.meant else {}),
            }
            for to, of in known.items()
        },
    }
    files.replace(os.path.join(folder, SHIPPED), f"{json.dumps(document, indent=2)}\n".encode())


def _document(of: Cursor) -> dict[str, Any]:
    return {**of._asdict(), "refused": [each._asdict() for each in of.refused]}


def _delivered(of: Mapping[str, Any]) -> Delivered:
    return Delivered(
        files={str(name): _cursor(each) for name, each in of["files"].items()},
        not_taken={str(signal): str(why) for signal, why in of.get("not_taken", {}).items()},
        meant=frozenset(map(str, of.get("meant", ()))),
    )


def _cursor(of: Mapping[str, Any]) -> Cursor:
    return Cursor(
        offset=_count(of["offset"]),
        beginning=of["beginning"],
        delivered=_count(of["delivered"]),
        rejected=_count(of["rejected"]),
        rejected_why=str(of.get("rejected_why", "")),
        refused=tuple(Refused(str(each["record"]), str(each["why"])) for each in of["refused"]),
    )


def _count(of: object) -> int:
    if type(of) is not int or of < 0:
        raise ValueError(f"{of!r} is no count")
    return of


def standing(path: str, known: Cursor, say: Callable[[str], None] = lambda _: None) -> Cursor:
    """The cursor as it holds for the file that is there now: one of another file starts anew, and `say` hears it.

    Raises OSError.
    """
    try:
        with open(path, "rb", opener=files.regular) as file:
            start = file.read(_BEGINNING)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return Cursor()
    # Of a file that was shorter when it was first looked at, only what it had then is compared.
    if known.beginning is None:
        return Cursor()
    name = os.path.basename(path)
    if known.offset > size:
        say(f"{name} has {size:,} bytes, and {known.offset:,} of it were delivered")
        return Cursor()
    if known.beginning != _print(start, known.offset):
        say(f"{name} is another file than the one that was delivered")
        return Cursor()
    return known


def beginning(path: str, offset: int) -> int:
    """How the file begins, to be kept beside the cursor. Raises OSError."""
    with open(path, "rb", opener=files.regular) as file:
        return _print(file.read(_BEGINNING), offset)


def _print(start: bytes, offset: int) -> int:
    return zlib.crc32(start[:offset])
