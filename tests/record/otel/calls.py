"""What a program may do with a tracer, one function each: told to the SDK and to a stage, it has to say the same."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import threading
from collections import OrderedDict, namedtuple
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer

#: Each function of this module that takes a tracer and is to be told to both sides.
CALLS: list[Callable[[Tracer], object]] = []

ELSEWHERE = trace.SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C,
    0xB7AD6B7169203331,
    is_remote=True,
    trace_flags=trace.TraceFlags(1),
    trace_state=trace.TraceState([("vendor", "x"), ("other@tenant", "y")]),
)
HERE = trace.SpanContext(0x1234, 0x5678, is_remote=False)
NOWHERE = trace.INVALID_SPAN_CONTEXT
NOWHERE_BUT_STATE = trace.SpanContext(0, 0, is_remote=False, trace_state=trace.TraceState([("a", "1")]))

Point = namedtuple("Point", "x y")  # noqa: PYI024 - a plain one is what is tried


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str, enum.Enum):
    YES = "yes"


class Plain:
    """An object that nobody gave a text."""


class Spoken:
    def __str__(self) -> str:
        return "spoken"


def call(calls: Callable[[Tracer], object]) -> Callable[[Tracer], object]:
    """Take a function into the table."""
    CALLS.append(calls)
    return calls


def raise_and_catch(kind: type[BaseException] = ValueError, *about: Any) -> BaseException:
    """An exception that has been raised."""
    try:
        raise kind(*(about or ("no frames",)))  # noqa: TRY301 - to have a traceback
    except BaseException as raised:  # noqa: BLE001 - whatever it is
        return raised


# Attributes.


@call
def scalars(tracer: Tracer) -> None:
    """Every kind of scalar, as one attribute each."""
    span = tracer.start_span("scalars")
    for key, of in {
        "text": "süß \U0001f600\0\n",
        "empty": "",
        "yes": True,
        "no": False,
        "int": 7,
        "long": 2**63 - 1,
        "short": -(2**63),
        "float": 0.1,
        "minus zero": -0.0,
        "tiny": 5e-324,
        "bytes": b"\0\xff",
        "ascii": b"text",
        "none": None,
    }.items():
        span.set_attribute(key, of)  # type: ignore[arg-type] # None too
    span.end()


@call
def sequences(tracer: Tracer) -> None:
    """Lists, tuples and what counts as such, of one kind and of several."""
    span = tracer.start_span("sequences")
    span.set_attributes(
        {
            "list": ["a", "b"],
            "tuple": (1, 2),
            "range": range(3),
            "empty": [],
            "floats": [0.5, 1.0],
            "bools": [True, False],
            "mixed": ["a", 1, 2.5, True],
            "ints and bools": [1, True],
            "bytes": [b"a", b"b"],
            "bytearray": bytearray(b"ab"),
            "nested": [["a"], ["b", ["c"]]],
            "named": Point(1, 2),
        }
    )
    span.end()


@call
def mappings(tracer: Tracer) -> None:
    """Mappings, nested ones and ones with keys that are no text."""
    span = tracer.start_span("mappings")
    span.set_attribute("dict", {"a": 1, "b": {"c": ["d", {"e": b"f"}]}})
    span.set_attribute("none in it", {"a": None})
    span.set_attribute("ordered", OrderedDict(z=1, a=2))
    span.set_attribute("proxy", MappingProxyType({"a": 1}))
    span.set_attribute("empty", {})
    span.set_attribute("keys", {1: "int", "": "empty", None: "none", Colour.RED: "enum", (1, 2): "tuple"})
    span.end()


@call
def objects(tracer: Tracer) -> None:
    """Objects of other kinds, as attributes and within them."""
    span = tracer.start_span("objects")
    for index, of in enumerate(
        [PurePosixPath("a/b"), Spoken(), Colour.RED, Level.HIGH, Word.YES, 1 + 2j, {3}, frozenset({4}), ValueError("v")]
    ):
        span.set_attribute(f"alone {index}", of)  # type: ignore[arg-type] # that is the point
        span.set_attribute(f"in a list {index}", [of])  # type: ignore[list-item] # the same
        span.set_attribute(f"in a dict {index}", {"key": of})  # type: ignore[dict-item] # the same
    span.set_attribute("textless", Plain())  # type: ignore[arg-type] # the same
    span.set_attribute("textless in a list", [Plain()])  # type: ignore[list-item] # the same
    span.end()


@call
def numpy_scalars(tracer: Tracer) -> None:
    """What numpy hands out for numbers."""
    span = tracer.start_span("numpy")
    span.set_attribute("float64", np.float64(0.5))
    span.set_attribute("str_", np.str_("text"))
    span.set_attribute("bytes_", np.bytes_(b"text"))
    span.end()


@call
def keys(tracer: Tracer) -> None:
    """Keys that are empty or no text, by both setters and from the start."""
    wrong: Any = {"": 1, "good": 2, 3: 4, None: 5, b"bytes": 6, "3": 7}
    span = tracer.start_span("keys", attributes=wrong)
    span.set_attributes(wrong)
    for key, of in wrong.items():
        span.set_attribute(key, of)
    span.add_event("keys", wrong)
    span.add_link(HERE, wrong)
    span.end()


@call
def repeated_keys(tracer: Tracer) -> None:
    """The last value of a key holds, and stands at the end."""
    span = tracer.start_span("repeated", attributes={"a": 1, "b": 2})
    span.set_attribute("a", 3)
    span.set_attributes({"b": 4, "c": 5})
    span.set_attribute("b", "six")
    span.end()


@call
def none_over_a_value(tracer: Tracer) -> None:
    """None, where there was a value."""
    span = tracer.start_span("none", attributes={"a": 1, "b": 2})
    span.set_attribute("a", None)  # type: ignore[arg-type] # against the advice of the API
    span.set_attributes({"b": None})  # type: ignore[dict-item] # the same
    span.end()


@call
def changed_afterwards(tracer: Tracer) -> None:
    """Lists and mappings that change after they were given."""
    of = ["a"]
    around = {"list": of}
    span = tracer.start_span("changed", attributes=around)
    span.add_event("event", around)
    span.set_attribute("later", of)
    of.append("b")
    around["list"] = ["c"]
    span.end()


@call
def no_attributes(tracer: Tracer) -> None:
    """Empty mappings and None, wherever attributes go."""
    span = tracer.start_span("no attributes", attributes={})
    span.set_attributes({})
    span.add_event("one", None)
    span.add_event("two", {})
    span.add_link(HERE, None)
    span.add_link(HERE, {})
    span.end()


@call
def too_many_attributes(tracer: Tracer) -> None:
    """More attributes than there may be, in each place that takes some."""
    many = {f"key {index}": index for index in range(150)}
    span = tracer.start_span("too many", attributes=many)
    span.add_event("event", many)
    span.add_link(HERE, many)
    span.set_attributes({f"more {index}": index for index in range(20)})
    span.set_attribute("key 149", "again")
    span.set_attribute("one more", 1)
    span.end()


@call
def long_texts(tracer: Tracer) -> None:
    """Texts that a limit of length may cut, wherever they stand."""
    text = "süß" * 20
    of = {"text": text, "list": [text, text], "short": "s", "bytes": b"b" * 60, "deep": {"list": [{"text": text}]}}
    span = tracer.start_span(text, attributes=of)
    span.set_attribute("later", text)
    span.set_attributes({"later still": text})
    span.add_event(text, of)
    span.add_link(HERE, of)
    span.record_exception(raise_and_catch(ValueError, text))
    span.set_status(StatusCode.ERROR, text)
    span.end()


# Events.


@call
def events(tracer: Tracer) -> None:
    """Events with and without attributes and times, equal ones too."""
    span = tracer.start_span("events")
    span.add_event("plain")
    span.add_event("plain")
    span.add_event("with attributes", {"a": [1, 2], "b": None})  # type: ignore[dict-item] # None too
    span.add_event("at a time", {"a": 1}, 1_000)
    span.add_event("at zero", timestamp=0)
    span.add_event("at the end of time", timestamp=2**64 - 1)
    span.add_event("")
    span.end()


@call
def too_many_events(tracer: Tracer) -> None:
    """More events than there may be: the newest stay."""
    with tracer.start_as_current_span("many events") as span:
        for index in range(150):
            span.add_event(f"event {index}", {"index": index})


# Links.


@call
def links(tracer: Tracer) -> None:
    """Links from the start and later, to here and elsewhere, the same one twice."""
    given = [Link(ELSEWHERE), Link(HERE, {"a": 1, "": 2}), Link(HERE, {"a": 1})]
    span = tracer.start_span("links", links=given)
    span.add_link(ELSEWHERE, {"role": "input"})
    span.add_link(HERE)
    span.end()


@call
def links_to_nowhere(tracer: Tracer) -> None:
    """Links to invalid contexts: kept where they carry something."""
    told = [(NOWHERE, None), (NOWHERE, {"a": 1}), (NOWHERE_BUT_STATE, None), (NOWHERE, {})]
    span = tracer.start_span("nowhere", links=[Link(*each) for each in told])
    for each in told:
        span.add_link(*each)
    span.add_link(None)  # type: ignore[arg-type] # that is the point
    span.end()


@call
def links_of_none(tracer: Tracer) -> None:
    """No links, said in each way."""
    for given in (None, (), [], [None]):
        tracer.start_span("none", links=given).end()  # type: ignore[arg-type] # that is the point


@call
def links_in_a_tuple(tracer: Tracer) -> None:
    """The newest stay of a tuple of links that is too long; each one later pushes another out."""
    span = tracer.start_span("many", links=tuple(Link(HERE, {"index": index}) for index in range(130)))
    for index in range(5):
        span.add_link(HERE, {"later": index})
    span.end()


# Kinds, names, times.


@call
def kinds(tracer: Tracer) -> None:
    """Every kind of span."""
    for kind in SpanKind:
        tracer.start_span(kind.name, kind=kind).end()
        with tracer.start_as_current_span(kind.name, kind=kind):
            pass


@call
def another_name(tracer: Tracer) -> None:
    """A name that changes, and one of no length."""
    span = tracer.start_span("first")
    span.update_name("second")
    span.update_name("third \u2028")
    span.end()
    unnamed = tracer.start_span("named")
    unnamed.update_name("")
    unnamed.end()
    tracer.start_span("").end()


@call
def given_times(tracer: Tracer) -> None:
    """Start and end as given, also in the wrong order."""
    tracer.start_span("given", start_time=1_000).end(2_000)
    tracer.start_span("backwards", start_time=2_000).end(1_000)
    tracer.start_span("zero", start_time=0).end(0)
    tracer.start_span("the end", start_time=2**64 - 1).end(end_time=2**64 - 1)
    with tracer.start_as_current_span("as current", start_time=5):
        pass


# Status.


@call
def statuses(tracer: Tracer) -> None:
    """Every order of statuses: OK is the last word, UNSET changes nothing."""
    ok, error, unset = StatusCode.OK, StatusCode.ERROR, StatusCode.UNSET
    for told in (
        [ok],
        [error],
        [unset],
        [error, ok],
        [ok, error],
        [error, unset],
        [ok, unset],
        [error, error],
        [unset, ok, error, unset],
    ):
        span = tracer.start_span("+".join(each.name for each in told))
        for index, each in enumerate(told):
            span.set_status(each, f"number {index}" if each is error else None)
        span.end()


@call
def status_objects(tracer: Tracer) -> None:
    """Status as an object, its description beside it and in the wrong place."""
    for status, description in (
        (Status(StatusCode.ERROR, "of the status"), None),
        (Status(StatusCode.ERROR, "of the status"), "beside it"),
        (Status(StatusCode.ERROR), "beside it"),
        (Status(StatusCode.OK, "of an OK"), None),
        (StatusCode.OK, "of an OK"),
        (Status(), "of nothing"),
        (Status(StatusCode.ERROR, ""), None),
        (StatusCode.ERROR, 5),
    ):
        span = tracer.start_span("status")
        span.set_status(status, description)  # type: ignore[arg-type] # a number too
        span.end()


@call
def what_is_no_status(tracer: Tracer) -> None:
    """What is no status changes none."""
    for wrong in ("OK", 1, None, object()):
        span = tracer.start_span("no status")
        span.set_status(StatusCode.ERROR, "told")
        span.set_status(wrong)  # type: ignore[arg-type] # that is the point
        span.end()


# Exceptions.


@call
def exceptions(tracer: Tracer) -> None:
    """Exceptions as events: raised and not, with attributes of their own, a time, and said to have escaped."""
    span = tracer.start_span("exceptions")
    span.record_exception(raise_and_catch())
    span.record_exception(ValueError("never raised"))
    span.record_exception(raise_and_catch(KeyError, "key"), {"a": 1, "exception.message": "another"})
    span.record_exception(raise_and_catch(), timestamp=1_000)
    span.record_exception(raise_and_catch(), escaped=True)
    span.record_exception(raise_and_catch(), {"": 1}, 2_000, True)  # noqa: FBT003 - the API's signature
    span.end()


@call
def kinds_of_exceptions(tracer: Tracer) -> None:
    """Exceptions of other modules, without a text, of many lines, of the kind that ends programs."""

    class OurError(Exception):
        pass

    Moduleless = type("Moduleless", (Exception,), {"__module__": ""})  # noqa: N806 - a class

    span = tracer.start_span("kinds of exceptions")
    for kind, *about in (
        (OurError, "of a class within a function"),
        (Moduleless, "of no module"),
        (ValueError, ""),
        (ValueError, "many\nlines\n\n"),
        (ValueError, "a", "b"),
        (asyncio.CancelledError, "cancelled"),
        (KeyboardInterrupt, "pressed"),
        (SystemExit, 3),
        (StopIteration, 5),
    ):
        span.record_exception(raise_and_catch(kind, *about))
    span.end()


@call
def chained_exceptions(tracer: Tracer) -> None:
    """Exceptions with a cause, and with another in whose handling they arose."""
    span = tracer.start_span("chained")
    try:
        try:
            {}["key"]
        except KeyError as first:
            raise ValueError("caused") from first
    except ValueError as raised:
        span.record_exception(raised)
    try:
        try:
            {}["key"]
        except KeyError:
            raise ValueError("in the handling")  # noqa: B904 - that is the point
    except ValueError as raised:
        span.record_exception(raised)
    span.end()


@call
def raising_in_current_spans(tracer: Tracer) -> None:
    """An exception that leaves start_as_current_span is recorded, sets the status, and goes on."""
    for options in (
        {},
        {"record_exception": False},
        {"set_status_on_exception": False},
        {"record_exception": False, "set_status_on_exception": False},
    ):
        with contextlib.suppress(ValueError), tracer.start_as_current_span("raising", **options):
            raise ValueError("no frames")
    with contextlib.suppress(ValueError), tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner"):
        raise ValueError("through both")


@call
def raising_in_plain_spans(tracer: Tracer) -> None:
    """The same of a span that is a context manager itself, and is not current."""
    for options in (
        {},
        {"record_exception": False},
        {"set_status_on_exception": False},
        {"record_exception": False, "set_status_on_exception": False},
    ):
        with contextlib.suppress(ValueError), tracer.start_span("raising", **options):
            raise ValueError("no frames")
    with contextlib.suppress(KeyError), tracer.start_span("ended before") as span:
        span.end()
        raise KeyError("late")


@call
def leaving_otherwise(tracer: Tracer) -> None:
    """KeyboardInterrupt, SystemExit and GeneratorExit leave spans of both kinds."""
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError):
        with contextlib.suppress(kind), tracer.start_as_current_span("current"):
            raise kind("leaving")
        with contextlib.suppress(kind), tracer.start_span("plain"):
            raise kind("leaving")


@call
def status_before_the_exception(tracer: Tracer) -> None:
    """OK stands against an exception, an error that was told does not."""
    for told in (Status(StatusCode.OK), Status(StatusCode.ERROR, "told")):
        with contextlib.suppress(ValueError), tracer.start_as_current_span("told") as span:
            span.set_status(told)
            raise ValueError("no frames")


# Parents.


@call
def nested(tracer: Tracer) -> None:
    """Spans within spans, and beside each other."""
    with tracer.start_as_current_span("outer") as outer:
        with tracer.start_as_current_span("first"):
            tracer.start_span("leaf").end()
            trace.get_current_span().set_attribute("current", "first")
        with tracer.start_as_current_span("second"):
            outer.add_event("from within")
        trace.get_current_span().set_attribute("current", "outer")
    tracer.start_span("after").end()


@call
def plain_spans_are_not_current(tracer: Tracer) -> None:
    """A span that start_span gives is no parent, until it is made current."""
    span = tracer.start_span("plain")
    tracer.start_span("sibling").end()
    with trace.use_span(span):
        tracer.start_span("child").end()
    with trace.use_span(span, end_on_exit=True):
        tracer.start_span("another child").end()


@call
def parents_by_context(tracer: Tracer) -> None:
    """A parent that is given: a live span, one that has ended, one elsewhere, one that is invalid, none."""
    span = tracer.start_span("parent")
    around = trace.set_span_in_context(span)
    tracer.start_span("of a live one", around).end()
    span.end()
    tracer.start_span("of an ended one", around).end()
    elsewhere = trace.set_span_in_context(trace.NonRecordingSpan(ELSEWHERE))
    tracer.start_span("of one elsewhere", elsewhere).end()
    with tracer.start_as_current_span("current, of one elsewhere", context=elsewhere):
        tracer.start_span("its child").end()
    tracer.start_span("of an invalid one", trace.set_span_in_context(trace.INVALID_SPAN)).end()
    tracer.start_span("of none", Context()).end()
    tracer.start_span("of none, with baggage", baggage.set_baggage("a", "b", Context())).end()


@call
def kept_open(tracer: Tracer) -> None:
    """A current span that is not ended on exit, and goes on."""
    with tracer.start_as_current_span("kept open", end_on_exit=False) as span:
        tracer.start_span("child").end()
    span.add_event("still open")
    span.end()


# Functions, threads and tasks.


@call
def decorated(tracer: Tracer) -> None:
    """A decorated function, called twice and once with an exception: a span for each call."""

    @tracer.start_as_current_span("decorated", attributes={"a": 1}, kind=SpanKind.CLIENT)
    def work(of: int) -> int:
        trace.get_current_span().set_attribute("of", of)
        return 1 // of

    assert [work(1), work(2)] == [1, 0]
    with contextlib.suppress(ZeroDivisionError):
        work(0)


@call
def decorated_async(tracer: Tracer) -> None:
    """A decorated async function: its span is as long as it runs, and is current in it."""

    @tracer.start_as_current_span("decorated")
    async def work(of: int) -> int:
        await asyncio.sleep(0)
        trace.get_current_span().set_attribute("of", of)
        with tracer.start_as_current_span("within"):
            await asyncio.sleep(0)
        return 1 // of

    async def all_of_it() -> None:
        assert await work(2) == 0
        with contextlib.suppress(ZeroDivisionError):
            await work(0)

    asyncio.run(all_of_it())


@call
def tasks(tracer: Tracer) -> None:
    """Tasks at the same time: each has a current span of its own."""

    async def work(name: str, waits: int) -> None:
        with tracer.start_as_current_span(name) as span:
            for _ in range(waits):
                await asyncio.sleep(0)
            assert trace.get_current_span() is span
            tracer.start_span(f"child of {name}").end()

    async def together() -> None:
        with tracer.start_as_current_span("around"):
            await asyncio.gather(work("long", 3), work("short", 1))

    asyncio.run(together())


@call
def another_thread(tracer: Tracer) -> None:
    """A span that one thread starts and another one tells and ends."""
    span = tracer.start_span("handed over")

    def work() -> None:
        span.set_attribute("from", "there")
        span.add_event("there")
        span.end()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


# After the end.


@call
def after_the_end(tracer: Tracer) -> None:
    """A span that has ended takes nothing more, and is no less a parent."""
    span = tracer.start_span("ended", attributes={"a": 1})
    span.add_event("in time")
    span.end(1_000)
    span.set_attribute("late", 1)
    span.set_attributes({"a": 2})
    span.add_event("late")
    span.add_link(HERE)
    span.update_name("late")
    span.set_status(StatusCode.ERROR, "late")
    span.record_exception(raise_and_catch())
    span.end(2_000)
    span.end()
    assert not span.is_recording()
    with trace.use_span(span):
        tracer.start_span("its child").end()
    with contextlib.suppress(ValueError), trace.use_span(span, end_on_exit=True):
        raise ValueError("late")


@call
def never_ended(tracer: Tracer) -> None:
    """A span that does not end is not told."""
    tracer.start_span("never ended").set_attribute("a", 1)
    tracer.start_span("ended").end()
