"""Libraries that OpenTelemetry instruments, run for real: their spans nest under the stage and are on disk at once."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import requests
from opentelemetry import trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.threading import ThreadingInstrumentor

from otel_stageio import StageIO
from tests.record.otel.hosted import Backend, journal, named, provider, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import RunScript

CLIENT = 3
ERROR = 2


class Server(ThreadingHTTPServer):
    """A service on this machine that remembers the headers it was called with."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.heard: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}/tape"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.heard.append({name.lower(): of for name, of in self.headers.items()})
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A service to ask."""
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def instrumented(server: Server) -> Iterator[None]:
    """Have requests, sqlite3 and threading instrumented, by whatever provider the test sets."""
    made = [RequestsInstrumentor(), SQLite3Instrumentor(), ThreadingInstrumentor()]
    for each in made:
        each.instrument()
    yield
    for each in made:
        each.uninstrument()


def select(text: str = "select 1") -> None:
    """Ask a database in memory."""
    with closing(sqlite3.connect(":memory:")) as db, closing(db.cursor()) as cursor:
        cursor.execute(text)


def values(span: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a span."""
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"] if "value" in each}


def test_requests_are_spans_of_the_stage_on_disk_when_they_end(tmp_path: Path, server: Server):
    """Each request is a child of the span that it is made in, written before it returns; the service gets its ids."""
    io = StageIO("fetch", tmp_path / "job", stage_number=1)
    assert requests.get(server.url, timeout=10).status_code == 200
    (first,) = [span for span in journal(tmp_path / "job").values() if span["name"] == "GET"]
    with io.step("again"):
        requests.get(server.url, timeout=10)
    io.finalize()
    files = journal(tmp_path / "job")
    assert tree(files) == {"stageio": {"fetch": {"GET": {}, "again": {"GET": {}}}}}
    made = [span for span in files.values() if span["name"] == "GET"]
    assert first in made
    assert [headers["traceparent"] for headers in server.heard] == [
        f"00-{span['traceId']}-{span['spanId']}-01" for span in made
    ]
    for span in made:
        assert (span["kind"], span["scope"]["name"]) == (CLIENT, "opentelemetry.instrumentation.requests")
        assert {server.url, 200} <= set(values(span).values())


def test_a_request_that_fails_is_a_failed_span_and_raises_what_it_raises(tmp_path: Path, server: Server):
    """The exception reaches the caller; the span is failed, and the stage is not."""
    server.shutdown()
    server.server_close()
    with StageIO("fetch", tmp_path / "job", stage_number=1), pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=10)
    files = journal(tmp_path / "job")
    assert tree(files) == {"stageio": {"fetch": {"GET": {}}}}
    assert named(files, "GET")["status"]["code"] == ERROR
    assert "status" not in named(files, "fetch")


def test_queries_are_spans_of_the_stage(tmp_path: Path):
    """Each statement of sqlite3 is a child, with its text; one that fails is failed and raises."""
    with StageIO("load", tmp_path / "job", stage_number=1) as io:
        with io.step("ask"):
            select()
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            select("insert into tapes values (1)")
    files = journal(tmp_path / "job")
    assert tree(files) == {"stageio": {"load": {"ask": {"select": {}}, "insert": {}}}}
    assert values(named(files, "select"))["db.statement"] == "select 1"
    assert named(files, "insert")["status"]["code"] == ERROR


def test_threads_are_in_the_step_that_started_them(tmp_path: Path):
    """With threading instrumented, what threads and pools do hangs on the step or span they were started in."""
    tracer = trace.get_tracer("a.library")
    with StageIO("load", tmp_path / "job", stage_number=1) as io:
        with io.step("one"):
            thread = threading.Thread(target=select)
            thread.start()
            thread.join()
        with io.step("many"), tracer.start_as_current_span("batch"), ThreadPoolExecutor(2) as pool:
            list(pool.map(select, ["select 1", "pragma user_version"]))
    assert tree(journal(tmp_path / "job")) == {
        "stageio": {"load": {"one": {"select": {}}, "many": {"batch": {"select": {}, "pragma": {}}}}}
    }


def test_a_host_with_its_own_provider_has_the_same(tmp_path: Path, server: Server):
    """Under an SDK provider the instrumented spans are exported and in the files, equal in every field, once each."""
    backend = Backend()
    trace.set_tracer_provider(provider(backend))
    with StageIO("fetch", tmp_path / "job", stage_number=1) as io, io.step("all"):
        requests.get(server.url, timeout=10)
        select()
        thread = threading.Thread(target=select, args=("pragma user_version",))
        thread.start()
        thread.join()
    files = journal(tmp_path / "job")
    assert tree(files) == {"stageio": {"fetch": {"all": {"GET": {}, "select": {}, "pragma": {}}}}}
    assert backend.told == files


def test_no_sdk_is_loaded_for_it(tmp_path: Path, run_script: RunScript, server: Server):
    """In a process of its own the same works without OpenTelemetry's SDK, and without a word on stderr."""
    ran = run_script(
        """
        import sqlite3, sys, threading
        import requests
        from opentelemetry.instrumentation.requests import RequestsInstrumentor
        from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
        from opentelemetry.instrumentation.threading import ThreadingInstrumentor
        from otel_stageio import StageIO

        for each in (RequestsInstrumentor(), SQLite3Instrumentor(), ThreadingInstrumentor()):
            each.instrument()

        def select():
            sqlite3.connect(":memory:").cursor().execute("select 1").connection.close()

        with StageIO("fetch", "job", stage_number=1) as io, io.step("all"):
            requests.get(sys.argv[1])
            thread = threading.Thread(target=select)
            thread.start()
            thread.join()
        print([name for name in sys.modules if name.startswith("opentelemetry.sdk")])
        """,
        server.url,
        env={"OTEL_SERVICE_NAME": "tapes"},
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[]\n", "")
    assert tree(journal(tmp_path / "job")) == {"tapes": {"fetch": {"all": {"GET": {}, "select": {}}}}}
