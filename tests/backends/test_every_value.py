"""Whatever a record may hold arrives at the real programs as its line says, over both protocols."""

from __future__ import annotations

import inspect
import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.exporter.otlp.proto.common._internal import _encode_value

from otel_stageio.journal import encode
from otel_stageio.model import Line, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink
from otel_stageio.ship.shown import Writers
from otel_stageio.ship.wire import Answer, Verdict
from tests.backends.programs import Collector, Jaeger, eventually
from tests.backends.said import Said, at_jaeger, by_key, in_no_order, kept_by_jaeger, records
from tests.ship.wires import SIDES

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUES: dict[str, Any] = {
    "null": None,
    "truth": [True, False],
    "whole": [0, -(2**63), 2**63 - 1],
    "real": [1.0, 0.1, 1e300, 5e-324],
    "text": ["", "a\x00b", "\u202e音声 🎧", "x" * 2_000],
    "bytes": [b"", b"\x00\xff"],
    "mixed": ["a", 1, None, True, 2.5, [1, []], {"a": {}}],
    "map": {"b": 1, "a": {"z": None, "y": []}},
    "nothing": [],
    "true": True,
    "one": 1,
    "one.0": 1.0,
}
#: The first exporters that pyproject.toml allows leave attributes with a null out of all but log records. What is ours
#: has none there.
_NULLS = "allow_null" not in inspect.signature(_encode_value).parameters
PLAIN = VALUES if _NULLS else {key: of for key, of in VALUES.items() if key not in {"null", "mixed", "map"}}
SCOPE = Scope("a.library", "1.2", PLAIN, "https://example.org/schema")
RESOURCE = Resource({"service.name": "values", **PLAIN})


def spans(trace_id: str) -> list[Span]:
    """Spans of every kind and status, with and without length, parent and all that is counted."""
    moments = [("b", 5), ("a", 6), ("a", 5)]
    links = [("b2", 0x300), ("a3", 0x100)]
    return [
        Span(
            trace_id=trace_id,
            span_id=f"{number:016x}",
            parent_span_id=("", "aa" * 8, f"{1:016x}")[number % 3],
            trace_state="vendor=x,other@t=y",
            name=f"span {number}",
            kind=number % 5 + 1,
            start_time_unix_nano=1_795_413_082_595_990_787,
            end_time_unix_nano=1_795_413_082_595_990_786 + number,
            attributes={**PLAIN, "number": number},
            events=tuple(SpanEvent(at, name, PLAIN, dropped_attributes_count=3) for name, at in moments),
            links=tuple(SpanLink("a1" * 16, by * 8, PLAIN, dropped_attributes_count=4, flags=of) for by, of in links),
            status_code=number % 3,
            status_message="why" if number % 2 else "",
            flags=0x300 if number % 3 == 1 else 0x100,
            dropped_attributes_count=number,
            dropped_events_count=2,
            dropped_links_count=3,
        )
        for number in range(1, 16)
    ]


def log_records(trace_id: str) -> list[LogRecord]:
    """Log records and events of every severity, with every value as their body."""
    return [
        LogRecord(
            time_unix_nano=1_795_413_082_595_990_787 + number,
            severity_number=number % 25,
            severity_text=("", "INFO")[number % 2],
            event_name=("", "stageio.input")[number % 2],
            body=body,
            attributes={**VALUES, "log.record.uid": f"{trace_id}-{number}"},
            trace_id=trace_id if number % 2 else "",
            span_id=f"{number + 1:016x}" if number % 2 else "",
            flags=number % 2,
        )
        for number, body in enumerate([*VALUES.values(), *VALUES["text"], VALUES] * 2)
    ]


def sent(protocol: str, signal: str, url: str, given: Sequence[Any]) -> dict[str, Said]:
    """Send records of the signal, and give what their lines say."""
    wire = SIDES[protocol].wire(url, signal, timeout=10)
    answer = wire.send(list(Writers().shown([Line((each,), SCOPE, RESOURCE) for each in given])))
    wire.close()
    assert answer == Answer(Verdict.DELIVERED)
    line, tail = (encode.span_line if signal == "traces" else encode.log_line), encode.tail(SCOPE, RESOURCE)
    return by_key(said for each in given for said in records(json.loads(line(each, tail))))


@pytest.mark.parametrize("protocol", SIDES)
def test_the_collector_has_what_the_lines_say(collector: Collector, protocol: str) -> None:
    """Spans, events and log records with every type of value, in all the places where values are."""
    trace_id, url = secrets.token_hex(16), collector.otlp_grpc if protocol == "grpc" else collector.otlp_http
    lines = sent(protocol, "traces", url, spans(trace_id)) | sent(protocol, "logs", url, log_records(trace_id))
    found = [said for each in collector.written() if trace_id in json.dumps(each) for said in records(each)]
    assert (len(found), by_key(found)) == (len(lines), lines)


@pytest.mark.parametrize("protocol", SIDES)
def test_jaeger_answers_what_it_is_said_to_keep(jaeger: Jaeger, protocol: str) -> None:
    """Every span as docs/opentelemetry.md has it, those without length and without a parent there, too."""
    trace_id, url = secrets.token_hex(16), jaeger.otlp_grpc if protocol == "grpc" else jaeger.otlp_http
    journal = kept_by_jaeger(sent(protocol, "traces", url, spans(trace_id)))
    there = eventually(lambda: len(found := at_jaeger(jaeger, trace_id)) == len(journal) and found)
    assert {key: in_no_order(said.tree) for key, said in there.items()} == journal
