"""The span that a program sees, whatever it is told. That it says what the SDK's says is in test_conformance.py."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import Link, Status, StatusCode

from otel_stageio import StageIO
from otel_stageio.journal import reader
from otel_stageio.record.otel import span as module
from otel_stageio.record.otel.span import JournalSpan, moment
from tests.record.otel.calls import HERE, NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_stageio.model import Span


class Hostile:
    """Raises at whatever it is asked."""

    def _raise(self, *_: object) -> Any:
        raise RuntimeError("hostile")

    __str__ = __repr__ = __bool__ = __len__ = __iter__ = __int__ = __float__ = __index__ = __getitem__ = _raise
    items = keys = _raise


class HostileSequence(Hostile, Sequence):
    pass


class HostileMapping(Hostile, Mapping):
    pass


class HostileError(Exception):
    __str__ = __repr__ = Hostile._raise


HOSTILE = [Hostile(), HostileSequence(), HostileMapping(), object(), Hostile, [Hostile()], {"a": Hostile()}]


def kind(of: object) -> str:
    """What a test with this argument is called."""
    return type(of).__name__


@pytest.fixture
def io(tmp_path: Path) -> StageIO:
    """An open stage."""
    return StageIO("asr", tmp_path / "out", stage_number=6)


@pytest.fixture(params=["child", "stage"])
def span(io: StageIO, request: pytest.FixtureRequest) -> trace.Span:
    """A span of ours, of both kinds."""
    return io.span if request.param == "stage" else trace.get_tracer("tests").start_span("child")


@pytest.fixture
def ended(io: StageIO, span: trace.Span, told) -> Callable[[], Span]:
    """Give a function that ends the span and the stage, whose record must be whole, and gives what was written."""

    def end() -> Span:
        span.end()
        io.finalize()
        kept = told(io)
        assert kept.manifest["degraded"] == []
        if span is io.span:
            return kept.span
        return next(each for each in written(io) if each.name != "asr")

    return end


def written(io: StageIO) -> list[Span]:
    """The spans of traces.jsonl."""
    return list(reader.spans(str(io.stage_dir / ".stageio" / "001" / "traces.jsonl")))


def test_the_stage_s_span_is_the_current_one(io, told):
    """Inside a stage the current span is its own, recording until the stage ends, in whatever thread ends it."""
    assert trace.get_current_span() is io.span
    assert isinstance(io.span, trace.Span)
    assert io.span.is_recording()
    ids = io.span.get_span_context()
    assert (ids.is_valid, ids.is_remote, ids.trace_flags) == (True, False, 1)
    io.finalize()
    assert not io.span.is_recording()
    assert trace.get_current_span() is trace.INVALID_SPAN
    kept = told(io).span
    assert (int(kept.trace_id, 16), int(kept.span_id, 16)) == (ids.trace_id, ids.span_id)


def test_a_span_is_recording_until_it_ends(io):
    """A child span records until its end, and goes on having its ids."""
    span = trace.get_tracer("tests").start_span("child")
    ids = span.get_span_context()
    assert span.is_recording()
    assert ids.trace_id == io.span.get_span_context().trace_id
    assert ids.span_id != io.span.get_span_context().span_id
    span.end()
    assert not span.is_recording()
    assert span.get_span_context() is ids


def test_no_sdk_is_loaded(run_script, tmp_path):
    """All of the API on the stage's span and on children loads nothing of OpenTelemetry's SDK."""
    done = run_script(
        f"""
        import asyncio, sys
        from opentelemetry import trace
        from otel_stageio import StageIO

        tracer = trace.get_tracer("a.library", "1.2", schema_url="urn:schema", attributes={{"a": 1}})

        @tracer.start_as_current_span("decorated")
        async def work():
            tell(trace.get_current_span())

        def tell(span):
            span.set_attribute("a", 1)
            span.set_attributes({{"b": [2.5], "c": b"d"}})
            span.add_event("event", {{"a": 1}})
            span.add_link(span.get_span_context(), {{"a": 1}})
            span.record_exception(ValueError("no frames"))
            span.set_status(trace.Status(trace.StatusCode.ERROR, "bad"))
            span.update_name("renamed")

        with StageIO("asr", {str(tmp_path / "out")!r}, stage_number=6) as io:
            tell(io.span)
            asyncio.run(work())
            with tracer.start_as_current_span("child", links=[trace.Link(io.span.get_span_context())]) as span:
                tell(span)
        print([name for name in sys.modules if name.startswith("opentelemetry.sdk")])
        """
    )
    assert (done.stderr, done.stdout.splitlines()[-1]) == ("", "[]")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (2**63, str(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        ("a\udc80b", "a\\udc80b"),
        ([2**64, 2**65], [str(2**64), str(2**65)]),
        (["\udc80"], ["\\udc80"]),
        ([float("nan"), 1.0], ["NaN", 1.0]),
        (True, True),
    ],
    ids=repr,
)
def test_what_otlp_cannot_hold(span, ended, value, kept):
    """What the SDK takes and no exporter can send is kept as the journal keeps such values everywhere: as text."""
    span.set_attribute("key \udc80", value)
    span.add_event("event \udc80", {"key \udc80": value})
    span.add_link(HERE, {"key \udc80": value})
    made = ended()
    assert made.attributes["key \\udc80"] == kept
    (event,), (link,) = made.events, made.links
    assert (event.name, event.attributes) == ("event \\udc80", {"key \\udc80": kept})
    assert link.attributes == {"key \\udc80": kept}


@pytest.mark.parametrize("value", HOSTILE, ids=kind)
def test_no_value_breaks_anything(span, ended, value):
    """Any object as a value, wherever values go, raises nothing and costs no other attribute."""
    for number, tell in enumerate(
        [
            span.set_attributes,
            lambda about: [span.set_attribute(key, of) for key, of in about.items()],
            lambda about: span.add_event("event", about),
            lambda about: span.add_link(HERE, about),
            lambda about: span.record_exception(ValueError("no frames"), about),
        ]
    ):
        tell({f"before {number}": 1, "hostile": value, f"after {number}": 2})
    made = ended()
    assert {key for key in made.attributes if "before" in key or "after" in key} == {
        *("before 0", "after 0", "before 1", "after 1")
    }
    told, exception = made.events
    assert (told.attributes["before 2"], told.attributes["after 2"]) == (1, 2)
    assert (exception.attributes["before 4"], exception.attributes["after 4"]) == (1, 2)
    assert (made.links[0].attributes["before 3"], made.links[0].attributes["after 3"]) == (1, 2)


@pytest.mark.oracle
def test_a_value_that_cannot_be_looked_at_is_told_by_its_text(span, ended):
    """What OpenTelemetry's rules cannot clean stands as text; older releases leave out such values of any kind."""
    around: list[Any] = [1]
    around.append(around)
    span.set_attribute("around", around)
    span.set_attribute("hostile", Hostile())
    span.set_attributes({"sequence": HostileSequence()})
    made = ended()
    assert made.attributes["around"] == "[1, '<cycle>']"
    assert made.attributes["hostile"].startswith("<tests.record.otel.test_span.Hostile: repr failed")
    assert made.attributes["sequence"].startswith("<tests.record.otel.test_span.HostileSequence: repr failed")


@pytest.mark.oracle
def test_values_that_nest_deeply(span, ended):
    """Lists within lists are cut where readers of OTLP would refuse the line."""
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    span.set_attribute("deep", deep)
    made = ended()
    levels, inner = 0, made.attributes["deep"]
    while isinstance(inner, list):
        levels, inner = levels + 1, inner[0]
    assert levels == 24


@pytest.mark.parametrize("attributes", [*HOSTILE, 5, "text", [1], [("a", 1)], b"bytes"], ids=kind)
def test_what_are_no_attributes(span, ended, attributes):
    """What is no mapping of attributes is none, wherever it is given, and everything else is kept."""
    span.set_attributes(attributes)
    span.add_event("event", attributes)
    span.add_link(HERE, attributes)
    span.record_exception(ValueError("no frames"), attributes)
    made = ended()
    assert [each.name for each in made.events] == ["event", "exception"]
    assert made.events[1].attributes["exception.message"] == "no frames"
    assert len(made.links) == 1


@pytest.mark.parametrize("key", [5, None, b"bytes", (), [], {}, Hostile()], ids=kind)
def test_what_is_no_key(span, ended, key):
    """An attribute whose key is no text is dropped, even where no dict could have that key."""
    span.set_attribute(key, 1)
    span.set_attribute("good", 2)
    made = ended()
    assert made.attributes["good"] == 2
    assert not {"5", "None", "b'bytes'"} & set(made.attributes)


@pytest.mark.parametrize("name", [None, 5, b"bytes", ["list"], Hostile(), "\udc80"], ids=kind)
def test_what_is_no_name(io, span, ended, name):
    """A name that is no text is taken as its text, of spans and of events."""
    span.add_event(name)
    span.update_name(name)
    made = ended()
    assert made.name == made.events[0].name
    assert isinstance(made.name, str)


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        (0, 0),
        (5, 5),
        (2**64 - 1, 2**64 - 1),
        (5.5, 5),
        ("7", 7),
        (True, 1),
        (None, None),
        (-1, None),
        (2**64, None),
        ("soon", None),
        (float("nan"), None),
        (float("inf"), None),
        ([], None),
        (Hostile(), None),
    ],
    ids=lambda of: repr(of) if isinstance(of, (int, float, str)) else kind(of),
)
def test_what_is_a_time(span, ended, at, kept):
    """A time is whole nanoseconds that OTLP can hold; anything else counts as not given."""
    assert moment(at) == kept
    span.add_event("event", timestamp=at)
    span.record_exception(ValueError("no frames"), timestamp=at)
    span.end(at)
    made = ended()
    now = [each.time_unix_nano for each in made.events]
    assert now == [kept, kept] if kept is not None else all(made.start_time_unix_nano <= each for each in now)
    if made.name == "child":
        assert made.end_time_unix_nano == (made.end_time_unix_nano if kept is None else kept)
        assert made.end_time_unix_nano > 10**18 or kept is not None


@pytest.mark.parametrize("status", [None, "OK", 2, Hostile(), Status("wrong"), StatusCode.UNSET], ids=kind)
def test_what_is_no_status(span, ended, status):
    """What is no status, or says that there is none, changes nothing."""
    span.set_status(StatusCode.ERROR, "told")
    span.set_status(status, "description")
    made = ended()
    assert (made.status_code, made.status_message) == (2, "told")


@pytest.mark.parametrize("raised", [HostileError(), "a text", None, ValueError, Hostile()], ids=kind)
def test_what_is_hardly_an_exception(span, ended, raised):
    """An exception without a text, or what is none at all, is an event with the type of what was given."""
    span.record_exception(raised)
    (event,) = ended().events
    of = type(raised)
    bare = of.__qualname__ if of.__module__ == "builtins" else f"{of.__module__}.{of.__qualname__}"
    assert event.attributes["exception.type"] == bare
    assert event.attributes["exception.stacktrace"]
    assert event.attributes["exception.escaped"] == "False"


def test_an_exception_without_a_text_leaves_a_plain_span(io):
    """A span that is a context manager ends by an exception whose text cannot be had, and lets that one pass."""
    with pytest.raises(HostileError), trace.get_tracer("tests").start_span("child"):
        raise HostileError
    (made,) = written(io)
    assert made.status_code == 2
    assert made.status_message == "HostileError: [no text: its __str__ raised RuntimeError]"


@pytest.mark.parametrize("where", [None, NOWHERE, "text", 5, Hostile(), trace.INVALID_SPAN], ids=kind)
def test_links_to_nowhere(io, told, where):
    """A link to what is no context, or an invalid one, is passed over, from the start and later."""
    span = trace.get_tracer("tests").start_span("child", links=[Link(where), where, Link(HERE)])
    span.add_link(where)
    io.span.add_link(where)
    span.end()
    io.finalize()
    (made,) = [each for each in written(io) if each.name == "child"]
    assert [int(each.span_id, 16) for each in made.links] == [HERE.span_id]
    assert told(io).span.links == ()


def test_ended_spans_are_used_again(io, told):
    """Everything that is said to a span after its end is passed over: of a child's silently, of a stage's on record."""
    child = trace.get_tracer("tests").start_span("child")
    child.end()
    io.finalize()
    before = written(io)
    for span in (child, io.span):
        span.set_attribute("late", 1)
        span.set_attributes({"late": 2})
        span.add_event("late")
        span.add_link(HERE)
        span.record_exception(ValueError("late"))
        span.set_status(StatusCode.ERROR, "late")
        span.update_name("late")
        span.end()
        span.end(5)
    assert written(io) == before
    kept = told(io)
    assert kept.manifest["degraded"] == []
    calls = ["set_attribute", "set_attribute", "add_event", "add_link", "add_event", "set_status", "update_name"]
    assert [each.attributes["stageio.late"] for each in kept.events if "stageio.late" in each.attributes] == calls


def test_a_forked_child_does_not_end_what_its_parent_began(io):
    """A child process that unwinds its parent's spans writes none of them; what it begins itself it writes."""
    tracer = trace.get_tracer("tests")
    with tracer.start_as_current_span("around"):
        child = os.fork()
        if child == 0:
            try:
                tracer.start_span("of the child").end()
                trace.get_current_span().end()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert [each.name for each in written(io)] == ["of the child"]
        assert trace.get_current_span().is_recording()
    assert [each.name for each in written(io)] == ["of the child", "around"]


def test_many_threads_tell_one_span(io, span, ended, monkeypatch):
    """What several threads tell a span at once is all there, or counted."""
    own = span is io.span

    def work(number: int) -> None:
        for index in range(100):
            span.add_event("event", {"of": number, "index": index})
            span.set_attribute(f"{number} {index}", index)
            span.add_link(HERE, {"index": index})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = ended()
    assert len(made.events) + made.dropped_events_count == 400
    assert len(made.links) + made.dropped_links_count == 400
    if own:
        assert {f"{number} {index}" for number in range(4) for index in range(100)} <= set(made.attributes)
    else:
        assert len(made.attributes) + made.dropped_attributes_count == 400


def test_a_generator_that_is_closed_elsewhere(io):
    """A current span in a generator that another thread closes ends all the same, and nothing is raised."""

    def steps():
        with trace.get_tracer("tests").start_as_current_span("in a generator"):
            yield

    running = steps()
    next(running)
    thread = threading.Thread(target=running.close)
    thread.start()
    thread.join()
    assert [each.name for each in written(io)] == ["in a generator"]
    assert written(io)[0].status_code == 0


def test_trouble_of_ours_stays_ours(io, span, monkeypatch, capsys, told):
    """Where recording itself fails, the program goes on, and the manifest says so once."""

    def fail(*_: object) -> None:
        raise OSError("broken")

    for name in ("set_attributes", "add_event", "add_link", "set_status", "update_name"):
        monkeypatch.setattr(type(span._book), name, fail)
    span.set_attribute("a", 1)
    span.set_attributes({"a": 1})
    span.add_event("event")
    span.add_link(HERE)
    span.record_exception(ValueError("no frames"))
    span.set_status(StatusCode.OK)
    span.update_name("name")
    io.refresh()
    io.finalize()
    trouble = "cannot record what a span was told: OSError: broken"
    assert io.manifest["degraded"] == [trouble]
    assert capsys.readouterr().err.count(trouble) == 1


def test_every_method_of_the_api_is_ours():
    """Nothing of the API's Span is left to its own default, which does nothing or warns."""
    public = {name for name in vars(trace.Span) if not name.startswith("_")} | {"__exit__"}
    assert public <= set(vars(JournalSpan))
    assert isinstance(module.JournalSpan, type)
