"""Which files of a job hold something to deliver, and in which order."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import runs, status
from otel_stageio.job.layout import EVENTS, LOG_RECORDS, TRACES, JobLayout, StageLayout, stage_folders

if TYPE_CHECKING:
    from collections.abc import Iterator

SPANS: Final = "traces"
LOGS: Final = "logs"
#: The signal of each file. Spans first: they are few, and what a person looks for.
_FILES: Final = ((TRACES, SPANS), (EVENTS, LOGS), (LOG_RECORDS, LOGS))


class Source(NamedTuple):
    """A folder whose journal files are delivered together: an attempt's, or a run's."""

    folder: str
    #: Whether somebody still writes there: an unfinished last line is then not there yet.
    live: bool

    def files(self) -> Iterator[tuple[str, str]]:
        """The names of its files that are there, each with its signal."""
        return ((name, signal) for name, signal in _FILES if os.path.exists(os.path.join(self.folder, name)))


def sources(job: JobLayout) -> Iterator[Source]:
    """The runs of a job, then the attempts of its stages, each in the order of their numbers.

    A stage folder that cannot be read is passed over. Raises OSError where the job folder cannot be read.
    """
    for number in runs.numbers(job):
        yield Source(str(job.run_dir(number)), live=False)
    for found in stage_folders(job.root):
        if found.ours:
            with contextlib.suppress(OSError):
                yield from _attempts(StageLayout(job, found.number, found.name))


def _attempts(stage: StageLayout) -> list[Source]:
    numbers = stage.attempts()
    newest = status.newest(stage)
    running = newest.attempt if newest is not None and newest.status == names.RUNNING else None
    return [Source(str(stage.attempt_dir(number)), live=number == running) for number in numbers]
