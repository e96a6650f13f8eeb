"""What the package brings to pytest: the fixture `stage_io`, for tests of code that records.

pytest loads this module into every test run of an environment that has the package. So it imports pytest and nothing
else, and has no hook that is called for a test; StageIO is loaded by the first test that asks for the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_stageio.record.stage import StageIO

_MARK = "stage_io"
#: With its number: the test of a single stage has no order of stages to declare.
_NAME = "00_test"
#: The code under test may read its rank; the fixture's stage has a job of its own, in which no rank 0 will come.
_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
#: What says where a process was called. A test was called by nobody.
_CALLERS = ("STAGEIO_RUN", "STAGEIO_ITEM", "STAGEIO_ATTEMPT", "TRACEPARENT", "TRACESTATE", "BAGGAGE")
#: Nothing on the console, nothing sent, and nothing of the process changed that would outlive the test.
_SETTINGS = {"STAGEIO_MODE": "file", "STAGEIO_CONSOLE": "off", "STAGEIO_SIGTERM": "off", "STAGEIO_TRACER": "off"}


def pytest_configure(config: pytest.Config) -> None:
    """Make the fixture's mark known."""
    config.addinivalue_line("markers", f"{_MARK}(name, ...): the arguments of StageIO for the fixture `stage_io`")


@pytest.fixture
def stage_io(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StageIO]:
    """Give an open stage in a job of the test's own, ``tmp_path / "job"``, silent and offline.

    It is ``00_test``, or what a mark says: ``@pytest.mark.stage_io("asr", stages=["ingest", "asr"])`` takes what
    StageIO takes. Stages that the test opens without naming a folder, and those of processes that it starts, are in
    the same job. After the test the stage is ended as success, or as failed where the test failed, unless the test
    ended it; other stages of the job that the test left open end as failed.
    """
    from otel_stageio.record.processes import exits
    from otel_stageio.record.stage import StageIO

    for name in _CALLERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**_SETTINGS, "STAGEIO_JOB_DIR": str(tmp_path / "job")}.items():
        monkeypatch.setenv(name, value)
    mark = request.node.get_closest_marker(_MARK)
    arguments = mark.args if mark is not None and mark.args else (_NAME,)
    failed = request.session.testsfailed
    with monkeypatch.context() as opening:
        for name in _RANKS:
            opening.delenv(name, raising=False)
        io = StageIO(*arguments, **(mark.kwargs if mark is not None else {}))
    job = str(io.job_dir.resolve())  # the test may change the working directory
    yield io
    if io in exits.open_stages(io.stage_name):
        if request.session.testsfailed > failed:
            io.finalize("failed", error="the test failed")
        else:
            io.finalize("success")
    exits.close_all(job=job)
