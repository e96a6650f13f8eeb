"""Both wires to backends that answer the same, each in its protocol: what holds for one has to hold for the other."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_stageio.ship.grpc_wire import GrpcWire
from otel_stageio.ship.http_wire import HttpWire
from otel_stageio.ship.wire import Answer, Verdict
from tests.ship.backend import Answers, backend
from tests.ship.grpc_backend import GrpcAnswers, grpc_backend, retry_info

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from otel_stageio.ship.wire import Wire

Code = grpc.StatusCode
REQUESTS = {"traces": ExportTraceServiceRequest, "logs": ExportLogsServiceRequest}
RESPONSES = {"traces": ExportTraceServiceResponse, "logs": ExportLogsServiceResponse}


class Situation(NamedTuple):
    """What a backend has to say, in each protocol, and what is to be made of it."""

    status: int
    code: grpc.StatusCode
    verdict: Verdict
    #: Seconds that it asks for.
    wait: float | None = None
    passing: bool = True

    @property
    def answer(self) -> Answer:
        """What is made of it, without the reason."""
        return Answer(self.verdict, wait=self.wait, passing=self.passing)


SITUATIONS: Mapping[str, Situation] = {
    "throttles": Situation(429, Code.RESOURCE_EXHAUSTED, Verdict.LATER, wait=7),
    "is busy for so long": Situation(503, Code.UNAVAILABLE, Verdict.LATER, wait=3),
    "is busy": Situation(503, Code.UNAVAILABLE, Verdict.LATER),
    "waits for another in vain": Situation(504, Code.DEADLINE_EXCEEDED, Verdict.LATER),
    "does not know who sends": Situation(401, Code.UNAUTHENTICATED, Verdict.LATER, passing=False),
    "does not let them": Situation(403, Code.PERMISSION_DENIED, Verdict.LATER, passing=False),
    "does not take the signal": Situation(404, Code.UNIMPLEMENTED, Verdict.NOT_TAKEN),
    "finds a record wrong": Situation(400, Code.INVALID_ARGUMENT, Verdict.REFUSED),
    "finds it too large": Situation(413, Code.RESOURCE_EXHAUSTED, Verdict.REFUSED),
    "breaks": Situation(500, Code.INTERNAL, Verdict.REFUSED),
}


@dataclass
class Certificates:
    """A certificate of a backend, its key and who signed it: paths."""

    chain: Path
    key: Path
    signer: Path


class Side(Protocol):
    """One of the protocols."""

    def serve(self, of: Certificates | None = None, port: int = 0) -> AbstractContextManager[Any]:
        """A backend; with a certificate one that asks its clients for one by the same signer."""

    def wire(self, url: str, signal: str = "traces", **given: Any) -> Wire:
        """The way of a signal to the backend at this address."""

    def say(self, answers: Any, situation: Situation) -> None:
        """Let the backend answer so."""

    def partly(self, answers: Any, signal: str, **partial: Any) -> None:
        """Let the backend take a part only."""

    def asked(self, answers: Any, signal: str = "traces") -> list[tuple[Any, dict[str, Any]]]:
        """What arrived: messages with headers."""


class HttpSide:
    """OTLP/HTTP."""

    def serve(self, of: Certificates | None = None, port: int = 0) -> AbstractContextManager[Answers]:
        if of is None:
            return backend(port=port)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(of.chain, of.key)
        tls.load_verify_locations(of.signer)
        tls.verify_mode = ssl.CERT_REQUIRED
        return backend(tls, port)

    def wire(self, url: str, signal: str = "traces", **given: Any) -> HttpWire:
        return HttpWire(signal, endpoint=f"{url}/v1/{signal}", **given)

    def say(self, answers: Answers, situation: Situation) -> None:
        answers.status = situation.status
        if situation.wait is not None:
            answers.headers = {"Retry-After": f"{situation.wait}"}

    def partly(self, answers: Answers, signal: str, **partial: Any) -> None:
        answers.body = RESPONSES[signal](partial_success=partial).SerializeToString()

    def asked(self, answers: Answers, signal: str = "traces") -> list[tuple[Any, dict[str, Any]]]:
        return [
            (REQUESTS[signal].FromString(body), {name.lower(): of for name, of in headers.items()})
            for _, headers, body in answers.asked
        ]


class GrpcSide:
    """OTLP/gRPC."""

    def serve(self, of: Certificates | None = None, port: int = 0) -> AbstractContextManager[GrpcAnswers]:
        if of is None:
            return grpc_backend(port=port)
        pair = (of.key.read_bytes(), of.chain.read_bytes())
        return grpc_backend(grpc.ssl_server_credentials([pair], of.signer.read_bytes(), True), port)  # noqa: FBT003

    def wire(self, url: str, signal: str = "traces", **given: Any) -> GrpcWire:
        return GrpcWire(signal, endpoint=url, **given)

    def say(self, answers: GrpcAnswers, situation: Situation) -> None:
        answers.code, answers.details = situation.code, "as asked"
        answers.trailing = () if situation.wait is None else retry_info(situation.wait)

    def partly(self, answers: GrpcAnswers, signal: str, **partial: Any) -> None:
        answers.partial = partial

    def asked(self, answers: GrpcAnswers, signal: str = "traces") -> list[tuple[Any, dict[str, Any]]]:
        return answers.asked


SIDES: Mapping[str, Side] = {"http": HttpSide(), "grpc": GrpcSide()}
