"""Whether the fold of a live stage may differ from its journal, which then has to be read once more at the end.

A forked child shares the journal and has a fold of its own. A record that a signal interrupted may be in the journal
and not in the fold; one that a signal handler made in the middle of another comes before it here and after it there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading

#: Seconds that a fork waits for the record of another thread.
_PATIENCE: Final = 1.0


class Drift:
    """Not thread-safe but for `forking`: the recorder locks."""

    __slots__ = ("_at_fork", "_paths", "stale", "written")

    def __init__(self, *paths: str) -> None:
        """Watch the journal's files `paths`."""
        #: A record was interrupted, or made in the middle of another one.
        self.stale = False
        #: Bytes that this process wrote to the journal since the first fork.
        self.written = 0
        self._paths = paths
        self._at_fork: int | None = None

    def forking(self, lock: threading.RLock) -> None:
        """Note how large the journal is before a child by fork can write to it; `lock` is the recorder's."""
        if self._at_fork is not None:
            return
        if not lock.acquire(timeout=_PATIENCE):
            self.stale = True  # a thread writes for long: nobody will know what the child adds to that
            return
        try:
            self._at_fork, self.written = self._size(), 0
        finally:
            lock.release()

    def happened(self) -> bool:
        """Whether the journal may hold what this process does not know of, or in another order."""
        return self.stale or (self._at_fork is not None and self._size() != self._at_fork + self.written)

    def reading(self) -> None:
        """The journal is about to be read again: from what it holds by now on, all goes on as before."""
        self.stale = False
        if self._at_fork is not None:
            self._at_fork, self.written = self._size(), 0

    def _size(self) -> int:
        return sum(map(_size, self._paths))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
