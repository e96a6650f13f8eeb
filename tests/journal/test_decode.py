"""Lines of OTLP/JSON to records."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.journal import decode, encode
from otel_stageio.model import Line, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink
from tests.journal import samples
from tests.journal.samples import unhurried

#: Any JSON value, and JSON values that look like OTLP.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_KEYS = (
    *("resourceLogs", "resourceSpans", "scopeLogs", "scopeSpans", "logRecords", "spans", "scope", "resource", "name"),
    *("attributes", "key", "value", "values", "body", "timeUnixNano", "traceId", "severityNumber", "flags", "events"),
    *("stringValue", "intValue", "doubleValue", "boolValue", "arrayValue", "kvlistValue", "bytesValue", "status"),
)
OTLP_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "1", "zz", "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=20,
)


def one(line: bytes) -> Any:
    """The only record of the line."""
    (of,) = decode.lines(json.loads(line))
    (record,) = of.records
    return record


def same(left: object, right: object) -> bool:
    """Whether two values are equal to the last bit: -0.0 is not 0.0, True is not 1."""
    return left == right and repr(left) == repr(right)


@unhurried
@given(samples.log_records, samples.scopes, samples.resources)
def test_a_log_record_comes_back(record, scope, resource):
    """decode(encode(r)) is r for every log record, with its scope and resource."""
    (back,) = decode.lines(json.loads(encode.log_line(record, encode.tail(scope, resource))))
    assert same(back, Line(records=(record,), scope=scope, resource=resource))


@unhurried
@given(samples.spans(), samples.scopes, samples.resources)
def test_a_span_comes_back(span, scope, resource):
    """decode(encode(r)) is r for every span, with its events and links."""
    (back,) = decode.lines(json.loads(encode.span_line(span, encode.tail(scope, resource))))
    assert same(back, Line(records=(span,), scope=scope, resource=resource))


def _with_more_keys(tree: Any) -> Any:
    """The tree with a key in each of its objects that no version of OTLP knows."""
    if isinstance(tree, dict):
        return {"fromTheFuture": [{"a": None}]} | {key: _with_more_keys(of) for key, of in tree.items()}
    return [_with_more_keys(each) for each in tree] if isinstance(tree, list) else tree


def _with_numbers(tree: Any) -> Any:
    """The tree with its 64-bit numbers as JSON numbers instead of text."""
    if isinstance(tree, dict):
        return {
            key: int(of) if key == "intValue" or key.endswith("UnixNano") else _with_numbers(of)
            for key, of in tree.items()
        }
    return [_with_numbers(each) for each in tree] if isinstance(tree, list) else tree


@unhurried
@given(samples.log_records)
def test_unknown_keys_are_ignored(record):
    """A key that is not known changes nothing, wherever it stands, within values too."""
    tree = json.loads(encode.log_line(record, samples.TAIL))
    assert decode.lines(_with_more_keys(tree)) == decode.lines(tree)


@unhurried
@given(samples.log_records, samples.spans())
def test_numbers_may_be_numbers(record, span):
    """64-bit numbers are read from text and from JSON numbers alike."""
    for line in (encode.log_line(record, samples.TAIL), encode.span_line(span, samples.TAIL)):
        tree = json.loads(line)
        assert decode.lines(_with_numbers(tree)) == decode.lines(tree)


@unhurried
@given(samples.log_records)
def test_null_is_as_missing(record):
    """A field that is null has its default, as protobuf's JSON mapping says."""
    tree = json.loads(encode.log_line(record, samples.TAIL))
    told = tree["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    for key in [*told]:
        told[key] = None
    (line,) = decode.lines(tree)
    assert line.records == (LogRecord(time_unix_nano=0),)
    assert decode.lines({"resourceLogs": None}) == []
    assert decode.value({"intValue": None, "stringValue": "a"}) == "a"


def test_what_a_collector_writes():
    """A line with several resources, scopes and records is a Line for each scope, all records in their order."""
    written = {
        "resourceLogs": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "a"}}]},
                "scopeLogs": [
                    {
                        "scope": {
                            "name": "one",
                            "version": "1",
                            "attributes": [{"key": "short_name", "value": {"stringValue": "1"}}],
                            "droppedAttributesCount": 0,
                        },
                        "logRecords": [
                            {
                                "timeUnixNano": "5",
                                "observedTimeUnixNano": "6",
                                "severityNumber": 9,
                                "severityText": "INFO",
                                "body": {"stringValue": "x"},
                                "attributes": [
                                    {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {}]}}},
                                    {"key": "empty", "value": {"arrayValue": {}}},
                                    {"key": "none", "value": {}},
                                    {"key": "bare"},
                                    {"value": {"stringValue": "of no key"}},
                                    {"key": "nan", "value": {"doubleValue": "NaN"}},
                                ],
                                "droppedAttributesCount": 1,
                                "traceId": "AA" * 16,
                                "spanId": "",
                                "eventName": "e",
                            },
                            {"timeUnixNano": "7", "body": {}, "traceId": "", "spanId": ""},
                        ],
                        "schemaUrl": "urn:x",
                    },
                    {"scope": {}, "logRecords": [{"timeUnixNano": "8"}]},
                ],
                "schemaUrl": "urn:x",
            },
            {"resource": {}, "scopeLogs": [{"logRecords": [{"timeUnixNano": "9"}]}]},
        ]
    }
    a = Resource(attributes={"service.name": "a"})
    first = LogRecord(
        time_unix_nano=5,
        severity_number=9,
        severity_text="INFO",
        event_name="e",
        body="x",
        attributes={"list": [1, None], "empty": [], "none": None, "bare": None, "": "of no key", "nan": "NaN"},
        trace_id="aa" * 16,
    )
    one = Scope(name="one", version="1", attributes={"short_name": "1"}, schema_url="urn:x")
    assert decode.lines(written) == [
        Line(records=(first, LogRecord(time_unix_nano=7)), scope=one, resource=a),
        Line(records=(LogRecord(time_unix_nano=8),), scope=Scope(), resource=a),
        Line(records=(LogRecord(time_unix_nano=9),), scope=Scope(), resource=Resource()),
    ]


def test_spans_of_other_programs():
    """A span with everything left out that may be has protobuf's defaults, not ours."""
    written = {
        "resourceSpans": [
            {"scopeSpans": [{"spans": [{"traceId": "AB", "spanId": "CD", "events": [{}], "links": [{}]}]}]}
        ]
    }
    (line,) = decode.lines(written)
    assert line.records == (
        Span(
            trace_id="ab",
            span_id="cd",
            name="",
            kind=0,
            start_time_unix_nano=0,
            end_time_unix_nano=0,
            flags=0,
            events=(SpanEvent(time_unix_nano=0, name=""),),
            links=(SpanLink(trace_id="", span_id="", flags=0),),
        ),
    )


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_text(text):
    """The floats that JSON cannot hold come back as the text that stands for them."""
    assert decode.value({"doubleValue": text}) == text
    assert math.isinf(float(text)) or math.isnan(float(text))


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        "resourceLogs",
        {},
        {"resourceMetrics": []},
        {"resourceLogs": 5},
        {"resourceLogs": [5]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "soon"}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": -1}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": 2**64}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": 1e999}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"intValue": "1" * 20}}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"doubleValue": 10**400}}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"bytesValue": "a"}}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"boolValue": "false"}}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": {"a": 1}}}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"severityText": 5}]}]}]},
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": 'a"b'}]}]}]},
    ],
)
def test_what_is_no_otlp_is_one_kind_of_error(tree):
    """Whatever a line holds instead of OTLP/JSON, the reader gets a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        decode.lines(tree)


@unhurried
@given(JSON | OTLP_LIKE | st.builds(lambda key, of: {key: of}, st.sampled_from(_KEYS[:2]), OTLP_LIKE))
def test_any_json_decodes_or_is_refused(tree):
    """No JSON value makes the decoder raise anything but ValueError."""
    try:
        lines = decode.lines(tree)
    except ValueError:
        return
    assert all(isinstance(each, Line) for each in lines)


def test_a_record_without_a_time_has_that_of_who_saw_it():
    """Where the source gave a log record no time, the time at which it was observed stands for it."""
    record = {"observedTimeUnixNano": "7", "body": {"stringValue": "a"}}
    (line,) = decode.lines(
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [record, {**record, "timeUnixNano": "5"}]}]}]}
    )
    assert [each.time_unix_nano for each in line.records] == [7, 5]
