"""The folder of a job that is made anew: its journals, and the views of them.

Every file is written whole and replaces the one before, so that a second time gives the same files. What the caller
made the folder from is not touched: a folder that a stage recorded is refused.
"""

from __future__ import annotations

import heapq
import json
import os
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.errors import JobFormatError
from otel_stageio.job import items, links, registry, runs
from otel_stageio.job.layout import EVENTS, LOG_RECORDS, STAGE_LOG, TRACES, JobLayout, StageLayout, all_stages
from otel_stageio.journal import appending, encode, files, reader
from otel_stageio.model import LogRecord
from otel_stageio.rebuild.attempts import decoded
from otel_stageio.rebuild.spool import text
from otel_stageio.views import logline, span, told
from otel_stageio.views.manifest import dump, snapshot
from otel_stageio.views.moments import rfc3339
from otel_stageio.views.state import StageState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from otel_stageio.model import Attributes
    from otel_stageio.rebuild.attempts import Attempt
    from otel_stageio.rebuild.spool import Spool

#: In job.json of a folder that was made anew.
REBUILT: Final = "rebuilt"
_HOST_CHARACTERS: Final = 200
#: In the order in which the fold takes them; see `views.state.fold`.
_IN_ORDER: Final = """
    SELECT event, severity, level, line FROM (
        SELECT event, severity, level, line, writer, count, key, CASE WHEN writer = '' THEN time
            ELSE max(time) OVER (PARTITION BY writer ORDER BY count) END AS timed
        FROM logs WHERE attempt = ?)
    ORDER BY timed, writer = '', writer, count, key
"""
_OFFSET_MOST: Final = 24 * 3600


def check(job: JobLayout, job_id: str) -> bool:
    """Whether the folder holds this job, made anew before; False where it is empty or not there.

    Raises JobFormatError where something else is in it.
    """
    # Folders without a file are what is left where a rebuild was interrupted as it began.
    if os.path.isdir(job.root) and not any(inside for _, _, inside in os.walk(job.root)):
        return False
    if not os.path.lexists(job.root):
        return False
    told = _told_by(job)
    if told is None:
        raise JobFormatError(f"{job.root} is not empty, and no job that was rebuilt: give an empty folder")
    known, rebuilt = told
    if known != job_id:
        raise JobFormatError(f"{job.root} holds job {known}, not {job_id}: give an empty folder, or that job's own")
    if not rebuilt:
        raise JobFormatError(f"{job.root} is where job {job_id} was recorded: it is left as it is, give another folder")
    return True


def check_around(into: Path, jobs: Iterable[str]) -> None:
    """Raise JobFormatError where the folder for the folders of several jobs has something in it but rebuilt jobs."""
    try:
        inside = set(os.listdir(into)) - {*jobs}
    except FileNotFoundError:
        return
    for name in sorted(inside):
        if _told_by(JobLayout(into / name)) != (name, True):
            raise JobFormatError(f"{into} has {name} in it, which is no job that was rebuilt: give an empty folder")


def _told_by(job: JobLayout) -> tuple[str, bool] | None:
    """The job's id and whether it was made anew; None where the folder is no job's."""
    try:
        with open(job.job_json, "rb", opener=files.regular) as file:
            document = json.load(file)
        return str(document["job_id"]), bool(document.get(REBUILT))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def begin(job: JobLayout, job_id: str, began: int, *, rebuilt: bool = True) -> None:
    """Make the folder the job's, if it is none yet. Raises OSError, OutputPathError."""
    links.refuse(job.root, job.inner, job.runs_dir, job.logs_dir)
    for each in (job.inner, job.logs_dir):
        files.make_folders(str(each))
    made: dict[str, object] = {"format": names.FORMAT, "job_id": job_id, "created_at": rfc3339(began)}
    if rebuilt:
        made[REBUILT] = True
    if not os.path.exists(job.job_json):
        files.replace(str(job.job_json), f"{json.dumps(made, indent=2)}\n".encode())


class Writer:
    """Writes the attempts of one job from the spool, and then what is made of several of them."""

    def __init__(self, job: JobLayout, spool: Spool, say: Callable[[str], None], *, alone: bool = True) -> None:
        """Write into the folder `job`; `say` hears what is missing. Not `alone`: its runs may be those of stages."""
        self._job = job
        self._spool = spool
        self._say = say
        self._alone = alone
        self._stages: dict[StageLayout, None] = {}
        self._runs: dict[int, runs.Run] = {}

    def write(self, of: Attempt, at: int) -> None:
        """Write the journal of an attempt, the one with place `at` in the spool. Raises OSError, OutputPathError."""
        stage = StageLayout(self._job, of.stage_number, of.stage, of.item)
        folder = stage.attempt_dir(of.number)
        links.refuse(self._job.root, *stage.folders, stage.inner, folder)
        if stage.item:
            items.claim(stage)
        files.make_folders(str(folder))
        self._stages[stage] = None
        _write(folder / EVENTS, self._logs(at, events=True))
        _write(folder / LOG_RECORDS, self._logs(at, events=False))
        state = StageState()
        for event, severity, level, line in self._spool.ask(_IN_ORDER, at):
            if not event and severity < names.SEVERITY_WARN:  # it is counted, and that is all
                state.apply(LogRecord(0, severity, level))
            elif isinstance(record := decoded(line).records[0], LogRecord):
                state.apply(record)
        whole = self._note(of, at, state)
        self._write_spans(folder / TRACES, of, at, state if whole else StageState())
        self._note_run(of, state)
        saved = state.started is not None and state.started.attributes.get(names.STAGE_MANIFEST) is not False
        if state.finished is not None and state.finished.attributes.get(names.STAGE_MANIFEST) is False:
            saved = False
        if max(stage.attempts(), default=0) == of.number:
            if saved:
                files.replace(str(stage.manifest), dump(snapshot(state)))
            else:
                files.remove(str(stage.manifest))

    def _logs(self, at: int, *, events: bool) -> Iterator[bytes]:
        return (line for event, _, _, line in self._spool.ask(_IN_ORDER, at) if event.startswith(names.OWN) == events)

    def _write_spans(self, path: Path, of: Attempt, at: int, state: StageState) -> None:
        ask = "SELECT line FROM spans WHERE attempt = ? ORDER BY span = ?, ended, began, span"
        _write(path, self._spool.ask(ask, at, of.span_id))
        if not [*self._spool.ask("SELECT 1 FROM spans WHERE attempt = ? AND span = ?", at, of.span_id)]:
            made = span.span(state)
            first = next(self._spool.ask("SELECT line FROM logs WHERE attempt = ? LIMIT 1", at), None)
            if made is not None and first is not None:
                line = decoded(first)
                file = appending.AppendFile(str(path))
                file.write(encode.span_line(made, encode.tail(line.scope, line.resource)))
                file.close()

    def _note(self, of: Attempt, at: int, state: StageState) -> bool:
        """Say what is missing of an attempt; whether nothing is."""
        gaps = "SELECT max(count) - count(*) FROM logs WHERE attempt = ? AND writer <> '' AND count > 0 GROUP BY writer"
        missing = sum(self._spool.ask(gaps, at))
        if missing > 0:
            self._say(f"{of.shown}: {missing:,} records are missing, as the count in {names.LOG_RECORD_UID} tells")
        if not of.started and of.ours:
            self._say(f"{of.shown}: there is only its span: logs, and what the span had no room for, are missing")
        if state.finished is None:
            self._say(f"{of.shown}: its end is not there: it was running, was killed, or the record is not whole")
        return missing <= 0 and state.finished is not None

    def _note_run(self, of: Attempt, state: StageState) -> None:
        if state.started is None or of.run in self._runs:
            return
        about = state.started.attributes
        began, log = about.get(names.RUN_BEGAN), about.get(names.RUN_LOG)
        if not (isinstance(began, int) and runs.is_log(log)):
            self._say(f"run {of.run}: when it began and the name of its log are not there: it is taken from a stage")
            began, log = state.started.time_unix_nano, f"logs/99_pipeline_{of.run:03d}.log"
        name = about.get(names.RUN_NAME)
        self._runs[of.run] = runs.Run(
            run=of.run,
            name=None if name is None else str(name),
            trace_id=text(about, names.RUN_TRACE_ID) or of.trace_id,
            span_id=text(about, names.RUN_SPAN_ID),
            pipeline_log=str(log),
            host=text(about, names.RUN_HOST),
            created_unix_nano=began,
            trace_flags=state.started.flags,
            trace_state=text(about, names.TRACE_STATE),
            by_host=about.get(names.TRACES_BY_HOST) is True,
        )

    def finish(self, job_id: str) -> None:
        """Write the runs, the logs for people and the job manifest. Raises OSError, OutputPathError."""
        for number, run in sorted(self._runs.items()):
            folder = self._job.run_dir(number)
            links.refuse(self._job.root, folder)
            files.make_folders(str(folder))
            if self._alone or runs.read(self._job, number) is None:
                files.replace(str(folder / runs.RUN_JSON), f"{json.dumps(run._asdict(), indent=2)}\n".encode())
            ask = "SELECT line FROM spans WHERE attempt IS NULL AND job = ? AND trace = ? ORDER BY ended, span"
            _write(folder / TRACES, self._spool.ask(ask, job_id, run.trace_id))
        for stage in self._stages:
            for name, lines in _stage_logs(stage):
                files.replace_by(str(stage.folder / name), lines)
        stages = [*all_stages(self._job)]
        for run in self._runs.values():
            for path, lines in _pipeline_logs(self._job, run, stages):
                files.replace_by(path, lines)
        registry.update(self._job)


def _write(path: Path, lines: Iterable[bytes]) -> None:
    """Write the lines, if there are any: files appear with their first line."""
    lines = iter(lines)
    first = next(lines, None)
    if first is None:
        files.remove(str(path))
    else:
        files.replace_by(str(path), _chain(first, lines))


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


# The logs for people.


def _started(stage: StageLayout, attempt: int) -> LogRecord | None:
    for record in reader.log_records(str(stage.attempt_dir(attempt) / EVENTS)):
        if record.event_name == names.STARTED:
            return record
    return None


def _host(about: Attributes) -> str:
    """The host's name as a part of a file's name."""
    host = text(about, names.HOST_NAME)[:_HOST_CHARACTERS]
    return "".join(of if of.isalnum() or of in "._-" else "_" for of in host)


def clock(about: Attributes) -> tuple[logline.LineClock, str]:
    """Local time where the stage ran, and its distance from UTC as the header of an attempt has it."""
    offset = about.get(names.UTC_OFFSET)
    seconds = offset if isinstance(offset, int) and abs(offset) <= _OFFSET_MOST else 0
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return logline.LineClock(seconds), f"{'-' if seconds < 0 else '+'}{hours:02d}{minutes:02d}"


def _told(stage: StageLayout, attempt: int, about: Attributes) -> Iterator[tuple[int, told.Told]]:
    """The lines of an attempt, each with a time that never runs back."""
    times, _ = clock(about)
    latest = 0
    for piece in reader.pieces(str(stage.attempt_dir(attempt) / LOG_RECORDS)):
        for line in piece.lines:
            for record in line.records:
                if isinstance(record, LogRecord):
                    latest = max(latest, record.time_unix_nano)
                    of = told.told(record, line.scope, line.resource, stage=stage.label, clock=times)
                    yield latest, of


def _headed(stage: StageLayout, attempt: int, started: LogRecord) -> Iterator[tuple[int, told.Told]]:
    about = started.attributes
    times, offset = clock(about)
    pid = about.get(names.PROCESS_PID, 0)
    header = logline.header(
        times.text(started.time_unix_nano),
        offset,
        stage=stage.label,
        number=stage.number,
        attempt=attempt,
        run=int(text(about, names.RUN)),
        pid=pid if isinstance(pid, int) else 0,
        host=text(about, names.HOST_NAME),
    )
    yield 0, told.Told(header, pipeline=False)
    yield from _told(stage, attempt, about)


def _stage_logs(stage: StageLayout) -> Iterator[tuple[str, Iterator[bytes]]]:
    """The stage's log, and that of each further host."""
    known = [(each, started) for each in stage.attempts() if (started := _started(stage, each)) is not None]
    hosts: dict[str, list[Iterator[tuple[int, told.Told]]]] = {}
    for attempt, started in known:
        hosts.setdefault(_host(started.attributes), []).append(_from(stage, attempt, started))
    for at, (host, attempts) in enumerate(hosts.items()):
        name = STAGE_LOG if at == 0 else f"{stage.log.stem}.{host}{stage.log.suffix}"
        yield name, (_line(of) for _, of in heapq.merge(*attempts, key=lambda pair: pair[0]))


def _from(stage: StageLayout, attempt: int, started: LogRecord) -> Iterator[tuple[int, told.Told]]:
    """The header and the lines of an attempt, none before the attempt began."""
    for at, of in _headed(stage, attempt, started):
        yield max(at, started.time_unix_nano), of


def _pipeline_logs(job: JobLayout, run: runs.Run, stages: list[StageLayout]) -> Iterator[tuple[str, Iterator[bytes]]]:
    hosts: dict[str, list[Iterator[tuple[int, told.Told]]]] = {}
    for stage in stages:
        for attempt in stage.attempts():
            started = _started(stage, attempt)
            if started is not None and started.attributes.get(names.RUN) == run.run:
                host = text(started.attributes, names.HOST_NAME)
                key = "" if host == run.host else _host(started.attributes)
                hosts.setdefault(key, []).append(_told(stage, attempt, started.attributes))
    for host, attempts in hosts.items():
        path = job.root / run.pipeline_log
        merged = heapq.merge(*attempts, key=lambda pair: pair[0])
        lines = (_line(of) for _, of in merged if of.pipeline)
        first = next(lines, None)
        if first is not None:
            yield str(path.with_suffix(f".{host}.log") if host else path), _chain(first, lines)


def _line(of: told.Told) -> bytes:
    return f"{of.line}\n".encode("utf-8", "backslashreplace")
