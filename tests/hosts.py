"""Simulated hosts: a process that takes itself for another host, with a clock and a file system of its own.

Whatever the package asks about its host it asks `job.host`, and locks are taken in `job.locks` alone. So a process is
on another host once it has called `become`: a child by fork, or a script that begins with
``from tests.hosts import SimulatedHost; SimulatedHost("node7").become()``. The process stays there to its end.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from otel_stageio.job import host
from tests.processes import in_new_process, killed_after

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCK_CALLS = {getattr(fcntl, name, None) for name in ("F_OFD_GETLK", "F_OFD_SETLK")}


class SimulatedHost(NamedTuple):
    """A host by its name and boot. `clock` is how many seconds its clock is ahead of the file system's."""

    name: str
    boot_id: str = "b00t"
    clock: float = 0.0
    #: What every call for a lock fails with: ENOLCK, ENOSYS; 0 is a file system that has locks.
    lock_error: int = 0

    def become(self) -> None:
        """Make this process one of that host."""
        host.name = lambda: self.name
        host.boot_id = lambda: self.boot_id
        plain, plain_ns = time.time, time.time_ns
        time.time = lambda: plain() + self.clock
        time.time_ns = lambda: plain_ns() + int(self.clock * 1e9)
        if self.lock_error:
            self._forget_locks()

    def _forget_locks(self) -> None:
        plain = fcntl.fcntl

        def refused(*_: object) -> NoReturn:
            raise OSError(self.lock_error, os.strerror(self.lock_error))

        def without_locks(fd: int, command: int, *arguments: Any) -> Any:
            return refused() if command in _LOCK_CALLS else plain(fd, command, *arguments)

        fcntl.fcntl, fcntl.flock = without_locks, refused

    def does(self, work: Callable[[], object]) -> Any:
        """Do `work` in a new process of that host; gives its answer (JSON), or what it raised as text."""
        return in_new_process(self._there(work))

    def dies_after(self, work: Callable[[], object]) -> None:
        """Do `work` in a process of that host that is killed then."""
        killed_after(self._there(work))

    def _there(self, work: Callable[[], object]) -> Callable[[], object]:
        def there() -> object:
            self.become()
            return work()

        return there
