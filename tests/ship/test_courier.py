"""ship.courier: what costs time in a process of many stages is done once; the rest is in test_live."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.job.layout import JobLayout
from otel_stageio.settings import Export, Signal
from otel_stageio.ship import folders
from otel_stageio.ship.courier import Courier, courier

if TYPE_CHECKING:
    from pathlib import Path

#: Nobody is asked in these tests: no round is made.
EXPORT = Export(logs=Signal("http://127.0.0.1:9/v1/logs", host="127.0.0.1", port=9, off=""))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Courier:
    """A courier whose thread does nothing."""
    monkeypatch.setattr(Courier, "_run", lambda _: None)
    return Courier(EXPORT)


def followed(made: Courier, folder: Path) -> JobLayout:
    """Have it follow a stage that has ended."""
    StageIO("asr", folder, stage_number=1, mode="file").finalize()
    job = JobLayout(folder)
    attempt = str(folder / "01_asr" / ".stageio" / "001")
    made.follow(job, 1, attempt)
    made.end(attempt)
    return job


def test_a_job_s_backlog_is_looked_for_once(made: Courier, tmp_path: Path) -> None:
    """Each stage of a process asks; looking at a thousand attempts a thousand times would take minutes."""
    job = followed(made, tmp_path)
    for _ in range(3):
        made.take_along(job)
    assert made._asked == [job]
    made.take_along(job, again=True)
    assert made._asked == [job, job]


def test_a_stage_that_ended_is_looked_at_no_more(
    made: Courier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered and ended a while ago, it costs nothing, until the process ends: then what came late goes out."""
    followed(made, tmp_path)
    assert len(made._grown()) == 2
    for folder in made._grown():
        folder.settle(folder.sizes())
    with open(tmp_path / "01_asr" / ".stageio" / "001" / "events.jsonl", "ab") as file:
        file.write(b"\n")
    assert len(made._grown()) == 1
    monkeypatch.setattr(folders, "_AFTERWARDS", -1.0)
    assert made._grown() == []
    made._ending = 1.0
    assert len(made._grown()) == 1


def test_one_for_the_process() -> None:
    """Stages that go to the same place share it; where nothing is sent there is none."""
    assert courier(EXPORT) is courier(EXPORT._replace())
    assert courier(Export()) is None
