"""Fixtures that run a recipe as a user would, and what its job's record says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from otel_stageio import open_job
from otel_stageio.journal import reader
from tests.conftest import clean_environment
from tests.recipes.pages import RECIPES, typed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: The folder of the environments that `make recipes` makes. Read here, for a test's environment has no STAGEIO_*.
ENVIRONMENTS = os.path.abspath(os.environ["STAGEIO_RECIPES"]) if os.environ.get("STAGEIO_RECIPES") else ""


class Run(Protocol):
    """Runs a command with the programs of an environment first on the PATH; see `run`."""

    def __call__(
        self, *command: str | Path, environment: str | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]: ...


class Told(NamedTuple):
    """What the record of a job says of the pipeline."""

    #: Number, name and status of each stage's newest attempt, in the order of the numbers.
    stages: list[tuple[int, str, str]]
    #: Runs that stages were in, all attempts.
    runs: list[int]
    #: Which stage read what of which other stage.
    read: list[tuple[str, str, str]]
    #: How many traces there are, of stages and of all spans on disk.
    traces: int
    #: Stages whose span does not hang on the run's.
    elsewhere: list[str]


def told(folder: Path) -> Told:
    """Read the job; every span of the pipeline is read from its files, as Jaeger would be given it."""
    job = open_job(folder)
    spans = {span.span_id: span for path in folder.rglob("traces.jsonl") for span in reader.spans(str(path))}
    roots = {span.span_id for span in spans.values() if not span.parent_span_id}
    return Told(
        stages=[(row["stage_number"], row["stage"], row["status"]) for row in job.stages],
        runs=sorted({row["run"] for row in job.attempts()}),
        read=[
            (row["stage"], row["path"], row["producer"]["stage"])
            for row in job.artifacts()
            if row["role"] == "input" and row.get("producer")
        ],
        traces=len({row["trace_id"] for row in job.attempts()} | {span.trace_id for span in spans.values()}),
        elsewhere=[row["stage"] for row in job.attempts() if spans[row["span_id"]].parent_span_id not in roots],
    )


#: What is told of the pipeline of docs/recipes when all went well in one run.
DONE = Told(
    stages=[(1, "split", "success"), (2, "count", "success"), (3, "report", "success")],
    runs=[1],
    read=[("count", "01_split/words.json", "split"), ("report", "02_count/counts.json", "count")],
    traces=1,
    elsewhere=[],
)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A text to be split, in the test's folder."""
    path = tmp_path / "talk.txt"
    path.write_text("The cat and the dog\nand the bird\n", encoding="utf-8")
    return path


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Give a function that runs a command in the test's folder, for at most a minute and a half.

    Its programs are those of this environment, or of one that `make recipes` makes: then the test is left out in any
    other run of pytest. stderr is in stdout.
    """

    def call(*command: str | Path, environment: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        folder = os.path.dirname(sys.executable) if environment is None else made(environment)
        path = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])
        return subprocess.run(
            [str(each) for each in command],
            env=clean_environment({"PATH": path, "HOME": str(tmp_path), **environ}),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )

    def made(environment: str) -> str:
        assert request.node.get_closest_marker("recipes") is not None, "such a test has the mark `recipes`"
        if not ENVIRONMENTS:
            pytest.skip("needs an environment of its own: make recipes")
        return os.path.join(ENVIRONMENTS, environment, "bin")

    return call


@pytest.fixture
def ran(run: Run) -> Callable[..., str]:
    """Run a command that has to succeed; what it printed."""

    def call(*command: str | Path, environment: str | None = None, **environ: str) -> str:
        done = run(*command, environment=environment, **environ)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return call


@pytest.fixture
def follow(ran: Callable[..., str], tmp_path: Path) -> Callable[..., None]:
    """Type the commands of a page, as they stand there, in a folder with the recipes' files beside the texts."""

    def call(page: str, environment: str | None = None) -> None:
        shutil.copytree(RECIPES, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for command in typed(page):
            ran("sh", "-c", command, environment=environment)

    return call
