"""stageio rebuild: files in, folders out, and every way in which that is not whole is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import record
from tests.rebuild import collector

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


@pytest.fixture
def file(job: Path, tmp_path: Path) -> Path:
    """Give a file of all lines of a job's journals."""
    path = tmp_path / "collector.jsonl"
    path.write_text("".join(f"{line}\n" for line in collector.journal(job)))
    return path


def manifests(job: Path) -> dict[str, bytes]:
    """The manifests of a job by their paths."""
    return {str(path.relative_to(job)): path.read_bytes() for path in job.rglob("manifest.json")}


def test_the_job_is_there_again(stageio: Command, job: Path, file: Path, tmp_path: Path) -> None:
    """The manifests are as they were; what came of it is told, and the same again changes nothing."""
    into = tmp_path / "again"
    ran = stageio("rebuild", file, "--into", into)
    assert ran == (0, f"2 attempts of stages in 1 job, from 9 records:\n{into}\n", "")
    assert manifests(into) == manifests(job)
    assert stageio("rebuild", file, "--into", into).code == 0
    assert manifests(into) == manifests(job)
    assert stageio("status", into).code == 0


def test_json(stageio: Command, file: Path, tmp_path: Path) -> None:
    """The document says what came of it."""
    ran = stageio("rebuild", file, "--into", tmp_path / "again", "--json")
    assert json.loads(ran.out) == {
        "complete": True,
        "folders": [str(tmp_path / "again")],
        "attempts": 2,
        "records": 9,
        "unreadable": 0,
        "missing": [],
    }


def test_several_jobs(stageio: Command, file: Path, tmp_path: Path) -> None:
    """Each gets a folder of its own below."""
    other = tmp_path / "other.jsonl"
    lines = collector.journal(record(tmp_path / "other", stages=1))
    other.write_text("".join(f"{line}\n" for line in lines))
    ran = stageio("rebuild", file, other, "--into", tmp_path / "again", "--json")
    folders = sorted(str(path) for path in (tmp_path / "again").iterdir())
    assert (ran.code, json.loads(ran.out)["folders"]) == (0, folders)


def test_what_is_missing_is_told(stageio: Command, file: Path, tmp_path: Path) -> None:
    """Records that are not there and lines that cannot be read are told, and are no success; the rest is there."""
    lines = [line for line in file.read_text().splitlines() if "hello from 1" not in line]
    file.write_text("\n".join([*lines, '{"resourceLogs": [{"sc']))
    ran = stageio("rebuild", file, "--into", tmp_path / "again")
    assert (ran.code, ran.err.count("\n")) == (1, 2)
    assert "1 records are missing" in ran.err
    assert "1 line cannot be read: passed over" in ran.err
    assert len(manifests(tmp_path / "again")) == 3


def test_what_cannot_be_begun(stageio: Command, job: Path, file: Path, tmp_path: Path) -> None:
    """Files without a stage, a folder that holds something else, the job's own folder: a line, and nothing written."""
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for arguments, says in (
        ([tmp_path / "empty.jsonl", "--into", tmp_path / "new"], "no record tells of a stage"),
        ([file, "--into", tmp_path / "full"], "is not empty"),
        ([file, "--into", job], "is where job"),
        ([file], "Missing option '--into'"),
        ([tmp_path / "nothing.jsonl", "--into", tmp_path / "new"], "does not exist"),
        ([tmp_path / "full", "--into", tmp_path / "new"], "is a directory"),
    ):
        ran = stageio("rebuild", *arguments)
        assert (ran.code, ran.out, ran.err.count("\n"), says in ran.err) == (2, "", 1, True), ran.err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
