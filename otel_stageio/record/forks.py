"""Telling the recorders of a process that it forks: the child shares the journal, and has locks of its own."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:

    class Forked(Protocol):
        """What a fork concerns. Neither call raises."""

        def forking(self) -> None:
            """The process is about to fork."""
            ...

        def forked(self) -> None:
            """This is the child."""
            ...


_living: weakref.WeakSet[Forked] = weakref.WeakSet()


def tell(of: Forked) -> None:
    """Have `of` told of every fork from now on, for as long as it lives."""
    _living.add(of)


def _forking() -> None:
    for each in list(_living):
        each.forking()


def _forked() -> None:
    for each in list(_living):
        each.forked()


os.register_at_fork(before=_forking, after_in_child=_forked)
