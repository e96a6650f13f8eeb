"""ship.push: what stages recorded reaches a backend, all of it and once, whatever state the job is in."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.job import locks
from otel_stageio.job.layout import JobLayout
from otel_stageio.ship.delivery import Way
from otel_stageio.ship.http_wire import HttpWire
from otel_stageio.ship.push import LOCK, Pushed, push
from otel_stageio.ship.sources import LOGS, SPANS, Source, sources
from otel_stageio.ship.wire import Verdict
from tests.ship.backend import Answers, backend
from tests.ship.records import arrived, on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TO = "http://backend:4318"


@pytest.fixture
def server() -> Iterator[Answers]:
    """A backend to answer."""
    with backend() as answers:
        yield answers


def record(folder: Path, *, stages: int = 2) -> JobLayout:
    """A job of stages that logged and ended."""
    for number in range(1, stages + 1):
        io = StageIO(f"stage{number}", folder, stage_number=number)
        io.get_stage_logger().info("hello from %d", number)
        io.finalize()
    return JobLayout(folder)


def pushed(job: JobLayout, server: Answers) -> Pushed:
    """Push all of it to the backend, as a process of its own would."""
    wires = {signal: HttpWire(signal, endpoint=f"{server.url}/v1/{signal}", timeout=2) for signal in (SPANS, LOGS)}
    try:
        return push(job, {signal: Way(wire, TO) for signal, wire in wires.items()})
    finally:
        for wire in wires.values():
            wire.close()


def test_all_that_is_on_disk_arrives_once(tmp_path: Path, server: Answers) -> None:
    """Spans of the run and of the stages, log records and events; a second push has nothing to send."""
    job = record(tmp_path)
    done = pushed(job, server)
    assert (done.complete, done.delivered) == (True, len(on_disk(job)))
    assert arrived(server) == on_disk(job)
    asked = len(server.asked)
    assert (pushed(job, server), len(server.asked)) == (Pushed(), asked)


def test_after_an_outage_the_rest_arrives(tmp_path: Path, server: Answers) -> None:
    """Nothing is lost and nothing repeated when the backend was away."""
    job = record(tmp_path)
    server.status = 503
    away = pushed(job, server)
    assert (away.complete, {signal: of.verdict for signal, of in away.stopped.items()}) == (
        False,
        {SPANS: Verdict.LATER, LOGS: Verdict.LATER},
    )
    server.status, server.asked = 200, []
    assert pushed(job, server).complete
    assert arrived(server) == on_disk(job)


def test_a_running_stage_is_pushed_as_far_as_it_is(tmp_path: Path, server: Answers) -> None:
    """Its span comes with the push after its end."""
    io = StageIO("asr", tmp_path)
    io.get_stage_logger().info("at work")
    job = JobLayout(tmp_path)
    assert pushed(job, server).complete
    before = arrived(server)
    io.finalize()
    assert pushed(job, server).complete
    assert (arrived(server), set(before) < set(arrived(server))) == (on_disk(job), True)


def test_a_signal_that_the_backend_does_not_take_stays(tmp_path: Path, server: Answers) -> None:
    """Jaeger takes spans only: that is told once, is no failure, and another backend gets the rest."""
    job = record(tmp_path)
    wire = HttpWire(SPANS, endpoint=f"{server.url}/v1/traces")
    server.status = 404
    none = push(job, {SPANS: Way(wire, TO)})
    wire.close()
    assert (none.complete, len(server.asked), none.stopped[SPANS].verdict) == (True, 1, Verdict.NOT_TAKEN)
    server.status = 200
    assert pushed(job, server).delivered == len(on_disk(job))


def test_each_destination_has_cursors_of_its_own(tmp_path: Path, server: Answers) -> None:
    """What one backend has, another one gets too."""
    job = record(tmp_path, stages=1)
    pushed(job, server)
    server.asked = []
    ways = {SPANS: Way(HttpWire(SPANS, endpoint=f"{server.url}/v1/traces"), "http://other:4318")}
    assert push(job, ways).delivered == 2


def test_a_folder_that_another_process_delivers_is_left_to_it(tmp_path: Path, server: Answers) -> None:
    """Two pushes do not send one thing twice; the one that came second says that it is not complete."""
    job = record(tmp_path, stages=1)
    *_, attempt = sources(job)
    lock = locks.StageLock.acquire(os.path.join(attempt.folder, LOCK), {})
    assert isinstance(lock, locks.StageLock)
    done = pushed(job, server)
    lock.release()
    assert (done.taken, done.complete) == ((attempt.folder,), False)
    assert pushed(job, server).complete
    assert arrived(server) == on_disk(job)


def test_a_broken_line_is_no_end(tmp_path: Path, server: Answers) -> None:
    """What is around it arrives."""
    job = record(tmp_path, stages=1)
    *_, attempt = sources(job)
    with open(os.path.join(attempt.folder, "logs.jsonl"), "ab") as file:
        file.write(b'{"resourceLogs":[{"scopeLo\n')
    assert pushed(job, server).complete
    assert arrived(server) == on_disk(job)


def test_what_was_delivered_is_on_disk_at_once(tmp_path: Path, server: Answers) -> None:
    """A push that is killed after a batch does not send it again."""
    job = record(tmp_path, stages=1)
    known = []

    def look(_: Pushed) -> None:
        found = [json.loads(path.read_bytes()) for path in tmp_path.rglob("shipped.json")]
        known.append(sum(of["delivered"] for each in found for of in each["destinations"][TO]["files"].values()))

    wires = {signal: HttpWire(signal, endpoint=f"{server.url}/v1/{signal}") for signal in (SPANS, LOGS)}
    push(job, {signal: Way(wire, TO) for signal, wire in wires.items()}, look)
    assert (known, known[-1]) == (sorted(known), len(on_disk(job)))


def test_the_run_comes_before_its_stages(tmp_path: Path) -> None:
    """A viewer that shows what it has finds the root first; a running attempt is told from one that ended."""
    job = record(tmp_path, stages=1)
    io = StageIO("stage1", tmp_path, stage_number=1)
    found = [Source(os.path.relpath(each.folder, tmp_path), each.live) for each in sources(job)]
    io.finalize()
    assert found == [
        Source(".stageio/runs/001", live=False),
        Source("01_stage1/.stageio/001", live=False),
        Source("01_stage1/.stageio/002", live=True),
    ]
