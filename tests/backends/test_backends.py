"""The real programs do what the tests that stand on them expect."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backends.programs import Collector, Jaeger, ProgramError, ask, eventually

if TYPE_CHECKING:
    from tests.backends.plugin import StartBackend

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
JSON = {"Content-Type": "application/json"}


def a_line(name: str, trace_id: str) -> dict:
    """Return the first line of a golden journal file, in a trace of the test's own: the backends are shared."""
    line = (GOLDEN / name).read_text(encoding="utf-8").splitlines()[0]
    return json.loads(
        line.replace(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"], trace_id)
    )


def send(endpoint: str, line: dict) -> int:
    """POST a line of traces.jsonl as it is."""
    return ask(f"{endpoint}/v1/traces", json.dumps(line).encode(), JSON)[0]


@pytest.fixture
def trace_id() -> str:
    """Give an id that no other test has."""
    return secrets.token_hex(16)


def test_a_line_of_the_journal_passes_through_the_collector(collector: Collector, jaeger: Jaeger, trace_id: str):
    """A line of traces.jsonl, posted to the Collector, is in its file with all its fields, and its spans in Jaeger."""
    line = a_line("traces.jsonl", trace_id)
    assert send(collector.otlp_http, line) == 200
    (written,) = [one for one in collector.written() if trace_id in json.dumps(one)]
    (sent,) = line["resourceSpans"][0]["scopeSpans"][0]["spans"]
    (kept,) = written["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert kept == {**kept, **sent}
    assert written["resourceSpans"][0]["resource"] == line["resourceSpans"][0]["resource"]
    (shown,) = eventually(lambda: jaeger.spans(trace_id))
    assert (shown["name"], shown["spanId"]) == (sent["name"], sent["spanId"])


@pytest.mark.parametrize("signal", ["logs", "metrics"])
def test_jaeger_takes_spans_only(jaeger: Jaeger, signal: str):
    """Jaeger has no such address for logs and metrics: 404, which is no failure of the backend."""
    assert ask(f"{jaeger.otlp_http}/v1/{signal}", b"{}", JSON)[0] == 404


def test_killed_and_started_again(start_backend: StartBackend, tmp_path: Path, trace_id: str):
    """What the Collector acknowledged is in its file after SIGKILL; started again, it goes on at the same address."""
    collector = start_backend(Collector(tmp_path))
    line = a_line("traces.jsonl", trace_id)
    assert send(collector.otlp_http, line) == 200
    collector.kill()
    assert len(collector.written()) == 1
    with pytest.raises(OSError, match="refused"):
        send(collector.otlp_http, line)
    with collector.output.open("ab") as file:  # as a kill in the middle of a long line leaves it
        file.write(json.dumps(line, separators=(",", ":")).encode()[:200])
    collector.start()
    assert send(collector.otlp_http, line) == 200
    first, second = collector.written()
    assert first == second


def test_jaeger_restarts_empty_at_the_same_address(start_backend: StartBackend, tmp_path: Path, trace_id: str):
    """A Jaeger that was restarted answers where it did, and has forgotten what it was sent."""
    jaeger = start_backend(Jaeger(tmp_path))
    line = a_line("traces.jsonl", trace_id)
    assert send(jaeger.otlp_http, line) == 200
    eventually(lambda: jaeger.spans(trace_id))
    jaeger.restart()
    assert jaeger.spans(trace_id) == []
    assert send(jaeger.otlp_http, line) == 200
    eventually(lambda: jaeger.spans(trace_id))


def test_a_program_that_does_not_start_says_why(start_backend: StartBackend, tmp_path: Path):
    """A configuration that the Collector refuses is an error with its words, and leaves nothing running."""
    collector = Collector(tmp_path)
    (tmp_path / "config.json").write_text('{"receivers": {"nothing": {}}}', encoding="utf-8")
    with pytest.raises(ProgramError, match=r"(?s)ended with 1.*unknown type: .nothing."):
        start_backend(collector)
    assert collector.process is None
