"""The short form of `make stress`: many processes on one job folder, whose work ends at random."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.job import registry
from otel_stageio.job.layout import JobLayout
from tests.stress import judge, stress

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_torn_lost_doubled_or_wrong(tmp_path: Path) -> None:
    """What any of the processes logged is on record once, numbers are distinct, and the job manifest is right."""
    found = stress(tmp_path, processes=12, seconds=5)
    assert found.wrong == []
    assert found.attempts > 30
    assert found.records > 200


def torn_line(job: Path) -> None:
    """A line of stage.log is cut."""
    log = job / "91_cut/stage.log"
    log.write_text(re.sub(r"\n.*(?=word 1)", "\n", log.read_text()))


def torn_record(job: Path) -> None:
    """A line of the journal is cut."""
    journal = job / "91_cut/.stageio/001/logs.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20] + b"\n")


def lost_record(job: Path) -> None:
    """A log record is not there."""
    (job / "91_cut/.stageio/001/logs.jsonl").unlink()


def doubled_line(job: Path) -> None:
    """stage.log has everything twice."""
    log = job / "91_cut/stage.log"
    log.write_text(log.read_text() * 2)


def doubled_number(job: Path) -> None:
    """Two stages have one number."""
    (job / "91_cut").rename(job / "92_cut")


def second_trace(job: Path) -> None:
    """Some records are of another trace."""
    journal = job / "91_cut/.stageio/001/logs.jsonl"
    journal.write_text(re.sub('"traceId":"[0-9a-f]{32}"', f'"traceId":"{"a" * 32}"', journal.read_text()))


def wrong_manifest(job: Path) -> None:
    """The job manifest is of yesterday."""
    path = job / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running"}))


def wrong_count(job: Path) -> None:
    """The job manifest has an item too many."""
    path = job / "manifest.json"
    path.write_text(path.read_text().replace('"success": 1', '"success": 2'))


def wrong_end(job: Path) -> None:
    """A stage that succeeded is on record as failed."""
    journal = job / "91_cut/.stageio/001/events.jsonl"
    journal.write_text(journal.read_text().replace('"stringValue":"success"', '"stringValue":"failed"'))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (torn_line, "91_cut/stage.log: 'word 1 '"),
        (torn_record, "logs.jsonl: 1 lines cannot be read"),
        (lost_record, "1 was logged once and is on record 0 times"),
        (doubled_line, "1 was logged once and is in stage.log 2 times"),
        (doubled_number, "number 92 is there 2 times"),
        (second_trace, "2 traces"),
        (wrong_manifest, "the job manifest is not what the journals say"),
        (wrong_count, "the items of 91_cut are {'success': 1}, and {'success': 2} in the job manifest"),
        (wrong_end, "91_cut, attempt 1, was success and is on record as"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage, said: str) -> None:
    """Each kind of damage that a stress run looks for is found by it, and nothing where nothing is damaged."""
    monkeypatch.setenv("STAGEIO_RUN", "stress")
    for number, name in enumerate(("91_cut", "92_mix"), 1):
        with StageIO(name, tmp_path / "job", mode="file") as io:
            io.get_stage_logger().info("word %s ", number)
    StageIO("91_cut", tmp_path / "job", item="ep1", mode="file").finalize()
    registry.update(JobLayout(tmp_path / "job"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/1").write_text("1\n2\nended 91_cut 1 success\nended 91_cut/ep1 1 success\n")
    assert judge(tmp_path, 1).wrong == []
    damage(tmp_path / "job")
    assert any(said in each for each in judge(tmp_path, 1).wrong)
