"""Random programs: sequences of calls that a program may make on a tracer and on its spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from tests.journal import samples
from tests.record.otel.calls import ELSEWHERE, HERE, NOWHERE, NOWHERE_BUT_STATE, raise_and_catch

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer


@dataclass(frozen=True)
class Step:
    """A call on one of the spans that there are, or the start of another as its child."""

    span: int
    method: str
    arguments: tuple[Any, ...]


#: Few, so that they meet, and some that nobody would think of.
keys = st.sampled_from(["a", "b", "c", ""]) | samples.texts
#: What every OpenTelemetry takes; what else there is has tests of its own.
_scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
_lists = st.one_of(
    *(st.lists(each, max_size=3) for each in (st.booleans(), st.integers(-(2**63), 2**63 - 1), samples.texts))
)
values = _scalars | samples.texts | _lists | st.dictionaries(keys, samples.texts, max_size=2)
attributes = st.dictionaries(keys, values, max_size=5)
_maybe = st.none() | attributes
_times = st.none() | st.integers(0, 2**64 - 1).filter(lambda at: not 10**18 < at < 4 * 10**18)
_contexts = st.sampled_from([ELSEWHERE, HERE, NOWHERE, NOWHERE_BUT_STATE])
_links = st.none() | st.lists(st.tuples(_contexts, _maybe), max_size=4)
_statuses = st.sampled_from(StatusCode)
_texts = st.none() | samples.texts

#: What a span may be told, by the name of the method.
_TOLD: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "set_attribute": st.tuples(keys, values),
    "set_attributes": st.tuples(attributes),
    "add_event": st.tuples(samples.texts, _maybe, _times),
    "add_link": st.tuples(_contexts, _maybe),
    "set_status": st.tuples(_statuses, _texts) | st.tuples(st.builds(Status, _statuses, _texts)),
    "update_name": st.tuples(samples.texts),
    "record_exception": st.tuples(st.builds(raise_and_catch, st.just(ValueError), samples.texts), _maybe, _times),
}
_ENDED = {
    "end": st.tuples(_times),
    "start": st.tuples(samples.texts, st.sampled_from(SpanKind), _maybe, _links, _times),
}


def _steps(of: dict[str, st.SearchStrategy[tuple[Any, ...]]]) -> st.SearchStrategy[list[Step]]:
    return st.lists(
        st.sampled_from(list(of)).flatmap(
            lambda method: st.builds(Step, st.integers(0, 3), st.just(method), of[method]),
        ),
        max_size=12,
    )


#: Of one span, and of a tracer.
tellings = _steps(_TOLD)
programs = _steps(_TOLD | _ENDED)


def tell(span: Span, steps: list[Step]) -> None:
    """Tell a span."""
    for step in steps:
        getattr(span, step.method)(*step.arguments)


def run(tracer: Tracer, program: list[Step]) -> None:
    """Run a program; the spans that it leaves open end with it."""
    spans = [tracer.start_span("first")]
    for step in program:
        span = spans[step.span % len(spans)]
        if step.method != "start":
            tell(span, [step])
            continue
        name, kind, about, links, at = step.arguments
        given = None if links is None else [Link(*each) for each in links]
        spans.append(tracer.start_span(name, trace.set_span_in_context(span), kind, about, given, at))
    for span in spans:
        span.end()
