"""The job folder as exporters of OpenTelemetry's SDK: stages of programs that do not know StageIO.

A span with ``stageio.stage.name`` and ``stageio.stage.number`` is a stage; docs/conventions.md says what else it may
tell. Its folder, stage.log and manifest.json are written when the span is exported, and again when more of it comes::

    tracer_provider.add_span_processor(BatchSpanProcessor(JobFolderSpanExporter("out")))
    logger_provider.add_log_record_processor(SimpleLogRecordProcessor(JobFolderLogExporter("out")))

Both write by the same fold as ``stageio rebuild`` does. They never raise: where the folder cannot be written, `export`
says FAILURE, and the reason goes to this module's logger.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk._logs import export as logs_export
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_stageio.errors import StageIOError, guard
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Line, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink
from otel_stageio.rebuild.live import JobFolder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from otel_stageio.model import Value

_log: Final = logging.getLogger(__name__)
#: Where the SDK's exporters of log records are called otherwise: up to 1.38 they were LogExporter and LogExportResult.
_LogExporter: Any = getattr(logs_export, "LogRecordExporter", None) or logs_export.LogExporter
_LogResult: Any = getattr(logs_export, "LogRecordExportResult", None) or logs_export.LogExportResult
_INT64: Final = 1 << 63


class _Door:
    """What both exporters are: a way into a job folder, until it is shut."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._folder: JobFolder | None = None
        self._shut = False
        self._busy = threading.local()

    def _do(self, work: Callable[[JobFolder], bool]) -> bool:
        """Whether it went well. A log record of our own that comes back to us is not taken."""
        if self._shut or getattr(self._busy, "now", False):
            return False
        self._busy.now = True
        said: list[BaseException] = []
        fine = False
        try:
            with guard(said.append):
                try:
                    self._folder = self._folder or JobFolder.at(self._path)
                    fine = work(self._folder)
                except StageIOError as why:  # the caller of an exporter is the SDK
                    said.append(why)
            for each in said:
                _log.warning("the job folder %s was not written: %s: %s", self._path, type(each).__name__, each)
        finally:
            self._busy.now = False
        return fine and not said

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature; nothing waits here
        """Write what was exported so far; False where that cannot be."""
        return self._do(_flushed)

    def shutdown(self) -> None:
        """Write what was exported so far, and take no more. May be called twice."""
        self._do(_flushed)
        self._shut = True


class JobFolderSpanExporter(_Door, SpanExporter):
    """Writes the stages among the spans, and the spans within them, into a job folder. Thread-safe."""

    def __init__(self, path: str | os.PathLike[str] = "out") -> None:
        """Write into the job folder `path`, which need not be there yet."""
        super().__init__(path)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans that ended; FAILURE where the folder cannot be written or some are of another job."""
        fine = self._do(lambda folder: folder.add(_lines(spans, _span)))
        return SpanExportResult.SUCCESS if fine else SpanExportResult.FAILURE


class JobFolderLogExporter(_Door, _LogExporter):  # type: ignore[misc] # a class of either name
    """Writes log records that were made within a stage's span into its stage.log and journal. Thread-safe.

    They are held until the stage's span comes to a `JobFolderSpanExporter` of the same folder and process.
    """

    def __init__(self, path: str | os.PathLike[str] = "out") -> None:
        """Write into the job folder `path`, which need not be there yet."""
        super().__init__(path)

    def export(self, batch: Sequence[Any]) -> Any:
        """Take log records; FAILURE where the folder cannot be written or some are of another job."""
        fine = self._do(lambda folder: folder.add(_lines(batch, _log_record)))
        return _LogResult.SUCCESS if fine else _LogResult.FAILURE


def _flushed(folder: JobFolder) -> bool:
    folder.flush()
    return True


def _lines(batch: Iterable[Any], made: Callable[[Any], Any]) -> list[Line]:
    return [_line(each, made(each)) for each in batch]


def _line(of: Any, record: LogRecord | Span) -> Line:
    """A record of the SDK with who made it. Up to 1.38 a log record's resource was its own."""
    resource = getattr(of, "resource", None) or getattr(getattr(of, "log_record", None), "resource", None)
    scope = of.instrumentation_scope
    about = Scope(
        name=getattr(scope, "name", None) or "",
        version=getattr(scope, "version", None) or "",
        attributes=_mapping(getattr(scope, "attributes", None)),
        schema_url=getattr(scope, "schema_url", None) or "",
    )
    return Line(records=(record,), scope=about, resource=Resource(_mapping(getattr(resource, "attributes", None))))  # type: ignore[arg-type] # one record of either kind


def _log_record(of: Any) -> LogRecord:
    record = of.log_record
    number = getattr(record.severity_number, "value", record.severity_number)
    return LogRecord(
        time_unix_nano=record.timestamp or record.observed_timestamp or 0,
        severity_number=number or 0,
        severity_text=record.severity_text or "",
        event_name=getattr(record, "event_name", None) or "",
        body=_value(record.body),
        attributes=_mapping(record.attributes),
        trace_id=_id(record.trace_id, 32),
        span_id=_id(record.span_id, 16),
        flags=int(record.trace_flags or 0),
    )


def _span(of: ReadableSpan) -> Span:
    context, parent = of.get_span_context(), of.parent
    return Span(
        trace_id=_id(context and context.trace_id, 32),
        span_id=_id(context and context.span_id, 16),
        parent_span_id=_id(parent and parent.span_id, 16),
        trace_state=context.trace_state.to_header() if context else "",
        name=of.name,
        kind=of.kind.value + 1,
        start_time_unix_nano=of.start_time or 0,
        end_time_unix_nano=of.end_time or 0,
        attributes=_mapping(of.attributes),
        events=tuple(
            SpanEvent(each.timestamp, each.name, _mapping(each.attributes), each.dropped_attributes)
            for each in of.events
        ),
        links=tuple(
            SpanLink(
                _id(each.context.trace_id, 32),
                _id(each.context.span_id, 16),
                _mapping(each.attributes),
                each.dropped_attributes,
                FLAGS_REMOTE if each.context.is_remote else FLAGS_LOCAL,
            )
            for each in of.links
        ),
        status_code=of.status.status_code.value,
        status_message=of.status.description or "",
        flags=FLAGS_REMOTE if parent is not None and parent.is_remote else FLAGS_LOCAL,
        dropped_attributes_count=of.dropped_attributes,
        dropped_events_count=of.dropped_events,
        dropped_links_count=of.dropped_links,
    )


def _id(of: int | None, digits: int) -> str:
    return f"{of:0{digits}x}" if of else ""


def _mapping(of: Mapping[str, Any] | None) -> dict[str, Value]:
    return {str(key): _value(each) for key, each in (of or {}).items()}


def _value(of: Any) -> Value:
    """A value as the journal takes it; what OTLP has no form for as its text."""
    if of is None or isinstance(of, (bool, bytes)):
        return of
    if isinstance(of, str):
        return of.encode("utf-8", "backslashreplace").decode()
    if isinstance(of, int):
        return int(of) if -_INT64 <= of < _INT64 else str(of)
    if isinstance(of, float):
        return float(of) if of - of == 0 else str(of)
    if hasattr(of, "items"):
        return _mapping(of)
    if isinstance(of, (list, tuple)):
        return [_value(each) for each in of]
    return str(of)
