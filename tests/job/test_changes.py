"""Which stages were changed: what is told is read once, by everybody who was there, and by nobody by half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_stageio.job import changes
from otel_stageio.job.layout import JobLayout
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
    with (job.inner / changes.CHANGES).open("ab") as file:
        file.write(b"02_b\n03")
    first, place = changes.since(job, place)
    with (job.inner / changes.CHANGES).open("ab") as file:
        file.write(b"_c\n")
    second, _ = changes.since(job, place)
    assert (first, second) == ({"02_b"}, {"03_c"})


def test_another_file(job):
    """Of a file that was cut or replaced, and without one, nobody can say what changed."""
    _, place = changes.since(job, None)
    file = job.inner / changes.CHANGES
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
