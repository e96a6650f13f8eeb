"""Spans that the host's SDK makes in a stage are in the stage's files, as the SDK exports them, and only those."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor

from otel_stageio import StageIO
from otel_stageio.record.otel import hosts, sdk
from tests.journal.official import hex_ids, said_by, spans_message
from tests.record.otel.calls import CALLS
from tests.record.otel.hosted import Backend, journal, named, provider, tree

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

SCOPE: dict[str, Any] = {
    "instrumenting_module_name": "a.library",
    "instrumenting_library_version": "1.2",
    "schema_url": "urn:schema",
    "attributes": {"short_name": "lib", "sizes": [1, 2]},
}


@pytest.fixture
def backend() -> Backend:
    """Where the host's spans go."""
    return Backend()


@pytest.fixture
def host(backend: Backend) -> TracerProvider:
    """The host's provider, set for the process."""
    made = provider(backend)
    trace.set_tracer_provider(made)
    return made


@pytest.fixture
def tracer(host: TracerProvider) -> Tracer:
    """A library's tracer."""
    return host.get_tracer(**SCOPE)


def spans(request: Any) -> Any:
    """What a request to export spans says, but for who says it."""
    return [each["scopeSpans"] for each in request["resourceSpans"]]


@pytest.mark.parametrize("calls", CALLS, ids=lambda each: each.__name__)
def test_a_copy_says_what_the_sdk_exports(tmp_path: Path, backend: Backend, tracer: Tracer, calls: Any):
    """Whatever a library does with a span of the SDK's, its line in traces.jsonl is what the official export says."""
    io = StageIO("asr", tmp_path, stage_number=1)
    backend.spans.clear()
    calls(tracer)
    file = io.stage_dir / ".stageio" / "001" / "traces.jsonl"
    lines = [spans(hex_ids(said_by(spans_message(line)))) for line in file.read_bytes().splitlines()]
    # Some calls make a trace of their own besides, which is no part of the stage.
    own = io.span.get_span_context().trace_id
    theirs = [spans(hex_ids(said_by(encode_spans([span])))) for span in backend.spans if span.context.trace_id == own]
    assert [each for each in lines if each[0][0]["spans"][0]["traceId"] == trace.format_trace_id(own)] == theirs
    assert theirs


def test_a_copy_is_on_disk_when_the_span_ends(tmp_path: Path, tracer: Tracer):
    """Neither the stage nor the process has to end for it."""
    io = StageIO("asr", tmp_path, stage_number=1)
    with tracer.start_as_current_span("request"):
        assert [span["name"] for span in journal(tmp_path).values()] == ["stageio"]
    assert [span["name"] for span in journal(tmp_path).values()] == ["stageio", "request"]
    io.finalize()


def test_a_span_that_ends_after_its_stage(tmp_path: Path, backend: Backend, tracer: Tracer):
    """It is in the files of the stage that it began in, and the host has it once."""
    io = StageIO("asr", tmp_path, stage_number=1)
    late = tracer.start_span("late")
    io.finalize()
    late.end()
    assert tree(journal(tmp_path)) == {"stageio": {"asr": {"late": {}}}}
    assert backend.told == journal(tmp_path)


def test_spans_outside_of_stages_are_not_copied(tmp_path: Path, backend: Backend, tracer: Tracer):
    """Before, after and beside a stage the host's spans are the host's alone."""
    tracer.start_span("before").end()
    with StageIO("asr", tmp_path, stage_number=1):
        tracer.start_span("of another trace", context.Context()).end()
    tracer.start_span("after").end()
    assert tree(journal(tmp_path)) == {"stageio": {"asr": {}}}
    assert {each.name for each in backend.spans} == {"before", "of another trace", "after", "stageio", "asr"}


def test_a_span_whose_parent_is_given_alone_goes_to_its_parents_stage(tmp_path: Path, tracer: Tracer):
    """With two stages of one trace open, children by an otherwise empty context are told apart by their parents."""
    a = StageIO("a", tmp_path / "job", stage_number=1)
    of_a = tracer.start_span("of a")
    b = StageIO("b", tmp_path / "job", stage_number=2)
    of_b = tracer.start_span("of b")
    for parent in (of_a, of_b, a.span, b.span):
        tracer.start_span("child", trace.set_span_in_context(parent, context.Context())).end()
    of_a.end()
    of_b.end()
    a.finalize()
    b.finalize()
    for stage in (a, b):
        file = stage.stage_dir / ".stageio" / "001" / "traces.jsonl"
        said = [spans(hex_ids(said_by(spans_message(line)))) for line in file.read_bytes().splitlines()]
        told = [each[0][0]["spans"][0] for each in said]
        own = trace.format_span_id(stage.span.get_span_context().span_id)
        outer = {"a": of_a, "b": of_b}[stage.stage_name].get_span_context()
        assert [(each["name"], each["parentSpanId"]) for each in told[:-1]] == [
            ("child", trace.format_span_id(outer.span_id)),
            ("child", own),
            (f"of {stage.stage_name}", own),
        ]


def test_processors_that_work_in_threads_of_their_own(tmp_path: Path, backend: Backend):
    """Where the SDK hands spans to its processors in other threads, copies go to their stages all the same."""
    host = provider(backend, active_span_processor=ConcurrentMultiSpanProcessor(2))
    tracer = host.get_tracer("a.library")
    with (
        StageIO("a", tmp_path, stage_number=1, tracer_provider=host) as a,
        StageIO("b", tmp_path, stage_number=2, tracer_provider=host),
    ):
        tracer.start_span("of a", trace.set_span_in_context(a.span)).end()
        with tracer.start_as_current_span("of b"), tracer.start_as_current_span("inner"):
            pass
    host.shutdown()
    files = journal(tmp_path)
    assert tree(files) == {"stageio": {"a": {"of a": {}, "b": {"of b": {"inner": {}}}}}}
    assert backend.told == files


def test_stages_that_find_a_provider_at_once_copy_its_spans_once(tmp_path: Path, host: TracerProvider):
    """Eight threads open their first stages together, and each of their spans is in the files once."""
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait(30)
        with StageIO("asr", tmp_path / str(number), stage_number=1):
            host.get_tracer("a.library").start_span("request").end()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    for number in range(8):
        assert tree(journal(tmp_path / str(number))) == {"stageio": {"asr": {"request": {}}}}


def test_copying_twice_is_copying_once(tmp_path: Path, host: TracerProvider):
    """However often the copying is asked for, and by two copiers at once, a span is in the files once."""
    for _ in range(3):
        sdk.copy_spans(host)
    assert len(host._active_span_processor._span_processors) == 2
    host.add_span_processor(sdk._Copier())
    with StageIO("asr", tmp_path, stage_number=1):
        host.get_tracer("a.library").start_span("request").end()
    assert tree(journal(tmp_path)) == {"stageio": {"asr": {"request": {}}}}


def test_what_is_no_sdk_provider_is_left_alone():
    """A provider of another make gets no processor of ours."""
    other = trace.NoOpTracerProvider()
    sdk.copy_spans(other)
    assert vars(other) == {}


def test_spans_that_never_end_are_forgotten(tmp_path: Path, tracer: Tracer):
    """A span whose program dropped it without ending it does not keep its stage."""
    io = StageIO("asr", tmp_path, stage_number=1)
    dropped = tracer.start_span("dropped")
    assert list(sdk._homes.values()) == [io._trace]
    del dropped
    gc.collect()
    assert sdk._homes == {}
    io.finalize()


def test_two_providers_at_once(tmp_path: Path, backend: Backend, host: TracerProvider):
    """A stage given another provider than the process's has the spans of both, each exported by its own."""
    other = Backend()
    given = provider(other)
    tracer, of_process = given.get_tracer("a.library"), host.get_tracer("a.library")
    with (
        StageIO("asr", tmp_path, stage_number=1, tracer_provider=given),
        tracer.start_as_current_span("by the given one"),
    ):
        of_process.start_span("by the process's").end()
    files = journal(tmp_path)
    assert tree(files) == {"stageio": {"asr": {"by the given one": {"by the process's": {}}}}}
    assert sorted(each.name for each in other.spans) == ["asr", "by the given one", "stageio"]
    assert [each.name for each in backend.spans] == ["by the process's"]
    assert backend.told | other.told == files


def test_without_a_host():
    """`find` gives no host where there is no provider, or one that does nothing, or our own without an SDK."""
    assert hosts.find(None) is None
    assert hosts.find(trace.NoOpTracerProvider()) is None
    assert hosts.find(trace.ProxyTracerProvider()) is None


def test_a_span_and_its_copy_are_of_one_scope(tmp_path: Path, backend: Backend, tracer: Tracer):
    """The library that made a span is told in the files with version, schema and attributes."""
    with StageIO("asr", tmp_path, stage_number=1):
        tracer.start_span("request").end()
    assert named(journal(tmp_path), "request")["scope"] == named(backend.told, "request")["scope"]
    assert named(journal(tmp_path), "request")["scope"]["name"] == "a.library"
