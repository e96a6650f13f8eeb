"""Our lines as the official protobuf classes read them, and what those say."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def base64_ids(tree: Any) -> Any:
    """The same tree with its ids as protobuf's own JSON wants bytes: base64 where OTLP says hex."""
    if isinstance(tree, dict):
        return {
            key: base64.b64encode(bytes.fromhex(of)).decode() if key in _IDS else base64_ids(of)
            for key, of in tree.items()
        }
    return [base64_ids(each) for each in tree] if isinstance(tree, list) else tree


def hex_ids(tree: Any) -> Any:
    """The same tree with its ids as OTLP wants them: hex where protobuf's own JSON says base64."""
    if isinstance(tree, dict):
        return {key: base64.b64decode(of).hex() if key in _IDS else hex_ids(of) for key, of in tree.items()}
    return [hex_ids(each) for each in tree] if isinstance(tree, list) else tree


def logs_message(line: bytes) -> ExportLogsServiceRequest:
    """A line of logs as the official classes read it."""
    return json_format.ParseDict(base64_ids(json.loads(line)), ExportLogsServiceRequest())


def spans_message(line: bytes) -> ExportTraceServiceRequest:
    """A line of spans as the official classes read it."""
    return json_format.ParseDict(base64_ids(json.loads(line)), ExportTraceServiceRequest())


def said_by(message: Any) -> Any:
    """What the official classes make of their message again: canonical JSON, with base64 ids."""
    return json_format.MessageToDict(message, use_integers_for_enums=True)
