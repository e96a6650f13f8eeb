"""The passes of `stageio run` through a job as they stand: the ended ones by their spans, the others by their files."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import runs, status
from otel_stageio.job.layout import TRACES, JobLayout
from otel_stageio.job.runs import Run
from otel_stageio.journal import files, reader
from otel_stageio.model import Value
from otel_stageio.views.summary import Summary

_STATUS: Final = f'"{names.STATUS}"'.encode()
_KEYS: Final = {
    "trace_id": str,
    "span_id": str,
    "parent_span_id": str,
    "trace_state": str,
    "name": str,
    "began": int,
    "host": str,
    "boot_id": str,
    "attributes": dict,
    "resource": dict,
}


class Pass(NamedTuple):
    """One `stageio run`. Times are Unix nanoseconds; `ended` is 0 where no end is on record."""

    run: Run
    trace_id: str
    span_id: str
    status: str
    started: int
    ended: int
    #: The last sign of life: the end, where there is one.
    seen: int
    #: What its span says, or will say.
    attributes: Mapping[str, Value]
    #: Seconds without a sign of life, where nothing else tells whether it runs.
    silent: float | None = None


def ended(job: JobLayout, run: Run) -> list[Pass]:
    """Those in a run that have an end on record. Raises OSError."""
    folders = (job.run_dir(run.run), *job.run_members(run.run))
    return [
        Pass(
            run=run,
            trace_id=span.trace_id,
            span_id=span.span_id,
            status=str(span.attributes[names.STATUS]),
            started=span.start_time_unix_nano,
            ended=span.end_time_unix_nano,
            seen=span.end_time_unix_nano,
            attributes=span.attributes,
        )
        for folder in folders
        for span in reader.spans(str(folder / TRACES), only=_STATUS)
        if names.STATUS in span.attributes  # the span of a run without `stageio run` says nothing of how it ended
    ]


def without_end(job: JobLayout) -> list[Pass]:
    """Those that run, and those whose process died and whose end nobody has written. Raises OSError."""
    try:
        found = os.listdir(job.pipelines_dir)
    except FileNotFoundError:
        return []
    return [each for span_id in found if (each := _without_end(job, span_id)) is not None]


def every(job: JobLayout) -> Iterator[Pass]:
    """All of the job, in no order. Raises OSError."""
    standing = {each.span_id: each for each in without_end(job)}  # first: one that ends meanwhile is found below
    for number in runs.numbers(job):
        run = runs.read(job, number)
        for each in ended(job, run) if run is not None else ():
            standing.pop(each.span_id, None)
            yield each
    yield from standing.values()


def stands(job: JobLayout, run: Run, since: int) -> str:
    """What the passes through a run make of its status: running while one is under way, then success or failed.

    The last that ended counts. They say nothing, "", where a stage was started after its end, at `since` (Unix
    nanoseconds): then somebody went on without. Raises OSError.
    """
    open_ones = {each.span_id: each for each in without_end(job) if each.run.run == run.run}
    if any(each.status == names.RUNNING for each in open_ones.values()):
        return names.RUNNING
    of_run = {**open_ones, **{each.span_id: each for each in ended(job, run)}}
    last = max(of_run.values(), key=lambda each: each.seen, default=None)
    if last is None or last.seen <= since:
        return ""
    return names.SUCCESS if last.status == names.SUCCESS else names.FAILED


def read_about(path: str) -> dict[str, Any] | None:
    """What a file of `pipelines_dir` says: all that the span will say; None where it is no such file."""
    try:
        about = json.loads(files.small(path))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(about, dict):
        return None
    return about if all(isinstance(about.get(key), kind) for key, kind in _KEYS.items()) else None


def run_of(job: JobLayout, about: Mapping[str, Any]) -> Run | None:
    """The run that a pass began or goes on in; None where it died before. Raises OSError."""
    return runs.newest(job, lambda run: about["span_id"] == run.span_id) or runs.newest(
        job, lambda run: run.run == about["resource"].get(names.RUN)
    )


def _without_end(job: JobLayout, span_id: str) -> Pass | None:
    path = os.path.join(job.pipelines_dir, span_id)
    about = read_about(path)
    run = run_of(job, about) if about is not None else None
    if about is None or run is None:
        return None
    pid = about.get("pid")
    known = Summary(
        *("", 0, 0, run.run, about["began"]),
        host=about["host"],
        boot_id=about["boot_id"],
        pid=pid if isinstance(pid, int) else 0,
    )
    stands = status.standing(known, path)
    return Pass(
        run=run,
        trace_id=about["trace_id"],
        span_id=span_id,
        status=stands.status,
        started=about["began"],
        ended=0,
        seen=max(status.last_sign(path), about["began"]),
        attributes=about["attributes"],
        silent=stands.silent,
    )
