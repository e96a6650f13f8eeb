"""How a stage stands is seen at a glance: by a span of a microsecond below the stage's own, which says so in its name.

A stage that runs has no span of its own yet; one that was skipped looks in Jaeger like one that succeeded, and one that
was killed like one that failed.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.job.identity import SCOPE
from otel_stageio.job.layout import EVENTS
from otel_stageio.journal import reader
from otel_stageio.model import FLAGS_LOCAL, Line, LogRecord, Span
from otel_stageio.views.span import scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_stageio.model import Attributes

#: Jaeger warns of spans without length.
_LENGTH: Final = 1_000
#: The ends that have a mark, with the word for them that its name has.
_ENDS: Final = {names.SKIPPED: "skipped", names.ABANDONED: "killed"}
_SHOWN: Final = (
    *(names.STAGE_NAME, names.STAGE_NUMBER, names.STAGE_ITEM, names.STAGE_ATTEMPT),
    *(names.JOB_ID, names.RUN, names.RUN_NAME, names.HOST_NAME, names.PROCESS_PID),
)


def marker(folder: str) -> Line | None:
    """The mark of an attempt that runs, the same each time; None where no start is on record. Raises OSError."""
    for piece in reader.pieces(os.path.join(folder, EVENTS), live=True, only=names.STARTED.encode()):
        for line in piece.lines:
            for record in line.records:
                if isinstance(record, LogRecord) and record.event_name == names.STARTED:
                    mark = _mark(record, record.attributes, record.time_unix_nano, names.RUNNING)
                    return line._replace(records=(mark,))
    return None


def of_ends(lines: Sequence[Line]) -> Iterator[Line]:
    """The marks that go with the spans of stages in these lines."""
    for line in lines:
        for record in line.records:
            status = record.attributes.get(names.STATUS)
            if isinstance(record, Span) and isinstance(status, str) and status in _ENDS and line.scope == SCOPE:
                at = record.end_time_unix_nano - _LENGTH
                yield line._replace(records=(_mark(record, record.attributes, at, status),))


def _mark(of: LogRecord | Span, about: Attributes, at: int, status: str) -> Span:
    shown = _ENDS.get(status, status)
    return Span(
        trace_id=of.trace_id,
        span_id=_id(shown, of.span_id),
        parent_span_id=of.span_id,
        name=f"{about.get(names.STAGE_NAME, '')!s} ({shown})",
        start_time_unix_nano=at,
        end_time_unix_nano=at + _LENGTH,
        attributes={
            **{key: scalar(about[key]) for key in _SHOWN if key in about},
            names.STATUS: status,
            names.MARK: shown,
        },
        flags=FLAGS_LOCAL,
    )


def _id(shown: str, span_id: str) -> str:
    """An id that is the mark's own and follows from the stage's."""
    first, second = zlib.crc32(span_id.encode()), zlib.crc32(f"{shown} {span_id}".encode())
    return f"{first:08x}{second or 1:08x}"
