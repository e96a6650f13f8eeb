"""OTLP/gRPC by the official exporters, judged as `http_wire` judges OTLP/HTTP.

The exporters show no partial success, retry a batch that is too large until their time is up, and tell the user's
loggers. They have no seam like the session of OTLP/HTTP; but all they do with what comes back goes by way of the
generated stub that they keep. It is put behind one of ours, which keeps each response to itself and tells them that all
is well. So endpoint, headers, timeout, compression and certificates stay theirs, and so does the encoding.
"""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_stageio import settings
from otel_stageio.ship.wire import Answer, Verdict, rejected

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping, Sequence

    from otel_stageio.ship.shown import ShownLogRecord, ShownSpan

# gRPC's core reads this when it is loaded, and never again. Without it, each failed handshake and each fork of the
# user's program while a batch is on its way would be a line on their terminal; the reason is in the answer anyway.
with settings.lent("GRPC_VERBOSITY", "NONE"):
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc import exporter as official
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

#: Those that say something of who sends and nothing of what is sent: no record is to blame.
_SENDER: Final = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_LATER: Final = frozenset(
    {
        *_SENDER,
        # Those that OTLP calls retryable; RESOURCE_EXHAUSTED is one only with a RetryInfo.
        *(grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED),
        *(grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS),
    }
)
#: Whoever sends waits between two batches as they see fit. gRPC's own wait before it connects again, up to two minutes,
#: would come on top: all that is sent meanwhile fails with the old reason.
_CHANNEL: Final = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 1000))
_NAME: Final = re.compile("[0-9a-z_.-]+")
_STATUS_DETAILS: Final = "grpc-status-details-bin"


class GrpcWire:
    """A signal's way over OTLP/gRPC. What is not given, the exporter takes from the standard variables."""

    def __init__(self, signal: str, **given: Any) -> None:
        """Make the exporter of "traces" or "logs"; `given` are its public arguments.

        Raises ValueError for settings that it cannot use, a certificate that is not there among them.
        """
        self._exporter = _made(_SIGNALS[signal], {"channel_options": _CHANNEL, **given})
        self._stub = self._exporter._client = _Stub(self._exporter._client)  # noqa: SLF001 - its one private part

    def send(self, batch: Sequence[ShownSpan | ShownLogRecord]) -> Answer:
        """See `Wire`."""
        # What raises while it is encoded is said below.
        with contextlib.suppress(TypeError, ValueError):
            self._exporter.export(batch)
        return self._stub.take() or Answer(Verdict.REFUSED, "the exporter could not encode it")

    def close(self) -> None:
        """See `Wire`."""
        self._exporter.shutdown()


_SIGNALS: Final[Mapping[str, Any]] = {"traces": OTLPSpanExporter, "logs": OTLPLogExporter}


class _Stub:
    """Keeps the answer and tells the exporter that all is well, so that it neither retries nor logs."""

    def __init__(self, generated: Any) -> None:
        self._generated = generated
        self._answer: Answer | None = None

    def take(self) -> Answer | None:
        """The answer to the last request; None where there was none since the last time."""
        answer, self._answer = self._answer, None
        return answer

    def Export(self, request: Any, metadata: Any, timeout: float) -> None:  # noqa: N802 - named as the generated one's
        """Send one request; see the class."""
        if unfit := ", ".join(name for name, of in metadata if not _fit(name, of)):
            # gRPC would call it INTERNAL, as if the backend had. Values are credentials, and stay unsaid.
            self._answer = Answer(Verdict.LATER, f"gRPC cannot send these headers: {unfit}", passing=False)
            return
        try:
            response = self._generated.Export(request, metadata=metadata, timeout=timeout)
        except grpc.RpcError as why:
            self._answer = _judged(why)
        else:
            self._answer = rejected(response.partial_success)


def _fit(name: str, of: str | bytes) -> bool:
    """Whether gRPC can send this header: what ends in -bin is bytes, anything else ASCII without controls."""
    if _NAME.fullmatch(name) is None or name.endswith("-bin") is isinstance(of, str):
        return False
    return isinstance(of, bytes) or (of.isascii() and of.isprintable())


def _judged(why: Any) -> Answer:
    code, details = why.code(), why.details() or ""
    said = f"gRPC {code.name}: {' '.join(details.split())}"
    wait = _wait(why.trailing_metadata())
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Answer(Verdict.NOT_TAKEN, said)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        if wait is None and "CLIENT:" not in details:  # that is of an answer too large for this side
            return Answer(Verdict.REFUSED, f"too large: {said}")
        return Answer(Verdict.LATER, said, wait=wait)
    verdict = Verdict.LATER if code in _LATER else Verdict.REFUSED
    return Answer(verdict, said, wait=wait, passing=code not in _SENDER)


def _wait(trailing: Any) -> float | None:
    """The seconds of a RetryInfo in the details of a status; None where there is none."""
    status, info = Status(), RetryInfo()
    with contextlib.suppress(DecodeError):
        status.ParseFromString(dict(trailing or ()).get(_STATUS_DETAILS, b""))
        for detail in status.details:
            if detail.Unpack(info):
                return max(float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9), 0.0)
    return None


def _made(exporter: Any, given: dict[str, Any]) -> Any:
    """The exporter; raises ValueError where it cannot be made, and where it says that it lacks something."""
    with _overheard(official.logger) as complaints:
        try:
            made = exporter(**given)
        except official.InvalidCompressionValueException as why:
            if '"none"' not in str(why):
                raise ValueError(str(why)) from why
            # Of the standard's two values they know only the other.
            made = exporter(**{**given, "compression": grpc.Compression.NoCompression})
        except (OSError, LookupError, RuntimeError) as why:
            raise ValueError(f"{type(why).__name__}: {why}") from why
    if complaints:
        # They would go on with the system's certificates, and whoever asked for their own could not tell.
        made.shutdown()
        raise ValueError(" ".join(complaints[0].split()))
    return made


@contextlib.contextmanager
def _overheard(logger: logging.Logger) -> Iterator[list[str]]:
    """What this thread would have logged; the user's loggers do not get it."""
    said: list[str] = []
    mine = threading.get_ident()

    def passes(record: logging.LogRecord) -> bool:
        if record.thread != mine:
            return True
        said.append(record.getMessage())
        return False

    logger.filters.insert(0, passes)  # before the exporters' own, which drops what was said before
    try:
        yield said
    finally:
        logger.removeFilter(passes)
