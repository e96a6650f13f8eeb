"""What generators, threads and samplers leave behind: nothing that ended is current, and every parent has a line."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_stageio import StageIO
from otel_stageio.journal import reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_stageio.model import Span


def batches(io: StageIO) -> Iterator[int]:
    """A generator with steps of its own, as a loader has them."""
    with io.step("read"):
        with io.step("decode"):
            yield 1
        yield 2


def spans(job: Path) -> dict[str, Span]:
    """Give every span of a job by its name."""
    return {span.name: span for path in sorted(job.rglob("traces.jsonl")) for span in reader.spans(str(path))}


def parents(job: Path) -> dict[str, str]:
    """Give the name of each span's parent; "" for a root, and "?" where no line has it."""
    known = spans(job)
    names = {span.span_id: name for name, span in known.items()} | {"": ""}
    return {name: names.get(span.parent_span_id, "?") for name, span in known.items()}


def in_thread(call) -> None:
    """Run something in a thread of its own."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_steps_of_a_generator_that_another_thread_drains(tmp_path):
    """Steps that began here and ended elsewhere are current no more, and the next stage hangs on the run."""
    with StageIO("asr", tmp_path, stage_number=6) as io:
        loader = batches(io)
        next(loader)
        in_thread(lambda: list(loader))
        assert trace.get_current_span() is io.span
        assert io.environ()["TRACEPARENT"].split("-")[2] == io.manifest["span_id"]
    assert not trace.get_current_span().get_span_context().is_valid
    StageIO("vad", tmp_path, stage_number=7).finalize()
    assert parents(tmp_path)["vad"] == parents(tmp_path)["asr"] == "stageio"


def test_a_step_that_is_open_when_its_stage_ends(tmp_path):
    """Where a generator holds a step open, the ended stage and its step are current no more, and no parents."""
    io = StageIO("asr", tmp_path, stage_number=6)
    loader = batches(io)
    next(loader)
    io.finalize()
    assert not trace.get_current_span().is_recording()
    assert not trace.get_current_span().get_span_context().is_valid
    StageIO("vad", tmp_path, stage_number=7).finalize()
    list(loader)
    assert parents(tmp_path) == {"stageio": "", "asr": "stageio", "vad": "stageio", "read": "asr", "decode": "read"}


def test_only_the_inner_step_ends_elsewhere(tmp_path):
    """The outer one ends here afterwards, and nothing of either is left."""
    with StageIO("asr", tmp_path, stage_number=6) as io:
        outer, inner = io.step("outer"), io.step("inner")
        outer.__enter__()
        inner.__enter__()
        in_thread(lambda: inner.__exit__(None, None, None))
        outer.__exit__(None, None, None)
        assert trace.get_current_span() is io.span
    assert parents(tmp_path) == {"stageio": "", "asr": "stageio", "outer": "asr", "inner": "outer"}


def test_spans_of_a_host_in_threads_and_after_a_detach(tmp_path):
    """Without inherited context a host's spans go to the stage that was opened last, as its log records do."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    tracer = provider.get_tracer("host")
    with tracer.start_as_current_span("setup"):
        io = StageIO("asr", tmp_path, stage_number=6)
    tracer.start_span("after the block").end()
    in_thread(lambda: tracer.start_span("in a thread").end())
    io.finalize()
    tracer.start_span("after the stage").end()
    assert {"after the block", "in a thread"} <= spans(tmp_path).keys()
    assert "after the stage" not in spans(tmp_path)


def test_a_host_whose_sampler_drops_leaves_one_tree(tmp_path):
    """Within a dropped span of the host's, steps, nested stages and child processes hang on what is on record."""
    provider = TracerProvider(sampler=ALWAYS_OFF)
    trace.set_tracer_provider(provider)
    with StageIO("asr", tmp_path, stage_number=6) as io, provider.get_tracer("mine").start_as_current_span("epoch"):
        assert io.environ()["TRACEPARENT"].split("-")[2] == io.manifest["span_id"]
        with io.step("decode"), StageIO("vad", tmp_path, stage_number=7):
            pass
    assert parents(tmp_path) == {"stageio": "", "asr": "stageio", "decode": "asr", "vad": "decode"}


def test_a_host_with_few_attributes_is_not_warned_of(tmp_path, caplog):
    """Where the program gave its provider low limits, its span says what comes first, and nobody is warned."""
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_span_attributes=5))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    StageIO("asr", tmp_path, stage_number=6).finalize()
    (stage,) = [span for span in exporter.get_finished_spans() if span.name == "asr"]
    assert "stageio.stage.name" in stage.attributes
    assert [record.message for record in caplog.records if record.name.startswith("opentelemetry")] == []


@pytest.mark.parametrize("variable", ["STAGEIO_RUN", "OTEL_SERVICE_NAME"])
def test_bytes_that_are_no_text_in_the_environment(run_script, tmp_path, variable):
    """A name that is not UTF-8 is written as an escape, so that every line stays valid."""
    source = f"""
        import os
        os.environb[b"{variable}"] = b"r\\xff"
        from otel_stageio import StageIO
        StageIO("asr", "job", stage_number=6).finalize()
    """
    assert run_script(source).returncode == 0
    lines = [line for path in (tmp_path / "job").rglob("*.jsonl") for line in path.read_text().splitlines()]
    texts = [json.dumps(json.loads(line), ensure_ascii=False) for line in lines]
    assert any(r"r\\udcff" in text.encode().decode() for text in texts)


def test_a_thousand_attributes_at_once(tmp_path, told):
    """What one call gives the stage's span is in the journal whole, and what the span has no room for is counted."""
    io = StageIO("asr", tmp_path, stage_number=6)
    io.span.set_attributes({f"k{index}": "v" * 50 for index in range(10_000)})
    io.finalize()
    story = told(io)
    told_keys = {key for event in story.named("stageio.span.attributes") for key in event.attributes if ".k" in key}
    shown = sum(key.startswith("k") for key in story.span.attributes)
    assert len(told_keys) == 10_000
    assert story.span.dropped_attributes_count == 10_000 - shown
    assert story.manifest["degraded"] == []


def test_an_exception_has_room_where_events_have_filled_the_span(tmp_path, told):
    """record_exception after a thousand events is on the span."""
    io = StageIO("asr", tmp_path, stage_number=6)
    for index in range(1000):
        io.span.add_event(f"event {index}")
    io.span.record_exception(ValueError("at last"))
    io.finalize()
    assert told(io).span.events[-1].attributes["exception.message"] == "at last"


def test_many_keywords_of_a_step(tmp_path, caplog):
    """As many of them as a span may have are on it, all are in the manifest, and OpenTelemetry does not warn."""
    io = StageIO("asr", tmp_path, stage_number=6)
    with io.step("decode", **{f"k{index}": index for index in range(200)}):
        pass
    io.finalize()
    document = json.loads((tmp_path / "06_asr" / "manifest.json").read_text())
    assert len(document["steps"][0]["attributes"]) == 200
    assert len(spans(tmp_path)["decode"].attributes) == 128
    assert [record.message for record in caplog.records if record.name.startswith("opentelemetry")] == []


def test_the_job_of_a_stage_that_writes_nothing(tmp_path, monkeypatch):
    """With mode="off" the job folder is handed on as it was when the stage was opened."""
    io = StageIO("asr", "job", mode="off")
    monkeypatch.chdir("/")
    assert io.environ()["STAGEIO_JOB_DIR"] == str(tmp_path / "job")


def test_a_blank_run_is_none(tmp_path, monkeypatch):
    """STAGEIO_RUN of blanks names no run."""
    monkeypatch.setenv("STAGEIO_RUN", "  ")
    io = StageIO("asr", tmp_path, stage_number=6)
    assert "run_name" not in io.manifest
