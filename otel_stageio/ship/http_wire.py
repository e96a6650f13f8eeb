"""OTLP/HTTP by the official exporters: the one place that touches them.

The exporters tell too little: a login page, a redirect and a partial success are all success to them, and what they
call failure they have retried on their own for up to ten seconds. So the session that they are given keeps each
response to itself and tells them that all is well, whatever came; judging it, waiting and retrying are done here and
by the caller, in one way for live stages and for push.
"""

from __future__ import annotations

import contextlib
import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import requests
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_stageio.ship.http_deadline import Adapter, within
from otel_stageio.ship.wire import Answer, Verdict, rejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_stageio.ship.shown import ShownLogRecord, ShownSpan

#: Of a response only so much is read; what a service answers is a few hundred bytes.
MOST_OF_A_RESPONSE: Final = 65_536
#: Those that say something of who sends and nothing of what is sent: no record is to blame.
_SENDER: Final = frozenset(
    {
        *(HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN),
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    }
)
_LATER: Final = frozenset(
    {
        *_SENDER,
        # The four that OTLP calls retryable.
        *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY),
        *(HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT),
        HTTPStatus.REQUEST_TIMEOUT,
    }
)
_NOT_TAKEN: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})


class HttpWire:
    """A signal's way over OTLP/HTTP. What is not given, the exporter takes from the standard variables."""

    def __init__(self, signal: str, **given: Any) -> None:
        """Make the exporter of "traces" or "logs"; `given` are its public arguments.

        Raises ValueError for settings that it cannot use.
        """
        self._session = _Session()
        exporter, self._response = _SIGNALS[signal]
        self._exporter = exporter(session=self._session, **given)

    def send(self, batch: Sequence[ShownSpan | ShownLogRecord]) -> Answer:
        """See `Wire`."""
        # What raises while it is encoded is said below; later exporters keep it to themselves.
        with contextlib.suppress(TypeError, ValueError):
            self._exporter.export(batch)
        came = self._session.take()
        if came is None:  # no request was made
            return Answer(Verdict.REFUSED, "the exporter could not encode it")
        return self._judged(came) if isinstance(came, _Came) else Answer(Verdict.LATER, _reason(came))

    def _judged(self, came: _Came) -> Answer:
        status, said = came.status, f"HTTP {came.status} {came.reason}".strip()
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return self._acknowledged(came.headers.get("content-type", ""), came.body)
        if status in _NOT_TAKEN:
            return Answer(Verdict.NOT_TAKEN, said)
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            where = _place(came.headers.get("location", ""))
            return Answer(Verdict.LATER, f"{said} to {where}: no OTLP endpoint", passing=False)
        if status in _LATER:
            wait = seconds(came.headers.get("retry-after"))
            return Answer(Verdict.LATER, said, wait=wait, passing=status not in _SENDER)
        return Answer(Verdict.REFUSED, said)

    def _acknowledged(self, kind: str, body: bytes) -> Answer:
        response = _read(self._response(), kind, body)
        if response is None:
            shown = kind or "no content type"
            why = f"answered with {shown} where OTLP was expected: a login page or a proxy's?"
            return Answer(Verdict.LATER, why, passing=False)
        return rejected(response.partial_success)

    def close(self) -> None:
        """See `Wire`."""
        self._exporter.shutdown()


_SIGNALS: Final[Mapping[str, tuple[Any, Any]]] = {
    "traces": (OTLPSpanExporter, ExportTraceServiceResponse),
    "logs": (OTLPLogExporter, ExportLogsServiceResponse),
}


def _read(response: Any, kind: str, body: bytes) -> Any:
    """The response with what the body says; None where that is not what the service answers."""
    try:
        if kind.startswith("application/json"):
            json_format.Parse(body, response, ignore_unknown_fields=True)
        elif kind.startswith("application/x-protobuf") or not body:
            response.ParseFromString(body)
        else:
            return None
    except (DecodeError, json_format.ParseError, ValueError):
        return None
    return response


class _Came(NamedTuple):
    """A response, as far as it was read."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class _Session(requests.Session):
    """Keeps what came and tells the exporter that all is well, so that it neither retries nor logs."""

    def __init__(self) -> None:
        super().__init__()
        self._came: _Came | Exception | None = None
        for scheme in ("http://", "https://"):
            self.mount(scheme, Adapter())

    def take(self) -> _Came | Exception | None:
        """What came of the last request; None where there was none since the last time."""
        came, self._came = self._came, None
        return came

    def request(self, *args: Any, **named: Any) -> requests.Response:
        """Send one request; see the class."""
        self._came = within(named["timeout"], partial(self._asked, *args, **named))
        well = requests.Response()
        well.status_code = HTTPStatus.OK
        return well

    def _asked(self, *args: Any, **named: Any) -> _Came:
        if named.get("verify") is None:
            # The exporter of 1.45 leaves its certificates to the session, and there REQUESTS_CA_BUNDLE comes first.
            named["verify"] = self.verify
        with super().request(*args, **{**named, "allow_redirects": False, "stream": True}) as response:
            body = response.raw.read(MOST_OF_A_RESPONSE, decode_content=True)
        return _Came(response.status_code, response.reason or "", response.headers, body)


def _place(location: str) -> str:
    """Where a redirect leads, for a person: what is secret in such an address are its query and its credentials."""
    bare = re.split("[?#]", location, maxsplit=1)[0]
    return re.sub("//[^/]*@", "//", bare) or "nowhere"


def _reason(why: Exception) -> str:
    """The innermost of what was raised, in one line: requests wraps what happened in three others."""
    innermost: BaseException = why
    while (inner := innermost.__cause__ or innermost.__context__) is not None:
        innermost = inner
    return f"{type(innermost).__name__}: {' '.join(str(innermost).split())}"


def seconds(retry_after: str | None) -> float | None:
    """The seconds that a Retry-After asks for, as a number or as a date; None where it says nothing (RFC 9110)."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max((until - datetime.now(timezone.utc)).total_seconds(), 0.0)
