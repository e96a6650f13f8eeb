"""The one module of record that knows OpenTelemetry's SDK: it copies the host's spans and log records to their stages.

Loaded only where the program has loaded the SDK itself, or added a span processor to our provider.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id

from otel_stageio.job.identity import SCOPE
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Scope, Span, SpanEvent
from otel_stageio.record.exceptions import said
from otel_stageio.record.otel import context as stages
from otel_stageio.record.otel.books import link
from otel_stageio.record.otel.span import moment, plainly

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span as SdkSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from otel_stageio.record.otel.context import StageTrace

#: The stages that open spans are made in, by process and span id: a child by fork ends no span of its parent's.
_homes: Final[dict[tuple[int, int], StageTrace]] = {}
_copied: Final[weakref.WeakSet[TracerProvider]] = weakref.WeakSet()


def new_provider() -> TracerProvider:
    """A provider as the environment configures it."""
    return TracerProvider()


def copy_spans(provider: object) -> None:
    """Have the spans of an SDK provider copied, each to the stage that it is made in. Twice is as good as once."""
    if isinstance(provider, TracerProvider) and provider not in _copied:
        _copied.add(provider)
        provider.add_span_processor(_Copier())


class _Copier(SpanProcessor):
    """Writes a span to its stage's traces.jsonl when it ends. It exports nothing, so it has nothing to flush."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Note whose span it is, while its context is known; those that we make ourselves are written already."""
        scope, parent = span.instrumentation_scope, span.parent
        if scope is not None and scope.name == SCOPE.name:
            return
        home = stages.of(stages.current() if parent_context is None else parent_context)
        if home is None and parent is not None:
            home = _homes.get((os.getpid(), parent.span_id)) or stages.of_span(parent)
        # A thread does not inherit the context: what it makes goes where its log records go. A context that is given
        # and holds no stage asks for none.
        home = home or (stages.newest() if parent_context is None else None)
        if home is not None:
            key = (os.getpid(), span.get_span_context().span_id)
            _homes[key] = home
            # One that is never ended is forgotten with its object.
            weakref.finalize(span, _homes.pop, key, None).atexit = False

    def on_end(self, span: ReadableSpan) -> None:
        """Write it."""
        context = span.get_span_context()
        home = _homes.pop((os.getpid(), context.span_id), None) if context is not None else None
        if home is not None:
            with home.trouble:
                home.recorder.span(read(span), _scope(span.instrumentation_scope))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Say that nothing is held back; the base class of older SDKs says nothing, which counts as a failure."""
        return True


def read(span: ReadableSpan) -> Span:
    """An SDK span that ended, as the journal has it."""
    context, parent = span.get_span_context(), span.parent
    ids = (format_trace_id(context.trace_id), format_span_id(context.span_id)) if context else ("", "")
    return Span(
        trace_id=ids[0],
        span_id=ids[1],
        parent_span_id=format_span_id(parent.span_id) if parent else "",
        trace_state=context.trace_state.to_header() if context else "",
        name=said(span.name),
        kind=span.kind.value + 1,
        start_time_unix_nano=moment(span.start_time) or 0,
        end_time_unix_nano=moment(span.end_time) or 0,
        attributes=plainly(span.attributes or {}),
        events=tuple(
            SpanEvent(
                time_unix_nano=moment(each.timestamp) or 0,
                name=said(each.name),
                attributes=plainly(each.attributes or {}),
                dropped_attributes_count=_dropped(each.attributes),
            )
            for each in span.events
        ),
        links=tuple(
            link(each.context, plainly(each.attributes or {}), _dropped(each.attributes)) for each in span.links
        ),
        status_code=span.status.status_code.value,
        status_message=said(span.status.description or ""),
        flags=FLAGS_REMOTE if parent and parent.is_remote else FLAGS_LOCAL,
        dropped_attributes_count=span.dropped_attributes,
        dropped_events_count=span.dropped_events,
        dropped_links_count=span.dropped_links,
    )


def _dropped(attributes: Any) -> int:
    return int(getattr(attributes, "dropped", 0))


def _scope(of: InstrumentationScope | None) -> Scope:
    if of is None:
        return Scope()
    return Scope(
        name=said(of.name),
        version=said(of.version or ""),
        attributes=plainly(of.attributes or {}),
        schema_url=said(of.schema_url or ""),
    )


def copy_logs(provider: Any) -> None:
    """Have the log records of an SDK provider copied, each to the stage that it is made in."""
    provider.add_log_record_processor(_LogCopier())


class _LogCopier:
    """Writes a log record to its stage as it is made, after the processors before this one. It exports nothing.

    Without the SDK's base class, which changes from release to release.
    """

    def __init__(self) -> None:
        from otel_stageio.record.otel import logs

        self._logs = logs

    def on_emit(self, log_record: Any) -> None:
        """Copy a record, which comes with the library that made it."""
        self._logs.keep(self._logs.emitted(log_record.log_record), _scope(log_record.instrumentation_scope))

    def enabled(self, *, context: Context | None = None, **_: Any) -> bool:
        """Whether a record would be copied: within a stage. Elsewhere the program's own processors decide."""
        return stages.here(context or None) is not None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Hold nothing back."""
        return True

    def shutdown(self) -> None:
        """Go on: a stage may outlive the provider."""
