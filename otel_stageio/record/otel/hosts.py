"""The program's own tracer provider, where it has one: it makes the stage's span, and keeps everything that it had.

Through OpenTelemetry's API alone. What needs to know the SDK is in `sdk`, loaded where the host has loaded the SDK.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from otel_stageio import conventions as names
from otel_stageio.errors import attempt
from otel_stageio.job.identity import SCOPE
from otel_stageio.record.otel import awaiting
from otel_stageio.record.otel.tracer import JournalTracerProvider

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context

    from otel_stageio.model import Span, SpanEvent
    from otel_stageio.record.otel.limits import SpanLimits

#: The SDK keeps the newest 128 events and attributes of a span; the host may add some of its own.
MOST: Final = 100
_OK: Final = 1


class Host:
    """A tracer provider of the program's."""

    def __init__(self, provider: trace.TracerProvider) -> None:
        """Speak to `provider` as one more library that it serves."""
        self._tracer = provider.get_tracer(SCOPE.name, SCOPE.version)

    def start(self, name: str, context: Context, start_time: int) -> trace.Span | None:
        """A span of the host's, child of the one in `context`; None where the host makes none."""
        return attempt(lambda: self._started(name, context, start_time), lambda _: None)

    def _started(self, name: str, context: Context, start_time: int) -> trace.Span | None:
        parent = trace.get_current_span(context).get_span_context()
        span = self._tracer.start_span(name, context, start_time=start_time)
        own: object = span.get_span_context()
        # A tracer that is switched off hands back the parent.
        makes_one = isinstance(own, trace.SpanContext) and own.is_valid and own.span_id != parent.span_id
        return span if makes_one else None


def find(provider: trace.TracerProvider | None) -> Host | None:
    """The host's provider: the one given, else the process's, where that is not ours and does anything."""
    if provider is not None:
        attempt(_look, lambda _: None)  # libraries use the process's all the same
    chosen = _chosen(provider)
    if chosen is None:
        return None
    _copy(chosen)
    return Host(chosen)


def _chosen(provider: trace.TracerProvider | None) -> Any:
    chosen: Any = trace.get_tracer_provider() if provider is None else provider
    if isinstance(chosen, JournalTracerProvider):
        chosen = chosen.sdk
    return None if isinstance(chosen, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)) else chosen


def _copy(provider: Any) -> None:
    """Have the spans of an SDK provider copied to the stages that they are made in."""
    if "opentelemetry.sdk.trace" in sys.modules:
        from otel_stageio.record.otel import sdk

        sdk.copy_spans(provider)


def _look() -> None:
    """Have the spans of the process's provider copied, if it has one now."""
    chosen = _chosen(None)
    if chosen is not None:
        _copy(chosen)


def watch() -> Callable[[], None]:
    """What to call now and then so that what a provider makes that the program sets later is copied, too."""

    def look() -> None:
        _look()
        awaiting.look()

    unset = attempt(lambda: isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), lambda _: False)
    return look if unset else awaiting.look


def load_sdk() -> Any:
    """A new SDK provider, as the environment configures it, whose spans are copied."""
    from otel_stageio.record.otel import sdk

    made = sdk.new_provider()
    sdk.copy_spans(made)
    return made


def project(made: Span, span: trace.Span, limits: SpanLimits) -> None:
    """Tell the host's span what ours says, and end it: the last 100 events, since the SDK keeps the newest ones.

    Fewer attributes where `limits` or those of the program's provider are lower: the SDK warns of each one too many.
    """
    if not span.is_recording():
        return
    most = min(MOST, *(each for each in (limits.attributes, _most_of_sdk(span)) if each is not None), MOST)
    attributes: dict[str, Any] = dict(list(made.attributes.items())[: max(most - 1, 0)])
    dropped = max(len(made.events) - MOST, 0) + made.dropped_events_count
    if dropped and most:
        attributes[names.EVENTS_LEFT_OUT] = dropped
    span.set_attributes(attributes)
    for event in made.events[-MOST:]:
        _add(span, event)
    for each in made.links:
        context = trace.SpanContext(int(each.trace_id, 16), int(each.span_id, 16), is_remote=bool(each.flags & 0x200))
        span.add_link(context, dict(each.attributes) or None)
    span.update_name(made.name)
    if made.status_code:
        ok = made.status_code == _OK
        span.set_status(
            trace.Status(
                trace.StatusCode.OK if ok else trace.StatusCode.ERROR, None if ok else made.status_message or None
            )
        )
    span.end(made.end_time_unix_nano)


def _most_of_sdk(span: trace.Span) -> int | None:
    """How many attributes an SDK's span takes, by the limits that the program gave its provider."""
    limits = getattr(span, "_limits", None)
    most = getattr(limits, "max_span_attributes", None)
    return most if isinstance(most, int) else None


def _add(span: trace.Span, event: SpanEvent) -> None:
    span.add_event(event.name, dict(event.attributes) or None, event.time_unix_nano)
