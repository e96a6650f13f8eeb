"""Trace context into the stage and out of it: the host's current span, environment variables, HTTP headers.

Source: W3C Trace Context and Baggage; OpenTelemetry specification, "Environment Variables as Context Propagation
Carriers".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import trace

from otel_stageio.record.otel import context as stages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

_PARENT: Final = "TRACEPARENT"
_STATE: Final = "TRACESTATE"
_BAGGAGE: Final = "BAGGAGE"
VARIABLES: Final = (_PARENT, _STATE, _BAGGAGE)

# Patterns as text: `re` compiles and keeps them when they are first used, and few stages are called in a trace.
_KEY: Final = r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_MEMBER: Final = rf"[ \t]*(?:({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e])?[ \t]*"
_MOST_MEMBERS: Final = 32
#: Characters of TRACEPARENT and of TRACESTATE: OpenTelemetry takes no longer ones.
_LONGEST: Final = 512
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - what RFC 7230 calls one
_VALUE: Final = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_PAIR: Final = rf"({_TOKEN})[ \t]*=[ \t]*({_VALUE})"
_PROPERTY: Final = rf"({_TOKEN})(?:[ \t]*=[ \t]*({_VALUE}))?"
_MOST_BAGGAGE: Final = 8192
_MOST_ENTRIES: Final = 180
_LONGEST_ENTRY: Final = 4096


class Incoming(NamedTuple):
    """Where a stage is called: the context that it hangs on, the span in it that is its parent, if there is one."""

    context: Context
    parent: trace.SpanContext | None
    #: One sentence for each value that could not be honoured.
    problems: tuple[str, ...] = ()


def incoming(environ: Mapping[str, str]) -> Incoming:
    """The host's current span, else what the environment says. Malformed values are passed over, and told."""
    context = stages.base()
    current = trace.get_current_span(context).get_span_context()
    if current.is_valid or not any(environ.get(name) for name in VARIABLES):
        return Incoming(context, current if current.is_valid else None)
    problems: list[str] = []

    def passed_over(name: str, what: str) -> None:
        problems.append(f"{name}={environ[name][:200]!r} {what}; it is passed over.")

    carrier = {name.lower(): environ[name].strip() for name in VARIABLES if environ.get(name)}
    baggage = carrier.pop(_BAGGAGE.lower(), "")
    if not _is_tracestate(carrier.get(_STATE.lower(), "")):
        passed_over(_STATE, "is no W3C trace state")
        del carrier[_STATE.lower()]
    if _PARENT.lower() in carrier:
        context = _extracted(carrier, context)
        if not trace.get_current_span(context).get_span_context().is_valid:
            passed_over(_PARENT, "is no W3C trace parent (version-trace id-span id-flags, in lower-case hex)")
    good = _entries(baggage)
    if good:
        from opentelemetry.baggage.propagation import W3CBaggagePropagator

        context = W3CBaggagePropagator().extract({_BAGGAGE.lower(): ",".join(good)}, context)
    if baggage and len(good) < len(baggage.split(",")):
        passed_over(_BAGGAGE, f"is no W3C baggage{', or not all of it' if good else ''}")
    parent = trace.get_current_span(context).get_span_context()
    return Incoming(context, parent if parent.is_valid else None, tuple(problems))


def _extracted(carrier: dict[str, str], context: Context) -> Context:
    if len(carrier[_PARENT.lower()]) > _LONGEST:
        return context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(carrier, context)


def _is_tracestate(text: str) -> bool:
    if len(text) > _LONGEST:
        return False
    found = [re.fullmatch(_MEMBER, member) for member in text.split(",")]
    keys = [each.group(1) for each in found if each and each.group(1)]
    return all(found) and len(keys) == len(set(keys)) <= _MOST_MEMBERS


def _entries(baggage: str) -> list[str]:
    """What of a baggage is as it should be, without the blanks that may stand in it."""
    good = [entry for text in baggage.split(",") if (entry := _entry(text)) and len(entry) <= _LONGEST_ENTRY]
    return good if len(baggage) <= _MOST_BAGGAGE and len(good) <= _MOST_ENTRIES else []


def _entry(text: str) -> str:
    """One pair with its properties; "" where it is none."""
    made: list[str] = []
    for part in text.split(";"):
        found = re.fullmatch(_PROPERTY if made else _PAIR, part.strip(" \t"))
        if found is None:
            return ""
        made.append("=".join(each for each in found.groups() if each is not None))
    return ";".join(made)


def outgoing(context: Context) -> dict[str, str]:
    """What a child process finds in its environment of the trace and the baggage in `context`."""
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    W3CBaggagePropagator().inject(carrier, context)
    return {name.upper(): of for name, of in carrier.items()}


def headers(context: Context) -> dict[str, str]:
    """The same as HTTP headers, by the propagators that the program has chosen (``OTEL_PROPAGATORS``)."""
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return carrier
