"""What a job still has to deliver goes to its destinations, folder by folder; it may be stopped at any time.

One process at a time delivers a folder, live or later: it holds shipped.lock, which falls with it.
"""

from __future__ import annotations

import errno
import functools
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.job import locks, pipelines, recovery, registry
from otel_stageio.job.layout import all_stages
from otel_stageio.ship import cursor
from otel_stageio.ship.cursor import Cursor, Delivered
from otel_stageio.ship.sources import Choice, sources
from otel_stageio.ship.wire import Answer, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.ship.delivery import Outcome, Way
    from otel_stageio.ship.sources import Source

LOCK: Final = "shipped.lock"
#: So many reasons are kept to be told.
_REASONS: Final = 5
#: What ails a disk and not a folder.
DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class Tally(NamedTuple):
    """What became of the records of a signal."""

    delivered: int = 0
    rejected: int = 0
    refused: int = 0
    #: Records below the level that is sent.
    kept: int = 0
    #: Lines that could not be read.
    broken: int = 0
    #: What the destination said of those that it did not take, each once, the first few.
    why: tuple[str, ...] = ()

    @property
    def passed(self) -> int:
        """How many lines of the files are behind the cursors by now."""
        return self.delivered + self.rejected + self.refused + self.kept + self.broken

    def plus(self, more: Tally) -> Tally:
        """Both together."""
        return Tally(
            delivered=self.delivered + more.delivered,
            rejected=self.rejected + more.rejected,
            refused=self.refused + more.refused,
            kept=self.kept + more.kept,
            broken=self.broken + more.broken,
            why=tuple(dict.fromkeys(self.why + more.why))[:_REASONS],
        )


class Pushed(NamedTuple):
    """What became of a job's files at their destinations."""

    #: By signal.
    tallies: Mapping[str, Tally] = {}
    #: By signal, why the rest of it was not sent.
    stopped: Mapping[str, Answer] = {}
    #: Folders that another process is delivering.
    taken: tuple[str, ...] = ()
    #: Folders of which something cannot be read or noted down, with the reason.
    failed: Mapping[str, str] = {}

    @property
    def total(self) -> Tally:
        """What became of the records of all signals."""
        return functools.reduce(Tally.plus, self.tallies.values(), Tally())

    @property
    def delivered(self) -> int:
        """How many records were delivered."""
        return self.total.delivered

    @property
    def complete(self) -> bool:
        """Whether the destinations have all that they take."""
        return not self.taken and not self.waits and not self.failed

    @property
    def waits(self) -> Mapping[str, Answer]:
        """The signals of which something waits, with the reason."""
        return {signal: of for signal, of in self.stopped.items() if of.verdict is not Verdict.NOT_TAKEN}


def push(
    job: JobLayout,
    ways: Mapping[str, Way],
    told: Callable[[Pushed], None] = lambda _: None,
    choice: Choice = Choice(),  # noqa: B008 - never changed
) -> Pushed:
    """Send what the destinations do not have yet, each signal on its way; `told` hears how far it is.

    The ends of attempts and pipelines whose processes died are written first. A signal that the destination does not
    take is not tried again, and one whose backend is away ends for all of the job; its cursors stay. Where it is
    `unsure` whether records are to blame, other files are tried first. A folder that cannot be read or noted down
    holds up no other. Raises OSError where the job cannot be read or its disk takes nothing.
    """
    if recovery.write_all_ends(all_stages(job)):
        registry.update(job)
    pipelines.write_ends(job)
    latest = Pushed()

    def tell(now: Pushed) -> None:
        nonlocal latest
        latest = now
        told(now)

    for source in sources(job, choice):
        try:
            latest = push_folder(source, ways, latest, tell)
        except OSError as why:  # of that folder alone, unless it is the disk: then each would send what it cannot note
            if why.errno in DISK:
                raise
            latest = latest._replace(failed={**latest.failed, source.folder: str(why)})
    return latest


def push_folder(
    source: Source,
    ways: Mapping[str, Way],
    pushed: Pushed = Pushed(),  # noqa: B008 - never changed
    told: Callable[[Pushed], None] = lambda _: None,
) -> Pushed:
    """The same for one folder, unless another process is at it; `pushed` is what was done so far. Raises OSError."""
    if os.path.islink(source.folder):  # whoever planted it would choose where shipped.json is written
        return pushed
    lock = locks.StageLock.acquire(os.path.join(source.folder, LOCK), {"pid": os.getpid()})
    if isinstance(lock, locks.Held):
        return pushed._replace(taken=(*pushed.taken, source.folder))
    try:
        return _push_files(source, ways, pushed, told)
    finally:
        lock.release()


def intend(folder: str, destinations: set[str]) -> None:
    """Note where a folder's records are meant to go, so that a later stage takes along what is left. Raises OSError."""
    known = cursor.load(folder)
    cursor.save(folder, {**{to: Delivered() for to in sorted(destinations)}, **known})


def _push_files(source: Source, ways: Mapping[str, Way], pushed: Pushed, told: Callable[[Pushed], None]) -> Pushed:
    known = cursor.load(source.folder)

    def keep(to: str, of: Delivered) -> None:
        known[to] = of
        cursor.save(source.folder, known)

    for name, signal in source.files():
        way = ways.get(signal)
        known_stop = pushed.stopped.get(signal)
        if way is None or (known_stop is not None and not known_stop.unsure):
            continue
        mine = known.get(way.to, Delivered())
        path = os.path.join(source.folder, name)
        before = cursor.standing(path, mine.files.get(name, Cursor()))
        for outcome in way.deliver(path, before, live=source.live):
            now, stopped = outcome.cursor, outcome.stopped
            if stopped is not None:
                pushed = pushed._replace(stopped={**pushed.stopped, signal: stopped})
                if stopped.verdict is Verdict.NOT_TAKEN:
                    keep(way.to, mine._replace(not_taken={**mine.not_taken, signal: stopped.why}))
                break
            taken = {each: why for each, why in mine.not_taken.items() if each != signal}
            mine = Delivered({**mine.files, name: now}, taken)
            keep(way.to, mine)
            pushed = _counted(pushed, signal, before, outcome)
            before = now
            told(pushed)
    return pushed


def _counted(pushed: Pushed, signal: str, before: Cursor, outcome: Outcome) -> Pushed:
    now = outcome.cursor
    batch = Tally(
        delivered=now.delivered - before.delivered,
        rejected=now.rejected - before.rejected,
        refused=len(now.refused) - len(before.refused),
        kept=outcome.kept,
        broken=outcome.broken,
        why=outcome.why,
    )
    return pushed._replace(tallies={**pushed.tallies, signal: pushed.tallies.get(signal, Tally()).plus(batch)})
