"""job.links: links that somebody planted in a job folder send nothing of ours elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.errors import OutputPathError
from otel_stageio.job import host, links

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import RunScript

UMASK = os.umask(0o022)
os.umask(UMASK)

STAGE = """
from otel_stageio import StageIO
io = StageIO("asr", {job!r}, stage_number=6)
io.get_stage_logger().info("hello")
io.set_config({{"model": "large"}})
io.finalize()
"""


Run = Callable[[Path], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(run_script: RunScript) -> Run:
    """The stage, as a script in a fresh process."""
    return lambda job: run_script(STAGE.format(job=str(job)))


def prints(folder: Path) -> dict[str, str]:
    """Everything below a folder, with the rights and the digest of what is in it."""
    return {
        str(path.relative_to(folder)): f"{path.lstat().st_mode:o} "
        + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder outside of the job, with a file in it that is somebody's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "precious").write_text("somebody's\n")
    return folder


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job folder in which nothing is yet."""
    folder = tmp_path / "job"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "place", [".stageio", ".stageio/runs", ".stageio/numbers", "logs", "06_asr", "06_asr/.stageio"]
)
def test_a_linked_folder_is_refused(job: Path, elsewhere: Path, place: str, run: Run) -> None:
    """Where a folder is a link out of the job, the stage says which and nothing is written at its other end."""
    before = prints(elsewhere)
    (job / place).parent.mkdir(parents=True, exist_ok=True)
    (job / place).symlink_to(elsewhere)
    done = run(job)
    assert (done.returncode, prints(elsewhere)) == (1, before)
    assert f"OutputPathError: {job / place} is a link that leads out of the job folder, to {elsewhere}" in done.stderr


@pytest.mark.parametrize("there", [True, False], ids=["a file", "nothing"])
@pytest.mark.parametrize("place", ["06_asr/stage.log", "06_asr/manifest.json", "manifest.json", ".stageio/stages.json"])
def test_a_linked_file_is_not_written_through(job: Path, elsewhere: Path, place: str, there: bool, run: Run) -> None:
    """What a link at a file's place points to is neither changed nor made, and the stage ends well."""
    before = prints(elsewhere)
    (job / place).parent.mkdir(parents=True, exist_ok=True)
    (job / place).symlink_to(elsewhere / ("precious" if there else "new"))
    done = run(job)
    assert (done.returncode, prints(elsewhere)) == (0, before)
    document = json.loads((job / "06_asr/manifest.json").read_bytes())
    assert (document["status"], document["config"]) == ("success", {"model": "large"})
    # The rights of a link, which are all there are, are not those of the file that takes its place.
    assert {path.stat().st_mode & 0o777 for path in job.rglob("manifest.json")} == {0o666 & ~UMASK}


@pytest.mark.parametrize("place", [".stageio/lock", "06_asr/.stageio/lock"])
def test_a_linked_lock_is_not_written_through(job: Path, elsewhere: Path, place: str, run: Run) -> None:
    """A lock file is emptied and written by whoever takes it: one behind a link is somebody else's file."""
    before = prints(elsewhere)
    (job / place).parent.mkdir(parents=True, exist_ok=True)
    (job / place).symlink_to(elsewhere / "precious")
    done = run(job)
    assert prints(elsewhere) == before
    assert "it is a link, which is not followed: remove it" in done.stderr


@pytest.mark.parametrize("name", ["logs.jsonl", "traces.jsonl"])
def test_a_journal_file_that_becomes_a_link_is_not_written_through(job: Path, elsewhere: Path, name: str) -> None:
    """A link that is planted while the stage runs, before the first line of that file."""
    before = prints(elsewhere)
    io = StageIO("asr", job, stage_number=6)
    (job / "06_asr/.stageio/001" / name).symlink_to(elsewhere / "precious")
    io.get_stage_logger().info("hello")
    io.finalize()
    assert prints(elsewhere) == before
    assert "is not followed" in json.dumps(json.loads((job / "06_asr/manifest.json").read_bytes())["degraded"])


@pytest.mark.parametrize("place", ["06_asr/stage.log", "06_asr/.stageio/lock"])
def test_a_planted_pipe_does_not_hold_the_stage_up(job: Path, place: str) -> None:
    """What is no file is not written to: nobody reads a pipe that somebody planted, and it is full after 64 KiB."""
    (job / place).parent.mkdir(parents=True)
    os.mkfifo(job / place)
    io = StageIO("asr", job, stage_number=6)
    for _ in range(1_000):
        io.get_stage_logger().info("x" * 100)
    io.finalize()
    if place.endswith("stage.log"):
        document = json.loads((job / "06_asr/manifest.json").read_bytes())
        assert ("it is no file" in json.dumps(document["degraded"]), document["status"]) == (True, "success")


@pytest.mark.parametrize(
    "place",
    [
        *(
            "manifest.json",
            f".stageio/changes.{host.name()}",
            ".stageio/stages.json",
            ".stageio/job.json",
            ".stageio/numbers/07",
        ),
        *(".stageio/runs/001/run.json", "01_first/.stageio/001/events.jsonl", "01_first/manifest.json"),
    ],
)
def test_a_planted_pipe_is_not_waited_for(job: Path, run_script: RunScript, place: str) -> None:
    """Reading a pipe into which nobody writes has no end: what is no file is as one that is not there."""
    StageIO("first", job, stage_number=1).finalize()
    (job / place).parent.mkdir(parents=True, exist_ok=True)
    (job / place).unlink(missing_ok=True)
    os.mkfifo(job / place)
    done = run_script(
        f"""
        import signal
        from otel_stageio import StageIO
        signal.alarm(20)
        with StageIO("asr", {str(job)!r}) as io:
            io.track_input(io.get_input_path("a"))
        """
    )
    assert done.returncode == 0
    assert json.loads((job / "manifest.json").read_bytes())["completed_stages"][-1] == "asr"


def test_nothing_is_removed_or_made_through_a_link_that_was_planted_since(job: Path, elsewhere: Path) -> None:
    """A stage without a manifest removes none that is not its own, and a late record makes no log elsewhere."""
    (elsewhere / "manifest.json").write_text("precious")
    before = prints(elsewhere)
    io = StageIO("asr", job, stage_number=6)
    (job / "06_asr").rename(job / "moved")
    (job / "06_asr").symlink_to(elsewhere)
    io.finalize(save_manifest=False)
    io.get_stage_logger().warning("late")
    assert prints(elsewhere) == before


def test_a_pipeline_log_that_is_a_link_is_not_written_through(job: Path, elsewhere: Path, run: Run) -> None:
    """The run's log is found by the name in run.json."""
    before = prints(elsewhere)
    assert run(job).returncode == 0
    (log,) = (job / "logs").iterdir()
    log.unlink()
    log.symlink_to(elsewhere / "precious")
    io = StageIO("mux", job)
    io.get_stage_logger().info("hello")
    io.finalize()
    assert prints(elsewhere) == before


@pytest.mark.parametrize("log", ["../elsewhere/precious", "logs/../../elsewhere/precious", "/precious", "logs/..", 1])
def test_a_pipeline_log_elsewhere_is_not_ours(job: Path, elsewhere: Path, log: object, run: Run) -> None:
    """A run.json that names a log outside of the job's logs is no run: the next stage begins one."""
    before = prints(elsewhere)
    folder = job / ".stageio/runs/001"
    assert run(job).returncode == 0
    document = json.loads((folder / "run.json").read_bytes())
    (folder / "run.json").write_text(json.dumps({**document, "pipeline_log": log}))
    done = run(job)
    assert (done.returncode, prints(elsewhere)) == (0, before)
    assert json.loads((job / "06_asr/manifest.json").read_bytes())["run"] == 2


def test_a_stage_folder_that_is_replaced_by_a_link_gets_no_manifest(job: Path, elsewhere: Path) -> None:
    """Files that are open stay where they were; manifest.json is not written through the link."""
    before = prints(elsewhere)
    io = StageIO("asr", job, stage_number=6)
    (job / "06_asr").rename(job / "moved")
    (job / "06_asr").symlink_to(elsewhere)
    io.get_stage_logger().info("hello")
    io.finalize()
    assert prints(elsewhere) == before
    assert "hello" in (job / "moved/stage.log").read_text()


def test_the_job_folder_may_be_a_link(tmp_path: Path, elsewhere: Path, run: Run) -> None:
    """Where the caller says so, a job is on another disk."""
    link = tmp_path / "link"
    link.symlink_to(elsewhere)
    assert run(link).returncode == 0
    assert json.loads((elsewhere / "06_asr/manifest.json").read_bytes())["status"] == "success"


@pytest.mark.parametrize("theirs", [True, False])
def test_rights_are_handed_on_by_a_users_own_file_alone(job: Path, run: Run, theirs: bool) -> None:
    """A manifest that somebody else put there with rights for all does not hand those on; one of the user's does."""
    (job / "manifest.json").write_text("{}")
    (job / "manifest.json").chmod(0o666)
    if theirs and os.getuid() == 0:
        os.chown(job / "manifest.json", 65534, -1)
    assert run(job).returncode == 0
    expected = 0o666 & ~UMASK if theirs and os.getuid() == 0 else 0o666
    assert (job / "manifest.json").stat().st_mode & 0o777 == expected


def test_a_link_that_stays_in_the_job_is_followed(job: Path, run: Run) -> None:
    """Folders of a job may be arranged by links within it."""
    (job / "old").mkdir()
    (job / "06_asr").symlink_to("old")
    assert run(job).returncode == 0
    assert (job / "old/stage.log").exists()


def test_a_folder_whose_name_begins_alike_is_elsewhere(tmp_path: Path) -> None:
    """/out/job2 is not below /out/job."""
    (tmp_path / "job").mkdir()
    (tmp_path / "job2").mkdir()
    (tmp_path / "job/logs").symlink_to(tmp_path / "job2")
    with pytest.raises(OutputPathError, match="leads out of the job folder"):
        links.refuse(tmp_path / "job", tmp_path / "job/logs")


def test_what_is_no_link_is_fine(tmp_path: Path) -> None:
    """A folder, a file, nothing: all of them are opened or made as always."""
    (tmp_path / "file").touch()
    assert links.refuse(tmp_path, tmp_path / "file", tmp_path / "nothing", Path(os.curdir)) is None  # type: ignore[func-returns-value]
