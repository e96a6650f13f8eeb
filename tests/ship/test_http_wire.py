"""ship.http_wire: what a backend made of a batch, told from its answer."""

from __future__ import annotations

import logging
import socket
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_stageio.model import Line, Span
from otel_stageio.ship.http_wire import HttpWire, seconds
from otel_stageio.ship.shown import ShownLogRecord, ShownSpan, Writers
from otel_stageio.ship.wire import Answer, Verdict
from tests.journal import samples
from tests.ship.backend import Answers, backend
from tests.ship.test_wires import issued
from tests.ship.wires import HttpSide

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPAN = Span(trace_id="11" * 16, span_id="22" * 8, name="asr", start_time_unix_nano=1, end_time_unix_nano=2)


def shown(record: object) -> list[ShownSpan | ShownLogRecord]:
    """A batch of one."""
    return list(Writers().shown([Line((record,), samples.SCOPE, samples.RESOURCE)]))  # type: ignore[arg-type] # either


@pytest.fixture
def server() -> Iterator[Answers]:
    """A backend to answer."""
    with backend() as answers:
        yield answers


@pytest.fixture
def spans(server: Answers) -> Iterator[HttpWire]:
    """The way of spans to it."""
    wire = HttpWire("traces", endpoint=f"{server.url}/v1/traces", timeout=2)
    yield wire
    wire.close()


def test_spans_arrive(server: Answers, spans: HttpWire) -> None:
    """A span that is sent is what the backend gets, and an empty answer is an acknowledgement."""
    assert spans.send(shown(SPAN)) == Answer(Verdict.DELIVERED)
    ((path, _, body),) = server.asked
    message = ExportTraceServiceRequest.FromString(body)
    assert (path, message.resource_spans[0].scope_spans[0].spans[0].name) == ("/v1/traces", "asr")


def test_log_records_arrive(server: Answers) -> None:
    """The same for log records."""
    wire = HttpWire("logs", endpoint=f"{server.url}/v1/logs", timeout=2)
    assert wire.send(shown(samples.log("hello"))) == Answer(Verdict.DELIVERED)
    wire.close()
    ((_, _, body),) = server.asked
    message = ExportLogsServiceRequest.FromString(body)
    assert message.resource_logs[0].scope_logs[0].log_records[0].body.string_value == "hello"


def test_endpoint_headers_and_compression_are_the_exporters(server: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given comes from the standard variables, as the official exporter reads them."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{server.url}/base")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    wire = HttpWire("traces")
    assert wire.send(shown(SPAN)).verdict == Verdict.DELIVERED
    wire.close()
    ((path, headers, _),) = server.asked
    found = {name.lower(): of for name, of in headers.items()}
    assert (path, found["api-key"], found["content-encoding"]) == ("/base/v1/traces", "abc", "gzip")


def test_a_partial_success_is_told(server: Answers, spans: HttpWire) -> None:
    """Records that the backend rejected for good are counted, with its message."""
    server.body = ExportTraceServiceResponse(
        partial_success={"rejected_spans": 3, "error_message": "too old"}
    ).SerializeToString()
    assert spans.send(shown(SPAN)) == Answer(Verdict.DELIVERED, "too old", rejected=3)


def test_an_answer_in_json_is_one(server: Answers) -> None:
    """A backend may answer in JSON."""
    server.headers = {"Content-Type": "application/json"}
    server.body = b'{"partialSuccess": {"rejectedLogRecords": "2"}, "later": 1}'
    wire = HttpWire("logs", endpoint=f"{server.url}/v1/logs")
    assert wire.send(shown(samples.log())) == Answer(Verdict.DELIVERED, rejected=2)
    wire.close()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>Please log in</html>"),
        ("application/x-protobuf", b"<html>Please log in</html>"),
        ("application/json", b"<html>"),
        ("text/plain", ExportLogsServiceResponse().SerializeToString() + b"OK"),
    ],
)
def test_a_login_page_is_no_acknowledgement(server: Answers, spans: HttpWire, kind: str, body: bytes) -> None:
    """2xx without the service's answer means that somebody else answered: the records wait."""
    server.headers, server.body = {"Content-Type": kind}, body
    answer = spans.send(shown(SPAN))
    assert (answer.verdict, kind in answer.why) == (Verdict.LATER, True)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((status, Verdict.LATER) for status in (429, 502, 503, 504, 401, 403, 407, 408, 301, 302, 307)),
        *((status, Verdict.NOT_TAKEN) for status in (404, 405, 501)),
        *((status, Verdict.REFUSED) for status in (400, 413, 422, 500)),
    ],
)
def test_each_status_has_its_verdict(
    server: Answers, spans: HttpWire, status: int, verdict: Verdict, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is asked once and not retried by the exporter, which says nothing on the user's loggers."""
    caplog.set_level(logging.DEBUG, "opentelemetry")
    server.status = status
    answer = spans.send(shown(SPAN))
    said = [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert (answer.verdict, str(status) in answer.why, len(server.asked), said) == (verdict, True, 1, [])


def test_a_redirect_is_not_followed(server: Answers, spans: HttpWire) -> None:
    """Where it points to is in the reason; headers with credentials go nowhere else."""
    server.status, server.headers = 302, {"Location": f"{server.url}/login"}
    answer = spans.send(shown(SPAN))
    assert (f"{server.url}/login" in answer.why, [path for path, _, _ in server.asked]) == (True, ["/v1/traces"])


def test_a_redirect_tells_no_secret(server: Answers, spans: HttpWire) -> None:
    """The reason is seen on terminals: the address without what it carries."""
    server.status, server.headers = 302, {"Location": "https://me:pass@login.example/in?token=s3cret#x"}
    assert spans.send(shown(SPAN)).why == "HTTP 302 Found to https://login.example/in: no OTLP endpoint"


def test_how_long_to_wait_is_told(server: Answers, spans: HttpWire) -> None:
    """Retry-After of a throttling backend is handed on."""
    server.status, server.headers = 429, {"Retry-After": "7"}
    assert spans.send(shown(SPAN)).wait == 7


@pytest.mark.parametrize("text", [None, "", "soon", "-1", "Wed, 99 Oct"])
def test_a_retry_after_that_says_nothing(text: str | None) -> None:
    """What is neither a number of seconds nor a date is no wait."""
    assert seconds(text) is None


def test_a_retry_after_may_be_a_date() -> None:
    """A date is the seconds until it; one that is past is none."""
    later = datetime.now(timezone.utc) + timedelta(seconds=60)
    assert 50 < (seconds(format_datetime(later, usegmt=True)) or 0) <= 60
    assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_an_endless_answer_is_cut(server: Answers, spans: HttpWire) -> None:
    """A megabyte of something is not read to its end, and is no acknowledgement."""
    server.body = b"\x0a" * 1_000_000
    assert spans.send(shown(SPAN)).verdict == Verdict.LATER


def nothing_runs_on() -> None:
    """The threads that requests were made in have ended."""
    for thread in threading.enumerate():
        if thread.name == "stageio-http":
            thread.join(1)
            assert not thread.is_alive()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n"


@pytest.mark.parametrize(
    "drip",
    [
        HEAD + b"X: " + b"x" * 1000 + b"\r\nContent-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 1000\r\n\r\n" + b"\n" * 1000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n\n\r\n" * 200 + b"0\r\n\r\n",
    ],
    ids=["headers", "body", "chunks"],
)
def test_an_answer_that_drips_ends_with_the_timeout(server: Answers, drip: bytes) -> None:
    """Each byte is within the read timeout, but the whole is not: the records wait, and nothing is left running."""
    wire = HttpWire("traces", endpoint=f"{server.url}/v1/traces", timeout=0.5)
    server.drip = drip
    begun = time.monotonic()
    answer = wire.send(shown(SPAN))
    assert (answer.verdict, "no whole answer within 0.5 s" in answer.why) == (Verdict.LATER, True)
    assert time.monotonic() - begun < 1.5
    nothing_runs_on()
    server.drip = b""
    assert wire.send(shown(SPAN)) == Answer(Verdict.DELIVERED)
    wire.close()


def test_an_answer_that_drips_by_way_of_a_proxy_ends_too(server: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of the standard variables is used, and the socket to it is shut."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", server.url)
    wire = HttpWire("traces", endpoint="http://backend.invalid/v1/traces", timeout=0.5)
    assert wire.send(shown(SPAN)) == Answer(Verdict.DELIVERED)
    server.drip = HEAD + b"X: " + b"x" * 100
    assert "no whole answer" in wire.send(shown(SPAN)).why
    assert [path for path, _, _ in server.asked] == ["http://backend.invalid/v1/traces"] * 2
    nothing_runs_on()
    wire.close()


def test_an_answer_that_drips_over_tls_ends_too(tmp_path: Path) -> None:
    """The socket below the encryption is shut."""
    certificates = issued(tmp_path / "certificates")
    with HttpSide().serve(certificates) as server:
        server.drip = HEAD + b"X: " + b"x" * 100
        wire = HttpWire(
            "traces",
            endpoint=server.url,
            timeout=0.5,
            certificate_file=str(certificates.signer),
            client_certificate_file=str(certificates.chain),
            client_key_file=str(certificates.key),
        )
        begun = time.monotonic()
        answer = wire.send(shown(SPAN))
        assert (answer.verdict, "no whole answer" in answer.why) == (Verdict.LATER, True)
        assert time.monotonic() - begun < 1.5
        nothing_runs_on()
        wire.close()


def test_a_name_server_that_hangs_ends_with_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name has no timeout of its own."""
    hang = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hang.wait(5) and [])
    wire = HttpWire("traces", endpoint="http://backend.invalid/v1/traces", timeout=0.2)
    begun = time.monotonic()
    assert wire.send(shown(SPAN)).verdict == Verdict.LATER
    assert time.monotonic() - begun < 1.2
    hang.set()
    wire.close()


def test_a_certificate_file_that_is_not_there(server: Answers) -> None:
    """No record is to blame for it."""
    wire = HttpWire("traces", endpoint=server.url.replace("http", "https"), certificate_file="/nowhere/ca.pem")
    answer = wire.send(shown(SPAN))
    wire.close()
    assert (answer.verdict, "/nowhere/ca.pem" in answer.why) == (Verdict.LATER, True)
