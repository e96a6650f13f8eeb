"""The one lasting thread of a stage: when it rewrites, when it beats, when it is gone."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.record import background
from otel_stageio.record.background import Background

if TYPE_CHECKING:
    from collections.abc import Iterator


class Calls:
    """Counts what a Background calls, with times and threads."""

    def __init__(self) -> None:
        self.beats: list[float] = []
        self.refreshes: list[float] = []
        self.threads: set[str] = set()
        #: Seconds that a refresh takes.
        self.cost = 0.0

    def beat(self) -> None:
        self.beats.append(time.monotonic())
        self.threads.add(threading.current_thread().name)

    def refresh(self) -> None:
        self.threads.add(threading.current_thread().name)
        time.sleep(self.cost)
        self.refreshes.append(time.monotonic())

    def wait(self, count: int, of: str = "refreshes") -> bool:
        until = time.monotonic() + 10
        while len(getattr(self, of)) < count and time.monotonic() < until:
            time.sleep(0.001)
        return len(getattr(self, of)) >= count


@pytest.fixture
def calls() -> Calls:
    """What the thread called."""
    return Calls()


@pytest.fixture
def thread(calls, monkeypatch) -> Iterator[Background]:
    """A background that is not started, with pauses of 20 ms."""
    monkeypatch.setattr(background, "_PAUSE", 0.02)
    made = Background(beat=calls.beat, refresh=calls.refresh)
    yield made
    made.close()


def running() -> int:
    """Count the threads of stages."""
    return sum(each.name == "otel-stageio" for each in threading.enumerate())


def test_quiet_stage_is_not_rewritten(thread, calls):
    """Nothing is rewritten while nothing changes."""
    thread.start()
    time.sleep(0.1)
    assert (calls.refreshes, calls.beats) == ([], [])


def test_change_is_rewritten_once(thread, calls):
    """After changes there is one rewrite, on the thread, and no other until the next change."""
    thread.start()
    for _ in range(100):
        thread.poke()
    assert calls.wait(1)
    time.sleep(0.1)
    assert len(calls.refreshes) == 1
    assert calls.threads == {"otel-stageio"}
    thread.poke()
    assert calls.wait(2)


def test_pause_between_rewrites(thread, calls, monkeypatch):
    """However often something changes, a pause lies between rewrites: at least so long, and 50 times their cost."""
    calls.cost = 0.002
    thread.start()
    until = time.monotonic() + 10
    while len(calls.refreshes) < 4 and time.monotonic() < until:
        thread.poke()
        time.sleep(0.001)
    gaps = [later - earlier for earlier, later in zip(calls.refreshes, calls.refreshes[1:], strict=False)]
    assert len(gaps) > 1
    assert min(gaps) >= 50 * 0.002
    assert background._COST_FACTOR == 50


def test_a_growing_manifest_is_rewritten_seldom(calls, monkeypatch):
    """Rewrites whose cost grows with the entries stay near two per cent of the time, and go on when they are few."""
    monkeypatch.setattr(background, "_PAUSE", 0.02)
    monkeypatch.setattr(background, "_TELLING", 1)
    size = [0]

    def refresh():
        calls.cost = size[0] * 10e-6
        calls.refresh()

    thread = Background(beat=calls.beat, refresh=refresh, size=lambda: size[0])
    thread.start()
    began = time.monotonic()
    while time.monotonic() < began + 1:
        size[0] += 100  # 100,000 in a second, each of which would cost ten microseconds
        thread.poke()
        time.sleep(0.001)
    assert len(calls.refreshes) <= 1
    size[0] = 100
    assert calls.wait(len(calls.refreshes) + 1)
    thread.close()


def test_what_a_rewrite_is_expected_to_cost():
    """As much as the last one and what came since at the measured price; what it took beyond that is waited for."""
    expected = background._Expected()
    assert expected.cost(0) == 0
    assert expected.cost(10_000) == pytest.approx(0.1)
    expected.measured(10_000, 0.4)
    assert expected.cost(10_000) == pytest.approx(0.4 + 0.3)
    assert expected.cost(20_000) == pytest.approx(0.8 + 0.3)
    expected.measured(20_000, 0.8)
    assert expected.cost(20_000) == pytest.approx(0.8)
    expected.measured(5, 0.001)
    assert expected.cost(1_005) == pytest.approx(0.001 + 0.01)


def test_change_during_a_rewrite_is_not_lost(thread, calls):
    """What changes while manifest.json is being rewritten leads to another rewrite."""
    calls.cost = 0.01
    thread.start()
    thread.poke()
    while not calls.threads:
        time.sleep(0.001)
    thread.poke()
    assert calls.wait(2)


def test_heartbeat(thread, calls, monkeypatch):
    """The thread shows a sign of life at every beat, also between rewrites, and none after the end."""
    monkeypatch.setattr(background, "BEAT", 0.02)
    thread.start()
    thread.poke()
    assert calls.wait(3, "beats")
    assert calls.wait(1)
    thread.close()
    beats = len(calls.beats)
    time.sleep(0.08)
    assert len(calls.beats) == beats


def test_close_waits_for_the_rewrite_under_way(thread, calls):
    """When close returns the thread is gone, and no rewrite of its comes after that."""
    calls.cost = 0.05
    before = running()
    thread.start()
    thread.poke()
    while not calls.threads:
        time.sleep(0.001)
    thread.close()
    assert running() == before
    assert len(calls.refreshes) == 1


def test_close_drops_what_is_owed(thread, calls):
    """A rewrite that was still to come is the closer's business."""
    thread.start()
    thread.poke()
    thread.close()
    time.sleep(0.06)
    assert calls.refreshes == []
    thread.close()


def test_call_after_the_end(thread, calls):
    """Calls after the end are rewritten by a thread that is gone again after that, each time."""
    before = running()
    thread.start()
    thread.close()
    for count in (1, 2, 3):
        for _ in range(10):
            thread.poke()
        assert calls.wait(count)
        while running() > before:
            time.sleep(0.001)
    assert len(calls.refreshes) == 3
    assert calls.beats == []


def test_calls_after_the_end_race_with_the_thread_that_leaves(thread, calls, monkeypatch):
    """A call that comes as the thread of the last one leaves is not forgotten."""
    monkeypatch.setattr(background, "_PAUSE", 0.0)
    thread.start()
    thread.close()
    for _ in range(300):
        done = len(calls.refreshes)
        thread.poke()
        assert calls.wait(done + 1)


def test_close_before_start(thread, calls):
    """A background that never started closes as well."""
    thread.close()
    assert calls.refreshes == []


def test_no_more_threads(thread, calls, monkeypatch):
    """Where no thread can be had nothing raises, neither now nor at later calls."""
    monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start")))
    thread.start()
    thread.poke()
    thread.close()
    thread.poke()
    thread.poke()
    assert calls.refreshes == []


def test_poke_in_the_middle_of_a_poke(thread, calls):
    """A signal handler may poke wherever the main thread is, in the middle of a poke too."""
    struck = []

    def strike(*_):
        struck.append(1)
        thread._dirty = False
        thread.poke()

    thread.start()
    before = signal.signal(signal.SIGVTALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
        while len(struck) < 30:
            thread.poke()
            thread._dirty = False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    thread.poke()
    assert calls.wait(1)


def test_stage_rewrites_its_manifest_while_it_runs(tmp_path, monkeypatch):
    """Two seconds after a change at the latest manifest.json has it, without a call of the stage."""
    io = StageIO("asr", tmp_path / "out", stage_number=6)
    at_start = io.manifest_path.read_bytes()
    began = time.monotonic()
    io.add_config("key", 1)
    assert io.manifest_path.read_bytes() == at_start  # never on the caller's thread
    while io.manifest_path.read_bytes() == at_start and time.monotonic() < began + 5:
        time.sleep(0.01)
    took = time.monotonic() - began
    assert b'"key": 1' in io.manifest_path.read_bytes()
    assert b'"status": "running"' in io.manifest_path.read_bytes()
    assert 0.5 < took < 2
    io.finalize()


def test_a_stage_has_one_thread(tmp_path):
    """An open stage has one daemon thread, and none once it has ended; with mode="off" it never has one."""
    before = set(threading.enumerate())
    silent = StageIO("vad", tmp_path / "out", mode="off")
    io = StageIO("asr", tmp_path / "out", stage_number=6)
    io.get_stage_logger().info("hello")
    assert [(thread.name, thread.daemon) for thread in set(threading.enumerate()) - before] == [("otel-stageio", True)]
    io.finalize()
    silent.finalize()
    assert set(threading.enumerate()) <= before


def test_heartbeat_touches_the_lock(tmp_path, monkeypatch):
    """While the stage is open the time of its lock file goes on."""
    monkeypatch.setattr(background, "BEAT", 0.02)
    io = StageIO("asr", tmp_path / "out", stage_number=6)
    lock = io.stage_dir / ".stageio" / "lock"
    first = lock.stat().st_mtime_ns
    until = time.monotonic() + 5
    while lock.stat().st_mtime_ns == first and time.monotonic() < until:
        time.sleep(0.005)
    assert lock.stat().st_mtime_ns > first
    io.finalize()
