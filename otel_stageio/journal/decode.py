"""Lines of OTLP/JSON to records: ours, and what a Collector's file exporter writes.

Unknown keys are ignored and missing ones have protobuf's defaults, as the OTLP specification asks of receivers. What is
no OTLP/JSON raises ValueError (KeyError and TypeError of the parts are turned into it).
"""

from __future__ import annotations

import math
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from otel_stageio.model import Line, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Value

_Json = dict[str, Any]


def lines(tree: object) -> list[Line]:
    """Decode the JSON value of one line: a Line for each resource and scope in it.

    Raises ValueError where it is neither logs nor spans, or broken below.
    """
    if not isinstance(tree, dict):
        raise ValueError(f"a line of OTLP/JSON is an object, not {type(tree).__name__}")  # noqa: TRY004 - one error for what is unreadable
    try:
        if "resourceLogs" in tree:
            return list(_lines(tree["resourceLogs"], "scopeLogs", "logRecords", _log_record))
        if "resourceSpans" in tree:
            return list(_lines(tree["resourceSpans"], "scopeSpans", "spans", _span))
    except (KeyError, TypeError, AttributeError) as why:
        raise ValueError(f"not OTLP/JSON: {type(why).__name__} {why}") from why
    raise ValueError(f"neither logs nor spans: {', '.join(map(str, tree)) or 'an empty object'}")


def _lines(resources: list[_Json], scopes: str, records: str, decode: Any) -> Iterator[Line]:
    for of_resource in resources:
        resource = Resource(attributes=_attributes(of_resource.get("resource", {})))
        for of_scope in of_resource.get(scopes, ()):
            scope = of_scope.get("scope", {})
            yield Line(
                records=tuple(decode(each) for each in of_scope.get(records, ())),
                scope=Scope(name=scope.get("name", ""), version=scope.get("version", "")),
                resource=resource,
            )


def value(tree: _Json) -> Value:  # noqa: PLR0911 - one return for each kind of AnyValue
    """Decode one AnyValue."""
    for kind, of in tree.items():
        if kind == "stringValue":
            return str(of)
        if kind == "intValue":
            return int(of)
        if kind == "doubleValue":
            number = float(of)
            return number if math.isfinite(number) else str(of)
        if kind == "boolValue":
            return bool(of)
        if kind == "arrayValue":
            return [value(each) for each in of.get("values", ())]
        if kind == "kvlistValue":
            return {each["key"]: value(each.get("value", {})) for each in of.get("values", ())}
        if kind == "bytesValue":
            return b64decode(of)
    return None


def _attributes(tree: _Json) -> dict[str, Value]:
    return {each["key"]: value(each.get("value", {})) for each in tree.get("attributes", ())}


def _log_record(tree: _Json) -> LogRecord:
    return LogRecord(
        time_unix_nano=int(tree.get("timeUnixNano", 0)),
        severity_number=int(tree.get("severityNumber", 0)),
        severity_text=tree.get("severityText", ""),
        event_name=tree.get("eventName", ""),
        body=value(tree.get("body", {})),
        attributes=_attributes(tree),
        trace_id=tree.get("traceId", "").lower(),
        span_id=tree.get("spanId", "").lower(),
        flags=int(tree.get("flags", 0)),
    )


def _span(tree: _Json) -> Span:
    status = tree.get("status", {})
    return Span(
        trace_id=tree.get("traceId", "").lower(),
        span_id=tree.get("spanId", "").lower(),
        parent_span_id=tree.get("parentSpanId", "").lower(),
        trace_state=tree.get("traceState", ""),
        name=tree.get("name", ""),
        kind=int(tree.get("kind", 0)),
        start_time_unix_nano=int(tree.get("startTimeUnixNano", 0)),
        end_time_unix_nano=int(tree.get("endTimeUnixNano", 0)),
        attributes=_attributes(tree),
        events=tuple(
            SpanEvent(
                time_unix_nano=int(each.get("timeUnixNano", 0)),
                name=each.get("name", ""),
                attributes=_attributes(each),
                dropped_attributes_count=int(each.get("droppedAttributesCount", 0)),
            )
            for each in tree.get("events", ())
        ),
        links=tuple(
            SpanLink(
                trace_id=each.get("traceId", "").lower(),
                span_id=each.get("spanId", "").lower(),
                attributes=_attributes(each),
                dropped_attributes_count=int(each.get("droppedAttributesCount", 0)),
                flags=int(each.get("flags", 0)),
            )
            for each in tree.get("links", ())
        ),
        status_code=int(status.get("code", 0)),
        status_message=status.get("message", ""),
        flags=int(tree.get("flags", 0)),
        dropped_attributes_count=int(tree.get("droppedAttributesCount", 0)),
        dropped_events_count=int(tree.get("droppedEventsCount", 0)),
        dropped_links_count=int(tree.get("droppedLinksCount", 0)),
    )
