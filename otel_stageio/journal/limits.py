"""What one line may weigh, and how a record that weighs more is cut to fit.

The Collector drops lines over 1 MiB without a word and gRPC refuses messages over 4 MiB, so a line stays well below.
What was cut is marked: ``stageio.cut`` names each value that was shortened or left out, with its original length.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final, TypeVar

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.model import SpanEvent, SpanLink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_stageio.model import Attributes, LogRecord, Scope, Span, Value

_Part = TypeVar("_Part", SpanEvent, SpanLink)

#: Bytes of one encoded record, scope and resource not counted.
RECORD_LIMIT: Final = 480 * 1024
#: Bytes of attributes that are recorded in parts; the other half of a record's room is for what is around them.
_PART: Final = RECORD_LIMIT // 2
#: No value is cut below this; a record with too many values for that loses whole attributes, the heaviest first.
_LEAST: Final = 4096
#: Bytes of the mark.
_MARK: Final = 16 * 1024
#: Characters of a level's or an event's name, and of a key in the mark.
_LONGEST_NAME: Final = 100
#: Characters of a trace state: W3C's 32 members of 513.
_LONGEST_STATE: Final = 32 * 514
#: Attributes that a reader needs: never left out. There are far too few of them to fill a record.
_OURS: Final = frozenset(of for of in vars(names).values() if isinstance(of, str))


def fit(record: LogRecord) -> LogRecord:
    """Give the record back as it is when it fits in a line, else with its longest values cut and marked.

    The mark has characters for text, bytes for bytes, and the bytes of the encoding for anything else.
    """
    excess = len(encode.log_record(record)) - RECORD_LIMIT
    if excess <= 0:
        return record
    values: dict[str | None, Value] = {None: record.body}
    values.update(record.attributes.items())
    weights = {key: len(encode.value(of)) for key, of in values.items()}
    level = max(_LEAST, _level(weights.values(), sum(weights.values()) - excess - _MARK))
    cut: dict[str | None, int] = {}
    for key, weight in weights.items():
        if weight > level:
            cut[key] = _length(values[key], weight)
            values[key] = _cut(values[key], level)
    names_cut = {"severity_text": record.severity_text, "event_name": record.event_name}
    cut.update((key, len(of)) for key, of in names_cut.items() if len(of) > _LONGEST_NAME)
    bare = record._replace(
        severity_text=record.severity_text[:_LONGEST_NAME],
        event_name=record.event_name[:_LONGEST_NAME],
        body=values.pop(None),
        attributes={},
    )
    attributes = {key: of for key, of in values.items() if key is not None}
    _leave_out(attributes, cut, RECORD_LIMIT - _MARK - len(encode.log_record(bare)))
    attributes[names.CUT] = _mark(cut)
    return bare._replace(attributes=attributes)


def parts(of: dict[str, Value]) -> Iterator[dict[str, Value]]:
    """Attributes in as many parts as it takes for each to fit in a record; mostly it is one."""
    part: dict[str, Value] = {}
    room = _PART
    for key, each in of.items():
        weight = len(encode.value(each)) + len(encode.value(key))
        if part and weight > room:
            yield part
            part, room = {}, _PART
        part[key] = each
        room -= weight
    yield part


def fit_span(span: Span) -> Span:
    """Give the span back as it is when it fits in a line, else with its long texts cut, and some of the rest left out.

    What is left out is in the dropped counts; ``stageio.cut`` has the bytes that the span weighed, and the length that
    each cut value had; events and links have such a mark of their own.
    """
    weight = len(encode.span(span))
    if weight <= RECORD_LIMIT:
        return span
    room = RECORD_LIMIT // 2
    shortened, cut = _shortened(span.attributes, name=span.name, status=span.status_message)
    mark: dict[str, Value] = {names.CUT: {"span": weight, **_mark(cut)}}
    attributes, dropped = bounded(mark | shortened | mark, room)
    events = [_light(each, room // 4, name=each.name)._replace(name=shorten(each.name, _LEAST)) for each in span.events]
    links = [_light(each, room // 8) for each in span.links]
    # The newest events and links, as the SDK keeps them.
    few = _fitting([len(encode.event(each)) for each in reversed(events)], room // 2)
    some = _fitting([len(encode.link(each)) for each in reversed(links)], room // 4)
    return span._replace(
        name=shorten(span.name, _LEAST),
        status_message=shorten(span.status_message, _LEAST),
        trace_state=span.trace_state if len(span.trace_state) <= _LONGEST_STATE else "",
        attributes=attributes,
        events=tuple(events[len(events) - few :]),
        links=tuple(links[len(links) - some :]),
        dropped_attributes_count=span.dropped_attributes_count + dropped,
        dropped_events_count=span.dropped_events_count + len(events) - few,
        dropped_links_count=span.dropped_links_count + len(links) - some,
    )


def _light(of: _Part, room: int, **texts: str) -> _Part:
    """An event or a link whose attributes weigh at most `room` bytes; its other `texts` are cut by the caller."""
    attributes, dropped = bounded(_marked(of.attributes, **texts), room)
    return of._replace(attributes=attributes, dropped_attributes_count=of.dropped_attributes_count + dropped)


def fit_scope(scope: Scope) -> Scope:
    """Give a scope back with so little of its texts and attributes that it fits beside the largest record."""
    texts = {"name": scope.name, "version": scope.version, "schema_url": scope.schema_url}
    shortened, cut = _shortened(scope.attributes, **texts)
    kept, _ = bounded(shortened, _LEAST)
    # A scope has no count of what is left out.
    cut.update((key, _length(of, len(encode.value(of)))) for key, of in scope.attributes.items() if key not in kept)
    mark: dict[str, Value] = {names.CUT: _mark(cut, _LEAST)} if cut else {}
    return scope._replace(**{key: shorten(of, _LEAST) for key, of in texts.items()}, attributes=mark | kept | mark)


def bounded(attributes: Attributes, room: int) -> tuple[dict[str, Value], int]:
    """The attributes that fit into `room` encoded bytes, the earlier ones first, and the number of the others."""
    kept: dict[str, Value] = {}
    for key, of in attributes.items():
        weight = len(encode.pairs({key: of})) + 1
        if weight <= room:
            room -= weight
            kept[key] = of
    return kept, len(attributes) - len(kept)


def _marked(attributes: Attributes, **texts: str) -> dict[str, Value]:
    """The attributes with long ones cut, and a mark in front where one is, or one of the other texts."""
    shortened, cut = _shortened(attributes, **texts)
    mark: dict[str, Value] = {names.CUT: _mark(cut)} if cut else {}
    return mark | shortened | mark


def _shortened(attributes: Attributes, **texts: str) -> tuple[dict[str, Value], dict[str | None, int]]:
    """The attributes with long ones cut; and the length of each that was, and of each long one of the other texts."""
    weights = {key: len(encode.value(of)) for key, of in attributes.items()}
    made = {key: of if weights[key] <= _LEAST else _cut(of, _LEAST) for key, of in attributes.items()}
    cut: dict[str | None, int] = {key: len(of) for key, of in texts.items() if len(encode.value(of)) > _LEAST}
    cut.update((key, _length(attributes[key], weight)) for key, weight in weights.items() if weight > _LEAST)
    return made, cut


def _cut(of: Value, weight: int) -> Value:
    """The first items of a list or mapping, where any fit; else the start of what a person would read."""
    if isinstance(of, list):
        kept = _fitting([len(encode.value(each)) for each in of], weight)
        if kept:
            return of[:kept]
    elif isinstance(of, dict):
        kept = _fitting([len(encode.pairs({key: each})) for key, each in of.items()], weight)
        if kept:
            return dict(list(of.items())[:kept])
    return shorten(encode.readable(of), weight)


def _fitting(weights: list[int], room: int) -> int:
    """How many of the first items fit, with a comma each and 40 bytes around all of them."""
    return sum(total <= room - 40 for total in accumulate(weight + 1 for weight in weights))


def shorten(text: str, weight: int) -> str:
    """The start of a text whose AnyValue has at most `weight` bytes, of which 20 are not the text's."""
    text = text[: max(weight - 20, 0)]
    while text and (excess := len(encode.value(text)) - weight) > 0:
        # As if all characters weighed the same; at least one goes.
        text = text[: len(text) * weight // (weight + excess)]
    return text


def _level(weights: Iterable[int], room: int) -> int:
    """The weight that no value may exceed so that all of them fit into `room`; 0 where there is none."""
    ascending = sorted(weights)
    for index, weight in enumerate(ascending):
        share = room // (len(ascending) - index)
        if weight > share:
            return max(share, 0)
        room -= weight
    return ascending[-1]


def _leave_out(attributes: dict[str, Value], cut: dict[str | None, int], room: int) -> None:
    """Take the heaviest attributes that are not ours away until the rest fits into `room` bytes."""
    weights = {key: len(encode.pairs({key: of})) + 1 for key, of in attributes.items()}
    excess = sum(weights.values()) - room
    for key in sorted(weights.keys() - _OURS, key=lambda each: (-weights[each], each)):
        if excess <= 0:
            break
        cut.setdefault(key, _length(attributes.pop(key), weights[key]))
        excess -= weights[key]


def _length(of: Value, weight: int) -> int:
    return len(of) if isinstance(of, (str, bytes)) else weight


def _mark(cut: dict[str | None, int], most: int = _MARK) -> dict[str, Value]:
    """What was cut, the longest first, as many as there is room for; the number of the others under ``...``."""
    made: dict[str, Value] = {}
    room = most - _LONGEST_NAME
    for key, length in sorted(cut.items(), key=lambda each: (-each[1], each[0] or "")):
        shown = "body" if key is None else key if len(key) <= _LONGEST_NAME else f"{key[:_LONGEST_NAME]}..."
        room -= len(encode.pairs({shown: length})) + 1
        if room < 0:
            break
        made[shown] = length
    if len(made) < len(cut):
        made["..."] = len(cut) - len(made)
    return made
