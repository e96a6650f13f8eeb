"""What earlier stages of a job could not deliver: a stage that delivers takes it along.

Only of those that were meant to go to the same place: a stage that was kept offline stays so.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from otel_stageio.ship import cursor
from otel_stageio.ship.cursor import Cursor
from otel_stageio.ship.sources import sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.ship.sources import Source


def left(job: JobLayout, to: Mapping[str, str]) -> Iterator[tuple[Source, frozenset[str]]]:
    """The folders of a job that wait for these destinations, by signal, with the signals that are meant to go there.

    Stages that run deliver by themselves. Raises OSError where the job folder cannot be read.
    """
    for source in sources(job):
        if source.live:
            continue
        with contextlib.suppress(OSError):
            known = cursor.load(source.folder)
            meant = frozenset(
                signal
                for signal, where in to.items()
                if where in known and (not known[where].meant or signal in known[where].meant)
            )
            if any(
                signal in meant and _waits(source, name, known[to[signal]].files) for name, signal in source.files()
            ):
                yield source, meant


def _waits(source: Source, name: str, known: Mapping[str, Cursor]) -> bool:
    return os.stat(os.path.join(source.folder, name)).st_size > known.get(name, Cursor()).offset
