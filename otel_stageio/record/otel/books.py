"""What spans are told, kept until it is written: a child span's in memory until it ends, the stage's at once.

The stage's span stays a fold of its events: each thing that it is told is an event in events.jsonl.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes

from otel_stageio import conventions as names
from otel_stageio.journal import limits
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Scope, Span, SpanEvent, SpanLink, Value
from otel_stageio.record.otel.limits import SpanLimits
from otel_stageio.record.otel.span import collected, plainly
from otel_stageio.record.recorder import Recorder

_OK = trace.StatusCode.OK.value


class Beginning(NamedTuple):
    """What is known of a span when it starts."""

    name: str
    context: trace.SpanContext
    parent: trace.SpanContext | None
    kind: trace.SpanKind
    attributes: Mapping[str, Any]
    links: Sequence[SpanLink]
    dropped_links: int
    start: int
    scope: Scope | None


class ChildBook:
    """A span within the stage: one line in traces.jsonl when it ends."""

    def __init__(
        self,
        of: Beginning,
        recorder: Recorder,
        limits: SpanLimits,
        ended: Callable[[Span], None] | None = None,
    ) -> None:
        """Keep what span `of` is told; `ended` hears of the span when it is on record."""
        self.limits = limits
        self.open = True
        self._of = of
        self._recorder = recorder
        self._ended = ended
        self._process, self._lock = os.getpid(), threading.Lock()
        self._name = of.name
        self._status = (0, "")
        # Of no length: what comes here is cleaned, and would be cut where OpenTelemetry leaves it whole.
        self._attributes = BoundedAttributes(limits.attributes, immutable=False)
        kept = collected(of.attributes, None, limits.span_length)
        self.set_attributes(kept, kept.dropped)
        self._events: deque[SpanEvent] = deque(maxlen=limits.events)
        self._events_told = 0
        self._links: deque[SpanLink] = deque(of.links, maxlen=limits.links)
        self._links_told = len(of.links)

    def set_attributes(self, attributes: Mapping[str, Any], dropped: int) -> None:
        """Take attributes, the newest where they are too many."""
        with self._held():
            if self.open:
                self._attributes.dropped += dropped
                self._attributes.update(attributes)

    def add_event(self, name: str, attributes: dict[str, Value], dropped: int, at: int | None) -> None:
        """Take an event, the newest where they are too many."""
        made = SpanEvent(
            time_unix_nano=self._recorder.clock.now() if at is None else at,
            name=name,
            attributes=attributes,
            dropped_attributes_count=dropped,
        )
        with self._held():
            if self.open:
                self._events.append(made)
                self._events_told += 1

    def add_link(self, context: trace.SpanContext, attributes: dict[str, Value], dropped: int) -> None:
        """Take a link, the newest where they are too many."""
        with self._held():
            if self.open:
                self._links.append(link(context, attributes, dropped))
                self._links_told += 1

    def set_status(self, code: int, message: str) -> None:
        """Take a status, unless OK was said."""
        with self._held():
            if self.open and self._status[0] != _OK:
                self._status = (code, message)

    def update_name(self, name: str) -> None:
        """Take another name."""
        with self._held():
            if self.open:
                self._name = name

    def end(self, at: int | None) -> None:
        """Write the span."""
        with self._held():
            if not self.open:
                return
            self.open = False
        made = self._recorder.span(self._made(self._recorder.clock.now() if at is None else at), self._of.scope)
        if self._ended is not None:
            self._ended(made)

    def _held(self) -> threading.Lock:
        """The lock; in a child by fork another one, for a thread of the parent may have held it."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()
        return self._lock

    def _made(self, end: int) -> Span:
        of, context, parent = self._of, self._of.context, self._of.parent
        return Span(
            trace_id=trace.format_trace_id(context.trace_id),
            span_id=trace.format_span_id(context.span_id),
            parent_span_id=trace.format_span_id(parent.span_id) if parent else "",
            trace_state=context.trace_state.to_header(),
            name=self._name,
            kind=of.kind.value + 1,
            start_time_unix_nano=of.start,
            end_time_unix_nano=end,
            attributes=plainly(self._attributes),
            events=tuple(self._events),
            links=tuple(self._links),
            status_code=self._status[0],
            status_message=self._status[1],
            flags=FLAGS_REMOTE if parent and parent.is_remote else FLAGS_LOCAL,
            dropped_attributes_count=self._attributes.dropped,
            dropped_events_count=self._events_told - len(self._events),
            dropped_links_count=self._links_told - len(self._links) + of.dropped_links,
        )


class StageBook:
    """The stage's own span: every call is an event of the stage, which the fold makes the span of."""

    def __init__(self, recorder: Recorder, limits: SpanLimits) -> None:
        """Write to `recorder`."""
        self.limits = limits
        self._recorder = recorder

    @property
    def open(self) -> bool:
        """Whether the stage has not ended."""
        return not self._recorder.finished

    def set_attributes(self, attributes: Mapping[str, Any], dropped: int) -> None:
        """Take attributes; there may be as many as the span's room has place for."""
        for part in limits.parts(plainly(attributes)):
            if part or dropped:
                self._take(names.SPAN_ATTRIBUTES, {}, part, dropped, "set_attribute")
            dropped = 0

    def add_event(self, name: str, attributes: dict[str, Value], dropped: int, at: int | None) -> None:
        """Take an event; the span shows as many as its rule allows."""
        made: dict[str, Value] = {names.SPAN_EVENT_NAME: name}
        if at is not None:
            made[names.SPAN_EVENT_TIME] = at if at < 1 << 63 else str(at)
        # An exception has the room on the span that an error has.
        severity = names.SEVERITY_ERROR if name == "exception" else names.SEVERITY_INFO
        self._take(names.SPAN_EVENT, made, attributes, dropped, "add_event", severity=severity)

    def add_link(self, context: trace.SpanContext, attributes: dict[str, Value], dropped: int) -> None:
        """Take a link."""
        made: dict[str, Value] = {
            names.LINK_TRACE_ID: trace.format_trace_id(context.trace_id),
            names.LINK_SPAN_ID: trace.format_span_id(context.span_id),
            names.LINK_REMOTE: context.is_remote,
        }
        self._take(names.SPAN_LINK, made, attributes, dropped, "add_link")

    def _take(
        self,
        event: str,
        made: dict[str, Value],
        attributes: dict[str, Value],
        dropped: int,
        call: str,
        *,
        severity: int = names.SEVERITY_INFO,
    ) -> None:
        made.update({names.SPAN_ATTRIBUTE + key: of for key, of in attributes.items()})
        if dropped:
            made[names.SPAN_DROPPED_ATTRIBUTES] = dropped
        self._recorder.event(event, made, call=call, severity=severity)

    def set_status(self, code: int, message: str) -> None:
        """Take a status; it stands where the stage does not fail."""
        made: dict[str, Value] = {names.SPAN_STATUS_CODE: code, names.SPAN_STATUS_MESSAGE: message}
        self._recorder.event(names.SPAN_STATUS, made, call="set_status")

    def update_name(self, name: str) -> None:
        """Take another name."""
        self._recorder.event(names.SPAN_NAME, {names.SPAN_NAME_VALUE: name}, call="update_name")

    def end(self, at: int | None) -> None:
        """Change nothing: the stage's span ends with the stage."""


def link(context: trace.SpanContext, attributes: dict[str, Value], dropped: int = 0) -> SpanLink:
    """A link as the journal has it."""
    return SpanLink(
        trace_id=trace.format_trace_id(context.trace_id),
        span_id=trace.format_span_id(context.span_id),
        attributes=attributes,
        dropped_attributes_count=dropped,
        flags=FLAGS_REMOTE if context.is_remote else FLAGS_LOCAL,
    )
