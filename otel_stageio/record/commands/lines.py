"""What a program writes, cut into lines for the record: bytes as they come, of any encoding, with or without newlines.

A line that a program writes over again after a carriage return, as progress bars do, is recorded as it was last. Of a
line without end its beginning is kept, and its length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.journal import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of a line that are kept: what fits in a line of the journal beside the rest of its record.
LONGEST: Final = limits.RECORD_LIMIT - 16 * 1024
#: What takes a line off a terminal besides blanks: "erase in line" of ECMA-48.
_ERASES: Final = (b"\x1b[K", b"\x1b[0K", b"\x1b[2K")


class Line(NamedTuple):
    """One line. `size` is how many bytes it had, where not all of them are kept; else 0."""

    text: str
    size: int = 0


class LineSplitter:
    """Cuts one stream into lines. Memory stays below `LONGEST` and the piece that is fed, whatever comes."""

    __slots__ = ("_back", "_blank", "_kept", "_size")

    def __init__(self) -> None:
        """Begin at the start of a line."""
        self._kept = bytearray()
        self._size = 0
        #: The program has gone back to the line's start, and has since written these blanks alone.
        self._back = False
        self._blank = b""

    def feed(self, data: bytes) -> Iterator[Line]:
        """Take in what was written, and give the lines that end in it."""
        *whole, last = data.split(b"\n")
        for each in whole:
            self._add(each)
            yield self._take()
        self._add(last)

    def end(self) -> Iterator[Line]:
        """Nothing more comes: what is left is a line, if it is anything."""
        if self._size:
            yield self._take()

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        if b"\r" not in piece:
            self._write(piece)
            return
        first, *again = piece.split(b"\r")
        self._write(first)
        # All but the last that shows something are written over at once.
        shown = next((at for at in range(len(again) - 1, -1, -1) if not _is_blank(again[at])), None)
        self._back = True
        self._blank = b""
        if shown is not None:
            self._write(again[shown])
            self._back = shown < len(again) - 1
        if self._back:
            self._blank = again[-1][:LONGEST]

    def _write(self, piece: bytes) -> None:
        if self._back:
            if _is_blank(piece):
                self._blank = (self._blank + piece)[:LONGEST]
                return
            piece = self._blank + piece
            self._kept.clear()
            self._size, self._back, self._blank = 0, False, b""
        self._size += len(piece)
        room = LONGEST - len(self._kept)
        if room > 0:
            self._kept += piece[:room]

    def _take(self) -> Line:
        kept, size = bytes(self._kept), self._size
        self._kept.clear()
        self._size, self._back, self._blank = 0, False, b""
        text = kept.decode("utf-8", "backslashreplace")
        short = limits.shorten(text, LONGEST) if len(kept) > LONGEST // 6 else text
        return Line(text if short == text else short, size if size > len(kept) or short != text else 0)


def _is_blank(piece: bytes) -> bool:
    if b"\x1b" in piece:
        for each in _ERASES:
            piece = piece.replace(each, b"")
    return not piece.strip(b" \t")
