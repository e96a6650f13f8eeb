"""Records by the thousand, from a seed: Hypothesis, which also finds the smallest that fails, would be too slow."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, LogRecord, Resource, Scope, Span, SpanEvent, SpanLink

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXTS = ("", "a", "naïve", "音声 🎧", "\u202ertl", "\x00\x1b[31m", "'\"\\", "\ufffe\uffff", "line\nline", "x" * 300)
_NUMBERS = (0, 1, -1, 2**31, -(2**63), 2**63 - 1)
_REALS = (0.0, 1.0, -2.5, 0.1, 1e300, 5e-324)


class Generated:
    """Draws whatever a record may hold; the same for the same seed."""

    def __init__(self, seed: int) -> None:
        """Draw by this seed."""
        self._of = Random(seed)

    def text(self) -> str:
        """Any text, mostly short."""
        return self._of.choice(_TEXTS) + self._of.choice(_TEXTS)

    def name(self) -> str:
        """Text that is not empty: protobuf leaves empty text out, and we always write it."""
        return f"{self.text()}{self._of.randrange(100)}"

    def bits(self, count: int) -> int:
        """A number above 0."""
        return self._of.randrange(1, 2**count)

    def hex(self, count: int) -> str:
        """An id of so many bytes."""
        return f"{self.bits(8 * count):0{2 * count}x}"

    def value(self, depth: int = 2) -> Any:
        """Any value of an attribute."""
        of = self._of
        kinds: list[Callable[[], Any]] = [
            lambda: None,
            lambda: of.random() < 0.5,
            lambda: of.choice(_NUMBERS),
            lambda: of.choice(_REALS),
            self.text,
            lambda: of.randbytes(of.randrange(4)),
            lambda: [self.value(depth - 1) for _ in range(of.randrange(4))],
            lambda: self.attributes(depth - 1),
        ]
        return of.choice(kinds if depth else kinds[:-2])()

    def attributes(self, depth: int = 2) -> dict[str, Any]:
        """Up to four of them."""
        return {self.name(): self.value(depth) for _ in range(self._of.randrange(5))}

    def writer(self) -> tuple[Scope, Resource]:
        """Who writes a line."""
        scope = Scope(self.name(), self.text(), self.attributes(), self.text())
        return scope, Resource({**self.attributes(0), "service.name": self.name()})

    def span(self) -> Span:
        """A span; its flags fit its parent, as the official encoders derive them."""
        of = self._of
        parent = of.choice(["", self.hex(8)])
        return Span(
            trace_id=self.hex(16),
            span_id=self.hex(8),
            parent_span_id=parent,
            trace_state=of.choice(["", "a=1", "vendor=x,other@tenant=y"]),
            name=self.name(),
            kind=of.randrange(1, 6),
            start_time_unix_nano=self.bits(64),
            end_time_unix_nano=self.bits(64),
            attributes=self.attributes(),
            events=tuple(
                SpanEvent(self.bits(64), self.name(), self.attributes(), self.bits(32)) for _ in range(of.randrange(3))
            ),
            links=tuple(
                SpanLink(self.hex(16), self.hex(8), self.attributes(), self.bits(32), self._flags())
                for _ in range(of.randrange(3))
            ),
            status_code=of.randrange(3),
            status_message=self.text(),
            flags=self._flags() if parent else FLAGS_LOCAL,
            dropped_attributes_count=of.randrange(3),
            dropped_events_count=of.randrange(3),
            dropped_links_count=of.randrange(3),
        )

    def _flags(self) -> int:
        return self._of.choice([FLAGS_LOCAL, FLAGS_REMOTE])

    def log_record(self, event_name: str = "") -> LogRecord:
        """A log record, or an event."""
        of = self._of
        inside = of.random() < 0.8
        return LogRecord(
            time_unix_nano=self.bits(64),
            severity_number=of.randrange(25),
            severity_text=self.text(),
            event_name=event_name,
            body=self.value(),
            attributes=self.attributes(),
            trace_id=self.hex(16) if inside else "",
            span_id=self.hex(8) if inside else "",
            flags=of.randrange(256),
        )

    def event(self) -> LogRecord:
        """An event."""
        return self.log_record(self.name())
