"""The stage's span: a projection of its events and of its log records from WARNING up.

Jaeger shows no logs, so what a person wants to see there is on the span: what went in and out, configuration, warnings
and errors as span events at their times, scalars and totals as searchable attributes. A span has to fit in one line and
one gRPC message, so it is bounded; what is left out is counted here and stands whole in events.jsonl.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.model import FLAGS_REMOTE, Span, SpanEvent

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, LogRecord, Value
    from otel_stageio.views.state import StageState

MOST_EVENTS: Final = 1000
MOST_BYTES: Final = 256 * 1024
#: Warnings and errors have this share for themselves, however many files were tracked before them.
_RESERVED: Final = 5
_MOST_ATTRIBUTE_BYTES: Final = 128 * 1024
_LONGEST_TEXT: Final = 4096

_SHOWN: Final = frozenset(
    {names.INPUT, names.OUTPUT, names.INTERMEDIATE, names.CONFIG, names.METRIC, names.WARNING, names.ERROR}
)


class SpanEvents:
    """The span events of a stage as they come, at most `MOST_EVENTS` and `MOST_BYTES` of them."""

    def __init__(self) -> None:
        """Start with none."""
        self.kept: list[SpanEvent] = []
        self.left_out = 0
        self._bytes = 0

    def apply(self, record: LogRecord) -> None:
        """Take in what belongs on the span: the shown events, and log records from WARNING up."""
        severe = record.severity_number >= names.SEVERITY_WARN
        if record.event_name not in _SHOWN if record.event_name else not severe:
            return
        share = 1 if severe else (_RESERVED - 1) / _RESERVED
        if len(self.kept) >= MOST_EVENTS * share or self._bytes >= MOST_BYTES * share:
            self.left_out += 1
            return
        made = _event(record)
        self._bytes += len(encode.event(made))
        if self._bytes > MOST_BYTES:
            self.left_out += 1
            return
        self.kept.append(made)


def _event(record: LogRecord) -> SpanEvent:
    attributes: dict[str, Value] = {}
    if record.body is not None:
        attributes["message"] = scalar(record.body)
    if not record.event_name:
        attributes["level"] = record.severity_text
    attributes.update({key: scalar(of) for key, of in record.attributes.items() if key != names.LOG_RECORD_UID})
    return SpanEvent(
        time_unix_nano=record.time_unix_nano, name=record.event_name or names.LOG_EVENT, attributes=attributes
    )


def scalar(of: Value) -> Value:
    """A value as Jaeger can show and search it: scalars as they are, anything else as JSON text, long text cut."""
    if isinstance(of, (bool, int, float)):
        return of
    if not isinstance(of, str):
        of = json.dumps(of, ensure_ascii=False, default=lambda data: b64encode(data).decode())
    return of if len(of) <= _LONGEST_TEXT else f"{of[:_LONGEST_TEXT]}... [cut from {len(of)} characters]"


def span(state: StageState) -> Span | None:
    """The span of an attempt that started and ended; None while it runs. Fixed by the first end, whatever came later."""
    started, finished = state.started, state.finished
    if started is None or finished is None:
        return None
    attributes, left_out = _bounded(_attributes(state, started.attributes, finished.attributes))
    failed = state.status in (names.FAILED, names.ABANDONED)
    return Span(
        trace_id=started.trace_id,
        span_id=started.span_id,
        parent_span_id=str(started.attributes.get(names.RUN_SPAN_ID, "")),
        name=str(started.attributes[names.STAGE_NAME]),
        start_time_unix_nano=started.time_unix_nano,
        end_time_unix_nano=max(finished.time_unix_nano, started.time_unix_nano + 1000),
        attributes=attributes,
        events=tuple(state.span_events.kept),
        status_code=2 if failed else 0,
        status_message=str(finished.attributes.get(names.REASON, "")) if failed else "",
        flags=FLAGS_REMOTE,
        dropped_attributes_count=left_out,
        dropped_events_count=state.span_events.left_out,
    )


def _attributes(state: StageState, started: Attributes, finished: Attributes) -> dict[str, Value]:
    made: dict[str, Value] = {}
    for of, keys in (
        (started, (names.STAGE_NAME, names.STAGE_NUMBER, names.STAGE_ATTEMPT, names.JOB_ID, names.RUN, names.RUN_NAME)),
        (finished, (names.STATUS, names.REASON, names.ERROR_TYPE)),
        (started, (names.HOST_NAME, names.PROCESS_PID)),
    ):
        made.update({key: of[key] for key in keys if key in of})
    for role, entries in state.artifacts.items():
        made[names.TOTAL_COUNT.format(role=role)] = len(entries)
        made[names.TOTAL_SIZE.format(role=role)] = sum(
            size for each in entries.values() if isinstance(size := each["size_bytes"], int)
        )
    made[names.WARNINGS_COUNT] = len(state.warnings)
    made[names.ERRORS_COUNT] = len(state.errors)
    made.update({names.LOGS_COUNT.format(level=level.lower()): n for level, n in state.log_counts.items() if n})
    if state.span_events.left_out:
        made[names.EVENTS_LEFT_OUT] = state.span_events.left_out
    made.update({names.VCS_REVISION: state.git[key] for key in ("commit",) if key in state.git})
    for prefix, mapping in (
        (names.RESOURCE_KEY, state.resources),
        (names.METRIC_KEY, {key: of["value"] for key, of in state.metrics.items() if isinstance(of, dict)}),
        (names.EXTRA_KEY, state.extra),
        (names.CONFIG_KEY, state.config),
    ):
        made.update({prefix + key: scalar(of) for key, of in mapping.items()})
    return made


def _bounded(attributes: dict[str, Value]) -> tuple[dict[str, Value], int]:
    kept: dict[str, Value] = {}
    room = _MOST_ATTRIBUTE_BYTES
    for key, of in attributes.items():
        room -= len(encode.value(of)) + len(key) + 20
        if room >= 0:
            kept[key] = of
    return kept, len(attributes) - len(kept)
