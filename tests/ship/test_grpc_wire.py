"""ship.grpc_wire: what only gRPC has; tests/ship/test_wires.py proves what it shares with HTTP."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.status_pb2 import Status

from otel_stageio.ship.grpc_wire import GrpcWire
from otel_stageio.ship.wire import Answer, Verdict
from tests.ship.backend import backend
from tests.ship.grpc_backend import GrpcAnswers, grpc_backend, retry_info
from tests.ship.test_wires import SPAN, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[2]
Code = grpc.StatusCode
LATER = {Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.ABORTED, Code.OUT_OF_RANGE, Code.UNAVAILABLE, Code.DATA_LOSS}
LATER |= {Code.UNAUTHENTICATED, Code.PERMISSION_DENIED}


@pytest.fixture
def server() -> Iterator[GrpcAnswers]:
    """A backend to answer."""
    with grpc_backend() as answers:
        yield answers


@pytest.fixture
def spans(server: GrpcAnswers) -> Iterator[GrpcWire]:
    """The way of spans to it."""
    wire = GrpcWire("traces", endpoint=server.url, timeout=2)
    yield wire
    wire.close()


def test_endpoint_and_insecure_are_the_exporters(server: GrpcAnswers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint needs no scheme where the standard variable says that there is no TLS; a signal's own goes first."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", server.url.removeprefix("http://"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    wire = GrpcWire("traces", timeout=2)
    assert wire.send(shown()) == Answer(Verdict.DELIVERED)
    wire.close()


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK], ids=lambda code: code.name)
def test_each_code_has_its_verdict(
    server: GrpcAnswers, spans: GrpcWire, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is asked once, whatever the exporter would have made of it, and its name and text are the reason."""
    caplog.set_level(logging.DEBUG, "opentelemetry")
    server.code, server.details = code, "since\n it is so"
    verdict = Verdict.LATER if code in LATER else Verdict.REFUSED
    verdict = Verdict.NOT_TAKEN if code is Code.UNIMPLEMENTED else verdict
    answer = spans.send(shown())
    assert (answer.verdict, answer.why.endswith(f"gRPC {code.name}: since it is so")) == (verdict, True)
    assert (len(server.asked), [one for one in caplog.records if one.name.startswith("opentelemetry")]) == (1, [])


@pytest.mark.parametrize("code", [Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE])
@pytest.mark.parametrize("wait", [0, 1.5, 600])
def test_how_long_to_wait_is_told(server: GrpcAnswers, spans: GrpcWire, code: grpc.StatusCode, wait: float) -> None:
    """The delay of a RetryInfo is handed on, and nobody sleeps for it here; with it, a throttled batch is whole."""
    server.code, server.trailing = code, retry_info(wait)
    begun = time.monotonic()
    answer = spans.send(shown())
    assert (answer.verdict, answer.wait) == (Verdict.LATER, wait)
    assert time.monotonic() - begun < 1.4


@pytest.mark.parametrize("junk", [b"\xff\xff", Status(message="no details").SerializeToString()])
def test_details_that_say_nothing(server: GrpcAnswers, spans: GrpcWire, junk: bytes) -> None:
    """Details without a RetryInfo, or that are none, are no wait."""
    server.code, server.trailing = Code.UNAVAILABLE, (("grpc-status-details-bin", junk),)
    answer = spans.send(shown())
    assert (answer.verdict, answer.wait) == (Verdict.LATER, None)


def test_a_message_over_4_mib_is_refused(server: GrpcAnswers, spans: GrpcWire) -> None:
    """The server's own limit says so at once: a part of the batch may pass. The exporter would retry it."""
    answer = spans.send(shown(SPAN._replace(name="x" * 5_000_000)))
    assert (answer.verdict, answer.why.startswith("too large: gRPC RESOURCE_EXHAUSTED")) == (Verdict.REFUSED, True)
    assert spans.send(shown()) == Answer(Verdict.DELIVERED)


def test_an_answer_over_4_mib_blames_no_record(server: GrpcAnswers, spans: GrpcWire) -> None:
    """The same code from this side of the wire is of the answer, not of the batch."""
    server.partial = {"error_message": "x" * 5_000_000}
    assert spans.send(shown()).verdict == Verdict.LATER


def test_a_slow_answer_ends_with_the_timeout(server: GrpcAnswers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout of the standard variable is for all of a batch."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    server.after = 1
    wire = GrpcWire("traces", endpoint=server.url)
    begun = time.monotonic()
    answer = wire.send(shown())
    assert (answer.verdict, "DEADLINE_EXCEEDED" in answer.why) == (Verdict.LATER, True)
    assert time.monotonic() - begun < 0.9
    wire.close()


def test_an_http_port_is_no_backend() -> None:
    """What speaks something else on that port keeps the records waiting."""
    with backend() as other:
        wire = GrpcWire("traces", endpoint=other.url, timeout=2)
        answer = wire.send(shown())
        wire.close()
    assert (answer.verdict, "UNAVAILABLE" in answer.why) == (Verdict.LATER, True)


@pytest.mark.parametrize(("name", "value"), [("Api-Key", "secret"), ("api-key", "sécret"), ("key-bin", "secret")])
def test_headers_that_grpc_cannot_send(server: GrpcAnswers, name: str, value: str) -> None:
    """They are named, and what they hold is not."""
    wire = GrpcWire("traces", endpoint=server.url, headers={name: value})
    answer = wire.send(shown())
    wire.close()
    assert (answer.verdict, name in answer.why, value in answer.why) == (Verdict.LATER, True, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/"),
    ],
)
def test_settings_that_it_cannot_use(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    """They are a ValueError that names them, every time, and no line on the user's loggers."""
    monkeypatch.setenv(name, value)
    for _ in range(2):
        with pytest.raises(ValueError, match=value):
            GrpcWire("traces", endpoint="https://127.0.0.1:4317")
    assert caplog.records == []


PROGRAM = """
import os, socket, sys, threading, time
from otel_stageio.ship.grpc_wire import GrpcWire
from tests.ship.test_wires import shown

assert os.environ.get("GRPC_VERBOSITY") == (sys.argv[1] if len(sys.argv) > 1 else None)
silent = socket.create_server(("127.0.0.1", 0))
port = silent.getsockname()[1]
wire = GrpcWire("traces", endpoint=f"http://127.0.0.1:{port}", timeout=1)
sending = threading.Thread(target=lambda: print(wire.send(shown()).verdict.value))
sending.start()
time.sleep(0.3)
if (child := os.fork()) == 0:
    os._exit(0)
os.waitpid(child, 0)
sending.join()
wire.close()
tls = GrpcWire("traces", endpoint=f"https://127.0.0.1:{port}", timeout=1)
talking = lambda: [silent.accept()[0].sendall(b"hello, this is no TLS") for _ in range(2)]
threading.Thread(target=talking, daemon=True).start()
print(tls.send(shown()).verdict.value)
tls.close()
"""


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The program, in a process of its own."""
    kept: dict[str, Any] = {name: of for name, of in os.environ.items() if not name.startswith("GRPC_")}
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPO,
        env={**kept, **environ},
        timeout=30,
    )


def test_the_core_says_nothing_on_the_terminal() -> None:
    """Neither a fork while a batch is on its way nor a failed handshake is on stderr; the variable is unset again."""
    ran = run()
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "later\nlater\n", "")


def test_the_users_verbosity_stands() -> None:
    """Whoever asks gRPC to be loud hears it."""
    ran = run("DEBUG", GRPC_VERBOSITY="DEBUG")
    assert (ran.returncode, ran.stdout) == (0, "later\nlater\n")
    assert ran.stderr
