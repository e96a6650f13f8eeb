"""A host with tracing of its own, a pipeline that it runs, and what both sides say of it in the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_stageio import StageIO
from tests.journal.official import hex_ids, said_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

    Told = dict[str, dict[str, Any]]

#: The spans of `pipeline`: what hangs on what.
PIPELINE = {"stageio": {"ingest": {"request": {"decode": {"inner": {}}}}, "asr": {"model": {}}}}


class Backend(SpanExporter):
    """Keeps what is exported, and counts how often it is shut down."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.shutdowns = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert not self.shutdowns, "exported after the shutdown"
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.shutdowns += 1

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    @property
    def told(self) -> Told:
        """What it has of each span, by the span's id; no span came twice."""
        return _by_id(hex_ids(said_by(encode_spans([span]))) for span in self.spans)


def provider(backend: Backend, processor: type[SpanProcessor] = SimpleSpanProcessor, **options: Any) -> TracerProvider:
    """An SDK provider that exports to `backend`."""
    made = TracerProvider(resource=Resource({}), shutdown_on_exit=False, **options)
    made.add_span_processor(processor(backend))
    return made


def pipeline(job: Path, **options: Any) -> None:
    """Run two stages, the second one not as a with block, with spans of a library in them and a step."""
    given = options.get("tracer_provider")
    tracer = given.get_tracer("a.library", "1.2") if given else trace.get_tracer("a.library", "1.2")
    with StageIO("ingest", job, stage_number=1, **options) as io:
        io.get_stage_logger().warning("the tape is worn")
        io.span.set_attributes({"speaker": "alice", "takes": [1, 2]})
        io.span.add_event("reel", {"side": "b"}, 1_700_000_000_000_000_000)
        io.span.add_link(trace.SpanContext(7, 8, is_remote=True), {"why": "same tape"})
        with (
            tracer.start_as_current_span("request", kind=trace.SpanKind.CLIENT, attributes={"url.path": "/tape"}),
            io.step("decode", file="tape.wav"),
            tracer.start_as_current_span("inner") as inner,
        ):
            inner.add_event("chunk", {"size": 3})
    io = StageIO("asr", job, stage_number=2, **options)
    with tracer.start_as_current_span("model"):
        io.get_stage_logger().info("listening")
    io.finalize("failed", reason="no model")


def journal(job: Path) -> Told:
    """What the job's files have of each span, by the span's id; no span is there twice."""
    lines = [line for path in sorted(job.rglob("traces.jsonl")) for line in path.read_bytes().splitlines()]
    return _by_id(json.loads(line) for line in lines)


def tree(told: Told) -> dict[str, Any]:
    """The names of the spans, each with those that hang on it. All are of one trace, and all parents are there."""
    assert len({span["traceId"] for span in told.values()}) == 1
    children: dict[str, dict[str, Any]] = {key: {} for key in told}
    roots: dict[str, Any] = {}
    for key, span in told.items():
        parent = span.get("parentSpanId")
        (children[parent] if parent else roots)[span["name"]] = children[key]
    return roots


def named(told: Told, name: str) -> dict[str, Any]:
    """The one span of a name."""
    (found,) = [span for span in told.values() if span["name"] == name]
    return found


def _by_id(requests: Any) -> Told:
    told: Told = {}
    for request in requests:
        (resource,) = request["resourceSpans"]
        (scope,) = resource["scopeSpans"]
        (span,) = scope["spans"]
        assert span["spanId"] not in told
        told[span["spanId"]] = _plain({**span, "scope": scope["scope"]})
    return told


def _plain(tree: Any) -> Any:
    """Numbers as numbers, whoever wrote them, and what says nothing left out."""
    if isinstance(tree, dict):
        made = {key: int(of) if key.endswith(("UnixNano", "intValue")) else _plain(of) for key, of in tree.items()}
        return {key: of for key, of in made.items() if of not in ({}, [], "", 0)}
    return [_plain(each) for each in tree] if isinstance(tree, list) else tree
