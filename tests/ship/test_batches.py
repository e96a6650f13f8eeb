"""ship.batches: a file is cut into batches that hold every line once, whatever their limits."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.model import Line
from otel_stageio.ship.batches import Batch, batches, halves
from tests.journal.samples import RESOURCE, SCOPE, line, log, unhurried

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def bodies(*of: Batch) -> list[object]:
    """The bodies of the log records of these batches."""
    return [record.body for batch in of for each in batch.lines for record in each.records]  # type: ignore[union-attr] # logs


def written(path: Path, number: int) -> Path:
    """A file of so many log records, numbered."""
    path.write_bytes(b"".join(line(str(each)) for each in range(number)))
    return path


@unhurried
@given(number=st.integers(0, 30), most_bytes=st.integers(1, 3_000), most_records=st.integers(1, 40))
def test_every_record_is_in_one_batch(
    tmp_path_factory: pytest.TempPathFactory, number: int, most_bytes: int, most_records: int
) -> None:
    """Whatever the limits are, the batches hold the records in their order, and no batch of several is too large."""
    path = written(tmp_path_factory.mktemp("batches") / "logs.jsonl", number)
    found = list(batches(str(path), 0, most_bytes=most_bytes, most_records=most_records))
    assert bodies(*found) == [str(each) for each in range(number)]
    starts = [0, *(batch.end for batch in found)]
    sizes = [end - start for start, end in pairwise(starts)]
    assert sum(sizes) == path.stat().st_size
    assert all(size <= most_bytes or batch.records == 1 for size, batch in zip(sizes, found, strict=True))
    assert all(batch.records <= most_records for batch in found)


@unhurried
@given(number=st.integers(1, 10), at=st.integers(0, 10))
def test_a_batch_begins_where_the_last_one_ended(
    tmp_path_factory: pytest.TempPathFactory, number: int, at: int
) -> None:
    """Going on at the end of any batch gives the rest, and nothing twice."""
    path = written(tmp_path_factory.mktemp("batches") / "logs.jsonl", number)
    found = list(batches(str(path), 0, most_records=1))
    start = found[min(at, number - 1)].end
    assert bodies(*batches(str(path), start)) == [str(each) for each in range(min(at, number - 1) + 1, number)]


def test_an_unfinished_line_is_left_for_later(tmp_path: Path) -> None:
    """While a stage writes, a tail without newline is in no batch; afterwards it is."""
    path = tmp_path / "logs.jsonl"
    path.write_bytes(line("a") + line("b")[:-1])
    assert [bodies(*batches(str(path), 0, live=live)) for live in (True, False)] == [["a"], ["a", "b"]]


def test_a_broken_line_is_counted_and_passed(tmp_path: Path) -> None:
    """What cannot be read does not hold up what can."""
    path = tmp_path / "logs.jsonl"
    path.write_bytes(line("a") + b"\x00\xff no line\n" + line("b"))
    (batch,) = batches(str(path), 0)
    assert (bodies(batch), batch.broken, batch.end) == (["a", "b"], 1, path.stat().st_size)


def test_of_a_file_that_is_not_there_nothing_comes(tmp_path: Path) -> None:
    """A stage that never made a span has no traces.jsonl."""
    assert list(batches(str(tmp_path / "traces.jsonl"), 0)) == []


@unhurried
@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_halves_are_the_whole(sizes: list[int]) -> None:
    """Two parts hold the records in their order, and differ by one at most."""
    numbers = iter(range(100))
    lines = tuple(Line(tuple(log(str(next(numbers))) for _ in range(size)), SCOPE, RESOURCE) for size in sizes)
    first, second = (Batch(part, 0) for part in halves(Batch(lines, 0)))
    assert bodies(first, second) == [str(each) for each in range(sum(sizes))]
    assert 0 <= first.records - second.records <= 1
