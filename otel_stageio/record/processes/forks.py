"""What a fork finds: recorders that know of it, and no thread of ours in the middle of something.

The child shares the journal, and has locks of its own. Threads of ours rest while the process forks: a child can hang
at an import that a thread of its parent was in the middle of, and Python 3.12 and newer warn of a fork beside threads,
which would be a warning about us in a program that has none itself. What cannot rest soon goes on all the same.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:

    class Forked(Protocol):
        """What a fork concerns. Neither call raises."""

        def forking(self) -> None:
            """The process is about to fork."""
            ...

        def forked(self) -> None:
            """This is the child."""
            ...

    class Resting(Protocol):
        """What has a thread. Neither call raises."""

        def rest(self) -> threading.Thread | None:
            """The process is about to fork: have the thread end soon, and give it; None where nothing is to resume."""
            ...

        def resume(self) -> None:
            """The parent has forked: begin a thread again."""
            ...


#: Seconds that a fork waits for threads to end.
_PATIENCE: Final = 0.25
_TICK: Final = 0.0001

# Not sets: other threads may add to them while one forks, and only of these a list is made in one step.
_living: weakref.WeakValueDictionary[int, Forked] = weakref.WeakValueDictionary()
_working: weakref.WeakValueDictionary[int, Resting] = weakref.WeakValueDictionary()


class _Fork(threading.local):
    """The fork that this thread is about to do: what rests for it."""

    resting: tuple[Resting, ...] = ()


_fork = _Fork()


def tell(of: Forked) -> None:
    """Have `of` told of every fork from now on, for as long as it lives."""
    _living[id(of)] = of


def rests(of: Resting) -> None:
    """Have the thread of `of` rest at every fork from now on, for as long as it lives."""
    _working[id(of)] = of


def first() -> None:
    """Have threads rest before anybody who is told of forks by now takes a lock: who came last is told first.

    A thread may need that lock to come to an end, as what OpenTelemetry's SDK does when it is loaded needs that of
    `concurrent.futures`.
    """
    os.register_at_fork(before=_rest)


def _all_of(known: weakref.WeakValueDictionary[int, Forked]) -> list[Forked]:
    return [of for reference in known.valuerefs() if (of := reference()) is not None]


def _forking() -> None:
    _rest()
    for each in _all_of(_living):
        each.forking()


def _rest() -> None:
    resting = [of for reference in _working.valuerefs() if (of := reference()) is not None]
    threads = [(of, thread) for of in resting if (thread := of.rest()) is not None]
    _fork.resting += tuple(of for of, _ in threads)
    until = time.monotonic() + _PATIENCE
    for _, thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    for _, thread in threads:
        # Joined is not gone, and Python counts those that the system knows of.
        while time.monotonic() < until and os.path.exists(f"/proc/self/task/{thread.native_id}"):
            time.sleep(_TICK)


def _went_on() -> None:
    resting, _fork.resting = _fork.resting, ()
    for each in resting:
        each.resume()


def _forked() -> None:
    _fork.resting = ()
    _working.clear()  # their threads are the parent's
    for each in _all_of(_living):
        each.forked()


os.register_at_fork(before=_forking, after_in_parent=_went_on, after_in_child=_forked)
