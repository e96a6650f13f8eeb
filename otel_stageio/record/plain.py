"""Plain records: those that come by the thousand, whose lines are put together from parts that are encoded already.

What is written is byte for byte what the recorder would write of the same record, and the fold is the same; a record
that is not that simple is left to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.record.processes import exits

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from otel_stageio.record.clock import Clock
    from otel_stageio.record.drift import Drift
    from otel_stageio.record.journal import StageJournal
    from otel_stageio.record.signing import Signature
    from otel_stageio.views.entries import SmallFile
    from otel_stageio.views.state import StageState

#: What a line begins with, what comes after its time, and the characters of all that its events have in common.
Frame = tuple[str, str, int]


class PlainRecords:
    """The quick way of a recorder, which has what is named here. May be called from any thread."""

    state: StageState
    clock: Clock
    lock: threading.RLock
    #: Called after a plain record: while the stage runs there is less to do than after any.
    poke: Callable[[], None] = staticmethod(lambda: None)
    _journal: StageJournal | None
    _depth: int
    _drift: Drift
    _signature: Signature
    #: What each plain line of the stage ends with.
    _plain_end: str

    def file_event(self, frame: Frame, modified: str, sha256: str, rest: str, file: SmallFile) -> bool:
        """Put a small file on record, with its time and digest as text, and `rest` as its further encoded attributes.

        False, and nothing has happened, where it is not that simple: within a record, in a child by fork, after the
        end, without disk. The line must not be too long for one.
        """
        first, second, around = frame
        try:
            with self.lock:
                journal = self._journal
                if self._depth or self._signature.common or journal is None or self.state.finished is not None:
                    return False
                self._depth += 1
                done = False
                try:
                    at, uid, end = self.clock.now(), self._signature.next(), self._plain_end
                    line = encode.file_line(first, at, second, file[0], modified, file[1], sha256, rest, uid, end)
                    try:
                        journal.places.events.write(line.encode("ascii"))
                    except OSError as why:
                        journal.refused(journal.places.events, why)
                    self._drift.written += len(line)
                    self.state.add_file(at, len(line) - around - len(uid), file)
                    done = True
                finally:
                    self._depth -= 1
                    self._drift.stale |= not done
        finally:
            if exits.pending:
                exits.settle()
        self.poke()
        return True

    def plain_frame(self, event: str) -> Frame:
        """What is around the time, the attributes and the uid of such an event."""
        first, second = encode.plain_event(event, names.SEVERITY_INFO, "INFO")
        return first, second, len(first) + len(second) + len(encode.PLAIN_UID) + len(self._plain_end)
