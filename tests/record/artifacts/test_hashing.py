"""The background hasher: who works when, what is handed over, what is left at the end."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio.errors import StageIOError
from otel_stageio.record.artifacts import digests, hashing
from otel_stageio.record.artifacts.hashing import Digest, Hasher, allowed_cores, hash_file

if TYPE_CHECKING:
    from pathlib import Path

DONE = Digest(method="sha256", value="sha256:00", size=1)
MIB = 1 << 20


class Results:
    """Collects what a hasher hands over, and in which threads."""

    def __init__(self) -> None:
        self.digests: dict[str, Digest] = {}
        self.threads: set[threading.Thread] = set()

    def __call__(self, key: str, digest: Digest) -> None:
        assert key not in self.digests
        self.digests[key] = digest
        self.threads.add(threading.current_thread())


class Gate:
    """Work that waits until it is let go, and tells when it has begun."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self) -> Digest:
        self.begun.release()
        assert self.go.wait(20)
        return DONE


def hashing_threads() -> list[threading.Thread]:
    """List the threads of hashers that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == "stageio-hash"]


@pytest.fixture(autouse=True)
def threads_end():
    """See to it that no thread of a hasher outlives its test by more than a moment."""
    yield
    end = time.monotonic() + 10
    while hashing_threads() and time.monotonic() < end:
        time.sleep(0.005)
    assert hashing_threads() == []


def test_one_thread_while_the_stage_runs():
    """Whatever is queued, at most one daemon thread works, and it is gone when nothing is left."""
    results, gate = Results(), Gate()
    hasher = Hasher(results, cores=4)
    assert hashing_threads() == []
    for number in range(5):
        hasher.submit(str(number), gate, 1)
    assert gate.begun.acquire(timeout=10)
    assert [thread.daemon for thread in hashing_threads()] == [True]
    assert not gate.begun.acquire(timeout=0.05)
    gate.go.set()
    for thread in hashing_threads():
        thread.join(10)
    assert hasher.wait(0) == []
    assert list(results.digests.items()) == [(str(number), DONE) for number in range(5)]


def test_all_cores_in_wait():
    """At the end as many threads work as there are cores, and no more."""
    results, gate = Results(), Gate()
    hasher = Hasher(results, cores=3)
    for number in range(6):
        hasher.submit(str(number), gate, 1)

    def let_go() -> None:
        for _ in range(3):
            assert gate.begun.acquire(timeout=10)
        assert not gate.begun.acquire(timeout=0.05)
        gate.go.set()

    helper = threading.Thread(target=let_go)
    helper.start()
    assert hasher.wait(10) == []
    helper.join()
    assert len(results.threads) == 3
    assert len(results.digests) == 6


def test_no_thread_on_one_core():
    """Where there is one core, it is the stage's own until the end."""
    results = Results()
    hasher = Hasher(results, cores=1)
    hasher.submit("a", lambda: DONE, 1)
    assert hashing_threads() == []
    assert results.digests == {}
    assert hasher.wait(10) == []
    assert results.digests == {"a": DONE}


def test_largest_first_at_the_end():
    """What takes longest is begun first, so that it does not run on alone."""
    order: list[str] = []
    hasher = Hasher(lambda key, _: order.append(key), cores=1)
    for key, size in (("small", 1), ("large", 100), ("medium", 10)):
        hasher.submit(key, lambda: DONE, size)
    assert hasher.wait(10) == []
    assert order == ["large", "medium", "small"]


def test_real_files(tmp_path: Path):
    """Files hashed in the background have hashlib's digests, in the order in which they were given."""
    contents = {f"file{number}": bytes([number]) * (MIB + number) for number in range(6)}
    results = Results()
    hasher = Hasher(results, cores=2)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        hasher.submit(name, lambda name=name: hash_file(name), len(content))
    assert hasher.wait(30) == []
    expected = {name: "sha256:" + hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert {name: digest.value for name, digest in results.digests.items()} == expected


def test_what_is_not_done_in_time_is_told_and_goes_on():
    """A wait that runs out names what is left; a later one finishes it."""
    results, gate = Results(), Gate()
    hasher = Hasher(results, cores=2)
    hasher.submit("fast", lambda: DONE, 1)
    assert hasher.wait(10) == []
    for key in ("a", "b", "c"):
        hasher.submit(key, gate, 1)
    began = time.monotonic()
    assert sorted(hasher.wait(0.2)) == ["a", "b", "c"]
    assert time.monotonic() - began < 5
    gate.go.set()
    assert hasher.wait(10) == []
    assert sorted(results.digests) == ["a", "b", "c", "fast"]


def test_wait_of_no_time():
    """Without time nothing is waited for, and without work nothing is left."""
    gate = Gate()
    hasher = Hasher(Results(), cores=1)
    assert hasher.wait(0) == []
    hasher.submit("a", gate, 1)
    assert hasher.wait(0) == ["a"]
    gate.go.set()
    assert hasher.wait(10) == []


def test_abandon():
    """It returns at once with all that is not done; nothing of it is handed over later, and nothing more is taken."""
    results, gate = Results(), Gate()
    hasher = Hasher(results, cores=2)
    hasher.submit("running", gate, 1)
    hasher.submit("queued", gate, 1)
    assert gate.begun.acquire(timeout=10)
    assert hasher.abandon() == ["running", "queued"]
    assert hasher.abandon() == []
    hasher.submit("late", gate, 1)
    gate.go.set()
    assert hasher.wait(10) == []
    for thread in hashing_threads():
        thread.join(10)
    assert results.digests == {}


def test_abandon_ends_the_reading_of_a_large_file(tmp_path: Path):
    """A file without end (sparse, 1 TiB) is left at its next piece."""
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    results = Results()
    hasher = Hasher(results, cores=2)
    hasher.submit("huge", lambda: hash_file("huge"), 1 << 40)
    while not (threads := hashing_threads()):
        time.sleep(0.001)
    time.sleep(0.05)
    assert hasher.abandon() == ["huge"]
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert results.digests == {}


def test_a_digest_being_handed_over_counts_as_done():
    """What gives up does not name it, what waits waits until it is handed over whole."""
    inside, go, done, gate = threading.Event(), threading.Event(), [], Gate()

    def slow(key: str, _: Digest) -> None:
        inside.set()
        assert go.wait(10)
        done.append(key)

    hasher = Hasher(slow, cores=2)
    hasher.submit("a", lambda: DONE, 1)
    assert inside.wait(10)
    hasher.submit("b", gate, 1)
    assert hasher.wait(0.05) == ["b"]
    assert hasher.abandon() == ["b"]
    gate.go.set()
    threading.Timer(0.1, go.set).start()
    assert hasher.wait(10) == []
    assert done == ["a"]


def test_work_that_raises():
    """It becomes a digest with the exception as its problem, errors of this package included."""

    def fails() -> Digest:
        raise LookupError("no such\udc80")

    def ours() -> Digest:
        raise StageIOError("ours")

    results = Results()
    hasher = Hasher(results, cores=2)
    hasher.submit("a", fails, 1)
    hasher.submit("b", ours, 1)
    hasher.submit("c", lambda: DONE, 1)
    assert hasher.wait(10) == []
    assert results.digests == {
        "a": Digest(method="sha256", problem="LookupError: no such\\udc80"),
        "b": Digest(method="sha256", problem="StageIOError: ours"),
        "c": DONE,
    }


def test_done_that_raises(monkeypatch: pytest.MonkeyPatch):
    """It is told as the exception of a thread, and the queue goes on with another one."""
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(str(args.exc_value)))
    seen: list[str] = []

    def broken(key: str, _: Digest) -> None:
        seen.append(key)
        if key == "a":
            raise OSError("disk full")

    hasher = Hasher(broken, cores=2)
    for key in "abc":
        hasher.submit(key, lambda: DONE, 1)
    assert hasher.wait(10) == []
    assert sorted(seen) == ["a", "b", "c"]
    assert told == ["disk full"]


@pytest.mark.parametrize("threads", [True, False], ids=["in threads", "in the caller's"])
def test_progress(monkeypatch: pytest.MonkeyPatch, threads: bool):
    """From a while on progress is told in bytes, growing, in the caller's thread, whichever thread reads."""
    monkeypatch.setattr(hashing, "_QUIET", 0.05)
    if not threads:
        _no_threads(monkeypatch)

    def work() -> Digest:
        for _ in range(60):
            hashing.watch.tick(10)
            time.sleep(0.025)
        return DONE

    told: list[tuple[int, int, float, threading.Thread]] = []
    hasher = Hasher(Results(), cores=1)
    hasher.submit("small", lambda: DONE, 5)
    hasher.submit("large", work, 600)
    left = hasher.wait(20, progress=lambda *what: told.append((*what, threading.current_thread())))
    assert left == []
    assert [total for _, total, _, _ in told] == [605] * len(told)
    assert 0 < told[0][0] < told[-1][0] <= 605
    assert told[0][2] >= 0.05
    assert len(told) >= 2
    assert {thread for *_, thread in told} == {threading.current_thread()}


def test_no_progress_of_what_is_quick():
    """Who waits for less than two seconds hears nothing."""
    told: list[object] = []
    hasher = Hasher(Results(), cores=2)
    hasher.submit("a", lambda: time.sleep(0.1) or DONE, 1)
    assert hasher.wait(10, progress=lambda *what: told.append(what)) == []
    assert told == []


def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_without_threads_the_caller_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Where no thread can be had, `wait` hashes by itself, and stops in the middle of a file when time is up."""
    _no_threads(monkeypatch)
    results = Results()
    hasher = Hasher(results, cores=2)
    (tmp_path / "file").write_bytes(b"a")
    hasher.submit("file", lambda: hash_file("file"), 1)
    assert hasher.wait(10) == []
    assert results.threads == {threading.current_thread()}
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    hasher.submit("huge", lambda: hash_file("huge"), 1 << 40)
    began = time.monotonic()
    assert hasher.wait(0.1) == ["huge"]
    assert time.monotonic() - began < 5
    assert hasher.abandon() == ["huge"]
    assert list(results.digests) == ["file"]


def test_at_the_interpreters_end(run_script):
    """In an atexit handler, where newer Pythons start no threads, what is queued is hashed all the same."""
    source = """
        import atexit
        from otel_stageio.record.artifacts.hashing import Hasher, hash_file
        path = __file__  # which is gone by then
        hasher = Hasher(lambda key, digest: print(f"{key} {digest.value is not None}\\n", end=""), cores=2)
        @atexit.register
        def end():
            for number in range(3):
                hasher.submit(str(number), lambda: hash_file(path), 1)
            print(hasher.wait(10))
    """
    found = run_script(source)
    assert sorted(found.stdout.splitlines()) == ["0 True", "1 True", "2 True", "[]"], found.stderr


def test_a_signal_handler_ends_the_stage_in_the_middle_of_a_call(run_script):
    """A handler that interrupts submit or wait may call abandon, again and again, without a deadlock."""
    source = """
        import os, signal, time
        from otel_stageio.record.artifacts.hashing import Digest, Hasher
        hashers = []
        signal.signal(signal.SIGALRM, lambda *_: [hasher.abandon() for hasher in hashers[-1:]])
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            hashers.append(Hasher(lambda key, digest: None, cores=2))
            for number in range(20):
                hashers[-1].submit(str(number), lambda: Digest(method="off"), 1)
            hashers[-1].wait(0.01)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("fine")
    """
    found = run_script(source)
    assert found.stdout == "fine\n", found.stderr


def test_a_child_by_fork_has_no_work(run_script):
    """In the child every call returns at once, also when the parent forked in the middle of work."""
    source = """
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads: the very case
        from otel_stageio.record.artifacts.hashing import Digest, Hasher
        begun, go = threading.Event(), threading.Event()
        def work():
            begun.set()
            go.wait(20)
            return Digest(method="off")
        hasher = Hasher(lambda key, digest: print(key, flush=True), cores=2)
        hasher.submit("a", work, 1)
        begun.wait(10)
        with hasher._change:
            child = os.fork()
            if child == 0:
                hasher.submit("b", work, 1)
                os._exit(len(hasher.wait(5)) + len(hasher.abandon()))
        print(os.waitpid(child, 0)[1], flush=True)
        go.set()
        print(hasher.wait(10))
    """
    found = run_script(source)
    assert found.stdout.splitlines() == ["0", "a", "[]"], found.stderr


def test_many_submitters():
    """Work given by many threads at once is done once each."""
    results = Results()
    hasher = Hasher(results, cores=2)

    def submit(name: int) -> None:
        for number in range(200):
            hasher.submit(f"{name}-{number}", lambda: DONE, 1)

    threads = [threading.Thread(target=submit, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hasher.wait(20) == []
    assert len(results.digests) == 800


@pytest.mark.parametrize(
    ("cgroup", "limits", "expected"),
    [
        (None, {}, 8),
        ("0::/\n", {"": "max 100000\n"}, 8),
        ("0::/\n", {"": "250000 100000\n"}, 2),
        ("0::/\n", {"": "50000 100000\n"}, 1),
        ("1:cpu:/x\n0::/a/b\n", {"a/b": "max 100000\n", "a": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b": "1600000 100000\n"}, 8),
        ("0::/../a\n", {}, 8),
        ("0::/\n", {"": "nonsense\n"}, 8),
        ("0::/\n", {"": "1 0\n"}, 8),
        ("1:cpu:/x\n", {"x": "100000 100000\n"}, 8),
        ("nonsense\n0::/\n", {"": "250000 100000\n"}, 2),
    ],
)
def test_allowed_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroup: str | None, limits: dict[str, str], expected: int
):
    """The affinity counts, and the smallest quota of the control group and those above it, in whole cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    if cgroup is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroup)
    for group, text in limits.items():
        folder = tmp_path / "sys/fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(text)
    assert allowed_cores(root=str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        ("/x", {"x": ("200000", "100000")}, 2),
        ("/x", {"x": ("150000", "100000")}, 1),
        ("/x", {"x": ("-1", "100000")}, 8),
        ("/x/y", {"x": ("300000", "100000"), "x/y": ("-1", "100000")}, 3),
        ("/not/seen/from/here", {"": ("400000", "100000")}, 4),
        ("/x", {"x": ("100000", "nonsense")}, 8),
        ("/x", {}, 8),
    ],
)
def test_allowed_cores_of_the_older_control_groups(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str, limits: dict[str, tuple[str, str]], expected: int
):
    """Version 1 has the quota in two files, in the folder of the controllers; a mixture with version 2 is common."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    lines = f"12:memory:/m\n4:cpu,cpuacct:{group}\n1:name=systemd:/\n0::/\n"
    (tmp_path / "proc/self/cgroup").write_text(lines)
    for below, (quota, period) in limits.items():
        folder = tmp_path / "sys/fs/cgroup/cpu,cpuacct" / below
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text(f"{period}\n")
    assert allowed_cores(root=str(tmp_path)) == expected


def test_pieces_are_large():
    """Large files are read in pieces of 8 MiB: small ones starve behind the interpreter's lock in a busy stage."""
    assert digests._PIECE == 8 * MIB


def test_allowed_cores_of_this_process():
    """The system's own files are understood: at least one core, at most those of the affinity."""
    assert 1 <= allowed_cores() <= len(os.sched_getaffinity(0))
