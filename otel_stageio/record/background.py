"""The one lasting thread of a stage: it shows that the stage is alive and keeps manifest.json near the truth.

A rewrite waits until something changed and at least a second, or fifty times what the last rewrite cost, has passed:
a manifest of 100,000 files is then rewritten seldom, and rewriting stays below two per cent of the time.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT = 10.0
_PAUSE = 1.0
_COST_FACTOR = 50


class Background:
    """Calls `beat` every ten seconds while the stage is open and `refresh` after changes, on a daemon thread.

    Both are called from that thread alone and must not raise. All methods may be called from any thread.
    """

    def __init__(self, *, beat: Callable[[], None], refresh: Callable[[], None]) -> None:
        """Know what to call; the thread begins with `start`."""
        self._beat = beat
        self._refresh = refresh
        self._dirty = False
        self._open = True
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin the thread. Where no thread can be had the manifest is written at the start and the end only."""
        self._thread = threading.Thread(target=self._run, name="otel-stageio", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter is going down
            self._thread = None

    def poke(self) -> None:
        """Say that something changed."""
        if self._dirty:
            return
        self._dirty = True
        if self._thread is None and not self._open:
            self.start()  # a call after the end: one more refresh, then the thread is gone again
        self._wake.set()

    def close(self) -> bool:
        """The stage has ended: no more heartbeats, and the thread leaves. True where a refresh was still owed."""
        self._open = False
        self._thread = None
        owed, self._dirty = self._dirty, False
        self._wake.set()
        return owed

    def _run(self) -> None:
        me = threading.current_thread()
        pause = _PAUSE
        rewritten = beaten = time.monotonic()
        while self._thread is me:
            now = time.monotonic()
            due = beaten + BEAT if self._open else now + BEAT
            if self._dirty:
                due = min(due, rewritten + pause)
            if due > now:
                self._wake.wait(due - now)
                self._wake.clear()
                continue
            if self._dirty and rewritten + pause <= now:
                self._dirty = False
                self._refresh()
                rewritten = time.monotonic()
                pause = max(_PAUSE, _COST_FACTOR * (rewritten - now))
                if not self._open and not self._dirty:
                    self._thread = None
                    return
            if self._open and beaten + BEAT <= now:
                self._beat()
                beaten = now
