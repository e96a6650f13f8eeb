"""The recipe for ranks: all of them are one attempt of the stage, with the variables that torchrun sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio import open_job
from tests.conftest import clean_environment
from tests.recipes.conftest import told
from tests.recipes.pages import RECIPES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRAIN = RECIPES / "torchrun" / "train.py"
WORLD = 4


@pytest.fixture
def launch(tmp_path: Path) -> Callable[[], list[int]]:
    """Start all ranks, the highest first, and wait for them; their exit codes."""

    def start(rank: int) -> subprocess.Popen[bytes]:
        variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(WORLD)}
        return subprocess.Popen(
            [sys.executable, str(TRAIN), str(tmp_path / "out")],
            env=clean_environment(variables),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def call() -> list[int]:
        started = [start(rank) for rank in reversed(range(WORLD))]
        return [process.wait(timeout=60) for process in started]

    return call


def test_ranks(launch, tmp_path):
    """Four ranks are one attempt and one trace; each logged, made its step and tracked its shard, and who is told."""
    assert launch() == [0] * WORLD
    job = open_job(tmp_path / "out")
    assert [(row["stage"], row["attempt"], row["status"]) for row in job.attempts()] == [("train", 1, "success")]
    found = told(tmp_path / "out")
    assert (found.runs, found.traces, found.elsewhere) == ([1], 1, [])
    logged = [row["message"] for row in job.logs(level="INFO")]
    assert sorted(message for message in logged if message.startswith("Rank")) == [
        f"Rank {rank} of {WORLD}" for rank in range(WORLD)
    ]
    outputs = json.loads((tmp_path / "out/04_train/manifest.json").read_bytes())["outputs"]
    assert sorted((one["path"], one["rank"]) for one in outputs) == [
        (f"04_train/shard-{rank}.json", rank) for rank in range(WORLD)
    ]
    assert sorted("member" in one for one in outputs) == [False, True, True, True]
    members = os.listdir(tmp_path / "out/04_train/.stageio/001/members")
    assert sorted(one["member"] for one in outputs if "member" in one) == sorted(members)


def test_training_that_is_started_again(launch, tmp_path):
    """A launch soon after another is the next attempt, one for all its ranks: none of them joins the former."""
    assert launch() == [0] * WORLD
    time.sleep(3)
    assert launch() == [0] * WORLD
    job = open_job(tmp_path / "out")
    assert [row["attempt"] for row in job.attempts()] == [1, 2]
    members = [len(os.listdir(tmp_path / f"out/04_train/.stageio/{n:03}/members")) for n in (1, 2)]
    assert members == [WORLD - 1] * 2
