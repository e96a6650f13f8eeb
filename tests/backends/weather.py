"""What may happen between a stage and its backend, over HTTP and gRPC: a server before the Collector that lets it.

Each kind of trouble comes in turn with a request that passes, in an order that a seed decides.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, cycle
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import LogsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from tests.backends.programs import ask
from tests.ship.grpc_backend import GrpcAnswers, grpc_backend, retry_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Seconds for which what hangs does so: longer than whoever asks waits.
PATIENCE = 0.4
HANGS = 2 * PATIENCE
PASSES = "passes"


class Weather:
    """What comes next, and what came."""

    def __init__(self, troubles: Sequence[str], seed: int) -> None:
        """Let each of them come, in the order of the seed."""
        order = random.Random(seed).sample(troubles, len(troubles))
        self._next = cycle(chain.from_iterable((trouble, PASSES) for trouble in order))
        self._lock = threading.Lock()
        self.came: list[str] = []

    def next(self) -> str:
        """What happens to this request."""
        with self._lock:
            self.came.append(next(self._next))
            return self.came[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._say(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with contextlib.suppress(OSError):  # who asked has gone
            HTTP[self.server.weather.next()](self, body)

    def passes(self, body: bytes) -> None:
        """It arrives, and the answer comes back."""
        self._say(*self._forwarded(body), **{"Content-Type": "application/x-protobuf"})

    def forgets(self, body: bytes) -> None:
        """It arrives, and no answer comes back: the connection is reset."""
        self._forwarded(body)
        self.resets(body)

    def resets(self, _: bytes) -> None:
        """The connection is reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def drips(self, body: bytes) -> None:
        """It arrives, and the answer comes byte by byte, for longer than anybody waits."""
        self._forwarded(body)
        self.close_connection = True
        for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n":
            self.wfile.write(bytes([byte]))
            time.sleep(HANGS / 50)

    def breaks_off(self, body: bytes) -> None:
        """It arrives, and the answer ends within its headers."""
        self._forwarded(body)
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")

    def hangs(self, _: bytes) -> None:
        """Nothing happens."""
        time.sleep(HANGS)
        self.close_connection = True

    def says(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Something else answers."""
        self._say(status, body, **headers)

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, of in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, of)
        self.end_headers()
        self.wfile.write(body)

    def _forwarded(self, body: bytes) -> tuple[int, bytes]:
        headers = {name: of for name, of in self.headers.items() if name.lower().startswith("content-")}
        return ask(self.server.to + self.path, body, headers)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _says(status: int, body: bytes = b"", **headers: str) -> Callable[[_Handler, bytes], None]:
    named = {name.replace("_", "-"): of for name, of in headers.items()}
    return lambda handler, _: handler.says(status, body, **named)


HTTP: dict[str, Callable[[_Handler, bytes], None]] = {
    PASSES: _Handler.passes,
    "forgets": _Handler.forgets,
    "resets": _Handler.resets,
    "drips": _Handler.drips,
    "breaks off": _Handler.breaks_off,
    "hangs": _Handler.hangs,
    "is busy": _says(503, Retry_After="1"),
    "throttles": _says(429, Retry_After="0"),
    "bad gateway": _says(502, b"<html>nginx</html>", Content_Type="text/html"),
    "gateway timeout": _says(504),
    "unauthorized": _says(401),
    "forbidden": _says(403, b"<html>blocked</html>", Content_Type="text/html"),
    "login page": _says(200, b"<html><form>password</form></html>", Content_Type="text/html"),
    "redirect": _says(302, Location="/login"),
    "garbage": _says(200, b"\xff\xff\xff", Content_Type="application/x-protobuf"),
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, to: str, weather: Weather) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to = to
        self.weather = weather

    def handle_error(self, *_: Any) -> None:
        """Who asked has gone."""


@contextmanager
def over_http(to: str, seed: int = 6) -> Iterator[tuple[str, Weather]]:
    """A server before the one at this URL; its URL, until the end of the block."""
    weather = Weather([trouble for trouble in HTTP if trouble != PASSES], seed)
    server = _Server(to, weather)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", weather
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


#: The code, whether the request arrives all the same, whether it comes late, and what else is said.
GRPC: dict[str, tuple[grpc.StatusCode, bool, bool, Any]] = {
    PASSES: (grpc.StatusCode.OK, True, False, ()),
    "forgets": (grpc.StatusCode.UNAVAILABLE, True, False, ()),
    "drips": (grpc.StatusCode.OK, True, True, ()),
    "hangs": (grpc.StatusCode.OK, False, True, ()),
    "throttles": (grpc.StatusCode.RESOURCE_EXHAUSTED, False, False, retry_info(1)),
    **{
        code.name: (code, False, False, ())
        for code in (
            *(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED),
            *(grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.DEADLINE_EXCEEDED),
            *(grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED),
        )
    },
}


class _Between(GrpcAnswers):
    """Passes on to another server what is to arrive."""

    def __init__(self, channel: grpc.Channel, weather: Weather) -> None:
        super().__init__()
        self._spans, self._logs = TraceServiceStub(channel), LogsServiceStub(channel)
        self._weather = weather

    def answer(self, request: Any, context: Any, response: Any) -> Any:
        code, arrives, late, trailing = GRPC[self._weather.next()]
        made = response()
        if arrives:
            made = (self._logs if isinstance(request, ExportLogsServiceRequest) else self._spans).Export(request)
        if late:
            time.sleep(HANGS)
        context.set_trailing_metadata(trailing)
        if code is not grpc.StatusCode.OK:
            context.abort(code, "bad weather")
        return made


@contextmanager
def over_grpc(to: str, seed: int = 6) -> Iterator[tuple[str, Weather]]:
    """The same over gRPC."""
    weather = Weather([trouble for trouble in GRPC if trouble != PASSES], seed)
    with (
        grpc.insecure_channel(urlsplit(to).netloc) as channel,
        grpc_backend(answers=_Between(channel, weather)) as answers,
    ):
        yield answers.url, weather
