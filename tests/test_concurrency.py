"""Many threads and many processes at one job: nothing is lost, nothing is mixed up, nothing hangs."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio.journal import reader
from otel_stageio.record import background
from otel_stageio.views.manifest import dump
from tests.processes import in_processes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

THREADS = 8
TIMES = 60


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The job folder."""
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    """Write nothing to the console."""
    monkeypatch.setenv("STAGEIO_CONSOLE", "off")


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run `work` with the numbers from 0 up in as many threads at once."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> None:
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_of_one_stage(out, monkeypatch):
    """Threads that log, track and note at once, while manifests are being written: all of it is on record, whole."""
    monkeypatch.setattr(background, "_PAUSE", 0.0)
    monkeypatch.setattr(background, "_COST_FACTOR", 0)
    io = StageIO("asr", out, stage_number=6)

    def work(number: int) -> None:
        logger = io.get_stage_logger().getChild(f"worker{number}")
        for time in range(TIMES):
            logger.info("record %d %d", number, time)
            io.add_config(f"key{number}.{time}", time)
            path = io.get_output_path(f"{number}/{time}.txt")
            path.write_text(f"{number} {time}")
            io.track_output(path, "text")
            if time % 10 == 0:
                io.add_warning(f"warning {number} {time}")

    in_threads(THREADS, work)
    io.finalize()
    manifest = json.loads(io.manifest_path.read_bytes())
    messages = {row["message"] for row in open_job(out).logs()}
    assert messages == {f"record {number} {time}" for number in range(THREADS) for time in range(TIMES)}
    assert len(manifest["config"]) == len(manifest["outputs"]) == THREADS * TIMES
    assert len(manifest["warnings"]) == THREADS * TIMES / 10
    assert manifest["degraded"] == []
    assert io.manifest_path.read_bytes() == dump(open_job(out).manifest("asr"))
    (pipeline,) = io.logs_dir.iterdir()
    for log in (io.stage_log, pipeline):
        lines = [line for line in log.read_text().splitlines() if not line.startswith("# ")]
        assert len(lines) == THREADS * TIMES
        assert all(re.fullmatch(r"\[[^]]+\] \[asr\] \[INFO\] record \d+ \d+", line) for line in lines)


def test_a_thread_logs_on_while_the_stage_ends(out):
    """A thread that goes on logging while the stage ends, and after it, writes into the stage's files and no other."""
    done = threading.Event()
    for attempt in range(10):
        io = StageIO("asr", out, stage_number=6)
        done.clear()
        counts = [0]

        def talk(io: StageIO = io, counts: list[int] = counts) -> None:
            while not done.is_set():
                io.get_stage_logger().info("record %d", counts[0])
                counts[0] += 1

        thread = threading.Thread(target=talk)
        thread.start()
        while counts[0] < 20:
            pass
        io.finalize("failed")
        others = [os.open(out / "other", os.O_RDWR | os.O_CREAT) for _ in range(20)]
        done.set()
        thread.join()
        assert (out / "other").read_bytes() == b""
        for other in others:
            os.close(other)
        told = list(reader.log_records(str(io.stage_dir / ".stageio" / f"{attempt + 1:03d}" / "logs.jsonl")))
        assert [record.body for record in told] == [f"record {number}" for number in range(counts[0])]
        io.refresh()
        assert io.manifest_path.read_bytes() == dump(open_job(out).manifest("asr"))


def test_stages_of_one_process_at_once(out):
    """Several stages of one process that run at once in threads are kept apart."""
    said: dict[int, str] = {}

    def work(number: int) -> None:
        with StageIO(f"stage{number}", out, stage_number=number) as io:
            for time in range(20):
                io.get_stage_logger().info("stage %d record %d", number, time)
            said[number] = io.manifest["trace_id"]

    in_threads(THREADS, work)
    job = open_job(out)
    assert len(set(said.values())) == 1
    assert [(row["stage"], row["status"]) for row in job.stages] == [
        (f"stage{number}", "success") for number in range(THREADS)
    ]
    for number in range(THREADS):
        assert {row["message"].split()[1] for row in job.logs(stage=f"stage{number}")} == {str(number)}
    document = json.loads((out / "manifest.json").read_text())
    assert (len(document["completed_stages"]), document["status"]) == (THREADS, "success")


def test_processes_of_one_job(out):
    """Stages in processes of their own, without numbers, get one each, one run, and whole lines in the pipeline log."""

    def work(number: int) -> int:
        with StageIO(f"stage{number}", out) as io:
            for time in range(50):
                io.get_stage_logger().info("stage%d %d %s", number, time, "x" * 500)
            return io.stage_number

    numbers = in_processes(10, work)
    job = open_job(out)
    assert len(set(numbers)) == 10
    assert [row["status"] for row in job.stages] == ["success"] * 10
    assert {row["run"] for row in job.stages} == {1}
    (pipeline,) = (out / "logs").iterdir()
    told = re.findall(r"^\[[^]]+\] \[(stage\d)\] \[INFO\] \1 (\d+) x{500}$", pipeline.read_text(), re.MULTILINE)
    assert len(told) == 500
    for number in range(10):
        assert [int(time) for stage, time in told if stage == f"stage{number}"] == list(range(50))


def test_pool_of_forked_workers(out):
    """What the workers of a pool say about the parent's stage is in its journal, and in its manifest at the end."""
    io = StageIO("asr", out, stage_number=6)

    def work(number: int) -> int:
        path = io.get_output_path(f"{number}.txt")
        path.write_text(str(number))
        io.track_output(path, "text", worker=number)
        io.add_metric(f"metric{number}", number)
        io.get_stage_logger().info("worker %d", number)
        return number

    assert in_processes(8, work) == list(range(8))
    io.finalize()
    manifest = json.loads(io.manifest_path.read_bytes())
    assert {entry["worker"] for entry in manifest["outputs"]} == set(range(8))
    assert len(manifest["metrics"]) == manifest["log_counts"]["INFO"] == 8
    assert io.manifest_path.read_bytes() == dump(open_job(out).manifest("asr"))
    (span,) = reader.spans(str(io.stage_dir / ".stageio" / "001" / "traces.jsonl"))
    assert span.attributes["stageio.outputs.count"] == 8


INTERPRETERS = '''
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
raised = interpreters.run_string(interpreters.create(), f"""
import sys
sys.path[:] = {sys.path!r}
from otel_stageio import StageIO
with StageIO("asr", "out", stage_number=1) as io:
    io.get_stage_logger().info("hello")
""")
assert raised is None, raised
'''


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12.1 breaks down at the end, without us as well")
def test_a_subinterpreter(out, run_script):
    """Where neither daemon threads nor handlers of signals may be, a stage is recorded without them."""
    done = run_script(INTERPRETERS, env={"STAGEIO_CONSOLE": "off"})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((out / "01_asr" / "manifest.json").read_bytes())["status"] == "success"
