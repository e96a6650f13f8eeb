"""How a program reads jobs back. Never run: mypy, in its strict mode, is the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_stageio import JobFormatError, open_job, open_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def failed_stages(folder: str) -> Iterator[str]:
    for one in open_job(folder).stages:
        if one["status"] == "failed":
            yield str(one["stage"])


def total_bytes(folder: Path) -> int:
    return sum(int(one["size_bytes"] or 0) for one in open_job(folder).artifacts())


def messages(folder: Path) -> list[str]:
    return [str(one["message"]) for one in open_job(folder).logs()]


def jobs(root: str) -> int:
    try:
        return sum(len(list(job.stages)) for job in open_jobs(root))
    except JobFormatError:
        return 0
