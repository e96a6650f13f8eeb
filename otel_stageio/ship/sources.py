"""Which files of a job hold something to deliver, and in which order."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import runs, status
from otel_stageio.job.layout import EVENTS, LOG_RECORDS, MEMBERS, TRACES, JobLayout, StageLayout, all_stages
from otel_stageio.journal import reader
from otel_stageio.model import LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

SPANS: Final = "traces"
LOGS: Final = "logs"
SIGNALS: Final = (SPANS, LOGS)
#: The signal of each file. Spans first: they are few, and what a person looks for.
_FILES: Final = ((TRACES, SPANS), (EVENTS, LOGS), (LOG_RECORDS, LOGS))
FILES: Final = tuple(name for name, _ in _FILES)
_SAMPLED: Final = 1


class Choice(NamedTuple):
    """What of a job is to be delivered: by default all but the spans that are not for us to send."""

    #: Spans, too, that the program's own tracer provider has delivered.
    again: bool = False
    #: Spans, too, of traces that their caller chose not to sample.
    unsampled: bool = False
    #: Only runs and attempts that began then or later, in nanoseconds since the epoch.
    since: int = 0


class Source(NamedTuple):
    """A folder whose journal files are delivered together: an attempt's, or a run's."""

    folder: str
    #: Whether somebody still writes there: an unfinished last line is then not there yet.
    live: bool = False
    #: Whether its spans are for us to send.
    spans: bool = True

    def files(self) -> Iterator[tuple[str, str]]:
        """The names of its files that are there, each with its signal."""
        for name, signal in _FILES:
            if (self.spans or signal != SPANS) and os.path.exists(os.path.join(self.folder, name)):
                yield name, signal


def sources(job: JobLayout, choice: Choice = Choice()) -> Iterator[Source]:  # noqa: B008 - never changed
    """The runs of a job, then the attempts of its stages, each in the order of their numbers.

    A stage folder that cannot be read is passed over, and so is one that is a link: whoever planted it would choose
    where shipped.json is written. Raises OSError where the job folder cannot be read.
    """
    for number in runs.numbers(job):
        source = of_run(job, number, choice)
        if source is not None:
            folders = (source.folder, *map(str, job.run_members(number)))
            yield from (source._replace(folder=folder) for folder in folders if not os.path.islink(folder))
    for stage in all_stages(job):
        with contextlib.suppress(OSError):
            yield from (source for source in _attempts(stage, choice) if not os.path.islink(source.folder))


def of_run(job: JobLayout, number: int, choice: Choice = Choice(), *, folder: str = "") -> Source | None:  # noqa: B008 - never changed
    """A run's span, or those that another host wrote into that `folder` of the run's; None where it is not chosen."""
    run = runs.read(job, number)
    if run is not None and run.created_unix_nano < choice.since:
        return None
    flags, by_host = (run.trace_flags, run.by_host) if run is not None else (_SAMPLED, False)
    return Source(folder or str(job.run_dir(number)), spans=_ours(choice, flags, by_host=by_host))


def of_attempt(folder: str, choice: Choice = Choice(), *, live: bool = False) -> Source | None:  # noqa: B008 - never changed
    """An attempt's records; None where it is not chosen. Raises OSError."""
    begun = started(folder)
    around, kind = os.path.split(os.path.dirname(folder))
    if begun is None and kind == MEMBERS:  # it has the start that its attempt has
        begun = started(around)
    if begun is None:  # what is there is delivered, whatever it is
        return None if choice.since else Source(folder, live=live)
    if begun.time_unix_nano < choice.since:
        return None
    by_host = begun.attributes.get(names.TRACES_BY_HOST) is True
    return Source(folder, live=live, spans=_ours(choice, begun.flags, by_host=by_host))


def started(folder: str) -> LogRecord | None:
    """The started event of an attempt, if it has one. Raises OSError."""
    for piece in reader.pieces(os.path.join(folder, EVENTS), only=names.STARTED.encode()):
        for line in piece.lines:
            for record in line.records:
                if isinstance(record, LogRecord) and record.event_name == names.STARTED:
                    return record
    return None


def _ours(choice: Choice, flags: int, *, by_host: bool) -> bool:
    return (choice.again or not by_host) and (choice.unsampled or bool(flags & _SAMPLED))


def _attempts(stage: StageLayout, choice: Choice) -> list[Source]:
    numbers = stage.attempts()
    newest = status.newest(stage)
    running = newest.attempt if newest is not None and newest.status == names.RUNNING else None
    made = []
    for number in numbers:
        source = of_attempt(str(stage.attempt_dir(number)), choice, live=number == running)
        if source is not None:
            made += [source, *(source._replace(folder=str(folder)) for folder in stage.members(number))]
    return made
