"""ship.wire: the same situation gets the same answer, whatever the protocol."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from otel_stageio.model import Line, Span
from otel_stageio.ship.shown import Writers
from otel_stageio.ship.wire import Answer, Verdict
from tests.journal import samples
from tests.ship.wires import SIDES, SITUATIONS, Certificates, Side

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[2]
SPAN = Span(trace_id="11" * 16, span_id="22" * 8, name="asr", start_time_unix_nano=1, end_time_unix_nano=2)
RECORDS = {"traces": SPAN, "logs": samples.log("hello")}


def shown(record: Any = SPAN) -> list[Any]:
    """A batch of one."""
    return list(Writers().shown([Line((record,), samples.SCOPE, samples.RESOURCE)]))


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Side:
    """Each protocol."""
    return SIDES[request.param]


@pytest.fixture
def server(side: Side) -> Iterator[Any]:
    """A backend of that protocol."""
    with side.serve() as answers:
        yield answers


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Of 127.0.0.1, by a signer that nobody else knows."""
    return issued(tmp_path / "certificates")


def issued(folder: Path) -> Certificates:
    """A certificate of 127.0.0.1."""
    folder.mkdir()
    signer = trustme.CA()
    mine = signer.issue_cert("127.0.0.1")
    made = Certificates(folder / "chain.pem", folder / "key.pem", folder / "signer.pem")
    made.chain.write_bytes(b"".join(blob.bytes() for blob in mine.cert_chain_pems))
    made.key.write_bytes(mine.private_key_pem.bytes())
    signer.cert_pem.write_to_path(str(made.signer))
    return made


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_answer(side: Side, server: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each is asked once and not retried by the exporter, which says nothing on the user's loggers."""
    caplog.set_level(logging.DEBUG)
    wire = side.wire(server.url, timeout=2)
    side.say(server, SITUATIONS[name])
    answer = wire.send(shown())
    wire.close()
    said = [record for record in caplog.records if record.name.startswith(("opentelemetry", "grpc"))]
    assert (answer._replace(why=""), len(server.asked), said) == (SITUATIONS[name].answer, 1, [])
    assert answer.why


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_records_arrive(side: Side, server: Any, signal: str) -> None:
    """What is sent is what the backend gets, and an empty answer is an acknowledgement."""
    wire = side.wire(server.url, signal, timeout=2)
    assert wire.send(shown(RECORDS[signal])) == Answer(Verdict.DELIVERED)
    wire.close()
    ((message, _),) = side.asked(server, signal)
    if signal == "traces":
        assert message.resource_spans[0].scope_spans[0].spans[0].name == "asr"
    else:
        assert message.resource_logs[0].scope_logs[0].log_records[0].body.string_value == "hello"


@pytest.mark.parametrize(("signal", "count"), [("traces", "rejected_spans"), ("logs", "rejected_log_records")])
def test_a_partial_success_is_told(side: Side, server: Any, signal: str, count: str) -> None:
    """Records that the backend rejected for good are counted, with its message."""
    side.partly(server, signal, error_message="too old", **{count: 3})
    wire = side.wire(server.url, signal, timeout=2)
    assert wire.send(shown(RECORDS[signal])) == Answer(Verdict.DELIVERED, "too old", rejected=3)
    wire.close()


def test_headers_compression_and_timeout_are_the_exporters(
    side: Side, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not given comes from the standard variables, as the official exporter reads them."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    wire = side.wire(server.url)
    assert wire.send(shown()) == Answer(Verdict.DELIVERED)
    wire.close()
    ((_, headers),) = side.asked(server)
    assert headers["api-key"] == "abc"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    wire = side.wire(server.url)
    assert wire.send(shown()) == Answer(Verdict.DELIVERED)
    wire.close()


def test_nobody_listens_until_somebody_does(side: Side) -> None:
    """A refused connection keeps the records waiting, and they go out soon after the backend is back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wire = side.wire(f"http://127.0.0.1:{port}", timeout=2)
    for _ in range(7):  # so long that gRPC's own wait, with which it begins after a second, would have grown
        answer = wire.send(shown())
        assert (answer.verdict, "refused" in answer.why) == (Verdict.LATER, True)
        time.sleep(0.5)
    with side.serve(port=port):
        until = time.monotonic() + 2
        while (answer := wire.send(shown())).verdict is Verdict.LATER and time.monotonic() < until:
            time.sleep(0.05)
    wire.close()
    assert answer == Answer(Verdict.DELIVERED)


def test_nobody_answers(side: Side) -> None:
    """One that accepts and is silent costs the timeout, once, and closing costs nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wire = side.wire(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        begun = time.monotonic()
        answer = wire.send(shown())
        sent = time.monotonic()
        wire.close()
        closed = time.monotonic()
    assert (answer.verdict, bool(answer.why)) == (Verdict.LATER, True)
    assert 0.2 < sent - begun < 1.3
    assert closed - sent < 0.3


def test_what_cannot_be_encoded_is_refused(side: Side, server: Any) -> None:
    """A record that the exporter cannot encode is to blame itself, and nothing was sent."""
    wire = side.wire(server.url, timeout=2)
    answer = wire.send(shown(SPAN._replace(start_time_unix_nano=-1)))
    assert (answer, server.asked) == (Answer(Verdict.REFUSED, "the exporter could not encode it"), [])
    assert wire.send(shown()) == Answer(Verdict.DELIVERED)
    wire.close()


def test_certificates_are_the_exporters(
    side: Side, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend with a signer of its own, which wants to know its clients, is reached by the standard variables.

    They go before what is set for all that uses requests.
    """
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(issued(tmp_path / "general").signer))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificates.signer))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(certificates.key))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(certificates.chain))
    with side.serve(certificates) as server:
        wire = side.wire(server.url, timeout=2)
        assert wire.send(shown()) == Answer(Verdict.DELIVERED)
        wire.close()


def test_a_wrong_certificate(
    side: Side, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody trusts keeps the records waiting, with a reason that a person understands."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(issued(tmp_path / "other").signer))
    with side.serve(certificates) as server:
        wire = side.wire(server.url, timeout=2)
        answer = wire.send(shown())
        wire.close()
    assert (answer.verdict, "CERTIFICATE_VERIFY_FAILED" in answer.why) == (Verdict.LATER, True)
    assert server.asked == []


EXIT = """
import socket, sys, threading, time
from tests.ship.test_wires import SIDES, shown
silent = socket.create_server(("127.0.0.1", 0))
wire = SIDES[sys.argv[1]].wire(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=20)
threading.Thread(target=lambda: wire.send(shown()), daemon=True).start()
time.sleep(0.5)
print(time.time())
"""


@pytest.mark.parametrize("protocol", SIDES)
def test_no_exit_waits_for_a_backend(protocol: str) -> None:
    """A process that ends while a batch is on its way ends at once, and in silence."""
    ran = subprocess.run(
        [sys.executable, "-c", EXIT, protocol], capture_output=True, text=True, check=False, cwd=REPO, timeout=30
    )
    assert time.time() - float(ran.stdout) < 1
    assert (ran.returncode, ran.stderr) == (0, "")


MINE = {"http": "requests", "grpc": "grpc"}


@pytest.mark.parametrize(("protocol", "other"), [("http", "grpc"), ("grpc", "requests")])
def test_one_protocol_does_not_load_the_other(protocol: str, other: str) -> None:
    """Whoever sends over one of them imports the library of that one only; what both share imports neither."""
    program = f"""
import sys
import otel_stageio.ship.push, otel_stageio.ship.delivery, otel_stageio.ship.wire
before = [name for name in {list(MINE.values())} if name in sys.modules]
import otel_stageio.ship.{protocol}_wire
print(before, {MINE[protocol]!r} in sys.modules, {other!r} in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPO)
    assert ran.stdout == "[] True False\n"
