"""The stage's span: a projection of its events and of its log records from WARNING up.

Jaeger shows no logs, so what a person wants to see there is on the span: what went in and out, configuration, warnings
and errors as span events at their times, scalars and totals as searchable attributes. A span has to fit in one line and
one gRPC message, so it is bounded; what is left out is counted here and stands whole in events.jsonl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.journal.limits import bounded
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Span, SpanEvent, SpanLink
from otel_stageio.views.entries import attributes_of
from otel_stageio.views.span_calls import MOST_LINKS, dropped_in, under

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, LogRecord, Value
    from otel_stageio.views.entries import SmallFile
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
#: Bytes of a value that the program gave the span itself, which is shown as it is up to here.
_LONGEST_TOLD: Final = 16 * 1024

_MOST_PLAIN: Final = MOST_EVENTS * _SHARES[-1][1]
_MOST_PLAIN_BYTES: Final = MOST_BYTES * _SHARES[-1][1]
#: What an event weighs besides its time, its name and its attributes.
_EMPTY: Final = len(encode.event(SpanEvent(time_unix_nano=0, name="")) + ',"attributes":[]') - len("0")

_SHOWN: Final = frozenset(
    {
        *(names.INPUT, names.OUTPUT, names.INTERMEDIATE, names.CONFIG, names.METRIC, names.WARNING, names.ERROR),
        names.SPAN_EVENT,
    }
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
        ours = record.event_name.startswith(names.OWN)
        if record.event_name not in _SHOWN if ours else severity < names.SEVERITY_WARN:
            return
        share = next(share for least, share in _SHARES if severity >= least)
        if record.event_name == names.ERROR:
            share = 1.0
        if len(self.kept) < MOST_EVENTS * share:
            made = _told(record) if record.event_name == names.SPAN_EVENT else _event(record)
            weight = len(encode.event(made))
            if self._bytes + weight <= MOST_BYTES * share:
                self._bytes += weight
                self.kept.append(made)
                return
        self.left_out += 1

    def add(self, at: int, name: str, weight: int, file: SmallFile) -> None:
        """The same for the event of a small file, whose time and attributes weigh that much as text."""
        if self._bytes + weight < _MOST_PLAIN_BYTES and len(self.kept) < _MOST_PLAIN:
            weight += _EMPTY + len(name)
            if self._bytes + weight <= _MOST_PLAIN_BYTES:
                self._bytes += weight
                self.kept.append(SpanEvent(time_unix_nano=at, name=name, attributes=attributes_of(file)))
                return
        self.left_out += 1


def _event(record: LogRecord) -> SpanEvent:
    attributes: dict[str, Value] = {}
    if record.body is not None:
        attributes["message"] = scalar(record.body)
    if not record.event_name.startswith(names.OWN):
        attributes["level"] = record.severity_text
    attributes.update({key: scalar(of) for key, of in record.attributes.items() if key != names.LOG_RECORD_UID})
    kept, left_out = bounded(attributes, _MOST_EVENT_BYTES)
    return SpanEvent(
        time_unix_nano=record.time_unix_nano,
        name=record.event_name or names.LOG_EVENT,
        attributes=kept,
        dropped_attributes_count=left_out,
    )


def _told(record: LogRecord) -> SpanEvent:
    """An event that the program gave the span itself, as it gave it."""
    of = record.attributes
    at = str(of.get(names.SPAN_EVENT_TIME, ""))
    attributes = {key: _as_told(each) for key, each in under(of, names.SPAN_ATTRIBUTE).items()}
    kept, left_out = bounded(attributes, _MOST_EVENT_BYTES)
    return SpanEvent(
        time_unix_nano=int(at) if at.isdecimal() else record.time_unix_nano,
        name=str(of.get(names.SPAN_EVENT_NAME, "")),
        attributes=kept,
        dropped_attributes_count=left_out + dropped_in(of),
    )


def _as_told(of: Value) -> Value:
    return of if len(encode.value(of)) <= _LONGEST_TOLD else scalar(of)


def scalar(of: Value) -> Value:
    """A value as Jaeger can show and search it: scalars as they are, anything else as JSON text, long text cut."""
    if isinstance(of, (bool, int, float)):
        return of
    text = encode.readable(of)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}... [cut from {len(text)} characters]"


def span(state: StageState) -> Span | None:
    """The span of an attempt that started and ended; None while it runs. What came after the end changes nothing."""
    started, finished = state.started, state.finished
    if started is None or finished is None:
        return None
    kept, left_out = bounded(state.span_attributes, _MOST_SPAN_BYTES)
    failed = state.status in (names.FAILED, names.ABANDONED)
    calls = state.span_calls
    code, message = (2, finished.attributes.get(names.REASON, "")) if failed else calls.status
    links = [*_run_link(started.attributes), *calls.links]
    return Span(
        trace_id=started.trace_id,
        span_id=started.span_id,
        parent_span_id=_parent(started.attributes),
        trace_state=str(started.attributes.get(names.TRACE_STATE, "")),
        name=calls.name or str(started.attributes[names.STAGE_NAME]),
        start_time_unix_nano=started.time_unix_nano,
        end_time_unix_nano=max(finished.time_unix_nano, started.time_unix_nano + 1000),
        attributes=kept,
        events=tuple(state.span_events.kept),
        links=tuple(links[:MOST_LINKS]),
        status_code=code,
        status_message=str(scalar(message)),
        flags=_flags(started.attributes),
        dropped_attributes_count=left_out + calls.attributes_dropped,
        dropped_events_count=state.span_events.left_out,
        dropped_links_count=calls.links_left_out + max(len(links) - MOST_LINKS, 0),
    )


def _parent(started: Attributes) -> str:
    """The span that the stage was called in; else its run's, where that is of the same trace."""
    run = "" if names.RUN_TRACE_ID in started else started.get(names.RUN_SPAN_ID, "")
    return str(started.get(names.PARENT_SPAN_ID, run))


def _flags(started: Attributes) -> int:
    return FLAGS_REMOTE if _parent(started) and started.get(names.PARENT_REMOTE, True) else FLAGS_LOCAL


def _run_link(started: Attributes) -> list[SpanLink]:
    """Where the stage follows a trace of its caller's, a link to the run that it is in all the same."""
    if names.RUN_TRACE_ID not in started or names.RUN_SPAN_ID not in started:
        return []
    trace_id, span_id = str(started[names.RUN_TRACE_ID]), str(started[names.RUN_SPAN_ID])
    return [
        SpanLink(trace_id=trace_id, span_id=span_id, attributes={names.RUN: started[names.RUN]}, flags=FLAGS_REMOTE)
    ]


#: What the started event says that the span does, too.
_STARTED: Final = (
    *(names.STAGE_NAME, names.STAGE_NUMBER, names.STAGE_ITEM, names.STAGE_ATTEMPT),
    *(names.JOB_ID, names.RUN, names.RUN_NAME),
)


def attributes_at_end(state: StageState) -> dict[str, Value]:
    """The attributes of an attempt's span, as the fold knows them the moment that its end is on record."""
    started = state.started.attributes if state.started else {}
    finished = state.finished.attributes if state.finished else {}
    made: dict[str, Value] = {}
    for of, keys in (
        (started, _STARTED),
        (finished, (names.STATUS, names.REASON, names.ERROR_TYPE, names.REDACTED_COUNT)),
        (started, (names.HOST_NAME, names.PROCESS_PID)),
    ):
        made.update({key: scalar(of[key]) for key in keys if key in of})
    for role, entries in state.artifacts.items():
        made[names.TOTAL_COUNT.format(role=role)] = len(entries)
        made[names.TOTAL_SIZE.format(role=role)] = sum(size for size in entries.sizes() if isinstance(size, int))
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
    # What is ours says what the record says, whatever the program told the span by that name.
    told = state.span_calls.attributes
    made.update({key: _as_told(of) for key, of in told.items() if key not in made or not key.startswith(names.OWN)})
    return made
