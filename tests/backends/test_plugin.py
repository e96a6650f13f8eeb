"""What a test run does with the tests that need backends, where there are none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.backends import pins, plugin
from tests.conftest import REPO

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SAMPLE = """
import pytest
from tests.backends.programs import RUNNING, Program

@pytest.mark.backends
def test_marked(tmp_path):
    program = Program(name="jaeger", command=[], health="", folder=tmp_path)
    program.log.write_text("what Jaeger said")
    RUNNING.append(program)
    raise AssertionError("it ran")

def test_by_its_fixture(jaeger):
    raise AssertionError("it ran")

def test_that_needs_none():
    pass
"""


@pytest.fixture
def run_pytest(tmp_path: Path):
    """Give a function that runs these tests, with an empty cache."""
    suite = tmp_path / "test_sample.py"
    suite.write_text(SAMPLE, encoding="utf-8")

    def run(*arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-c", REPO / "pyproject.toml", "--rootdir", tmp_path),
                # Folders of its own: in those that all runs share it would clear away what former ones left.
                *("--basetemp", tmp_path / "base", "-p", "no:cacheprovider"),
                *("-p", "tests.backends.plugin", *arguments, suite),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPO), "XDG_CACHE_HOME": str(tmp_path), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    return run


@pytest.mark.parametrize("processes", ["0", "2"])
def test_left_out_and_said_in_bold(run_pytest, processes: str):
    """The tests that need backends are skipped, and the last line before pytest's own says so in bold."""
    done = run_pytest("-n", processes, "--color=yes")
    assert done.returncode == 0, done.stdout
    *_, said, result = done.stdout.splitlines()
    assert said == f"\x1b[1m{plugin.left_out(2)}\x1b[0m"
    assert "1 passed" in result
    assert "2 skipped" in result


def test_required_is_a_failure(run_pytest):
    """With STAGEIO_REQUIRE_BACKENDS=1 the same tests fail, and say what to do."""
    done = run_pytest("-n", "0", environment={"STAGEIO_REQUIRE_BACKENDS": "1"})
    assert done.returncode == 1
    assert "1 passed, 2 errors" in done.stdout
    assert "run make backends" in done.stdout


def test_the_mark_selects_them(run_pytest):
    """`-m backends` runs what has a fixture that needs them, too; without any, nothing is said."""
    assert "2 skipped, 1 deselected" in run_pytest("-n", "0", "-m", "backends").stdout
    without = run_pytest("-n", "0", "-m", "not backends")
    assert "1 passed, 2 deselected" in without.stdout
    assert "left out" not in without.stdout


def test_a_failure_shows_what_the_programs_said(run_pytest, tmp_path: Path):
    """Where the programs are built a marked test runs, and with its failure comes the end of the programs' logs."""
    folder = pins.programs_folder({"XDG_CACHE_HOME": str(tmp_path)})
    folder.mkdir(parents=True)
    for program in pins.PROGRAMS:
        (folder / program).touch(mode=0o755)
    done = run_pytest("-n", "2", "-k", "not fixture")
    assert "1 failed, 1 passed" in done.stdout
    assert "jaeger.log -" in done.stdout
    assert "what Jaeger said" in done.stdout


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1 test that needs Jaeger and the Collector was left out"),
        (12, "12 tests that need Jaeger and the Collector were left out"),
    ],
)
def test_left_out_is_a_sentence(count: int, words: str):
    """One and many are each written as a person would."""
    assert plugin.left_out(count) == f"{words}: `make backends` (about six minutes, once) adds them."
