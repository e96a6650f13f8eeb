"""Fixtures that run the real backends, and what becomes of the tests that need them where they are not built.

A test that asks for one of the fixtures is marked `backends`. Where the programs are not in the cache such tests are
left out, and the last lines of the run say how many and what adds them; with STAGEIO_REQUIRE_BACKENDS=1 they fail.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

from tests.backends import pins, programs
from tests.backends.programs import Collector, Jaeger, Program

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

P = TypeVar("P", bound=Program)

FIXTURES = frozenset({"jaeger", "collector", "start_backend"})
NOT_BUILT = "the backends are not built"
#: Read here, for a test's environment has no STAGEIO_*.
REQUIRED = os.environ.get("STAGEIO_REQUIRE_BACKENDS", "") not in {"", "0"}


class StartBackend(Protocol):
    """Starts a program and returns it when it is ready; see `start_backend`."""

    def __call__(self, program: P) -> P: ...


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """Give a Jaeger that all tests of this worker share: not to be stopped, and never empty."""
    program = Jaeger(tmp_path_factory.mktemp("jaeger"))
    program.start()
    yield program
    program.stop()


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger) -> Iterator[Collector]:
    """Give a Collector that all tests of this worker share, before that Jaeger: not to be stopped, and never empty."""
    program = Collector(tmp_path_factory.mktemp("collector"), jaeger)
    program.start()
    yield program
    program.stop()


@pytest.fixture
def start_backend() -> Iterator[StartBackend]:
    """Give a function that starts a program for this test alone, to be killed and restarted at will."""
    started: list[Program] = []

    def start(program: P) -> P:
        program.start()
        started.append(program)
        return program

    yield start
    for program in reversed(started):
        program.stop()


def left_out(count: int) -> str:
    """Say that tests were left out for want of backends."""
    tests = "1 test that needs" if count == 1 else f"{count} tests that need"
    was = "was" if count == 1 else "were"
    return f"{tests} Jaeger and the Collector {was} left out: `make backends` (about six minutes, once) adds them."


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark the tests that ask for a backend."""
    for item in items:
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("backends")


@pytest.hookimpl(tryfirst=True)  # before the fixtures are made
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave a marked test out if its backends are not built, or fail it if they have to be."""
    if item.get_closest_marker("backends") is None or pins.are_built(programs.FOLDER):
        return
    if REQUIRED:
        pytest.fail(f"{NOT_BUILT}, and STAGEIO_REQUIRE_BACKENDS is set: run make backends", pytrace=False)
    pytest.skip(NOT_BUILT)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the backends that run said last when a test that may have used them fails."""
    report = yield
    if report.failed and item.get_closest_marker("backends") is not None:
        for program in programs.RUNNING:
            report.sections.append((f"the end of {program.log}", program.log_tail()))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after all others have written
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Say in the run's last lines what was left out."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NOT_BUILT in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line("")
        terminalreporter.write_line(left_out(count), bold=True)
