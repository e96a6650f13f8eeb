"""What rests and what is told at a fork; what becomes of it in real programs is in tests/test_forks.py."""

from __future__ import annotations

import os
import threading
import time

import pytest

from otel_stageio import StageIO
from otel_stageio.record.background import Background
from otel_stageio.record.processes import forks

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def forked() -> int:
    """Fork a child that ends at once with the number of its threads; give that number."""
    child = os.fork()
    if child == 0:
        os._exit(threading.active_count())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Slow:
    """Has a thread that does not end soon."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.resumed = 0
        self.thread = threading.Thread(target=self.end.wait)
        self.thread.start()

    def rest(self) -> threading.Thread:
        return self.thread

    def resume(self) -> None:
        self.resumed += 1


def test_a_fork_waits_for_a_moment_and_no_longer():
    """A thread that does not end holds a fork up for a quarter of a second at most; what rested is resumed once."""
    slow = Slow()
    forks.rests(slow)
    try:
        began = time.monotonic()
        assert forked() == 1
        assert time.monotonic() - began < 2
        assert slow.resumed == 1
    finally:
        slow.end.set()
        slow.thread.join()


def test_what_is_gone_is_not_told():
    """A fork keeps nothing alive: recorders and threads of stages that are gone are forgotten."""
    before = len(forks._working)
    slow = Slow()
    forks.rests(slow)
    assert len(forks._working) == before + 1
    slow.end.set()
    slow.thread.join()
    del slow
    assert len(forks._working) == before


def test_many_forks_starve_neither_heartbeat_nor_manifest(monkeypatch):
    """Times are counted on from fork to fork: a program that forks all the time still shows that it lives."""
    monkeypatch.setattr("otel_stageio.record.background.BEAT", 0.05)
    monkeypatch.setattr("otel_stageio.record.background._PAUSE", 0.05)
    beats: list[float] = []
    rewrites: list[float] = []
    thread = Background(beat=lambda: beats.append(time.monotonic()), refresh=lambda: rewrites.append(time.monotonic()))
    thread.start()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        thread.poke()
        forked()
        time.sleep(0.01)
    thread.close()
    assert len(beats) > 5
    assert len(rewrites) > 5


def test_closed_while_a_fork_is_under_way():
    """A stage that ends in another thread while the process forks has no thread afterwards."""
    thread = Background(beat=lambda: None, refresh=lambda: None)
    thread.start()
    resting = thread.rest()
    assert resting is not None
    resting.join(10)
    thread.close()
    thread.resume()
    assert thread._thread is None
    assert thread.rest() is None


def test_the_thread_that_forks_does_not_wait_for_itself():
    """A fork by the stage's own thread, as by a program's hook, goes on at once."""
    told: list[int] = []
    thread = Background(beat=lambda: None, refresh=lambda: told.append(forked()))
    thread.start()
    thread.poke()
    until = time.monotonic() + 20
    while not told and time.monotonic() < until:
        time.sleep(0.01)
    thread.close()
    assert told == [1]


def test_a_child_waits_for_no_lock_of_a_span(tmp_path):
    """A thread may be telling a span something when another forks: the child tells it something all the same."""
    with StageIO("asr", tmp_path / "out", stage_number=6) as io, io.step("decode") as span:
        book = span._book
        taken, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            with book._lock:
                taken.set()
                go_on.wait(20)

        thread = threading.Thread(target=hold)
        thread.start()
        taken.wait()
        child = os.fork()
        if child == 0:
            span.set_attribute("key", 1)
            os._exit(0)
        until, status = time.monotonic() + 10, None
        while status is None and time.monotonic() < until:
            pid, code = os.waitpid(child, os.WNOHANG)
            status = code if pid else None
            time.sleep(0.005)
        go_on.set()
        thread.join()
        if status is None:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert status == 0
