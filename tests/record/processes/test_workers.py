"""The end of processes that multiprocessing started: what their task raised is on record, and a stage has an end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from otel_stageio import open_job
from tests.conftest import clean_environment

#: Newer ones have handled the exception before they call anything that is not theirs.
TELLS = sys.version_info < (3, 13)
WAYS = ["fork", "spawn", "forkserver"]


def run_worker(tmp_path: Path, way: str, source: str) -> None:
    """Run a script that starts `work` in a process and waits for it."""
    script = tmp_path / "script.py"
    main = """
if __name__ == "__main__":
    process = mp.get_context(sys.argv[1]).Process(target=work)
    process.start()
    process.join()
    io and io.finalize()
"""
    script.write_text("import atexit, multiprocessing as mp, sys\nfrom otel_stageio import StageIO\n" + source + main)
    command = [sys.executable, script, way, tmp_path / "out"]
    subprocess.run(command, env=clean_environment(), check=True, timeout=60, capture_output=True)


@pytest.mark.skipif(not TELLS, reason="Python 3.13 and newer do not tell")
@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_a_member_dies_of_an_exception(way, tmp_path):
    """It is an error of the stage, though multiprocessing prints it and calls no hook; the stage goes on."""
    source = """
io = StageIO("06_asr", sys.argv[2])

def work():
    raise ValueError("in the task")
"""
    run_worker(tmp_path, way, source)
    document = json.loads((tmp_path / "out/06_asr/manifest.json").read_text())
    assert (document["status"], document["attempt"]) == ("success", 1)
    (error,) = document["errors"]
    assert (error["message"], "member" in error) == ("ValueError: in the task", True)
    assert ["ended as failed" in each["message"] for each in document["warnings"]] == [True]


@pytest.mark.parametrize("way", WAYS)
def test_a_stage_of_a_worker_has_an_end(way, tmp_path):
    """A stage that a worker opens and leaves open is failed, by the exception if there is one, and not abandoned."""
    source = """
io = None

def work():
    StageIO("06_asr", sys.argv[2], item="done").finalize()
    left = StageIO("06_asr", sys.argv[2], item="left")
    left.finalize("skipped")
    io = StageIO("06_asr", sys.argv[2], item="raised")
    raise ValueError("in the task")
"""
    run_worker(tmp_path, way, source)
    run_worker(tmp_path, way, source.replace('left.finalize("skipped")', "sys.exit(0)"))
    rows = [(row["item"], row["status"], row["reason"]) for row in open_job(tmp_path / "out").attempts()]
    assert sorted(rows, key=str) == [
        ("done", "success", None),
        ("done", "success", None),
        ("left", "failed", "not finalized"),
        ("left", "skipped", None),
        ("raised", "failed", "ValueError: in the task" if TELLS else "not finalized"),
    ]


def test_functions_of_atexit_come_first(tmp_path):
    """A spawned worker calls what the program registered with atexit: a stage that is ended there is ended by it."""
    source = """
io = None

def work():
    atexit.register(StageIO("06_asr", sys.argv[2]).finalize)
"""
    run_worker(tmp_path, "spawn", source)
    assert [row["status"] for row in open_job(tmp_path / "out").attempts()] == ["success"]
