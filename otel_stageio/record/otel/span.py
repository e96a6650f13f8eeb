"""The span that a program sees: OpenTelemetry's Span over a book that the journal is written from.

What it is told is cleaned by the API package's own rules, so that it comes out as the SDK would have exported it. No
method raises, whatever it is given; a span that has ended takes nothing more.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Status, StatusCode

from otel_stageio import conventions as names
from otel_stageio.errors import attempt
from otel_stageio.record import exceptions
from otel_stageio.record.exceptions import said
from otel_stageio.record.values import clean_text, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from otel_stageio.errors import guard
    from otel_stageio.model import Value
    from otel_stageio.record.otel.limits import SpanLimits


class Book(Protocol):
    """Where what a span is told goes. Attributes are clean, times nanoseconds since the epoch; thread-safe."""

    @property
    def open(self) -> bool:
        """Whether the span has not ended."""
        ...

    @property
    def limits(self) -> SpanLimits:
        """How much it may hold."""
        ...

    def set_attributes(self, attributes: Mapping[str, Any], dropped: int) -> None:
        """Take attributes, `dropped` more of which were of no use."""
        ...

    def add_event(self, name: str, attributes: dict[str, Value], dropped: int, at: int | None) -> None:
        """Take an event; `dropped` of its attributes were too many."""
        ...

    def add_link(self, context: trace.SpanContext, attributes: dict[str, Value], dropped: int) -> None:
        """Take a link."""
        ...

    def set_status(self, code: int, message: str) -> None:
        """Take a status: OTLP's number, 1 for ok and 2 for an error."""
        ...

    def update_name(self, name: str) -> None:
        """Take another name."""
        ...

    def end(self, at: int | None) -> None:
        """The span has ended."""
        ...


class JournalSpan(trace.Span):
    """A span of ours. Made by `JournalTracer`, and one by each stage for itself."""

    def __init__(
        self,
        context: trace.SpanContext,
        book: Book,
        trouble: guard,
        *,
        home: object = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> None:
        """Stand for `context` in the stage `home`, a StageTrace; `trouble` keeps what goes wrong from the caller."""
        self.home = home
        self._context = context
        self._book = book
        self._trouble = trouble
        self._record_exception = record_exception
        self._set_status_on_exception = set_status_on_exception
        self._owner = os.getpid()

    def get_span_context(self) -> trace.SpanContext:
        """Its ids, as children and headers carry them."""
        return self._context

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return self._book.open

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes; of a key that is there already the last value holds."""
        with self._trouble:
            kept = collected(attributes, None, self._book.limits.span_length)
            self._book.set_attributes(kept, kept.dropped)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute."""
        with self._trouble:
            kept = BoundedAttributes(None, max_value_len=self._book.limits.span_length, immutable=False)
            put(kept, key, value)
            self._book.set_attributes(kept, kept.dropped)

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Add what happened at `timestamp`, in nanoseconds since the epoch; by default now."""
        with self._trouble:
            limits = self._book.limits
            kept, dropped = cleaned(attributes, limits.event_attributes, limits.length)
            self._book.add_event(said(name), kept, dropped, moment(timestamp))

    def add_link(self, context: trace.SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Add a pointer to another span; one that points nowhere and says nothing is passed over."""
        with self._trouble:
            if is_link(context, attributes):
                limits = self._book.limits
                self._book.add_link(context, *cleaned(attributes, limits.link_attributes, limits.length))

    def update_name(self, name: str) -> None:
        """Take another name."""
        with self._trouble:
            self._book.update_name(said(name))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say how it went: UNSET changes nothing, OK is the last word, and only ERROR takes a description."""
        with self._trouble:
            told: Any = Status(status, description) if isinstance(status, StatusCode) else status
            if isinstance(told, Status) and told.status_code in (StatusCode.OK, StatusCode.ERROR):
                self._book.set_status(told.status_code.value, said(told.description or ""))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception as an event, with its type, message and stack trace."""
        about: dict[str, Any] = {}
        with self._trouble:
            kind = type(exception)
            bare = kind.__module__ in ("builtins", "", None)
            about[names.EXCEPTION_TYPE] = kind.__qualname__ if bare else f"{kind.__module__}.{kind.__qualname__}"
            about[names.EXCEPTION_MESSAGE] = exceptions.text(exception)
            about[names.EXCEPTION_STACKTRACE] = exceptions.printed(exception)
            about[names.EXCEPTION_ESCAPED] = str(escaped)
            attempt(lambda: about.update(attributes or {}), lambda _: None)
        self.add_event("exception", about, timestamp)

    def end(self, end_time: int | None = None) -> None:
        """End at `end_time`, by default now. A child by fork does not end what its parent began."""
        with self._trouble:
            if os.getpid() == self._owner:
                self._book.end(moment(end_time))

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        """End; an exception is recorded and goes on."""
        if raised is not None and self.is_recording():
            if self._record_exception:
                self.record_exception(raised, escaped=True)
            if self._set_status_on_exception:
                self.set_status(Status(StatusCode.ERROR, f"{type(raised).__name__}: {exceptions.text(raised)}"))
        self.end()


def is_link(context: object, attributes: object) -> bool:
    """Whether a link says anything: where it points to, or by what it carries."""
    return isinstance(context, trace.SpanContext) and (
        context.is_valid or bool(context.trace_state) or attempt(lambda: bool(attributes), lambda _: True)
    )


def cleaned(attributes: object, count: int | None, length: int | None) -> tuple[dict[str, Value], int]:
    """The attributes that OpenTelemetry takes, as the journal can hold them, and how many of them it drops."""
    kept = collected(attributes, count, length)
    return plainly(kept), kept.dropped


def collected(attributes: Any, count: int | None, length: int | None) -> BoundedAttributes:
    """The attributes that OpenTelemetry takes; one that raises when it is looked at costs no other."""

    def one_by_one(_: Exception) -> BoundedAttributes:
        kept = BoundedAttributes(count, max_value_len=length, immutable=False)
        for key, of in attempt(lambda: list(attributes.items()), lambda _: []):
            put(kept, key, of)
        return kept

    return attempt(
        lambda: BoundedAttributes(count, attributes, max_value_len=length, immutable=False),
        one_by_one,
    )


def put(into: BoundedAttributes, key: Any, of: Any) -> None:
    """Set one attribute; a value that OpenTelemetry cannot look at as its text, and no attribute of such a key."""
    attempt(
        partial(into.__setitem__, key, of), lambda _: into.__setitem__(key if isinstance(key, str) else "", said(of))
    )


def plainly(attributes: Mapping[str, Any]) -> dict[str, Value]:
    """Cleaned attributes as the journal can hold them."""
    return {clean_text(key): plain(of) for key, of in attributes.items()}


def moment(at: Any) -> int | None:
    """A time that a caller gave, in nanoseconds since the epoch, where it is one."""
    whole: int = attempt(lambda: -1 if at is None else int(at), lambda _: -1)
    return whole if 0 <= whole < 1 << 64 else None
