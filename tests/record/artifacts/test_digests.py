"""Digests of files and folders as they are on disk: changing, unreadable, special, hostile."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
import threading
import time
import types
from pathlib import Path

import pytest

from otel_stageio.record.artifacts import digests
from otel_stageio.record.artifacts.digests import Digest, hash_file, hash_tree, measure_tree, print_stat, watch


def sha256(content: bytes) -> str:
    """Return the digest as a manifest has it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


MIB = 1 << 20


def replace_calls(monkeypatch: pytest.MonkeyPatch, **calls: object) -> None:
    """Have the module, and nobody else, use these in place of the functions of `os`."""
    monkeypatch.setattr(digests, "os", types.SimpleNamespace(**{**vars(os), **calls}))


@pytest.mark.parametrize("size", [0, 1, 1024, MIB - 1, MIB, MIB + 1, 8 * MIB, 8 * MIB + 1, 20 * MIB + 3])
def test_a_file_of_any_size(tmp_path: Path, size: int):
    """The digest is hashlib's at every border between the ways of reading, and so is the size."""
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    assert hash_file("file") == Digest(method="sha256", value=sha256(content), size=size)


def test_a_file_whose_stat_says_less_than_it_holds():
    """Files of /proc have size 0 and content all the same: it is the content that counts."""
    content = Path("/proc/version").read_bytes()
    assert hash_file("/proc/version") == Digest(method="sha256", value=sha256(content), size=len(content))


def test_a_symlink_is_followed(tmp_path: Path):
    """A link to a file has the file's digest."""
    (tmp_path / "file").write_bytes(b"a")
    (tmp_path / "link").symlink_to("file")
    assert hash_file("link").value == sha256(b"a")


def test_a_name_that_is_not_utf8(tmp_path: Path):
    """A file whose name no UTF-8 can hold is read like any other."""
    path = os.fsdecode(b"\xff.bin")
    Path(path).write_bytes(b"a")
    assert hash_file(path).value == sha256(b"a")


def _special(kind: str) -> str:
    if kind == "fifo":
        os.mkfifo("it")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("it")
    elif kind == "folder":
        os.mkdir("it")
    elif kind == "loop":
        os.symlink("it", "it")
    elif kind == "device":
        return "/dev/zero"
    elif kind == "surrogate":
        return "\ud83c"
    elif kind == "nul":
        return "a\0b"
    return "it"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("fifo", "is a FIFO"),
        ("socket", "is a socket"),
        ("device", "is a character device"),
        ("folder", "is a folder"),
        ("loop", "Too many levels of symbolic links"),
        ("missing", "not found"),
        ("surrogate", "no possible file name"),
        ("nul", "no possible file name"),
    ],
)
def test_what_is_no_regular_file_is_not_opened(monkeypatch: pytest.MonkeyPatch, kind: str, problem: str):
    """A FIFO, a device and their like are named and never opened, so that nothing waits and nobody is disturbed."""
    path = _special(kind)
    replace_calls(monkeypatch, open=lambda *_: pytest.fail("it was opened"))
    found = hash_file(path)
    assert (found.value, found.problem) == (None, problem)
    if kind != "folder":
        found = print_stat(path)
        assert (found.method, found.value, found.problem) == ("stat", None, problem)


def test_a_file_that_becomes_a_fifo_does_not_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Where a FIFO takes the file's place just before it is opened, the call still returns."""
    (tmp_path / "file").write_bytes(b"a")
    os.mkfifo("fifo")
    really = os.open

    def swap(path: str, flags: int) -> int:
        if Path("fifo").exists():
            os.replace("fifo", "file")
        return really(path, flags)

    replace_calls(monkeypatch, open=swap)
    found = hash_file("file")
    assert (found.value, found.problem) == (None, "is a FIFO")


AS_NOBODY = """
    import os
    from otel_stageio.record.artifacts.digests import hash_file, hash_tree, print_stat
    hash_file(__file__), print_stat(__file__)
    os.chmod(".", 0o755)
    os.makedirs("tree/closed")
    for name in ("tree/a", "tree/b", "tree/closed/c"):
        with open(name, "w") as file:
            file.write("12345")
    for name in ("tree/b", "tree/closed"):
        os.chmod(name, 0)
    if os.geteuid() == 0:
        os.setuid(65534)
    print(hash_file("tree/b"), hash_tree("tree"), hash_tree("tree/closed"), print_stat("tree"), sep="\\n")
"""


def test_without_permission(run_script):
    """What may not be read has no digest and says so; in a tree the first one is named and the rest is counted."""
    found = run_script(AS_NOBODY)
    assert found.stdout.splitlines() == [
        "Digest(method='sha256', value=None, size=None, files=None, problem='no permission', file_id='')",
        "Digest(method='sha256-tree', value=None, size=10, files=2, problem='b: no permission', file_id='')",
        "Digest(method='sha256-tree', value=None, size=None, files=None, problem='no permission', file_id='')",
        "Digest(method='stat', value=None, size=10, files=2, problem='closed/: no permission', file_id='')",
    ], found.stderr


def _writing_between(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Have the file change right after each of the first `times` reads."""
    really, left = os.read, [times]

    def read(descriptor: int, count: int) -> bytes:
        content = really(descriptor, count)
        if left[0]:
            left[0] -= 1
            with open("file", "ab") as file:
                file.write(b"+")
        return content

    replace_calls(monkeypatch, read=read)


def test_a_file_that_changes_once_while_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """It is read once more, and has the digest of what it holds then."""
    (tmp_path / "file").write_bytes(b"a")
    _writing_between(monkeypatch, 1)
    assert hash_file("file") == Digest(method="sha256", value=sha256(b"a+"), size=2)


def test_a_file_that_keeps_changing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """It has no digest: one of a content that never was would be worse than none."""
    (tmp_path / "file").write_bytes(b"a")
    _writing_between(monkeypatch, 100)
    assert hash_file("file") == Digest(method="sha256", size=2, problem="changed while it was read")
    assert hash_file("file", attempts=1).size == 3
    (tmp_path / "tree").mkdir()
    os.replace("file", "tree/file")
    replace_calls(monkeypatch, read=lambda *_: os.utime("tree/file", (0, 0)) or b"")
    assert hash_tree("tree").problem == "file: changed while it was read"


def test_a_file_that_is_replaced_while_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A file put in the place of one being read, with its size and times, does not get the old one's digest."""
    (tmp_path / "file").write_bytes(b"old")
    really = os.stat

    def swap(path: str) -> os.stat_result:
        found = really(path)
        if not Path("new").exists():
            (tmp_path / "new").write_bytes(b"new")
            os.utime("new", ns=(found.st_atime_ns, found.st_mtime_ns))
            os.rename("new", "file")
            (tmp_path / "new").touch()
        return found

    replace_calls(monkeypatch, stat=swap)
    assert hash_file("file").value == sha256(b"new")


def test_descriptors_are_given_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No descriptor stays open, not even where reading fails in the middle."""
    (tmp_path / "file").write_bytes(b"a")
    before = os.listdir("/proc/self/fd")

    def broken(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    replace_calls(monkeypatch, read=broken)
    assert hash_file("file").problem == "Input/output error"
    assert os.listdir("/proc/self/fd") == before


# Folders.


def make_tree(root: str, *, seed: int) -> None:
    """Make one and the same tree in an order and at times that depend on `seed`."""
    shuffled = random.Random(seed)
    os.makedirs(f"{root}/a/deep/er")
    os.makedirs(f"{root}/empty")
    files = {"a/x": b"1", "a.b": b"2", "a0": b"3", "a/deep/er/y\n z": b"4", "grün": b"5", "big": b"6" * (MIB + 1)}
    for name in shuffled.sample(sorted(files), len(files)):
        with open(f"{root}/{name}", "wb") as file:
            file.write(files[name])
        os.utime(f"{root}/{name}", (shuffled.randrange(10**9),) * 2)
    with open(os.fsencode(root) + b"/\xff", "wb"):
        pass
    os.symlink("../..", f"{root}/a/loop")
    os.symlink("/gone", f"{root}/dangling")
    os.mkfifo(f"{root}/fifo")


def as_documented(root: str) -> str:
    """Return the tree's digest as docs/manifest.md tells how to make it, by other means than the package's."""
    entries = []
    for folder, folders, files in os.walk(os.fsencode(root)):
        folders[:] = [name for name in folders if name != b".stageio" or os.path.islink(os.path.join(folder, name))]
        for name in folders + files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, os.fsencode(root))
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                entries.append((relative, b"link " + relative + b"\0" + os.readlink(path) + b"\0"))
            elif stat.S_ISDIR(mode):
                entries.append((relative + b"/", b"folder " + relative + b"/\0"))
            elif stat.S_ISFIFO(mode):
                entries.append((relative, b"fifo " + relative + b"\0"))
            else:
                content = Path(os.fsdecode(path)).read_bytes()
                entries.append(
                    (relative, b"file " + hashlib.sha256(content).hexdigest().encode() + b" " + relative + b"\0")
                )
    return sha256(b"".join(entry for _, entry in sorted(entries)))


def test_a_tree_has_the_digest_that_is_documented():
    """Names, contents, links, special and hostile names count as documented; order, times and .stageio do not."""
    make_tree("one", seed=1)
    make_tree("two", seed=2)
    os.makedirs("two/a/.stageio/001")
    Path("two/a/.stageio/001/events.jsonl").write_text("{}")
    found = hash_tree("one")
    assert found == Digest(method="sha256-tree", value=as_documented("one"), size=5 + MIB + 1, files=10)
    assert hash_tree("two") == found
    assert hash_tree("two/") == found
    os.symlink("two", "link")
    assert hash_tree("link") == found


def test_the_digest_of_a_known_tree():
    """The format is a promise: this digest was made by hand, with printf and sha256sum."""
    os.makedirs("tree/sub")
    Path("tree/sub/a").write_bytes(b"a\n")
    content = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
    by_hand = f"folder sub/\0file {content} sub/a\0".encode()
    assert hash_tree("tree").value == sha256(by_hand)
    assert hash_tree("tree").value == "sha256:1dbff506b4dc370cef339118cea1883045e9c093954d75a1efcfcb800cc0b4d8"


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("tree/a/x").write_bytes(b"2"),
        lambda: os.rename("tree/a/x", "tree/a/z"),
        lambda: os.rmdir("tree/empty"),
        lambda: os.mkdir("tree/a/deep/new"),
        lambda: (os.unlink("tree/dangling"), os.symlink("/away", "tree/dangling")),
        lambda: (os.unlink("tree/a0"), os.symlink("a/x", "tree/a0")),
        lambda: (os.unlink("tree/fifo"), Path("tree/fifo").touch()),
        lambda: os.rename("tree/a/deep/er", "tree/a/er"),
        lambda: (os.unlink("tree/a0"), os.mkdir("tree/a0")),
    ],
)
def test_each_change_of_a_tree_changes_its_digest(change):
    """Content, names, links, empty folders and kinds are all part of the digest."""
    make_tree("tree", seed=1)
    before = hash_tree("tree").value
    change()
    after = hash_tree("tree").value
    assert None not in (before, after)
    assert after != before


def test_permissions_and_times_do_not_count():
    """What a copy to another machine changes leaves the digest as it was."""
    make_tree("tree", seed=1)
    before = hash_tree("tree")
    os.chmod("tree/a/x", 0o755)
    os.utime("tree/a", (1, 1))
    assert hash_tree("tree") == before


def test_an_empty_tree_and_no_tree():
    """An empty folder has the digest of no bytes; a file, a missing path and a NUL have none and say why."""
    os.mkdir("empty")
    Path("file").touch()
    assert hash_tree("empty") == Digest(method="sha256-tree", value=sha256(b""), size=0, files=0)
    assert [hash_tree(path).problem for path in ("file", "gone", "a\0")] == [
        "is not a folder",
        "not found",
        "no possible file name",
    ]


def test_a_deep_tree(tmp_path: Path):
    """A thousand folders within each other are walked without recursion, however deep Python's stack is."""
    path = "."
    for _ in range(1000):
        path += "/d"
        os.mkdir(path)
    Path(path, "file").write_bytes(b"a")
    entries = b"".join(b"folder " + b"d/" * depth + b"\0" for depth in range(1, 1001))
    entries += b"file " + hashlib.sha256(b"a").hexdigest().encode() + b" " + b"d/" * 1000 + b"file\0"
    assert hash_tree(".") == Digest(method="sha256-tree", value=sha256(entries), size=1, files=1)
    assert measure_tree(".", limit=2000) == (1, 1)
    for _ in range(1000):
        for entry in os.scandir(path):
            os.unlink(entry.path)
        os.rmdir(path)
        path = path[:-2]


def test_a_file_that_vanishes_from_a_tree(monkeypatch: pytest.MonkeyPatch):
    """A file that was listed and is gone leaves the tree without digest, names it, and counts the others."""
    os.mkdir("tree")
    for name in "abc":
        Path("tree", name).write_bytes(b"12")
    really = os.stat

    def gone(path: str | bytes) -> os.stat_result:
        if path == b"tree/b":
            os.unlink(path)
        return really(path)

    replace_calls(monkeypatch, stat=gone)
    assert hash_tree("tree") == Digest(method="sha256-tree", size=4, files=3, problem="b: not found")


def test_stop():
    """A walk that nobody waits for ends at the next entry."""
    make_tree("tree", seed=1)
    asked = []
    assert hash_tree("tree", stop=lambda: len(asked) == 3 or bool(asked.append(1))) == Digest(
        method="sha256-tree", problem="stopped"
    )
    assert len(asked) == 3


def test_stat_print_of_a_file(tmp_path: Path):
    """It tells a changed size or time and never looks inside; it is no checksum by its name."""
    (tmp_path / "file").write_bytes(b"a")
    os.utime("file", ns=(0, 10))
    found = print_stat("file")
    expected = "stat:" + hashlib.sha256(b"file 1 10 \0").hexdigest()
    assert found == Digest(method="stat", value=expected, size=1)
    (tmp_path / "file").write_bytes(b"b")
    os.utime("file", ns=(0, 10))
    assert print_stat("file") == found
    os.utime("file", ns=(0, 11))
    assert print_stat("file") != found


def test_stat_print_of_a_tree():
    """It covers names, sizes and times of all files, and costs no reading."""
    make_tree("tree", seed=1)
    found = print_stat("tree")
    assert (found.method, found.size, found.files, found.problem) == ("stat", 5 + MIB + 1, 10, "")
    os.mkdir("tree/.stageio")
    assert print_stat("tree") == found
    os.utime("tree/a/x", ns=(0, 1))
    changed = print_stat("tree")
    assert changed.value != found.value
    os.rename("tree/a/x", "tree/a/z")
    assert print_stat("tree").value not in (found.value, changed.value)


def test_measure_tree():
    """Files and bytes are as hash_tree counts them; past the limit, counted in entries, there is no answer."""
    make_tree("tree", seed=1)
    os.mkdir("tree/.stageio")
    Path("tree/.stageio/file").touch()
    assert measure_tree("tree", limit=15) == (10, 5 + MIB + 1)
    assert measure_tree("tree", limit=14) is None
    assert [measure_tree(path, limit=1) for path in ("gone", "tree/big", "a\0", "\ud83c")] == [(0, 0)] * 4


def test_watching():
    """The pieces that are reported sum up to the file, and a watcher that raises ends the reading with nothing open."""
    Path("small").write_bytes(b"12345")
    Path("large").write_bytes(bytes(17 * MIB))
    counts: list[int] = []
    watch.tick = counts.append
    try:
        hash_file("small")
        hash_file("large")
        before = os.listdir("/proc/self/fd")
        watch.tick = {}.pop
        with pytest.raises(KeyError):
            hash_file("large")
        with pytest.raises(KeyError):
            print_stat("/proc/self/task")
    finally:
        watch.tick = None
    assert counts == [5, 8 * MIB, 8 * MIB, MIB]
    assert os.listdir("/proc/self/fd") == before


def test_watching_is_of_one_thread():
    """A watcher does not hear what other threads read."""
    Path("small").write_bytes(b"12345")
    counts: list[int] = []
    watch.tick = counts.append
    try:
        thread = threading.Thread(target=hash_file, args=("small",))
        thread.start()
        thread.join()
    finally:
        watch.tick = None
    assert counts == []


def test_hashlib_is_loaded_when_first_needed(run_script):
    """A stage that hashes nothing does not pay for OpenSSL."""
    source = """
        import sys
        from otel_stageio.record.artifacts import hashing
        hashing.Hasher(print, cores=2)
        print("hashlib" in sys.modules)
        hashing.hash_file(__file__)
        print("hashlib" in sys.modules)
    """
    assert run_script(source).stdout.split() == ["False", "True"]


# What a large file is known by when it is seen again.


def settled(path: Path, size: int = 2 * MIB) -> os.stat_result:
    """Make a file whose times are older than two seconds, as far as the module can tell."""
    path.write_bytes(bytes(size))
    return os.stat(path)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the module an hour has passed since."""
    monkeypatch.setattr(digests, "time", types.SimpleNamespace(time_ns=lambda: time.time_ns() + 3600 * 10**9))


def test_a_large_file_that_is_settled_has_an_id(tmp_path: Path, later: None):
    """Device, inode, size and both times, in that order; a small file has none."""
    found = settled(tmp_path / "file")
    settled(tmp_path / "small", MIB)
    known_by = f"{found.st_dev}:{found.st_ino}:{2 * MIB}:{found.st_mtime_ns}:{found.st_ctime_ns}"
    assert hash_file("file") == Digest(method="sha256", value=sha256(bytes(2 * MIB)), size=2 * MIB, file_id=known_by)
    assert hash_file("small").file_id == ""


@pytest.mark.parametrize(
    ("modified", "changed", "trusted"),
    [(-3, -3, True), (-2, -2, True), (-1.999, -3, False), (-3, -1.999, False), (-3, 0, False), (5, -3, False)],
)
def test_young_times_are_not_trusted(tmp_path: Path, modified: float, changed: float, trusted: bool):
    """Both times have to be two seconds older than the start of the hash; times to come are no better."""
    (tmp_path / "file").touch()
    now = 1_764_246_601_000_000_000
    real = os.stat("file")
    times = {"st_mtime_ns": now + int(modified * 10**9), "st_ctime_ns": now + int(changed * 10**9)}
    assert bool(digests.file_id(os.stat_result(tuple(real), times), now)) == trusted


def test_a_fresh_file_has_no_id(tmp_path: Path):
    """What was written a moment ago may be written again without a sign."""
    settled(tmp_path / "file")
    assert hash_file("file").file_id == ""


def test_a_file_that_changes_has_no_id(tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch):
    """Neither its digest nor its id is trusted."""
    settled(tmp_path / "file")
    real = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        os.utime("file", ns=(1, random.getrandbits(40)))
        return real(descriptor)

    replace_calls(monkeypatch, fstat=fstat)
    found = hash_file("file")
    assert (found.value, found.file_id) == (None, "")


# Small files, the quick way.


@pytest.mark.parametrize("size", [0, 1, 1024, MIB])
def test_a_small_file(tmp_path: Path, size: int):
    """The digest is hashlib's, with how the file was found before it was read."""
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    found = digests.hash_small("file")
    assert found is not None
    assert (found[0].st_ino, found[0].st_size) == (os.stat("file").st_ino, size)
    assert found[1] == hashlib.sha256(content).digest()


@pytest.mark.timeout(20)
def test_what_is_no_small_file(tmp_path: Path):
    """A large file, a folder, a FIFO, a device and a file that is longer than it says are left to `hash_file`."""
    (tmp_path / "large").write_bytes(bytes(MIB + 1))
    os.mkfifo(tmp_path / "fifo")
    assert [digests.hash_small(path) for path in ("large", ".", "fifo", "/dev/zero", "/proc/version")] == [None] * 5
    with pytest.raises(FileNotFoundError):
        digests.hash_small("missing")
    with pytest.raises(ValueError, match="null"):
        digests.hash_small("\0")


@pytest.mark.parametrize("change", ["grows", "shrinks", "is touched", "is replaced"])
def test_a_small_file_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str):
    """Whatever happens to it while it is read, it is left to `hash_file`, and its descriptor is closed."""
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    closed: list[int] = []

    def opened(name: str, flags: int) -> int:
        if change == "grows":
            path.write_bytes(b"abcd")
        elif change == "shrinks":
            path.write_bytes(b"ab")
        elif change == "is touched":
            os.utime(path, ns=(1, 1))
        else:
            other = tmp_path / "other"
            other.write_bytes(b"abc")
            os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
            other.replace(path)
        return os.open(name, flags)

    before = os.stat(path)
    replace_calls(monkeypatch, open=opened, close=lambda number: closed.append(number) or os.close(number))
    assert digests.hash_small("file") is None
    assert len(closed) == 1


@pytest.mark.parametrize("size", [0, 10, digests._SMALL + 1])
def test_a_file_that_never_ends_is_given_up(tmp_path, monkeypatch, size):
    """A writer that is faster than the reading does not hold it up: a file that grew has changed."""
    path = tmp_path / "growing"
    path.write_bytes(b"x" * size)

    def grow(_: int) -> None:
        nonlocal told
        told += 1
        assert told < 100
        with path.open("ab") as file:
            file.write(b"y" * (digests._PIECE + 1))

    told = 0
    monkeypatch.setattr(digests.watch, "tick", grow, raising=False)
    found = digests.hash_file(str(path))
    assert (found.value, found.problem, told <= 2) == (None, "changed while it was read", True)
