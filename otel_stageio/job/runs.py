"""Runs: passes of the pipeline through the job folder, each with a trace, a root span and a pipeline log.

A run's folder appears with everything in it, by one rename, so a run is never half begun and no two processes begin the
same one. The root span lasts a millisecond: it is there to carry the trace, its children tell how long things took.
Where `stageio run` is the pipeline, the span is its own to write, when it ends (`pipelines`).
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import identity
from otel_stageio.job.layout import LOGS, MEMBERS, TRACES, JobLayout
from otel_stageio.journal import encode, files
from otel_stageio.model import Resource, Span, Value

RUN_JSON = "run.json"
#: Nanoseconds that a run's span lasts.
ROOT_SPAN = 1_000_000


class Run(NamedTuple):
    """What run.json says. `pipeline_log` is relative to the job folder."""

    run: int
    name: str | None
    trace_id: str
    span_id: str
    pipeline_log: str
    host: str
    created_unix_nano: int
    #: The W3C flags of the trace that the run began in: 1, unless an incoming one was not sampled.
    trace_flags: int = 1
    #: Its W3C trace state, as the header has it.
    trace_state: str = ""
    #: Whether the program's own tracer made its span, and delivers it.
    by_host: bool = False


_OPTIONAL = {"trace_flags": 1, "trace_state": "", "by_host": False}
_KEYS = tuple(Run._fields)


class Ids(NamedTuple):
    """Where in a trace a run stands: its trace, and the span that its stages hang on. Hex text."""

    trace_id: str
    span_id: str
    trace_flags: int = 1
    trace_state: str = ""
    by_host: bool = False


def new_ids() -> Ids:
    """Ids of a new trace."""
    return Ids(os.urandom(16).hex(), os.urandom(8).hex())


def numbers(job: JobLayout) -> list[int]:
    """The runs on disk, ascending. Raises OSError where the folder is there and cannot be read."""
    try:
        return sorted(int(name) for name in os.listdir(job.runs_dir) if name.isdigit())
    except FileNotFoundError:
        return []


def read(job: JobLayout, number: int) -> Run | None:
    """A run; None where there is none of that number, or its run.json says nothing that we would."""
    try:
        document = json.loads(files.small(str(job.run_dir(number) / RUN_JSON)))
        run = Run(**{key: document.get(key, _OPTIONAL[key]) if key in _OPTIONAL else document[key] for key in _KEYS})
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError, AttributeError):
        return None
    is_ours = all(type(of) is int for of in (run.run, run.created_unix_nano, run.trace_flags))
    return run if is_ours and is_log(run.pipeline_log) else None


def is_log(path: object) -> bool:
    """Whether it is a path that we give a pipeline log; it is written to, so one that leads elsewhere is not taken."""
    folder, name = os.path.split(path) if isinstance(path, str) else ("", "")
    return folder == LOGS and name not in ("", os.curdir, os.pardir) and "\0" not in name


def spans_dir(job: JobLayout, run: Run, host: str) -> Path:
    """The folder in which a host writes spans of a run: one host writes a file, and the first who began the run."""
    folder = job.run_dir(run.run)
    return folder if run.host == host else folder / MEMBERS / host


def join(
    job: JobLayout,
    *,
    name: str | None,
    done: Callable[[int], bool],
    host: str,
    resource: Callable[[int], Resource],
    incoming: Ids | None = None,
    ids: Callable[[str, int], Ids] = lambda _name, _now: new_ids(),
    owned: Ids | None = None,
) -> Run:
    """The run that a stage takes part in, begun now where it has to be.

    With a `name` it is the run of that name, or of that trace id. Else, where the stage is called in a trace, it is the
    run of that trace: `incoming` says where the stage is called. Else it is the newest one, unless `done` says that the
    stage did its work in it already: then the pipeline was started again, and a new run begins. A run that begins in
    an incoming trace writes no span: the caller's stands for it; and the id of that trace is no name. `ids` gives the
    ids of any other one's root span, from its name and start. A run that begins with the `owned` ids has no span yet:
    whoever gave them writes it. Raises OSError.
    """
    begins = None if incoming is not None and name == incoming.trace_id else name
    while True:
        known = numbers(job)
        if name is not None:
            run = newest(job, lambda run: name in (run.name, run.trace_id), known)
        elif incoming is not None:
            run = newest(job, lambda run: run.trace_id == incoming.trace_id, known)
        else:
            run = read(job, known[-1]) if known else None
            run = None if run is not None and done(run.run) else run
        if run is not None:
            return run
        number = (known or [0])[-1] + 1
        begun = _begin(job, number, name=begins, host=host, resource=resource, spanless=owned or incoming, ids=ids)
        if begun is not None:
            return begun


def newest(job: JobLayout, wanted: Callable[[Run], bool], known: list[int] | None = None) -> Run | None:
    """The newest of the runs (those `known`) that is `wanted`. Raises OSError."""
    known = numbers(job) if known is None else known
    return next((run for number in reversed(known) if (run := read(job, number)) and wanted(run)), None)


def _begin(
    job: JobLayout,
    number: int,
    *,
    name: str | None,
    host: str,
    resource: Callable[[int], Resource],
    spanless: Ids | None,
    ids: Callable[[str, int], Ids],
) -> Run | None:
    """Begin run `number`, with the ids `spanless` without a span; None where somebody else began it first."""
    now = time.time_ns()
    about = resource(number)
    shown = name or str(about.attributes[names.SERVICE_NAME])
    where = spanless or ids(shown, now)
    run = Run(
        run=number,
        name=name,
        trace_id=where.trace_id,
        span_id=where.span_id,
        pipeline_log=_pipeline_log(job, number, now),
        host=host,
        created_unix_nano=now,
        trace_flags=where.trace_flags,
        trace_state=where.trace_state,
        by_host=where.by_host,
    )
    content = {RUN_JSON: f"{json.dumps(run._asdict(), indent=2)}\n".encode()}
    if spanless is None:
        content[TRACES] = encode.span_line(_root_span(run, shown, about), encode.tail(identity.SCOPE, about))
    return run if files.claim_filled_folder(str(job.run_dir(number)), content) else None


def _root_span(run: Run, name: str, about: Resource) -> Span:
    """A millisecond under which the stages of the run stand side by side."""
    return Span(
        trace_id=run.trace_id,
        span_id=run.span_id,
        trace_state=run.trace_state,
        name=name,
        start_time_unix_nano=run.created_unix_nano,
        end_time_unix_nano=run.created_unix_nano + ROOT_SPAN,
        attributes=attributes(run, str(about.attributes[names.JOB_ID])),
    )


def attributes(run: Run, job_id: str) -> dict[str, Value]:
    """What a run's span says of it."""
    made: dict[str, Value] = {names.JOB_ID: job_id, names.RUN: run.run}
    if run.name is not None:
        made[names.RUN_NAME] = run.name
    return made


def _pipeline_log(job: JobLayout, number: int, now: int) -> str:
    """A log of its own for each run, also where two begin within a second and the first has not written to it yet."""
    at = time.strftime("%Y%m%d_%H%M%S", time.localtime(now // 1_000_000_000))
    path = f"{LOGS}/99_pipeline_{at}.log"
    return f"{LOGS}/99_pipeline_{at}_{number:03d}.log" if _taken(job, number, path) else path


def _taken(job: JobLayout, number: int, path: str) -> bool:
    """Whether the pipeline log `path` is there, or is that of a run before `number`."""
    if os.path.exists(job.root / path):
        return True
    stem = path.removesuffix(".log")
    for before in reversed(range(1, number)):
        run = read(job, before)
        if run is None or not run.pipeline_log.startswith(stem):
            return False  # of an earlier second, and so are those before it
        if run.pipeline_log == path:
            return True
    return False
