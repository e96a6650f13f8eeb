"""The events of a stage that is a span and nothing more: what StageIO would have written, from what the span says.

So a program that makes its stages with the plain SDK, in any language, has the journal of one that uses StageIO.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.errors import attempt
from otel_stageio.journal import encode
from otel_stageio.model import Line, LogRecord, Span
from otel_stageio.rebuild.attempts import decoded
from otel_stageio.rebuild.spool import text
from otel_stageio.views import told

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Attributes, SpanEvent, Value
    from otel_stageio.rebuild.attempts import Attempt
    from otel_stageio.rebuild.spool import Spool

_SECOND: Final = 1_000_000_000
_PROCESS: Final = ("host.", "os.", "process.")
_STARTED: Final = (names.RUN_NAME, names.JOB_STAGES, names.RUN_SPAN_ID, names.BOOT_ID)
_FINISHED: Final = (names.REASON, names.ERROR_TYPE, names.REDACTED_COUNT)
_LEVELS: Final = {
    names.WARNING: (names.SEVERITY_WARN, "WARNING"),
    names.ERROR: (names.SEVERITY_ERROR, "ERROR"),
}
_STATUSES: Final = (*names.FINAL_STATUSES, names.ABANDONED, names.LOST)


def complete(spool: Spool, of: Attempt, run: Attributes) -> None:
    """Put the events of a stage of which there is only a span into the spool; `run` is what is known of its run."""
    for line in [*_events(spool, of, run)]:
        attributes = {**line.resource.attributes, names.JOB_ID: of.job, names.RUN: of.run}
        spool.add(line._replace(resource=line.resource._replace(attributes=attributes)))


def _events(spool: Spool, of: Attempt, run: Attributes) -> Iterator[Line]:
    for data in [*spool.ask("SELECT line FROM spans WHERE trace = ? AND span = ?", of.trace_id, of.span_id)]:
        line = decoded(data)
        span = line.records[0]
        if isinstance(span, Span):
            children = [
                decoded(each).records[0]
                for each in spool.ask(
                    "SELECT line FROM spans WHERE trace = ? AND parent = ? AND instr(line, ?) ORDER BY began, span",
                    *(of.trace_id, of.span_id, names.STEP.encode()),
                )
            ]
            steps = [each for each in children if isinstance(each, Span) and names.STEP in each.attributes]
            records = _records(of, span, {**run, **line.resource.attributes, **span.attributes}, steps)
            signed = (
                each._replace(attributes={**each.attributes, names.LOG_RECORD_UID: f"{of.writer}-{count}"})
                for count, each in enumerate(records, start=1)
            )
            yield line._replace(records=tuple(signed))


def _records(of: Attempt, span: Span, about: Attributes, steps: list[Span]) -> Iterator[LogRecord]:
    began, ended = span.start_time_unix_nano, span.end_time_unix_nano

    def event(name: str, at: int, attributes: Attributes, body: Value = None, span_id: str = "") -> LogRecord:
        severity, level = _LEVELS.get(name, (names.SEVERITY_INFO, "INFO"))
        of_span = {"trace_id": span.trace_id, "span_id": span_id or span.span_id, "flags": 1}
        return LogRecord(at, severity, level, name, body, attributes, **of_span)  # type: ignore[arg-type] # all text

    yield event(names.STARTED, began, _started(of, span, about))
    config = {key: each for key, each in span.attributes.items() if key.startswith(names.CONFIG_KEY)}
    if config:
        yield event(names.CONFIG, began, config)
    between = [event(*made) for each in span.events if (made := _event(each))]
    for step in steps:
        named = {names.STEP: step.attributes[names.STEP]}
        given = {names.STEP_ATTRIBUTE + key: each for key, each in step.attributes.items() if _theirs(key)}
        begun, end = step.start_time_unix_nano, step.end_time_unix_nano
        between.append(event(names.STEP_STARTED, begun, {**named, **given}, span_id=step.span_id))
        between.append(event(names.STEP_FINISHED, end, {**named, **_step_end(step)}, span_id=step.span_id))
    yield from sorted(between, key=lambda each: each.time_unix_nano)
    for key, each in span.attributes.items():
        if key.startswith(names.METRIC_KEY):
            metric = {names.METRIC_NAME: key.removeprefix(names.METRIC_KEY), names.METRIC_VALUE: each}
            yield event(names.METRIC, ended, metric)
    yield event(names.FINISHED, ended, _finished(span))


def _theirs(key: str) -> bool:
    return not key.startswith(names.OWN)


def _started(of: Attempt, span: Span, about: Attributes) -> dict[str, Value]:
    made: dict[str, Value] = {
        names.STAGE_NAME: of.stage,
        names.STAGE_NUMBER: of.stage_number,
        **({names.STAGE_ITEM: of.item} if of.item else {}),
        names.STAGE_ATTEMPT: of.number,
        names.STAGE_MANIFEST: about.get(names.STAGE_MANIFEST) is not False,
        names.JOB_ID: of.job,
        names.RUN: of.run,
    }
    at = about.get(names.RUN_BEGAN)
    began = at if isinstance(at, int) else span.start_time_unix_nano
    shown = attempt(lambda: time.strftime("%Y%m%d_%H%M%S", time.gmtime(began // _SECOND)), lambda _: "0")
    made.update({key: about[key] for key in _STARTED if key in about})
    made.update(
        {
            names.RUN_BEGAN: began,
            names.RUN_HOST: about.get(names.RUN_HOST, text(about, names.HOST_NAME)),
            names.RUN_LOG: about.get(names.RUN_LOG, f"logs/99_pipeline_{shown}_{of.run:03d}.log"),
        }
    )
    made.setdefault(names.RUN_SPAN_ID, span.parent_span_id or span.span_id)
    if span.parent_span_id:
        made[names.PARENT_SPAN_ID] = span.parent_span_id
    if span.trace_state:
        made[names.TRACE_STATE] = span.trace_state
    made.update({key: each for key, each in about.items() if key.startswith(_PROCESS)})
    made[names.UTC_OFFSET] = about.get(names.UTC_OFFSET, 0)
    return made


def _event(of: SpanEvent) -> tuple[str, int, Attributes, Value] | None:
    """A span event as the event of the stage that it stands for, if it does."""
    attributes = dict(of.attributes)
    if of.name.startswith(names.OWN):
        return of.name, of.time_unix_nano, attributes, attributes.pop("message", None)
    if of.name == "exception":
        return names.ERROR, of.time_unix_nano, attributes, told.raised(attributes)
    return None


def _status(span: Span) -> str:
    said = span.attributes.get(names.STATUS)
    if said in _STATUSES:
        return str(said)
    return names.FAILED if span.status_code == 2 else names.SUCCESS  # noqa: PLR2004 - OTLP's number of an error


def _reason(span: Span) -> str:
    raised = [told.raised(each.attributes) for each in span.events if each.name == "exception"]
    return encode.readable(span.status_message) or (raised[-1] if raised else "")


def _finished(span: Span) -> dict[str, Value]:
    made: dict[str, Value] = {names.STATUS: _status(span)}
    if span.status_code == 2 and _reason(span):  # noqa: PLR2004 - as above
        made[names.REASON] = _reason(span)
    made.update({key: span.attributes[key] for key in _FINISHED if key in span.attributes})
    ends = (names.EXTRA_KEY, names.RESOURCE_KEY)
    made.update({key: each for key, each in span.attributes.items() if key.startswith(ends)})
    return made


def _step_end(span: Span) -> dict[str, Value]:
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / _SECOND
    made: dict[str, Value] = {names.STATUS: _status(span), names.STEP_DURATION: seconds}
    if span.status_code == 2 and _reason(span):  # noqa: PLR2004 - as above
        made[names.REASON] = _reason(span)
    return made
