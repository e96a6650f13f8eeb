"""Tracer and TracerProvider over the journal: what libraries get where the program set no provider of its own.

A span is written to the stage that it is made in: the one in its context, else the newest that is open in the process.
Outside of any stage spans are made that record nothing, as without a provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.util._decorator import _agnosticcontextmanager

from otel_stageio.errors import attempt
from otel_stageio.model import Scope
from otel_stageio.record.exceptions import said
from otel_stageio.record.otel import context as stages
from otel_stageio.record.otel.books import Beginning, ChildBook, link
from otel_stageio.record.otel.span import JournalSpan, cleaned, is_link, moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.context import Context

    from otel_stageio.model import SpanLink
    from otel_stageio.record.otel.limits import SpanLimits


class JournalTracer(trace.Tracer):
    """Makes the spans of one library."""

    def __init__(self, scope: Scope, provider: JournalTracerProvider | None = None) -> None:
        """Write spans as of the library `scope`; where `provider` handed over to an SDK, that makes them."""
        self._scope = scope
        self._provider = provider

    def start_span(  # noqa: PLR0917 - the API's signature
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[trace.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """Start a span: child of the current one, or where there is none of the stage.

        A `context` that is given and holds no span asks for a trace of its own.
        """
        tracer = self._provider.tracer_of_sdk(self._scope) if self._provider else None
        if tracer is not None:
            return tracer.start_span(
                name,
                _within_stage() if context is None else context,
                kind,
                attributes,
                links,
                start_time,
                record_exception,
                set_status_on_exception,
            )
        around = context if isinstance(context, contexts.Context) else contexts.get_current()
        current: Any = trace.get_current_span(around).get_span_context()
        home = stages.here(around)
        if home is None:
            return trace.NonRecordingSpan(current)
        parent = current if isinstance(current, trace.SpanContext) and current.is_valid else None
        if parent is None and around is not context:
            parent = home.span.get_span_context()
        sort: Any = kind
        at = moment(start_time)
        of = Beginning(
            name=said(name),
            context=stages.new_context(parent),
            parent=parent,
            kind=sort if isinstance(sort, trace.SpanKind) else trace.SpanKind.INTERNAL,
            attributes={} if attributes is None else attributes,
            **_kept_links(links, home.limits),
            start=home.recorder.clock.now() if at is None else at,
            scope=self._scope,
        )
        return JournalSpan(
            of.context,
            ChildBook(of, home.recorder, home.limits),
            home.trouble,
            home=home,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        )

    @_agnosticcontextmanager
    def start_as_current_span(  # noqa: PLR0917 - the same
        self,
        name: str,
        context: Context | None = None,
        kind: trace.SpanKind = trace.SpanKind.INTERNAL,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[trace.Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[trace.Span]:
        """Start a span and make it current; as a with block or as a decorator, of async functions too."""
        span = self.start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ) as current:
            yield current


def _within_stage() -> Context | None:
    """Where there is no current span, the context of the newest open stage; None for the current one as it is."""
    here = None if trace.get_current_span().get_span_context().is_valid else stages.here()
    return here.context if here is not None else None


def _kept_links(links: Sequence[trace.Link] | None, limits: SpanLimits) -> dict[str, Any]:
    """The links that a span starts with, the newest where they are too many."""
    told: list[Any] = attempt(lambda: list(links or ()), lambda _: [])
    valid = [each for each in told if isinstance(each, trace.Link) and is_link(each.context, each.attributes)]
    kept = valid if limits.links is None else valid[max(len(valid) - limits.links, 0) :]
    made: list[SpanLink] = [
        link(each.context, *cleaned(each.attributes, limits.link_attributes, limits.length)) for each in kept
    ]
    return {"links": made, "dropped_links": len(valid) - len(kept)}


def _text(of: object) -> str:
    return "" if of is None else said(of)


class JournalTracerProvider(trace.TracerProvider):
    """The process's provider where it has none. With a span processor it hands over to an SDK provider for good."""

    def __init__(self) -> None:
        """Begin without an SDK."""
        self._sdk: Any = None
        self._tracers: dict[str, trace.Tracer] = {}

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> trace.Tracer:
        """The tracer of a library."""
        scope = Scope(
            name=_text(instrumenting_module_name),
            version=_text(instrumenting_library_version),
            attributes=cleaned(attributes, None, None)[0],
            schema_url=_text(schema_url),
        )
        return JournalTracer(scope, self)

    @property
    def sdk(self) -> Any:
        """The SDK provider that makes the spans now; None where there is none."""
        return self._sdk

    def tracer_of_sdk(self, scope: Scope) -> trace.Tracer | None:
        """The SDK's tracer of a library, where there is an SDK."""
        if self._sdk is None:
            return None
        key = repr(scope)
        known = self._tracers.get(key)
        if known is None:
            made = self._sdk.get_tracer(
                scope.name, scope.version or None, scope.schema_url or None, dict(scope.attributes) or None
            )
            known = self._tracers.setdefault(key, made)
        return known

    def add_span_processor(self, span_processor: Any) -> None:
        """Hand spans to a processor of the program's too: from now on an SDK provider makes them."""
        if self._sdk is None:
            from otel_stageio.record.otel import hosts

            self._sdk = hosts.load_sdk()
        self._sdk.add_span_processor(span_processor)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Have the SDK's processors export what they hold; the journal holds nothing back."""
        return True if self._sdk is None else bool(self._sdk.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """End the SDK's processors; the journal goes on."""
        if self._sdk is not None:
            self._sdk.shutdown()


def install() -> None:
    """Be the process's provider, where it has set none."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(JournalTracerProvider())
