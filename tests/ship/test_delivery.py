"""ship.delivery: every record reaches a backend that takes it, whatever the backend does meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.ship.cursor import Cursor, Delivered, Refused, load, save
from otel_stageio.ship.delivery import Outcome, Way
from otel_stageio.ship.shown import ShownLogRecord
from otel_stageio.ship.wire import Answer, Verdict
from tests.journal.samples import line, unhurried

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TO = "http://backend:4318"
DELIVERED = Answer(Verdict.DELIVERED)
LATER = Answer(Verdict.LATER, "HTTP 503", wait=2)
REFUSED = Answer(Verdict.REFUSED, "HTTP 400")


class Told:
    """A wire that answers as told, and keeps what was taken."""

    def __init__(self, answer: Callable[[list[str]], Answer]) -> None:
        self._answer = answer
        self.taken: list[str] = []
        self.asked = 0

    def send(self, batch: Sequence[object]) -> Answer:
        """Ask."""
        self.asked += 1
        names = [str(each.body) for each in batch if isinstance(each, ShownLogRecord)]
        answer = self._answer(names)
        if answer.verdict is Verdict.DELIVERED:
            self.taken += names
        return answer

    def close(self) -> None:
        """Nothing to give back."""


def written(path: Path, names: Sequence[str]) -> str:
    """A file of log records with these bodies."""
    path.write_bytes(b"".join(map(line, names)))
    return str(path)


def test_the_cursor_is_at_the_end_of_what_is_delivered(tmp_path: Path) -> None:
    """After all is taken, the next round sends nothing."""
    path = written(tmp_path / "logs.jsonl", "abc")
    wire = Told(lambda _: DELIVERED)
    (outcome,) = Way(wire, TO).deliver(path, Cursor())
    assert (outcome.stopped, outcome.cursor.offset, outcome.cursor.delivered) == (None, Path(path).stat().st_size, 3)
    assert list(Way(wire, TO).deliver(path, outcome.cursor)) == []
    assert wire.taken == list("abc")


def test_what_comes_later_is_sent_later(tmp_path: Path) -> None:
    """A cursor goes on where it stands when the file has grown."""
    path = written(tmp_path / "logs.jsonl", "a")
    wire = Told(lambda _: DELIVERED)
    (first,) = Way(wire, TO).deliver(path, Cursor())
    written(tmp_path / "logs.jsonl", "abc")
    list(Way(wire, TO).deliver(path, first.cursor))
    assert wire.taken == list("abc")


@pytest.mark.parametrize("answer", [LATER, Answer(Verdict.NOT_TAKEN, "HTTP 404")])
def test_the_cursor_stays_where_the_backend_does_not_take(tmp_path: Path, answer: Answer) -> None:
    """What waits, waits whole; the reason and the wait are told."""
    path = written(tmp_path / "logs.jsonl", "abc")
    assert list(Way(Told(lambda _: answer), TO).deliver(path, Cursor())) == [Outcome(Cursor(), answer)]


@unhurried
@given(number=st.integers(2, 40), bad=st.sets(st.integers(0, 39), max_size=6), most=st.integers(1, 41))
def test_those_to_blame_are_found_and_the_rest_is_taken_once(
    tmp_path_factory: pytest.TempPathFactory, number: int, bad: set[int], most: int
) -> None:
    """A backend that refuses every batch with an offending record in it gets each of the others, once."""
    names = [str(each) for each in range(number)]
    offending = {str(each) for each in bad if each < number}
    path = written(tmp_path_factory.mktemp("delivery") / "logs.jsonl", ["first", *names])
    wire = Told(lambda batch: REFUSED if offending.intersection(batch) else DELIVERED)
    *_, (known, *_) = Way(wire, TO, most_records=most).deliver(path, Cursor())
    assert wire.taken == ["first", *(name for name in names if name not in offending)]
    assert known.delivered == number + 1 - len(offending)
    assert [each.why for each in known.refused] == ["HTTP 400"] * len(offending)


def test_a_backend_that_takes_nothing_blames_nobody(tmp_path: Path) -> None:
    """Where every record is refused and none was ever taken, all wait, and few are tried one by one."""
    path = written(tmp_path / "logs.jsonl", [str(each) for each in range(2_000)])
    wire = Told(lambda _: REFUSED)
    ((cursor, stopped, *_),) = Way(wire, TO).deliver(path, Cursor())
    assert (cursor, stopped and stopped.verdict, "HTTP 400" in (stopped.why if stopped else "")) == (
        Cursor(),
        Verdict.LATER,
        True,
    )
    assert wire.asked < 40


def test_one_record_alone_is_not_to_blame_before_the_backend_took_another(tmp_path: Path) -> None:
    """A refused record waits where nothing was taken yet, and is set aside where something was."""
    bad, good = written(tmp_path / "a.jsonl", ["bad"]), written(tmp_path / "b.jsonl", ["good"])
    way = Way(Told(lambda batch: REFUSED if "bad" in batch else DELIVERED), TO)
    ((waits, *_),) = way.deliver(bad, Cursor())
    list(way.deliver(good, Cursor()))
    ((set_aside, stopped, *_),) = way.deliver(bad, Cursor())
    assert (waits, stopped) == (Cursor(), None)
    assert set_aside.refused == (Refused("w-1", "HTTP 400"),)


def test_rejected_records_of_a_delivered_batch_are_counted(tmp_path: Path) -> None:
    """A partial success moves the cursor: those records will not be taken later either."""
    path = written(tmp_path / "logs.jsonl", "abc")
    ((cursor, *_),) = Way(Told(lambda _: Answer(Verdict.DELIVERED, "too old", rejected=2)), TO).deliver(path, Cursor())
    assert (cursor.delivered, cursor.rejected, cursor.offset) == (1, 2, Path(path).stat().st_size)


@pytest.mark.parametrize(("said", "rejected"), [(4, 3), (1_000_000, 3), (-2, 0)])
def test_no_count_of_a_backend_makes_the_cursor_one_that_cannot_be_read(
    tmp_path: Path, said: int, rejected: int
) -> None:
    """Where it rejects more than are in the file, such as a mark that went along, nothing is sent twice for it."""
    path = written(tmp_path / "logs.jsonl", "abc")
    ((cursor, *_),) = Way(Told(lambda _: Answer(Verdict.DELIVERED, "no", rejected=said)), TO).deliver(path, Cursor())
    assert (cursor.delivered, cursor.rejected) == (3 - rejected, rejected)
    save(str(tmp_path), {TO: Delivered({"logs.jsonl": cursor})})
    assert load(str(tmp_path))[TO].files["logs.jsonl"] == cursor


def test_an_outage_in_the_middle_repeats_no_batch_that_was_acknowledged(tmp_path: Path) -> None:
    """What was acknowledged before the backend went away is not sent again after it came back."""
    path = written(tmp_path / "logs.jsonl", "abcdef")
    down = [False, True, False, False]
    wire = Told(lambda _: LATER if down.pop(0) else DELIVERED)
    *_, (cursor, stopped, *_) = Way(wire, TO, most_records=2).deliver(path, Cursor())
    assert stopped == LATER
    list(Way(wire, TO).deliver(path, cursor))
    assert wire.taken == list("abcdef")


def test_a_file_that_was_replaced_is_sent_from_its_start(tmp_path: Path) -> None:
    """A cursor of another file, or past the end, does not make records vanish."""
    path = written(tmp_path / "logs.jsonl", "abc")
    wire = Told(lambda _: DELIVERED)
    ((cursor, *_),) = Way(wire, TO).deliver(path, Cursor())
    written(tmp_path / "logs.jsonl", "xyz")
    list(Way(wire, TO).deliver(path, cursor))
    written(tmp_path / "logs.jsonl", "a")
    list(Way(wire, TO).deliver(path, cursor))
    assert wire.taken == list("abcxyza")
