"""stageio push against the real programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from otel_stageio import open_job
from tests.backends.programs import eventually

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.backends.programs import Collector, Jaeger
    from tests.cli.conftest import Command


def test_jaeger_takes_spans(stageio: Command, job: Path, jaeger: Jaeger) -> None:
    """All spans are there, logs are said not to be taken, and the exit code is 0, over HTTP."""
    ran = stageio("push", job, "--endpoint", jaeger.otlp_http)
    assert (ran.code, ran.err) == (0, "")
    assert f"{jaeger.otlp_http} does not take logs (HTTP 404 Not Found): they stay on disk" in ran.out
    trace = open_job(job).stages[0]["trace_id"]
    assert eventually(lambda: len(jaeger.spans(trace)) == 3)


def test_jaeger_over_grpc(stageio: Command, job: Path, jaeger: Jaeger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over gRPC, which the standard variable chooses."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    ran = stageio("push", job, "--endpoint", jaeger.otlp_grpc, "--json")
    traces, logs = json.loads(ran.out)["jobs"][0]["deliveries"]
    assert (ran.code, ran.err, traces["delivered"], logs["delivered"]) == (0, "", 3, 0)
    assert logs["not_taken"].startswith("gRPC UNIMPLEMENTED")


def test_collector_takes_all(stageio: Command, job: Path, collector: Collector) -> None:
    """Spans, events and log records arrive, and nothing waits."""
    ran = stageio("push", job, "--endpoint", collector.otlp_http)
    assert ran == (
        0,
        f"{job}: sent 3 spans and 6 log records\n{collector.otlp_http} has everything that it takes\n",
        "",
    )
