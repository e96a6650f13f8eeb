"""Reading files that were torn, touched by strangers, or are still being written."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.journal import encode, reader
from otel_stageio.model import Span
from tests.journal.samples import TAIL, line, unhurried

SPAN = Span(trace_id="1" * 32, span_id="2" * 16, name="asr", start_time_unix_nano=1, end_time_unix_nano=2)


def write(data: bytes, name: str = "events.jsonl") -> str:
    """Make a file of these bytes; its path."""
    with open(name, "wb") as file:
        file.write(data)
    return name


def bodies(path: str, **how: object) -> list[object]:
    """The texts of the file's records."""
    return [each.body for each in reader.log_records(path, **how)]


def test_a_file_that_is_not_there_has_no_lines():
    """Files appear with their first line: a missing one is an empty one."""
    assert list(reader.pieces("events.jsonl")) == []
    assert bodies("events.jsonl") == []


def test_what_cannot_be_read_is_said():
    """Readers never swallow: anything but a missing file is an OSError."""
    os.mkdir("events.jsonl")
    with pytest.raises(IsADirectoryError):
        list(reader.pieces("events.jsonl"))


def test_lines_come_in_order_with_their_ends():
    """Each line is a piece of its own, and its end is the byte at which the next begins."""
    one, two = line("one"), line("two")
    pieces = list(reader.pieces(write(one + two)))
    assert [piece.end for piece in pieces] == [len(one), len(one + two)]
    assert [of.records[0].body for piece in pieces for of in piece.lines] == ["one", "two"]
    assert [piece.broken for piece in pieces] == [False, False]


def test_reading_goes_on_where_it_stopped():
    """Read from the end of any piece, the file gives the pieces after it, ends counted from the file's start."""
    path = write(line("one") + b"\ngarbage\n" + line("two") + line("three"))
    pieces = list(reader.pieces(path))
    for index, piece in enumerate(pieces):
        assert list(reader.pieces(path, start=piece.end)) == pieces[index + 1 :]


def test_a_torn_line_costs_itself_alone():
    """Torn at any byte, with the next line glued to it, a line takes no other with it."""
    whole, torn, after = line("whole"), line('torn, \u2028 \U0001f600 \\ "'), line("after")
    for cut in range(1, len(torn)):
        path = write(whole + torn[:cut] + after)
        pieces = list(reader.pieces(path))
        assert bodies(path) == ["whole", "after"]
        assert [piece.broken for piece in pieces] == [False, True]
        assert pieces[-1].end == len(whole) + cut + len(after)


def test_a_torn_line_and_a_newline():
    """A torn line that a later writer closed with a newline is one broken piece without records."""
    torn = line("torn")
    for cut in range(1, len(torn) - 1):
        path = write(torn[:cut] + b"\n" + line("after"))
        pieces = list(reader.pieces(path))
        assert [(piece.broken, len(piece.lines)) for piece in pieces] == [(True, 0), (False, 1)]


def test_a_torn_span():
    """Spans are found in a torn line as log records are."""
    whole = encode.span_line(SPAN, TAIL)
    path = write(whole[:100] + whole, "traces.jsonl")
    assert list(reader.spans(path)) == [SPAN]
    assert list(reader.log_records(path)) == []


def test_several_torn_lines_and_a_whole_one():
    """However many torn lines are glued before it, the last whole one is read."""
    torn = line("torn")
    path = write(torn[:50] + torn[:-20] + torn[:200] + line("whole"))
    assert bodies(path) == ["whole"]


def test_a_message_that_looks_like_a_line():
    """The text of a line within a message is not taken for a line when the message's own line is torn."""
    inner = line("forged").decode()
    outer = line(inner)
    path = write(outer[:-30] + b"\n" + line("after"))
    assert bodies(path) == ["after"]
    assert bodies(write(outer)) == [inner]


def test_a_tail_without_newline():
    """While the stage runs a tail without newline is not there yet; afterwards it is a line like any other."""
    whole, tail = line("whole"), line("tail")
    for cut in range(1, len(tail)):
        path = write(whole + tail[:cut])
        assert bodies(path, live=True) == ["whole"]
        assert list(reader.pieces(path, live=True))[-1].end == len(whole)
        assert bodies(path) == (["whole", "tail"] if cut == len(tail) - 1 else ["whole"])


def test_a_live_file_is_followed():
    """A reader that goes on at the last piece's end gets each line once, however the writing was cut up."""
    data = b"".join(line(f"line {index}") for index in range(20))
    found: list[object] = []
    at = 0
    for size in range(0, len(data) + 97, 97):
        path = write(data[:size])
        for piece in reader.pieces(path, start=at, live=True):
            found += [record.body for of in piece.lines for record in of.records]
            at = piece.end
    assert found == [f"line {index}" for index in range(20)]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0" * 4096,
        b"\xff\xfe\x80",
        b"[1, 2]",
        b"{}",
        b"null",
        b'{"resourceLogs":[',
        b'{"resourceLogs":[{"scopeLogs":5}]}',
        b'{"resourceMetrics":[]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"9" * 5000,
        b"<html>",
        "\u2028\x85\x0b\x0c".encode(),
    ],
    ids=lambda of: repr(of[:20]),
)
def test_garbage_between_lines(garbage):
    """Bytes of any kind, in a line of their own or glued before one, hide no line of ours."""
    path = write(line("one") + garbage + b"\n" + line("two") + garbage + line("three"))
    assert bodies(path) == ["one", "two", "three"]
    assert sum(piece.broken for piece in reader.pieces(path)) == 2


def test_a_byte_order_mark():
    """A mark that an editor put before a line does not cost the line."""
    assert bodies(write(b"\xef\xbb\xbf" + line("one") + line("two"))) == ["one", "two"]


def test_blank_lines_are_passed_over():
    """Blank lines, and the blanks that an editor leaves around a line, are nothing."""
    path = write(b"\n\n  \r\n" + line("one")[:-1] + b" \r\n\n\t" + line("two"))
    assert bodies(path) == ["one", "two"]
    assert not any(piece.broken for piece in reader.pieces(path))


def test_only_the_lines_asked_for_are_decoded(monkeypatch):
    """Lines without the bytes in `only` are passed over undecoded; ends are still those of the file."""
    path = write(line("one") + line("two") + line("three"))
    decoded = []
    monkeypatch.setattr(reader.decode, "lines", lambda tree: decoded.append(tree) or [])
    pieces = list(reader.pieces(path, only=b'"two"'))
    assert len(decoded) == 1
    assert [piece.end for piece in pieces] == [len(line("one") + line("two"))]


PIECES = st.lists(
    st.one_of(
        st.integers(0, 9).map(lambda index: (line(f"{index} \u00e4"), f"{index} \u00e4")),
        st.integers(1, len(line("torn")) - 2).map(lambda cut: (line("torn")[:cut], None)),
        st.integers(1, len(line("torn")) - 2).map(lambda cut: (line("torn")[:cut] + b"\n", None)),
        st.binary(max_size=20).map(lambda data: (data, None)),
        st.just((b"\n", None)),
    ),
    max_size=12,
)


@unhurried
@given(PIECES)
def test_no_whole_line_is_lost(pieces):
    """In any mixture of whole lines, torn ones and garbage, all whole lines and nothing else are read, in order."""
    path = write(b"".join(data for data, _ in pieces))
    assert bodies(path) == [body for _, body in pieces if body is not None]


def test_a_line_that_never_ends_is_passed_over(monkeypatch):
    """A line longer than any that we write is not kept in memory: it is one broken line, and the rest is read."""
    monkeypatch.setattr(reader, "_LONGEST", 1_000)
    path = write(b"x" * 2_500 + b"\n" + line("one") + b"y" * 1_200)
    begins, ends = 2_501, 2_501 + len(line("one"))
    assert [(piece.end, piece.broken) for piece in reader.pieces(path)] == [
        (begins, True),
        (ends, False),
        (ends + 1_200, True),
    ]
    assert bodies(path) == ["one"]


SCOPE = '"scope":{"name":"s"}'
RESOURCE = '"resource":{"attributes":[{"key":"writer","value":{"intValue":"<writer>"}}]}'
#: Lines as somebody may write them: ours, and in other orders; <records> and <writer> are filled in.
SHAPES = (
    f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[<records>],{SCOPE}}}],{RESOURCE}}}]}}',
    f'{{"resourceLogs":[{{{RESOURCE},"scopeLogs":[{{"logRecords":[<records>],{SCOPE}}}]}}]}}',
    f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[<records>],{SCOPE}}}]}}]}}',
    f'{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[<records>]}}],{RESOURCE}}}]}}',
)
RECORDS = (
    '{"timeUnixNano":"1"}',
    '{"timeUnixNano":"2"},{"timeUnixNano":"3"}',
    "",
    '{"timeUnixNano":"4"}],"scope":{"x":[',
)


@unhurried
@given(
    st.lists(st.tuples(st.sampled_from(SHAPES), st.sampled_from(RECORDS), st.sampled_from("12")), max_size=12),
)
def test_each_line_is_by_its_own_writer(told):
    """What is remembered of a writer is nobody else's: read together, lines say what each says in a file of its own."""
    lines = [
        f"{shape.replace('<records>', records).replace('<writer>', writer)}\n".encode()
        for shape, records, writer in told
    ]
    alone = [piece.lines for each in lines for piece in reader.pieces(write(each, "one.jsonl"))]
    assert [piece.lines for piece in reader.pieces(write(b"".join(lines), "all.jsonl"))] == alone
