"""Reading a journal file that a crash may have torn, a live stage may still be writing, or a stranger may have touched.

A line is trusted when it ends in a newline and decodes. One that does not decode is searched from its right for the
start of a line of its signal: a torn line with a whole one glued to it costs itself alone. A tail without newline is
"not yet" while the stage runs; afterwards it is read like any other line.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from otel_stageio.journal import decode, files
from otel_stageio.journal.encode import LOGS_HEAD, LOGS_PREFIX, SPANS_HEAD, SPANS_PREFIX
from otel_stageio.model import Line, LogRecord, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Resource, Scope

#: Bytes of a line that is looked at: far more than we write into one.
_LONGEST = 64 << 20
_PREFIXES = (LOGS_PREFIX.encode(), SPANS_PREFIX.encode())
#: What a line of ours begins with, and what its end, the same for all lines of a writer, begins with.
_HEADS = ((LOGS_HEAD.encode(), False), (SPANS_HEAD.encode(), True))
_TAIL = b'],"scope":{'
#: How many writers of a file are remembered.
_WRITERS = 64


class Piece(NamedTuple):
    """One line of a file as it was found: what it holds, where it ends, and whether something in it was lost."""

    lines: tuple[Line, ...]
    end: int
    broken: bool = False


def pieces(path: str, *, start: int = 0, live: bool = False, only: bytes = b"") -> Iterator[Piece]:
    """Read the file from byte `start`, line by line; a file that is not there has no lines.

    With `live` a tail without newline is left for later: the last piece's `end` is where to go on. Lines in which
    `only` does not occur are passed over undecoded. Raises OSError where the file cannot be read.
    """
    try:
        file = open(path, "rb", opener=files.regular)  # noqa: SIM115 - closed by the with below; opened here for its own except
    except FileNotFoundError:
        return
    decoder = _Decoder()
    with file:
        file.seek(start)
        end = start
        while raw := file.readline(_LONGEST):
            end += len(raw)
            if len(raw) == _LONGEST:
                end += _skipped(file, raw)
                yield Piece(lines=(), end=end, broken=True)
                continue
            if not raw.endswith(b"\n") and live:
                return
            text = raw.strip()
            if text and only in text:
                yield _piece(text, end, decoder)


def _skipped(file: BinaryIO, raw: bytes) -> int:
    """Go to the end of a line that nobody of ours wrote; how many bytes that took."""
    skipped = 0
    while raw and not raw.endswith(b"\n"):
        raw = file.readline(_LONGEST)
        skipped += len(raw)
    return skipped


def _piece(raw: bytes, end: int, decoder: _Decoder) -> Piece:
    whole = decoder.lines(raw)
    if whole is not None:
        return Piece(lines=whole, end=end)
    for prefix in _PREFIXES:
        at = raw.rfind(prefix)
        while at > 0:
            rest = decoder.lines(raw[at:])
            if rest is not None:
                return Piece(lines=rest, end=end, broken=True)
            at = raw.rfind(prefix, 0, at)
    return Piece(lines=(), end=end, broken=True)


class _Decoder:
    """Decodes the lines of one file: scope and resource of a writer, which end each of its lines, once."""

    def __init__(self) -> None:
        self._writers: dict[bytes, tuple[Scope, Resource]] = {}

    def lines(self, raw: bytes) -> tuple[Line, ...] | None:
        """What a line holds; None where it cannot be read."""
        head, span = next(((head, span) for head, span in _HEADS if raw.startswith(head)), (b"", False))
        # Of a line that begins otherwise, somebody's who orders it otherwise, the end says less.
        end = raw.rfind(_TAIL) if head else -1
        writer = self._writers.get(raw[end:]) if end > 0 else None
        try:
            known = None if writer is None else self._of(raw[len(head) : end], span, *writer)
            found = tuple(decode.lines(json.loads(raw))) if known is None else (known,)
        except (ValueError, RecursionError):
            return None
        if end > 0 and writer is None and len(found) == 1 and len(self._writers) < _WRITERS:
            self._writers[raw[end:]] = found[0].scope, found[0].resource
        return found

    @staticmethod
    def _of(record: bytes, span: bool, scope: Scope, resource: Resource) -> Line | None:
        """A line of one record by a writer that is known; None where it is anything else."""
        try:
            tree = json.loads(record)
        except ValueError:  # several records, or none
            return None
        return Line((decode.record(tree, span=span),), scope, resource)  # type: ignore[arg-type] # of one kind


def log_records(path: str, *, live: bool = False) -> Iterator[LogRecord]:
    """Every log record of a file, in the order of its lines."""
    for piece in pieces(path, live=live):
        for line in piece.lines:
            yield from (each for each in line.records if isinstance(each, LogRecord))


def spans(path: str, *, live: bool = False, only: bytes = b"") -> Iterator[Span]:
    """Every span of a file, in the order of its lines; of those lines in which `only` occurs."""
    for piece in pieces(path, live=live, only=only):
        for line in piece.lines:
            yield from (each for each in line.records if isinstance(each, Span))
