"""What a test backend got, and what lies on disk: spans by their id, log records and events by their uid."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_stageio import conventions as names
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import reader
from otel_stageio.ship.sources import SPANS, sources

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.ship.backend import Answers


def spans(server: Answers) -> list[Span]:
    """The spans that the backend got, repeats too."""
    requests = [ExportTraceServiceRequest.FromString(body) for path, _, body in server.asked if path == "/v1/traces"]
    return [
        span
        for request in requests
        for of_resource in request.resource_spans
        for scope in of_resource.scope_spans
        for span in scope.spans
    ]


def uids(server: Answers) -> list[str]:
    """The uids of the log records and events that the backend got, repeats too."""
    requests = [ExportLogsServiceRequest.FromString(body) for path, _, body in server.asked if path == "/v1/logs"]
    return [
        of.value.string_value
        for request in requests
        for of_resource in request.resource_logs
        for scope in of_resource.scope_logs
        for record in scope.log_records
        for of in record.attributes
        if of.key == names.LOG_RECORD_UID
    ]


def is_marker(span: Span) -> bool:
    """Whether it is one that shows how a stage stands."""
    return any(of.key == names.MARK for of in span.attributes)


def arrived(server: Answers) -> list[str]:
    """All of it but for the markers."""
    return sorted([span.span_id.hex() for span in spans(server) if not is_marker(span)] + uids(server))


def on_disk(job: JobLayout | Path) -> list[str]:
    """The same of what the journal's files of a job hold."""
    found = []
    for source in sources(job if isinstance(job, JobLayout) else JobLayout(job)):
        for name, signal in source.files():
            path = os.path.join(source.folder, name)
            if signal == SPANS:
                found += [span.span_id for span in reader.spans(path)]
            else:
                found += [str(each.attributes[names.LOG_RECORD_UID]) for each in reader.log_records(path)]
    return sorted(found)
