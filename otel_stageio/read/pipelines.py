"""The passes of `stageio run` through a job as flat rows: what ran, how it stands or ended, and when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.job import passes
from otel_stageio.views.moments import rfc3339, seconds_between

if TYPE_CHECKING:
    from otel_stageio.job.layout import JobLayout
    from otel_stageio.job.passes import Pass

_FROM_SPAN = {
    "exit_code": names.PROCESS_EXIT_CODE,
    "reason": names.REASON,
    "host": names.HOST_NAME,
    "pid": names.PROCESS_PID,
}


def rows(job: JobLayout) -> list[dict[str, Any]]:
    """A row for each, those that began first at the top. Raises OSError."""
    return [_row(each) for each in sorted(passes.every(job), key=lambda each: (each.started, each.span_id))]


def _row(of: Pass) -> dict[str, Any]:
    return {
        "run": of.run.run,
        "run_name": of.run.name,
        "status": of.status,
        "command": _command(of.attributes.get(names.PROCESS_COMMAND_ARGS)),
        **{key: of.attributes.get(name) for key, name in _FROM_SPAN.items()},
        "started_at": rfc3339(of.started),
        "completed_at": rfc3339(of.ended) if of.ended else None,
        "duration_seconds": seconds_between(of.started, of.ended) if of.ended else None,
        "trace_id": of.trace_id,
        "span_id": of.span_id,
        "silent_seconds": None if of.silent is None else round(of.silent, 3),
    }


def _command(of: object) -> list[str] | str:
    """The words of a command, which the span has as JSON text; that text where it was cut, as very long ones are."""
    try:
        words = json.loads(str(of))
    except ValueError:
        return str(of)
    return [str(each) for each in words] if isinstance(words, list) else str(of)
