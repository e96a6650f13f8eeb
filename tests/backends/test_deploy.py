"""The configurations that people deploy, in the real programs: what is recorded gets through them, all of it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from subprocess import run
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio.job.layout import JobLayout
from otel_stageio.ship.delivery import Way
from otel_stageio.ship.http_wire import HttpWire
from otel_stageio.ship.push import push
from tests.backends.programs import COLLECTOR, JAEGER, Program, ask, eventually, free_ports
from tests.backends.said import by_key, on_disk
from tests.backends.said import records as of_line
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.backends.plugin import StartBackend

REPO = Path(__file__).resolve().parents[2]
CONFIGS = REPO / "collector-config"
SIGNALS = ("traces", "logs")
JSON = {"Content-Type": "application/json"}
SAMPLES = {
    "resourceMetrics": [
        {
            "resource": {
                "attributes": [
                    {"key": key, "value": {"stringValue": "x"}}
                    for key in ("service.name", "service.instance.id", "stageio.job.id", "stageio.run")
                ],
            },
            "scopeMetrics": [
                {
                    "scope": {"name": "otel_stageio"},
                    "metrics": [
                        {
                            "name": "process.memory.usage",
                            "unit": "By",
                            "gauge": {"dataPoints": [{"timeUnixNano": "1700000000000000000", "asInt": "4096"}]},
                        },
                    ],
                },
            ],
        },
    ],
}


class Deployed(Program):
    """A program with a configuration of collector-config/, all addresses and folders told by the environment."""

    def __init__(self, name: str, binary: Path, folder: Path, health: str, environment: dict[str, object]) -> None:
        """Have it work in `folder`, which is made."""
        folder.mkdir()
        super().__init__(
            name=name,
            command=[binary, f"--config={CONFIGS / name}.yaml"],
            health=health,
            folder=folder,
            # Where Jaeger keeps the backend that it opens and does not use.
            environment={"TMPDIR": str(folder), **{key: str(value) for key, value in environment.items()}},
        )


class DeployedJaeger(Deployed):
    """Jaeger by jaeger.yaml."""

    def __init__(self, folder: Path, **more: str) -> None:
        """Choose its ports; `more` is added to its environment."""
        grpc, http, query, query_grpc, health = (f"127.0.0.1:{port}" for port in free_ports(5))
        self.otlp_http = f"http://{http}"
        self.query = f"http://{query}"
        environment = {
            "OTLP_GRPC": grpc,
            "OTLP_HTTP": http,
            "JAEGER_QUERY": query,
            "JAEGER_QUERY_GRPC": query_grpc,
            "JAEGER_HEALTH": health,
            "JAEGER_DATA": folder / "data",
            "JAEGER_UI_CONFIG": CONFIGS / "jaeger-ui.json",
            **more,
        }
        super().__init__("jaeger", JAEGER, folder, f"http://{health}/status", environment)

    def spans(self, trace_id: str) -> dict[str, str]:
        """Return the names of the spans of a trace, by their ids."""
        status, answer = ask(f"{self.query}/api/traces/{trace_id}")
        spans = json.loads(answer)["data"][0]["spans"] if status == 200 else []
        return {span["spanID"]: span["operationName"] for span in spans}


class Gateway(Deployed):
    """The Collector by gateway.yaml."""

    def __init__(self, folder: Path, **more: str) -> None:
        """Choose its ports; `more` is added to its environment."""
        grpc, http, health = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.otlp_http = f"http://{http}"
        environment = {
            "OTLP_GRPC": grpc,
            "OTLP_HTTP": http,
            "COLLECTOR_HEALTH": health,
            "COLLECTOR_DATA": folder / "data",
            **more,
        }
        super().__init__("gateway", COLLECTOR, folder, f"http://{health}/", environment)

    def records(self) -> list[str]:
        """Return what is in its files, as `records` does."""
        return records(path for signal in SIGNALS for path in (self.folder / "data").glob(f"{signal}*.jsonl"))

    def lines(self) -> list[Any]:
        """Return the lines of those files."""
        paths = [path for signal in SIGNALS for path in (self.folder / "data").glob(f"{signal}*.jsonl")]
        return [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]

    def metrics(self) -> list[Any]:
        """Return the lines of its file of metrics."""
        lines = (path.read_text(encoding="utf-8") for path in (self.folder / "data").glob("metrics*.jsonl"))
        return [json.loads(line) for text in lines for line in text.splitlines()]


class Agent(Deployed):
    """The Collector by agent.yaml."""

    def __init__(self, folder: Path, jobs: Path, gateway: str) -> None:
        """Have it read the journals below `jobs`."""
        (port,) = free_ports(1)
        environment = {
            "AGENT_HEALTH": f"127.0.0.1:{port}",
            "AGENT_DATA": folder / "data",
            "JOBS": jobs,
            "GATEWAY": gateway,
            "POLL_INTERVAL": "100ms",
        }
        super().__init__("agent", COLLECTOR, folder, f"http://127.0.0.1:{port}/", environment)


def records(paths: Iterable[Path]) -> list[str]:
    """Return the spans and log records of files with OTLP/JSON lines, each with its resource and scope; sorted JSON."""
    found = []
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            for kind, scopes, items in (
                ("resourceSpans", "scopeSpans", "spans"),
                ("resourceLogs", "scopeLogs", "logRecords"),
            ):
                for of in json.loads(line).get(kind, []):
                    for by in of[scopes]:
                        found += [(item, by.get("scope"), of["resource"]) for item in by[items]]
    return sorted(json.dumps(one, sort_keys=True) for one in found)


def names(found: Iterable[str]) -> list[str]:
    """Return what tells each of `records` from the others: a span's id, a log record's uid."""
    ids = []
    for one in found:
        item = json.loads(one)[0]
        attributes = item.get("attributes", [])
        uids = [each["value"]["stringValue"] for each in attributes if each["key"] == "log.record.uid"]
        ids.append(uids[0] if uids else item["spanId"])
    return sorted(ids)


def spans_by_trace(job: Path) -> dict[str, dict[str, str]]:
    """Return the names of a job's spans, by trace and id."""
    found: dict[str, dict[str, str]] = {}
    for one in records(job.rglob("traces.jsonl")):
        span = json.loads(one)[0]
        found.setdefault(span["traceId"], {})[span["spanId"]] = span["name"]
    return found


def deliver(job: Path, endpoint: str) -> None:
    """Push a job to an endpoint, which takes all of it."""
    wires = {signal: HttpWire(signal, endpoint=f"{endpoint}/v1/{signal}", timeout=10) for signal in SIGNALS}
    try:
        pushed = push(JobLayout(job), {signal: Way(wire, endpoint) for signal, wire in wires.items()})
    finally:
        for wire in wires.values():
            wire.close()
    assert pushed.complete, pushed


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The speech demo's job, recorded without network; not to be changed."""
    job = tmp_path_factory.mktemp("speech") / "job"
    script = REPO / "examples" / "speech" / "run.py"
    environment = clean_environment({"STAGEIO_MODE": "file"})
    run([sys.executable, script, "--job", job], env=environment, capture_output=True, timeout=100, check=True)
    return job


@pytest.fixture
def job(speech: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that job, whose delivery may be noted in it."""
    copy = tmp_path / "jobs" / "speech"
    shutil.copytree(speech, copy)
    return copy


def test_gateway_writes_all_and_hands_spans_on(start_backend: StartBackend, job: Path, tmp_path: Path):
    """What is pushed to gateway.yaml is in its files to the last record, and its spans are in Jaeger by jaeger.yaml."""
    jaeger = start_backend(DeployedJaeger(tmp_path / "jaeger"))
    gateway = start_backend(Gateway(tmp_path / "gateway", JAEGER_OTLP=jaeger.otlp_http))
    deliver(job, gateway.otlp_http)
    assert names(gateway.records()) == names(records(job.rglob("*.jsonl")))
    ((trace_id, spans),) = spans_by_trace(job).items()
    assert len(spans) > 6
    eventually(lambda: jaeger.spans(trace_id) == spans)
    services = json.loads(ask(f"{jaeger.query}/api/services")[1])["data"]
    assert services == ["speech"]
    assert b'"stageio.status"' in ask(f"{jaeger.query}/search")[1]  # the page's configuration is in the page


def test_gateway_killed_while_jaeger_is_away(start_backend: StartBackend, job: Path, tmp_path: Path):
    """What gateway.yaml acknowledged before it was killed is in its files, and in Jaeger when that is there again."""
    jaeger = DeployedJaeger(tmp_path / "jaeger")
    gateway = start_backend(Gateway(tmp_path / "gateway", JAEGER_OTLP=jaeger.otlp_http))
    deliver(job, gateway.otlp_http)
    gateway.kill()
    assert names(gateway.records()) == names(records(job.rglob("*.jsonl")))
    gateway.start()
    start_backend(jaeger)
    ((trace_id, spans),) = spans_by_trace(job).items()
    eventually(lambda: jaeger.spans(trace_id) == spans, within=40)


def test_metrics_go_on_without_job_and_run(start_backend: StartBackend, tmp_path: Path):
    """A metrics backend behind gateway.yaml gets no attribute that is another in each job; the files have all."""
    backend = start_backend(Gateway(tmp_path / "backend"))
    more = {"METRICS_TO": "otlphttp/metrics", "METRICS_OTLP": backend.otlp_http}
    gateway = start_backend(Gateway(tmp_path / "gateway", **more))
    assert ask(f"{gateway.otlp_http}/v1/metrics", json.dumps(SAMPLES).encode(), JSON)[0] == 200
    assert gateway.metrics() == [SAMPLES]
    (got,) = eventually(backend.metrics)
    assert got["resourceMetrics"][0]["resource"] == {
        "attributes": [{"key": "service.name", "value": {"stringValue": "x"}}]
    }
    assert got["resourceMetrics"][0]["scopeMetrics"] == SAMPLES["resourceMetrics"][0]["scopeMetrics"]


def test_agent_gives_what_push_gives(start_backend: StartBackend, job: Path, tmp_path: Path):
    """What agent.yaml reads from a job arrives as the same job pushed does: each record once and field by field."""
    by_push = start_backend(Gateway(tmp_path / "pushed"))
    by_agent = start_backend(Gateway(tmp_path / "tailed"))
    deliver(job, by_push.otlp_http)
    start_backend(Agent(tmp_path / "agent", job.parent, by_agent.otlp_http))
    count = len(by_push.records())
    eventually(lambda: len(by_agent.records()) >= count)
    assert by_agent.records() == by_push.records()


def test_agent_gives_what_the_story_says(start_backend: StartBackend, story: JobLayout, tmp_path: Path):
    """What agent.yaml reads of the story is what its journal says, long lines and hostile text too, field by field."""
    gateway = start_backend(Gateway(tmp_path / "gateway"))
    start_backend(Agent(tmp_path / "agent", story.root.parent, gateway.otlp_http))
    journal = on_disk(story)
    eventually(lambda: len(gateway.records()) >= len(journal), within=40)
    there = [said for line in gateway.lines() for said in of_line(line)]
    assert (len(there), by_key(there)) == (len(journal), journal)


@pytest.mark.parametrize("end", [Program.kill, Program.stop])
def test_agent_reads_on_after_its_end(start_backend: StartBackend, job: Path, tmp_path: Path, end: Callable[..., None]):
    """Ended while nobody takes what it read, agent.yaml delivers it after a start, and what was written meanwhile."""
    gateway = Gateway(tmp_path / "gateway")
    agent = start_backend(Agent(tmp_path / "agent", job.parent, gateway.otlp_http))
    eventually(lambda: "Exporting failed. Will retry" in agent.log_tail(1_000))
    end(agent)
    shutil.copytree(job, job.with_name("another"))
    for path in job.with_name("another").rglob("*.jsonl"):  # a job of its own: other ids, other first bytes
        path.write_text(re.sub(r'("value":\{"stringValue":"|"spanId":")[0-9a-f]{4}', r"\g<1>abcd", path.read_text()))
    start_backend(gateway)
    agent.start()
    every = names(records(job.parent.rglob("*.jsonl")))
    eventually(lambda: set(names(gateway.records())) == set(every), within=40)


def test_agent_waits_for_the_rest_of_a_line(start_backend: StartBackend, job: Path, tmp_path: Path):
    """A line that its writer was stopped in the middle of reaches the backend when the rest is written."""
    (path,) = [each for each in job.rglob("events.jsonl") if "01_" in str(each)]
    whole = path.read_bytes()
    path.write_bytes(whole[:-300])
    gateway = start_backend(Gateway(tmp_path / "gateway"))
    start_backend(Agent(tmp_path / "agent", job.parent, gateway.otlp_http))
    count = len(records(job.rglob("traces.jsonl")))
    eventually(lambda: len(gateway.records()) > count)
    time.sleep(3)  # longer than it would wait for the rest by default
    with path.open("ab") as file:
        file.write(whole[-300:])
    every = names(records(job.rglob("*.jsonl")))
    eventually(lambda: names(gateway.records()) == every)


@pytest.mark.parametrize("storage", ["memory", "badger"])
def test_jaeger_keeps_what_it_is_told_to(start_backend: StartBackend, job: Path, tmp_path: Path, storage: str):
    """By jaeger.yaml, spans are gone with the process in memory, and survive its kill in badger."""
    more = {"JAEGER_STORAGE": storage, "JAEGER_EPHEMERAL": str(storage == "memory").lower()}
    jaeger = start_backend(DeployedJaeger(tmp_path / "jaeger", **more))
    ((trace_id, spans),) = spans_by_trace(job).items()
    for line in (line for path in job.rglob("traces.jsonl") for line in path.read_bytes().splitlines()):
        assert ask(f"{jaeger.otlp_http}/v1/traces", line, JSON)[0] == 200
    eventually(lambda: jaeger.spans(trace_id) == spans)
    jaeger.kill()
    jaeger.start()
    assert jaeger.spans(trace_id) == (spans if storage == "badger" else {})
