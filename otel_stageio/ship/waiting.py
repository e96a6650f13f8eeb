"""What waits to be delivered: counted by lines, without decoding them, since each line of ours is one record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.journal import files
from otel_stageio.ship import cursor
from otel_stageio.ship.cursor import Cursor, Delivered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_stageio.ship.sources import Source

_CHUNK: Final = 1 << 20


class Standing(NamedTuple):
    """How a folder's records of one signal stand at a destination."""

    folder: str
    signal: str
    to: str
    delivered: int = 0
    rejected: int = 0
    refused: int = 0
    #: Records behind the cursor; none of a signal that the destination does not take.
    waiting: int = 0
    #: What the destination said where it does not take the signal, else "".
    not_taken: str = ""


def standings(source: Source, to: Mapping[str, str]) -> Iterable[Standing]:
    """How the folder stands, for each signal at its destination. Raises OSError where a file cannot be read."""
    known = cursor.load(source.folder)
    for signal, where in to.items():
        mine = known.get(where, Delivered())
        found = Standing(source.folder, signal, where, not_taken=mine.not_taken.get(signal, ""))
        for name, of in source.files():
            if of == signal:
                found = _plus(found, os.path.join(source.folder, name), mine.files.get(name, Cursor()))
        yield found._replace(waiting=0) if found.not_taken else found


def _plus(found: Standing, path: str, known: Cursor) -> Standing:
    now = cursor.standing(path, known)
    return found._replace(
        delivered=found.delivered + now.delivered,
        rejected=found.rejected + now.rejected,
        refused=found.refused + len(now.refused),
        waiting=found.waiting + lines(path, now.offset),
    )


def lines(path: str, start: int) -> int:
    """How many lines lie behind byte `start` of the file; none where it is missing. Raises OSError."""
    count = 0
    try:
        with open(path, "rb", buffering=0, opener=files.regular) as file:
            file.seek(start)
            while chunk := file.read(_CHUNK):
                count += chunk.count(b"\n")
    except FileNotFoundError:
        return 0
    return count
