"""Jaeger and the Collector as a test runs them: on free ports of loopback, all they write in a folder of the test.

`Program` runs any configuration; `Jaeger` and `Collector` bring theirs.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tests.backends import pins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

#: Where the programs are, if they are built.
FOLDER = pins.programs_folder(os.environ)
JAEGER = FOLDER / "jaeger"
COLLECTOR = FOLDER / "collector"

#: Seconds that a program may take until it answers, and to stop.
STARTS_WITHIN = 30.0
STOPS_WITHIN = 15.0

#: What a line of a Collector's file begins with; within a text it has other quotes.
_LINE = re.compile(rb'(?=\{"resource(?:Logs|Spans|Metrics)":)')

#: What this process has running, for the report of a test that fails.
RUNNING: list[Program] = []

_no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProgramError(Exception):
    """A program did not start; the message has the end of its log."""


def free_ports(count: int) -> list[int]:
    """Choose ports of loopback that nothing listens on, and that nothing takes while a program is down.

    They are below those that the system gives to outgoing connections, and each worker of a test run has its own range.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            port = 20_000 + 1_500 * worker + random.SystemRandom().randrange(1_500)
            one = held.enter_context(socket.socket())
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    return ports


def ask(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """GET, or POST a body; give status and answer, whatever the status. No proxy is asked.

    Raises:
        OSError: there is no answer.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}))
    try:
        with _no_proxy.open(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def eventually(look: Callable[[], T], *, within: float = 15.0) -> T:
    """Return the first result of `look` that is true; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {within} s; last seen: {seen!r}"
        time.sleep(0.05)
    return seen


@dataclass(kw_only=True, eq=False)
class Program:
    """A program that is started, stopped, killed and started again on the same ports.

    Args:
        name: For messages, and of its log.
        command: What to run, with arguments.
        health: The URL that answers 200 when the program is ready.
        folder: Working directory; the log goes there, one for all starts.
        environment: Added to PATH, which is all that the program gets of ours.
    """

    name: str
    command: Sequence[str | Path]
    health: str
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        """Where it writes what it says."""
        return self.folder / f"{self.name}.log"

    def log_tail(self, lines: int = 60) -> str:
        """Return the last lines of its log."""
        said = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(said.splitlines()[-lines:])

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ProgramError: it ended, or was not ready in time and has been killed.
        """
        assert self.process is None, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(map(str, self.command)),
                cwd=self.folder,
                env={"PATH": os.environ.get("PATH", os.defpath), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        RUNNING.append(self)
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._is_ready():
            status = self.process.poll()
            if status is not None or time.monotonic() > deadline:
                self.kill()
                what = f"was not ready in {STARTS_WITHIN} s" if status is None else f"ended with {status}"
                raise ProgramError(f"{self.name} {what}. The end of {self.log}:\n{self.log_tail()}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return ask(self.health)[0] == 200
        except OSError:
            return False

    def stop(self) -> None:
        """Have it end in order (SIGTERM), or kill it if it takes too long; nothing if it does not run."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOPS_WITHIN)
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL); nothing if it does not run."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            RUNNING.remove(self)

    def restart(self) -> None:
        """Stop it if it runs, and start it on the same ports."""
        self.stop()
        self.start()


def _run_with_config(binary: Path, folder: Path, config: Mapping[str, object]) -> list[str | Path]:
    path = folder / "config.json"  # which is YAML
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return [binary, f"--config={path}"]


def _otlp_receiver(grpc: int, http: int) -> dict[str, object]:
    return {
        "otlp": {
            "protocols": {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{http}"}},
        },
    }


class Jaeger(Program):
    """Jaeger with its storage in memory: what it was sent is gone when it ends.

    Attributes:
        otlp_http: Endpoint as OTEL_EXPORTER_OTLP_ENDPOINT takes it.
        otlp_grpc: The same for gRPC.
        query: Where the UI and the query API answer.
    """

    def __init__(self, folder: Path) -> None:
        """Write its configuration into `folder`, which must exist."""
        grpc, http, query, query_grpc, health = free_ports(5)
        self.otlp_http = f"http://127.0.0.1:{http}"
        self.otlp_grpc = f"http://127.0.0.1:{grpc}"
        self.query = f"http://127.0.0.1:{query}"
        config = {
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100_000}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": f"127.0.0.1:{query}"},
                    "grpc": {"endpoint": f"127.0.0.1:{query_grpc}"},
                    # Of its own answers: it would send that to port 4317, and try for 10 s when it is to end.
                    "enable_tracing": False,
                },
                "healthcheckv2": {"use_v2": True, "http": {"endpoint": f"127.0.0.1:{health}"}},
            },
            "receivers": _otlp_receiver(grpc, http),
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query", "healthcheckv2"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        command = _run_with_config(JAEGER, folder, config)
        super().__init__(name="jaeger", command=command, health=f"http://127.0.0.1:{health}/status", folder=folder)

    def spans(self, trace_id: str) -> list[dict[str, Any]]:
        """Return the spans that it has of a trace (32 hex digits) as OTLP/JSON, without resource and scope."""
        status, answer = ask(f"{self.query}/api/v3/traces/{trace_id}")
        if status == 404:
            return []
        assert status == 200, (status, answer)
        resources = json.loads(answer)["result"]["resourceSpans"]
        return [span for one in resources for scope in one["scopeSpans"] for span in scope.get("spans", [])]


class Collector(Program):
    """A Collector that writes all it gets into one file, and passes spans on to Jaeger if it is given one.

    What it acknowledged is in the file: also after `kill`. A start goes on with the same file.

    Attributes:
        otlp_http: Endpoint as OTEL_EXPORTER_OTLP_ENDPOINT takes it.
        otlp_grpc: The same for gRPC.
        output: The file: an OTLP/JSON object a line, of any signal.
    """

    def __init__(self, folder: Path, jaeger: Jaeger | None = None) -> None:
        """Write its configuration into `folder`, which must exist."""
        grpc, http, health = free_ports(3)
        self.otlp_http = f"http://127.0.0.1:{http}"
        self.otlp_grpc = f"http://127.0.0.1:{grpc}"
        self.output = folder / "output.jsonl"
        # With rotation (here at a size never reached) the exporter writes at once and goes on with a file that is
        # there. Without, it keeps the last second in memory and empties the file at each start.
        exporters: dict[str, object] = {"file": {"path": str(self.output), "rotation": {"max_megabytes": 1_000_000}}}
        pipelines = {signal: {"receivers": ["otlp"], "exporters": ["file"]} for signal in ("traces", "logs", "metrics")}
        if jaeger is not None:
            exporters["otlphttp"] = {"endpoint": jaeger.otlp_http}
            pipelines["traces"]["exporters"].append("otlphttp")
        config = {
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
            "receivers": _otlp_receiver(grpc, http),
            "exporters": exporters,
            "service": {
                "extensions": ["health_check"],
                "pipelines": pipelines,
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        command = _run_with_config(COLLECTOR, folder, config)
        super().__init__(name="collector", command=command, health=f"http://127.0.0.1:{health}/", folder=folder)

    def written(self) -> list[dict[str, Any]]:
        """Return the objects of the whole lines in its file; one that a kill tore is glued to the start of the next."""
        if not self.output.exists():
            return []
        *lines, _ = self.output.read_bytes().split(b"\n")
        return [json.loads(_LINE.split(line)[-1]) for line in lines]
