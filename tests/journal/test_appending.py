"""Appending to a file: what concurrency, a full disk and odd processes do to it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from otel_stageio.journal import appending, files, reader
from tests.conftest import clean_environment
from tests.journal.samples import line
from tests.journal.scripts import finish, start

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


def test_a_line_is_one_write(writes):
    """However long the line, it is handed to the kernel in one call, and nothing else is written."""
    file = appending.AppendFile("events.jsonl")
    lines = [line("one"), line("x" * 400_000), line("three")]
    for each in lines:
        file.write(each)
    assert writes == lines
    assert Path("events.jsonl").read_bytes() == b"".join(lines)


def test_a_file_appears_with_its_first_line():
    """Naming, syncing and closing a file do not make it; the first line does, also after a close."""
    file = appending.AppendFile("events.jsonl")
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
    file = appending.AppendFile("folder/events.jsonl")
    with pytest.raises(FileNotFoundError):
        file.write(line("one"))
    os.mkdir("folder")
    file.write(line("two"))
    assert bodies("folder/events.jsonl") == ["two"]


@pytest.mark.parametrize("after", [0, 1, 100])
def test_a_short_write_is_never_continued(monkeypatch, writes, after):
    """A line that got in only in part is an error; the next one starts with a newline of its own and is whole."""
    file = appending.AppendFile("events.jsonl")
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
    file = appending.AppendFile("events.jsonl")
    file.write(line("one"))
    refuse(monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        file.write(line("refused"))
    file.write(line("two"))
    assert bodies("events.jsonl") == ["one", "two"]


def test_an_exception_out_of_a_signal_handler(monkeypatch):
    """Where a signal handler raises in the middle of a write, the next line is safe, however much was written."""
    file = appending.AppendFile("events.jsonl")
    refuse(monkeypatch, after=50, why=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        file.write(line("torn"))
    file.write(line("two"))
    assert bodies("events.jsonl") == ["two"]


@pytest.mark.parametrize("tail", [b"", b"\n", b"x", line("torn")[:50], line("whole")])
def test_a_file_that_is_there_already(tail):
    """A file that does not end in a newline gets one before the first line, any other one does not."""
    Path("events.jsonl").write_bytes(tail)
    file = appending.AppendFile("events.jsonl")
    file.write(line("one"))
    file.write(line("two"))
    newline = b"" if not tail or tail.endswith(b"\n") else b"\n"
    assert Path("events.jsonl").read_bytes() == tail + newline + line("one") + line("two")


def test_the_descriptor_is_given_back():
    """`close` gives the descriptor back, and so does the end of the last reference."""
    before = os.listdir("/proc/self/fd")
    file = appending.AppendFile("events.jsonl")
    file.write(line("one"))
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    file.close()
    assert os.listdir("/proc/self/fd") == before
    file.write(line("two"))
    del file
    assert os.listdir("/proc/self/fd") == before


def test_descriptors_are_not_inherited():
    """Programs started from a stage do not get its files."""
    file = appending.AppendFile("events.jsonl")
    file.write(line("one"))
    lock = files.open_lock("lock")
    assert [os.get_inheritable(fd) for fd in (lock, file._descriptor.number)] == [False, False]
    os.close(lock)


def test_a_file_closed_under_a_writer(monkeypatch):
    """Closed by another thread in the middle of a write, the descriptor is not anybody else's file by then."""
    file = appending.AppendFile("events.jsonl")
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
    file = appending.AppendFile("events.jsonl")
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
    """Threads that write to one file, and close it, leave whole lines and nothing between them.

    Who opens it while another writes may see a file that does not end in a newline yet: that is no torn line.
    """
    file = appending.AppendFile("stage.log")
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
    assert sorted(found) == sorted(each for lines in written for each in lines)
    for number, lines in enumerate(written):
        assert [each for each in found if each.startswith(b"%d " % number)] == lines


@pytest.mark.parametrize("closing", [False, True])
def test_processes_on_one_file(closing):
    """Two processes that append a thousand lines each, of up to 300 KB, leave all of them whole and in their order."""
    script = """
import sys
from otel_stageio.journal import appending
from tests.journal.samples import line
file = appending.AppendFile("events.jsonl")
for index in range(1000):
    file.write(line(f"{sys.argv[1]} {index}" + "x" * (300_000 if index % 100 == 99 else index)))
    if sys.argv[2]:
        file.close()
"""
    finish(start(script, "a", "closing" * closing), start(script, "b", "closing" * closing))
    found = [str(body).rstrip("x") for body in bodies("events.jsonl")]
    assert [each for each in found if each[0] == "a"] == [f"a {index}" for index in range(1000)]
    assert [each for each in found if each[0] == "b"] == [f"b {index}" for index in range(1000)]
    assert not any(piece.broken for piece in reader.pieces("events.jsonl"))
    assert b"\n\n" not in Path("events.jsonl").read_bytes()


def test_a_process_without_standard_streams():
    """Without stdin, stdout and stderr, no file of ours takes their numbers, where prints would end up in it."""
    script = """
import os
for fd in 0, 1, 2:
    os.close(fd)
from otel_stageio.journal import appending, files
file = appending.AppendFile("stage.log")
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
    script = "from otel_stageio.journal import appending as a; a.kept = a.AppendFile('a'); a.kept.write(b'one\\n')"
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", script]
    ended = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# Replacing.
