"""One file to one destination: batch by batch, the cursor moving only on an acknowledgement.

What a backend refuses is halved until the records to blame are found; those are set aside in shipped.json with the
reason and do not hold up the rest. That takes a backend which takes something: one that refuses whatever it is sent
blames no record, and all of them wait.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.ship import cursor as cursors
from otel_stageio.ship import markers
from otel_stageio.ship.batches import MOST_BYTES, MOST_RECORDS, Batch, batches, halves, sendable
from otel_stageio.ship.cursor import Cursor, Refused
from otel_stageio.ship.quiet import quietly
from otel_stageio.ship.shown import Writers
from otel_stageio.ship.wire import Answer, Verdict, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Line

#: So many records refused one by one, and none taken yet, are the backend's fault: the rest is not tried.
_PATIENCE: Final = 8


class Outcome(NamedTuple):
    """How far it got; `stopped` is the answer that ended it before the end of the file."""

    cursor: Cursor
    stopped: Answer | None = None
    #: Lines of the last batch that could not be read, and records of it that are below the level that is sent.
    broken: int = 0
    kept: int = 0
    #: What was said of those of its records that the destination did not take.
    why: tuple[str, ...] = ()


class _Sifted(NamedTuple):
    """What became of the records of a batch."""

    delivered: int = 0
    rejected: int = 0
    refused: tuple[Refused, ...] = ()
    #: What was said of the rejected ones.
    rejected_why: tuple[str, ...] = ()
    stopped: Answer | None = None

    def plus(self, more: _Sifted) -> _Sifted:
        """Both together."""
        return _Sifted(
            delivered=self.delivered + more.delivered,
            rejected=self.rejected + more.rejected,
            refused=self.refused + more.refused,
            rejected_why=self.rejected_why + more.rejected_why,
            stopped=more.stopped,
        )


class Way:
    """The way of one signal to one destination, kept from file to file. Not thread-safe: one thread sends."""

    def __init__(
        self, wire: Wire, to: str, *, least: int = 0, most_bytes: int = MOST_BYTES, most_records: int = MOST_RECORDS
    ) -> None:
        """Send over this wire to the destination `to`, in batches of at most so much; see `batches`.

        Log records of a severity below `least` stay on disk. Events are sent whatever theirs is.
        """
        self.to = to
        self._wire = wire
        self._least = least
        self._cut = partial(batches, most_bytes=most_bytes, most_records=most_records)
        self._writers = Writers()
        #: Whether the destination has taken anything yet.
        self.takes = False
        self._blamed = 0

    def deliver(self, path: str, known: Cursor, *, live: bool = False) -> Iterator[Outcome]:
        """Send what lies behind the cursor; after each batch, how far that brought it.

        The caller saves each cursor before it asks for the next, so that a crash repeats a batch at most. With `live`
        an unfinished last line is left for later. Raises OSError where the file cannot be read.
        """
        now = cursors.standing(path, known)
        for batch in self._cut(path, now.offset, live=live):
            sent = sendable(batch, self._least)
            sifted = self._sift(sent)
            if sifted.refused and not self.takes:
                sifted = _Sifted(stopped=_takes_none(sifted.refused[0].why)._replace(unsure=True))
            if sifted.stopped is not None:
                yield Outcome(now, sifted.stopped)
                return
            now = Cursor(
                offset=batch.end,
                beginning=cursors.beginning(path, batch.end),
                delivered=now.delivered + sifted.delivered,
                rejected=now.rejected + sifted.rejected,
                rejected_why=(now.rejected_why, *sifted.rejected_why)[-1],
                refused=(*now.refused, *sifted.refused),
            )
            yield Outcome(
                now,
                broken=batch.broken,
                kept=batch.records - sent.records,
                why=(*(each.why for each in sifted.refused), *sifted.rejected_why),
            )

    def show(self, line: Line) -> Answer:
        """Send a line that is in no file."""
        return self._send((line,))

    def _send(self, lines: tuple[Line, ...]) -> Answer:
        with quietly():
            return self._wire.send(list(self._writers.shown((*lines, *markers.of_ends(lines)))))

    def close(self) -> None:
        """Give the connection back."""
        self._wire.close()

    def _sift(self, batch: Batch) -> _Sifted:
        if not batch.records:
            return _Sifted()
        answer = self._send(batch.lines)
        if answer.verdict is Verdict.DELIVERED:
            self.takes = True
            # Marks that went along are counted by the backend, too, and some count wrongly.
            rejected = min(max(answer.rejected, 0), batch.records)
            said = (answer.why,) if rejected else ()
            return _Sifted(delivered=batch.records - rejected, rejected=rejected, rejected_why=said)
        if answer.verdict is not Verdict.REFUSED:
            return _Sifted(stopped=answer)
        if batch.records == 1:
            self._blamed += 1
            if self.takes or self._blamed < _PATIENCE:
                return _Sifted(refused=(Refused(batch.only, answer.why),))
            return _Sifted(stopped=_takes_none(answer.why))
        made = _Sifted()
        for lines in halves(batch):
            made = made.plus(self._sift(batch._replace(lines=lines)))
            if made.stopped is not None:
                break
        return made


def _takes_none(why: str) -> Answer:
    return Answer(Verdict.LATER, f"takes none of what it was sent: {why}", passing=False)
