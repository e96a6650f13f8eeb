"""Records of every shape, for the tests of the journal and of the views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st

from otel_stageio.journal import encode
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink

if TYPE_CHECKING:
    from otel_stageio.model import Value

#: How properties are tried here: a busy machine is no failure.
unhurried = settings(deadline=None)

SCOPE = Scope(name="otel_stageio", version="1.0")
RESOURCE = Resource(attributes={"service.name": "speech", "stageio.run": 1})
TAIL = encode.tail(SCOPE, RESOURCE)

#: Any text that UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
#: Names and keys: here never empty, since protobuf leaves empty text out and we always write it.
names = texts.filter(bool)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just(-0.0),
    texts,
    st.binary(max_size=20),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
attributes = st.dictionaries(names, values, max_size=4)
plain_attributes = st.dictionaries(names, texts | st.integers(-(2**63), 2**63 - 1), max_size=3)

times = st.integers(1, 2**64 - 1)
counts = st.integers(0, 2**32 - 1)
trace_ids = st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex)
span_ids = st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex)
flags = st.sampled_from([FLAGS_LOCAL, FLAGS_REMOTE])

scopes = st.builds(Scope, name=names, version=texts, attributes=attributes, schema_url=texts)
resources = st.builds(Resource, attributes=plain_attributes)
log_records = st.builds(
    LogRecord,
    time_unix_nano=times,
    severity_number=st.integers(0, 24),
    severity_text=texts,
    event_name=texts,
    body=values,
    attributes=attributes,
    trace_id=trace_ids,
    span_id=span_ids,
    flags=st.integers(0, 255),
)
events = st.builds(SpanEvent, time_unix_nano=times, name=names, attributes=attributes, dropped_attributes_count=counts)
links = st.builds(
    SpanLink,
    trace_id=trace_ids,
    span_id=span_ids,
    attributes=attributes,
    dropped_attributes_count=counts,
    flags=flags,
)
_ends = st.sampled_from(["", "a=1", "vendor=x,other@tenant=y"])


@st.composite
def spans(draw: st.DrawFn) -> Span:
    """Draw a span; the flags fit its parent, as the official encoders derive them."""
    parent = draw(st.just("") | span_ids)
    return Span(
        trace_id=draw(trace_ids),
        span_id=draw(span_ids),
        parent_span_id=parent,
        trace_state=draw(_ends),
        name=draw(names),
        kind=draw(st.integers(1, 5)),
        start_time_unix_nano=draw(times),
        end_time_unix_nano=draw(times),
        attributes=draw(attributes),
        events=tuple(draw(st.lists(events, max_size=2))),
        links=tuple(draw(st.lists(links, max_size=2))),
        status_code=draw(st.integers(0, 2)),
        status_message=draw(texts),
        flags=draw(flags) if parent else FLAGS_LOCAL,
        dropped_attributes_count=draw(counts),
        dropped_events_count=draw(counts),
        dropped_links_count=draw(counts),
    )


def log(body: str = "hello", *, uid: str = "w-1", at: int = 1_000) -> LogRecord:
    """One ordinary log record."""
    return LogRecord(
        time_unix_nano=at,
        severity_number=9,
        severity_text="INFO",
        body=body,
        attributes={"log.record.uid": uid},
        trace_id="11" * 16,
        span_id="22" * 8,
        flags=1,
    )


def line(body: str = "hello", **about: str) -> bytes:
    """The line of one ordinary log record."""
    return encode.log_line(log(body, **about), TAIL)  # type: ignore[arg-type] # a uid


def with_attributes(record: LogRecord, more: dict[str, Value]) -> LogRecord:
    """The record with more attributes."""
    return record._replace(attributes={**record.attributes, **more})
