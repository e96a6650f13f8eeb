"""Trace context into the stage and out of it: what is taken, what is passed over, and what goes on."""

from __future__ import annotations

import logging
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from otel_stageio.record.otel import carrier

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
PASSED_OVER = "TRACEPARENT={!r} is no W3C trace parent (version-trace id-span id-flags, in lower-case hex)"


def taken(**environ: str) -> str | None:
    """The parent that these variables give, as ``trace-span-flags``; None where it is none."""
    parent = carrier.incoming(environ).parent
    if parent is None:
        return None
    assert parent.is_remote
    return f"{parent.trace_id:032x}-{parent.span_id:016x}-{parent.trace_flags:02x}"


def refused(environ: dict[str, str]) -> list[str]:
    """The variables that were passed over."""
    return [problem.partition("=")[0] for problem in carrier.incoming(environ).problems]


# In.


def test_nothing_said():
    """Without variables and without a current span there is no parent, and nothing to tell."""
    found = carrier.incoming({})
    assert (dict(found.context), found.parent, found.problems) == ({}, None, ())


@pytest.mark.parametrize("empty", ["TRACEPARENT", "TRACESTATE", "BAGGAGE"])
def test_an_empty_variable_is_unset(empty):
    """An empty variable is as if it were not there."""
    assert (taken(**{empty: ""}), carrier.incoming({empty: ""}).problems) == (None, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PARENT, f"{TRACE}-{SPAN}-01"),
        (f"00-{TRACE}-{SPAN}-00", f"{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-03", f"{TRACE}-{SPAN}-03"),
        (f" {PARENT}\n", f"{TRACE}-{SPAN}-01"),
        (f"01-{TRACE}-{SPAN}-01", f"{TRACE}-{SPAN}-01"),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", f"{TRACE}-{SPAN}-01"),
    ],
)
def test_trace_parent(text, expected):
    """A trace parent of this version or a later one is the stage's parent, in another process."""
    assert (taken(TRACEPARENT=text), carrier.incoming({"TRACEPARENT": text}).problems) == (expected, ())


@pytest.mark.parametrize(
    "text",
    [
        "  ",
        "x",
        PARENT[:-1],
        f"{PARENT}0",
        f"{PARENT}-more",
        PARENT.upper(),
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        "\u0660" * 55,
        "\udcff",
        f"01-{TRACE}-{SPAN}-01-{'x' * 500}",
        "0" * 1_000_000,
    ],
)
def test_trace_parent_that_is_none(text, caplog):
    """Of the wrong length, case, version or form, it is passed over, told in one sentence, and nobody warns."""
    found = carrier.incoming({"TRACEPARENT": text, "TRACESTATE": "a=1"})
    assert (found.parent, dict(found.context)) == (None, {})
    assert found.problems == (f"{PASSED_OVER.format(text[:200])}; it is passed over.",)
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []


def test_trace_state_goes_with_its_parent():
    """A trace state is the parent's; alone it is nobody's."""
    found = carrier.incoming({"TRACEPARENT": PARENT, "TRACESTATE": " congo=t61rcWkgMzE , rojo=00f067aa0ba902b7,"})
    assert found.parent is not None
    assert found.parent.trace_state.to_header() == "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
    assert (taken(TRACESTATE="a=1"), refused({"TRACESTATE": "a=1"})) == (None, [])


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "=1",
        "A=1",
        "a=1,a=2",
        "a b=1",
        "a=\u00e4",
        "a=1;b=2,c=\x00",
        "a=b=c",
        "a= ",
        ",".join(f"k{n}=1" for n in range(33)),
        f"a={'x' * 257}",
        ",".join(f"k{n}={'x' * 200}" for n in range(3)),
    ],
)
def test_trace_state_that_is_none(text, caplog):
    """A malformed trace state is passed over and told; the parent stays, and nobody warns."""
    environ = {"TRACEPARENT": PARENT, "TRACESTATE": text}
    found = carrier.incoming(environ)
    assert found.parent is not None
    assert found.parent.trace_state.to_header() == ""
    assert found.problems == (f"TRACESTATE={text[:200]!r} is no W3C trace state; it is passed over.",)
    assert [each for each in caplog.records if each.levelno > logging.DEBUG] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user=ada", {"user": "ada"}),
        ("a=1,b=2", {"a": "1", "b": "2"}),
        (" a = 1 \t,\tb=2 ", {"a": "1", "b": "2"}),
        ("name=gr%C3%B6%C3%9Fer", {"name": "größer"}),
        ("a=", {"a": ""}),
        ("a=1;p=x ; q", {"a": "1;p=x;q"}),
    ],
)
def test_baggage(text, expected, caplog):
    """Baggage is in the stage's context, with a parent and without one."""
    for environ in ({"BAGGAGE": text}, {"BAGGAGE": text, "TRACEPARENT": PARENT}):
        found = carrier.incoming(environ)
        assert dict(baggage.get_all(found.context)) == expected
        assert found.problems == ()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada", {}),
        ("=ada", {}),
        ("a b=1", {}),
        ("a=1,,b=2", {"a": "1", "b": "2"}),
        ("a=1,b", {"a": "1"}),
        ("a=\u00e4,b=2", {"b": "2"}),
        ("a=1;,b=2", {"b": "2"}),
        (",", {}),
        (f"a={'x' * 5000},b=2", {"b": "2"}),
        (f"a={'x' * 4000},b={'x' * 4000},c={'x' * 4000}", {}),
        (",".join(f"k{n}=1" for n in range(181)), {}),
        ("a=" + " " * 4000 + "\x01", {}),
    ],
)
def test_baggage_that_is_none(text, expected, caplog):
    """Of malformed baggage what is well formed is kept, the rest is passed over and told; nobody warns."""
    began = time.monotonic()
    found = carrier.incoming({"BAGGAGE": text})
    assert dict(baggage.get_all(found.context)) == expected
    some = ", or not all of it" if expected else ""
    assert found.problems == (f"BAGGAGE={text[:200]!r} is no W3C baggage{some}; it is passed over.",)
    assert caplog.records == []
    assert time.monotonic() - began < 1


def test_current_span_goes_before_the_environment():
    """Where the host has a current span, it is the parent with all of its context, and the environment is not asked."""
    theirs = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))
    around = baggage.set_baggage("user", "ada", trace.set_span_in_context(NonRecordingSpan(theirs)))
    context.attach(around)
    found = carrier.incoming({"TRACEPARENT": PARENT, "BAGGAGE": "user=eve", "TRACESTATE": "!"})
    assert (found.context, found.parent, found.problems) == (around, theirs, ())


def test_context_without_a_span_is_kept():
    """What the host's context holds besides a span stays, whatever the environment adds."""
    context.attach(context.set_value("theirs", 5, Context()))
    found = carrier.incoming({"TRACEPARENT": PARENT, "BAGGAGE": "a=1"})
    assert context.get_value("theirs", found.context) == 5
    assert baggage.get_baggage("a", found.context) == "1"


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(carrier.VARIABLES), st.text(max_size=80)))
def test_anything_in_the_variables(environ):
    """Whatever the variables say, nothing is raised, and what is no text of W3C's is told once."""
    found = carrier.incoming(environ)
    assert len(found.problems) <= len(environ)


KEYS = st.from_regex(r"[a-z][a-z0-9_\-*/]{0,8}", fullmatch=True)
TENANTS = st.from_regex(r"[a-z0-9][a-z0-9_\-*/]{0,8}@[a-z][a-z0-9_\-*/]{0,5}", fullmatch=True)
STATES = st.from_regex(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,8}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", fullmatch=True)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(KEYS | TENANTS, STATES, min_size=1, max_size=20))
def test_any_trace_state_is_taken_as_it_is(members):
    """Every trace state of W3C's form arrives whole."""
    text = ",".join(f"{key}={value}" for key, value in members.items())
    parent = carrier.incoming({"TRACEPARENT": PARENT, "TRACESTATE": text}).parent
    assert parent is not None
    assert parent.trace_state.to_header() == ",".join(f"{key}={value}" for key, value in members.items())


# Out.


def around(flags: int = 1, state: dict[str, str] | None = None) -> Context:
    """A context with a span of these flags and this trace state."""
    of = SpanContext(
        int(TRACE, 16),
        int(SPAN, 16),
        is_remote=False,
        trace_flags=TraceFlags(flags),
        trace_state=TraceState(list((state or {}).items())),
    )
    return trace.set_span_in_context(NonRecordingSpan(of), Context())


@pytest.mark.parametrize("flags", [0, 1, 3])
def test_out_as_variables(flags):
    """A child process gets the span as its parent, with flags, trace state and baggage, in capitals."""
    at = baggage.set_baggage("user", "größer, ja", around(flags, {"a": "1", "b": "2"}))
    made = carrier.outgoing(at)
    assert made == {
        "TRACEPARENT": f"00-{TRACE}-{SPAN}-{flags:02x}",
        "TRACESTATE": "a=1,b=2",
        "BAGGAGE": "user=gr%C3%B6%C3%9Fer%2C+ja",
    }
    found = carrier.incoming(made)
    assert (taken(**made), found.problems) == (f"{TRACE}-{SPAN}-{flags:02x}", ())
    assert baggage.get_baggage("user", found.context) == "größer, ja"


def test_out_of_nothing():
    """A context without a span and without baggage gives no variables and no headers."""
    assert (carrier.outgoing(Context()), carrier.headers(Context())) == ({}, {})


def test_out_as_headers():
    """Headers are those of the program's propagators: by default those of W3C, in lower case."""
    made = carrier.headers(baggage.set_baggage("user", "ada", around(0, {"a": "1"})))
    assert made == {"traceparent": f"00-{TRACE}-{SPAN}-00", "tracestate": "a=1", "baggage": "user=ada"}


def test_chosen_propagators(run_script):
    """OTEL_PROPAGATORS decides what headers there are; variables for processes are W3C's in any case."""
    source = """
    from otel_stageio import StageIO
    with StageIO("asr", stage_number=6) as io:
        print(sorted(io.headers()), "TRACEPARENT" in io.environ())
    """
    ran = [run_script(source, env={"OTEL_PROPAGATORS": chosen}) for chosen in ("none", "baggage", "tracecontext")]
    assert [re.sub(r"\s+", " ", each.stdout.strip()) for each in ran] == ["[] True", "[] True", "['traceparent'] True"]


def test_propagator_that_is_not_installed(run_script):
    """An OTEL_PROPAGATORS that cannot be honoured costs the headers, in one line on stderr, and nothing else."""
    source = """
    from otel_stageio import StageIO
    with StageIO("asr", stage_number=6) as io:
        print(io.headers(), io.headers(), io.environ()["TRACEPARENT"][:3])
    """
    ran = run_script(source, env={"OTEL_PROPAGATORS": "nonesuch"})
    assert (ran.returncode, ran.stdout) == (0, "{} {} 00-\n")
    assert ran.stderr.count("cannot hand on the trace") == 1
