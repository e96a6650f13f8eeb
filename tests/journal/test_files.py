"""Writing into a job folder: what concurrency, a full disk and odd processes do to it."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from otel_stageio.journal import files
from tests.journal.scripts import finish, start

_write = os.write


def test_a_reader_sees_the_old_file_or_the_new():
    """While a file is replaced over and over, every reader finds one of its contents, whole."""
    contents = [letter * 200_000 for letter in (b"a", b"b")]
    files.replace("manifest.json", contents[0])
    found = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found.add(Path("manifest.json").read_bytes())

    thread = threading.Thread(target=read)
    thread.start()
    ending = time.monotonic() + 20
    index = 0
    while (index < 300 or len(found) < 2) and time.monotonic() < ending:
        index += 1
        files.replace("manifest.json", contents[index % 2], sync=index % 50 == 0)
    done.set()
    thread.join()
    assert found == set(contents)
    assert os.listdir() == ["manifest.json"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("why", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=str)
def test_a_failed_replacement_changes_nothing(monkeypatch, call, why):
    """Whichever step fails, and however, the old file stands and nothing lies beside it."""
    files.replace("manifest.json", b"old")

    def fail(*_: object) -> None:
        raise why

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(why)):
            files.replace("manifest.json", b"new", sync=True)
    assert Path("manifest.json").read_bytes() == b"old"
    assert os.listdir() == ["manifest.json"]


def test_a_replacement_goes_on_after_a_short_write(monkeypatch):
    """A file that is not there yet under its name may be written in pieces."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: _write(fd, bytes(data)[:7]))
        files.replace("manifest.json", b"0123456789" * 10)
    assert Path("manifest.json").read_bytes() == b"0123456789" * 10


# Claiming.

CLAIM = """
import os, sys, time
from otel_stageio.journal import files
me = sys.argv[1]
open(f"ready {me}", "w").close()
while len([name for name in os.listdir() if name.startswith("ready")]) < 3:
    time.sleep(0.001)
for index in range(100):
    if %s:
        print(index)
"""


@pytest.mark.parametrize(
    "claim",
    [
        'files.claim_folder(f"deep/{index}")',
        'files.claim_file(f"deep/{index}", me.encode())',
        'files.claim_filled_folder(f"deep/{index}", {"one": me.encode(), "two": b"2"})',
    ],
    ids=["folder", "file", "filled folder"],
)
def test_exactly_one_process_wins_a_claim(claim):
    """Of three processes that claim the same hundred names at once one wins each, and nothing else lies there."""
    said = finish(*(start(CLAIM % claim, str(number)) for number in range(3)))
    won = {int(index): str(me) for me, text in enumerate(said) for index in text.split()}
    assert sorted(index for text in said for index in map(int, text.split())) == list(range(100))
    assert sorted(os.listdir("deep"), key=int) == [str(index) for index in range(100)]
    if "claim_file(" in claim:
        assert {index: Path(f"deep/{index}").read_text(encoding="utf-8") for index in won} == won
    if "filled" in claim:
        assert {index: Path(f"deep/{index}/one").read_text(encoding="utf-8") for index in won} == won


def test_claims_one_after_the_other():
    """The second to claim a name is told so, and what the first put there stands."""
    assert [files.claim_folder("a/b/folder") for _ in range(2)] == [True, False]
    assert [files.claim_file("a/c/file", data) for data in (b"first", b"second")] == [True, False]
    assert [files.claim_filled_folder("a/d/filled", {"f": data}) for data in (b"first", b"second")] == [True, False]
    assert Path("a/c/file").read_bytes() == b"first"
    assert Path("a/d/filled/f").read_bytes() == b"first"
    assert [os.listdir(f"a/{name}") for name in "bcd"] == [["folder"], ["file"], ["filled"]]


def test_a_claimed_file_where_there_are_no_links(monkeypatch):
    """On a file system without hard links exclusive creation claims as well, and a failure leaves nothing behind."""

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert [files.claim_file("a/file", data) for data in (b"first", b"second")] == [True, False]
    assert Path("a/file").read_bytes() == b"first"

    def write(fd: int, data: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("/a/other"):  # not the one beside it
            raise OSError(errno.ENOSPC, "No space left on device")
        return _write(fd, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        files.claim_file("a/other", b"never")
    assert os.listdir("a") == ["file"]


def test_another_failure_of_a_link_is_said(monkeypatch):
    """What does not mean that links are unknown here is the caller's to hear; nothing is left."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OSError, match="Input/output"):
        files.claim_file("a/file", b"data")
    assert os.listdir("a") == []


@pytest.mark.parametrize(
    ("claim", "nth"),
    [
        (lambda: files.claim_file("a/x", b"data"), 0),
        (lambda: files.claim_filled_folder("a/x", {"one": b"1", "two": b"2"}), 0),
        (lambda: files.claim_filled_folder("a/x", {"one": b"1", "two": b"2"}), 1),
    ],
    ids=["file", "filled folder", "second file of a filled folder"],
)
def test_a_failed_claim_leaves_nothing(monkeypatch, claim, nth):
    """A claim that the disk refuses is an error, and neither a name nor a leftover."""
    count = iter(range(10))

    def write(fd: int, data: bytes) -> int:
        if next(count) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return _write(fd, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        claim()
    assert os.listdir("a") == []


def test_a_claim_in_the_place_of_a_file():
    """Where a file stands in the way, a folder is not claimed, and a filled one is an error that leaves nothing."""
    Path("taken").write_bytes(b"")
    assert not files.claim_folder("taken")
    with pytest.raises(NotADirectoryError):
        files.claim_filled_folder("taken", {"f": b""})
    assert os.listdir() == ["taken"]


# Locks and folders.


def test_the_content_of_a_lock_is_replaced():
    """What is written to a lock file is all that it holds, however long the text before was."""
    fd = files.open_lock("lock")
    for data in (b"a long owner", b"short"):
        files.write_lock(fd, data)
        assert Path("lock").read_bytes() == data
    os.close(fd)


def test_folders():
    """Making a folder that is there is fine, where a file is it is not; only a folder can be synced."""
    files.make_folders("a/b")
    files.make_folders("a/b")
    files.sync_folder("a/b")
    Path("file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        files.make_folders("file")
    with pytest.raises(NotADirectoryError):
        files.sync_folder("file")


def test_a_file_system_that_cannot_sync_folders(monkeypatch):
    """Where folders cannot be synced nothing is raised, and the descriptor is given back."""

    def fail(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fsync", fail)
    files.sync_folder(".")
    assert os.listdir("/proc/self/fd") == before


def test_replacing_keeps_the_rights(tmp_path: Path):
    """A file that is replaced keeps its rights: a group that could write it still can."""
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    path.chmod(0o664)
    files.replace(str(path), b"[]")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("[]", 0o664)


def test_replace_by_takes_content_in_pieces(tmp_path):
    """Pieces become the file, at once; where making them fails the old content stands and nothing lies beside it."""
    path = tmp_path / "a"
    files.replace_by(str(path), iter([b"one\n", b"two\n"]))
    assert path.read_bytes() == b"one\ntwo\n"

    def broken():
        yield b"half"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        files.replace_by(str(path), broken())
    assert path.read_bytes() == b"one\ntwo\n"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_small_files_have_a_limit(tmp_path: Path):
    """A file that somebody made absurdly large is not read into memory; what is none is as one that is missing."""
    path = tmp_path / "job.json"
    path.write_bytes(b"12345")
    assert files.small(str(path), most=5) == b"12345"
    with pytest.raises(ValueError, match="has more than 4 bytes"):
        files.small(str(path), most=4)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        files.small(str(tmp_path / "pipe"))


def test_time_of_the_file_system(tmp_path):
    """It is the time that a file written now gets; asking leaves the folder as it was."""
    os.utime(tmp_path, (1, 1))
    asked = files.time_there(str(tmp_path))
    assert (os.listdir(tmp_path), tmp_path.stat().st_mtime) == ([], 1)
    (tmp_path / "file").touch()
    assert 0 <= (tmp_path / "file").stat().st_mtime_ns - asked < 10**9


def test_time_of_a_file_system_without_nameless_files(tmp_path, monkeypatch):
    """NFS has none: a file is there for a moment, and none is left."""
    monkeypatch.delattr(os, "O_TMPFILE")
    asked = files.time_there(str(tmp_path))
    assert os.listdir(tmp_path) == []
    assert abs(asked - tmp_path.stat().st_mtime_ns) < 10**9
    tmp_path.rmdir()
    with pytest.raises(FileNotFoundError):
        files.time_there(str(tmp_path))


def test_claim_whose_answer_was_lost(tmp_path, monkeypatch):
    """Over NFS a link may be made and its repetition refused: whose name it is tells the count of links."""
    plain = os.link

    def twice(*where):
        plain(*where)
        plain(*where)

    monkeypatch.setattr(os, "link", twice)
    assert files.claim_file(str(tmp_path / "07"), b"mine")
    assert not files.claim_file(str(tmp_path / "07"), b"other")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]
