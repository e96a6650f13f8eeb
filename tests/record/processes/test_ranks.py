"""Ranks: the processes of a launch are one attempt, whoever of them is first, and the next launch is another."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio.record.processes import ranks
from tests.conftest import clean_environment
from tests.hosts import SimulatedHost


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The job folder."""
    return tmp_path / "out"


def start(source: str, *args: object, **env: str) -> subprocess.Popen[bytes]:
    """Start a script that nobody waits for here."""
    return subprocess.Popen([sys.executable, "-c", source, *map(str, args)], env=clean_environment(env))


def manifest(out: Path, stage: str) -> dict:
    """The stage's manifest."""
    return json.loads((out / stage / "manifest.json").read_text())


def members(out: Path, stage: str) -> list[str]:
    """The members of its first attempt."""
    folder = out / stage / ".stageio/001/members"
    return sorted(os.listdir(folder)) if folder.exists() else []


RANK = """
import sys, time
from otel_stageio import StageIO
time.sleep(float(sys.argv[2]))
io = StageIO("06_train", sys.argv[1])
io.get_stage_logger().info("at work")
time.sleep(float(sys.argv[3]))
io.finalize("success")
io.get_stage_logger().info("Stage complete")
"""


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"])
def test_ranks_share_an_attempt(variable, out):
    """Of the processes of a launch the first opens the stage, and the others wait for it and take part."""
    ranks = [start(RANK, out, 0.5 if n == 0 else 0, 1.0, **{variable: str(n)}) for n in range(3)]
    assert [rank.wait(60) for rank in ranks] == [0] * 3
    document = manifest(out, "06_train")
    assert (document["attempt"], document["status"], document["log_counts"]["INFO"] >= 3) == (1, "success", True)
    assert len(members(out, "06_train")) == 2
    rows = open_job(out).logs()
    assert sorted(row["message"] for row in rows) == ["Stage complete"] * 3 + ["at work"] * 3
    assert len({row["span_id"] for row in rows}) == 1


def test_a_first_rank_that_is_faster(out):
    """Rank 0 may be done before another rank looks: that one belongs to the attempt all the same."""
    ranks = [start(RANK, out, 0 if n == 0 else 1.0, 0, RANK=str(n)) for n in range(2)]
    assert [rank.wait(60) for rank in ranks] == [0] * 2
    assert [row["attempt"] for row in open_job(out).attempts()] == [1]
    assert len(members(out, "06_train")) == 1


def test_a_first_rank_that_never_comes(out, monkeypatch):
    """After ten seconds, here less, a rank opens the stage itself, and says so in the manifest."""
    monkeypatch.setattr(ranks, "PATIENCE", 0.3)
    monkeypatch.setenv("RANK", "2")
    began = time.monotonic()
    io = StageIO("06_train", out)
    assert time.monotonic() - began >= 0.3
    io.finalize()
    (warning,) = manifest(out, "06_train")["warnings"]
    assert "this process is rank 2, and rank 0 did not open the stage" in warning["message"]
    assert "Unset RANK" in warning["message"]


def test_a_first_rank_that_comes_too_late(out, monkeypatch):
    """The ranks that gave up waiting share one attempt, and rank 0 takes part in it when it comes: none is refused."""
    monkeypatch.setattr(ranks, "PATIENCE", 0.2)
    waits = f"from otel_stageio.record.processes import ranks\nranks.PATIENCE = 0.2\n{RANK}"
    started = [start(waits, out, 0, 4.0, RANK=str(n)) for n in (1, 2, 3)]
    until = time.monotonic() + 20
    while len(members(out, "06_train")) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    started.append(start(waits, out, 0, 0, RANK="0"))
    assert [rank.wait(60) for rank in started] == [0] * 4
    assert [(row["attempt"], row["status"]) for row in open_job(out).attempts()] == [(1, "success")]
    assert len(members(out, "06_train")) == 3


def test_a_twin_of_rank_0_is_refused(out):
    """Slurm says to any script that it is rank 0: two of them that open one stage do not share it."""
    with StageIO("06_train", out):
        command = [sys.executable, "-c", RANK, out, "0", "0"]
        environment = clean_environment({"SLURM_PROCID": "0"})
        refused = subprocess.run(command, env=environment, check=False, capture_output=True)
    assert b"StageRunningError" in refused.stderr


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_ranks_that_are_started_again(end, out):
    """A rank that is there before rank 0 waits for it, and does not join the attempt that was killed just before."""
    killed = start(RANK, out, 0, 30, RANK="0")
    while not (out / "06_train/.stageio/001/logs.jsonl").exists():
        time.sleep(0.01)
    killed.send_signal(end)
    assert killed.wait(60) == -end
    time.sleep(0.2)  # no launcher is faster
    started = [start(RANK, out, 0 if n else 1.0, 0.5, RANK=str(n)) for n in range(2)]
    assert [rank.wait(60) for rank in started] == [0] * 2
    assert not members(out, "06_train")
    assert [row["attempt"] for row in open_job(out).logs() if row["message"] == "at work"] == [1, 2, 2]


def test_ranks_go_through_a_stage_several_times(out):
    """The passes of all ranks belong together, also where rank 0 is slower than the others, or faster."""
    source = """
import sys, time
from otel_stageio import StageIO
for turn in range(3):
    time.sleep(float(sys.argv[2]))
    with StageIO("06_train", sys.argv[1]) as io:
        io.get_stage_logger().info("pass %d", turn + 1)
        time.sleep(float(sys.argv[3]))
"""
    started = [start(source, out, pause, work, RANK=str(n)) for n, pause, work in ((0, 0.3, 0), (1, 0, 0), (2, 0, 0.8))]
    assert [rank.wait(60) for rank in started] == [0] * 3
    rows = [(row["attempt"], row["message"]) for row in open_job(out).logs()]
    assert sorted(rows) == [(n, f"pass {n}") for n in (1, 1, 1, 2, 2, 2, 3, 3, 3)]


def test_a_worker_of_a_rank_above_0(out, tmp_path):
    """A spawned worker of a rank takes part as its rank does, also where rank 0 has ended already."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import multiprocessing as mp, os, sys, time
from otel_stageio import StageIO

io = StageIO("06_train", {str(out)!r})

def work():
    io.get_stage_logger().info("worker")

if __name__ == "__main__":
    if os.environ["RANK"] == "1":
        time.sleep(1.5)
        process = mp.get_context("spawn").Process(target=work)
        process.start()
        process.join()
        sys.exit(process.exitcode)
    io.finalize()
"""
    )
    began = time.monotonic()
    command = [sys.executable, script]
    started = [subprocess.Popen(command, env=clean_environment({"RANK": str(n)})) for n in range(2)]
    assert [rank.wait(60) for rank in started] == [0] * 2
    assert [row["attempt"] for row in open_job(out).attempts()] == [1]
    assert [row["message"] for row in open_job(out).logs()] == ["worker"]
    assert time.monotonic() - began < 8


def test_ranks_with_items_are_no_members(out, monkeypatch):
    """Where each process has an item of its own, nobody waits for anybody."""
    monkeypatch.setenv("SLURM_PROCID", "3")
    began = time.monotonic()
    with StageIO("06_asr", out, item=3) as io:
        assert io._opened.member == ""
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("clock", [300.0, 0.0, -300.0])
@pytest.mark.parametrize("before", [True, False])
def test_ranks_on_hosts_whose_clocks_are_apart(out, monkeypatch, clock, before):
    """What rank 0 ended before this rank began is of a launch before, wherever the clock of rank 0 stands."""
    SimulatedHost("node0", clock=clock).does(lambda: StageIO("train", out, stage_number=1).finalize())
    events = out / "01_train" / ".stageio" / "001" / "events.jsonl"
    ended = time.time() - ranks._age() + (-20 if before else 1)
    os.utime(events, (ended, ended))
    monkeypatch.setattr(ranks, "PATIENCE", 0.1)
    monkeypatch.setenv("RANK", "1")
    with StageIO("train", out, stage_number=1) as io:
        pass
    assert (io.manifest["attempt"], io._opened.member == "") == ((2, True) if before else (1, False))
