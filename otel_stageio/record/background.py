"""The one lasting thread of a stage: it shows that the stage is alive and keeps manifest.json near the truth.

A rewrite waits until something changed and at least a second, or fifty times what it is expected to cost, has passed:
a manifest of 100,000 files is then rewritten seldom, and rewriting stays below two per cent of the time. It is expected
to cost what the last one did, and more for every entry that came since; what it took beyond that is waited for later.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

from otel_stageio.record.processes import forks

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT = 10.0
_PAUSE = 1.0
_COST_FACTOR = 50
#: Seconds that an entry is held to cost until one was measured to cost more, on a machine that does other things too.
_ENTRY_COST = 10e-6
#: Entries from which on a rewrite tells what one costs; those of fewer cost what every rewrite does.
_TELLING = 1000
#: Seconds that `close` waits for a rewrite under way.
_PATIENCE = 5.0


class _Expected:
    """What the next rewrite is expected to cost, in seconds."""

    __slots__ = ("_beyond", "_entry", "_last", "_size")

    def __init__(self) -> None:
        self._last = self._beyond = 0.0
        self._size = 0
        self._entry = _ENTRY_COST

    def cost(self, size: int) -> float:
        """That of a rewrite of `size` entries, and what the last one took more than it was expected to."""
        return self._rewrite(size) + self._beyond

    def _rewrite(self, size: int) -> float:
        return self._last + self._entry * max(size - self._size, 0)

    def measured(self, size: int, cost: float) -> None:
        """Learn from a rewrite of `size` entries that took `cost`."""
        self._beyond = max(cost - self._rewrite(size), 0.0)
        self._entry = max(_ENTRY_COST, cost / max(size, _TELLING))
        self._last, self._size = cost, size


class Background:
    """Calls `beat` every ten seconds while the stage is open and `refresh` after changes, on a daemon thread.

    Both are called from that thread alone and must not raise. All methods may be called from any thread; `poke` from
    signal handlers and finalizers too.
    """

    def __init__(
        self,
        *,
        beat: Callable[[], None],
        refresh: Callable[[], None],
        size: Callable[[], int] = lambda: 0,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Know what to call; the thread begins with `start`, and with `begin`, once.

        `size` tells how many entries the manifest has by now.
        """
        self._begin = begin
        self._begun = False
        self._beat = beat
        self._refresh = refresh
        self._size = size
        self._dirty = False
        self._open = True
        # A bare lock that is held until there is news: releasing it is one step, so that a signal handler may poke in
        # the middle of a poke, where the lock inside a threading.Event would wait for itself.
        self._news = threading.Lock()
        self._news.acquire()
        self._thread: threading.Thread | None = None
        self._expected = _Expected()
        #: When the manifest was rewritten last, and the lock touched, or when the thread began; not when it resumed.
        self._rewritten = self._beaten = 0.0
        forks.rests(self)

    def start(self) -> None:
        """Begin the thread. Where no thread can be had the manifest is written at the start and the end only."""
        self._rewritten = self._beaten = time.monotonic()
        self._go()

    def _go(self) -> None:
        if (
            sys.is_finalizing()
        ):  # a thread that is started now never runs, and up to Python 3.11 is waited for all the same
            return
        try:
            self._thread = threading.Thread(target=self._run, name="otel-stageio", daemon=True)
            self._thread.start()
        except RuntimeError:  # no more threads, none of this kind (subinterpreters), or the interpreter is going down
            self._thread = None

    def poke(self) -> None:
        """Say that something changed."""
        if self._dirty:
            return
        self._dirty = True
        if self._thread is None and not self._open:
            self.start()  # a call after the end: one more refresh, then the thread is gone again
        self._wake()

    def close(self) -> None:
        """The stage has ended: no more heartbeats; the thread is gone, its last rewrite done, when this returns."""
        self._open = False
        thread, self._thread = self._thread, None
        self._dirty = False
        self._wake()
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():  # else not begun yet
            thread.join(_PATIENCE)

    def rest(self) -> threading.Thread | None:
        """The process is about to fork: end the thread, unless it is the one that forks."""
        thread = self._thread
        if thread is None or thread is threading.current_thread() or not thread.is_alive():
            return None
        self._thread = None
        self._wake()
        return thread

    def resume(self) -> None:
        """Begin the thread again after a fork, where there is still something for it to do."""
        if self._thread is None and (self._open or self._dirty):
            self._go()
            if not self._open and not self._dirty:  # closed meanwhile, by another thread
                self._thread = None
                self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was released before: there is news already
            self._news.release()

    def _run(self) -> None:
        me = threading.current_thread()
        if not self._begun:
            self._begun = True
            self._begin()
        expected = self._expected
        while self._thread is me:
            now = time.monotonic()
            due = self._beaten + BEAT if self._open else now + BEAT
            size = self._size()
            allowed = self._rewritten + max(_PAUSE, _COST_FACTOR * expected.cost(size))
            if self._dirty:
                due = min(due, allowed)
            if due > now:
                self._news.acquire(timeout=due - now)
                continue
            if self._dirty and allowed <= now:
                self._dirty = False
                self._refresh()
                self._rewritten = time.monotonic()
                expected.measured(size, self._rewritten - now)
                if not self._open:
                    self._leave(me)
            if self._open and self._beaten + BEAT <= now:
                self._beat()
                self._beaten = now

    def _leave(self, me: threading.Thread) -> None:
        """End the thread of a call after the end, unless another call came meanwhile and counts on it."""
        self._thread = None
        if self._dirty and self._thread is None:
            self._thread = me
