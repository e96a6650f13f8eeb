"""Whatever happens to the backend and on the way to it: in the end every record is there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from otel_stageio.job.layout import JobLayout
from otel_stageio.ship import cursor
from otel_stageio.ship.sources import sources
from tests.backends import weather
from tests.backends.programs import Collector
from tests.backends.said import by_key, on_disk, sent
from tests.backends.telling import PROTOCOLS, pushed
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from otel_stageio.ship.push import Pushed
    from tests.backends.plugin import StartBackend

#: Logs for so many seconds.
STAGE = """
import sys, time
from otel_stageio import StageIO
until = time.monotonic() + float(sys.argv[2])
io = StageIO(f"stage{sys.argv[1]}", "out", stage_number=int(sys.argv[1]))
logger = io.get_stage_logger()
number = 0
while time.monotonic() < until:
    with io.step(f"part {number}"):
        for _ in range(50):
            logger.info("record %d", number)
            number += 1
            time.sleep(0.01)
io.finalize()
"""
SERVERS = {"http/protobuf": weather.over_http, "grpc": weather.over_grpc}


def stages(stack: ExitStack, folder: Path, count: int, seconds: float, **variables: str) -> list[subprocess.Popen[str]]:
    """Start so many stages of one job, each in a process of its own that is killed when the block ends."""
    environment = clean_environment({"STAGEIO_CONSOLE": "off", "STAGEIO_RUN": "one", **variables})
    processes = []
    for number in range(1, count + 1):
        command = [sys.executable, "-W", "error", "-c", STAGE, str(number), str(seconds)]
        process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
        stack.callback(process.communicate)
        stack.callback(process.kill)
        processes.append(process)
    return processes


def ended(processes: list[subprocess.Popen[str]]) -> None:
    """All ended well; what waits is all that they say."""
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, [line for line in said.splitlines() if "`stageio push" not in line]) == (0, [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_collector_is_killed(start_backend: StartBackend, tmp_path: Path, protocol: str) -> None:
    """Ten stages in ten processes log for 20 s while it is killed and started again at moments that a seed decides."""
    collector = start_backend(Collector(tmp_path))
    endpoint = collector.otlp_grpc if protocol == "grpc" else collector.otlp_http
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    chance = random.Random(6)
    kills = 0
    with ExitStack() as stack:
        processes = stages(stack, tmp_path, 10, 20, **variables)
        while any(process.poll() is None for process in processes):
            time.sleep(chance.uniform(0.3, 2.0))
            collector.kill()
            kills += 1
            time.sleep(chance.uniform(0.0, 1.0))
            collector.start()
        ended(processes)
    job = JobLayout(tmp_path / "out")
    live = len(by_key(sent(collector, job)))
    done = pushed(job, endpoint, protocol)
    journal = on_disk(job)
    assert (done.complete, by_key(sent(collector, job))) == (True, journal)
    assert (kills > 4, live > 1_000, len(journal) > 10_000) == (True, True, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_weather_is_bad(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Every second request meets something else: nothing is lost, set aside or given up, live and in pushes after."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(weather.PATIENCE))
    server: Callable[[str], AbstractContextManager[tuple[str, weather.Weather]]] = SERVERS[protocol]
    with server(collector.otlp_grpc if protocol == "grpc" else collector.otlp_http) as (url, met), ExitStack() as stack:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(weather.PATIENCE),
        }
        ended(stages(stack, tmp_path, 4, 5, **variables))
        live = len(met.came)
        job = JobLayout(tmp_path / "out")
        rounds: list[Pushed] = []
        while not rounds or not rounds[-1].complete:
            rounds.append(pushed(job, url, protocol))
            assert len(rounds) < 100
        while len(met.came) < 2 * len(weather.HTTP):  # all of it, also where little was left to push
            for shipped in job.root.rglob(cursor.SHIPPED):
                shipped.unlink()
            rounds.append(pushed(job, url, protocol))
        while not rounds[-1].complete:
            rounds.append(pushed(job, url, protocol))
    there = sent(collector, job)
    assert by_key(there) == on_disk(job)
    assert len(there) > len(by_key(there))  # some arrived whose answer did not come back
    assert (live > 8, len(set(met.came))) == (True, len(weather.HTTP if protocol != "grpc" else weather.GRPC))
    for source in sources(job):
        for known in cursor.load(source.folder).values():
            assert known.not_taken == {}
            assert {(of.refused, of.rejected) for of in known.files.values()} <= {((), 0)}
