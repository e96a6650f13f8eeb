"""stageio show: the stages of a job at a glance, how many items came to what, and what did not succeed and why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from otel_stageio import StageIO, open_job
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Command


def story(job: Path) -> None:
    """A stage, one with items of which one failed, and one that was killed."""
    StageIO("01_cut", job).finalize()
    for item in ("a", "b", "c"):
        io = StageIO("02_asr", job, item=item)
        io.finalize("failed" if item == "b" else "success", **({"reason": "no speech"} if item == "b" else {}))
    child = os.fork()
    if child == 0:
        StageIO("03_mix", job)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def rows(text: str) -> list[list[str]]:
    """The lines of a text as their words, without rules."""
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("─")]


def test_at_a_glance(stageio: Command, tmp_path: Path) -> None:
    """Each stage is a row with its state, items are counted, and below is what did not succeed, with the reason."""
    story(tmp_path / "out")
    ran = stageio("show", tmp_path / "out")
    found = rows(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert found[0][-3:] == ["run", "1,", "failed"]
    assert [row[:-1] for row in found[2:5]] == [
        ["01_cut", "success", "1", "1"],
        ["02_asr", "failed", "2", "success,", "1", "failed", "1"],
        ["03_mix", "abandoned", "1"],
    ]
    assert [[row[0], row[1]] for row in found[6:]] == [["02_asr/b", "failed"], ["03_mix", "abandoned"]]
    assert found[6][-2:] == ["no", "speech"]


def test_a_stage_with_items_that_failed_without_one(
    stageio: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stage came to outside of its items is told, too, as long as it is of the run that the stage is in."""
    job = tmp_path / "out"
    monkeypatch.setenv("STAGEIO_RUN", "one")
    StageIO("02_asr", job, item="a").finalize()
    StageIO("02_asr", job).finalize("failed", reason="no list")
    document = json.loads(stageio("show", job, "--json").out)
    assert (document["status"], [stage["status"] for stage in document["stages"]]) == ("failed", ["failed"])
    (row,) = document["not_succeeded"]
    assert (row["folder"], row["item"], row["status"], row["reason"]) == ("02_asr", None, "failed", "no list")
    monkeypatch.setenv("STAGEIO_RUN", "two")
    StageIO("02_asr", job, item="a").finalize()
    document = json.loads(stageio("show", job, "--json").out)
    assert (document["status"], document["not_succeeded"]) == ("success", [])


def test_nothing_is_written(stageio: Command, tmp_path: Path) -> None:
    """Looking leaves every file as it is, the ends of the dead unwritten."""
    story(tmp_path / "out")

    def state() -> list[tuple[str, int]]:
        return sorted((str(each), each.stat().st_mtime_ns) for each in (tmp_path / "out").rglob("*"))

    before = state()
    stageio("show", tmp_path / "out", "--attempts")
    assert state() == before


def test_every_attempt(stageio: Command, tmp_path: Path) -> None:
    """With --attempts each attempt of each stage and item is a row of its own."""
    story(tmp_path / "out")
    StageIO("02_asr", tmp_path / "out", item="b").finalize()
    found = rows(stageio("show", tmp_path / "out", "--attempts").out)
    assert [row[:4] for row in found if row[0].startswith("02_asr/b")] == [
        ["02_asr/b", "1", "1", "failed"],
        ["02_asr/b", "2", "1", "success"],
    ]


def test_json(stageio: Command, tmp_path: Path) -> None:
    """The document is the job manifest as of now, with what did not succeed and, where asked for, the attempts."""
    story(tmp_path / "out")
    document = json.loads(stageio("show", tmp_path / "out", "--json", "--attempts").out)
    assert (document["job"], document["status"]) == (str(tmp_path / "out"), "failed")
    assert document["stages"][1]["items"]["total"] == 3
    assert [(of["folder"], of["item"], of["reason"]) for of in document["not_succeeded"]] == [
        ("02_asr/b", "b", "no speech"),
        ("03_mix", None, None),
    ]
    assert [row["folder"] for row in document["attempts"]] == ["01_cut", "02_asr/a", "02_asr/b", "02_asr/c", "03_mix"]


def test_the_job_by_default(stageio: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder it is the one that stages would use; a folder that is no job is an error of its own code."""
    story(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    assert stageio("show").out.startswith("out (job ")
    monkeypatch.setenv("STAGEIO_JOB_DIR", str(tmp_path))
    ran = stageio("show")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "is no job folder" in ran.err


def test_nobody_looks(tmp_path: Path) -> None:
    """With stdout closed there is nothing to show, and nothing breaks."""
    story(tmp_path / "out")
    command = [sys.executable, "-m", "otel_stageio", "show", str(tmp_path / "out")]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh"]
    ran = subprocess.run([*shell, *command], env=clean_environment(), stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_what_cannot_be_read(stageio: Command, tmp_path: Path) -> None:
    """A stage that cannot be read is told and not passed over; a job that cannot be read is no job, as for the rest."""
    story(tmp_path / "out")
    inner = tmp_path / "out" / "01_cut" / ".stageio"
    inner.rename(inner.with_name("away"))
    inner.symlink_to(inner)  # a circle: an error for root, too
    ran = stageio("show", tmp_path / "out")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert ran.err.startswith("stageio: 01_cut cannot be read: ")
    assert [row[0] for row in rows(ran.out)[2:4]] == ["02_asr", "03_mix"]
    (tmp_path / "file").touch()
    ran = stageio("show", tmp_path / "file")
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_pipelines(stageio: Command, tmp_path: Path) -> None:
    """What `stageio run` ran is told above the stages: the newest, those that still run, and with --attempts all."""
    job = tmp_path / "out"
    run = [sys.executable, "-m", "otel_stageio", "run", "--job", str(job)]

    def passed(*command: str) -> None:
        subprocess.run([*run, "--", *command], env=clean_environment(), check=False, capture_output=True)

    passed("sh", "-c", "exit 4")
    ran = stageio("show", job)
    assert (ran.code, ran.out.splitlines()[0].endswith("no stage has begun")) == (0, True)
    assert rows(ran.out)[2][:6] == ["sh", "-c", "'exit", "4'", "failed", "1"]
    assert rows(ran.out)[2][-3:] == ["exit", "code", "4"]
    assert len(rows(ran.out)) == 3  # and no table of stages
    script = "printf '%s\\n' ready; read _"
    command = [*run, "--name", "nightly", "--", "sh", "-c", script]
    with subprocess.Popen(command, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as under_way:
        assert under_way.stdout is not None
        under_way.stdout.readline()
        passed("sleep", "0")
        shown = rows(stageio("show", job).out)
        document = json.loads(stageio("show", job, "--json").out)
        under_way.communicate(b"\n", timeout=30)
    assert [row[-2:] for row in shown[2:3]] == [["running", "2"]]
    assert shown[3][:4] == ["sleep", "0", "success", "3"]
    (running, newest) = document["pipelines"]
    assert (running["command"], running["run_name"], running["status"]) == (["sh", "-c", script], "nightly", "running")
    assert (running["completed_at"], running["duration_seconds"], running["exit_code"]) == (None, None, None)
    assert (newest["command"], newest["exit_code"], newest["reason"]) == (["sleep", "0"], 0, None)
    assert running["started_at"] < newest["started_at"] < newest["completed_at"]
    every = json.loads(stageio("show", job, "--json", "--attempts").out)["pipelines"]
    assert [(of["run"], of["status"]) for of in every] == [(1, "failed"), (2, "success"), (3, "success")]
    assert every == open_job(job).pipelines()


def test_a_long_command(stageio: Command, tmp_path: Path) -> None:
    """A command that would fill the screen is shown by how it begins; one that its span had to cut is still shown."""
    job = tmp_path / "out"
    run = [sys.executable, "-m", "otel_stageio", "run", "--job", str(job), "--"]
    for words, shown in ((["word"] * 100, "true word word "), (["word" * 5000], '["true", "wordword')):
        subprocess.run([*run, "true", *words], env=clean_environment(), check=True, capture_output=True)
        line = stageio("show", job).out.splitlines()[3]
        assert (line.startswith(shown), "…" in line, len(line) < 120) == (True, True, True)
