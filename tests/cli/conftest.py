from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from otel_stageio import StageIO
from otel_stageio.cli import app
from tests.ship.backend import Answers, backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """Runs the command with these arguments; see `stageio`."""

    def __call__(self, *arguments: object) -> Ran: ...


@pytest.fixture
def stageio(capsys: pytest.CaptureFixture[str]) -> Command:
    """Give a function that runs the `stageio` command in this process, from its `main` to its exit."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return Ran(ended.value.code, out, err)

    return run


@pytest.fixture
def server() -> Iterator[Answers]:
    """Give a backend to answer."""
    with backend() as answers:
        yield answers


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Give a job of one run and two stages, of 3 spans, 4 events and 2 log records."""
    return record(tmp_path / "out")


def record(folder: Path, *, stages: int = 2) -> Path:
    """Record a job of stages that logged and ended."""
    for number in range(1, stages + 1):
        io = StageIO(f"stage{number}", folder, stage_number=number)
        io.get_stage_logger().info("hello from %d", number)
        io.finalize()
    return folder
