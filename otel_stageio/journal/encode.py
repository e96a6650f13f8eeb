"""Records to lines of OTLP/JSON, the way the official encoders say it.

Text is put together by hand instead of by `json.dumps` on a tree of dicts: it takes half the time, and this is the path
of every log record. Hex ids, 64-bit ints as text, base64 bytes, enums as numbers: OTLP specification, "JSON Protobuf
Encoding". Within a line the records come first, then the scope, then the resource (the Collector tells files apart by
their first 1,000 bytes).
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from json.encoder import encode_basestring_ascii as _text
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink, Value

#: The start of a line of each signal; a torn line is searched for it.
LOGS_PREFIX: Final = '{"resourceLogs":['
SPANS_PREFIX: Final = '{"resourceSpans":['

#: What a line of ours begins with, before its record.
LOGS_HEAD: Final = LOGS_PREFIX + '{"scopeLogs":[{"logRecords":['
SPANS_HEAD: Final = SPANS_PREFIX + '{"scopeSpans":[{"spans":['


def value(of: Value) -> str:
    """One AnyValue."""
    kind = type(of)
    if kind is str:
        return f'{{"stringValue":{_text(of)}}}'  # type: ignore[arg-type] # kind narrows it, mypy cannot see
    if of is None:
        return "{}"
    if kind is bool:
        return '{"boolValue":true}' if of else '{"boolValue":false}'
    if kind is int:
        return f'{{"intValue":"{of!r}"}}'
    if kind is float:
        return f'{{"doubleValue":{of!r}}}'
    if isinstance(of, dict):
        return f'{{"kvlistValue":{{"values":[{pairs(of)}]}}}}' if of else '{"kvlistValue":{}}'
    if isinstance(of, list):
        return f'{{"arrayValue":{{"values":[{",".join(map(value, of))}]}}}}' if of else '{"arrayValue":{}}'
    if isinstance(of, bytes):
        return f'{{"bytesValue":"{base64_text(of)}"}}'
    raise TypeError(f"{kind.__name__} is no OTLP value: {of!r}")


def pairs(of: Attributes) -> str:
    """KeyValue messages, joined."""
    return ",".join([f'{{"key":{_text(key)},"value":{value(each)}}}' for key, each in of.items()])


def base64_text(of: bytes) -> str:
    """Bytes as text that JSON can hold."""
    return b2a_base64(of, newline=False).decode()


def readable(of: Value) -> str:
    """A value as text that a person reads: text as it is, bytes as base64, anything else as plain JSON."""
    if isinstance(of, str):
        return of
    return base64_text(of) if isinstance(of, bytes) else json.dumps(of, ensure_ascii=False, default=base64_text)


def tail(scope: Scope, resource: Resource) -> str:
    """What ends every line of one writer: its scope and resource, the same text each time."""
    version = f',"version":{_text(scope.version)}' if scope.version else ""
    about = f',"attributes":[{pairs(scope.attributes)}]' if scope.attributes else ""
    schema = f',"schemaUrl":{_text(scope.schema_url)}' if scope.schema_url else ""
    attributes = f'"attributes":[{pairs(resource.attributes)}]' if resource.attributes else ""
    return f'],"scope":{{"name":{_text(scope.name)}{version}{about}}}{schema}}}],"resource":{{{attributes}}}}}]}}\n'


def log_line(record: LogRecord, end: str) -> bytes:
    """One line of a logs file: the record, then `end` as `tail` made it."""
    return f"{LOGS_HEAD}{log_record(record)}{end}".encode("ascii")


def span_line(span_: Span, end: str) -> bytes:
    """One line of a traces file."""
    return f"{SPANS_HEAD}{span(span_)}{end}".encode("ascii")


def plain_log(severity: int, level: str) -> tuple[str, str]:
    """What is around the time of a plain log record's line, up to its body: the first two parts of four.

    ``first + time + second + text + third + uid + fourth`` is what `log_line` makes of a record with a text, the
    attributes that `plain_attributes` was given and, last, ``log.record.uid``.
    """
    return (
        f'{LOGS_HEAD}{{"timeUnixNano":"',
        f'","severityNumber":{severity},"severityText":{_text(level)},"body":{{"stringValue":',
    )


def plain_attributes(of: Attributes, uid: str) -> str:
    """The third part: attributes, up to the value of the one that is called `uid`."""
    return f'}},"attributes":[{pairs(of)},{{"key":{_text(uid)},"value":{{"stringValue":"'


def plain_event(name: str, severity: int, level: str) -> tuple[str, str]:
    """What is around the time of a plain event's line, up to its attributes: the first two parts of four.

    ``first + time + second + pairs + third + uid + fourth`` is what `log_line` makes of an event without a body that
    has, as its last attribute, ``log.record.uid``.
    """
    return (
        f'{LOGS_HEAD}{{"timeUnixNano":"',
        f'","severityNumber":{severity},"severityText":{_text(level)},"eventName":{_text(name)},"body":{{}},"attributes":[',
    )


#: The third part: up to the value of the uid.
PLAIN_UID: Final = f',{{"key":{_text(names.LOG_RECORD_UID)},"value":{{"stringValue":"'


def plain_end(*, flags: int, trace_id: str, span_id: str, end: str) -> str:
    """The fourth part: what comes after the uid, with `end` as `tail` made it."""
    shown = f',"flags":{flags}' if flags else ""
    return f'"}}}}]{shown},"traceId":"{trace_id}","spanId":"{span_id}"}}{end}'


def _around(of: Attributes, *slots: str) -> list[str]:
    """The text of attributes as `pairs` makes it, cut at the values `slots`, which go."""
    text = pairs(of)
    parts = []
    for slot in slots:
        part, _, text = text.partition(slot)
        parts.append(part)
    return [*parts, text]


_PATH, _MODIFIED, _SIZE, _SHA256, _CLOSE = _around(
    {
        names.FILE_PATH: "<path>",
        names.FILE_MODIFIED: "<modified>",
        names.ARTIFACT_KIND: "file",
        names.FILE_SIZE: 7,
        names.ARTIFACT_CHECKSUM_METHOD: "sha256",
        names.ARTIFACT_CHECKSUM: "sha256:<hex>",
    },
    *('"<path>"', "<modified>", "7", "<hex>"),
)


def file_line(  # noqa: PLR0917 - one f-string, and no keywords: ten thousand files feel either
    first: str, at: int, second: str, path: str, modified: str, size: int, sha256: str, rest: str, uid: str, end: str
) -> str:
    """The line of a small file's event: `first`, `second` and `end` as above, `rest` are its further attributes.

    The file's own are its path, its time (as text without escapes), its bytes and its digest in hex.
    """
    return (
        f"{first}{at}{second}{_PATH}{_text(path)}{_MODIFIED}{modified}{_SIZE}{size}{_SHA256}{sha256}{_CLOSE}{rest}"
        f"{PLAIN_UID}{uid}{end}"
    )


def log_record(record: LogRecord) -> str:
    """One LogRecord message; fields at their defaults are left out, as protobuf does, an empty body is there."""
    parts = [f'{{"timeUnixNano":"{record.time_unix_nano}"']
    if record.severity_number:
        parts.append(f'"severityNumber":{record.severity_number}')
    if record.severity_text:
        parts.append(f'"severityText":{_text(record.severity_text)}')
    if record.event_name:
        parts.append(f'"eventName":{_text(record.event_name)}')
    parts.append(f'"body":{value(record.body)}')
    if record.attributes:
        parts.append(f'"attributes":[{pairs(record.attributes)}]')
    if record.flags:
        parts.append(f'"flags":{record.flags}')
    if record.trace_id:
        parts.append(f'"traceId":"{record.trace_id}"')
    if record.span_id:
        parts.append(f'"spanId":"{record.span_id}"')
    return ",".join(parts) + "}"


def span(of: Span) -> str:
    """One Span message."""
    parts = [f'{{"traceId":"{of.trace_id}","spanId":"{of.span_id}"']
    if of.trace_state:
        parts.append(f'"traceState":{_text(of.trace_state)}')
    if of.parent_span_id:
        parts.append(f'"parentSpanId":"{of.parent_span_id}"')
    parts.append(
        f'"flags":{of.flags},"name":{_text(of.name)},"kind":{of.kind},'
        f'"startTimeUnixNano":"{of.start_time_unix_nano}","endTimeUnixNano":"{of.end_time_unix_nano}"'
    )
    _append_attributes(parts, of.attributes, of.dropped_attributes_count)
    if of.events:
        parts.append(f'"events":[{",".join(map(event, of.events))}]')
    if of.dropped_events_count:
        parts.append(f'"droppedEventsCount":{of.dropped_events_count}')
    if of.links:
        parts.append(f'"links":[{",".join(map(link, of.links))}]')
    if of.dropped_links_count:
        parts.append(f'"droppedLinksCount":{of.dropped_links_count}')
    status = [f'"message":{_text(of.status_message)}'] if of.status_message else []
    if of.status_code:
        status.append(f'"code":{of.status_code}')
    parts.append(f'"status":{{{",".join(status)}}}')
    return ",".join(parts) + "}"


def event(of: SpanEvent) -> str:
    """One Span.Event message."""
    parts = [f'{{"timeUnixNano":"{of.time_unix_nano}","name":{_text(of.name)}']
    _append_attributes(parts, of.attributes, of.dropped_attributes_count)
    return ",".join(parts) + "}"


def link(of: SpanLink) -> str:
    """One Span.Link message."""
    parts = [f'{{"traceId":"{of.trace_id}","spanId":"{of.span_id}"']
    _append_attributes(parts, of.attributes, of.dropped_attributes_count)
    parts.append(f'"flags":{of.flags}')
    return ",".join(parts) + "}"


def _append_attributes(parts: list[str], attributes: Attributes, dropped: int) -> None:
    if attributes:
        parts.append(f'"attributes":[{pairs(attributes)}]')
    if dropped:
        parts.append(f'"droppedAttributesCount":{dropped}')
