"""The recipes with many items: every stage once for each text, several at a time."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_stageio import open_job
from tests.conftest import clean_environment
from tests.recipes.conftest import told
from tests.recipes.pages import RECIPES

if TYPE_CHECKING:
    from pathlib import Path

    from otel_stageio.read.job import Job

MANY = RECIPES / "xargs" / "many.sh"
ARRAY = RECIPES / "slurm" / "array.sbatch"
STAGES = ["split", "count", "report"]
ITEMS = [f"ep{number:02}" for number in range(5)]


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    """Five texts, each with words of its own."""
    folder = tmp_path / "talks"
    folder.mkdir()
    paths = [folder / f"{item}.txt" for item in ITEMS]
    for path in paths:
        path.write_text(f"the talk {path.stem}", encoding="utf-8")
    (tmp_path / "texts.list").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return paths


def attempts(job: Job) -> list[tuple[str, str, int, str]]:
    """Stage, item, attempt and status of everything that ran, sorted."""
    return sorted((row["stage"], row["item"], row["attempt"], row["status"]) for row in job.attempts())


def lineage(job: Job) -> list[tuple[str, str, str, str]]:
    """Which item of which stage read what of which item, sorted."""
    return sorted(
        (row["stage"], row["item"], row["producer"]["stage"], row["producer"]["item"])
        for row in job.artifacts()
        if row.get("producer")
    )


EXPECTED_LINEAGE = sorted(
    (reader, item, writer, item) for item in ITEMS for writer, reader in itertools.pairwise(STAGES)
)


def test_xargs(ran, texts, tmp_path):
    """Five texts, four at a time, are one run and one trace, and each item read what it wrote itself."""
    ran("sh", MANY, "out", *texts)
    job = open_job(tmp_path / "out")
    assert attempts(job) == sorted((stage, item, 1, "success") for stage in STAGES for item in ITEMS)
    found = told(tmp_path / "out")
    assert (found.runs, found.traces, found.elsewhere) == ([1], 1, [])
    (name,) = {row["run_name"] for row in job.stages}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \d+", name or "")
    assert lineage(job) == EXPECTED_LINEAGE
    for item in ITEMS:
        assert item in (tmp_path / "out/03_report" / item / "report.txt").read_text(encoding="utf-8")


def test_xargs_with_an_item_that_fails(run, ran, texts, tmp_path):
    """One item fails and the others go on; it alone is started again, in the run of that name."""
    texts[3].write_bytes(b"\xff")
    failed = run("sh", MANY, "out", *texts, STAGEIO_RUN="night")
    assert failed.returncode == 123
    job = open_job(tmp_path / "out")
    assert [row for row in attempts(job) if row[3] != "success"] == [("split", "ep03", 1, "failed")]
    assert len(attempts(job)) == 3 * 4 + 1

    texts[3].write_text("mended", encoding="utf-8")
    ran("sh", MANY, "out", texts[3], STAGEIO_RUN="night")
    assert [row[1:] for row in attempts(job) if row[:2] == ("split", "ep03")] == [
        ("ep03", 1, "failed"),
        ("ep03", 2, "success"),
    ]
    found = told(tmp_path / "out")
    assert (found.runs, found.traces, lineage(job)) == ([1], 1, EXPECTED_LINEAGE)


def array(run_folder: Path, task: int, **environ: str) -> subprocess.Popen[str]:
    """Start a task of the array as Slurm does: a copy of the script, from a folder of Slurm's, with its variables."""
    spool = run_folder / "spool" / f"job{task:05}"
    spool.mkdir(parents=True, exist_ok=True)
    script = spool / "slurm_script"
    script.write_text(ARRAY.read_text(encoding="utf-8"), encoding="utf-8")
    variables = {
        "SLURM_JOB_ID": str(4711 + task),
        "SLURM_ARRAY_JOB_ID": "4711",
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_ARRAY_TASK_COUNT": str(len(ITEMS)),
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NTASKS": "1",
        "SLURM_SUBMIT_DIR": str(run_folder),
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]),
        **environ,
    }
    return subprocess.Popen(
        ["sh", str(script), str(run_folder / "texts.list"), str(RECIPES / "stages"), str(run_folder / "out")],
        env=clean_environment(variables),
        cwd=spool,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.usefixtures("texts")
def test_xargs_as_the_page_says(follow, tmp_path):
    """What the page says to type works as it stands there."""
    follow("xargs")
    assert len(attempts(open_job(tmp_path / "out/talks"))) == len(STAGES) * len(ITEMS)


def test_slurm_array(texts, tmp_path):
    """The tasks of an array, all at once, are items of one run with the array's id."""
    tasks = [array(tmp_path, task) for task in range(len(texts))]
    assert [task.wait(timeout=90) for task in tasks] == [0] * len(texts)
    job = open_job(tmp_path / "out")
    assert attempts(job) == sorted((stage, item, 1, "success") for stage in STAGES for item in ITEMS)
    assert {row["run_name"] for row in job.stages} == {"slurm 4711"}
    found = told(tmp_path / "out")
    assert (found.runs, found.traces, found.elsewhere) == ([1], 1, [])
    assert lineage(job) == EXPECTED_LINEAGE


def test_slurm_task_without_a_line(texts, tmp_path):
    """A task beyond the end of the list fails, and is no stage without an item."""
    assert array(tmp_path, len(texts)).wait(timeout=60) != 0
    assert not (tmp_path / "out").exists()


def test_slurm_task_that_is_requeued(texts, tmp_path):
    """A task that was cut off is started again under the same ids: a second attempt in the same run and trace."""
    texts[0].write_bytes(b"\xff")
    assert array(tmp_path, 0).wait(timeout=60) == 1
    texts[0].write_text("the talk ep00", encoding="utf-8")
    assert array(tmp_path, 0, SLURM_RESTART_COUNT="1").wait(timeout=60) == 0
    job = open_job(tmp_path / "out")
    assert attempts(job) == [
        ("count", "ep00", 1, "success"),
        ("report", "ep00", 1, "success"),
        ("split", "ep00", 1, "failed"),
        ("split", "ep00", 2, "success"),
    ]
    found = told(tmp_path / "out")
    assert (found.runs, found.traces) == ([1], 1)
