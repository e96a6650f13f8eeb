"""What a job still has to deliver goes to one destination, folder by folder; whoever runs this may be stopped any time.

One process at a time delivers a folder, live or later: it holds shipped.lock, which falls with it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.job import locks
from otel_stageio.ship import cursor
from otel_stageio.ship.cursor import Cursor
from otel_stageio.ship.sources import sources
from otel_stageio.ship.wire import Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.ship.delivery import Way
    from otel_stageio.ship.sources import Source

LOCK: Final = "shipped.lock"


class Pushed(NamedTuple):
    """What became of a job's files at one destination."""

    delivered: int = 0
    rejected: int = 0
    refused: int = 0
    #: By signal, why the rest of it was not sent.
    stopped: Mapping[str, Answer] = {}
    #: Folders that another process is delivering.
    taken: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the destination has all that it takes."""
        return not self.taken and all(of.verdict is Verdict.NOT_TAKEN for of in self.stopped.values())


def push(job: JobLayout, to: str, ways: Mapping[str, Way], told: Callable[[Pushed], None] = lambda _: None) -> Pushed:
    """Send to destination `to` what it does not have yet, each signal on its way; `told` hears how far it is.

    A signal that the destination does not take is not tried again, and one whose backend is away ends for all of the
    job; its cursors stay. Raises OSError where a file cannot be read or a cursor not be written.
    """
    pushed = Pushed()
    for source in sources(job):
        lock = locks.StageLock.acquire(os.path.join(source.folder, LOCK), {"pid": os.getpid()})
        if isinstance(lock, locks.Held):
            pushed = pushed._replace(taken=(*pushed.taken, source.folder))
            continue
        try:
            pushed = _push_folder(source, to, ways, pushed, told)
        finally:
            lock.release()
    return pushed


def _push_folder(
    source: Source, to: str, ways: Mapping[str, Way], pushed: Pushed, told: Callable[[Pushed], None]
) -> Pushed:
    known = cursor.load(source.folder)
    mine = known.setdefault(to, {})
    for name, signal in source.files():
        if signal in pushed.stopped or signal not in ways:
            continue
        before = mine.get(name, Cursor())
        for now, stopped in ways[signal].deliver(os.path.join(source.folder, name), before, live=source.live):
            if stopped is not None:
                pushed = pushed._replace(stopped={**pushed.stopped, signal: stopped})
                break
            mine[name] = now
            cursor.save(source.folder, known)
            pushed = _counted(pushed, before, now)
            before = now
            told(pushed)
    return pushed


def _counted(pushed: Pushed, before: Cursor, now: Cursor) -> Pushed:
    if now.offset <= before.offset:  # of another file, which starts anew
        before = Cursor()
    return pushed._replace(
        delivered=pushed.delivered + now.delivered - before.delivered,
        rejected=pushed.rejected + now.rejected - before.rejected,
        refused=pushed.refused + len(now.refused) - len(before.refused),
    )
