"""Processes that multiprocessing started: whether this is one, and how it ends.

Before Python 3.13, one that was forked ends with os._exit, so that nothing that atexit knows is called. What the task
raised is printed there, so that sys.excepthook is not called. What is called are multiprocessing's own finalizers:
while the exception is on its way, before Python 3.13; in newer ones nobody can know of it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: After all finalizers of the program and of multiprocessing itself, which wait for the children.
_LAST: Final = -1000

#: Of which process the end is seen to.
_seen: set[int] = set()
#: What is called then, with the exception that the task died of.
_at_end: list[Callable[[BaseException | None], None]] = []


def is_worker() -> bool:
    """Whether multiprocessing started this process."""
    module: Any = sys.modules.get("multiprocessing.process")
    return module is not None and (module.parent_process() is not None or reads_again())


def reads_again() -> bool:
    """Whether this is a spawned child that reads the main script again; it does not know its parent yet."""
    module: Any = sys.modules.get("multiprocessing.process")
    return module is not None and getattr(module.current_process(), "_inheriting", False)


def ends_at_once() -> bool:
    """Whether this worker ends without atexit. It knows how it was started as its own way of starting others."""
    import multiprocessing

    method = multiprocessing.get_start_method(allow_none=True)
    return sys.version_info < (3, 13) and method in (None, "fork", "forkserver")


def at_end(call: Callable[[BaseException | None], None]) -> None:
    """Have `call` called when this process ends, if it is a worker; with what its task raised, where that is known."""
    if not is_worker() or os.getpid() in _seen:
        return
    from multiprocessing import util

    _seen.add(os.getpid())
    _at_end[:] = [call]
    _see()
    # While a child reads the script again: where it was forked, its finalizers are forgotten when its task begins.
    util.register_after_fork(_see, _call)


def _call(see: Callable[[], None]) -> None:
    see()


def _see() -> None:
    from multiprocessing import util

    util.Finalize(None, _end, exitpriority=_LAST)


def _end() -> None:
    for call in _at_end:
        call(sys.exc_info()[1])
