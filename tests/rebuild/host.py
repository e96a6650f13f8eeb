"""A program that makes its stages with OpenTelemetry's SDK alone, and keeps what an OTLP exporter would have sent."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from pathlib import Path

from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import export as logs_export
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult

from otel_stageio.exporters import JobFolderLogExporter, JobFolderSpanExporter
from tests.journal.official import hex_ids

OUT, SENT, LATE = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "late"
RESOURCE = Resource({"service.name": "plain", "stageio.job.id": "job-1", "host.name": "node1"})


def sent(message):
    """Keep a message as the Collector's file exporter writes it."""
    tree = hex_ids(json_format.MessageToDict(message, use_integers_for_enums=True))
    with SENT.open("a") as file:
        file.write(f"{json.dumps(tree)}\n")


class Spans(SpanExporter):
    def export(self, spans):
        sent(encode_spans(spans))
        return SpanExportResult.SUCCESS


Exporter = getattr(logs_export, "LogRecordExporter", None) or logs_export.LogExporter


class Logs(Exporter):
    def export(self, batch):
        sent(encode_logs(batch))

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=0):
        return True


tracers = TracerProvider(resource=RESOURCE)
tracers.add_span_processor(BatchSpanProcessor(JobFolderSpanExporter(OUT)))
tracers.add_span_processor(SimpleSpanProcessor(Spans()))
loggers = LoggerProvider(resource=RESOURCE)
Processor = logs_export.BatchLogRecordProcessor if LATE else logs_export.SimpleLogRecordProcessor
loggers.add_log_record_processor(Processor(JobFolderLogExporter(OUT)))
loggers.add_log_record_processor(logs_export.SimpleLogRecordProcessor(Logs()))
tracer = tracers.get_tracer("my.pipeline")
with warnings.catch_warnings():  # newer SDKs have it in a package of its own
    warnings.simplefilter("ignore")
    from opentelemetry.sdk._logs import LoggingHandler

    logging.getLogger().addHandler(LoggingHandler(logger_provider=loggers))
logging.getLogger().setLevel(logging.DEBUG)
log = logging.getLogger("pipeline")


def fail():
    """End a stage."""
    raise ValueError("no audio")


def stage(name, number, **about):
    """Begin a stage."""
    return tracer.start_as_current_span(
        name, attributes={"stageio.stage.name": name, "stageio.stage.number": number, **about}
    )


with tracer.start_as_current_span("nightly"):
    with stage("ingest", 1, **{"stageio.config.lang": "de", "stageio.metric.wer": 0.25}) as span:
        log.info("hällo %s", 1)
        log.debug("quiet")
        span.add_event(
            "stageio.output", {"file.path": "01_ingest/a.txt", "stageio.artifact.type": "text", "file.size": 3}
        )
        with tracer.start_as_current_span("decode", attributes={"stageio.step": "decode", "beams": 4}):
            log.warning("within\nit")
    for _ in range(2):
        try:
            with stage("asr", 2, **{"stageio.extra.n": 3}):
                log.info("again")
                fail()
        except ValueError:
            pass
    with stage("mix", 3, **{"stageio.status": "skipped", "stageio.reason": "nothing to do"}):
        pass
log.info("outside of any stage")
tracers.shutdown()
loggers.shutdown()
assert not any(name in sys.modules for name in ("otel_stageio.record", "otel_stageio.record.stage"))
