"""The stage's span: a projection of its events and of its log records from WARNING up.

Jaeger shows no logs, so what a person wants to see there is on the span: what went in and out, configuration, warnings
and errors as span events at their times, scalars and totals as searchable attributes. A span has to fit in one line and
one gRPC message, so it is bounded; what is left out is counted here and stands whole in events.jsonl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Span, SpanEvent

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, LogRecord, Value
    from otel_stageio.views.state import StageState

MOST_EVENTS: Final = 1000
MOST_BYTES: Final = 256 * 1024
#: What share of both a severity may fill: files leave room for warnings, warnings for errors, and errors that were
#: logged for those that the stage told, of which the last one mostly says why it failed.
_SHARES: Final = ((names.SEVERITY_ERROR, 0.95), (names.SEVERITY_WARN, 0.9), (0, 0.8))
#: Bytes of the attributes: of one event, and of the span itself.
_MOST_EVENT_BYTES: Final = 64 * 1024
_MOST_SPAN_BYTES: Final = 128 * 1024
#: Characters; escaped they weigh up to 48 KiB.
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
        severity = record.severity_number
        if record.event_name not in _SHOWN if record.event_name else severity < names.SEVERITY_WARN:
            return
        share = next(share for least, share in _SHARES if severity >= least)
        if record.event_name == names.ERROR:
            share = 1.0
        if len(self.kept) < MOST_EVENTS * share:
            made = _event(record)
            weight = len(encode.event(made))
            if self._bytes + weight <= MOST_BYTES * share:
                self._bytes += weight
                self.kept.append(made)
                return
        self.left_out += 1


def _event(record: LogRecord) -> SpanEvent:
    attributes: dict[str, Value] = {}
    if record.body is not None:
        attributes["message"] = scalar(record.body)
    if not record.event_name:
        attributes["level"] = record.severity_text
    attributes.update({key: scalar(of) for key, of in record.attributes.items() if key != names.LOG_RECORD_UID})
    kept, left_out = bounded(attributes, _MOST_EVENT_BYTES)
    return SpanEvent(
        time_unix_nano=record.time_unix_nano,
        name=record.event_name or names.LOG_EVENT,
        attributes=kept,
        dropped_attributes_count=left_out,
    )


def scalar(of: Value) -> Value:
    """A value as Jaeger can show and search it: scalars as they are, anything else as JSON text, long text cut."""
    if isinstance(of, (bool, int, float)):
        return of
    text = encode.readable(of)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}... [cut from {len(text)} characters]"


def bounded(attributes: Attributes, room: int) -> tuple[dict[str, Value], int]:
    """The attributes that fit into `room` encoded bytes, the earlier ones first, and the number of the others."""
    kept: dict[str, Value] = {}
    for key, of in attributes.items():
        weight = len(encode.pairs({key: of})) + 1
        if weight <= room:
            room -= weight
            kept[key] = of
    return kept, len(attributes) - len(kept)


def span(state: StageState) -> Span | None:
    """The span of an attempt that started and ended; None while it runs. What came after the end changes nothing."""
    started, finished = state.started, state.finished
    if started is None or finished is None:
        return None
    kept, left_out = bounded(state.span_attributes, _MOST_SPAN_BYTES)
    failed = state.status in (names.FAILED, names.ABANDONED)
    parent = str(started.attributes.get(names.RUN_SPAN_ID, ""))
    return Span(
        trace_id=started.trace_id,
        span_id=started.span_id,
        parent_span_id=parent,
        name=str(started.attributes[names.STAGE_NAME]),
        start_time_unix_nano=started.time_unix_nano,
        end_time_unix_nano=max(finished.time_unix_nano, started.time_unix_nano + 1000),
        attributes=kept,
        events=tuple(state.span_events.kept),
        status_code=2 if failed else 0,
        status_message=str(scalar(finished.attributes.get(names.REASON, ""))) if failed else "",
        flags=FLAGS_REMOTE if parent else FLAGS_LOCAL,
        dropped_attributes_count=left_out,
        dropped_events_count=state.span_events.left_out,
    )


def attributes_at_end(state: StageState) -> dict[str, Value]:
    """The attributes of an attempt's span, as the fold knows them the moment that its end is on record."""
    started = state.started.attributes if state.started else {}
    finished = state.finished.attributes if state.finished else {}
    made: dict[str, Value] = {}
    for of, keys in (
        (started, (names.STAGE_NAME, names.STAGE_NUMBER, names.STAGE_ATTEMPT, names.JOB_ID, names.RUN, names.RUN_NAME)),
        (finished, (names.STATUS, names.REASON, names.ERROR_TYPE)),
        (started, (names.HOST_NAME, names.PROCESS_PID)),
    ):
        made.update({key: scalar(of[key]) for key in keys if key in of})
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
    if "commit" in state.git:
        made[names.VCS_REVISION] = state.git["commit"]
    for prefix, mapping in (
        (names.RESOURCE_KEY, state.resources),
        (names.METRIC_KEY, {key: of["value"] for key, of in state.metrics.items() if isinstance(of, dict)}),
        (names.EXTRA_KEY, state.extra),
        (names.CONFIG_KEY, state.config),
    ):
        made.update({prefix + key: scalar(of) for key, of in mapping.items()})
    return made
