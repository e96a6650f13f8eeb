"""Opening an attempt: which number, which run, who may, and what it leaves where it cannot."""

from __future__ import annotations

import json
import os
import re
import signal
import textwrap
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio import JobFormatError, StageIO, StageNameError, StageRunningError, open_job
from otel_stageio import conventions as names
from otel_stageio.job import host, locks, runs
from otel_stageio.job.layout import JobLayout
from otel_stageio.job.locks import StageLock
from otel_stageio.journal import reader
from otel_stageio.record import opening
from tests.processes import in_new_process, in_processes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The job folder."""
    return tmp_path / "out"


# Attempts.


def test_attempts_are_counted_and_kept(out):
    """Each opening is an attempt with a folder of its own; former ones stay as they are."""
    contents = []
    for _ in range(3):
        io = StageIO("asr", out, stage_number=6)
        io.finalize("failed")
        contents.append((io.stage_dir / ".stageio" / "001" / "events.jsonl").read_bytes())
    assert [row["attempt"] for row in open_job(out).attempts()] == [1, 2, 3]
    assert contents[1:] == contents[:1] * 2


def test_running_stage_is_refused_with_pid_and_since(out):
    """A stage that runs is not opened again: the error names the process and since when, and what to do."""
    first = StageIO("asr", out, stage_number=6)
    with pytest.raises(StageRunningError) as raised:
        StageIO("asr", out, stage_number=6)
    said = str(raised.value)
    since = re.search(r"since (\S+Z)", said)
    assert f"process {os.getpid()} (this one)" in said
    assert since is not None
    assert since[1] <= first.manifest["started_at"]
    assert "finalize" in said

    def refused() -> str:
        with pytest.raises(StageRunningError) as raised:
            StageIO("asr", out, stage_number=6)
        return str(raised.value)

    told = in_new_process(refused)
    assert f"process {os.getpid()} has it open since {since[1]}" in told
    assert [row["attempt"] for row in open_job(out).attempts()] == [1]
    first.finalize()


def test_of_processes_that_start_at_once_one_opens(out):
    """Of ten processes that open one stage at once, one does; the others are told who, and leave nothing."""

    def start(_: int) -> str:
        try:
            io = StageIO("asr", out, stage_number=6)
        except StageRunningError:
            return "refused"
        time.sleep(0.5)
        io.finalize()
        return "opened"

    answers = in_processes(10, start)
    assert sorted(answers) == ["opened"] + ["refused"] * 9
    assert [row["status"] for row in open_job(out).attempts()] == ["success"]


def test_attempts_are_distinct_without_locks(out, monkeypatch):
    """Where the file system has no locks, ten processes at once make ten attempts, all of them whole."""
    monkeypatch.setattr(locks, "_take", lambda _: None)

    def start(number: int) -> int:
        io = StageIO("asr", out, stage_number=6)
        io.finalize("failed", number=number)
        return io.manifest["attempt"]

    answers = in_processes(10, start)
    rows = open_job(out).attempts()
    assert sorted(answers) == [row["attempt"] for row in rows] == list(range(1, 11))
    assert {row["run"] for row in rows} == {1}


def test_stage_that_seems_to_run_elsewhere(out):
    """A lock that another host holds is a warning: whether that stage is alive cannot be known from here."""
    StageIO("asr", out, stage_number=6).finalize("failed")
    elsewhere = {"pid": 7, "host": "elsewhere", "boot_id": "b", "since": "2025-11-27T13:30:01Z"}
    lock = StageLock.acquire(str(out / "06_asr" / ".stageio" / "lock"), elsewhere)
    io = StageIO("asr", out, stage_number=6)
    io.finalize()
    (warning,) = io.manifest["warnings"]
    assert warning["message"].startswith("the stage seems to run on host elsewhere as well (pid 7, since 2025-")
    assert io.manifest["attempt"] == 2
    lock.release()


def test_lock_is_free_after_a_failed_opening(out, monkeypatch, capsys):
    """What goes wrong while a stage is opened leaves its lock free, and the stage without a record."""
    with monkeypatch.context() as patch:
        patch.setattr(runs, "join", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
        silent = StageIO("asr", out, stage_number=6)
    assert "full" in capsys.readouterr().err
    silent.finalize()
    StageIO("asr", out, stage_number=6).finalize()
    assert [row["status"] for row in open_job(out).attempts()] == ["success"]


def test_interrupted_opening(out, monkeypatch):
    """Ctrl-C while a stage is opened leaves its lock free, no thread and no handler."""
    threads = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(StageIO, "_update_job", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            StageIO("asr", out, stage_number=6)
    assert threading.active_count() == threads
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    StageIO("asr", out, stage_number=6).finalize()
    assert [row["status"] for row in open_job(out).attempts()] == ["abandoned", "success"]


# Runs.


def stage(out: Path, name: str = "asr", status: str = "success") -> int:
    """Open and end a stage; give its run."""
    io = StageIO(name, out, stages=["vad", "asr", "tts"])
    io.finalize(status)
    return io.manifest["run"]


def dead_stage(out: Path) -> None:
    """Open a stage and leave without a word."""
    StageIO("asr", out, stages=["vad", "asr", "tts"])
    os._exit(0)


@pytest.mark.parametrize(("status", "run"), [("success", 2), ("skipped", 2), ("failed", 1)])
def test_starting_a_stage_again(out, status, run):
    """A stage that did its work begins a new run when it is started again; one that failed goes on in the run."""
    assert in_new_process(lambda: stage(out, status=status)) == 1
    assert in_new_process(lambda: stage(out)) == run
    assert in_new_process(lambda: stage(out, "tts")) == run


def test_dead_stage_is_retried_in_its_run(out):
    """A stage that died without an end goes on in the run."""
    child = os.fork()
    if child == 0:
        dead_stage(out)
    os.waitpid(child, 0)
    assert in_new_process(lambda: stage(out)) == 1
    assert [row["status"] for row in open_job(out).attempts()] == ["abandoned", "success"]


def test_contradicted_success_is_not_done(out):
    """A success that something contradicted is no success: the retry goes on in the run."""

    def contradict() -> int:
        io = StageIO("asr", out, stages=["vad", "asr", "tts"])
        io.finalize("success")
        io.finalize("failed")
        return io.manifest["run"]

    assert in_new_process(contradict) == 1
    assert in_new_process(lambda: stage(out)) == 1
    assert in_new_process(lambda: stage(out)) == 2


def test_success_of_a_former_run_does_not_count(out):
    """Whether a stage did its work is asked of the current run: the other stages of a second pass join it."""
    for run in (1, 2, 3):
        actual = [in_new_process(lambda name=name: stage(out, name)) for name in ("vad", "asr", "tts")]
        assert actual == [run] * 3


def test_one_process_stays_in_its_run(out):
    """Within one process a pipeline is never started again, however often a stage is."""
    assert in_new_process(lambda: [stage(out) for _ in range(3)]) == [1, 1, 1]
    assert in_new_process(lambda: [stage(out) for _ in range(3)]) == [2, 2, 2]


def test_job_folder_made_anew(out, tmp_path):
    """Another job in a folder of the same name is another job, also for a process that knew the former one."""
    assert stage(out) == 1
    out.rename(tmp_path / "away")
    assert in_new_process(lambda: stage(out)) == 1
    assert stage(out) == 2


def test_named_run(out, monkeypatch):
    """STAGEIO_RUN: the same text is the same run, also after a success, and another text is another run."""
    runs_of = []
    for name in ("nightly", "nightly", "größer\n2", "nightly"):
        monkeypatch.setenv("STAGEIO_RUN", name)
        runs_of.append(in_new_process(lambda: stage(out)))
    assert runs_of == [1, 1, 2, 1]
    assert open_job(out).manifest("asr")["run_name"] == "nightly"
    document = json.loads((out / "manifest.json").read_text())
    assert (document["run"], document["run_name"]) == (1, "nightly")


def test_many_processes_in_one_trace(out, monkeypatch):
    """Twenty stages that start at once in one incoming trace take part in one run, which writes no span."""
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")

    def start(number: int) -> list[object]:
        io = StageIO(f"stage{number}", out, stage_number=number)
        io.finalize()
        return [io.manifest["run"], io.manifest["trace_id"]]

    assert in_processes(20, start) == [[1, "a" * 32]] * 20
    assert list(out.glob(".stageio/runs/*/traces.jsonl")) == []


@pytest.mark.parametrize("name", [None, "nightly"])
def test_many_processes_agree_on_one_run(out, monkeypatch, name):
    """Twenty stages that start at once in twenty processes take part in one run, in the second pass in the next one."""
    if name:
        monkeypatch.setenv("STAGEIO_RUN", name)

    def start(number: int) -> list[object]:
        opening._joined.clear()
        io = StageIO(f"stage{number}", out, stage_number=number)
        time.sleep(0.3)  # none ends before all have begun
        io.finalize()
        return [io.manifest["run"], io.manifest["trace_id"]]

    first = in_processes(20, start)
    second = in_processes(20, start)
    assert [run for run, _ in first] == [1] * 20
    assert [run for run, _ in second] == [1 if name else 2] * 20
    assert len({trace for _, trace in first}) == len({trace for _, trace in second}) == 1
    assert runs.numbers(JobLayout(out)) == ([1] if name else [1, 2])


def test_one_trace_with_a_root_span(out):
    """All stages of a run share its trace and are children of its span, which is in the run's folder."""
    for name in ("vad", "asr"):
        stage(out, name)
    (root,) = reader.spans(str(out / ".stageio" / "runs" / "001" / "traces.jsonl"))
    spans = [span for path in out.glob("*/.stageio/001/traces.jsonl") for span in reader.spans(str(path))]
    assert len(spans) == 2
    assert {span.trace_id for span in spans} == {root.trace_id}
    assert {span.parent_span_id for span in spans} == {root.span_id}
    assert {row["trace_id"] for row in open_job(out).stages} == {root.trace_id}


def test_logs_of_a_further_host(out, monkeypatch):
    """A host that did not begin the run writes a pipeline log of its own; one that did not begin the stage, too."""
    StageIO("asr", out, stage_number=6).finalize("failed")
    stage(out, "vad")
    name = json.loads((out / ".stageio" / "runs" / "001" / "run.json").read_text())["pipeline_log"]
    with monkeypatch.context() as patch:
        patch.setattr(host, "name", lambda: "node7")
        io = StageIO("asr", out, stage_number=6)
        io.get_stage_logger().info("hello")
        io.finalize()
    assert not (out / name).exists()
    assert (out / name).with_suffix(".node7.log").read_text().endswith("hello\n")
    assert io.stage_log == out / "06_asr" / "stage.node7.log"
    assert io.stage_log.read_text().splitlines()[0].endswith(f"attempt 2, run 1, pid {os.getpid()} on node7")
    assert "hello" not in (out / "06_asr" / "stage.log").read_text()
    again = StageIO("asr", out, stage_number=6)
    assert again.stage_log == out / "06_asr" / "stage.log"
    again.finalize()


# What the record starts with.


def test_started_event_says_who_and_where(out, monkeypatch):
    """The first record tells stage, attempt, run with its log, job, host, process, zone, and the declared order."""
    monkeypatch.setenv("STAGEIO_RUN", "nightly")
    io = StageIO("asr", out, stages=["vad", "06_asr", "tts"], enable_manifest=False)
    first = next(reader.log_records(str(out / "06_asr" / ".stageio" / "001" / "events.jsonl")))
    (root,) = reader.spans(str(out / ".stageio" / "runs" / "001" / "traces.jsonl"))
    told = {name: first.attributes[name] for name in first.attributes if name.startswith("stageio.")}
    assert first.event_name == names.STARTED
    assert told.pop(names.BOOT_ID)
    assert told.pop(names.UTC_OFFSET) == time.localtime().tm_gmtoff
    run = json.loads((out / ".stageio" / "runs" / "001" / "run.json").read_text())
    assert told == {
        names.RUN_BEGAN: run["created_unix_nano"],
        names.RUN_HOST: run["host"],
        names.RUN_LOG: run["pipeline_log"],
        names.STAGE_NAME: "asr",
        names.STAGE_NUMBER: 6,
        names.STAGE_ATTEMPT: 1,
        names.STAGE_MANIFEST: False,
        names.JOB_ID: open_job(out).job_id,
        names.RUN: 1,
        names.RUN_NAME: "nightly",
        names.RUN_SPAN_ID: root.span_id,
        names.PARENT_SPAN_ID: root.span_id,
        names.PARENT_REMOTE: True,
        names.JOB_STAGES: ["vad", "asr", "tts"],
    }
    assert first.attributes[names.PROCESS_PID] == os.getpid()
    io.finalize()


def test_started_event_says_where_in_the_trace(out, monkeypatch):
    """The first record of a stage that was called in another trace than its run's tells parent, run and trace state."""
    monkeypatch.setenv("STAGEIO_RUN", "nightly")
    stage(out, "vad")
    (root,) = reader.spans(str(out / ".stageio" / "runs" / "001" / "traces.jsonl"))
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-00")
    monkeypatch.setenv("TRACESTATE", "congo=t61")
    StageIO("asr", out, stage_number=6).finalize()
    first = next(reader.log_records(str(out / "06_asr" / ".stageio" / "001" / "events.jsonl")))
    told = {
        name: first.attributes[name]
        for name in (names.RUN, names.RUN_NAME, names.RUN_SPAN_ID, names.RUN_TRACE_ID, names.TRACE_STATE)
    }
    assert told == {
        names.RUN: 1,
        names.RUN_NAME: "nightly",
        names.RUN_SPAN_ID: root.span_id,
        names.RUN_TRACE_ID: root.trace_id,
        names.TRACE_STATE: "congo=t61",
    }
    assert (first.attributes[names.PARENT_SPAN_ID], first.attributes[names.PARENT_REMOTE]) == ("b" * 16, True)
    assert (first.trace_id, first.flags) == ("a" * 32, 0)


def test_forked_child_is_an_instance_of_its_own(out):
    """A process has one service.instance.id, a forked child of it another one."""

    def instance(io: StageIO) -> str:
        path = io.stage_dir / ".stageio" / "001" / "events.jsonl"
        (line,) = next(reader.pieces(str(path))).lines
        return line.resource.attributes["service.instance.id"]

    first, second = StageIO("a", out, stage_number=1), StageIO("b", out, stage_number=2)
    child = in_new_process(lambda: instance(StageIO("c", out, stage_number=3)))
    assert instance(first) == instance(second) != child
    first.finalize()
    second.finalize()


# What cannot be opened.


def test_newer_format_is_refused_and_left_alone(out):
    """A folder of a newer major version is refused with a clear word, and nothing is written into it."""
    (out / ".stageio").mkdir(parents=True)
    (out / ".stageio" / "job.json").write_text('{"format": "2.0", "job_id": "x", "future": 1}')
    before = sorted(out.rglob("*"))
    with pytest.raises(JobFormatError, match=r"format 2\.0.*upgrade"):
        StageIO("asr", out)
    assert sorted(out.rglob("*")) == before


def test_wrong_name_leaves_no_job(out):
    """A stage name that is refused makes no job folder."""
    with pytest.raises(StageNameError):
        StageIO("a/b", out)
    assert not out.exists()


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_job_folder_that_is_a_file(out, capsys, mode):
    """Where the job folder cannot be written, a stage runs without a record and says so in one line on stderr."""
    out.write_text("a file")
    io = StageIO("asr", out, stages=["vad", "asr"], mode=mode)
    other = StageIO("new", out, stages=["vad", "asr"], mode=mode)
    logger = io.get_stage_logger()
    logger.warning("hello")
    io.track_input("missing", "audio")
    io.add_metric("wer", 0.5)
    io.finalize("failed")
    assert (io.stage_number, other.stage_number) == (2, 3)
    assert (io.manifest["status"], len(io.manifest["inputs"])) == ("failed", 1)
    assert out.read_text() == "a file"
    said = [line for line in capsys.readouterr().err.splitlines() if "runs without a record" in line]
    assert len(said) == (0 if mode == "off" else 2)


# Notebooks.


NOTEBOOK = """
import os, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("from otel_stageio import StageIO")
for cell in sys.argv[1:]:
    result = shell.run_cell(cell)
    if not result.success:
        print(type(result.error_in_exec).__name__)
"""


def test_notebook_cell_is_run_again(run_script, out):
    """In IPython opening a stage again ends the former attempt as superseded; an error in a cell ends none."""
    opened = f"io = StageIO('asr', {str(out)!r}, stage_number=6)"
    done = run_script(NOTEBOOK, opened, "1 / 0", "io.add_warning('still open')", opened, opened, "io.finalize()")
    assert done.returncode == 0, done.stderr
    assert "ZeroDivisionError" in done.stdout
    rows = open_job(out).attempts()
    assert [(row["status"], row["reason"], row["warnings"], row["run"]) for row in rows] == [
        ("failed", "superseded", 1, 1),
        ("failed", "superseded", 0, 1),
        ("success", None, 0, 1),
    ]


def test_notebook_supersedes_the_same_stage_only(run_script, tmp_path):
    """Another stage, the stage of another number and that of another job stay open."""
    cells = [
        "a = StageIO('asr', 'one', stage_number=6)",
        "b = StageIO('asr', 'two', stage_number=6)",
        "c = StageIO('asr', 'one', stage_number=7)",
        "d = StageIO('06_asr', 'one')",
        "print(a.manifest['reason'], *(io.manifest['status'] for io in (b, c, d)))",
        "[io.finalize() for io in (b, c, d)]",
    ]
    done = run_script(NOTEBOOK, *cells)
    assert "superseded running running running" in done.stdout, done.stdout + done.stderr


def test_notebook_with_a_stage_that_runs_elsewhere(run_script, out):
    """A stage that another process has open is not superseded by a notebook."""
    io = StageIO("asr", out, stage_number=6)
    done = run_script(NOTEBOOK, f"StageIO('asr', {str(out)!r}, stage_number=6)")
    assert done.stdout.endswith("StageRunningError\n")
    io.finalize()


def test_script_that_imports_ipython_is_no_notebook(run_script, out):
    """IPython that is imported and not running changes nothing."""
    source = f"""
    import IPython
    from otel_stageio import StageIO, StageRunningError
    io = StageIO("asr", {str(out)!r}, stage_number=6)
    try:
        StageIO("asr", {str(out)!r}, stage_number=6)
    except StageRunningError:
        print("refused")
    io.finalize()
    """
    done = run_script(textwrap.dedent(source))
    assert done.stdout == "refused\n", done.stderr
