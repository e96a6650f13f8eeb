"""Writing into a job folder: what concurrency, a full disk and odd processes do to it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from otel_stageio.journal import files, reader
from tests.conftest import clean_environment
from tests.journal.samples import line

_write = os.write


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is handed to os.write by this thread, one entry for each call."""
    seen: list[bytes] = []
    thread = threading.get_ident()

    def write(fd: int, data: bytes) -> int:
        if threading.get_ident() == thread:
            seen.append(bytes(data))
        return _write(fd, data)

    monkeypatch.setattr(os, "write", write)
    return seen


def refuse(monkeypatch: pytest.MonkeyPatch, *, after: int | None = None, why: BaseException | None = None) -> None:
    """Let the next write fail: after so many bytes short, or with an exception (by default: no space left)."""

    def write(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", _write)
        if after is not None:
            _write(fd, bytes(data)[:after])
            if why is None:
                return after
        raise why or OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)


def bodies(path: str) -> list[object]:
    """The texts of the file's records."""
    return [each.body for each in reader.log_records(path)]


def start(script: str, *args: str) -> subprocess.Popen[str]:
    """Start a script in this test's folder; `finish` waits for it."""
    command = [sys.executable, "-W", "error", "-c", script, *args]
    return subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True)


def finish(*running: subprocess.Popen[str]) -> list[str]:
    """What the scripts printed; each must have ended well."""
    said = [each.communicate(timeout=60)[0] for each in running]
    assert [each.returncode for each in running] == [0] * len(running)
    return said


# Appending.


def test_a_line_is_one_write(writes):
    """However long the line, it is handed to the kernel in one call, and nothing else is written."""
    file = files.AppendFile("events.jsonl")
    lines = [line("one"), line("x" * 400_000), line("three")]
    for each in lines:
        file.write(each)
    assert writes == lines
    assert Path("events.jsonl").read_bytes() == b"".join(lines)


def test_a_file_appears_with_its_first_line():
    """Naming, syncing and closing a file do not make it; the first line does, also after a close."""
    file = files.AppendFile("events.jsonl")
    file.sync()
    file.close()
    assert not os.path.exists("events.jsonl")
    file.write(line("one"))
    file.sync()
    file.close()
    file.close()
    file.write(line("two"))
    assert bodies("events.jsonl") == ["one", "two"]


def test_a_folder_that_is_not_there_is_said():
    """Without its folder a line is an OSError, and once the folder is there the file works."""
    file = files.AppendFile("folder/events.jsonl")
    with pytest.raises(FileNotFoundError):
        file.write(line("one"))
    os.mkdir("folder")
    file.write(line("two"))
    assert bodies("folder/events.jsonl") == ["two"]


@pytest.mark.parametrize("after", [0, 1, 100])
def test_a_short_write_is_never_continued(monkeypatch, writes, after):
    """A line that got in only in part is an error; the next one starts with a newline of its own and is whole."""
    file = files.AppendFile("events.jsonl")
    file.write(line("one"))
    refuse(monkeypatch, after=after)
    with pytest.raises(OSError, match=f"only {after} of .* bytes could be written") as raised:
        file.write(line("torn"))
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == "events.jsonl"
    file.write(line("two"))
    file.write(line("three"))
    expected = line("one") + line("torn")[:after] + b"\n" + line("two") + line("three")
    assert Path("events.jsonl").read_bytes() == expected
    assert bodies("events.jsonl") == ["one", "two", "three"]


def test_a_full_disk(monkeypatch):
    """A line that the disk refuses is an error at its call, and the lines after it are whole."""
    file = files.AppendFile("events.jsonl")
    file.write(line("one"))
    refuse(monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        file.write(line("refused"))
    file.write(line("two"))
    assert bodies("events.jsonl") == ["one", "two"]


def test_an_exception_out_of_a_signal_handler(monkeypatch):
    """Where a signal handler raises in the middle of a write, the next line is safe, however much was written."""
    file = files.AppendFile("events.jsonl")
    refuse(monkeypatch, after=50, why=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        file.write(line("torn"))
    file.write(line("two"))
    assert bodies("events.jsonl") == ["two"]


@pytest.mark.parametrize("tail", [b"", b"\n", b"x", line("torn")[:50], line("whole")])
def test_a_file_that_is_there_already(tail):
    """A file that does not end in a newline gets one before the first line, any other one does not."""
    Path("events.jsonl").write_bytes(tail)
    file = files.AppendFile("events.jsonl")
    file.write(line("one"))
    file.write(line("two"))
    newline = b"" if not tail or tail.endswith(b"\n") else b"\n"
    assert Path("events.jsonl").read_bytes() == tail + newline + line("one") + line("two")


def test_the_descriptor_is_given_back():
    """`close` gives the descriptor back, and so does the end of the last reference."""
    before = os.listdir("/proc/self/fd")
    file = files.AppendFile("events.jsonl")
    file.write(line("one"))
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    file.close()
    assert os.listdir("/proc/self/fd") == before
    file.write(line("two"))
    del file
    assert os.listdir("/proc/self/fd") == before


def test_descriptors_are_not_inherited():
    """Programs started from a stage do not get its files."""
    file = files.AppendFile("events.jsonl")
    file.write(line("one"))
    lock = files.open_lock("lock")
    assert [os.get_inheritable(fd) for fd in (lock, file._descriptor.number)] == [False, False]
    os.close(lock)


def test_a_file_closed_under_a_writer(monkeypatch):
    """Closed by another thread in the middle of a write, the descriptor is not anybody else's file by then."""
    file = files.AppendFile("events.jsonl")
    file.write(line("one"))

    def write(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", _write)
        file.close()
        with open("users.txt", "w", encoding="utf-8"):  # would take the number
            return _write(fd, data)

    monkeypatch.setattr(os, "write", write)
    file.write(line("two"))
    file.write(line("three"))
    assert bodies("events.jsonl") == ["one", "two", "three"]
    assert Path("users.txt").read_bytes() == b""


def test_a_line_in_the_middle_of_a_line(monkeypatch):
    """A signal handler that writes while its thread is opening or writing waits for nothing; both lines are whole."""
    file = files.AppendFile("events.jsonl")
    opened = os.open

    def open_(*args: object) -> int:
        monkeypatch.setattr(os, "open", opened)
        file.write(line("from within open"))
        return opened(*args)  # type: ignore[arg-type] # passed on

    def write(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", _write)
        file.write(line("from within write"))
        return _write(fd, data)

    monkeypatch.setattr(os, "open", open_)
    file.write(line("one"))
    monkeypatch.setattr(os, "write", write)
    file.write(line("two"))
    expected = line("from within open") + line("one") + line("from within write") + line("two")
    assert Path("events.jsonl").read_bytes() == expected


@pytest.mark.parametrize("closing", [False, True])
def test_threads_on_one_file(closing):
    """Threads that write to one file leave whole lines and nothing between them.

    Where they also close it, blank lines: who opens it while another writes may see a file that does not end in a
    newline yet.
    """
    file = files.AppendFile("stage.log")
    written = [
        [f"{thread} {index} {'x' * (index % 7) * 500}\n".encode() for index in range(300)] for thread in range(6)
    ]

    def work(lines: list[bytes]) -> None:
        for index, each in enumerate(lines):
            file.write(each)
            if closing and index % 10 == 0:
                file.close()

    threads = [threading.Thread(target=work, args=(lines,)) for lines in written]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Path("stage.log").read_bytes().splitlines(keepends=True)
    if closing:
        found = [each for each in found if each != b"\n"]
    # A thread that opens the file in the middle of another's line begins with a newline of its own, to be safe.
    told = [line for line in found if line != b"\n"]
    assert sorted(told) == sorted(each for lines in written for each in lines)
    for number, lines in enumerate(written):
        assert [each for each in found if each.startswith(b"%d " % number)] == lines


def test_processes_on_one_file():
    """Two processes that append a thousand lines each, of up to 300 KB, leave all of them whole and in their order."""
    script = """
import sys
from otel_stageio.journal import files
from tests.journal.samples import line
file = files.AppendFile("events.jsonl")
for index in range(1000):
    file.write(line(f"{sys.argv[1]} {index}" + "x" * (300_000 if index % 100 == 99 else index)))
"""
    finish(start(script, "a"), start(script, "b"))
    found = [str(body).rstrip("x") for body in bodies("events.jsonl")]
    assert [each for each in found if each[0] == "a"] == [f"a {index}" for index in range(1000)]
    assert [each for each in found if each[0] == "b"] == [f"b {index}" for index in range(1000)]
    assert not any(piece.broken for piece in reader.pieces("events.jsonl"))


def test_a_process_without_standard_streams():
    """Without stdin, stdout and stderr, no file of ours takes their numbers, where prints would end up in it."""
    script = """
import os
for fd in 0, 1, 2:
    os.close(fd)
from otel_stageio.journal import files
file = files.AppendFile("stage.log")
file.write(b"one\\n")
lock = files.open_lock("lock")
files.replace("manifest.json", b"{}")
files.claim_file("claim", b"mine")
files.sync_folder(".")
taken = []
for fd in 0, 1, 2:
    try:
        taken.append(os.fstat(fd))
    except OSError:
        pass
file.write(f"{taken} {lock > 2}\\n".encode())
os._exit(0)
"""
    finish(start(script))
    assert Path("stage.log").read_text(encoding="utf-8") == "one\n[] True\n"


def test_the_end_of_the_interpreter():
    """A file that is still open when the interpreter ends is closed without a word on stderr."""
    script = "from otel_stageio.journal import files; files.kept = files.AppendFile('a'); files.kept.write(b'one\\n')"
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", script]
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# Replacing.


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
