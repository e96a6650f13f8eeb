"""Live delivery beside forks: the parent sends what its children say, and no fork waits for a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_stageio.job.layout import JobLayout
from tests.ship.backend import Answers, backend
from tests.ship.records import arrived, on_disk, uids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import RunScript

#: Forks for three seconds, and six times at least, from before the exporters are loaded: most children speak, and
#: each loads what they load.
FORKS = """
import os, sys, threading, time, warnings
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)  # a request that is under way is a thread
from otel_stageio import StageIO
io = StageIO("asr", "out")
logger = io.get_stage_logger()
slowest, forks, until = 0.0, 0, time.monotonic() + 3
while time.monotonic() < until or forks < 6:
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        import requests
        from opentelemetry.exporter.otlp.proto.http import trace_exporter
        if forks % 3:
            logger.info("child %d", forks)
        sys.exit(0) if forks % 2 else os._exit(0)
    slowest, forks = max(slowest, time.monotonic() - began), forks + 1
    end = time.monotonic() + 20
    while not os.waitpid(child, os.WNOHANG)[0]:
        assert time.monotonic() < end, "a child hangs"
        time.sleep(0.002)
    time.sleep(0.03)
logger.info("parent")
io.finalize()
print(forks >= 6, [thread.name for thread in threading.enumerate()].count("otel-stageio-ship"), slowest)
"""


@pytest.fixture
def server() -> Iterator[Answers]:
    """A backend to answer."""
    with backend() as answers:
        yield answers


def test_forks_while_the_courier_sends(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """What children say arrives once, from the parent, which goes on delivering; no child hangs at an import."""
    done = run_script(FORKS, env={"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "STAGEIO_CONSOLE": "off"})
    assert (done.returncode, done.stderr) == (0, "")
    forked, couriers, _ = done.stdout.split()
    assert (forked, couriers) == ("True", "1")
    assert arrived(server) == on_disk(JobLayout(tmp_path / "out"))
    assert len(uids(server)) == len(set(uids(server)))


def test_forks_beside_a_backend_that_hangs(run_script: RunScript, server: Answers) -> None:
    """Requests that take seconds hold no fork up, and children neither wait for them nor send any."""
    server.drip = b"HTTP/1.1 200 OK\r\n" + b"X-Slow: 1\r\n" * 1000
    done = run_script(
        FORKS,
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
            "STAGEIO_CONSOLE": "off",
        },
    )
    assert done.returncode == 0
    forked, couriers, slowest = done.stdout.split()
    assert (forked, couriers) == ("True", "1")
    assert float(slowest) < 2.5
    assert "hangs" not in done.stderr


#: Forks while the exporters are being loaded, which takes long here.
LOADS = """
import os, sys, threading, time, warnings
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)  # Python 3.13.0 counts threads that rested
slow = threading.Event()

class Imports:
    def find_spec(self, name, *_):
        if threading.current_thread().name == "otel-stageio-ship" and not slow.is_set():
            slow.set()
            time.sleep(3)

sys.meta_path.insert(0, Imports())
from otel_stageio import StageIO
io = StageIO("asr", "out")
slow.wait(20)
time.sleep(0.1)
child = os.fork()
if child == 0:
    import requests
    from opentelemetry.exporter.otlp.proto.http import trace_exporter
    os._exit(0)
end = time.monotonic() + 20
while not os.waitpid(child, os.WNOHANG)[0]:
    assert time.monotonic() < end, "the child hangs"
    time.sleep(0.01)
io.finalize()
"""


def test_a_fork_waits_until_the_exporters_are_loaded(run_script: RunScript, server: Answers) -> None:
    """However long that takes beside threads that never rest: a child does not hang at importing them."""
    done = run_script(LOADS, env={"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "STAGEIO_CONSOLE": "off"})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_while_the_process_ends(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """A fork that late, where Python still allows one, does not keep what comes last from being delivered."""
    done = run_script(
        """
import atexit, os, time, warnings
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
from otel_stageio import StageIO
io = StageIO("asr", "out")
time.sleep(1.5)
io.finalize()
@atexit.register
def at_the_end():
    try:
        if os.fork() == 0:
            os._exit(0)
        os.wait()
    except RuntimeError:  # Python 3.12 and newer refuse it
        pass
    io.get_stage_logger().info("last")
""",
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "STAGEIO_CONSOLE": "off"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(server) == on_disk(JobLayout(tmp_path / "out"))


def test_a_child_that_outlives_its_parent(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """What it says when its parent is gone waits on disk, and goes out with a later stage of the job that lasts."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "STAGEIO_CONSOLE": "off"}
    done = run_script(
        """
import os, time
from otel_stageio import StageIO
io = StageIO("asr", "out")
if os.fork() == 0:
    os.close(1); os.close(2)
    while not os.path.exists("go"):
        time.sleep(0.01)
    io.get_stage_logger().info("late")
    io.add_config("late", 1)
    open("said", "x").close()
    os._exit(0)
io.finalize()
""",
        env=settings,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(server) == on_disk(JobLayout(tmp_path / "out"))
    (tmp_path / "go").touch()
    after = """
import os, time
while not os.path.exists("said"):
    time.sleep(0.01)
from otel_stageio import StageIO
with StageIO("mux", "out"):
    time.sleep(1.5)
"""
    for _ in range(5):  # the first will do, unless the machine is slow
        done = run_script(after, env=settings)
        assert (done.returncode, done.stderr) == (0, "")
        if arrived(server) == on_disk(JobLayout(tmp_path / "out")):
            break
    assert arrived(server) == on_disk(JobLayout(tmp_path / "out"))
