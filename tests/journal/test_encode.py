"""Records to lines of OTLP/JSON: held against the official protobuf classes and the official encoders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.model import LogRecord, Resource, Scope, Span, SpanEvent, SpanLink
from tests.journal import samples
from tests.journal.official import base64_ids, logs_message, said_by, spans_message
from tests.journal.samples import unhurried


def _readable_log(record: LogRecord, scope: Scope, resource: Resource) -> Any:
    """The record as the SDK hands it to its exporters; an observed time it must have, ours has none."""
    from opentelemetry._logs import LogRecord as ApiRecord
    from opentelemetry._logs import SeverityNumber
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    context = SpanContext(
        int(record.trace_id, 16), int(record.span_id, 16), is_remote=False, trace_flags=TraceFlags(record.flags)
    )
    return ReadableLogRecord(
        ApiRecord(
            timestamp=record.time_unix_nano,
            observed_timestamp=0,
            context=set_span_in_context(NonRecordingSpan(context)),
            severity_text=record.severity_text,
            severity_number=SeverityNumber(record.severity_number),
            body=record.body,
            attributes=record.attributes,
            event_name=record.event_name,
        ),
        _sdk_resource(resource),
        _sdk_scope(scope),
    )


def _sdk_resource(resource: Resource) -> Any:
    from opentelemetry.sdk.resources import Resource as SdkResource

    return SdkResource(dict(resource.attributes))


def _sdk_scope(scope: Scope) -> Any:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope(scope.name, scope.version, scope.schema_url, dict(scope.attributes))


def _counted(of: Any, dropped: int) -> Any:
    """A mapping or sequence as the SDK keeps it, which knows how much was dropped from it."""
    from opentelemetry.attributes import BoundedAttributes
    from opentelemetry.sdk.util import BoundedList

    if isinstance(of, dict):
        made = BoundedAttributes()
        made._dict = of  # as they are: the SDK's own cleaning is not what is compared
    else:
        made = BoundedList.from_seq(len(of), of)
    made.dropped = dropped
    return made


def _readable_span(span: Span, scope: Scope, resource: Resource) -> Any:
    """The span as the SDK hands it to its exporters."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceState
    from opentelemetry.trace.status import Status

    def context(trace_id: str, span_id: str, flags: int = 0x100, state: str = "") -> SpanContext:
        pairs = [tuple(each.split("=")) for each in state.split(",") if each]
        return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=flags == 0x300, trace_state=TraceState(pairs))

    status = Status.__new__(Status)  # the constructor drops the message of a status that is no error
    status._status_code, status._description = StatusCode(span.status_code), span.status_message
    return ReadableSpan(
        name=span.name,
        context=context(span.trace_id, span.span_id, state=span.trace_state),
        parent=context(span.trace_id, span.parent_span_id, span.flags) if span.parent_span_id else None,
        resource=_sdk_resource(resource),
        attributes=_counted(span.attributes, span.dropped_attributes_count),
        events=_counted(
            [
                Event(each.name, _counted(each.attributes, each.dropped_attributes_count), each.time_unix_nano)
                for each in span.events
            ],
            span.dropped_events_count,
        ),
        links=_counted(
            [
                Link(
                    context(each.trace_id, each.span_id, each.flags),
                    _counted(each.attributes, each.dropped_attributes_count),
                )
                for each in span.links
            ],
            span.dropped_links_count,
        ),
        kind=SpanKind(span.kind - 1),
        status=status,
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=_sdk_scope(scope),
    )


@unhurried
@given(samples.log_records, samples.scopes, samples.resources)
def test_the_official_classes_read_a_log_line_as_it_is_written(record, scope, resource):
    """The official protobuf classes decode a line of logs and, encoding it again, say the same."""
    line = encode.log_line(record, encode.tail(scope, resource))
    assert said_by(logs_message(line)) == base64_ids(json.loads(line))


@unhurried
@given(samples.spans(), samples.scopes, samples.resources)
def test_the_official_classes_read_a_span_line_as_it_is_written(span, scope, resource):
    """The official protobuf classes decode a line of spans and, encoding it again, say the same."""
    line = encode.span_line(span, encode.tail(scope, resource))
    assert said_by(spans_message(line)) == base64_ids(json.loads(line))


@pytest.mark.oracle
@unhurried
@given(samples.log_records, samples.scopes, samples.resources)
def test_a_log_line_is_what_the_official_encoders_say(record, scope, resource):
    """A line of logs equals what the official JSON encoder and the official protobuf encoder make of the record."""
    from opentelemetry.exporter.otlp.json.common._log_encoder import encode_logs as encode_as_json
    from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as encode_as_protobuf

    line = encode.log_line(record, encode.tail(scope, resource))
    theirs = [_readable_log(record, scope, resource)]
    assert json.loads(line) == encode_as_json(theirs).to_dict()
    assert logs_message(line) == encode_as_protobuf(theirs)


@pytest.mark.oracle
@unhurried
@given(samples.spans(), samples.scopes, samples.resources)
def test_a_span_line_is_what_the_official_encoders_say(span, scope, resource):
    """A line of spans equals what the official JSON encoder and the official protobuf encoder make of the span."""
    from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans as encode_as_json
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_as_protobuf

    line = encode.span_line(span, encode.tail(scope, resource))
    theirs = [_readable_span(span, scope, resource)]
    assert json.loads(line) == encode_as_json(theirs).to_dict()
    assert spans_message(line) == encode_as_protobuf(theirs)


@given(samples.log_records)
def test_a_line_is_one_line_of_ascii(record):
    """Whatever a record says, its line is ASCII, and its only newline is the last character."""
    line = encode.log_line(record, samples.TAIL)
    assert line.isascii()
    assert line.find(b"\n") == len(line) - 1


def test_the_order_within_a_line():
    """Records come first, then the scope, then the resource; a line starts with the prefix of its signal."""
    log = encode.log_line(samples.log(), samples.TAIL).decode()
    span = Span(trace_id="1" * 32, span_id="2" * 16, name="asr", start_time_unix_nano=1, end_time_unix_nano=2)
    trace = encode.span_line(span, samples.TAIL).decode()
    assert log.startswith(encode.LOGS_PREFIX)
    assert trace.startswith(encode.SPANS_PREFIX)
    assert log.index('"logRecords"') < log.index('"scope":') < log.index('"resource":')
    assert trace.index('"spans"') < trace.index('"scope":') < trace.index('"resource":')


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "{}"),
        (True, '{"boolValue":true}'),
        (False, '{"boolValue":false}'),
        (-(2**63), '{"intValue":"-9223372036854775808"}'),
        (-0.0, '{"doubleValue":-0.0}'),
        (1e22, '{"doubleValue":1e+22}'),
        ('a"\n\u2028\U0001f600', '{"stringValue":"a\\"\\n\\u2028\\ud83d\\ude00"}'),
        (b"\0\xff", '{"bytesValue":"AP8="}'),
        ([], '{"arrayValue":{}}'),
        ({}, '{"kvlistValue":{}}'),
        ([1, None], '{"arrayValue":{"values":[{"intValue":"1"},{}]}}'),
        ({"": [{}]}, '{"kvlistValue":{"values":[{"key":"","value":{"arrayValue":{"values":[{"kvlistValue":{}}]}}}]}}'),
    ],
)
def test_each_kind_of_value(value, text):
    """Each kind of AnyValue is written as the OTLP specification says."""
    assert encode.value(value) == text


@pytest.mark.parametrize("value", [1j, object(), (1, 2), {1, 2}], ids=["complex", "object", "tuple", "set"])
def test_what_otlp_cannot_hold_is_an_error(value):
    """A value that the model does not allow is refused with its type, not written as something else."""
    with pytest.raises(TypeError, match=f"{type(value).__name__} is no OTLP value"):
        encode.value(value)


def test_defaults_are_left_out():
    """Fields at protobuf's defaults are not written, save a log's body and a span's name, kind and flags."""
    span = Span(trace_id="1" * 32, span_id="2" * 16, name="", start_time_unix_nano=1, end_time_unix_nano=2)
    assert encode.log_record(LogRecord(time_unix_nano=0)) == '{"timeUnixNano":"0","body":{}}'
    assert encode.event(SpanEvent(time_unix_nano=1, name="e")) == '{"timeUnixNano":"1","name":"e"}'
    assert (
        encode.link(SpanLink(trace_id="1" * 32, span_id="2" * 16))
        == f'{{"traceId":"{"1" * 32}","spanId":"{"2" * 16}","flags":256}}'
    )
    assert json.loads(encode.span(span)) == {
        "traceId": "1" * 32,
        "spanId": "2" * 16,
        "flags": 256,
        "name": "",
        "kind": 1,
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
        "status": {},
    }
    assert encode.tail(Scope(), Resource()) == '],"scope":{"name":""}}],"resource":{}}]}\n'


def test_a_scope_says_all_that_a_library_says_of_itself():
    """Version and attributes stand in the scope, the schema's address beside it, as OTLP has them."""
    scope = Scope(name="requests", version="2", attributes={"a": [1]}, schema_url="urn:requests:1.0")
    assert encode.tail(scope, Resource()) == (
        '],"scope":{"name":"requests","version":"2",'
        '"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"intValue":"1"}]}}}]},'
        '"schemaUrl":"urn:requests:1.0"}],"resource":{}}]}\n'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ä", "ä"),
        (b"\0", "AA=="),
        (None, "null"),
        (1.5, "1.5"),
        ([True, "ä", b"\0"], '[true, "ä", "AA=="]'),
        ({"a": {}}, '{"a": {}}'),
    ],
)
def test_readable_text_of_a_value(value, text):
    """A value as text for people: text and bytes without quotes, anything else as plain JSON."""
    assert encode.readable(value) == text


ENDS = {"flags": 1, "trace_id": "1" * 32, "span_id": "2" * 16}


@pytest.mark.parametrize("flags", [0, 1])
@unhurried
@given(path=samples.texts, kind=samples.texts)
def test_a_plain_event_is_put_together_from_parts(flags, path, kind):
    """The four parts around time, attributes and uid make the very line that the encoder makes of the whole record."""
    end = encode.tail(Scope(name="s"), Resource())
    file = {
        names.FILE_PATH: path,
        names.FILE_MODIFIED: "2025-11-27T12:30:01.123456Z",
        names.ARTIFACT_KIND: "file",
        names.FILE_SIZE: 7,
        names.ARTIFACT_CHECKSUM_METHOD: "sha256",
        names.ARTIFACT_CHECKSUM: f"sha256:{'7f' * 32}",
    }
    more = {names.ARTIFACT_TYPE: kind, "n": 1.5}
    record = LogRecord(
        time_unix_nano=7,
        severity_number=9,
        severity_text="INFO",
        event_name="stageio.input",
        attributes={**file, **more, "log.record.uid": "w-1"},
        **{**ENDS, "flags": flags},
    )
    first, second = encode.plain_event("stageio.input", 9, "INFO")
    third, fourth = encode.PLAIN_UID, encode.plain_end(**{**ENDS, "flags": flags}, end=end)
    whole = encode.log_line(record, end).decode()
    assert f"{first}7{second}{encode.pairs({**file, **more})}{third}w-1{fourth}" == whole
    modified, rest = "2025-11-27T12:30:01.123456Z", f",{encode.pairs(more)}"
    assert encode.file_line(first, 7, second, path, modified, 7, "7f" * 32, rest, "w-1", fourth) == whole
