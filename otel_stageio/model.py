"""The OpenTelemetry data model as plain data: what a line of the journal says, free of any SDK.

Field names follow the OTLP messages. Ids are lower-case hex text, as OTLP/JSON writes them; times are nanoseconds since
the Unix epoch. Source: opentelemetry-proto, logs/v1, trace/v1, common/v1, resource/v1.
"""

# Modules with large named tuples do without `from __future__ import annotations`: typing compiles a field's type that
# is text, which doubles what such a class costs at each start.

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, Union

#: What an OTLP AnyValue can hold. Floats are finite, ints fit 64 bit, text has no lone surrogates: `record.values` sees
#: to it. (Union because Python 3.10 cannot `|` a forward reference.)
Value: TypeAlias = Union[bool, int, float, str, bytes, list["Value"], dict[str, "Value"], None]  # noqa: UP007
Attributes: TypeAlias = Mapping[str, Value]

_NONE: Attributes = MappingProxyType({})

#: Has-remote bit of span and link flags, always set by us, and the bit that says the other end is another process.
FLAGS_LOCAL = 0x100
FLAGS_REMOTE = 0x300


class Resource(NamedTuple):
    """Who speaks: the attributes that every record of one writer shares."""

    attributes: Attributes = _NONE


class Scope(NamedTuple):
    """Which library speaks, and the version of what it writes."""

    name: str = ""
    version: str = ""
    attributes: Attributes = _NONE
    schema_url: str = ""


class LogRecord(NamedTuple):
    """A log record; with an `event_name`, an event."""

    time_unix_nano: int
    severity_number: int = 0
    severity_text: str = ""
    event_name: str = ""
    body: Value = None
    attributes: Attributes = _NONE
    trace_id: str = ""
    span_id: str = ""
    flags: int = 0


class SpanEvent(NamedTuple):
    """Something that happened at one moment of a span."""

    time_unix_nano: int
    name: str
    attributes: Attributes = _NONE
    dropped_attributes_count: int = 0


class SpanLink(NamedTuple):
    """A pointer from a span to another one."""

    trace_id: str
    span_id: str
    attributes: Attributes = _NONE
    dropped_attributes_count: int = 0
    flags: int = FLAGS_LOCAL


class Span(NamedTuple):
    """A span that ended. `kind` and `status_code` are OTLP's numbers (1 internal; 0 unset, 1 ok, 2 error)."""

    trace_id: str
    span_id: str
    name: str
    start_time_unix_nano: int
    end_time_unix_nano: int
    parent_span_id: str = ""
    trace_state: str = ""
    kind: int = 1
    attributes: Attributes = _NONE
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    status_code: int = 0
    status_message: str = ""
    flags: int = FLAGS_LOCAL
    dropped_attributes_count: int = 0
    dropped_events_count: int = 0
    dropped_links_count: int = 0


class Line(NamedTuple):
    """What one line of a journal file holds: records of one signal, and who wrote them."""

    records: tuple[LogRecord, ...] | tuple[Span, ...]
    scope: Scope
    resource: Resource
