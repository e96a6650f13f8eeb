"""A backend that answers as a test wants, on a free port of loopback."""

from __future__ import annotations

import contextlib
import gzip
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Iterator

Request = tuple[str, dict[str, str], bytes]


@dataclass
class Answers:
    """What to answer next, and what was asked so far: path, headers, body."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/x-protobuf"})
    body: bytes = b""
    #: Other statuses: of these paths, and before all others, each once.
    paths: dict[str, int] = field(default_factory=dict)
    first: list[int] = field(default_factory=list)
    #: Instead of all that: this, as it is, byte by byte.
    drip: bytes = b""
    #: What has this in it is refused.
    poison: bytes = b""
    asked: list[Request] = field(default_factory=list)
    url: str = ""


@contextmanager
def backend(tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Answers]:
    """Serve until the end of the block."""
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            answers.asked.append((self.path, dict(self.headers), body))
            if answers.drip:
                self.close_connection = True
                with contextlib.suppress(OSError):  # who asked has gone
                    for byte in answers.drip:
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.05)
                    return
            status = answers.first.pop(0) if answers.first else answers.paths.get(self.path, answers.status)
            self.send_response(400 if answers.poison and answers.poison in body else status)
            for name, of in answers.headers.items():
                self.send_header(name, of)
            self.send_header("Content-Length", str(len(answers.body)))
            self.end_headers()
            self.wfile.write(answers.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[socket.socket, Any]:
            accepted, address = super().get_request()
            return (tls.wrap_socket(accepted, server_side=True) if tls else accepted), address

        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exc_info()[1], OSError):  # who asked has gone
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    answers.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
