"""shipped.json: how far each file of a folder was delivered, for each destination.

It is written whenever a batch is acknowledged, and holds nothing secret: a destination is its scheme, host and port. A
file is known again by its beginning, so that one which was replaced, or a cursor that came with a copy of another job,
starts anew: delivered twice is told apart by the backend or its reader, delivered never is lost.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from otel_stageio.errors import SettingError
from otel_stageio.journal import files

if TYPE_CHECKING:
    from collections.abc import Mapping

SHIPPED: Final = "shipped.json"
_FORMAT: Final = 1
#: By so many bytes a file is known again: it is appended to, so they stay.
_BEGINNING: Final = 1_000
_PORTS: Final = {"http": 80, "https": 443}


class Refused(NamedTuple):
    """A record that a backend refused by itself: where its line ends in the file, and what the backend said."""

    end: int
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


def destination(endpoint: str) -> str:
    """Scheme, host and port of an endpoint, without credentials, path and query.

    Raises SettingError where it is no URL with a scheme and a host.
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.scheme or not parts.hostname:
        raise SettingError(
            f"the endpoint {endpoint.rpartition('@')[2]!r} is no URL; give one such as 'http://localhost:4318'"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def load(folder: str) -> dict[str, dict[str, Cursor]]:
    """The cursors of a folder: by destination, then by file name.

    What is missing or cannot be understood has none, and its files are delivered from their start. Raises OSError
    where shipped.json is there and cannot be read.
    """
    try:
        with open(os.path.join(folder, SHIPPED), "rb") as file:
            document = json.load(file)
        return {to: {name: _cursor(of) for name, of in known.items()} for to, known in document["destinations"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def save(folder: str, cursors: Mapping[str, Mapping[str, Cursor]]) -> None:
    """Write the cursors of a folder, as a whole or not at all. Raises OSError."""
    document = {
        "format": _FORMAT,
        "destinations": {
            to: {
                name: {**of._asdict(), "refused": [each._asdict() for each in of.refused]} for name, of in known.items()
            }
            for to, known in cursors.items()
        },
    }
    files.replace(os.path.join(folder, SHIPPED), json.dumps(document, indent=2).encode())


def _cursor(of: Mapping[str, Any]) -> Cursor:
    return Cursor(
        offset=_count(of["offset"]),
        beginning=of["beginning"],
        delivered=_count(of["delivered"]),
        rejected=_count(of["rejected"]),
        refused=tuple(Refused(_count(each["end"]), str(each["why"])) for each in of["refused"]),
    )


def _count(of: object) -> int:
    if type(of) is not int or of < 0:
        raise ValueError(f"{of!r} is no count")
    return of


def standing(path: str, known: Cursor) -> Cursor:
    """The cursor as it holds for the file that is there now: one of another file starts anew. Raises OSError."""
    try:
        with open(path, "rb") as file:
            start = file.read(_BEGINNING)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        return Cursor()
    # Of a file that was shorter when it was first looked at, only what it had then is compared.
    if known.beginning is None or known.offset > size or known.beginning != _print(start, known.offset):
        return Cursor()
    return known


def beginning(path: str, offset: int) -> int:
    """How the file begins, to be kept beside the cursor. Raises OSError."""
    with open(path, "rb") as file:
        return _print(file.read(_BEGINNING), offset)


def _print(start: bytes, offset: int) -> int:
    return zlib.crc32(start[:offset])
