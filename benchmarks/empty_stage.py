"""A stage that does nothing, in a fresh process, against a script written by hand.

Ours (scripts/with_stageio.py): a file-only stage that logs one line and is finalized. Baseline (scripts/by_hand.py):
logging to two files and the console, a manifest with host, process and resources written whole or not at all, with
fsync of file and folder; it imports logging, json and hashlib, as such scripts do. Each run is a new process with
compiled modules in place and a new, empty job folder; stderr is a file. What counts is the time until the process has
ended.

Without a budget, for orientation: the interpreter alone; and ours with the script inside a git repository and a project
with a pyproject.toml, as most stages are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Result, Steps, alternate, compared, ratios, timed
from benchmarks.runner import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measuring import Size, Tell

_SCRIPTS: Final = Path(__file__).parent / "scripts"
_BUDGET: Final = 1.75
_AGAINST: Final = "a script with logging, json, hashlib"
_PROJECT: Final = '[project]\nname = "captions"\nversion = "1"\n\n[tool.stageio]\nstages = ["ingest", "asr"]\n'


@dataclass(frozen=True, slots=True)
class Amount:
    """How often each script runs."""

    rounds: int


AMOUNTS: Final = {"tiny": Amount(1), "small": Amount(15), "full": Amount(41)}


def run(size: Size, folder: str, tell: Tell) -> list[Result]:
    """Measure the row, with scripts and job folders below `folder`."""
    amount = AMOUNTS[size]
    steps = Steps(tell, amount.rounds + 1)
    here = Path(folder)
    plain, project = here / "scripts", here / "project"
    shutil.copytree(_SCRIPTS, plain)
    _make_project(project)
    bare = here / "bare.py"
    bare.write_text("", encoding="utf-8")
    mine, theirs, empty, inside = alternate(
        _process(plain / "with_stageio.py", here),
        _process(plain / "by_hand.py", here),
        _process(bare, here),
        _process(project / "with_stageio.py", here),
        rounds=amount.rounds,
        steps=steps,
        what="processes",
    )
    return [
        Result(
            what="Empty stage in a fresh process",
            against=_AGAINST,
            values=ratios(mine, theirs),
            limit=_BUDGET,
            detail=compared(mine, theirs),
        ),
        Result(
            what="Empty stage in a git repository with pyproject.toml",
            against=_AGAINST,
            values=ratios(inside, theirs),
            detail=compared(inside, theirs),
        ),
        Result(
            what="Empty stage: the interpreter alone",
            against=_AGAINST,
            values=ratios(empty, theirs),
            detail=compared(empty, theirs, of="interpreter"),
        ),
    ]


def _make_project(folder: Path) -> None:
    shutil.copytree(_SCRIPTS, folder)
    (folder / "pyproject.toml").write_text(_PROJECT, encoding="utf-8")
    git = shutil.which("git")
    if git is None:  # then there is a pyproject.toml only
        return
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@invalid", "-c", "commit.gpgsign=false")
    for command in (("init", "--quiet"), ("add", "."), (*identity, "commit", "--quiet", "-m", "stages")):
        subprocess.run([git, *command], cwd=folder, check=True, capture_output=True)


def _process(script: Path, folder: Path) -> Callable[[], float]:
    """Measure a new process that runs `script` with a new job folder as its argument."""
    numbers = count()
    surroundings = environment(STAGEIO_CONSOLE="stderr")
    name = f"{script.parent.name}-{script.stem}"

    def measure() -> float:
        job = folder / f"{name}-{next(numbers)}"
        with open(folder / f"{name}.console", "w", encoding="utf-8") as console:
            command = [sys.executable, str(script), str(job)]
            run_it = partial(subprocess.run, command, env=surroundings, cwd=folder, stderr=console, check=True)
            seconds = timed(run_it)
        shutil.rmtree(job, ignore_errors=True)
        return seconds

    return measure
