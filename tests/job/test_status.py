"""How an attempt stands: what its journal says, and whether anybody still runs it."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from otel_stageio import StageIO
from otel_stageio.job import host, locks, recovery, status
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.views.summary import Summary
from tests.processes import in_processes, killed_after


@pytest.fixture
def stage(tmp_path):
    """Stage 6, asr, of a job folder that is not there yet."""
    return StageLayout(JobLayout(tmp_path / "out"), 6, "asr")


def opened(stage: StageLayout) -> StageIO:
    """Open the stage."""
    return StageIO(stage.name, stage.job.root, stage_number=stage.number)


def die(stage: StageLayout) -> None:
    """Open the stage in a process that is killed."""
    killed_after(lambda: opened(stage))


@pytest.fixture
def known(stage) -> Summary:
    """An attempt of this host and boot that runs, in a stage whose lock file is there."""
    stage.inner.mkdir(parents=True)
    stage.lock.touch()
    return Summary(
        stage="asr",
        stage_number=6,
        attempt=1,
        run=1,
        started=1,
        host=host.name(),
        boot_id=host.boot_id(),
    )


def test_running_and_ended(stage):
    """A stage runs while its process holds the lock, and then stands as its end says."""
    io = opened(stage)
    assert status.newest(stage).status == "running"
    assert in_processes(1, lambda _: status.newest(stage).status) == ["running"]
    io.finalize("skipped")
    assert status.newest(stage).status == "skipped"


def test_dead(stage):
    """A stage whose process is gone without an end is abandoned, and so it stays when another attempt is made."""
    die(stage)
    assert status.newest(stage).status == "abandoned"
    io = opened(stage)
    former = status.read_summary(stage, 1)
    assert status.alive(former, str(stage.lock), newest=False).status == "abandoned"
    assert status.newest(stage).status == "running"
    io.finalize()


def test_dead_while_somebody_writes_its_end(stage, monkeypatch):
    """Who holds the lock to write the end of a dead attempt does not make it run; the next attempt waits for that."""
    die(stage)
    writing, go_on = threading.Event(), threading.Event()
    last_look = recovery._Attempt.end

    def slowly(*args: object, **kwargs: object) -> None:
        writing.set()
        go_on.wait(10)
        last_look(*args, **kwargs)

    monkeypatch.setattr(recovery._Attempt, "end", slowly)
    found: list[list[int]] = []
    ending = threading.Thread(target=lambda: found.append(recovery.write_ends(stage)))
    ending.start()
    assert writing.wait(10)
    assert locks.held(str(stage.lock))
    assert status.newest(stage).status == "abandoned"
    threading.Timer(0.3, go_on.set).start()
    with opened(stage) as io:
        ending.join()
        assert (io.manifest["attempt"], found) == (2, [[1]])


def test_newest_that_left_a_start(stage):
    """An attempt that was claimed and died before its first record is passed over."""
    opened(stage).finalize("failed")
    stage.attempt_dir(2).mkdir()
    assert (status.newest(stage).attempt, status.newest(stage).status) == (1, "failed")
    assert status.read_summary(stage, 2) is None


def test_stage_that_never_ran(stage):
    """A stage without attempts has none."""
    assert status.newest(stage) is None


def test_contradiction(stage):
    """A success that a later call contradicted is a success that does not count."""
    io = opened(stage)
    io.finalize("success")
    assert status.newest(stage).succeeded
    io.finalize("failed")
    assert (status.newest(stage).status, status.newest(stage).succeeded) == ("success", False)


def test_only_lifecycle_events_are_decoded(stage, monkeypatch):
    """A long journal is looked through for lifecycle events without decoding the rest."""
    io = opened(stage)
    for number in range(50):
        io.add_config("key", f"{number} stageio.stage.finished")
    io.finalize()
    decoded = []
    plain = json.loads
    monkeypatch.setattr(json, "loads", lambda text: decoded.append(text) or plain(text))
    assert status.read_summary(stage, 1).status == "success"
    assert len(decoded) == 2


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (({}, True, 0), "running"),
        (({}, True, 3600), "running"),
        (({}, False, 0), "abandoned"),
        (({"boot_id": "earlier"}, False, 0), "lost"),
        (({}, None, 5), "running"),  # a file system without locks: its heartbeat counts
        (({}, None, 3600), "lost"),
        (({"boot_id": "earlier"}, None, 5), "lost"),
        (({"host": "elsewhere"}, True, 5), "running"),
        (({"host": "elsewhere"}, False, 5), "running"),
        (({"host": "elsewhere"}, False, 3600), "lost"),
        (({"status": "failed"}, False, 3600), "failed"),
    ],
)
def test_liveness(stage, known, monkeypatch, case, expected):
    """Dead is what the lock proves on this host and boot; elsewhere the heartbeat tells, and its silence is lost.

    A case is what of the attempt is different, whether its lock is held, and how many seconds ago it was touched.
    """
    changes, held, silent = case
    monkeypatch.setattr(locks, "held", lambda _: held)
    then = time.time() - silent
    os.utime(stage.lock, (then, then))
    assert status.alive(known._replace(**changes), str(stage.lock)).status == expected


def test_former_attempt_of_another_host(stage, known):
    """A former attempt without an end is dead where its host is this one, and lost where it is another."""
    elsewhere = known._replace(host="elsewhere")
    actual = [status.alive(each, str(stage.lock), newest=False).status for each in (known, elsewhere)]
    assert actual == ["abandoned", "lost"]


def test_lock_that_is_gone(stage, known, monkeypatch):
    """Without its lock file a stage of this host is dead, one of another host lost."""
    stage.lock.unlink()
    elsewhere = known._replace(host="elsewhere")
    actual = [status.alive(each, str(stage.lock)).status for each in (known, elsewhere)]
    assert actual == ["abandoned", "lost"]


def test_asking_does_not_disturb(stage):
    """A reader never takes the lock: the stage may be opened while somebody asks, and asking changes no file."""
    io = opened(stage)
    before = stage.lock.stat()
    for _ in range(10):
        status.newest(stage)
    assert stage.lock.stat() == before or stage.lock.stat().st_mtime_ns == before.st_mtime_ns
    io.finalize()
    opened(stage).finalize()
