"""Records of the journal under the names by which the official exporters ask for them.

The exporters read spans and log records of the SDK by their public attributes, and keep none. The SDK's own objects
would limit, clean and complete what they are given; here a record is shown as it is, so that what is sent is what the
line says. The names hold from OpenTelemetry 1.35 on (where a log record's resource is the record's own) to 1.45 (where
it is beside the record).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.trace import SpanKind, TraceState

from otel_stageio.journal import encode
from otel_stageio.model import FLAGS_REMOTE, LogRecord, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_stageio.model import Attributes, Line, Resource, Scope, SpanEvent, SpanLink

_REMOTE: Final = FLAGS_REMOTE & ~0x100
_KINDS: Final = {kind.value + 1: kind for kind in SpanKind}


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """A resource or a scope. The exporters put those together that are the same object: `Shown` sees to it."""

    attributes: Attributes
    name: str = ""
    version: str = ""
    schema_url: str = ""


class _Number(NamedTuple):
    """An enum's member, also one that this version of the SDK does not know."""

    value: int


class _Status(NamedTuple):
    status_code: _Number
    description: str


class _Context(NamedTuple):
    """A span's, its parent's or a link's; both ids as numbers."""

    trace_id: int
    span_id: int
    is_remote: bool = False
    trace_state: TraceState | None = None


class _Event(NamedTuple):
    name: str
    timestamp: int
    attributes: Attributes
    dropped_attributes: int


class _Link(NamedTuple):
    context: _Context
    attributes: Attributes
    dropped_attributes: int


class ShownSpan:
    """A span, as an exporter asks for it."""

    def __init__(self, span: Span, resource: Said, scope: Said) -> None:
        """Show this span of this writer."""
        self._span = span
        self.resource = resource
        self.instrumentation_scope = scope
        self.name = span.name
        self.kind = _KINDS.get(span.kind, SpanKind.INTERNAL)
        self.start_time = span.start_time_unix_nano
        self.end_time = span.end_time_unix_nano
        self.attributes = span.attributes
        self.status = _Status(_Number(span.status_code), span.status_message)
        self.dropped_attributes = span.dropped_attributes_count
        self.dropped_events = span.dropped_events_count
        self.dropped_links = span.dropped_links_count

    def get_span_context(self) -> _Context:
        """Its ids and its trace state."""
        state = TraceState.from_header([self._span.trace_state]) if self._span.trace_state else None
        return _Context(_number(self._span.trace_id), _number(self._span.span_id), trace_state=state)

    @cached_property
    def parent(self) -> _Context | None:
        """Its parent's ids."""
        span = self._span
        if not span.parent_span_id:
            return None
        return _Context(_number(span.trace_id), _number(span.parent_span_id), bool(span.flags & _REMOTE))

    @property
    def events(self) -> list[_Event]:
        """What happened at moments of it."""
        return [_event(each) for each in self._span.events]

    @property
    def links(self) -> list[_Link]:
        """What it points to."""
        return [_link(each) for each in self._span.links]


class ShownLogRecord:
    """A log record, as an exporter asks for it: the pair of record and writer, and the record of that pair."""

    def __init__(self, record: LogRecord, resource: Said, scope: Said) -> None:
        """Show this record of this writer."""
        self.resource = resource
        self.instrumentation_scope = scope
        self.timestamp = record.time_unix_nano
        self.observed_timestamp = 0  # as the line: we made the record, nobody observed it later
        self.trace_id = _number(record.trace_id)
        self.span_id = _number(record.span_id)
        self.trace_flags = record.flags
        self.severity_text = record.severity_text
        self.severity_number = _Number(record.severity_number)
        self.body = record.body
        self.attributes = record.attributes
        self.event_name = record.event_name
        self.dropped_attributes = 0

    @property
    def log_record(self) -> ShownLogRecord:
        """The record of the pair."""
        return self


class Writers:
    """Who wrote the lines so far; equal resources and equal scopes are one object."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[str, Said] = {}
        # The lines of a file are mostly of one writer, and share what they say of him.
        self._last: tuple[Resource, Scope, Said, Said] | None = None

    def shown(self, lines: Iterable[Line]) -> Iterator[ShownSpan | ShownLogRecord]:
        """Every record of these lines."""
        for line in lines:
            resource, scope = self._said(line.resource, line.scope)
            for record in line.records:
                if isinstance(record, Span):
                    yield ShownSpan(record, resource, scope)
                else:
                    yield ShownLogRecord(record, resource, scope)

    def _said(self, resource: Resource, scope: Scope) -> tuple[Said, Said]:
        last = self._last
        if last is None or last[0] is not resource or last[1] is not scope:
            last = self._last = resource, scope, self._resource(resource), self._scope(scope)
        return last[2], last[3]

    def _resource(self, of: Resource) -> Said:
        return self._known.setdefault(f"resource {encode.pairs(of.attributes)}", Said(of.attributes))

    def _scope(self, of: Scope) -> Said:
        key = f"scope {of.name!r} {of.version!r} {of.schema_url!r} {encode.pairs(of.attributes)}"
        return self._known.setdefault(key, Said(of.attributes, of.name, of.version, of.schema_url))


def _number(id_: str) -> int:
    return int(id_, 16) if id_ else 0


def _event(of: SpanEvent) -> _Event:
    return _Event(of.name, of.time_unix_nano, of.attributes, of.dropped_attributes_count)


def _link(of: SpanLink) -> _Link:
    context = _Context(_number(of.trace_id), _number(of.span_id), bool(of.flags & _REMOTE))
    return _Link(context, of.attributes, of.dropped_attributes_count)
