"""OTLP/JSON files as a Collector's file exporter, or a stage, wrote them: lines in any order, of any service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.journal import decode, files
from otel_stageio.model import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Line

#: Bytes. A Collector's batch of log records of the greatest size is a tenth of it; what is longer is passed over.
LONGEST_LINE: Final = 256 << 20
#: Signals of which a job folder holds nothing that others wrote.
_OTHERS: Final = frozenset({"resourceMetrics", "resourceProfiles"})
#: A line without it tells of no stage that is a span.
_STAGE: Final = names.STAGE_NAME.encode()


def lines(path: str) -> Iterator[list[Line] | None]:
    """What each line of the file holds; None for one that is no OTLP/JSON. Raises OSError."""
    for raw in _raw(path):
        yield _decoded(raw)


def traces(path: str) -> Iterator[str]:
    """The traces of the spans that say that they are a stage: what a program without StageIO tells of its stages.

    Raises OSError.
    """
    for raw in _raw(path):
        if _STAGE in raw:
            for line in _decoded(raw) or ():
                yield from (each.trace_id for each in line.records if names.STAGE_NAME in each.attributes)


def is_stage(record: object) -> bool:
    """Whether a record is a stage's span: not a mark of it."""
    return isinstance(record, Span) and names.STAGE_NAME in record.attributes and names.MARK not in record.attributes


def _raw(path: str) -> Iterator[bytes]:
    with open(path, "rb", opener=files.regular) as file:
        while raw := file.readline(LONGEST_LINE):
            whole = len(raw) < LONGEST_LINE or raw.endswith(b"\n")
            while not whole:  # to the end of a line that nobody could hold
                rest = file.readline(LONGEST_LINE)
                whole = len(rest) < LONGEST_LINE or rest.endswith(b"\n")
                raw = b"x"
            if raw.strip():
                yield raw


def _decoded(raw: bytes) -> list[Line] | None:
    try:
        tree = json.loads(raw)
        if isinstance(tree, dict) and not _OTHERS.isdisjoint(tree):
            return []
        return decode.lines(tree)
    except (ValueError, RecursionError):
        return None
