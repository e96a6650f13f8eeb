"""The job manifest on disk: right after every change, whoever made it, and at what cost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio.job import changes, host, locks, registry, status
from otel_stageio.job.layout import JobLayout
from otel_stageio.job.looks import CACHE
from otel_stageio.views.manifest import dump
from tests.processes import in_new_process, in_processes, killed_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Told of the files that are opened and the folders that are listed; an audit hook cannot be taken away again.
_auditing: list[Callable[[str], object]] = []


def _audit(event: str, args: tuple[object, ...]) -> None:
    for hook in _auditing:
        if event in {"open", "os.listdir", "os.scandir"}:
            hook(str(args[0]))


@pytest.fixture
def job(tmp_path: Path) -> JobLayout:
    """A job folder that is not there yet."""
    return JobLayout(tmp_path / "out")


def run(job: JobLayout, name: str, end: str | None = "success", **options: object) -> StageIO:
    """Open a stage and end it; with None it stays open."""
    io = StageIO(name, job.root, **options)
    if end is not None:
        io.finalize(end)
    return io


def read(job: JobLayout) -> dict:
    """Read the job manifest."""
    return json.loads(job.manifest.read_bytes())


def states(job: JobLayout) -> dict[str, str]:
    """Give the status of each stage in the job manifest."""
    return {of["stage"]: of["status"] for of in read(job)["stages"]}


def test_keys(job, monkeypatch):
    """The job manifest tells of job, run and stages all that they have, stages in the order of their numbers."""
    monkeypatch.setenv("STAGEIO_RUN", "nightly")
    run(job, "06_asr", "failed")
    run(job, "05_vad", "skipped")
    last = run(job, "07_tts")
    document = read(job)
    entries = document.pop("stages")
    started, log = document.pop("started_at"), document.pop("pipeline_log")
    assert started <= last.manifest["started_at"]
    assert log.startswith("logs/99_pipeline_")
    assert document == {
        "schema_version": "1.0",
        "job_id": open_job(job.root).job_id,
        "status": "failed",
        "run": 1,
        "run_name": "nightly",
        "trace_id": last.manifest["trace_id"],
        "completed_stages": ["tts"],
        "failed_stages": ["asr"],
        "skipped_stages": ["vad"],
    }
    assert [of["stage"] for of in entries] == ["vad", "asr", "tts"]
    assert entries[2] == {
        "stage": "tts",
        "stage_number": 7,
        "status": "success",
        "run": 1,
        "attempt": 1,
        "duration_seconds": last.manifest["duration_seconds"],
        "folder": "07_tts",
    }


def test_status_while_stages_come_and_go(job):
    """Running while a stage runs; a failure makes the job failed when nothing runs; a retry repairs it."""
    first = run(job, "01_a", None)
    assert read(job)["status"] == "running"
    assert read(job)["stages"][0]["duration_seconds"] is None
    second = run(job, "02_b", None)
    first.finalize("failed")
    assert read(job)["status"] == "running"
    second.finalize()
    assert read(job)["status"] == "failed"
    again = run(job, "01_a", None)
    assert read(job)["status"] == "running"
    again.finalize()
    assert (read(job)["status"], read(job)["completed_stages"]) == ("success", ["a", "b"])


def test_declared_stages(job):
    """With a declared order the job runs until each declared stage has started, but has failed once one has."""
    declared = {"stages": ["a", "b", "c"]}
    actual = []
    for name, end in (("a", "success"), ("b", "failed"), ("b", "success"), ("c", "skipped")):
        run(job, name, end, **declared)
        actual.append(read(job)["status"])
    assert actual == ["running", "failed", "running", "success"]


def test_dead_stage(job):
    """A stage that died is found out with the next change: the job has failed."""
    killed_after(lambda: run(job, "01_a", None))
    assert states(job) == {"a": "running"}
    run(job, "02_b")
    assert states(job) == {"a": "abandoned", "b": "success"}
    assert (read(job)["status"], read(job)["failed_stages"]) == ("failed", ["a"])


def test_current_run(job):
    """Status and lists are those of the current run; stages that are not in it yet stay listed with theirs."""
    in_new_process(lambda: [run(job, "01_a", "failed").stage_name, run(job, "02_b").stage_name])
    assert (read(job)["run"], read(job)["status"]) == (1, "failed")
    in_new_process(lambda: run(job, "02_b").stage_name)
    document = read(job)
    assert (document["run"], document["status"]) == (2, "success")
    assert (document["completed_stages"], document["failed_stages"]) == (["b"], [])
    assert [(of["stage"], of["run"], of["attempt"]) for of in document["stages"]] == [("a", 1, 1), ("b", 2, 2)]


def test_fifty_stages_end_at_once(job):
    """Fifty stages that end at once in fifty processes leave one correct file, with all of them, and nothing else."""

    def stage(number: int) -> str:
        io = run(job, f"{number:02d}_stage{number}", None)
        time.sleep(0.3)
        io.finalize("failed" if number == 7 else "success")
        return "ended"

    assert in_processes(50, stage) == ["ended"] * 50
    expected = {f"stage{number}": "failed" if number == 7 else "success" for number in range(50)}
    assert states(job) == expected
    assert read(job)["status"] == "failed"
    assert len(read(job)["completed_stages"]) == 49
    assert sorted(path.name for path in job.root.iterdir() if not path.is_dir()) == ["manifest.json"]
    assert not list(job.inner.glob(".*"))


# What another program wrote.


def test_foreign_manifest_is_kept(job):
    """An orchestrator's manifest.json: its stages and keys stay, ours replace entries of the same stages."""
    job.root.mkdir()
    theirs = {
        "pipeline": {"name": "speech"},
        "status": "submitted",
        "stages": [
            {"stage": "download", "state": "DONE", "tries": 2},
            {"stage": "asr", "state": "PENDING"},
            {"name": "report", "state": "PENDING"},
        ],
    }
    job.manifest.write_text(json.dumps(theirs))
    run(job, "06_asr")
    run(job, "07_tts")
    document = read(job)
    assert [of.get("stage", of.get("name")) for of in document["stages"]] == ["asr", "tts", "download", "report"]
    assert document["stages"][2] == theirs["stages"][0]
    assert document["pipeline"] == {"name": "speech"}
    assert document["status"] == "success"
    assert document["foreign"] == {"status": "submitted"}


def test_overwritten_manifest_comes_back(job):
    """Where another program overwrites the file, ours is there again with the next stage, and theirs in it."""
    run(job, "06_asr")
    job.manifest.write_text('{"owner": "them", "stages": []}')
    run(job, "07_tts")
    assert states(job) == {"asr": "success", "tts": "success"}
    assert read(job)["owner"] == "them"


@pytest.mark.parametrize("text", ["not json", "[1, 2]", '"text"', "[" * 5000, ""])
def test_file_that_is_no_object(job, text):
    """What stands there and is no JSON object is moved aside, not lost."""
    job.root.mkdir()
    job.manifest.write_text(text)
    run(job, "06_asr")
    assert states(job) == {"asr": "success"}
    assert (job.root / "manifest.foreign").read_text() == text


# Cost.


@pytest.fixture
def readings(monkeypatch) -> list[str]:
    """Note which stages' journals an update reads; a stage's own thread looks at the attempt before it, too."""
    noted: list[str] = []
    plain = status.read_summary

    def read_summary(stage, attempt):
        if threading.current_thread() is threading.main_thread():
            noted.append(f"{stage.name} {attempt}")
        return plain(stage, attempt)

    monkeypatch.setattr(status, "read_summary", read_summary)
    return noted


def test_only_what_changed_is_read_again(job, readings):
    """An update reads the journals of the stages that said something since the last one, and of no other."""
    for number in range(1, 6):
        run(job, f"{number:02d}_s{number}")
    readings.clear()
    registry.update(job)
    assert readings == []
    io = run(job, "03_s3", None)
    readings.clear()
    io.add_warning("something")
    registry.update(job)
    assert readings == ["s3 2"]
    readings.clear()
    io.finalize()
    assert readings == ["s3 2"]


def test_three_hundred_stages(job):
    """A job of 300 stages is kept up to date in a fraction of a second."""
    run(job, "00_stage0")
    told = (job.root / "00_stage0" / ".stageio" / "001" / "events.jsonl").read_text()
    number_of = '"stageio.stage.number","value":{"intValue":"'
    for number in range(1, 300):
        attempt = job.root / f"{number:02d}_stage{number}" / ".stageio" / "001"
        attempt.mkdir(parents=True)
        theirs = told.replace(f'{number_of}0"', f'{number_of}{number}"').replace('"stage0"', f'"stage{number}"')
        (attempt / "events.jsonl").write_text(theirs)
    registry.update(job)
    assert len(read(job)["completed_stages"]) == 300
    began = time.process_time()
    registry.update(job)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"01_a": {}}',
        '{"01_a": ["x", 0, 0, "a", 1, 1, 1, 1, "success", 1, false, "", "", 0, []]}',
        '{"01_a": [1, 0]}',
        None,
    ],
)
def test_cache_that_says_nothing(job, monkeypatch, text):
    """What is kept for the next process may be deleted or torn at any time: the journals are read again."""
    run(job, "01_a")
    run(job, "02_b", "failed")
    before = read(job)
    cache = job.inner / CACHE
    if text is None:
        cache.unlink()
    else:
        cache.write_text(text)
    monkeypatch.setattr(registry, "_memory", [])
    registry.update(job)
    assert read(job) == before
    assert set(json.loads(cache.read_text())) == {"01_a", "02_b"}


def test_cache_of_a_stage_made_anew(job, monkeypatch):
    """A stage's folder that was removed and made anew is read, however alike its journal is."""
    run(job, "01_a", "failed")
    job_cache = (job.inner / CACHE).read_text()
    shutil.rmtree(job.root / "01_a")
    io = run(job, "01_a", None)
    (job.inner / CACHE).write_text(job_cache)
    monkeypatch.setattr(registry, "_memory", [])
    registry.update(job)
    assert states(job) == {"a": "running"}
    io.finalize()


def test_new_attempt_is_seen_before_its_first_record(job):
    """An attempt that was only claimed when somebody looked is found as soon as it says something."""
    run(job, "01_a", "failed")
    io = run(job, "02_b", None)
    later = job.root / "01_a" / ".stageio" / "002"
    later.mkdir()
    registry.update(job)
    assert states(job) == {"a": "failed", "b": "running"}
    told = (job.root / "01_a" / ".stageio" / "001" / "events.jsonl").read_text().splitlines(keepends=True)
    started = told[0].replace(
        '"stageio.stage.attempt","value":{"intValue":"1"}', '"stageio.stage.attempt","value":{"intValue":"2"}'
    )
    (later / "events.jsonl").write_text(started)
    registry.update(job)
    (entry,) = [of for of in read(job)["stages"] if of["stage"] == "a"]
    assert (entry["attempt"], entry["status"]) == (2, "abandoned")
    io.finalize()


# A process that changes stage after stage.


@pytest.fixture
def looks(monkeypatch) -> list[str]:
    """Note the folders of the stages that are looked at."""
    noted: list[str] = []
    plain = registry._look_at

    def look_at(stage, folder, before, found, *, own):
        noted.append(folder)
        plain(stage, folder, before, found, own=own)

    monkeypatch.setattr(registry, "_look_at", look_at)
    monkeypatch.setattr(registry, "_memory", [])
    return noted


def in_whole(job: JobLayout) -> dict:
    """The job manifest as a look at all stages, which remembers nothing, makes it."""
    return json.loads(dump(registry.compose(job, registry.look(job, {}), {})))


def test_only_own_and_unended_stages_are_looked_at(job, looks):
    """A stage among many costs a look at itself and at those without an end when it opens and when it ends."""
    for number in range(1, 31):
        run(job, f"{number:02d}_s{number}")
    running = run(job, "31_running", None)
    looks.clear()
    run(job, "32_last")
    assert sorted(looks) == ["31_running", "31_running", "32_last", "32_last"]
    running.finalize()
    assert read(job) == in_whole(job)


def test_files_that_an_update_opens(job):
    """One more update opens as many files in a job of forty stages as in one of two."""
    counts = []
    opened: list[str] = []
    sys.addaudithook(_audit)
    _auditing.append(lambda path: opened.append(path) if str(job.root) in path else None)
    try:
        for number in range(1, 41):
            opened.clear()
            run(job, f"{number:02d}_s{number}")
            counts.append(len(opened))
    finally:
        _auditing.clear()
    assert counts[1] > 0
    assert counts[39] == counts[1]


def test_stages_json_is_written_at_the_end_of_a_stage(job):
    """A stage that starts changes nothing that the next process would not read again; its end does."""
    run(job, "01_a")
    cache = job.inner / CACHE
    before = cache.stat().st_ino, cache.read_bytes()
    io = run(job, "02_b", None)
    assert (cache.stat().st_ino, cache.read_bytes()) == before
    io.finalize()
    assert list(json.loads(cache.read_text())) == ["01_a", "02_b"]


def test_a_stage_that_died_is_found_by_who_remembers(job, looks):
    """A stage of another process that was killed is dead with the next update, though that looks at few."""
    for name in ("01_a", "02_b", "03_c"):
        run(job, name)
    child = os.fork()
    if child == 0:
        run(job, "02_b", None)
        time.sleep(60)
    while states(job)["b"] != "running":
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    looks.clear()
    run(job, "04_d")
    assert states(job)["b"] == "abandoned"
    assert set(looks) == {"02_b", "04_d"}


def test_a_stage_that_died_before_its_first_update(job, monkeypatch):
    """A new attempt of an ended stage that is killed before it writes the job manifest is found all the same."""
    run(job, "01_a")
    run(job, "02_b")
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(registry, "update", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        run(job, "01_a", None)
    os.waitpid(child, 0)
    assert states(job) == {"a": "success", "b": "success"}
    run(job, "03_c")
    assert states(job) == {"a": "abandoned", "b": "success", "c": "success"}


def test_changes_of_other_processes_are_seen(job):
    """What another process starts, ends or contradicts is in the next job manifest of one that remembers."""
    for name in ("01_a", "02_b", "03_c"):
        run(job, name)

    def contradict() -> str:
        io = run(job, "03_c")
        io.finalize("failed")
        return "contradicted"

    in_new_process(lambda: run(job, "02_b", "failed").stage_name)
    in_new_process(lambda: run(job, "07_g").stage_name)
    in_new_process(contradict)
    run(job, "08_h")
    document = read(job)
    assert document == in_whole(job)
    assert {of["stage"]: of["attempt"] for of in document["stages"]} == {"a": 1, "b": 2, "c": 2, "g": 1, "h": 1}


def test_stages_that_come_and_go_in_many_processes(job):
    """Processes that each run stage after stage at once leave every stage in the job manifest, as a whole look does."""

    def stages(process: int) -> str:
        for number in range(8):
            run(job, f"{process:02d}_p{process}s{number % 5}", "failed" if number == 3 else "success")
        return "ended"

    assert in_processes(6, stages) == ["ended"] * 6
    assert len(states(job)) == 30
    assert read(job) == in_whole(job)


def test_foreign_lines_stay_while_stages_are_remembered(job):
    """What another program writes between two updates is kept, and its line goes when a stage of its name comes."""
    for name in ("01_a", "02_b", "03_c"):
        run(job, name)
    document = read(job)
    document["stages"].append({"name": "e", "state": "PENDING"})
    document["owner"] = "them"
    job.manifest.write_text(json.dumps(document))
    run(job, "01_a")
    run(job, "02_b")
    assert read(job)["owner"] == "them"
    assert read(job)["stages"][3:] == [{"name": "e", "state": "PENDING"}]
    run(job, "05_e")
    assert states(job) == {"a": "success", "b": "success", "c": "success", "e": "success"}


def test_a_job_made_anew_in_the_same_folder(job):
    """Of a job folder that was removed and made again nothing is remembered."""
    for name in ("01_a", "02_b"):
        run(job, name, "failed")
    shutil.rmtree(job.root)
    run(job, "02_b")
    assert states(job) == {"b": "success"}
    assert read(job) == in_whole(job)


@pytest.mark.parametrize("damage", ["removed", "emptied", "a folder"])
def test_without_the_file_of_changes(job, damage):
    """Where nobody can say what changed all stages are looked at."""
    run(job, "01_a")
    run(job, "02_b")
    told = job.inner / f"{changes.CHANGES}{host.name()}"
    in_new_process(lambda: run(job, "01_a", "failed").stage_name)
    told.unlink()
    if damage == "emptied":
        told.touch()
    elif damage == "a folder":
        told.mkdir()
    run(job, "03_c")
    assert states(job) == {"a": "failed", "b": "success", "c": "success"}
    assert open_job(job.root).manifest("c")["degraded"] == []


def test_an_unchanged_manifest_is_not_written(job):
    """An update that finds nothing new leaves both files as they are."""
    run(job, "01_a")
    files = (job.manifest, job.inner / CACHE)
    before = [path.stat().st_ino for path in files]
    registry.update(job, "01_a")
    registry.update(job)
    assert [path.stat().st_ino for path in files] == before


# What is not there.


def test_removed_stage(job):
    """A stage whose folder is removed is gone from the manifest with the next change."""
    run(job, "01_a", "failed")
    run(job, "02_b")
    shutil.rmtree(job.root / "01_a")
    run(job, "03_c")
    assert states(job) == {"b": "success", "c": "success"}
    assert read(job)["status"] == "success"


def test_folders_that_are_no_stages(job):
    """Folders of other programs, files with a stage's name and stages without a record are passed over."""
    run(job, "01_a")
    (job.root / "02_empty").mkdir()
    (job.root / "03_empty" / ".stageio" / "001").mkdir(parents=True)
    (job.root / "4_other").mkdir()
    (job.root / "05_file").write_text("")
    (job.root / "data").mkdir()
    run(job, "06_b")
    assert states(job) == {"a": "success", "b": "success"}


def test_job_without_stages(job):
    """Where no stage left a record there is nothing to write."""
    job.inner.mkdir(parents=True)
    registry.update(job)
    assert not job.manifest.exists()


@pytest.mark.parametrize("answer", [None, False])
def test_without_the_lock(job, monkeypatch, answer):
    """On a file system without locks, and where somebody keeps the lock, the manifest is written all the same."""
    monkeypatch.setattr(registry, "LOCK_PATIENCE", 0.01)
    plain = locks._take
    monkeypatch.setattr(
        locks, "_take", lambda fd: answer if os.readlink(f"/dev/fd/{fd}").endswith("out/.stageio/lock") else plain(fd)
    )
    run(job, "01_a")
    run(job, "02_b")
    assert states(job) == {"a": "success", "b": "success"}
    assert open_job(job.root).manifest("a")["degraded"] == []


def test_a_foreign_folder_whose_name_could_be_no_stage(tmp_path: Path):
    """A folder with a number and a name too long for a stage of ours keeps no stage from opening, nor a reader."""
    (tmp_path / "out" / f"6_{'x' * 253}").mkdir(parents=True)
    StageIO("asr", "out").finalize()
    assert [row["stage"] for row in open_job("out").stages] == ["asr"]
    assert states(JobLayout(tmp_path / "out")) == {"asr": "success"}


def test_a_run_that_is_gone_back_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A stage that went on to another run still counts in the one that is gone back to by its name."""
    for name, stage, ends in (("x", "a", "success"), ("y", "a", "failed"), ("x", "b", "success")):
        monkeypatch.setenv("STAGEIO_RUN", name)
        StageIO(stage, "out", stages=["a", "b"]).finalize(ends)
    document = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (document["run"], document["status"], document["completed_stages"]) == (1, "success", ["a", "b"])
    assert [(stage["stage"], stage["run"], stage["status"]) for stage in document["stages"]] == [
        ("a", 2, "failed"),
        ("b", 1, "success"),
    ]


def test_a_signal_handler_may_end_a_stage_while_another_one_is_noted(job, monkeypatch):
    """The handler does not wait for the lock of the thread that it interrupted, and both ends are in the manifest."""
    first, second = (run(job, name, end=None) for name in ("first", "second"))
    before = signal.signal(signal.SIGUSR1, lambda *_: second.finalize())
    write = registry._write_manifest

    def struck(*args: object) -> object:
        monkeypatch.setattr(registry, "_write_manifest", write)
        signal.raise_signal(signal.SIGUSR1)
        return write(*args)

    monkeypatch.setattr(registry, "_write_manifest", struck)
    waited: list[float] = []
    wait = locks._wait
    monkeypatch.setattr(locks, "_wait", lambda fd, timeout: waited.append(timeout) or wait(fd, timeout))
    first.finalize()
    signal.signal(signal.SIGUSR1, before)
    assert states(job) == {"first": "success", "second": "success"}
    assert len(waited) == 2  # one after the other


@pytest.mark.parametrize(("at", "value"), [(3, 5), (3, None), (4, "x"), (6, "x"), (8, None), (9, "1"), (10, 1)])
def test_a_stages_json_of_other_values_is_read_as_empty(job, at, value):
    """Whoever changed it, the next process says in the job manifest what the journals say."""
    run(job, "first")
    cache = job.inner / "stages.json"
    document = json.loads(cache.read_bytes())
    document["01_first"][at] = value
    cache.write_text(json.dumps(document))
    registry._memory.clear()
    run(job, "second")
    assert states(job) == {"first": "success", "second": "success"}
    assert read(job)["stages"][0]["stage_number"] == 1
