"""The recipes that need nothing but what every machine has."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio.journal import reader
from tests.recipes.conftest import DONE, told
from tests.recipes.pages import RECIPES

MAKEFILE = RECIPES / "make" / "Makefile"
#: What a recipe calls a run that the caller did not name.
NAMED = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def test_shell_loop(ran, talk, tmp_path):
    """The loop is one run and one trace, whose name is in the job; another loop is the next run."""
    script = RECIPES / "shell" / "pipeline.sh"
    ran("sh", script, talk, "out/talk")
    assert told(tmp_path / "out/talk") == DONE
    assert (tmp_path / "out/talk/03_report/report.txt").read_text().splitlines()[0].split() == ["3", "the"]

    ran("sh", script, talk, "out/talk", STAGEIO_RUN="again")
    rows = open_job(tmp_path / "out/talk").attempts()
    assert [(row["attempt"], row["run"]) for row in rows] == [(1, 1), (2, 2)] * 3
    first, second = ({row["run_name"] for row in rows if row["run"] == run} for run in (1, 2))
    assert re.fullmatch(NAMED + r" \d+", first.pop() or "")
    assert second == {"again"}
    assert told(tmp_path / "out/talk") == DONE._replace(runs=[1, 2], traces=2)


def test_shell_loop_ends_with_the_stage_that_fails(run, ran, talk, tmp_path):
    """A stage that fails ends the loop, and the same name of the run goes on in its trace."""
    script = RECIPES / "shell" / "pipeline.sh"
    os.rename(talk, f"{talk}.away")
    failed = run("sh", script, talk, STAGEIO_RUN="night")
    assert failed.returncode == 1
    assert told(tmp_path / "out").stages == [(1, "split", "failed")]

    os.rename(f"{talk}.away", talk)
    ran("sh", script, talk, STAGEIO_RUN="night")
    assert told(tmp_path / "out") == DONE
    assert [row["attempt"] for row in open_job(tmp_path / "out").stages] == [2, 1, 1]


@pytest.mark.parametrize(
    "command",
    [("sh", RECIPES / "shell" / "pipeline.sh", "talk.txt"), ("make", "-f", MAKEFILE, "--jobs=4", "TEXT=talk.txt")],
    ids=["shell", "make"],
)
def test_under_stageio_run(ran, talk, tmp_path, command):
    """`stageio run` gives the recipe its job and its run, and the run's span says how long it took and how it ended."""
    ran("python3", "-m", "otel_stageio", "run", "--job", "out/talk", "--name", "nightly", "--", *command)
    job = tmp_path / "out/talk"
    assert told(job) == DONE
    (span,) = reader.spans(str(job / ".stageio/runs/001/traces.jsonl"))
    assert (span.name, span.attributes["process.exit.code"]) == ("nightly", 0)
    rows = open_job(job).stages
    assert span.end_time_unix_nano - span.start_time_unix_nano > 1e9 * sum(row["duration_seconds"] for row in rows)


def test_shell_loop_within_a_stage(ran, talk, tmp_path):
    """A loop that a stage starts with `io.environ()` is in the stage's job, run and trace, below its step."""
    with StageIO("00_all", "out") as io, io.step("words"):
        handed = {name: value for name, value in io.environ().items() if name.startswith(("STAGEIO_", "TRACE"))}
        ran("sh", RECIPES / "shell" / "pipeline.sh", talk, "out", **handed)
    found = told(tmp_path / "out")
    assert found.stages == [(0, "all", "success"), *DONE.stages]
    assert (found.traces, found.elsewhere) == (1, ["split", "count", "report"])


def test_make(ran, run, talk, tmp_path):
    """Make starts what is out of date: all of it, then nothing, then the last stage alone, in a run of its own."""
    command = ("make", "-f", MAKEFILE, "--jobs=4", f"TEXT={talk}", "JOB=out/talk")
    job = tmp_path / "out/talk"
    ran(*command)
    assert told(job) == DONE
    (name,) = {row["run_name"] for row in open_job(job).stages}
    assert re.fullmatch("make " + NAMED, name or "")
    assert "Nothing to be done" in ran(*command) or "is up to date" in ran(*command)
    assert told(job) == DONE

    (job / "03_report/report.txt").unlink()
    ran(*command, STAGEIO_RUN="report only")
    assert [(row["stage"], row["run"], row["run_name"]) for row in open_job(job).stages][2:] == [
        ("report", 2, "report only")
    ]
    assert told(job) == DONE._replace(runs=[1, 2], traces=2)

    talk.unlink()
    assert run(*command).returncode == 2
    assert told(job) == DONE._replace(runs=[1, 2], traces=2)


def test_make_goes_on_after_a_failure(run, ran, talk, tmp_path):
    """A stage that fails ends make with its own code, and the same name of the run goes on in its trace."""
    command = ("make", "-f", MAKEFILE, f"TEXT={talk}", "JOB=out")
    talk.write_bytes(b"\xff")
    assert run(*command, STAGEIO_RUN="night").returncode == 2
    assert told(tmp_path / "out").stages == [(1, "split", "failed")]
    talk.write_text("the cat")
    ran(*command, STAGEIO_RUN="night")
    assert told(tmp_path / "out") == DONE


def test_make_after_a_stage_that_failed_late(run, ran, talk, tmp_path):
    """What a stage wrote before it failed is made anew: the target does not look done."""
    recipes = tmp_path / "recipes"
    for name in ("make", "stages"):
        shutil.copytree(RECIPES / name, recipes / name)
    command = ("make", "-f", recipes / "make" / "Makefile", f"TEXT={talk}", "JOB=out")
    split = recipes / "stages" / "split.py"
    right = split.read_text(encoding="utf-8")
    split.write_text(f"{right}\nraise SystemExit(3)\n", encoding="utf-8")
    assert run(*command, STAGEIO_RUN="night").returncode == 2
    split.write_text(right, encoding="utf-8")
    ran(*command, STAGEIO_RUN="night")
    assert [(row["stage"], row["attempt"]) for row in open_job("out").stages] == [
        ("split", 2),
        ("count", 1),
        ("report", 1),
    ]


@pytest.mark.parametrize("page", ["shell", "make"])
@pytest.mark.usefixtures("talk")
def test_commands_of_the_page(follow, tmp_path, page):
    """What the page says to type works as it stands there."""
    follow(page)
    assert told(tmp_path / "out/talk")._replace(runs=[1], traces=1) == DONE


def test_pytest(ran, tmp_path):
    """The tests of the recipe pass, and leave a job each."""
    folder = RECIPES / "pytest"
    options = ("-p", "otel_stageio.pytest_plugin", "-p", "no:cacheprovider", "-c", "/dev/null", "--basetemp=base")
    printed = ran("python3", "-m", "pytest", *options, folder, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "2 passed" in printed
    jobs = {path.parent.name: told(path) for path in tmp_path.glob("base/*0/job")}
    assert {name: job.stages for name, job in jobs.items()} == {
        "test_tidy_drops_what_is_no_wor0": [(0, "test", "success")],
        "test_split_script0": [(0, "test", "success"), (1, "split", "success")],
    }
    assert [job.traces for job in jobs.values()] == [1, 1]


@pytest.mark.parametrize("script", sorted((RECIPES / "stages").glob("*.py")), ids=lambda path: path.name)
def test_stages_do_not_know_what_starts_them(script):
    """The stages read no variable: where they run is the caller's business."""
    assert "environ" not in script.read_text(encoding="utf-8")
