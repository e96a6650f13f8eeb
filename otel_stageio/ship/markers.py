"""A stage that runs is visible: by a span of a microsecond below the stage's own, which is sent only at the end."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.job.layout import EVENTS
from otel_stageio.journal import reader
from otel_stageio.model import FLAGS_LOCAL, Line, LogRecord, Span
from otel_stageio.views.span import scalar

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, Value

#: Jaeger warns of spans without length.
_LENGTH: Final = 1_000
_SHOWN: Final = (
    *(names.STAGE_NAME, names.STAGE_NUMBER, names.STAGE_ATTEMPT, names.JOB_ID, names.RUN, names.RUN_NAME),
    *(names.HOST_NAME, names.PROCESS_PID),
)


def marker(folder: str) -> Line | None:
    """The marker of an attempt, the same whenever it is made; None where no start is on record. Raises OSError."""
    for piece in reader.pieces(os.path.join(folder, EVENTS), live=True, only=names.STARTED.encode()):
        for line in piece.lines:
            for record in line.records:
                if isinstance(record, LogRecord) and record.event_name == names.STARTED:
                    return line._replace(records=(_span(record),))
    return None


def _span(started: LogRecord) -> Span:
    at = started.time_unix_nano
    return Span(
        trace_id=started.trace_id,
        span_id=_id(started.span_id),
        parent_span_id=started.span_id,
        name=str(started.attributes.get(names.STAGE_NAME, "")) + " (running)",
        start_time_unix_nano=at,
        end_time_unix_nano=at + _LENGTH,
        attributes=_attributes(started.attributes),
        flags=FLAGS_LOCAL,
    )


def _attributes(of: Attributes) -> dict[str, Value]:
    return {**{key: scalar(of[key]) for key in _SHOWN if key in of}, names.STATUS: names.RUNNING}


def _id(span_id: str) -> str:
    """An id that is the marker's own and follows from the stage's."""
    first, second = zlib.crc32(span_id.encode()), zlib.crc32(f"running {span_id}".encode())
    return f"{first:08x}{second or 1:08x}"
