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
    nothing, place = changes.since(job, None)
    changes.tell(job, "02_bé")
    changes.tell(job, "01_a")
    told, place = changes.since(job, place)
    after, _ = changes.since(job, place)
    assert (nothing, told, after) == (None, {"01_a", "02_bé"}, set())


def test_half_a_line(job):
    """A line that is being written is read when it is whole."""
    _, place = changes.since(job, None)
    with (mine(job)).open("ab") as file:
        file.write(b"02_b\n03")
    first, place = changes.since(job, place)
    with (mine(job)).open("ab") as file:
        file.write(b"_c\n")
    second, _ = changes.since(job, place)
    assert (first, second) == ({"02_b"}, {"03_c"})


def test_another_file(job):
    """Of a file that was cut or replaced, and without one, nobody can say what changed."""
    _, place = changes.since(job, None)
    file = mine(job)
    file.write_bytes(b"")
    cut, _ = changes.since(job, place)
    file.rename(job.inner / "old")
    gone, nowhere = changes.since(job, place)
    changes.tell(job, "01_a")
    replaced, _ = changes.since(job, place)
    assert (cut, gone, nowhere, replaced) == (None, None, None, None)


def test_many_processes_tell_at_once(job):
    """Lines of processes that tell at once stay apart."""
    _, place = changes.since(job, None)
    in_processes(20, lambda number: changes.tell(job, f"{number:02d}_stage"))
    told, _ = changes.since(job, place)
    assert told == {f"{number:02d}_stage" for number in range(20)}


def test_every_host_tells_in_a_file_of_its_own(job):
    """One host writes a file; what a host says that was not heard of before is all new."""
    _, place = changes.since(job, None)
    for number in (1, 2, 1):
        SimulatedHost(f"node{number}").does(lambda number=number: changes.tell(job, f"0{number}_x"))
    changes.tell(job, "05_here")
    told, place = changes.since(job, place)
    SimulatedHost("node2").does(lambda: changes.tell(job, "07_later"))
    later, place = changes.since(job, place)
    assert (told, later) == ({"01_x", "02_x", "05_here"}, {"07_later"})
    assert (job.inner / "changes.node1").read_text() == "01_x\n01_x\n"
    (job.inner / "changes.node1").unlink()
    assert changes.since(job, place)[0] is None
