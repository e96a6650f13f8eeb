from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

from otel_stageio.rebuild.jobs import rebuild
from tests.rebuild import collector, pipeline

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder of a pipeline that ran."""
    pipeline.tell(tmp_path / "job")
    return tmp_path / "job"


def written(path: Path, lines: list[str]) -> Path:
    """A file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def views(job: Path) -> dict[str, bytes]:
    """The views of a job by their paths."""
    found = [*job.rglob("manifest.json"), *job.rglob("*.log")]
    return {str(path.relative_to(job)): path.read_bytes() for path in found}


def journals(job: Path) -> list[str]:
    """The records of a job's journals, by file, in an order of their own."""
    return sorted(
        f"{path.relative_to(job)} {line}" for path in job.rglob("*.jsonl") for line in path.read_bytes().split(b"\n")
    )


def test_the_folder_is_as_it_was(job, tmp_path):
    """From shuffled, batched and repeated lines the journals, manifests and logs are there, byte for byte."""
    file = written(tmp_path / "c.jsonl", collector.collected(collector.journal(job), random.Random(1), sort=False))
    made = rebuild([file], tmp_path / "again")
    assert views(tmp_path / "again") == views(job)
    assert journals(tmp_path / "again") == journals(job)
    assert made.missing == ()
    assert made.attempts == 6
    assert made.broken == 0
    assert made.folders == (tmp_path / "again",)


def test_attributes_in_another_order_give_the_same_documents(job, tmp_path):
    """Where a backend sorted the attributes the logs are as they were, and the manifests but for the order of keys."""
    file = written(tmp_path / "c.jsonl", collector.collected(collector.journal(job), random.Random(2)))
    rebuild([file], tmp_path / "again")
    before, after = views(job), views(tmp_path / "again")
    assert before.keys() == after.keys()
    for name, content in before.items():
        same = json.loads if name.endswith(".json") else bytes.splitlines
        assert same(content) == same(after[name]), name
