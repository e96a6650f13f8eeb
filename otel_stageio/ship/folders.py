"""The folders that a process delivers from while it runs: what of each has gone out."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from otel_stageio.ship.sources import FILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.ship.sources import Source

#: Seconds for which a stage that has ended is still looked at.
_AFTERWARDS: Final = 10.0


class Folder:
    """A folder that is delivered: an attempt's, or a run's."""

    def __init__(self, job: JobLayout, path: str, source: Callable[[], Source | None], *, ended: bool) -> None:
        """Deliver from the folder `path` of a job, as `source` says; `ended` where nothing more is to come."""
        self.job = job
        self.path = path
        self.source = source
        self.opened = time.monotonic()
        #: When its stage ended, by the monotonic clock.
        self.ended = self.opened if ended else None
        #: Whether the backend was told that the stage runs.
        self.shown = ended
        self._settled: tuple[int, ...] | None = None

    def sizes(self) -> tuple[int, ...]:
        """How long its files are."""
        return tuple(_size(f"{self.path}/{name}") for name in FILES)

    def quiet(self, now: float) -> bool:
        """Whether nothing is to be expected of it: what comes all the same goes out when the process ends."""
        return self._settled is not None and self.ended is not None and now - self.ended > _AFTERWARDS

    def settle(self, sizes: tuple[int, ...]) -> None:
        """All of it was delivered when its files were that long."""
        self._settled = sizes

    def grown(self) -> bool:
        """Whether something was written since."""
        return self._settled is None or self._settled != self.sizes()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
