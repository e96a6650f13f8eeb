"""Time of a stage: the wall clock when it opened plus the monotonic clock since, so that it never runs back."""

from __future__ import annotations

import time


class Clock:
    """Unix time in nanoseconds that a clock set back or forth during the stage does not disturb."""

    __slots__ = ("_offset",)

    def __init__(self) -> None:
        """Take the wall clock as it is now."""
        self._offset = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """The time now."""
        return self._offset + time.monotonic_ns()
