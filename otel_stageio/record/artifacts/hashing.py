"""Digests in the background: what is too large to be hashed in the call is hashed beside the stage, and at its end.

The digests themselves are in `digests`; what record uses of them has its name here too.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from otel_stageio.errors import StageIOError, guard
from otel_stageio.record.artifacts.digests import Digest, hash_file, hash_tree, measure_tree, print_stat, sha256, watch
from otel_stageio.record.values import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Digest", "Hasher", "allowed_cores", "hash_file", "hash_tree", "measure_tree", "print_stat"]

#: Progress is told from this many seconds on, and then once a second.
_QUIET = 2.0


#: Of a line of /proc/self/cgroup.
_PARTS = 3


class _Ended(BaseException):
    """Raised out of a `watch.tick` to end the reading of a file that nobody waits for. No guard may take it."""


class _Task:
    # Written out: a dataclass costs half a millisecond at import.
    __slots__ = ("delivering", "key", "read", "size", "work")

    def __init__(self, key: str, work: Callable[[], Digest], size: int) -> None:
        self.key = key
        self.work = work
        self.size = size
        self.read = 0
        self.delivering = False


class Hasher:
    """Hashes files and folders of one stage in daemon threads of its own; every method may be called from any thread.

    While the stage runs at most one thread works, and none where the process may use one core only: then all waits for
    `wait`, which lets as many threads work as there are cores. A thread ends when nothing is left to do.

    `done(key, digest)` is called for each piece of work in the thread that did it; it should not raise. What the work
    raises becomes a digest with a problem. In a child made by fork the hasher is empty and does nothing.
    """

    def __init__(self, done: Callable[[str, Digest], None], *, cores: int | None = None) -> None:
        """Start nothing yet. `cores`: how many threads may work in `wait`; by default what `allowed_cores` says."""
        self._done = done
        self._cores = allowed_cores() if cores is None else cores
        self._background = 1 if self._cores > 1 else 0
        self._allowed = self._background
        self._workers = 0
        self._queue: deque[_Task] = deque()
        self._running: set[_Task] = set()
        self._closed = False
        self._owner = os.getpid()
        # On an RLock: a signal handler may end the stage in the middle of any call here.
        self._change = threading.Condition(threading.RLock())

    def submit(self, key: str, work: Callable[[], Digest], size: int) -> None:
        """Queue `work`, which will read about `size` bytes; after `abandon` it is dropped."""
        if os.getpid() != self._owner:
            return
        with self._change:
            if not self._closed:
                self._queue.append(_Task(key, work, size))
                self._start_workers()

    def wait(
        self,
        seconds: float,
        *,
        progress: Callable[[int, int, float], None] | None = None,
    ) -> list[str]:
        """Work through the queue, largest first, for at most `seconds`; return the keys that are not done by then.

        `progress(done bytes, total bytes, seconds so far)` is called in this thread, from two seconds on about once a
        second. What is not done stays queued, and a thread that is at work goes on. Where no thread can be started (at
        the interpreter's end, or at the limit of threads) the work is done in this one, and ends in time as well.
        """
        if os.getpid() != self._owner:
            return []
        with self._change:
            self._queue = deque(sorted(self._queue, key=lambda task: task.size, reverse=True))
            look = _Look([*self._running, *self._queue], seconds, progress)
            self._allowed = max(self._cores, 1)
            self._start_workers()
        try:
            while True:
                with self._change:
                    if not self._queue and not self._running:
                        return []
                    if look.overdue():
                        return self._left()
                    own = self._queue.popleft() if self._workers == 0 and self._queue else None
                    if own is None:
                        self._change.wait(look.patience())
                    else:
                        self._running.add(own)
                if own is not None and not self._work(own, look):
                    with self._change:
                        self._queue.extendleft(() if self._closed else (own,))
                look.tell()
        finally:
            with self._change:
                self._allowed = self._background

    def abandon(self) -> list[str]:
        """Take no more work, drop what is queued, end what is being read at its next piece, and wait for nothing.

        Returns the keys that are not done. `done` is not called for any of them; a digest that is being handed over at
        this moment counts as done, and its `done` may still be at work when this returns.
        """
        if os.getpid() != self._owner:
            return []
        with self._change:
            self._closed = True
            left = self._left()
            self._queue.clear()
            self._running = {task for task in self._running if task.delivering}
            self._change.notify_all()
        return left

    def _left(self) -> list[str]:
        return [task.key for task in (*self._running, *self._queue) if not task.delivering]

    def _start_workers(self) -> None:
        """Start the threads that the queue has work for and that may run now; the lock is held."""
        for _ in range(min(self._allowed - self._workers, len(self._queue))):
            sha256()  # a child that is forked while the thread loads it would hang at its own import
            try:
                threading.Thread(target=self._run, name="stageio-hash", daemon=True).start()
            except RuntimeError:  # "can't start new thread": `wait` does without
                return
            self._workers += 1

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                self._work(task)
            except BaseException:  # out of `done`: the thread ends with it, the queue goes on
                with self._change:
                    self._workers -= 1
                    self._start_workers()
                raise

    def _next(self) -> _Task | None:
        with self._change:
            if not self._queue or self._workers > self._allowed:
                self._workers -= 1
                self._change.notify_all()
                return None
            task = self._queue.popleft()
            self._running.add(task)
            return task

    def _work(self, task: _Task, look: _Look | None = None) -> bool:
        """Do one task and hand its digest over; False when it was ended before."""
        raised: list[BaseException] = []
        digest: Digest | None = None
        watch.tick = functools.partial(self._tick, task, look)
        try:
            with guard(raised.append):
                digest = task.work()
        except StageIOError as error:
            raised.append(error)
        except _Ended:
            pass
        finally:
            watch.tick = None
        if raised:
            text = clean_text(f"{type(raised[0]).__name__}: {raised[0]}")
            digest = Digest(method="sha256", problem=text)
        with self._change:
            if digest is None or task not in self._running:
                self._running.discard(task)
                return False
            task.delivering = True
        try:
            self._done(task.key, digest)
        finally:
            with self._change:
                self._running.discard(task)
                self._change.notify_all()
        return True

    def _tick(self, task: _Task, look: _Look | None, count: int) -> None:
        task.read += count
        if self._closed:
            raise _Ended
        if look is not None:
            look.tell()
            if look.overdue():
                raise _Ended


class _Look:
    """The caller's view of one `wait`: what is to be done, until when, and when progress is due."""

    def __init__(
        self,
        tasks: list[_Task],
        seconds: float,
        progress: Callable[[int, int, float], None] | None,
    ) -> None:
        self._tasks = tasks
        self._total = sum(task.size for task in tasks)
        self._progress = progress
        self._start = time.monotonic()
        self._end = self._start + seconds
        self._due = self._start + _QUIET

    def overdue(self) -> bool:
        return time.monotonic() >= self._end

    def patience(self) -> float:
        """Return how many seconds may pass until there is something to look at."""
        now = time.monotonic()
        return max(min(self._end - now, (self._due if self._progress else now + 1) - now, 1.0), 0.0)

    def tell(self) -> None:
        now = time.monotonic()
        if self._progress is None or now < self._due:
            return
        self._due = now + 1
        # A file read a second time because it changed counts no more than once.
        done = sum(min(task.read, task.size) for task in self._tasks)
        self._progress(done, self._total, now - self._start)


def allowed_cores(*, root: str = "/") -> int:
    """Return how many cores this process may use: its CPU affinity, and the quota of its control group.

    A quota of less than two cores counts as one. Both versions of control groups are known. `root` is where /proc and
    /sys are looked for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open(os.path.join(root, "proc/self/cgroup"), encoding="utf-8") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
    except (OSError, ValueError):
        return cores
    for number, controllers, group in (line for line in lines if len(line) == _PARTS):
        if number == "0" and not controllers:
            cores = min(cores, _allowed(os.path.join(root, "sys/fs/cgroup"), group, ("cpu.max",), cores))
        elif "cpu" in controllers.split(","):
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            cores = min(cores, _allowed(os.path.join(root, "sys/fs/cgroup", controllers), group, files, cores))
    return cores


def _allowed(mount: str, group: str, files: tuple[str, ...], cores: int) -> int:
    """The least quota of a group and of those that it is in; `cores` where they have none."""
    below: str | None = group.strip("/")
    while below is not None:
        cores = min(cores, _quota([os.path.join(mount, below, name) for name in files], cores))
        below = os.path.dirname(below) if below else None
    return cores


def _quota(paths: list[str], otherwise: int) -> int:
    """The quota that stands in a file or two: microseconds of work, and in how many of time."""
    try:
        said = ""
        for path in paths:
            with open(path, encoding="utf-8") as file:
                said += f"{file.read()} "
        quota, period = said.split()
        return otherwise if quota in ("max", "-1") else max(int(quota) // int(period), 1)
    except (OSError, ValueError, ZeroDivisionError):
        return otherwise
