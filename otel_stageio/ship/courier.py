"""Live delivery: what the stages of this process record goes out while they run, and the rest when the process ends.

One thread in the process, whatever the number of stages: it looks once a second for what the journals have gained, so
that recording a line costs nothing more. It is not the stage's own thread (decision 0028): a name server that hangs
would stop the stage's heartbeat. No stage waits for it; the end of the process does, for as long as somebody answers.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.errors import guard
from otel_stageio.job.layout import MEMBERS
from otel_stageio.ship import backlog, cursor, markers, ways
from otel_stageio.ship.folders import Folder
from otel_stageio.ship.lines import Line
from otel_stageio.ship.push import DISK, Pushed, intend, push_folder
from otel_stageio.ship.sources import SPANS, of_attempt, of_run
from otel_stageio.ship.waiting import standings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.settings import Export
    from otel_stageio.ship.delivery import Way
    from otel_stageio.ship.sources import Source

#: Seconds between two looks at the journals, and from which on a stage is shown to run.
_PAUSE: Final = 1.0
#: Seconds that the end of the process waits without a sign of the backend, and at most.
_SILENCE: Final = 0.25
_MOST: Final = 1.9
_TICK: Final = 0.005
#: Python 3.12 lets no thread begin once the main module has ended, and so lets the exporters not be loaded any more.
_LOADS_EARLY: Final = sys.version_info[:2] == (3, 12)
#: Seconds that a fork waits for what is under way, and for the exporters to be loaded: on a slow or busy machine that
#: takes long, but it waits for no network, and a child could hang for ever.
_BEARABLE: Final = 0.05
_LOADING: Final = 30.0


class Left(NamedTuple):
    """What waits when the process ends, and why."""

    job: str
    to: str
    records: int
    why: str


class Courier:
    """Delivers what stages of this process record. All methods may be called from any thread and signal handler."""

    def __init__(self, export: Export) -> None:
        """Deliver to where `export` says; nothing happens before `follow`."""
        self._to = ways.destinations(export)
        self._least = export.ship_level
        self._lines = {
            name: Line(signal, partial(ways.way, name, export)) for name, signal in ways.signals(export).items()
        }
        self._folders: dict[str, Folder] = {}
        self._known_jobs: set[str] = set()
        self._asked: list[JobLayout] = []
        self._behind: list[JobLayout] = []
        # A bare lock that is held until there is news: see `record.background`.
        self._news = threading.Lock()
        self._news.acquire()
        self._thread: threading.Thread | None = None
        # Held while something is sent: whoever ends the thread does it between two rounds.
        self._at_work = threading.Lock()
        #: Until when a fork waits for what is under way, by the monotonic clock.
        self._bearable = 0.0
        #: When the process began to end, and when the last round that is done began; 0 before.
        self._ending = self._covered = 0.0
        #: Whether a stage has ended that is to be delivered at once, however short it was.
        self._hurry = False
        #: Seconds that were waited before the process's end without a sign.
        self._in_vain = 0.0

    def follow(self, job: JobLayout, run: int, folder: str) -> None:
        """A stage has opened: its attempt's folder, and its run. Raises OSError."""
        intend(folder, self._to)
        self._take(job, run)
        self._folders[folder] = Folder(job, folder, partial(of_attempt, folder, live=True), ended=False)
        self._begin()

    def follow_run(self, job: JobLayout, run: int) -> None:
        """A run has a span of its own to be delivered, maybe several by several hosts. Raises OSError."""
        self._take(job, run)
        for folder in job.run_members(run):
            self._take(job, run, str(folder))
        self._begin()

    def _take(self, job: JobLayout, run: int, folder: str = "") -> None:
        folder = folder or str(job.run_dir(run))
        if folder not in self._folders:
            intend(folder, self._to)
            self._folders[folder] = Folder(job, folder, partial(of_run, job, run, folder=folder), ended=True)

    def _begin(self) -> None:
        if self._thread is None:
            self._go()
        self._wake()

    def _go(self) -> None:
        with contextlib.suppress(RuntimeError):  # no thread to be had: a later push sends what waits
            self._thread = threading.Thread(target=self._run, name="otel-stageio-ship", daemon=True)
            self._thread.start()

    def rest(self) -> threading.Thread | None:
        """The process is about to fork: end the thread where it sends nothing, or not for long any more.

        Whoever forks waits for the exporters to be loaded, since a child would hang at importing them, but for no
        backend that takes its time.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():
            return None
        while not self._at_work.acquire(timeout=min(max(self._bearable - time.monotonic(), 0.0), _TICK)):
            if time.monotonic() >= self._bearable:  # looked at anew: what was loaded may be sending by now
                return None
        try:
            self._thread = None
        finally:
            self._at_work.release()
        self._wake()
        return thread

    def resume(self) -> None:
        """Begin the thread again after a fork."""
        if self._thread is None:
            self._go()
        self._wake()

    def take_along(self, job: JobLayout, *, again: bool = False) -> None:
        """Deliver what earlier stages of the job could not, after what this process records.

        Once for a job, unless `again`: what this process records in it is delivered anyway.
        """
        if again or str(job.root) not in self._known_jobs:
            self._known_jobs.add(str(job.root))
            self._asked.append(job)

    def end(self, folder: str) -> None:
        """The stage has ended."""
        known = self._folders.get(folder)
        if known is not None:
            known.ended, known.shown = time.monotonic(), True
            known.source = partial(of_attempt, folder)
            with contextlib.suppress(OSError):  # there are none
                self._follow_members(known)
        self._hurry = _LOADS_EARLY
        self._wake()
        if _LOADS_EARLY:
            self._wait_for_exporters()

    def _follow_members(self, of: Folder) -> None:
        """Deliver what further processes of the attempt did not: many a worker is ended without a word."""
        for name in os.listdir(os.path.join(of.path, MEMBERS)):
            path = os.path.join(of.path, MEMBERS, name)
            if path not in self._folders and not cursor.load(path).keys().isdisjoint(self._to.values()):
                self._folders[path] = Folder(of.job, path, partial(of_attempt, path, live=True), ended=True)

    def _wait_for_exporters(self) -> None:
        """Wait, once in a process, for the exporters to be loaded, or for it to be plain that nobody answers."""
        if self._thread is None or not self._thread.is_alive():
            return
        begun = time.monotonic()
        while not all(line.settled for line in self._lines.values()):
            answered = any(line.sign >= begun for line in self._lines.values())
            if time.monotonic() > begun + (_MOST if answered else _SILENCE - self._in_vain):
                break
            time.sleep(_TICK)
        self._in_vain += 0.0 if any(line.sign >= begun for line in self._lines.values()) else time.monotonic() - begun

    def last_call(self) -> list[Left]:
        """The process ends: wait for the rest to go out, while somebody answers; say what waits then.

        At most 1.9 s, and a quarter of a second where nobody answers, however often it is called.
        """
        now = time.monotonic()
        self._ending = self._ending or now
        if self._thread is not None and self._thread.is_alive() and self._grown():
            self._wake()
            while self._covered < now and time.monotonic() < self._limit():
                time.sleep(_TICK)
        return self._left()

    def _limit(self) -> float:
        """Until when the end of the process waits, as things stand."""
        begun = self._ending
        if any(line.sign >= begun for line in self._lines.values()):
            return begun + _MOST
        return begun + max(line.patience(begun, _SILENCE) for line in self._lines.values()) - self._in_vain

    def _left(self) -> list[Left]:
        found: dict[tuple[str, str], Left] = {}
        for folder in self._grown():
            with contextlib.suppress(OSError):
                source = folder.source()
                for standing in standings(source, self._to, self._least, at_a_glance=True) if source else ():
                    if standing.waiting:
                        key = str(folder.job.root), standing.to
                        known = found.get(key, Left(*key, records=0, why=self._lines[standing.signal].why))
                        found[key] = known._replace(records=known.records + standing.waiting)
        refused = {name: line.not_taken for name, line in self._lines.items()}
        if self._folders and all(refused.values()):  # a wrong address answers 404, too
            why = (
                f"it takes neither of our signals ({', '.join(sorted(set(refused.values())))}): is it an OTLP endpoint?"
            )
            for key in {(str(folder.job.root), to) for folder in self._folders.values() for to in self._to.values()}:
                found[key] = Left(*key, records=0, why=why)
        return list(found.values())

    def _grown(self) -> list[Folder]:
        now = time.monotonic()
        there = [folder for folder in list(self._folders.values()) if self._ending or not folder.quiet(now)]
        return [folder for folder in there if folder.grown()]

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was released before: there is news already
            self._news.release()

    # In the thread.

    def _run(self) -> None:
        me = threading.current_thread()
        while self._thread is me:
            self._news.acquire(timeout=_PAUSE)
            began = time.monotonic()
            if not (self._ending or self._hurry or began >= self._due()):
                continue
            self._bearable = began + _BEARABLE
            with self._at_work:
                if self._thread is not me:
                    return
                self._hurry = False
                with guard(self._failed):
                    self._round(began)
                self._covered = began

    def _due(self) -> float:
        """When there is something to do: a stage that has just begun is left alone."""
        return min((folder.opened + _PAUSE for folder in self._folders.values()), default=0.0)

    def _round(self, now: float) -> None:
        folders = self._grown()
        marked = [of for of in list(self._folders.values()) if not of.shown and now - of.opened >= _PAUSE]
        if not folders and not marked and not self._asked and not self._behind:
            return
        open_ways = self._open_ways(now)
        if not open_ways:
            return
        for folder in marked:
            if SPANS in open_ways:
                folder.shown = self._show(folder, open_ways[SPANS])
        well = True
        for folder in folders:
            sizes = folder.sizes()
            source = folder.source()
            if source is None or self._push(source, open_ways):
                folder.settle(sizes)
            else:
                well = False
        if well and not self._ending:
            self._take_along()

    def _open_ways(self, now: float) -> dict[str, Way]:
        """The ways on which something can be sent now; at the end of the process, each has one more try."""
        found = {}
        for name, line in self._lines.items():
            self._bearable = time.monotonic() + (_BEARABLE if line.settled else _LOADING)
            way = line.way_now(now, ending=bool(self._ending))
            self._bearable = time.monotonic() + _BEARABLE
            if way is not None:
                found[name] = way
        return found

    def _push(self, source: Source, open_ways: Mapping[str, Way]) -> bool:
        """Send what is new in a folder; whether the destinations have all of it that they take."""
        usable = {name: way for name, way in open_ways.items() if self._lines[name].usable}
        pushed = push_folder(source, usable, Pushed(), self._heard)
        for signal in pushed.tallies:
            self._lines[signal].took()
        for signal, answer in pushed.stopped.items():
            self._lines[signal].stopped(answer)
        return pushed.complete and all(line.usable or line.not_taken for line in self._lines.values())

    def _heard(self, _: Pushed) -> None:
        for line in self._lines.values():
            line.heard()

    def _show(self, folder: Folder, way: Way) -> bool:
        source = folder.source()
        line = markers.marker(folder.path) if source is not None and source.spans else None
        if line is not None:
            self._lines[SPANS].judge(way.show(line))
        return True

    def _take_along(self) -> None:
        while self._asked:
            self._behind.append(self._asked.pop())
        while self._behind and not self._ending:
            for source, meant in backlog.left(self._behind[0], self._to):
                ready = {name: of for name, of in self._open_ways(time.monotonic()).items() if name in meant}
                if source.folder not in self._folders and not self._left_behind(source, ready):
                    return
                if self._ending:
                    return
            self._behind.pop(0)

    def _left_behind(self, source: Source, ready: Mapping[str, Way]) -> bool:
        """The same as `_push` for an earlier stage, whose folder may be somebody else's and not ours to write in."""
        try:
            return self._push(source, ready)
        except OSError as why:
            if why.errno in DISK:
                raise
            return True

    def _failed(self, why: BaseException) -> None:
        for line in self._lines.values():
            line.fail(f"{type(why).__name__}: {why}")


_courier: tuple[int, Export, Courier] | None = None


def courier(export: Export) -> Courier | None:
    """The process's courier to where `export` says; None where nothing is sent."""
    global _courier  # noqa: PLW0603 - one for the process, made when first asked for
    if not ways.signals(export):
        return None
    if _courier is None or _courier[:2] != (os.getpid(), export):
        _courier = os.getpid(), export, Courier(export)
    return _courier[2]
