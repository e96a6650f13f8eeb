"""What one line may weigh, and how a record that weighs more is cut to fit.

The Collector drops lines over 1 MiB without a word and gRPC refuses messages over 4 MiB, so a line stays well below.
What was cut is marked: ``stageio.cut`` names each shortened value with its original length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.journal import encode

if TYPE_CHECKING:
    from otel_stageio.model import LogRecord, Value

#: Bytes of one encoded record, scope and resource not counted.
RECORD_LIMIT: Final = 480 * 1024
#: Bytes that a cut value may keep at least; halved from the longest on until the record fits.
_SMALLEST: Final = 64


def fit(record: LogRecord) -> LogRecord:
    """Give the record back as it is when it fits in a line, else with its longest values cut and marked."""
    if len(encode.log_record(record)) <= RECORD_LIMIT:
        return record
    cut: dict[str, Value] = {}
    attributes = dict(record.attributes)
    body = record.body
    weights = {key: len(encode.value(of)) for key, of in attributes.items()}
    weights[""] = len(encode.value(body))
    excess = len(encode.log_record(record)) - RECORD_LIMIT
    for key in sorted(weights, key=lambda each: (-weights[each], each)):
        if excess <= 0:
            break
        of = body if key == "" else attributes[key]
        # The mark itself needs room too, hence the rest; escapes weigh up to six bytes a character.
        short = _shorten(of, max(_SMALLEST, weights[key] - excess - 256))
        cut[key or "body"] = len(of) if isinstance(of, (str, bytes)) else weights[key]
        excess -= weights[key] - len(encode.value(short))
        if key == "":
            body = short
        else:
            attributes[key] = short
    attributes[names.CUT] = cut
    return replace(record, body=body, attributes=attributes)


def _shorten(of: Value, weight: int) -> Value:
    """Cut a value to at most `weight` encoded bytes; lists and mappings become the start of their JSON text."""
    text = of if isinstance(of, (str, bytes)) else encode.value(of)
    keep = min(len(text), weight)
    while keep > _SMALLEST and len(encode.value(text[:keep])) > weight:
        keep = keep * 3 // 4
    return text[:keep]
