"""manifest.json of a stage: the state of its newest attempt as one JSON document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.views.entries import Entries
from otel_stageio.views.indented import Ready, indented
from otel_stageio.views.moments import rfc3339, seconds_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_stageio.model import Attributes, Value
    from otel_stageio.views.state import StageState

SCHEMA_VERSION = "1.0"

#: Attributes of the started event that have a place of their own, and the part that the rest goes to.
_PARTS = (("host", "host."), ("host", "os."), ("process", "process."))
_PYTHON = {names.PROCESS_RUNTIME_NAME: "implementation", names.PROCESS_RUNTIME_VERSION: "version"}


def manifest(state: StageState, *, degraded: Iterable[str] = ()) -> dict[str, Any]:
    """The manifest of an attempt as plain JSON values, keys in their order in the file.

    `degraded` adds what the disk refused to journal. Before the started event there is nothing to show: {}.
    """
    made = snapshot(state, degraded=degraded)
    return {key: list(of.values()) if isinstance(of, Entries) else of for key, of in made.items()}


def snapshot(state: StageState, *, degraded: Iterable[str] = ()) -> dict[str, Any]:
    """The same for `dump`: artifacts as they are held. It stays as it is, whatever comes to the state."""
    made = _document(state, degraded)
    # Containers of its own are enough: what is in them is replaced, never changed.
    return {key: of.copy() if isinstance(of, (dict, list, Entries)) else of for key, of in made.items()}


def _document(state: StageState, degraded: Iterable[str]) -> dict[str, Any]:
    started = state.started
    if started is None:
        return {}
    about = started.attributes
    finished = state.finished
    end = finished.time_unix_nano if finished else None
    reason = finished.attributes.get(names.REASON) if finished else None
    run_name = about.get(names.RUN_NAME)
    made: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "stage": about[names.STAGE_NAME],
        "stage_number": about[names.STAGE_NUMBER],
        **({"item": item} if (item := about.get(names.STAGE_ITEM)) is not None else {}),
        "status": state.status,
        **({"reason": reason} if reason is not None else {}),
        "attempt": about[names.STAGE_ATTEMPT],
        "run": about[names.RUN],
        **({"run_name": run_name} if run_name is not None else {}),
        "started_at": rfc3339(started.time_unix_nano),
        "completed_at": rfc3339(end) if end else None,
        "duration_seconds": seconds_between(started.time_unix_nano, end) if end else None,
        "trace_id": started.trace_id,
        "span_id": started.span_id,
        "job_id": about[names.JOB_ID],
        "inputs": state.artifacts["input"],
        "outputs": state.artifacts["output"],
        "intermediate_files": state.artifacts["intermediate"],
        "steps": state.steps.entries(running=end is None),
        "config": state.config,
        "metrics": state.metrics,
        "resources": state.resources,
        "warnings": [*state.warnings, *_late(state)],
        "errors": state.errors,
        "log_counts": state.log_counts,
        "extra": state.extra,
        **_provenance(about),
    }
    if state.git:
        made["git"] = state.git
    made["redacted"] = finished.attributes.get(names.REDACTED_COUNT, 0) if finished else 0
    made["degraded"] = [*state.degraded, *degraded]
    return made


def _late(state: StageState) -> list[dict[str, Value]]:
    if not state.late_count:
        return []
    calls = "1 call" if state.late_count == 1 else f"{state.late_count} calls"
    said = ", contradicting its status" if state.contradicted else ""
    return [
        {
            "timestamp": state.late_calls[0]["timestamp"],
            "message": f"{calls} after the stage was finalized{said}",
            "calls": [*state.late_calls],
        }
    ]


def _provenance(about: Attributes) -> dict[str, Any]:
    parts: dict[str, Any] = {"host": {}, "process": {}, "command": about.get(names.PROCESS_COMMAND_ARGS), "python": {}}
    for name, of in about.items():
        if name == names.PROCESS_COMMAND_ARGS:
            continue
        if name in _PYTHON:
            parts["python"][_PYTHON[name]] = of
            continue
        for part, prefix in _PARTS:
            if name.startswith(prefix):
                parts[part][name.removeprefix(f"{part}.").replace(".", "_")] = of
    return parts


def dump(document: Mapping[str, Any]) -> bytes:
    """A manifest as the bytes of its file: indented JSON, UTF-8, a newline at the end; bytes values as base64."""
    texts = {key: [*map(Ready, of.texts())] for key, of in document.items() if isinstance(of, Entries)}
    return f"{indented({**document, **texts})}\n".encode("utf-8", "backslashreplace")
