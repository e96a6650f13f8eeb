"""Where it goes what a span is told: a child's into one line at its end, the stage's into events at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job.identity import SCOPE
from otel_stageio.journal import limits, reader
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Scope, Span
from otel_stageio.record.otel import sdk
from otel_stageio.record.otel.books import Beginning, ChildBook, link
from otel_stageio.record.otel.limits import SpanLimits as OurLimits
from tests.journal.samples import unhurried
from tests.record.otel.calls import ELSEWHERE, HERE, NOWHERE, NOWHERE_BUT_STATE
from tests.record.otel.programs import tell, tellings

if TYPE_CHECKING:
    from pathlib import Path

    from otel_stageio.model import LogRecord


@pytest.fixture
def io(tmp_path: Path) -> StageIO:
    """An open stage."""
    return StageIO("asr", tmp_path / "out", stage_number=6)


def lines(io: StageIO, file: str) -> list[Any]:
    """The records of one of the stage's files."""
    path = str(io.stage_dir / ".stageio" / "001" / file)
    return list(reader.spans(path) if file == "traces.jsonl" else reader.log_records(path))


def told(io: StageIO) -> list[LogRecord]:
    """The events of what the stage's span was told."""
    return [each for each in lines(io, "events.jsonl") if each.event_name.startswith("stageio.span.")]


def said(of: LogRecord) -> dict[str, Any]:
    """What an event says, without what every record carries."""
    return {key: value for key, value in of.attributes.items() if key != names.LOG_RECORD_UID}


# The stage's own span.


@pytest.mark.parametrize(
    ("call", "event", "expected"),
    [
        (
            lambda span: span.set_attribute("a", 1),
            names.SPAN_ATTRIBUTES,
            {"stageio.span.attribute.a": 1},
        ),
        (
            lambda span: span.set_attributes({"a": [1, 2], "b": "c"}),
            names.SPAN_ATTRIBUTES,
            {"stageio.span.attribute.a": [1, 2], "stageio.span.attribute.b": "c"},
        ),
        (
            lambda span: span.add_event("tick"),
            names.SPAN_EVENT,
            {"stageio.span.event.name": "tick"},
        ),
        (
            lambda span: span.add_event("tick", {"a": 1}, 5),
            names.SPAN_EVENT,
            {"stageio.span.event.name": "tick", "stageio.span.event.time": 5, "stageio.span.attribute.a": 1},
        ),
        (
            lambda span: span.add_event("tick", timestamp=2**64 - 1),
            names.SPAN_EVENT,
            {"stageio.span.event.name": "tick", "stageio.span.event.time": "18446744073709551615"},
        ),
        (
            lambda span: span.add_link(ELSEWHERE, {"a": 1}),
            names.SPAN_LINK,
            {
                "stageio.link.trace_id": "0af7651916cd43dd8448eb211c80319c",
                "stageio.link.span_id": "b7ad6b7169203331",
                "stageio.link.remote": True,
                "stageio.span.attribute.a": 1,
            },
        ),
        (
            lambda span: span.add_link(HERE),
            names.SPAN_LINK,
            {
                "stageio.link.trace_id": "0" * 28 + "1234",
                "stageio.link.span_id": "0" * 12 + "5678",
                "stageio.link.remote": False,
            },
        ),
        (
            lambda span: span.set_status(StatusCode.ERROR, "bad"),
            names.SPAN_STATUS,
            {"stageio.span.status.code": 2, "stageio.span.status.message": "bad"},
        ),
        (
            lambda span: span.set_status(Status(StatusCode.OK)),
            names.SPAN_STATUS,
            {"stageio.span.status.code": 1, "stageio.span.status.message": ""},
        ),
        (
            lambda span: span.update_name("decode everything"),
            names.SPAN_NAME,
            {"stageio.span.name.value": "decode everything"},
        ),
    ],
)
def test_each_call_is_an_event_at_once(io, call, event, expected):
    """What the stage's span is told is on record, in events.jsonl, when the call returns."""
    call(io.span)
    (record,) = told(io)
    assert (record.event_name, said(record)) == (event, expected)
    assert record.span_id == trace.format_span_id(io.span.get_span_context().span_id)


def test_an_exception_is_an_event_of_the_span(io):
    """A recorded exception is an event with its type, message and traceback, and no error of the stage's."""
    try:
        {}["key"]
    except KeyError as raised:
        io.span.record_exception(raised)
    (record,) = told(io)
    under = {key.removeprefix(names.SPAN_ATTRIBUTE): of for key, of in said(record).items()}
    assert (under[names.SPAN_EVENT_NAME], under["exception.type"], under["exception.message"]) == (
        *("exception", "KeyError"),
        "'key'",
    )
    assert under["exception.stacktrace"].startswith("Traceback (most recent call last):\n")
    io.finalize()
    assert io.manifest["errors"] == []


def test_nothing_told_is_no_event(io):
    """Calls that say nothing leave nothing on record."""
    io.span.set_attributes({})
    io.span.set_status(StatusCode.UNSET)
    io.span.add_link(NOWHERE)
    io.span.end()
    assert told(io) == []
    assert io.span.is_recording()


def test_what_is_dropped_is_counted(io, monkeypatch):
    """Attributes that are of no use, or too many for an event or link, are counted in the event and on the span."""
    many = {f"key {index}": index for index in range(130)}
    io.span.add_event("tick", many)
    io.span.add_link(HERE, many)
    events = told(io)
    assert [each.attributes[names.SPAN_DROPPED_ATTRIBUTES] for each in events] == [2, 2]
    io.span.set_attributes(many)
    io.finalize()
    (span,) = lines(io, "traces.jsonl")
    assert set(many) <= set(span.attributes)
    assert span.dropped_attributes_count == 0
    assert [each.dropped_attributes_count for each in (*span.events, *span.links)] == [2, 2]


@pytest.mark.oracle
def test_an_attribute_without_a_key_is_counted(io):
    """A key that is none costs its attribute, and the span says so; releases before 1.45 count none."""
    io.span.set_attributes({"": 1, "good": 2})
    io.span.set_attribute("", 3)
    io.finalize()
    (span,) = lines(io, "traces.jsonl")
    assert (span.attributes["good"], span.dropped_attributes_count) == (2, 2)


@settings(unhurried, max_examples=40)
@given(tellings)
def test_the_stage_s_span_says_what_the_sdk_s_does(tmp_path_factory, steps):
    """Whatever the stage's span is told, in whatever order, it says as an SDK span of the same limits says it."""
    many = SpanLimits.UNSET
    unlimited = SpanLimits(max_span_attributes=many, max_events=many)
    theirs = TracerProvider(span_limits=unlimited, shutdown_on_exit=False).get_tracer("tests").start_span("asr")
    tell(theirs, steps)
    theirs.end()
    with StageIO("asr", tmp_path_factory.mktemp("job"), stage_number=6) as io:
        tell(io.span, steps)
    (ours,) = lines(io, "traces.jsonl")
    expected = sdk.read(theirs)
    told = list(ours.attributes.items())[-len(expected.attributes) or len(ours.attributes) :]
    assert dict(told) == expected.attributes
    assert _bare(ours) == _bare(expected)


def _bare(of: Span) -> tuple[Any, ...]:
    """All that a program tells a span, save its attributes; times of now and tracebacks left out."""
    events = [
        (
            each.name,
            each.time_unix_nano if not 10**18 < each.time_unix_nano < 4 * 10**18 else "now",
            {key: value for key, value in each.attributes.items() if key != names.EXCEPTION_STACKTRACE},
            each.dropped_attributes_count,
        )
        for each in of.events
    ]
    name = of.name or "asr"
    return name, events, of.links, of.status_code, of.status_message, of.dropped_attributes_count


def test_100_000_events(io):
    """Of 100,000 events the span shows as many as fit, and how many not; events.jsonl has them all."""
    count = 100_000
    begun = time.monotonic()
    for index in range(count):
        io.span.add_event("tick", {"index": index})
    io.finalize()
    assert time.monotonic() - begun < 60
    assert [each.attributes["stageio.span.attribute.index"] for each in told(io)] == list(range(count))
    (span,) = lines(io, "traces.jsonl")
    assert [each.attributes["index"] for each in span.events] == list(range(len(span.events)))
    assert len(span.events) == 800
    assert (span.dropped_events_count, span.attributes[names.EVENTS_LEFT_OUT]) == (count - 800, count - 800)
    assert io.manifest["degraded"] == []


def test_heavy_events(io):
    """Events of any weight keep the span within its line, and what is left out is counted."""
    for index in range(20):
        io.span.add_event("heavy", {"index": index, "text": "x" * 10**6, **{f"k{n}": "y" * 15_000 for n in range(20)}})
    io.finalize()
    (span,) = lines(io, "traces.jsonl")
    size = (io.stage_dir / ".stageio" / "001" / "traces.jsonl").stat().st_size
    assert size < 512 * 1024
    assert len(span.events) + span.dropped_events_count == 20
    assert span.events
    assert all(each.attributes["index"] == index for index, each in enumerate(span.events))


# A span within the stage.


def begun(**more: Any) -> Beginning:
    """A child's beginning."""
    about: dict[str, Any] = {
        "name": "child",
        "context": trace.SpanContext(1, 2, is_remote=False, trace_state=trace.TraceState([("a", "1")])),
        "parent": trace.SpanContext(1, 3, is_remote=True),
        "kind": SpanKind.CLIENT,
        "attributes": {"a": 1},
        "links": [link(HERE, {"b": 2}, 1)],
        "dropped_links": 4,
        "start": 5,
        "scope": Scope(name="a.library"),
    }
    return Beginning(**about | more)


def test_a_child_is_one_line_at_its_end(io):
    """Nothing of a child span is in traces.jsonl before its end, and then all that it was told, once."""
    heard: list[Span] = []
    book = ChildBook(begun(), io._recorder, OurLimits(events=1, links=1), heard.append)
    book.set_attributes({"b": (1, 2)}, 3)
    book.add_event("first", {}, 0, 6)
    book.add_event("second", {"c": 1}, 2, 7)
    book.add_link(ELSEWHERE, {"d": 1}, 5)
    book.set_status(2, "bad")
    book.update_name("renamed")
    assert not (io.stage_dir / ".stageio" / "001" / "traces.jsonl").exists()
    book.end(8)
    book.end(9)
    (made,) = lines(io, "traces.jsonl")
    assert heard == [made]
    assert (made.name, made.kind, made.flags, made.trace_state) == ("renamed", 3, FLAGS_REMOTE, "a=1")
    assert (made.trace_id, made.span_id, made.parent_span_id) == ("0" * 31 + "1", "0" * 15 + "2", "0" * 15 + "3")
    assert (made.start_time_unix_nano, made.end_time_unix_nano) == (5, 8)
    assert (made.attributes, made.dropped_attributes_count) == ({"a": 1, "b": [1, 2]}, 3)
    (event,) = made.events
    assert (event.name, event.time_unix_nano, event.attributes, event.dropped_attributes_count) == (
        *("second", 7, {"c": 1}),
        2,
    )
    assert made.dropped_events_count == 1
    assert made.links == (link(ELSEWHERE, {"d": 1}, 5),)
    assert made.dropped_links_count == 1 + 4
    assert (made.status_code, made.status_message) == (2, "bad")


def test_times_that_are_not_given_are_now(io):
    """Without times, events and the end are at the moment of the call, by the stage's clock."""
    book = ChildBook(begun(start=io._recorder.clock.now()), io._recorder, OurLimits())
    book.add_event("now", {}, 0, None)
    book.end(None)
    (made,) = lines(io, "traces.jsonl")
    assert made.start_time_unix_nano <= made.events[0].time_unix_nano <= made.end_time_unix_nano <= time.time_ns()


def test_a_root_has_no_parent(io):
    """A span without a parent says so, and is not said to have a remote one."""
    ChildBook(begun(parent=None), io._recorder, OurLimits()).end(9)
    (made,) = lines(io, "traces.jsonl")
    assert (made.parent_span_id, made.flags) == ("", FLAGS_LOCAL)


def test_a_closed_book_takes_nothing(io):
    """Once it has ended a child's book is as it was."""
    heard: list[Span] = []
    book = ChildBook(begun(), io._recorder, OurLimits(), heard.append)
    book.end(9)
    before = book._made(9)
    book.set_attributes({"late": 1}, 1)
    book.add_event("late", {}, 0, 1)
    book.add_link(HERE, {}, 0)
    book.set_status(2, "late")
    book.update_name("late")
    assert book._made(9) == before == heard[0]
    assert not book.open


def test_a_child_that_weighs_too_much_fits_in_its_line(io):
    """A span of many megabytes is cut to a line that readers take, and says that it was."""
    tracer = trace.get_tracer("a.library")
    with tracer.start_as_current_span("heavy") as span:
        span.set_attribute("text", "x" * 10**7)
        for index in range(128):
            span.add_event("event", {"index": index, "text": "y" * 10**5})
            span.add_link(HERE, {"index": index, "text": "z" * 10**5})
    (made,) = lines(io, "traces.jsonl")
    path = io.stage_dir / ".stageio" / "001" / "traces.jsonl"
    assert path.stat().st_size < 512 * 1024
    assert made.attributes[names.CUT]["span"] > limits.RECORD_LIMIT
    assert "x" * 4000 in made.attributes["text"]
    assert made.events[-1].attributes["index"] == 127
    assert len(made.events) + made.dropped_events_count == 128
    assert len(made.links) + made.dropped_links_count == 128


def test_a_scope_that_weighs_too_much(io):
    """A library that says too much of itself does not make every line of its spans too long."""
    huge = {f"key {index}": "x" * 10**5 for index in range(100)}
    tracer = trace.get_tracer("n" * 10**6, "v" * 10**6, schema_url="s" * 10**6, attributes=huge)
    tracer.start_span("one").end()
    tracer.start_span("two").end()
    path = io.stage_dir / ".stageio" / "001" / "traces.jsonl"
    assert path.stat().st_size < 2 * 32 * 1024
    found = [line for piece in reader.pieces(str(path)) for line in piece.lines]
    assert {each.scope.name for each in found} == {"n" * 4076}


def test_each_library_has_its_own_scope(io):
    """A span's line has the scope of the tracer that made it; the stage's own and its steps' have ours."""
    trace.get_tracer("one", "1", schema_url="urn:a", attributes={"a": 1}).start_span("first").end()
    trace.get_tracer("one", "2").start_span("second").end()
    with io.step("third"):
        pass
    io.finalize()
    path = io.stage_dir / ".stageio" / "001" / "traces.jsonl"
    found = [line for piece in reader.pieces(str(path)) for line in piece.lines]
    assert {each.records[0].name: each.scope for each in found} == {
        "first": Scope(name="one", version="1", attributes={"a": 1}, schema_url="urn:a"),
        "second": Scope(name="one", version="2"),
        "third": SCOPE,
        "asr": SCOPE,
    }


def test_a_link_as_the_journal_has_it():
    """Ids as text, whether the other end is another process in the flags; a trace state has no place in OTLP/JSON."""
    assert link(ELSEWHERE, {"a": 1}, 2).flags == FLAGS_REMOTE
    assert link(HERE, {}).flags == FLAGS_LOCAL
    nowhere = link(NOWHERE_BUT_STATE, {})
    assert (nowhere.trace_id, nowhere.span_id) == ("0" * 32, "0" * 16)
