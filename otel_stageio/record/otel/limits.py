"""How much a span may hold: the limits of OpenTelemetry's specification, by the variables that it names for them."""

import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from otel_stageio.errors import attempt

#: The specification's default for every count. Lengths have no limit.
_COUNT: Final = 128


class SpanLimits(NamedTuple):
    """Counts, and the characters of a text value; None is no limit."""

    attributes: int | None = _COUNT
    events: int | None = _COUNT
    links: int | None = _COUNT
    event_attributes: int | None = _COUNT
    link_attributes: int | None = _COUNT
    #: Of the span's own attributes, and of those of its events and links.
    span_length: int | None = None
    length: int | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "SpanLimits":
        """Read the variables; one that is no whole number from 0 up is as if it were not there."""
        count = _limit(environ, "OTEL_ATTRIBUTE_COUNT_LIMIT", _COUNT)
        length = _limit(environ, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", None)
        return cls(
            attributes=_limit(environ, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", count),
            events=_limit(environ, "OTEL_SPAN_EVENT_COUNT_LIMIT", _COUNT),
            links=_limit(environ, "OTEL_SPAN_LINK_COUNT_LIMIT", _COUNT),
            event_attributes=_limit(environ, "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", count),
            link_attributes=_limit(environ, "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", count),
            span_length=_limit(environ, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", length),
            length=length,
        )


def _limit(environ: Mapping[str, str], name: str, default: int | None) -> int | None:
    told = attempt(lambda: int(environ.get(name, "")), lambda _: -1)
    return default if told < 0 else min(told, sys.maxsize)
