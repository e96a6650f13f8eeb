"""Lines of OTLP/JSON to records: ours, and what a Collector's file exporter writes.

Unknown keys are ignored, missing ones and null have protobuf's defaults, as the OTLP specification asks of receivers.
What is no OTLP/JSON raises ValueError, whatever it is instead.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from otel_stageio.model import Line, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Value

_T = TypeVar("_T")
_Json = dict[str, Any]
_HEX: Final = re.compile("[0-9a-f]*")
_INT64: Final = 1 << 63


def lines(tree: object) -> list[Line]:
    """Decode the JSON value of one line: a Line for each resource and scope in it.

    Raises ValueError where it is neither logs nor spans, or broken below.
    """
    if isinstance(tree, dict):
        try:
            if "resourceLogs" in tree:
                return list(_lines(tree["resourceLogs"], "scopeLogs", "logRecords", _log_record))
            if "resourceSpans" in tree:
                return list(_lines(tree["resourceSpans"], "scopeSpans", "spans", _span))
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as why:
            raise ValueError(f"not OTLP/JSON: {type(why).__name__} {why}") from why
    raise ValueError("neither logs nor spans")


def record(tree: object, *, span: bool) -> LogRecord | Span:
    """Decode the JSON value of one record. Raises ValueError where it is none."""
    try:
        return _span(_is(tree, dict)) if span else _log_record(_is(tree, dict))
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as why:
        raise ValueError(f"not OTLP/JSON: {type(why).__name__} {why}") from why


def _lines(resources: list[_Json] | None, scopes: str, records: str, decode: Any) -> Iterator[Line]:
    for of_resource in resources or ():
        resource = Resource(attributes=_attributes(of_resource.get("resource") or {}))
        for of_scope in of_resource.get(scopes) or ():
            scope = of_scope.get("scope") or {}
            yield Line(
                records=tuple(decode(each) for each in of_scope.get(records) or ()),
                scope=Scope(
                    name=_text(scope, "name"),
                    version=_text(scope, "version"),
                    attributes=_attributes(scope),
                    schema_url=_text(of_scope, "schemaUrl"),
                ),
                resource=resource,
            )


def value(tree: _Json) -> Value:
    """Decode one AnyValue."""
    for kind, of in tree.items():
        if of is None:
            continue
        if kind == "stringValue":
            return _text(tree, kind)
        if kind == "intValue":
            return _within(int(of), -_INT64, _INT64)
        if kind == "doubleValue":
            number = float(of)
            return number if math.isfinite(number) else str(of)
        if kind == "boolValue":
            return _is(of, bool)
        if kind == "arrayValue":
            return [value(each) for each in of.get("values") or ()]
        if kind == "kvlistValue":
            return _pairs(of, "values")
        if kind == "bytesValue":
            from base64 import b64decode

            return b64decode(of)
    return None


def _pairs(tree: _Json, key: str) -> dict[str, Value]:
    return {_text(each, "key"): value(each.get("value") or {}) for each in tree.get(key) or ()}


def _attributes(tree: _Json) -> dict[str, Value]:
    return _pairs(tree, "attributes")


def _text(tree: _Json, key: str) -> str:
    return _is(tree.get(key) or "", str)


def _is(of: object, kind: type[_T]) -> _T:
    if not isinstance(of, kind):
        raise TypeError(f"{type(of).__name__} where {kind.__name__} is expected")
    return of


def _number(tree: _Json, key: str) -> int:
    return _within(int(tree.get(key) or 0), 0, 2 * _INT64)


def _within(number: int, least: int, end: int) -> int:
    if not least <= number < end:
        raise ValueError(f"{number} does not fit in 64 bits")
    return number


def _id(tree: _Json, key: str) -> str:
    text = _text(tree, key).lower()
    if not _HEX.fullmatch(text):
        raise ValueError(f"{key} is no hex text: {text[:100]}")
    return text


def _log_record(tree: _Json) -> LogRecord:
    return LogRecord(
        # As the specification asks: where the source gave no time, that of who saw it first.
        time_unix_nano=_number(tree, "timeUnixNano") or _number(tree, "observedTimeUnixNano"),
        severity_number=_number(tree, "severityNumber"),
        severity_text=_text(tree, "severityText"),
        event_name=_text(tree, "eventName"),
        body=value(tree.get("body") or {}),
        attributes=_attributes(tree),
        trace_id=_id(tree, "traceId"),
        span_id=_id(tree, "spanId"),
        flags=_number(tree, "flags"),
    )


def _span(tree: _Json) -> Span:
    status = tree.get("status") or {}
    return Span(
        trace_id=_id(tree, "traceId"),
        span_id=_id(tree, "spanId"),
        parent_span_id=_id(tree, "parentSpanId"),
        trace_state=_text(tree, "traceState"),
        name=_text(tree, "name"),
        kind=_number(tree, "kind"),
        start_time_unix_nano=_number(tree, "startTimeUnixNano"),
        end_time_unix_nano=_number(tree, "endTimeUnixNano"),
        attributes=_attributes(tree),
        events=tuple(
            SpanEvent(
                time_unix_nano=_number(each, "timeUnixNano"),
                name=_text(each, "name"),
                attributes=_attributes(each),
                dropped_attributes_count=_number(each, "droppedAttributesCount"),
            )
            for each in tree.get("events") or ()
        ),
        links=tuple(
            SpanLink(
                trace_id=_id(each, "traceId"),
                span_id=_id(each, "spanId"),
                attributes=_attributes(each),
                dropped_attributes_count=_number(each, "droppedAttributesCount"),
                flags=_number(each, "flags"),
            )
            for each in tree.get("links") or ()
        ),
        status_code=_number(status, "code"),
        status_message=_text(status, "message"),
        flags=_number(tree, "flags"),
        dropped_attributes_count=_number(tree, "droppedAttributesCount"),
        dropped_events_count=_number(tree, "droppedEventsCount"),
        dropped_links_count=_number(tree, "droppedLinksCount"),
    )
