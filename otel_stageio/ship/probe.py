"""Whether anybody answers at an endpoint: found out in a moment, before an exporter is loaded for it.

Loading one takes longer than a dead endpoint may cost the end of a stage. A connection alone says too little, since the
kernel makes it for a program that hangs: the probe waits for the first byte of an answer, whatever that says.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otel_stageio.settings import proxy_for

if TYPE_CHECKING:
    from otel_stageio.settings import Signal

#: What HTTP/2 begins with, and an empty SETTINGS frame: every gRPC server answers with its own.
_HTTP2: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_PORTS: Final = {"http": 80, "https": 443}


def answers(signal: Signal, timeout: float) -> str:
    """Say "" where somebody answers within `timeout` seconds for each step (name, connection, answer); else why not.

    What is no host and port (a socket of gRPC's) cannot be asked and is taken to answer.
    """
    if not signal.host or signal.endpoint is None:
        return ""
    try:
        _ask(signal, signal.endpoint, timeout)
    except (OSError, ValueError) as why:
        return f"{type(why).__name__}: {why}"
    return ""


def _ask(signal: Signal, endpoint: str, timeout: float) -> None:
    proxy = proxy_for(endpoint, signal.protocol)
    secure = endpoint.startswith("https:")
    where = (signal.host, signal.port)
    if proxy:
        parts = urlsplit(proxy)
        if parts.scheme not in _PORTS:  # of SOCKS and others the exporter knows more than we do
            return
        where = (parts.hostname or "", parts.port or _PORTS[parts.scheme])
        secure = parts.scheme == "https"
    with contextlib.closing(socket.create_connection(where, timeout)) as connection:
        if secure:
            _shake_hands(connection, where[0])
            return
        connection.sendall(_question(signal, endpoint, through_proxy=bool(proxy)))
        if not connection.recv(1):
            raise ConnectionError("the connection was closed without an answer")


def _question(signal: Signal, endpoint: str, *, through_proxy: bool) -> bytes:
    host = f"[{signal.host}]" if ":" in signal.host else signal.host
    host = f"{host}:{signal.port}"
    if through_proxy and (signal.protocol == "grpc" or endpoint.startswith("https:")):
        return f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    if signal.protocol == "grpc":
        return _HTTP2
    target = f"http://{host}/" if through_proxy else "/"
    return f"HEAD {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def _shake_hands(connection: socket.socket, host: str) -> None:
    """Begin TLS: who answers is there. Whether it is the right one is for the exporter to find out."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError:  # it answered, with a word that we do not know
        return
