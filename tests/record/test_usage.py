"""What a stage used, measured against work of known size."""

from __future__ import annotations

import subprocess
import sys
import time
import types

import psutil  # before its own import of resource is stopped below
import pytest

from otel_stageio.record import usage
from otel_stageio.record.usage import UsageMeter

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def test_an_idle_stage():
    """Wall time passes without processor time; all four values are there, rounded."""
    meter = UsageMeter.start()
    time.sleep(0.2)
    found = meter.read()
    assert list(found) == ["wall_seconds", "cpu_seconds", "cpu_percent", "peak_memory_mb"]
    assert 0.2 <= found["wall_seconds"] < 5
    assert found["cpu_seconds"] < 0.15
    assert found == {name: round(value, 3) for name, value in found.items()}


def test_own_work_and_that_of_children():
    """Processor time of this process and of a child that was waited for counts, from the start on."""
    exec(BURN)  # before the start: not the stage's
    meter = UsageMeter.start()
    exec(BURN)
    own = meter.read()["cpu_seconds"]
    assert 0.25 < own < 0.6
    child = subprocess.Popen([sys.executable, "-c", BURN])
    time.sleep(0.05)
    child.wait()
    found = meter.read()
    assert found["cpu_seconds"] - own > 0.25
    assert found["cpu_percent"] == pytest.approx(100 * found["cpu_seconds"] / found["wall_seconds"], abs=1)


def test_peak_memory(run_script):
    """The peak is what was resident once, in MiB, in this process or in a child that was waited for."""
    source = """
        import subprocess, sys
        from otel_stageio.record.usage import UsageMeter
        meter = UsageMeter.start()
        print(meter.read()["peak_memory_mb"])
        subprocess.run([sys.executable, "-c", "b'1' * (200 << 20)"], check=True)
        print(meter.read()["peak_memory_mb"])
        b"1" * (400 << 20)
        print(meter.read()["peak_memory_mb"])
    """
    before, with_child, own = map(float, run_script(source).stdout.split())
    assert before < 100
    assert 200 <= with_child < 300
    assert 400 <= own < 500


def test_a_large_parent_does_not_count(run_script):
    """A program started by a large one has a peak of its own, where the system can tell it."""
    inner = "from otel_stageio.record.usage import UsageMeter; print(UsageMeter.start().read()['peak_memory_mb'])"
    source = f"""
        import os, sys
        block = b"1" * (300 << 20)
        sys.stdout.flush()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", {inner!r}])
        os.wait()
    """
    assert float(run_script(source).stdout) < 100


def test_without_proc(monkeypatch: pytest.MonkeyPatch):
    """Where /proc says nothing, getrusage does: in KiB, on macOS in bytes."""
    import resource

    class Rusage:
        ru_utime, ru_stime, ru_maxrss = 1.0, 0.5, 300 * 1024

    def no_proc(*_: object, **__: object) -> object:
        raise FileNotFoundError

    monkeypatch.setattr(usage, "open", no_proc, raising=False)
    monkeypatch.setattr(resource, "getrusage", lambda _: Rusage)
    meter = UsageMeter.start()
    assert meter.read()["peak_memory_mb"] == 300.0
    monkeypatch.setattr(sys, "platform", "darwin")
    Rusage.ru_maxrss = 300 << 20
    assert meter.read()["peak_memory_mb"] == 300.0


def test_without_resource(monkeypatch: pytest.MonkeyPatch):
    """Where Python has no resource module, psutil measures the same."""
    monkeypatch.setitem(sys.modules, "resource", None)
    assert psutil.POSIX
    meter = UsageMeter.start()
    exec(BURN)
    found = meter.read()
    assert 0.25 < found["cpu_seconds"] < 0.6
    assert found["peak_memory_mb"] > 5


def test_a_clock_that_did_not_move(monkeypatch: pytest.MonkeyPatch):
    """A stage that took no time at all has no share of a processor."""
    monkeypatch.setattr(usage, "time", types.SimpleNamespace(monotonic=lambda: 1.0))
    found = UsageMeter.start().read()
    assert (found["wall_seconds"], found["cpu_percent"]) == (0.0, 0.0)


def test_psutil_is_not_loaded(run_script):
    """Where there is getrusage, psutil stays out of the process."""
    source = """
        import sys
        from otel_stageio.record.usage import UsageMeter
        UsageMeter.start().read()
        print("psutil" in sys.modules)
    """
    assert run_script(source).stdout == "False\n"
