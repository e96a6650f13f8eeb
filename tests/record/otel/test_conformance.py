"""The same calls on the SDK's spans and on ours: what both say of them in OTLP is equal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.journal.samples import unhurried
from tests.record.otel.calls import CALLS
from tests.record.otel.programs import programs, run
from tests.record.otel.sides import Ours, Theirs

_COUNTS = (
    *("OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
    *("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"),
)
_LENGTHS = ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")


@pytest.mark.parametrize("calls", CALLS, ids=lambda each: each.__name__)
def test_the_same_calls_say_the_same(tmp_path, told, calls):
    """Whatever a program does with a tracer, the journal says of it what the SDK's official export says."""
    ours = Ours(tmp_path / "out")
    said = ours.say(calls)
    assert said == Theirs().say(calls)
    assert said
    ours.io.finalize()
    assert told(ours.io).manifest["degraded"] == []


@pytest.mark.oracle
def test_the_same_calls_say_the_same_in_json(tmp_path):
    """The same, with the official JSON encoder: the lines are what that writes."""
    ours, theirs = Ours(tmp_path / "out"), Theirs()
    assert [each.__name__ for each in CALLS if ours.say_json(each) != theirs.say_json(each)] == []


@pytest.mark.parametrize(
    "limits",
    [
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "3"},
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "3", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "5"},
        {"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "1", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "2"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "2", "OTEL_SPAN_LINK_COUNT_LIMIT": "1"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "1000", "OTEL_SPAN_LINK_COUNT_LIMIT": " +1_000 "},
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7"},
        {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5"},
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5"},
        # OpenTelemetry 1.35 counts None as dropped where there may be no attributes, and nowhere else.
        pytest.param(dict.fromkeys(_COUNTS, "0"), marks=pytest.mark.oracle),
        dict.fromkeys(_LENGTHS, "0"),
        dict.fromkeys(_COUNTS + _LENGTHS, "1"),
    ],
    ids=str,
)
def test_limits(tmp_path, monkeypatch, limits):
    """The variables that OpenTelemetry names limit both sides alike: what is kept, cut and counted as dropped."""
    for name, of in limits.items():
        monkeypatch.setenv(name, of)
    ours, theirs = Ours(tmp_path / "out"), Theirs()
    assert [each.__name__ for each in CALLS if ours.say(each) != theirs.say(each)] == []


@pytest.mark.parametrize(
    "scope",
    [
        {"instrumenting_module_name": "bare"},
        {"instrumenting_module_name": ""},
        {"instrumenting_module_name": None},
        {"instrumenting_module_name": "a", "instrumenting_library_version": "1"},
        {"instrumenting_module_name": "a", "instrumenting_library_version": ""},
        {"instrumenting_module_name": "a", "schema_url": "urn:schema"},
        {"instrumenting_module_name": "a", "attributes": {"b": [1, "2"], "": 3, "c": {"d": b"e"}}},
    ],
)
def test_scopes(tmp_path, scope):
    """Name, version, schema and attributes that a tracer is asked for by are those of its spans' scope."""
    ours, theirs = Ours(tmp_path / "out"), Theirs()

    def calls(tracer):
        tracer.start_span("one").end()

    assert ours.say(calls, **scope) == theirs.say(calls, **scope)


@pytest.mark.parametrize("limited", [False, True])
def test_any_program_says_the_same(tmp_path, monkeypatch, limited):
    """Whatever the order of calls, on whichever spans, ended ones too, with and without limits: both say the same."""
    for name in _COUNTS + _LENGTHS if limited else ():
        monkeypatch.setenv(name, "3")
    ours, theirs = Ours(tmp_path / "out"), Theirs()

    @settings(unhurried, max_examples=100)
    @given(programs)
    def check(program):
        assert ours.say(lambda tracer: run(tracer, program)) == theirs.say(lambda tracer: run(tracer, program))

    check()
