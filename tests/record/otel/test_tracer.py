"""Tracers and the provider that the process has while it has set none of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from otel_stageio import StageIO
from otel_stageio.journal import reader
from otel_stageio.model import Scope, Span
from otel_stageio.record.otel import tracer as module
from otel_stageio.record.otel.tracer import JournalTracer, JournalTracerProvider
from tests.record.otel.calls import ELSEWHERE, HERE
from tests.record.otel.test_span import Hostile, kind

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def io(tmp_path: Path) -> StageIO:
    """An open stage."""
    return StageIO("asr", tmp_path / "out", stage_number=6)


def written(io: StageIO) -> list[Span]:
    """The spans of traces.jsonl."""
    return list(reader.spans(str(io.stage_dir / ".stageio" / "001" / "traces.jsonl")))


def own_tracer() -> JournalTracer:
    """A tracer of ours that no provider knows."""
    return JournalTracer(Scope(name="tests"))


# Tracers.


def test_outside_of_any_stage_nothing_is_recorded():
    """A tracer of ours makes a span that passes the current one's ids on and records nothing."""
    span = own_tracer().start_span("nowhere")
    assert not span.is_recording()
    assert not span.get_span_context().is_valid
    with (
        trace.use_span(trace.NonRecordingSpan(HERE)),
        own_tracer().start_as_current_span("below", attributes={"a": 1}) as below,
    ):
        assert (below.is_recording(), below.get_span_context()) == (False, HERE)


def test_a_tracer_from_before_the_stage(io, tmp_path):
    """A tracer, and a decorated function, that a module made before any stage write to the stage that is open."""
    io.finalize()
    tracer = own_tracer()

    @tracer.start_as_current_span("decorated")
    def work() -> bool:
        return trace.get_current_span().is_recording()

    assert not work()
    with StageIO("score", tmp_path / "out", stage_number=7) as later:
        assert work()
    assert not work()
    assert [each.name for each in written(later)] == ["decorated", "score"]


def test_a_span_belongs_to_the_stage_that_it_is_made_in(io, tmp_path):
    """Of two open stages the current one gets the span, and what hangs on the other gets there by its context."""
    first = context.get_current()
    other = StageIO("score", tmp_path / "out", stage_number=7)
    tracer = trace.get_tracer("tests")
    tracer.start_span("of the newer").end()
    tracer.start_span("of the older", first).end()
    token = context.attach(first)
    with tracer.start_as_current_span("of the older, current"):
        tracer.start_span("below it").end()
    context.detach(token)
    assert [each.name for each in written(io)] == ["of the older", "below it", "of the older, current"]
    assert [each.name for each in written(other)] == ["of the newer"]
    other.finalize()


def test_a_span_outlives_its_stage(io, told):
    """A span that is ended after its stage is in the stage's file all the same, below the stage's span."""
    span = trace.get_tracer("tests").start_span("late", start_time=5)
    io.finalize()
    span.set_attribute("still", "recording")
    span.end(9)
    stage, late = written(io)
    assert (late.name, late.parent_span_id, late.attributes) == ("late", stage.span_id, {"still": "recording"})
    assert told(io).manifest["degraded"] == []


def test_a_trace_of_its_own(io):
    """A context without a span asks for a root: another trace, in the stage's file."""
    trace.get_tracer("tests").start_span("root", Context()).end()
    (made,) = written(io)
    assert made.parent_span_id == ""
    assert made.trace_id != trace.format_trace_id(io.span.get_span_context().trace_id)


def test_a_trace_from_elsewhere(io):
    """A span that is given a remote parent is in its trace, with its state and flags."""
    around = trace.set_span_in_context(trace.NonRecordingSpan(ELSEWHERE), Context())
    with trace.get_tracer("tests").start_as_current_span("served", around, SpanKind.SERVER) as span:
        own = span.get_span_context()
    assert (own.trace_id, own.trace_flags, own.trace_state) == (
        *(ELSEWHERE.trace_id, ELSEWHERE.trace_flags),
        ELSEWHERE.trace_state,
    )
    (made,) = written(io)
    assert (made.parent_span_id, made.flags, made.kind) == (trace.format_span_id(ELSEWHERE.span_id), 0x300, 2)
    assert made.trace_state == "vendor=x,other@tenant=y"


def test_ids_are_never_the_same(io):
    """10,000 spans have 10,000 ids, all valid."""
    tracer = trace.get_tracer("tests")
    ids = {tracer.start_span("one").get_span_context().span_id for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(0 < each < 1 << 64 for each in ids)


@pytest.mark.parametrize("wrong", [5, "text", b"bytes", object(), Hostile(), [5]], ids=kind)
def test_wrong_arguments(io, told, wrong):
    """Arguments of any other kind make a span as if they had not been given, and nothing raises."""
    span = trace.get_tracer("tests").start_span(
        "good", context=wrong, kind=wrong, attributes=wrong, links=wrong, start_time=wrong if wrong != 5 else None
    )
    trace.get_tracer("tests").start_span(wrong).end()
    with trace.get_tracer("tests").start_as_current_span("current", wrong, wrong, wrong, wrong, "soon"):
        pass
    span.end()
    _, current, made = written(io)
    stage = trace.format_span_id(io.span.get_span_context().span_id)
    assert [each.parent_span_id for each in (current, made)] == [stage, stage]
    assert (made.kind, made.attributes, made.links) == (1, {}, ())
    assert made.start_time_unix_nano > 10**18
    io.finalize()
    assert told(io).manifest["degraded"] == []


class Odd(trace.NonRecordingSpan):
    """A span of somebody's own, whose ids are none."""

    def get_span_context(self):
        return None


def test_a_current_span_without_ids(io):
    """Where the current span is somebody's own and has no ids, the stage's span is the parent."""
    with trace.use_span(Odd(HERE)):
        trace.get_tracer("tests").start_span("child").end()
    (made,) = written(io)
    assert made.parent_span_id == trace.format_span_id(io.span.get_span_context().span_id)


# The provider.


def test_a_stage_brings_a_provider(io):
    """Where the program has set none, the process's provider is ours from the first stage on."""
    provider = trace.get_tracer_provider()
    assert isinstance(provider, JournalTracerProvider)
    assert isinstance(provider, trace.TracerProvider)
    tracer = trace.get_tracer("a.library", "1")
    assert isinstance(tracer, JournalTracer)
    assert isinstance(tracer, trace.Tracer)
    module.install()
    assert trace.get_tracer_provider() is provider


def test_a_provider_that_is_set_stays():
    """Ours is not installed where the program has set its own, and nothing is said about it."""
    theirs = TracerProvider(shutdown_on_exit=False)
    trace.set_tracer_provider(theirs)
    module.install()
    assert trace.get_tracer_provider() is theirs


@pytest.mark.parametrize("wrong", [None, 5, b"bytes", object(), Hostile(), ["list"]], ids=kind)
def test_a_library_that_names_itself_oddly(io, told, wrong):
    """Whatever a library says of itself, it gets a tracer, and its spans are on record."""
    tracer = trace.get_tracer_provider().get_tracer(wrong, wrong, wrong, wrong)
    tracer.start_span("one").end()
    assert [each.name for each in written(io)] == ["one"]
    io.finalize()
    assert told(io).manifest["degraded"] == []


def test_flush_and_shutdown_without_an_sdk(io):
    """Flushing has nothing to do, and a shutdown ends nothing: the journal goes on."""
    provider = trace.get_tracer_provider()
    assert provider.force_flush() is True
    assert provider.force_flush(5) is True
    assert provider.shutdown() is None
    trace.get_tracer("tests").start_span("after").end()
    assert [each.name for each in written(io)] == ["after"]


class Processor(SpanProcessor):
    """Keeps what it is asked for; has time to flush only where it gets a second."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.asked.append("flush")
        return timeout_millis > 900

    def shutdown(self) -> None:
        self.asked.append("shutdown")


def test_a_span_processor_hands_over_to_the_sdk(io):
    """With a processor the spans are the SDK's, with scope, parent and all, of tracers from before as well."""
    tracer = trace.get_tracer("a.library", "1", schema_url="urn:schema", attributes={"a": 1})
    provider = trace.get_tracer_provider()
    assert provider.sdk is None
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sdk = provider.sdk
    assert isinstance(sdk, TracerProvider)
    provider.add_span_processor(Processor())
    assert provider.sdk is sdk
    with tracer.start_as_current_span("exported", kind=SpanKind.CLIENT, attributes={"b": 2}, start_time=5) as span:
        tracer.start_span("below").end()
    below, exported = exporter.get_finished_spans()
    assert below.parent == span.get_span_context()
    assert exported.parent == io.span.get_span_context()
    assert (exported.name, exported.kind, dict(exported.attributes), exported.start_time) == (
        *("exported", SpanKind.CLIENT),
        {"b": 2},
        5,
    )
    scope = exported.instrumentation_scope
    assert (scope.name, scope.version, scope.schema_url, dict(scope.attributes)) == (
        *("a.library", "1", "urn:schema"),
        {"a": 1},
    )
    assert isinstance(exported.resource, Resource)


def test_the_sdk_s_tracer_of_a_library_is_one(io):
    """Each library has one tracer of the SDK's, however often it asks for ours."""
    provider = trace.get_tracer_provider()
    one, other = Scope(name="one", attributes={"a": [1]}), Scope(name="other")
    assert provider.tracer_of_sdk(one) is None
    provider.add_span_processor(Processor())
    assert provider.tracer_of_sdk(one) is provider.tracer_of_sdk(Scope(name="one", attributes={"a": [1]}))
    assert provider.tracer_of_sdk(one) is not provider.tracer_of_sdk(other)


def test_flush_and_shutdown_reach_the_processors(io):
    """What is asked of our provider is asked of the processors behind it; the journal goes on after both."""
    provider, processor = trace.get_tracer_provider(), Processor()
    provider.add_span_processor(processor)
    assert [provider.force_flush(), provider.force_flush(1000), provider.force_flush(10)] == [True, True, False]
    provider.shutdown()
    assert processor.asked == ["flush", "flush", "flush", "shutdown"]
    trace.get_tracer("tests").start_span("after").end()
    assert [each.name for each in written(io)] == ["after"]
