"""A journal file from a cursor on, cut into batches of a size that every backend takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.journal import reader
from otel_stageio.model import Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Line, LogRecord

#: Bytes of lines in a batch; as protobuf they are fewer. gRPC refuses messages over 4 MiB, some proxies over 2.
MOST_BYTES: Final = 2 * 1024 * 1024
#: Records in a batch, so that few that are small do not wait for the backend all at once.
MOST_RECORDS: Final = 4_096


class Batch(NamedTuple):
    """Lines that lie one after the other in a file, and where the last one ends; how many could not be read."""

    lines: tuple[Line, ...]
    end: int
    broken: int = 0

    @property
    def records(self) -> int:
        """How many records they hold."""
        return sum(len(line.records) for line in self.lines)

    @property
    def only(self) -> str:
        """What tells its only record from others: a span's id, a log record's uid; "" where it has none."""
        (record,) = (record for line in self.lines for record in line.records)
        return record.span_id if isinstance(record, Span) else str(record.attributes.get(names.LOG_RECORD_UID, ""))


def batches(
    path: str, start: int, *, live: bool = False, most_bytes: int = MOST_BYTES, most_records: int = MOST_RECORDS
) -> Iterator[Batch]:
    """Cut what lies behind byte `start` of the file; with `live`, a tail without newline is left for later.

    A line that is larger than a batch may be is one by itself. Memory: one batch. Raises OSError where the file cannot
    be read; one that is missing has no batches.
    """
    lines: list[Line] = []
    records = broken = 0
    begin = end = start
    for piece in reader.pieces(path, start=start, live=live):
        held = sum(len(line.records) for line in piece.lines)
        if end > begin and (piece.end - begin > most_bytes or records + held > most_records):
            yield Batch(tuple(lines), end, broken)
            lines, records, broken, begin = [], 0, 0, end
        lines += piece.lines
        records += held
        broken += piece.broken
        end = piece.end
    if end > begin:
        yield Batch(tuple(lines), end, broken)


def sendable(batch: Batch, least: int) -> Batch:
    """Without its log records of a severity below `least`, which stay on disk; events are sent whatever theirs is."""
    if not least:
        return batch
    kept = [
        line._replace(records=tuple(each for each in line.records if _is_sent(each, least)))  # type: ignore[arg-type] # of one kind, as before
        for line in batch.lines
    ]
    return batch._replace(lines=tuple(line for line in kept if line.records))


def _is_sent(record: LogRecord | Span, least: int) -> bool:
    return isinstance(record, Span) or bool(record.event_name) or not 0 < record.severity_number < least


def halves(batch: Batch) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    """Its records in two parts of like number, in their order; of a single record the second part is empty."""
    middle = (batch.records + 1) // 2
    first: list[Line] = []
    second: list[Line] = []
    for line in batch.lines:
        room = max(middle - sum(len(each.records) for each in first), 0)
        if line.records[:room]:
            first.append(line._replace(records=line.records[:room]))
        if line.records[room:]:
            second.append(line._replace(records=line.records[room:]))
    return tuple(first), tuple(second)
