"""One job on several hosts: whose files are whose, what they know of each other, and clocks that differ."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio.cli import output
from otel_stageio.cli.app import main
from otel_stageio.errors import StageRunningError
from otel_stageio.job import host, locks, members, status
from otel_stageio.job.layout import JobLayout, StageLayout
from tests.hosts import SimulatedHost
from tests.processes import in_processes

if TYPE_CHECKING:
    from pathlib import Path

NODE1, NODE2 = SimulatedHost("node1", "b1"), SimulatedHost("node2", "b2")
NO_LOCKS = [errno.ENOLCK, errno.ENOSYS]


@pytest.fixture
def stage(tmp_path: Path) -> StageLayout:
    """Stage 1, asr, of a job folder that is not there yet."""
    return StageLayout(JobLayout(tmp_path / "out"), 1, "asr")


def opened(stage: StageLayout) -> StageIO:
    """Open the stage and say something in its log."""
    io = StageIO(stage.name, stage.job.root, stage_number=stage.number)
    io.get_stage_logger().info("hello")
    return io


def run(stage: StageLayout, state: str = "success") -> dict[str, Any]:
    """One attempt from begin to end; gives what its manifest says, and the name of its log."""
    io = opened(stage)
    io.finalize(state)
    assert io.manifest is not None
    messages = [each["message"] for each in io.manifest["warnings"]]
    return {"attempt": io.manifest["attempt"], "warnings": messages, "log": io.stage_log.name}


def die(at: SimulatedHost, stage: StageLayout) -> None:
    """Open the stage on that host in a process that is killed."""
    at.dies_after(lambda: opened(stage))


class Running:
    """The stage, open on that host until `end`."""

    def __init__(self, at: SimulatedHost, stage: StageLayout) -> None:
        begun, self._ends = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            at.become()
            io = opened(stage)
            os.write(begun[1], b"x")
            os.read(self._ends[0], 1)
            io.finalize()
            os._exit(0)
        os.read(begun[0], 1)

    def end(self, by: int = 0) -> None:
        """Let it end as success, or `by` a signal."""
        os.kill(self.pid, by)
        os.write(self._ends[1], b"x")
        os.waitpid(self.pid, 0)


def touched(stage: StageLayout, ago: float) -> None:
    """Let the last heartbeat be so many seconds ago, by the file system's clock."""
    then = time.time() - ago
    os.utime(stage.lock, (then, then))


def seen(stage: StageLayout) -> list[str]:
    """The status of every attempt."""
    return [row["status"] for row in open_job(stage.job.root).attempts()]


@pytest.mark.parametrize("lock_error", [0, *NO_LOCKS])
def test_after_the_death_of_a_node(stage, lock_error):
    """A requeued attempt on another node opens with a warning that names the first one, and not with an error."""
    die(NODE1._replace(lock_error=lock_error), stage)
    touched(stage, 12 * 60 + 5)
    node2 = NODE2._replace(lock_error=lock_error)
    found = node2.does(lambda: run(stage))
    (warning,) = found.pop("warnings")
    assert found == {"attempt": 2, "log": "stage.node2.log"}
    assert warning.startswith("attempt 1 of this stage has no end on record: process ")
    assert " on host node1 gave its last sign 12 min ago. " in warning
    assert node2.does(lambda: seen(stage)) == ["lost", "success"]
    assert node2.does(lambda: run(stage))["warnings"] == []


def test_after_the_reboot_of_a_node(stage):
    """An attempt that an earlier boot took with it is warned of, too; one that was killed in this boot is not."""
    die(NODE1, stage)
    assert NODE1.does(lambda: run(stage, "failed"))["warnings"] == []
    die(NODE1, stage)
    found = NODE1._replace(boot_id="next").does(lambda: run(stage))
    (warning,) = found["warnings"]
    assert (found["attempt"], found["log"]) == (4, "stage.log")
    assert warning.startswith("attempt 3 of this stage has no end on record")


@pytest.mark.parametrize("lock_error", NO_LOCKS)
def test_two_hosts_without_locks(stage, lock_error):
    """Both attempts run beside each other, each with a log of its own, and the second one says so."""
    node1, node2 = (each._replace(lock_error=lock_error) for each in (NODE1, NODE2))
    first_ends, first_begun = os.pipe()[::-1], os.pipe()
    child = os.fork()
    if child == 0:
        node1.become()
        io = opened(stage)
        os.write(first_begun[1], b"x")
        os.read(first_ends[1], 1)
        io.get_stage_logger().info("still here")
        io.finalize()
        os._exit(0)
    os.read(first_begun[0], 1)
    found = node2.does(lambda: run(stage))
    assert node2.does(lambda: seen(stage)) == ["lost", "success"]  # beside a newer one nobody can tell
    for node in (node2, node1):
        (warning,) = node.does(lambda: run(stage))["warnings"]
        assert warning.startswith("attempt 1 of this stage has no end on record")
    os.write(first_ends[0], b"x")
    os.waitpid(child, 0)
    assert node2.does(lambda: run(stage))["warnings"] == []
    assert [len(found["warnings"]), found["attempt"], found["log"]] == [1, 2, "stage.node2.log"]
    assert set(seen(stage)) == {"success"}
    assert re.findall("hello|still here", stage.log.read_text()) == ["hello", "hello", "still here"]
    assert stage.log.with_name("stage.node2.log").read_text().count("hello") == 3
    document = json.loads(stage.job.manifest.read_bytes())
    assert (document["status"], document["completed_stages"]) == ("success", ["asr"])


@pytest.mark.parametrize("lock_error", NO_LOCKS)
def test_without_locks_nobody_alive_is_given_an_end(stage, lock_error):
    """Where there are no locks, the attempt before may run in a process of the same host: it is left as it is."""
    node1 = NODE1._replace(lock_error=lock_error)
    die(node1, stage)
    assert len(node1.does(lambda: run(stage))["warnings"]) == 1
    events = (stage.attempt_dir(1) / "events.jsonl").read_text()
    assert "stageio.stage.finished" not in events
    assert node1.does(lambda: seen(stage)) == ["lost", "success"]


@pytest.mark.parametrize("lock_error", [0, *NO_LOCKS])
def test_many_hosts_open_a_new_stage_at_once(stage, lock_error):
    """Every attempt has a folder of its own, stage.log one writer at most, and every log whole lines alone."""

    def work(number: int) -> dict[str, Any]:
        SimulatedHost(f"node{number}", lock_error=lock_error).become()
        return run(stage)

    found = in_processes(10, work)
    assert sorted(each["attempt"] for each in found) == list(range(1, 11))
    used = [each["log"] for each in found]
    assert len(set(used)) == len(used)
    for each in found:
        assert stage.log.with_name(each["log"]).read_text().count("hello") == 1
    assert [row["status"] for row in open_job(stage.job.root).attempts()] == ["success"] * 10


def test_attempts_that_died_before_their_first_record(stage):
    """Where the first attempt left nothing, this host goes on in stage.log if the lock file says it was its own."""
    die(NODE1, stage)
    (stage.attempt_dir(1) / "events.jsonl").unlink()
    assert NODE1.does(lambda: run(stage))["log"] == "stage.log"
    assert NODE1.does(lambda: run(stage))["log"] == "stage.log"
    assert NODE2.does(lambda: run(stage))["log"] == "stage.node2.log"


def test_attempt_of_an_unknown_host(stage):
    """Where nothing tells who made the first attempt, and for good, a log of one's own is written."""
    stage.attempt_dir(1).mkdir(parents=True)
    assert [NODE1.does(lambda: run(stage))["log"] for _ in range(2)] == ["stage.node1.log"] * 2


@pytest.mark.parametrize(
    ("ago", "expected"),
    [
        (4, "running (last sign 4 s ago)"),
        (12 * 60, "running (silent for 12 min)"),
        (3 * 3600, "lost (silent for 3 h)"),
        (3 * 86400, "lost (silent for 3 days)"),
    ],
)
@pytest.mark.parametrize("clock", [0, 300, -300])
def test_what_a_reader_on_another_host_is_told(stage, ago, expected, clock, capsys):
    """`stageio status` says when the last sign was by the file system's clock, wherever the reader's own stands."""
    die(NODE1, stage)
    touched(stage, ago + 0.3)

    def look() -> object:
        with pytest.raises(SystemExit) as ended:
            main(["status", str(stage.job.root)])
        (row,) = open_job(stage.job.root).attempts()
        return [ended.value.code, capsys.readouterr().out, row["silent_seconds"]]

    code, shown, silent = NODE2._replace(clock=clock).does(look)
    assert code == output.DONE
    assert f" {expected} " in " ".join(shown.split())
    assert ago <= silent < ago + 30


def test_asking_for_the_time_leaves_nothing(stage):
    """No file, and no time of one, is changed by a reader that asks the file system for its time."""
    die(NODE1, stage)

    def times() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in sorted(stage.job.root.rglob("*"))}

    before = times()
    assert NODE2.does(lambda: seen(stage)) == ["running"]
    assert times() == before


@pytest.mark.parametrize("beat", [300, -300])
def test_a_heartbeat_by_the_clock_of_its_host(stage, beat):
    """Some file systems take the time from whoever writes: five minutes off is no reason to think a stage dead."""
    die(NODE1, stage)
    touched(stage, -beat)
    (row,) = NODE2.does(lambda: open_job(stage.job.root).attempts())
    assert row["status"] == "running"
    assert row["silent_seconds"] >= 0


def test_a_folder_that_may_only_be_read(stage, monkeypatch):
    """Where the file system cannot be asked, this host's clock has to do."""
    die(NODE1, stage)
    touched(stage, 5)
    monkeypatch.setattr(status, "_clocks", {})
    monkeypatch.setattr(status.files, "time_there", lambda _: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    assert 5 <= (status.silence(str(stage.lock)) or 0) < 30
    stage.lock.unlink()
    assert status.silence(str(stage.lock)) is None


@pytest.mark.parametrize("clocks", [(300, 0), (-300, 0), (0, 300), (0, -300)])
def test_clocks_five_minutes_apart(stage, clocks):
    """Two hosts take turns and fail and die; no duration is negative, and the job manifest knows who did what."""
    node1, node2 = (each._replace(clock=clock) for each, clock in zip((NODE1, NODE2), clocks, strict=True))
    mux = stage._replace(number=2, name="mux")
    node1.does(lambda: run(stage, "failed"))
    node2.does(lambda: run(stage))
    die(node1, mux)
    node1.does(lambda: run(mux._replace(number=3, name="pack")))
    rows = open_job(stage.job.root).attempts()
    assert [(row["stage"], row["status"], row["host"]) for row in rows] == [
        ("asr", "failed", "node1"),
        ("asr", "success", "node2"),
        ("mux", "abandoned", "node1"),
        ("pack", "success", "node1"),
    ]
    assert all(0 <= row["duration_seconds"] < 60 for row in rows)
    document = json.loads(stage.job.manifest.read_bytes())
    assert {each["stage"]: each["status"] for each in document["stages"]} == {
        "asr": "success",
        "mux": "abandoned",
        "pack": "success",
    }
    assert all(0 <= each["duration_seconds"] < 60 for each in document["stages"])


def test_beside_a_lock_that_another_host_holds(stage):
    """The attempt beside it shows signs of life, leaves the other's words alone, and holds the lock once it is free."""
    owner = {"host": host.name(), "pid": os.getpid()}
    path = str(stage.lock)
    stage.inner.mkdir(parents=True)
    other = locks.StageLock.acquire(path, {"host": "node1", "pid": 7})
    assert isinstance(other, locks.StageLock)
    mine = locks.StageLock.beside(path, owner)
    assert isinstance(mine, locks.StageLock)
    os.utime(path, (1, 1))
    mine.touch()
    assert os.stat(path).st_mtime > 1
    assert (mine.works, locks.read_owner(path)) == (False, {"host": "node1", "pid": 7})
    other.release()
    mine.touch()
    assert (mine.works, locks.held(path), locks.read_owner(path)) == (True, True, owner)
    mine.release()
    assert (locks.held(path), locks.read_owner(path)) == (False, None)


def test_beside_another_host_and_alive(stage):
    """Who began beside another host lives on its own host's account: not dead once the other ended, and not twice."""
    other, mine = Running(NODE1, stage), Running(NODE2, stage)
    assert [at.does(lambda: seen(stage)) for at in (NODE1, NODE2)] == [["running"] * 2, ["lost", "running"]]
    other.end()

    def meanwhile() -> list[object]:
        with StageIO("mux", stage.job.root, stage_number=2):
            time.sleep(0.5)  # its thread writes the ends of the dead
        with pytest.raises(StageRunningError, match=f"process {mine.pid} has it open"):
            StageIO("asr", stage.job.root)
        return [members.holder(stage), *seen(stage)]

    assert NODE2.does(meanwhile) == [mine.pid, "success", "running", "success"]
    mine.end()
    assert NODE2.does(lambda: seen(stage)) == ["success"] * 3
    assert json.loads(stage.manifest.read_bytes())["status"] == "success"
    assert NODE2.does(lambda: run(stage))["attempt"] == 3


def test_killed_beside_another_host(stage):
    """One that began beside another host and was killed is abandoned, also while the other runs on."""
    other, mine = Running(NODE1, stage), Running(NODE2, stage)
    mine.end(signal.SIGKILL)
    assert NODE2.does(lambda: seen(stage)) == ["lost", "abandoned"]
    other.end()
    NODE2.does(lambda: run(stage._replace(number=2, name="mux")))
    assert seen(stage) == ["success", "abandoned", "success"]


def test_a_release_leaves_the_words_of_another(stage, monkeypatch):
    """Without locks, whoever ends first does not wipe out who else is there, and the other leaves whom he found."""
    monkeypatch.setattr(locks, "_take", lambda _: None)
    stage.inner.mkdir(parents=True)
    first, second = (locks.StageLock.acquire(str(stage.lock), {"host": name}) for name in ("node1", "node2"))
    assert isinstance(first, locks.StageLock)
    assert isinstance(second, locks.StageLock)
    assert (first.former, second.former) == (None, {"host": "node1"})
    first.release()
    assert locks.read_owner(str(stage.lock)) == {"host": "node2"}
    second.release()
    assert locks.read_owner(str(stage.lock)) == {"host": "node1"}
    os.utime(stage.lock, (0, 0))
    third = locks.StageLock.acquire(str(stage.lock), {"host": "node3"})
    assert isinstance(third, locks.StageLock)
    third.release()
    assert locks.read_owner(str(stage.lock)) is None  # node1 had been silent for long


NO_LOCKS_C = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

static int refused(void) { errno = atoi(getenv("LOCK_ERROR")); return -1; }

static int asked(const char *name, int fd, int command, void *argument) {
    if (command == F_OFD_SETLK || command == F_OFD_GETLK || command == F_SETLK || command == F_GETLK) return refused();
    int (*plain)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);
    return plain(fd, command, argument);
}

#define ASKED(name) int name(int fd, int command, ...) { \\
    va_list more; va_start(more, command); void *argument = va_arg(more, void *); va_end(more); \\
    return asked(#name, fd, command, argument); }

ASKED(fcntl)
ASKED(fcntl64)
int flock(int fd, int operation) { (void)fd; (void)operation; return refused(); }
"""
STAGE = """
import os, signal, sys
from otel_stageio import StageIO
from otel_stageio.job import locks
io = StageIO("asr", "out", stage_number=1)
assert locks.held("out/01_asr/.stageio/lock") is None
if sys.argv[1:]:
    os.kill(os.getpid(), signal.SIGKILL)
io.finalize()
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("lock_error", [*NO_LOCKS, errno.ESTALE])
def test_lock_calls_that_fail_for_real(tmp_path, run_script, lock_error):
    """Where the C library itself refuses every lock, stages run, and one that was killed is warned of."""
    (tmp_path / "locks.c").write_text(NO_LOCKS_C)
    library = tmp_path / "locks.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "locks.c", "-ldl"], check=True)
    env = {"LD_PRELOAD": str(library), "LOCK_ERROR": str(lock_error)}
    ran = [run_script(STAGE, *arguments, env=env) for arguments in ((), ("die",), ())]
    assert [each.returncode for each in ran] == [0, -signal.SIGKILL, 0]
    assert "attempt 2 of this stage has no end on record" in ran[2].stderr
    assert [row["status"] for row in open_job(tmp_path / "out").attempts()][::2] == ["success", "success"]
    document = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert (document["status"], document["completed_stages"]) == ("success", ["asr"])
