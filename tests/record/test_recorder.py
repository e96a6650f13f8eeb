"""One attempt being recorded: what is on disk when a call returns, whatever else goes on and whatever goes wrong."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio import conventions as names
from otel_stageio.journal import appending, reader
from otel_stageio.model import Resource
from otel_stageio.record import background, opening, recorder
from otel_stageio.record.recorder import Recorder
from otel_stageio.record.secrets.redaction import Redactor
from otel_stageio.views import manifest as manifest_view
from otel_stageio.views import state
from otel_stageio.views.manifest import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def io(tmp_path: Path) -> StageIO:
    """An open stage."""
    return StageIO("asr", tmp_path / "out", stage_number=6)


@pytest.fixture
def silent() -> Recorder:
    """A recorder that writes nothing; what it reports is in ``said``."""
    said: list[str] = []
    made = Recorder(
        None, trace_id="a" * 32, span_id="b" * 16, resource=Resource(), redactor=Redactor(), report=said.append
    )
    made.said = said
    return made


def journal(io: StageIO) -> Path:
    """Give the folder of the only attempt."""
    return io.stage_dir / ".stageio" / "001"


def records(io: StageIO) -> list:
    """Read events and log records of the only attempt."""
    return [record for name in ("events.jsonl", "logs.jsonl") for record in reader.log_records(str(journal(io) / name))]


def written(io: StageIO) -> dict:
    """Read manifest.json."""
    return json.loads(io.manifest_path.read_bytes())


def folded(io: StageIO) -> bool:
    """Whether manifest.json is the fold of the journal, byte for byte."""
    return io.manifest_path.read_bytes() == dump(open_job(io.job_dir).manifest("asr"))


# Records.


def test_a_call_is_on_disk_when_it_returns(io):
    """Each call's record is in the journal before the call returns."""
    io.add_warning("careful")
    io.add_metric("wer", 0.5)
    io.get_stage_logger().debug("hello")
    assert [(record.event_name, record.body) for record in records(io)] == [
        (names.STARTED, None),
        (names.WARNING, "careful"),
        (names.METRIC, None),
        ("", "hello"),
    ]


def test_every_record_is_signed(io):
    """All records have the stage's trace and span, one writer, and counts without gaps."""
    for number in range(5):
        io.add_config("key", number)
        io.get_stage_logger().info("%d", number)
    told = records(io)
    orders = sorted(state.order(record) for record in told)
    assert {(record.trace_id, record.span_id, record.flags) for record in told} == {
        (io.manifest["trace_id"], io.manifest["span_id"], 1)
    }
    assert [count for _, count in orders] == list(range(1, 12))
    assert len({writer for writer, _ in orders}) == 1


def test_uids_are_unique_over_threads_and_forks(io):
    """Records made at once by threads and forked children have different log.record.uid, and none is lost."""

    def talk():
        for number in range(100):
            io.get_stage_logger().debug("%d", number)
            io.add_config("key", number)

    # pytest's handlers write to buffered files, whose locks a fork beside busy threads leaves locked for ever.
    io.get_stage_logger().propagate = False
    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                talk()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    for thread in threads:
        thread.join()
    io.finalize()
    uids = [record.attributes[names.LOG_RECORD_UID] for record in records(io)]
    assert len(uids) == len(set(uids)) == 2 + 7 * 200
    assert len({uid.partition("-")[0] for uid in uids}) == 4
    assert folded(io)


def test_clock_set_back(io, monkeypatch):
    """A wall clock that is set back while the stage runs moves none of its times."""
    before = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    io.add_warning("later")
    io.get_stage_logger().info("later")
    io.finalize()
    times = [record.time_unix_nano for record in records(io)]
    (span,) = reader.spans(str(journal(io) / "traces.jsonl"))
    assert min(times[1:]) >= before
    assert span.end_time_unix_nano >= max(times)
    assert 0 <= written(io)["duration_seconds"] < 60


def test_very_long_record_is_cut(io):
    """A record that no Collector would take is cut to fit, with its length on record and in the manifest."""
    io.get_stage_logger().info("a%s", "x" * 2_000_000)
    io.set_config({"short": 1, "long": "y" * 1_000_000})
    io.finalize()
    longest = max(len(line) for path in journal(io).iterdir() for line in path.read_bytes().splitlines())
    assert longest <= 512 * 1024
    (record,) = reader.log_records(str(journal(io) / "logs.jsonl"))
    assert record.attributes[names.CUT] == {"body": 2_000_001}
    assert record.body.startswith("axxx")
    assert written(io)["config"]["short"] == 1
    assert len(written(io)["config"]["long"]) > 100_000
    assert folded(io)
    assert "x" * 2_000_000 in io.stage_log.read_text()


def test_recorder_without_places(silent):
    """A recorder that writes nothing keeps the fold all the same."""
    silent.event(names.WARNING, {}, call="add_warning", body="careful", severity=names.SEVERITY_WARN)
    silent.log(at=1, level="INFO", severity=9, message="hello", attributes={})
    assert silent.finish({names.STATUS: "success"})
    assert (silent.state.status, silent.state.log_counts["INFO"]) == ("success", 1)
    assert not silent.finish({names.STATUS: "failed"})
    silent.manifest.rewrite()
    silent.manifest.remove()
    silent.sync()
    silent.close()
    assert silent.said == []


def test_late_mark(silent):
    """After the end a record says which call made it; what we found out ourselves does not."""
    seen = []
    silent.state.apply = seen.append
    silent.finish({names.STATUS: "success"})
    silent.state.finished = seen[-1]
    silent.event(names.CONFIG, {}, call="add_config")
    silent.event(names.DIGEST, {}, call="digest")
    silent.event(names.GIT, {}, call="git")
    silent.warn("found out")
    assert [record.attributes.get(names.LATE) for record in seen] == [None, "add_config", None, None, None]


# Trouble.


@pytest.fixture
def full(monkeypatch, tmp_path) -> Callable[[str], None]:
    """Fill the disk: from the call on, files whose path holds the text cannot be written."""

    def fill(part: str) -> None:
        plain = appending.AppendFile.write

        def write(file: appending.AppendFile, line: bytes) -> None:
            if part in file.path.removeprefix(str(tmp_path)):
                raise OSError(errno.ENOSPC, "No space left on device", file.path)
            plain(file, line)

        monkeypatch.setattr(appending.AppendFile, "write", write)

    return fill


@pytest.mark.parametrize(
    ("part", "refused"),
    [
        ("events.jsonl", ["events.jsonl"]),
        ("logs.jsonl", ["logs.jsonl"]),
        ("traces.jsonl", ["traces.jsonl"]),
        ("stage.log", ["stage.log"]),
        ("99_pipeline", ["99_pipeline"]),
        ("/", ["events.jsonl", "stage.log", "99_pipeline", "logs.jsonl", "traces.jsonl"]),
    ],
)
def test_full_disk(io, full, capsys, part, refused):
    """A file that the disk refuses is one line on stderr and one entry in `degraded`; the stage goes on."""
    full(part)
    for number in range(5):
        io.add_config("key", number)
        io.get_stage_logger().info("hello %d", number)
    io.finalize()
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("otel-stageio: ")]
    degraded = written(io)["degraded"]
    assert [sum(name in line for line in said) for name in refused] == [1] * len(refused)
    assert [sum(name in entry for entry in degraded) for name in refused] == [1] * len(refused)
    assert len(said) == len(degraded) == len(refused)
    assert all("No space left on device" in entry for entry in degraded)
    assert written(io)["status"] == "success"


def test_short_write(io, monkeypatch):
    """A line of which the disk took only half costs itself: the next one is whole, and so is the fold."""
    plain = os.write

    def half(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", plain)
        return plain(fd, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    io.add_warning("torn")
    io.add_warning("whole")
    io.finalize()
    assert [record.body for record in records(io) if record.event_name == names.WARNING] == ["whole"]
    (entry,) = written(io)["degraded"]
    assert "bytes could be written" in entry


def test_removed_logs_folder(io, capsys):
    """A logs folder that somebody removes costs the pipeline log, before its first line as well as after it."""
    shutil.rmtree(io.logs_dir)
    io.get_stage_logger().info("hello")
    io.get_stage_logger().info("hello")
    io.finalize()
    (entry,) = written(io)["degraded"]
    assert "99_pipeline" in entry
    assert "FileNotFoundError" in entry
    assert capsys.readouterr().err.count("otel-stageio: ") == 1
    assert io.stage_log.read_text().count("hello") == 2


@pytest.mark.parametrize("what", ["logs", "06_asr/.stageio/001", "06_asr/.stageio", "06_asr/stage.log"])
def test_removed_while_it_is_written(io, capsys, what):
    """A file that is removed while the stage writes to it is found out at the end; manifest.json tells it."""
    io.get_stage_logger().info("hello")
    path = io.job_dir / what
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    io.get_stage_logger().info("hello")
    io.finalize()
    assert written(io)["status"] == "success"
    degraded = written(io)["degraded"]
    assert degraded[-1].startswith("cannot sync the journal: FileNotFoundError")
    assert all("FileNotFoundError" in entry for entry in degraded)
    assert capsys.readouterr().err.count("otel-stageio: ") == len(degraded) == len(set(degraded))


def test_removed_stage_folder(io, capsys):
    """A stage whose whole folder is removed goes on and ends, and says on stderr what it could not write."""
    io.add_warning("before")
    shutil.rmtree(io.stage_dir)
    io.add_warning("after")
    io.finalize()
    assert "cannot write the manifest" in capsys.readouterr().err
    assert io.manifest["status"] == "success"


def test_bug_in_a_view(io, monkeypatch, capsys):
    """A bug of ours in the fold or in the span reaches nobody: the record is on disk, the trouble is told once."""
    with monkeypatch.context() as patch:
        patch.setattr(state.StageState, "apply", lambda *_: 1 / 0)
        io.add_warning("on disk")
        io.add_warning("on disk")
    monkeypatch.setattr(recorder.span, "span", lambda _: 1 / 0)
    io.finalize()
    assert [record.body for record in records(io)].count("on disk") == 2
    said = capsys.readouterr().err
    assert said.count("cannot keep a record for the manifest: ZeroDivisionError") == 1
    assert said.count("cannot write the stage's span: ZeroDivisionError") == 1
    assert written(io)["status"] == "success"


def test_trouble_is_told_once_by_many_threads(silent):
    """Trouble of one kind is one line, however many threads have it at once."""
    barrier = threading.Barrier(8)

    def stumble():
        barrier.wait()
        silent.trouble("cannot write x", OSError("full"))

    threads = [threading.Thread(target=stumble) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    silent.trouble("cannot read y")
    assert silent.said == ["cannot write x: OSError: full", "cannot read y"]
    assert silent.state.degraded == silent.said


# Interruptions.


@pytest.fixture
def struck() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Strike while lines are written: the next time the main thread writes, the call is made by a signal handler."""
    plain = appending.AppendFile.write

    def aim(call: Callable[[], object]) -> None:
        def write(file: appending.AppendFile, line: bytes) -> None:
            appending.AppendFile.write = plain
            signal.raise_signal(signal.SIGUSR1)
            plain(file, line)

        signal.signal(signal.SIGUSR1, lambda *_: call())
        appending.AppendFile.write = write

    yield aim
    appending.AppendFile.write = plain


def test_record_of_a_signal_handler(io, struck):
    """What a handler of the host says in the middle of a record is recorded, and the end is the fold of the journal."""
    struck(lambda: (io.add_warning("inner"), io.get_stage_logger().warning("inner")))
    io.add_warning("outer")
    io.finalize()
    assert sorted(warning["message"] for warning in written(io)["warnings"]) == ["inner", "outer"]
    assert folded(io)


def test_finalize_of_a_signal_handler(io, struck):
    """A handler of the host may finalize in the middle of a record."""
    struck(lambda: io.finalize("failed", reason="stopped"))
    io.add_warning("outer")
    io.refresh()
    assert written(io)["status"] == "failed"
    assert folded(io)


def test_interrupted_record(io, struck):
    """A record that Ctrl-C interrupted may be in the journal: then it is in the manifest, too."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    for after_write in (True, False):
        if after_write:
            plain = io._recorder._fold
            io._recorder._fold = lambda record: (_ for _ in ()).throw(KeyboardInterrupt)
        else:
            io._recorder._fold = plain
            struck(interrupt)
        with pytest.raises(KeyboardInterrupt):
            io.add_warning("written" if after_write else "not written")
    io.finalize()
    assert [warning["message"] for warning in written(io)["warnings"]] == ["written"]
    assert folded(io)


# Children.


def test_children_are_read_once_and_only_if_they_spoke(io, monkeypatch):
    """The journal is read again at the end only where a forked child wrote to it."""
    readings = []
    plain = io._recorder._reread
    monkeypatch.setattr(io._recorder, "_reread", lambda: (readings.append(1), plain())[1])
    io.add_warning("before")
    for speak in (False, True):
        child = os.fork()
        if child == 0:
            if speak:
                io.add_warning("child")
            os._exit(0)
        os.waitpid(child, 0)
        io.add_warning("parent")
        if not speak:
            io._recorder.settle()
            assert readings == []
    io.finalize()
    assert readings == [1]
    messages = [warning["message"] for warning in written(io)["warnings"]]
    assert messages == ["before", "parent", "child", "parent"]
    assert folded(io)


def test_child_does_not_touch_the_manifest(io):
    """A forked child writes records and nothing else."""
    before = io.manifest_path.read_bytes()
    child = os.fork()
    if child == 0:
        try:
            io.add_warning("child")
            io.refresh()
            io._recorder.manifest.remove()
            told = io._recorder.finish({names.STATUS: "success"})
            os._exit(1 if told else 0)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert io.manifest_path.read_bytes() == before
    io.finalize()


# Views.


def test_nobody_waits_for_a_manifest_to_be_formatted(io, monkeypatch):
    """While the text of a long manifest is made, calls of the stage go on."""
    formatting, go_on = threading.Event(), threading.Event()
    plain = manifest_view.dump

    def slow(document):
        formatting.set()
        assert go_on.wait(10)
        return plain(document)

    monkeypatch.setattr(manifest_view, "dump", slow)
    thread = threading.Thread(target=io._recorder.manifest.rewrite)
    thread.start()
    assert formatting.wait(10)
    io.set_config({"key": 1})
    io.add_warning("meanwhile")
    io.get_stage_logger().info("meanwhile")
    go_on.set()
    thread.join()
    assert (written(io)["config"], written(io)["warnings"]) == ({}, [])


def test_manifest_of_an_older_attempt_is_not_written(io, tmp_path):
    """An attempt that is not the newest any more leaves manifest.json alone."""
    before = io.manifest_path.read_bytes()
    (io.stage_dir / ".stageio" / "002").mkdir()
    io.add_warning("old")
    io.refresh()
    io.finalize()
    assert io.manifest_path.read_bytes() == before


# Many stages in one process.


def open_descriptors() -> int:
    """Count the open file descriptors of this process."""
    return len(os.listdir("/dev/fd"))


def test_many_stages_leave_nothing_open(tmp_path, monkeypatch):
    """Stages that have ended hold no descriptor and no thread, also where logging goes on after the end."""
    monkeypatch.setattr(background, "_PAUSE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # 1,500 of them
    gc.disable()  # a cycle that holds a descriptor is a leak until it is collected
    threads = threading.active_count()
    kept = []
    try:
        for number in range(300):
            io = StageIO(f"stage{number % 20}", tmp_path / "out", stage_number=number % 20, mode="file")
            io.get_stage_logger().info("hello")
            io.finalize()
            io.get_stage_logger().info("Stage complete")
            kept.append(io)
            if number == 0:
                first = open_descriptors()
        assert open_descriptors() <= first + 2
    finally:
        gc.enable()
    until = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    assert len(opening._joined) >= 1
