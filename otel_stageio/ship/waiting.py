"""How a job stands at its destinations: what they have, and what waits.

Mostly counted by lines, without decoding them, since each line of ours is one record.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.job.layout import LOG_RECORDS
from otel_stageio.journal import files
from otel_stageio.ship import cursor
from otel_stageio.ship.batches import batches, sendable
from otel_stageio.ship.cursor import Cursor, Delivered
from otel_stageio.ship.sources import LOGS, SIGNALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_stageio.ship.sources import Source

_CHUNK: Final = 1 << 20
#: Bytes that are glanced at when a process ends, and what says how severe a record is: in texts its quotes are escaped.
_GLANCED: Final = 8 << 20
_SEVERITY: Final = rb'"severityNumber":(\d+)'


class Standing(NamedTuple):
    """How the records of one signal, a folder's or a whole job's, stand at a destination."""

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


def standings(
    source: Source, to: Mapping[str, str], least: int = 0, *, at_a_glance: bool = False
) -> Iterable[Standing]:
    """How the folder stands, for each signal at its destination. Raises OSError where a file cannot be read.

    Log records of a severity below `least` do not wait; to know them takes decoding, or a glance at some megabytes of
    lines that are ours.
    """
    known = cursor.load(source.folder)
    for signal, where in to.items():
        mine = known.get(where, Delivered())
        found = Standing(source.folder, signal, where, not_taken=mine.not_taken.get(signal, ""))
        for name, of in source.files():
            if of == signal:
                found = _plus(
                    found, os.path.join(source.folder, name), mine.files.get(name, Cursor()), least, at_a_glance
                )
        yield found._replace(waiting=0) if found.not_taken else found


def _plus(found: Standing, path: str, known: Cursor, least: int, at_a_glance: bool) -> Standing:
    count = _glance if at_a_glance else _behind
    now = cursor.standing(path, known)
    return found._replace(
        delivered=found.delivered + now.delivered,
        rejected=found.rejected + now.rejected,
        refused=found.refused + len(now.refused),
        waiting=found.waiting + count(path, now.offset, least if found.signal == LOGS else 0),
    )


def _behind(path: str, start: int, least: int) -> int:
    return sum(sendable(batch, least).records for batch in batches(path, start)) if least else lines(path, start)


def _glance(path: str, start: int, least: int) -> int:
    """The same from the severities that lines name, in the first megabytes; beyond them every line counts."""
    found = lines(path, start)
    if least and found and os.path.basename(path) == LOG_RECORDS:  # events are sent, whatever they are
        with open(path, "rb", buffering=0, opener=files.regular) as file:
            file.seek(start)
            seen = re.finditer(_SEVERITY, file.read(_GLANCED))
        found -= sum(int(each[1]) < least for each in seen)
    return found


def of_job(sources: Iterable[Source], to: Mapping[str, str], least: int = 0) -> dict[str, Standing]:
    """How all the folders together stand, by signal; without those that cannot be read.

    What a destination said it does not take in one folder, it does not take in the others either.
    """
    found = {signal: Standing("", signal, where) for signal, where in to.items()}
    for source in sources:
        try:
            of_it = list(standings(source, to, least))
        except OSError:
            continue
        for each in of_it:
            known = found[each.signal]
            found[each.signal] = known._replace(
                delivered=known.delivered + each.delivered,
                rejected=known.rejected + each.rejected,
                refused=known.refused + each.refused,
                waiting=known.waiting + each.waiting,
                not_taken=known.not_taken or each.not_taken,
            )
    return {signal: of._replace(waiting=0) if of.not_taken else of for signal, of in found.items()}


def destinations(sources: Iterable[Source]) -> dict[str, set[str]]:
    """Where something of a job went or was meant to go, each with its signals. Raises OSError.

    Where a folder does not say which of its signals were meant, all are.
    """
    found: dict[str, set[str]] = {}
    for source in sources:
        signals = dict(source.files())
        for to, of in cursor.load(source.folder).items():
            sent = {signals[name] for name in of.files if name in signals}
            found.setdefault(to, set()).update(sent | set(of.not_taken) | of.meant or signals.values())
    return {to: signals & set(SIGNALS) for to, signals in sorted(found.items())}


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
