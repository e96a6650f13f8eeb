"""Locks: held by one, seen by all, gone with their owner, untouched by forks and copies."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from otel_stageio.job import locks
from otel_stageio.job.locks import Held, StageLock, held, job_lock, read_owner

ROOT = Path(__file__).parents[2]
OWNER = {"pid": 4711, "host": "h", "boot_id": "b", "since": "2025-11-27T13:30:01.123Z"}

HOLDER = """
import os, sys
from otel_stageio.job.locks import StageLock
lock = StageLock.acquire(sys.argv[1], {"pid": os.getpid()})
print(type(lock).__name__, flush=True)
sys.stdin.readline()
"""

#: Holds the lock and lets a forked child outlive it: the child prints its id and waits.
FORKER = """
import os, signal, sys
from otel_stageio.job.locks import StageLock
lock = StageLock.acquire(sys.argv[1], {"pid": os.getpid()})
child = os.fork()
if child == 0:
    lock.touch()
    lock.release()
    print("child", flush=True)
    sys.stdin.readline()
    os._exit(0)
signal.pause()
"""

JOB_HOLDER = """
import sys
from otel_stageio.job.locks import job_lock
with job_lock(sys.argv[1]):
    print(1, flush=True)
    sys.stdin.read()
"""

#: Adds 1 to the number in a file, again and again, by reading and writing it under the job's lock.
COUNTER = """
import sys
from otel_stageio.job.locks import job_lock
lock, path, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _ in range(times):
    with job_lock(lock, 60.0) as got:
        assert got
        with open(path) as file:
            count = int(file.read())
        with open(path, "w") as file:
            file.write(str(count + 1))
"""


@pytest.fixture
def path(tmp_path):
    """Where the lock file is."""
    return str(tmp_path / "lock")


@pytest.fixture
def started():
    """Start a Python process with code and arguments; it is ended with the test."""
    with contextlib.ExitStack() as stack:

        def start(code, *arguments):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code, *arguments],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture(params=["open file description", "flock"])
def kind(request, monkeypatch):
    """Both kinds of lock, the second as on a system that lacks the first."""
    if request.param == "flock":
        monkeypatch.setattr(locks, "_OFD_SETLK", None)
        monkeypatch.setattr(locks, "_OFD_GETLK", None)
    return request.param


def acquired(path):
    """Take the lock, which must be free."""
    lock = StageLock.acquire(path, OWNER)
    assert isinstance(lock, StageLock)
    return lock


def eventually(question):
    """Ask until the answer is yes, for at most ten seconds."""
    until = time.monotonic() + 10
    while not question() and time.monotonic() < until:
        time.sleep(0.005)
    return question()


def test_the_lock_structure_is_the_systems():
    """The lock by hand is C's struct flock of 64-bit Linux, byte for byte."""
    packed = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    assert (locks._flock(fcntl.F_WRLCK), len(packed)) == (packed, 32)
    assert (locks._OFD_GETLK, locks._OFD_SETLK) == (36, 37)


def test_one_holds_and_the_other_is_told_who(path, kind):
    """A second taker in the same process is refused and told the owner; after the release it is free."""
    lock = acquired(path)
    assert lock.works is True
    refused = StageLock.acquire(path, {"pid": 1})
    assert isinstance(refused, Held)
    assert refused.owner == OWNER
    lock.release()
    acquired(path).release()


def test_the_owner_is_on_disk_while_the_lock_is_held(path):
    """The lock file holds the owner as JSON, and is empty after the release."""
    lock = acquired(path)
    assert json.loads(Path(path).read_text(encoding="utf-8")) == OWNER
    assert read_owner(path) == OWNER
    lock.release()
    assert Path(path).read_bytes() == b""
    assert read_owner(path) is None


def test_a_longer_owner_before_leaves_nothing_behind(path):
    """What a former owner wrote is gone, however long it was."""
    Path(path).write_text(json.dumps({"pid": 1, "text": "x" * 9000}), encoding="utf-8")
    lock = acquired(path)
    assert read_owner(path) == OWNER
    lock.release()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]", b"null"])
def test_an_owner_that_cannot_be_read_is_none(path, content):
    """A refusal without a readable owner still is a refusal."""
    lock = acquired(path)
    Path(path).write_bytes(content)
    assert StageLock.acquire(path, OWNER).owner is None
    lock.release()
    assert read_owner(path + ".missing") is None


def test_another_process_is_refused_and_told_who(path, started):
    """A lock of another living process is seen, and names its pid."""
    holder = started(HOLDER, path)
    assert holder.stdout.readline() == "StageLock\n"
    assert held(path) is True
    assert StageLock.acquire(path, OWNER).owner == {"pid": holder.pid}
    assert started(HOLDER, path).stdout.readline() == "Held\n"
    holder.communicate("\n")
    assert held(path) is False


def test_a_killed_owner_frees_the_lock(path, started):
    """SIGKILL frees the lock at once; the file still says who it was."""
    holder = started(HOLDER, path)
    assert holder.stdout.readline() == "StageLock\n"
    holder.kill()
    holder.wait()
    assert held(path) is False
    assert read_owner(path) == {"pid": holder.pid}
    acquired(path).release()


@pytest.mark.parametrize("way", ["held", "not held", "missing"])
def test_asking_takes_nothing(path, way):
    """Asking whether a lock is held neither takes it, frees it nor makes its file."""
    lock = None if way == "missing" else acquired(path)
    if lock and way == "not held":
        lock.release()
    assert [held(path) for _ in range(3)] == [way == "held"] * 3
    assert os.path.exists(path) is (way != "missing")
    if lock:
        lock.release()


def test_asking_cannot_always_be_answered(path, monkeypatch, tmp_path):
    """Without open-file-description locks, or where the file cannot be asked, the answer is None."""
    acquired(path).release()
    assert held(os.path.join(path, "below a file")) is None
    monkeypatch.setattr(fcntl, "fcntl", refusing(errno.ENOLCK))
    assert held(path) is None
    monkeypatch.setattr(locks, "_OFD_GETLK", None)
    assert held(path) is None


def refusing(number):
    """Stand for a system call that fails with error `number`."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


def test_copying_the_folder_leaves_the_lock(path, tmp_path):
    """Opening and closing the lock file, as a copy of the folder does, frees nothing; the copy is not locked."""
    folder = tmp_path / "stage"
    folder.mkdir()
    lock = acquired(str(folder / "lock"))
    shutil.copytree(folder, tmp_path / "copy")
    assert held(str(folder / "lock")) is True
    assert held(str(tmp_path / "copy" / "lock")) is False
    lock.release()


def test_a_forked_child_neither_frees_nor_keeps_the_lock(path, started):
    """A child's touch and release do nothing to the parent's lock, which falls though the child lives on."""
    parent = started(FORKER, path)
    assert parent.stdout.readline() == "child\n"
    assert held(path) is True
    assert read_owner(path) == {"pid": parent.pid}
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert held(path) is False
    parent.stdin.write("\n")


def test_a_forked_child_has_closed_every_lock(path):
    """After a fork the child has neither the stage's nor the job's lock file open, and may use the numbers anew."""
    code = """
import os, sys
from otel_stageio.job.locks import StageLock, job_lock
lock = StageLock.acquire(sys.argv[1], {})
with job_lock(sys.argv[1] + ".job") as got:
    child = os.fork()
    if child == 0:
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        print(got, [link for link in links if "lock" in link], flush=True)
        mine = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
if child == 0:
    lock.release()
    print([os.path.samefile(os.devnull, fd) for fd in mine], flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "True []\n[True, True, True, True]\n"


def test_a_started_program_does_not_keep_the_lock(path):
    """A program started while the lock is held has not inherited it, even where it inherits descriptors."""
    lock = acquired(path)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.readline()"], stdin=subprocess.PIPE, close_fds=False
    ) as program:
        lock.release()
        assert held(path) is False
        program.communicate(b"\n")


def test_touch_is_a_sign_of_life(path):
    """A touch sets the lock file's time to now; after the release it does nothing."""
    lock = acquired(path)
    os.utime(path, (1, 1))
    lock.touch()
    assert abs(os.stat(path).st_mtime - time.time()) < 60
    lock.release()
    os.utime(path, (1, 1))
    lock.touch()
    assert os.stat(path).st_mtime == 1


def test_release_may_be_called_again(path, kind):
    """A second release does not close what has the number now, nor free somebody else's lock."""
    lock = acquired(path)
    lock.release()
    with job_lock(path) as got:
        lock.release()
        assert got is True
        assert isinstance(StageLock.acquire(path, OWNER), Held)


def test_no_descriptor_is_left(path):
    """Taking, being refused, waiting and giving back leave no open file behind."""
    before = sorted(os.listdir("/proc/self/fd"))
    lock = acquired(path)
    assert isinstance(StageLock.acquire(path, OWNER), Held)
    with job_lock(path, 0.0) as got:
        assert got is False
    lock.release()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert locks._ours == set()


#: 524 is the kernel's ENOTSUPP, which is not meant for programs; the last three are of a lock server that is away.
@pytest.mark.parametrize(
    "number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524, errno.EIO, errno.ESTALE, errno.ETIMEDOUT]
)
def test_a_file_system_without_locks(path, monkeypatch, number):
    """Without locks a stage runs on, says so, and the job's lock answers at once that it cannot be had."""
    monkeypatch.setattr(fcntl, "fcntl", refusing(number))
    monkeypatch.setattr(locks.files, "open_lock", lambda path: os.open(path, os.O_RDWR | os.O_CREAT))
    lock = acquired(path)
    assert lock.works is False
    assert read_owner(path) == OWNER
    begin = time.monotonic()
    with job_lock(path) as got:
        assert got is False
    assert time.monotonic() - begin < 1
    lock.release()


def test_other_errors_are_the_callers(path, monkeypatch):
    """An error of another call is raised, and leaves no descriptor open."""
    with monkeypatch.context() as broken:
        broken.setattr(os, "fstat", refusing(errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            StageLock.acquire(path, OWNER)
    assert locks._ours == set()


def test_a_folder_that_is_missing_is_an_error_of_the_system(tmp_path):
    """A lock file that cannot be opened raises OSError from both locks."""
    missing = str(tmp_path / "nothing" / "lock")
    with pytest.raises(FileNotFoundError):
        StageLock.acquire(missing, OWNER)
    with pytest.raises(FileNotFoundError), job_lock(missing):
        pytest.fail("entered")


def test_a_full_disk_does_not_cost_the_lock(path, monkeypatch):
    """Where the owner cannot be written the lock is held all the same."""
    monkeypatch.setattr(locks.files, "write_lock", refusing(errno.ENOSPC))
    lock = acquired(path)
    assert (lock.works, held(path), read_owner(path)) == (True, True, None)
    lock.release()
    assert held(path) is False


def test_the_jobs_lock_waits_for_its_turn(path, kind):
    """Whoever comes second waits until the first is done, and then holds it."""
    order = []
    first_in = threading.Event()

    def first():
        with job_lock(path):
            first_in.set()
            time.sleep(0.1)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    first_in.wait()
    with job_lock(path) as got:
        order.append("second")
    thread.join()
    assert (got, order) == (True, ["first", "second"])


def test_the_jobs_lock_gives_up_in_time(path):
    """After the timeout the caller goes on without the lock."""
    with job_lock(path) as first:
        begin = time.monotonic()
        with job_lock(path, 0.1) as second:
            assert (first, second) == (True, False)
        assert 0.1 <= time.monotonic() - begin < 2
    with job_lock(path, 0.0) as third:
        assert third is True


def test_the_jobs_lock_is_given_back_on_an_exception(path):
    """An exception inside frees the lock and goes on."""
    with pytest.raises(ZeroDivisionError), job_lock(path):
        raise ZeroDivisionError
    assert held(path) is False


def test_the_jobs_lock_keeps_processes_apart(path, started, tmp_path):
    """Eight processes that each read and write a number fifty times lose no step."""
    count = tmp_path / "count"
    count.write_text("0", encoding="utf-8")
    counters = [started(COUNTER, path, str(count), "50") for _ in range(8)]
    assert [counter.wait() for counter in counters] == [0] * 8
    assert count.read_text(encoding="utf-8") == "400"


def test_the_jobs_lock_keeps_threads_apart(path, kind):
    """Eight threads that each read and write a number fifty times lose no step."""
    count = [0]

    def add():
        for _ in range(50):
            with job_lock(path, 60.0) as got:
                assert got
                seen = count[0]
                time.sleep(0)
                count[0] = seen + 1

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == [400]


def test_a_killed_holder_of_the_jobs_lock_stops_nobody(path, started):
    """The job's lock falls with its holder."""
    holder = started(JOB_HOLDER, path)
    assert holder.stdout.readline() == "1\n"
    assert held(path) is True
    holder.kill()
    assert eventually(lambda: held(path) is False)
    with job_lock(path, 1.0) as got:
        assert got is True
