"""Where a stage stands in a trace: settled once, when it is opened."""

from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context

from otel_stageio import conventions as names
from otel_stageio.errors import attempt
from otel_stageio.job import runs
from otel_stageio.job.runs import ROOT_SPAN, Ids, Run, new_ids
from otel_stageio.model import Value
from otel_stageio.record.otel.carrier import Incoming
from otel_stageio.record.otel.context import new_context
from otel_stageio.record.otel.hosts import Host


class Entry(NamedTuple):
    """A stage's span, what it hangs on, and what the program's own tracer made for it."""

    own: trace.SpanContext
    #: When the span begins, in nanoseconds since the epoch.
    start: int
    parent: trace.SpanContext | None
    #: The context around the stage.
    context: Context
    host: Host | None = None
    host_span: trace.Span | None = None

    @property
    def trace_id(self) -> str:
        """Of the stage, as hex text."""
        return trace.format_trace_id(self.own.trace_id)

    @property
    def span_id(self) -> str:
        """The same of its span."""
        return trace.format_span_id(self.own.span_id)

    def told(self, run: Run | None) -> dict[str, Value]:
        """The attributes of the started event that say where the stage's span hangs."""
        made: dict[str, Value] = {}
        if run is not None:
            made[names.RUN_SPAN_ID] = run.span_id
            if run.trace_id != self.trace_id:
                made[names.RUN_TRACE_ID] = run.trace_id
        if self.parent is not None:
            made[names.PARENT_SPAN_ID] = trace.format_span_id(self.parent.span_id)
            made[names.PARENT_REMOTE] = self.parent.is_remote
        if self.own.trace_state:
            made[names.TRACE_STATE] = self.own.trace_state.to_header()
        if self.host_span is not None:
            made[names.TRACES_BY_HOST] = True
        return made


def enter(incoming: Incoming, host: Host | None, *, name: str, run: Run | None, start: int) -> Entry:
    """Place the stage `name`: below the span that it is called in, else below its run's; by the host, if there is one.

    `start` is in nanoseconds since the epoch.
    """
    parent, context = incoming.parent, incoming.context
    if parent is None and run is not None:
        parent = trace.SpanContext(
            int(run.trace_id, 16),
            int(run.span_id, 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(run.trace_flags),
            trace_state=trace.TraceState.from_header([run.trace_state]),
        )
    if host is not None:
        around = context if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        span = host.start(name, around, start)
        if span is not None:
            own = span.get_span_context()
            kept = parent if parent is not None and own.trace_id == parent.trace_id else None
            return Entry(own=own, start=start, parent=kept, context=context, host=host, host_span=span)
    return Entry(own=new_context(parent), start=start, parent=parent, context=context, host=host)


def known(trace_id: str, span_id: str, flags: int) -> trace.SpanContext:
    """The span of a stage that another process opened, from its ids as text."""
    return trace.SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=trace.TraceFlags(flags))


def ids_of(of: trace.SpanContext) -> Ids:
    """A span's ids as text."""
    return Ids(
        trace.format_trace_id(of.trace_id),
        trace.format_span_id(of.span_id),
        int(of.trace_flags),
        of.trace_state.to_header(),
    )


class RootSpans:
    """The spans of runs that begin: by the host's tracer, where there is one, so that its backend has them too."""

    def __init__(self, host: Host | None) -> None:
        """Begin with none."""
        self._host = host
        self._begun: trace.Span | None = None
        self._end = 0

    def ids(self, name: str, now: int) -> Ids:
        """The ids of the span of a run that may begin now."""
        self._begun = self._host.start(name, Context(), now) if self._host else None
        self._end = now + ROOT_SPAN
        if self._begun is None:
            return new_ids()
        return ids_of(self._begun.get_span_context())._replace(by_host=True)

    def settle(self, run: Run, job_id: str) -> None:
        """End the span if it became the run's. One that did not is never ended, and so never exported."""
        attempt(lambda: self._settle(run, job_id), lambda _: None)

    def _settle(self, run: Run, job_id: str) -> None:
        span = self._begun
        if span is not None and trace.format_span_id(span.get_span_context().span_id) == run.span_id:
            span.set_attributes(runs.attributes(run, job_id))
            span.end(self._end)
