"""The story told by a process of its own, and jobs pushed as `stageio push` does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from otel_stageio import settings
from otel_stageio.ship import ways
from otel_stageio.ship.push import Pushed, push
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.job.layout import JobLayout

STORY = Path(__file__).with_name("story.py")
FILES = 2_000
#: Over 1 KB, which pushes what tells files apart beyond the beginning of a line.
RESOURCE = {"OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name=test,note={'x' * 1_200}"}
PROTOCOLS = ("http/protobuf", "grpc")


def told(folder: Path, **variables: str) -> str:
    """Tell the story into a job folder, in this environment; what it has said on stderr. It ends killed."""
    with telling(folder, **variables) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    return said


@contextmanager
def telling(folder: Path, *more: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The process that tells it; it is killed at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(STORY), str(folder), str(FILES), *more],
        env=clean_environment({**RESOURCE, "STAGEIO_CONSOLE": "off", **variables}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pushed(job: JobLayout, endpoint: str, protocol: str = PROTOCOLS[0]) -> Pushed:
    """Push a job; what the exporters read themselves is as in this process's environment."""
    made = ways.ways(settings.load(environ=surroundings(protocol), endpoint=endpoint).export)
    try:
        return push(job, made)
    finally:
        for way in made.values():
            way.close()


def surroundings(protocol: str) -> dict[str, str]:
    """The environment, with this protocol."""
    return {**os.environ, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
