"""Runs: passes of the pipeline through the job folder, each with a trace, a root span and a pipeline log.

A run's folder appears with everything in it, by one rename, so a run is never half begun and no two processes begin the
same one. The root span lasts a millisecond: it is there to carry the trace, its children tell how long things took.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.job import identity
from otel_stageio.job.layout import LOGS, TRACES
from otel_stageio.journal import encode, files
from otel_stageio.model import Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.model import Resource

RUN_JSON = "run.json"
_ROOT_SPAN = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What run.json says. `pipeline_log` is relative to the job folder."""

    run: int
    name: str | None
    trace_id: str
    span_id: str
    pipeline_log: str
    host: str
    created_unix_nano: int


def numbers(job: JobLayout) -> list[int]:
    """The runs on disk, ascending. Raises OSError where the folder is there and cannot be read."""
    try:
        return sorted(int(name) for name in os.listdir(job.runs_dir) if name.isdigit())
    except FileNotFoundError:
        return []


def read(job: JobLayout, number: int) -> Run | None:
    """A run; None where there is none of that number or its run.json says nothing."""
    try:
        with open(job.run_dir(number) / RUN_JSON, "rb") as file:
            document = json.load(file)
        return Run(**{key: document[key] for key in Run.__dataclass_fields__})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def join(
    job: JobLayout, *, name: str | None, done: Callable[[int], bool], host: str, resource: Callable[[int], Resource]
) -> Run:
    """The run that a stage takes part in, begun now where it has to be.

    With a `name` it is the run of that name. Else it is the newest one, unless `done` says that the stage did its work
    in it already: then the pipeline was started again, and a new run begins. Raises OSError.
    """
    while True:
        known = numbers(job)
        run = _named(job, known, name) if name is not None else read(job, known[-1]) if known else None
        if run is not None and (name is not None or not done(run.run)):
            return run
        begun = _begin(job, (known or [0])[-1] + 1, name=name, host=host, resource=resource)
        if begun is not None:
            return begun


def _named(job: JobLayout, known: list[int], name: str) -> Run | None:
    return next((run for number in reversed(known) if (run := read(job, number)) and run.name == name), None)


def _begin(
    job: JobLayout, number: int, *, name: str | None, host: str, resource: Callable[[int], Resource]
) -> Run | None:
    """Begin run `number`; None where somebody else began it first."""
    now = time.time_ns()
    run = Run(
        run=number,
        name=name,
        trace_id=os.urandom(16).hex(),
        span_id=os.urandom(8).hex(),
        pipeline_log=_pipeline_log(job, number, now),
        host=host,
        created_unix_nano=now,
    )
    about = resource(number)
    span = Span(
        trace_id=run.trace_id,
        span_id=run.span_id,
        name=name or str(about.attributes[names.SERVICE_NAME]),
        start_time_unix_nano=now,
        end_time_unix_nano=now + _ROOT_SPAN,
        attributes={
            names.JOB_ID: about.attributes[names.JOB_ID],
            names.RUN: number,
            **({names.RUN_NAME: name} if name is not None else {}),
        },
    )
    begun = files.claim_filled_folder(
        str(job.run_dir(number)),
        {
            RUN_JSON: f"{json.dumps(asdict(run), indent=2)}\n".encode(),
            TRACES: encode.span_line(span, encode.tail(identity.SCOPE, about)),
        },
    )
    return run if begun else None


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
