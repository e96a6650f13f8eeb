from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.journal import encode, limits
from otel_stageio.record.commands.lines import LONGEST, Line, LineSplitter


def lines(*pieces: bytes) -> list[str | Line]:
    """The lines of what comes in these pieces; those that were cut with their sizes."""
    splitter = LineSplitter()
    found = [line for piece in pieces for line in splitter.feed(piece)]
    found += splitter.end()
    return [line if line.size else line.text for line in found]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\nc"], ["ab", "c"]),
        ([b"\n\na\n"], ["", "", "a"]),
        ([b""], []),
        ([b"a\r\nb\r\n"], ["a", "b"]),
        ([b"a\r", b"\nb"], ["a", "b"]),
        # Progress bars.
        ([b"10%\r20%\r30%\n"], ["30%"]),
        ([b"10%", b"\r", b"20%", b"\r30%"], ["30%"]),
        ([b"10%\r20%\r"], ["20%"]),
        ([b"\r10%\r20%\r   \r"], ["20%"]),
        ([b"10%\r\x1b[K20%\r\x1b[2K\n"], ["\x1b[K20%"]),
        ([b"10%\r", b"  ", b" in\n"], ["   in"]),
        ([b"10%\r  \r", b" x\rlast"], ["last"]),
        # Other encodings.
        ([b"gr\xfc\xdfe\n"], ["gr\\xfc\\xdfe"]),
        (["größe\n".encode()], ["größe"]),
        (["größe\n".encode()[:3], "größe\n".encode()[3:]], ["größe"]),
        ([b"a\0b\n"], ["a\0b"]),
    ],
)
def test_lines(pieces: list[bytes], expected: list[str]) -> None:
    """Lines end at newlines; what is written over after a carriage return counts as it was last; no byte is lost."""
    assert lines(*pieces) == expected


@given(st.lists(st.binary(max_size=20)))
def test_however_it_comes(pieces: list[bytes]) -> None:
    """In whatever pieces the bytes come, the lines are the same."""
    whole = b"".join(pieces)
    assert lines(*pieces) == lines(whole) == lines(*[whole[at : at + 1] for at in range(len(whole))])


@given(st.text(alphabet=st.characters(exclude_characters="\r", exclude_categories=["Cs"])))
def test_text_comes_back(text: str) -> None:
    """Text without carriage returns is its lines."""
    expected = text.split("\n")
    assert lines(text.encode()) == (expected if expected[-1] else expected[:-1])


def test_without_end() -> None:
    """Of a line without end the beginning is kept, with its size, in little memory; the next one is whole."""
    splitter = LineSplitter()
    piece = b"x" * (1 << 20)
    tracemalloc.start()
    for _ in range(200):
        assert list(splitter.feed(piece)) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (line, after) = splitter.feed(b"\nshort\n")
    assert (len(line.text) > LONGEST - 100, line.size, after) == (True, 200 << 20, Line("short"))
    assert peak < 4 << 20


@pytest.mark.parametrize("piece", [b"\x00", b"\xff", "ü".encode(), b"\\", b"x"])
def test_what_is_kept_fits(piece: bytes) -> None:
    """Whatever it is made of, what is kept of a long line fits in a record."""
    (line,) = lines(piece * (2 * LONGEST // len(piece)))
    assert isinstance(line, Line)
    assert LONGEST - 100 < len(encode.value(line.text)) <= LONGEST < limits.RECORD_LIMIT
