"""A whole request over HTTP within a time, name look-up and slow answers included.

The timeouts of `requests` are for one operation on a socket each: a name server that hangs has none at all, and an
answer that comes byte by byte, be it in its headers or in its body, starts a new one with every byte. So the request
is made in a thread of its own, whose socket is shut when time is up; one that still looks up a name is left to itself
and ends with it.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from otel_stageio.errors import attempt

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
#: Seconds above the timeout: what times out by itself within them has the better reason.
ALLOWANCE: Final = 0.25


def within(timeout: float, ask: Callable[[], _T]) -> _T | Exception:
    """What `ask` gives or raises; a TimeoutError where that takes longer than `timeout` and the allowance."""
    worker = _Worker(ask)
    try:
        worker.start()
    except RuntimeError:  # no more threads, or the process is ending: then nobody waits for longer than it may
        return worker.now()
    try:
        return worker.came.get(timeout=max(timeout, 0.0) + ALLOWANCE)
    except queue.Empty:
        worker.cut()
        return TimeoutError(f"no whole answer within {timeout:.3g} s")


class _Worker(threading.Thread, Generic[_T]):
    """Makes one request; a daemon, so that no exit waits for it."""

    def __init__(self, ask: Callable[[], _T]) -> None:
        super().__init__(name="stageio-http", daemon=True)
        # Where the caller's context keeps instrumentations from recording what we send, it does here, too.
        self._ask: Callable[[], _T | Exception] = partial(contextvars.copy_context().run, ask)
        self.came: queue.SimpleQueue[_T | Exception] = queue.SimpleQueue()
        self.socket: socket.socket | None = None

    def run(self) -> None:
        self.came.put(self.now())

    def now(self) -> _T | Exception:
        """What comes of it, in this thread."""
        return attempt(self._ask, lambda why: why)

    def cut(self) -> None:
        """Wake it from what it reads."""
        if self.socket is not None:
            with contextlib.suppress(OSError):  # it is closed, or never was connected
                self.socket.shutdown(socket.SHUT_RDWR)


def _reads_from(connection: HTTPConnection) -> None:
    worker = threading.current_thread()
    if isinstance(worker, _Worker):
        worker.socket = connection.sock


class _Connection(HTTPConnection):
    def getresponse(self, *args: Any, **named: Any) -> Any:
        _reads_from(self)
        return super().getresponse(*args, **named)


class _TlsConnection(HTTPSConnection):
    def getresponse(self, *args: Any, **named: Any) -> Any:
        _reads_from(self)
        return super().getresponse(*args, **named)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS: Final = {"http": _Pool, "https": _TlsPool}


class Adapter(HTTPAdapter):
    """That of `requests`, whose connections tell the thread that uses them what it reads from."""

    def init_poolmanager(self, *args: Any, **named: Any) -> None:
        """Make the connections without a proxy."""
        super().init_poolmanager(*args, **named)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **named: Any) -> Any:
        """Make those by way of a proxy."""
        manager = super().proxy_manager_for(*args, **named)
        manager.pool_classes_by_scheme = _POOLS
        return manager
