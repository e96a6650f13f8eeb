"""The story's job, for the tests that send it somewhere."""

from __future__ import annotations

import json
import secrets
import shutil
from typing import TYPE_CHECKING

import pytest

from otel_stageio.job.layout import JobLayout
from tests.backends.telling import told

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the story's job as it was told without a backend: not to be changed."""
    folder = tmp_path_factory.mktemp("story") / "out"
    assert told(folder, STAGEIO_MODE="file") == ""
    return folder


@pytest.fixture
def story(offline: Path, tmp_path: Path) -> JobLayout:
    """Give a copy of it for one test: a job and a trace of its own, for the backends are shared."""
    job = JobLayout(shutil.copytree(offline, tmp_path / "story"))
    known = [
        json.loads(job.job_json.read_bytes())["job_id"],
        json.loads((job.run_dir(1) / "run.json").read_bytes())["trace_id"],
    ]
    anew = [secrets.token_hex(len(one) // 2) for one in known]
    for path in job.root.rglob("*.json*"):
        text = path.read_bytes()
        for old, new in zip(known, anew, strict=True):
            text = text.replace(old.encode(), new.encode())
        path.write_bytes(text)
    return job
