"""A backend that answers over gRPC as a test wants, on a free port of loopback."""

from __future__ import annotations

import time
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

Metadata = tuple[tuple[str, Any], ...]


@dataclass
class GrpcAnswers:
    """What to answer next, and what was asked so far: the message and its metadata."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    trailing: Metadata = ()
    partial: dict[str, Any] | None = None
    #: What has this in it is refused.
    poison: bytes = b""
    #: Seconds before the answer.
    after: float = 0
    asked: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def answer(self, request: Any, context: Any, response: Any) -> Any:
        """Answer one request."""
        self.asked.append((request, dict(context.invocation_metadata())))
        time.sleep(self.after)
        context.set_trailing_metadata(self.trailing)
        if self.poison and self.poison in request.SerializeToString():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "poison")
        if self.code is not grpc.StatusCode.OK:
            context.abort(self.code, self.details)
        return response(partial_success=self.partial)


def retry_info(seconds: float) -> Metadata:
    """The details of a status that asks to wait; something else is before them, as some services have it."""
    delay = Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
    details = [Packed(), Packed()]
    details[0].Pack(DebugInfo(detail="busy"))
    details[1].Pack(RetryInfo(retry_delay=delay))
    return (("grpc-status-details-bin", Status(details=details).SerializeToString()),)


@contextmanager
def grpc_backend(
    tls: grpc.ServerCredentials | None = None, port: int = 0, answers: GrpcAnswers | None = None
) -> Iterator[GrpcAnswers]:
    """Serve until the end of the block."""
    answers = answers or GrpcAnswers()

    class Traces(traces.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - as the service has it
            return answers.answer(request, context, ExportTraceServiceResponse)

    class Logs(logs.LogsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - as the service has it
            return answers.answer(request, context, ExportLogsServiceResponse)

    pool = futures.ThreadPoolExecutor(2)
    server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
    traces.add_TraceServiceServicer_to_server(Traces(), server)
    logs.add_LogsServiceServicer_to_server(Logs(), server)
    at = f"127.0.0.1:{port}"
    port = server.add_secure_port(at, tls) if tls else server.add_insecure_port(at)
    server.start()
    answers.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield answers
    finally:
        server.stop(None).wait()
        pool.shutdown()
