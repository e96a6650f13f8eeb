"""How much a span may hold, by the variables of OpenTelemetry's specification."""

from __future__ import annotations

import sys

import pytest
from opentelemetry.sdk.trace import SpanLimits as TheirLimits

from otel_stageio import StageIO
from otel_stageio.record.otel.limits import SpanLimits

_ATTRIBUTES = "OTEL_ATTRIBUTE_COUNT_LIMIT"
_LENGTH = "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"
_OF_SPANS = {
    "attributes": "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "events": "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "links": "OTEL_SPAN_LINK_COUNT_LIMIT",
    "event_attributes": "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "link_attributes": "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "span_length": "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
}


def test_the_defaults_are_the_specification_s():
    """Without variables every count is 128, and no text is too long."""
    of_counts = dict.fromkeys(("attributes", "events", "links", "event_attributes", "link_attributes"), 128)
    assert SpanLimits.of({}) == SpanLimits(**of_counts, span_length=None, length=None)


@pytest.mark.parametrize(("field", "name"), _OF_SPANS.items())
def test_each_variable_sets_its_limit(field, name):
    """Each variable sets the one limit that it is named after."""
    assert SpanLimits.of({name: "7"}) == SpanLimits(**{field: 7})


def test_the_general_variables_stand_in_for_the_special_ones():
    """The general limits hold for attributes everywhere, until a special one says otherwise."""
    assert SpanLimits.of({_ATTRIBUTES: "7"}) == SpanLimits(attributes=7, event_attributes=7, link_attributes=7)
    assert SpanLimits.of({_LENGTH: "7"}) == SpanLimits(span_length=7, length=7)
    special = {_ATTRIBUTES: "7", _OF_SPANS["event_attributes"]: "0", _LENGTH: "7", _OF_SPANS["span_length"]: "900"}
    assert SpanLimits.of(special) == SpanLimits(
        attributes=7, event_attributes=0, link_attributes=7, span_length=900, length=7
    )


@pytest.mark.parametrize("text", ["", " ", "-1", "many", "1.5", "0x10", "7 8"])
def test_what_is_no_limit_is_as_if_it_were_not_there(text):
    """A value that is no whole number from 0 up is passed over, an empty one as the specification asks."""
    assert SpanLimits.of(dict.fromkeys([_ATTRIBUTES, _LENGTH, *_OF_SPANS.values()], text)) == SpanLimits()


@pytest.mark.parametrize(
    ("text", "limit"), [("0", 0), (" 7 ", 7), ("+7", 7), ("1_000", 1000), ("9" * 100, sys.maxsize)]
)
def test_what_is_a_limit(text, limit):
    """Numbers are read as Python reads them; a limit past all memory is one that memory could hold."""
    assert SpanLimits.of({_OF_SPANS["events"]: text}).events == limit


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {_ATTRIBUTES: "3"},
        {_LENGTH: "3"},
        {_ATTRIBUTES: "3", _OF_SPANS["attributes"]: "4", _OF_SPANS["link_attributes"]: "5"},
        {_LENGTH: "3", _OF_SPANS["span_length"]: "4"},
        {_OF_SPANS["events"]: "0", _OF_SPANS["links"]: "1"},
    ],
)
def test_the_sdk_reads_the_same(monkeypatch, environ):
    """The SDK's own limits are the same ones in the same environment."""
    for name, of in environ.items():
        monkeypatch.setenv(name, of)
    theirs = TheirLimits()
    assert SpanLimits.of(environ) == SpanLimits(
        attributes=theirs.max_span_attributes,
        events=theirs.max_events,
        links=theirs.max_links,
        event_attributes=theirs.max_event_attributes,
        link_attributes=theirs.max_link_attributes,
        span_length=theirs.max_span_attribute_length,
        length=theirs.max_attribute_length,
    )


def test_a_stage_opens_whatever_the_variables_say(tmp_path, monkeypatch, told):
    """Limits that are none, or past all memory, keep no stage from opening, and its spans are as without them."""
    monkeypatch.setenv(_OF_SPANS["events"], "9" * 100)
    monkeypatch.setenv(_OF_SPANS["links"], "9" * 10_000)
    monkeypatch.setenv(_ATTRIBUTES, "many")
    with StageIO("asr", tmp_path / "out") as io, io.step("decode") as span:
        span.add_event("kept")
    assert told(io).manifest["degraded"] == []
