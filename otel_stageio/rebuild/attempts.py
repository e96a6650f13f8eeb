"""Which attempts the records tell of, and which record belongs to which of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.errors import StageIOError
from otel_stageio.job.naming import check_item, check_name, check_number, folder_name
from otel_stageio.journal import decode
from otel_stageio.model import LogRecord, Span
from otel_stageio.rebuild.spool import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_stageio.model import Attributes, Line
    from otel_stageio.rebuild.spool import Spool

_MOST_ID: Final = 100
_NOTHING: Final[Attributes] = {}


class Attempt(NamedTuple):
    """An attempt of a stage. `run` and `number` are 0 where the record does not tell; `span` is the stage's."""

    job: str
    stage: str
    stage_number: int
    #: Of which item of the stage; "" is none.
    item: str
    number: int
    run: int
    trace_id: str
    span_id: str
    began: int
    #: The resource's instance, one for each process.
    instance: str
    #: Of a stage that StageIO recorded; else of one that is a span, and nothing more, so far.
    started: bool
    #: Whether StageIO made the span, so that the events that belong to it are somewhere else.
    ours: bool = True

    @property
    def shown(self) -> str:
        """The attempt, for a person."""
        folder = folder_name(self.stage_number, self.stage)
        return f"{folder}/{self.item}, attempt {self.number}" if self.item else f"{folder}, attempt {self.number}"

    @property
    def writer(self) -> str:
        """Who signs what is made of the span alone: nobody else, and not who writes the end of a dead attempt."""
        return f"{self.span_id}.span"


def decoded(data: bytes) -> Line:
    """A line of the spool."""
    (line,) = decode.lines(json.loads(data))
    return line


def find(spool: Spool, say: Callable[[str], None], about: Attributes = _NOTHING) -> list[Attempt]:
    """Every attempt that a started event or a stage's span tells of; `say` hears of those that cannot be made.

    What a span does not tell of itself is in `about`.

    Of two that have the same place in a job the one that began first is taken.
    """
    found: dict[tuple[str, str], Attempt] = {}
    for each in _told(spool, say, about):
        found.setdefault((each.trace_id, each.span_id), each)
    places: dict[tuple[str, int, str, str, int], Attempt] = {}
    kept = []
    for each in sorted(found.values(), key=lambda of: (not of.started, of.began, of.trace_id, of.span_id)):
        place = (each.job, each.stage_number, each.stage, each.item, each.number)
        if each.number and places.setdefault(place, each) is not each:
            say(f"{each.shown} of job {each.job} is there twice, begun by two processes: only the first is written")
        else:
            kept.append(each)
    return kept


def _told(spool: Spool, say: Callable[[str], None], known: Attributes) -> Iterator[Attempt]:
    for data in spool.ask("SELECT line FROM logs WHERE event = ? ORDER BY time, key", names.STARTED):
        line = decoded(data)
        yield from _attempt(line, line.records[0], line.records[0].attributes, say)
    homeless = 0
    for data in spool.ask("SELECT line FROM spans WHERE stage ORDER BY began, trace, span"):
        line = decoded(data)
        span = line.records[0]
        about = {**known, **_wanted(line.resource.attributes), **span.attributes}
        homeless += names.JOB_ID not in about
        if names.JOB_ID in about:
            yield from _attempt(line, span, about, say)
    if homeless:
        say(f"{count(homeless, 'span')} of stages without {names.JOB_ID}: nobody can tell which job they belong to")


def _wanted(resource: Attributes) -> Attributes:
    return {key: of for key, of in resource.items() if key in (names.JOB_ID, names.RUN, names.RUN_NAME)}


def _attempt(line: Line, record: LogRecord | Span, about: Attributes, say: Callable[[str], None]) -> Iterator[Attempt]:
    try:
        made = Attempt(
            job=_job(about),
            stage=check_name(text(about, names.STAGE_NAME)),
            stage_number=_number(about, names.STAGE_NUMBER, least=0),
            item=check_item(text(about, names.STAGE_ITEM)) if names.STAGE_ITEM in about else "",
            number=_number(about, names.STAGE_ATTEMPT),
            run=_number(about, names.RUN),
            trace_id=_id(record.trace_id),
            span_id=_id(record.span_id),
            began=record.start_time_unix_nano if isinstance(record, Span) else record.time_unix_nano,
            instance=text(line.resource.attributes, names.SERVICE_INSTANCE_ID),
            started=isinstance(record, LogRecord),
            ours=line.resource.attributes.get(names.TELEMETRY_SDK_NAME) == names.SCOPE,
        )
        folder_name(made.stage_number, made.stage)
    except (StageIOError, ValueError) as why:
        say(f"a stage cannot be made anew: {why}")
    else:
        yield made


def _id(of: str) -> str:
    if not of:
        raise ValueError("it has no trace id and span id")
    return of


def _job(about: Attributes) -> str:
    """The job's id, which may have to be a folder's name."""
    job = text(about, names.JOB_ID)
    if not job or len(job) > _MOST_ID or job.startswith(".") or not all(of.isalnum() or of in "._-" for of in job):
        raise ValueError(f"{names.JOB_ID} is {job[:_MOST_ID]!r}, which no job is called")
    return job


def _number(about: Attributes, name: str, least: int = 1) -> int:
    """A whole number from `least` up; 0 where there is none, and there need not be one."""
    of = about.get(name)
    if of is None and least:
        return 0
    found = check_number(int(of) if isinstance(of, str) and of.isdecimal() else of)  # type: ignore[arg-type] # it looks
    if found < least:
        raise ValueError(f"{name} is {found}")
    return found


def numbered(found: list[Attempt]) -> list[Attempt]:
    """The attempts with the numbers that the record does not tell: runs by their traces, attempts as they began."""
    runs: dict[str, dict[str, int]] = {}
    last: dict[tuple[str, int, str, str], int] = {}
    for each in found:
        if each.run:
            runs.setdefault(each.job, {}).setdefault(each.trace_id, each.run)
        stage = (each.job, each.stage_number, each.stage, each.item)
        last[stage] = max(last.get(stage, 0), each.number)
    made = []
    for each in found:
        of_job = runs.setdefault(each.job, {})
        run = each.run or of_job.setdefault(each.trace_id, 1 + max(of_job.values(), default=0))
        number = each.number
        if not number:
            stage = (each.job, each.stage_number, each.stage, each.item)
            number = last[stage] = last[stage] + 1
        made.append(each._replace(run=run, number=number))
    return sorted(made, key=lambda of: (of.job, of.stage_number, of.stage, of.item, of.number))


#: The spans that such a record was made in are the attempt's, unless they are another stage's.
_SPANS_OF_LOGS: Final = """
    INSERT OR IGNORE INTO homes SELECT trace, span, min(attempt) FROM logs
    WHERE attempt IS NOT NULL AND span <> '' GROUP BY trace, span
"""
#: And so is every span below one of the attempt's.
_BELOW: Final = """
    INSERT OR IGNORE INTO homes
    WITH RECURSIVE below (trace, span, attempt) AS (
        SELECT trace, span, attempt FROM homes
        UNION
        SELECT spans.trace, spans.span, below.attempt FROM below
        JOIN spans ON spans.trace = below.trace AND spans.parent = below.span
        WHERE NOT EXISTS (SELECT 1 FROM homes WHERE homes.trace = spans.trace AND homes.span = spans.span))
    SELECT trace, span, min(attempt) FROM below GROUP BY trace, span
"""
_BY_SPAN: Final = """
    UPDATE {table} SET attempt = (
        SELECT homes.attempt FROM homes WHERE homes.trace = {table}.trace AND homes.span = {table}.span)
    WHERE attempt IS NULL
"""
#: What is left is of the stage that this process was in then.
_BY_TIME: Final = """
    UPDATE spans SET attempt = ? WHERE attempt IS NULL AND job = ? AND instance = ? AND instance <> '' AND began >= ?
    AND span NOT IN (SELECT value FROM json_each(?))
"""
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS of_writer ON logs (job, writer, event)",
    "CREATE INDEX IF NOT EXISTS of_parent ON spans (trace, parent)",
    "CREATE INDEX IF NOT EXISTS of_attempt ON logs (attempt)",
)


def sort(spool: Spool, attempts: list[Attempt]) -> None:
    """Give each record to the attempt, by its place in `attempts`, that it belongs to."""
    for each in _INDEXES:
        spool.tell(each)
    for of in attempts:
        # What was made of the span alone, when there was no more of the attempt than that, is said better now.
        same = "job = ? AND trace = ? AND span = ? AND event = ? AND writer <> ?"
        better = (of.job, of.trace_id, of.span_id, names.STARTED, of.writer)
        if of.ours and [*spool.ask(f"SELECT 1 FROM logs WHERE {same}", *better)]:  # noqa: S608 - no text of others
            spool.tell("DELETE FROM logs WHERE job = ? AND writer = ?", of.job, of.writer)
    spool.tell("DELETE FROM homes")
    spool.tell("UPDATE logs SET attempt = NULL")
    spool.tell("UPDATE spans SET attempt = NULL")
    for at, of in enumerate(attempts):
        spool.tell("INSERT OR IGNORE INTO homes VALUES (?, ?, ?)", of.trace_id, of.span_id, at)
        spool.tell(
            "UPDATE logs SET attempt = ? WHERE (job, writer) IN "
            "(SELECT job, writer FROM logs WHERE event = ? AND trace = ? AND span = ? AND writer <> '')",
            *(at, names.STARTED, of.trace_id, of.span_id),
        )
    spool.tell(_SPANS_OF_LOGS)
    spool.tell(_BELOW)
    spool.tell(_BY_SPAN.format(table="spans"))
    spool.tell(_BY_SPAN.format(table="logs"))
    # A child by fork is a writer of its own: what one record of it tells is true of the others.
    for job, writer in [*spool.ask("SELECT DISTINCT job, writer FROM logs WHERE attempt IS NULL AND writer <> ''")]:
        for home in [*spool.ask("SELECT min(attempt) FROM logs WHERE job = ? AND writer = ?", job, writer)]:
            spool.tell(
                "UPDATE logs SET attempt = ? WHERE job = ? AND writer = ? AND attempt IS NULL", home, job, writer
            )
    # The runs' own spans belong to no stage.
    started = [decoded(each) for each in spool.ask("SELECT line FROM logs WHERE event = ?", names.STARTED)]
    of_runs = {text(line.records[0].attributes, names.RUN_SPAN_ID) for line in started}
    apart = json.dumps(sorted(of_runs - {of.span_id for of in attempts}))
    for at, of in sorted(enumerate(attempts), key=lambda each: -each[1].began):
        spool.tell(_BY_TIME, at, of.job, of.instance, of.began, apart)


def count(number: int, what: str) -> str:
    """A number of things, for a person."""
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
