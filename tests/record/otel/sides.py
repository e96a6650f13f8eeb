"""The same calls told to the SDK and to a stage, and what both say of them in OTLP, made comparable."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_stageio import StageIO
from tests.journal.official import hex_ids, said_by, spans_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Tracer

    Calls = Callable[[Tracer], object]

#: By what the tracers of both sides are asked for.
SCOPE: dict[str, Any] = {
    "instrumenting_module_name": "a.library",
    "instrumenting_library_version": "1.2",
    "schema_url": "urn:schema",
    "attributes": {"short_name": "lib", "sizes": [1, 2]},
}
#: Stands for the stage's span on the SDK's side.
PARENT = trace.SpanContext(0xAAAA, 0xBBBB, is_remote=False, trace_flags=trace.TraceFlags(1))

#: A frame of a traceback: where it is, its line and the marks under that.
_FRAME = re.compile(r'  File ".*", line \d+, in (\S+)\n(?:    .*\n)*')
#: Between these is the clock of whoever runs the tests.
_FIRST, _LAST = 15 * 10**17, 35 * 10**17


class Theirs:
    """The SDK, its spans children of one that stands for the stage."""

    def __init__(self) -> None:
        """Take the limits that the environment has now."""
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def ended(self, calls: Calls, **scope: Any) -> list[ReadableSpan]:
        """The spans that end in these calls, as exporters get them."""
        self._exporter.clear()
        around = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(PARENT), context.Context()))
        try:
            calls(self._provider.get_tracer(**(scope or SCOPE)))
        finally:
            context.detach(around)
        return list(self._exporter.get_finished_spans())

    def say(self, calls: Calls, **scope: Any) -> list[Any]:
        """The same, as the official encoder says them."""
        ended = self.ended(calls, **scope)
        return tidy([hex_ids(said_by(encode_spans([span]))) for span in ended], PARENT)

    def say_json(self, calls: Calls, **scope: Any) -> list[Any]:
        """The same, as the official JSON encoder says them."""
        from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans as encode_as_json

        return tidy([encode_as_json([span]).to_dict() for span in self.ended(calls, **scope)], PARENT)


class Ours:
    """An open stage, whose tracer is that of the process."""

    def __init__(self, folder: Path) -> None:
        """Open the stage with the limits that the environment has now."""
        self.io = StageIO("asr", folder, stage_number=6)
        self._file = self.io.stage_dir / ".stageio" / "001" / "traces.jsonl"

    def lines(self, calls: Calls, **scope: Any) -> list[bytes]:
        """The lines that traces.jsonl has more after these calls."""
        size = self._file.stat().st_size if self._file.exists() else 0
        calls(trace.get_tracer_provider().get_tracer(**(scope or SCOPE)))
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(size)
            return file.readlines()

    def say(self, calls: Calls, **scope: Any) -> list[Any]:
        """The same, as the official classes read them."""
        said = [hex_ids(said_by(spans_message(line))) for line in self.lines(calls, **scope)]
        return tidy(said, self.io.span.get_span_context())

    def say_json(self, calls: Calls, **scope: Any) -> list[Any]:
        """The same, as the lines stand there."""
        return tidy([json.loads(line) for line in self.lines(calls, **scope)], self.io.span.get_span_context())


def tidy(requests: list[Any], parent: trace.SpanContext) -> list[Any]:
    """Each span with its scope, without its resource.

    Ids are told by the place of the span that has them, times of now as "now", and a traceback's frames by the names
    of their functions.
    """
    flat: list[Any] = []
    known = {trace.format_span_id(parent.span_id): "stage", trace.format_trace_id(parent.trace_id): "stage's"}
    for request in requests:
        (resource,) = request["resourceSpans"]
        (scope,) = resource["scopeSpans"]
        (span,) = scope["spans"]
        known[span["spanId"]] = f"span {len(flat)}"
        known.setdefault(span["traceId"], f"trace {len(flat)}")
        flat.append({"scope": scope.get("scope", {}), "schemaUrl": scope.get("schemaUrl", ""), "span": span})
    return [_tidied(each, known) for each in flat]


def _tidied(tree: Any, known: dict[str, str]) -> Any:
    if isinstance(tree, list):
        return [_tidied(each, known) for each in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get("key") == "exception.stacktrace":
        return {"key": tree["key"], "value": _FRAME.sub(r"  in \1\n", tree["value"].get("stringValue", ""))}
    made = {}
    for key, of in tree.items():
        if key.endswith(("traceId", "spanId", "SpanId")):
            made[key] = known.get(of, of)
        elif key.endswith("UnixNano") and int(of):
            made[key] = "now" if _FIRST < int(of) < _LAST else of
        elif key.endswith("UnixNano") or (key == "name" and not of):
            pass  # an encoder may write zero and empty text, or leave them out
        else:
            made[key] = _tidied(of, known)
    return made
