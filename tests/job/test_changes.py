"""Which stages were changed: what is told is read once, by everybody who was there, and by nobody by half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_stageio.job import changes, host
from otel_stageio.job.layout import JobLayout
from tests.hosts import SimulatedHost
from tests.processes import in_processes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def job(tmp_path: Path) -> JobLayout:
    """A job in which one change was told."""
    made = JobLayout(tmp_path)
    made.inner.mkdir()
    changes.tell(made, "01_a")
    return made


def mine(job: JobLayout) -> Path:
    """The file of this host."""
    return job.inner / f"{changes.CHANGES}{host.name()}"


def test_told_once(job):
    """What was told since the last reading comes with the next one, and no more after that."""
    first, place, whole = changes.since(job, None)
    changes.tell(job, "02_bé")
    changes.tell(job, "01_a")
    told, place, rest = changes.since(job, place)
    after = changes.since(job, place)
    assert (first, whole) == ({"01_a": ""}, True)
    assert (told, rest) == ({"01_a": "", "02_bé": ""}, False)
    assert (after.words, after.whole) == ({}, False)


def test_the_last_word_counts(job):
    """What is known of an item stands until somebody tells of it again."""
    _, place, _ = changes.since(job, None)
    changes.tell_known(job, [("06_asr/a", "1 1"), ("06_asr/b", "1 2")])
    changes.tell(job, "06_asr/a")
    assert changes.since(job, place).words == {"06_asr/a": "", "06_asr/b": "1 2"}


def test_what_is_told_late_of_an_earlier_attempt(job):
    """Once an attempt was opened, the end of one before it is no news; its own is, and what is opened anew counts."""

    def said() -> str:
        return changes.since(job, place).words["06_asr/a"]

    _, place, _ = changes.since(job, None)
    changes.tell_known(job, [("06_asr/a", "1 x")])
    changes.tell_opened(job, "06_asr/a", 2)
    assert said() == "2"
    changes.tell_known(job, [("06_asr/a", "1 x")])
    assert said() == "2"
    changes.tell_known(job, [("06_asr/a", "2 y")])
    assert said() == "2 y"
    changes.tell_opened(job, "06_asr/a", 1)  # its folder was deleted
    changes.tell_known(job, [("06_asr/a", "1 z")])
    assert said() == "1 z"


def test_half_a_line(job):
    """A line that is being written is read when it is whole."""
    _, place, _ = changes.since(job, None)
    with (mine(job)).open("ab") as file:
        file.write(b"02_b\n03")
    first, place, _ = changes.since(job, place)
    with (mine(job)).open("ab") as file:
        file.write(b"_c\n")
    second, _, _ = changes.since(job, place)
    assert (first, second) == ({"02_b": ""}, {"03_c": ""})


def test_another_file(job):
    """Of a file that was cut or replaced, and without one, nobody can say what changed."""
    _, place, _ = changes.since(job, None)
    file = mine(job)
    file.write_bytes(b"")
    cut = changes.since(job, place)
    file.rename(job.inner / "old")
    gone = changes.since(job, place)
    changes.tell(job, "01_a")
    replaced = changes.since(job, place)
    assert all(each.whole for each in (cut, gone, replaced))
    assert (cut.words, gone.words, gone.place, replaced.words) == ({}, {}, None, {"01_a": ""})


def test_many_processes_tell_at_once(job):
    """Lines of processes that tell at once stay apart."""
    _, place, _ = changes.since(job, None)
    in_processes(20, lambda number: changes.tell(job, f"{number:02d}_stage"))
    assert changes.since(job, place).words == {f"{number:02d}_stage": "" for number in range(20)}


def test_every_host_tells_in_a_file_of_its_own(job):
    """One host writes a file; what a host says that was not heard of before is all new."""
    _, place, _ = changes.since(job, None)
    for number in (1, 2, 1):
        SimulatedHost(f"node{number}").does(lambda number=number: changes.tell(job, f"0{number}_x"))
    changes.tell(job, "05_here")
    told, place, rest = changes.since(job, place)
    SimulatedHost("node2").does(lambda: changes.tell(job, "07_later"))
    later, place, _ = changes.since(job, place)
    assert (set(told), set(later), rest) == ({"01_x", "02_x", "05_here"}, {"07_later"}, False)
    assert (job.inner / "changes.node1").read_text() == "01_x\n01_x\n"
    (job.inner / "changes.node1").unlink()
    assert changes.since(job, place).whole


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("1 a", "2 b"), "2 b"),
        (("10 a", "9 b"), "10 a"),
        (("1 a", "1 a"), "1 a"),
        (("1 a", "1 b"), ""),
        (("", "3 b"), ""),
        (("3 a", ""), ""),
        (("x", "1 b"), ""),
        (("2", "1 b"), "2"),
        (("2", "2 b"), ""),
    ],
)
def test_two_hosts_tell_of_one_item(job, words, expected):
    """The later attempt counts, whoever told of it; where that does not tell, the item has to be looked at."""
    for number, word in enumerate(words):
        SimulatedHost(f"node{number}").does(lambda word=word: changes.tell_known(job, [("06_asr/a", word)]))
    assert changes.since(job, None).words == {"01_a": "", "06_asr/a": expected}
