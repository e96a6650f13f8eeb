"""What one line may weigh, and how a record that weighs more is cut to fit.

The Collector drops lines over 1 MiB without a word and gRPC refuses messages over 4 MiB, so a line stays well below.
What was cut is marked: ``stageio.cut`` names each value that was shortened or left out, with its original length.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.journal import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.model import LogRecord, Value

#: Bytes of one encoded record, scope and resource not counted.
RECORD_LIMIT: Final = 480 * 1024
#: No value is cut below this; a record with too many values for that loses whole attributes, the heaviest first.
_LEAST: Final = 4096
#: Bytes of the mark.
_MARK: Final = 16 * 1024
#: Characters of a level's or an event's name, and of a key in the mark.
_LONGEST_NAME: Final = 100
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
    bare = replace(
        record,
        severity_text=record.severity_text[:_LONGEST_NAME],
        event_name=record.event_name[:_LONGEST_NAME],
        body=values.pop(None),
        attributes={},
    )
    attributes = {key: of for key, of in values.items() if key is not None}
    _leave_out(attributes, cut, RECORD_LIMIT - _MARK - len(encode.log_record(bare)))
    attributes[names.CUT] = _mark(cut)
    return replace(bare, attributes=attributes)


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


def _mark(cut: dict[str | None, int]) -> dict[str, Value]:
    """What was cut, the longest first, as many as there is room for; the number of the others under ``...``."""
    made: dict[str, Value] = {}
    room = _MARK - _LONGEST_NAME
    for key, length in sorted(cut.items(), key=lambda each: (-each[1], each[0] or "")):
        shown = "body" if key is None else key if len(key) <= _LONGEST_NAME else f"{key[:_LONGEST_NAME]}..."
        room -= len(encode.pairs({shown: length})) + 1
        if room < 0:
            break
        made[shown] = length
    if len(made) < len(cut):
        made["..."] = len(cut) - len(made)
    return made
