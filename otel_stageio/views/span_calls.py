"""What OpenTelemetry's API told the stage's span, and whom the stage has its inputs from: the fold of those events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, SpanLink

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, LogRecord, Value

#: What a span may link to; and how many of those links may say once more whom an input is from.
MOST_LINKS: Final = 128
_MOST_REPEATS: Final = 100
_OK: Final = 1


class SpanCalls:
    """The name, status, attributes and links of a stage's span as they come; its events are in `SpanEvents`."""

    def __init__(self) -> None:
        """Start with nothing told."""
        self.name = ""
        self.status = (0, "")
        self.attributes: dict[str, Value] = {}
        self.attributes_dropped = 0
        self.links: list[SpanLink] = []
        self.links_left_out = 0
        #: The stages that inputs are from, and which inputs the links tell.
        self._producers: dict[tuple[str, str], set[str]] = {}

    def apply(self, record: LogRecord) -> None:
        """Take one event in; others than those of the span and of inputs change nothing."""
        of = record.attributes
        if record.event_name == names.SPAN_ATTRIBUTES:
            self.attributes.update(under(of, names.SPAN_ATTRIBUTE))
            self.attributes_dropped += dropped_in(of)
        elif record.event_name == names.SPAN_NAME:
            self.name = str(of.get(names.SPAN_NAME_VALUE, ""))
        elif record.event_name == names.SPAN_STATUS:
            code = of.get(names.SPAN_STATUS_CODE)
            if isinstance(code, int) and self.status[0] != _OK:
                self.status = (code, str(of.get(names.SPAN_STATUS_MESSAGE, "")))
        elif record.event_name == names.SPAN_LINK:
            self._link(
                SpanLink(
                    trace_id=str(of.get(names.LINK_TRACE_ID, "")),
                    span_id=str(of.get(names.LINK_SPAN_ID, "")),
                    attributes=under(of, names.SPAN_ATTRIBUTE),
                    dropped_attributes_count=dropped_in(of),
                    flags=FLAGS_REMOTE if of.get(names.LINK_REMOTE) else FLAGS_LOCAL,
                )
            )
        elif names.PRODUCER_SPAN_ID in of:
            self.have(of, of.get(names.FILE_PATH))

    def have(self, of: Attributes, path: Value) -> None:
        """Link to the stage that made an input: to each such stage at least once, and else while there is room."""
        producer = (str(of.get(names.PRODUCER_TRACE_ID, "")), str(of[names.PRODUCER_SPAN_ID]))
        paths = self._producers.setdefault(producer, set())
        if str(path) in paths:  # tracked again
            return
        if paths and len(self.links) >= _MOST_REPEATS:
            self.links_left_out += 1
            return
        paths.add(str(path))
        about: dict[str, Value] = {names.FILE_PATH: path, names.ARTIFACT_ROLE: "input"}
        kept = (names.PRODUCER_STAGE, names.PRODUCER_NUMBER, names.PRODUCER_ITEM, names.PRODUCER_ATTEMPT)
        about.update({name: of[name] for name in kept if name in of})
        self._link(SpanLink(trace_id=producer[0], span_id=producer[1], attributes=about, flags=FLAGS_REMOTE))

    def _link(self, made: SpanLink) -> None:
        if len(self.links) < MOST_LINKS:
            self.links.append(made)
        else:
            self.links_left_out += 1


def under(attributes: Attributes, prefix: str) -> dict[str, Value]:
    """The attributes whose names begin with `prefix`, without it."""
    start = len(prefix)
    return {key[start:]: of for key, of in attributes.items() if key.startswith(prefix)}


def dropped_in(attributes: Attributes) -> int:
    """How many attributes an event of the span says were dropped."""
    found = attributes.get(names.SPAN_DROPPED_ATTRIBUTES)
    return found if isinstance(found, int) else 0
