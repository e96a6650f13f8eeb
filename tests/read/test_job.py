"""Reading a job back: rows for programs and people, of stages that run, ended, died or are lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from otel_stageio import JobFormatError, StageIO, open_job, open_jobs
from otel_stageio.views.manifest import dump
from tests.processes import in_processes

if TYPE_CHECKING:
    from pathlib import Path

STAGE_KEYS = [
    *("stage", "stage_number", "item", "status", "reason", "run", "run_name", "attempt", "started_at", "completed_at"),
    *("duration_seconds", "folder", "inputs", "outputs", "intermediate_files", "warnings", "errors"),
    *("trace_id", "span_id", "host", "pid", "silent_seconds"),
]
LOG_KEYS = [
    *("timestamp", "stage", "stage_number", "item", "attempt", "level", "severity_number", "message"),
    *("step", "logger", "file", "line", "function", "thread", "exception_type", "exception_message", "stacktrace"),
    *("trace_id", "span_id"),
]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The job folder."""
    return tmp_path / "out"


def story(out: Path) -> None:
    """Run a pipeline of three stages, one of them twice."""
    with StageIO("ingest", out, stage_number=1) as io:
        io.save_json({"a": 1}, "a.json")
        io.track_output(io.get_output_path("a.json"), "json", lines=1)
        io.get_stage_logger().info("ingested", extra={"files": 3})
    for status in ("failed", "success"):
        io = StageIO("asr", out, stage_number=6)
        io.track_input(io.get_input_path("a.json"), "json", stage="vocals", size_bytes="huge")
        io.track_intermediate(io.get_cache_path("x"), retained=True, reason="cache")
        io.get_stage_logger().debug("trying")
        io.add_warning("careful")
        io.finalize(status, reason=f"it was a {status}")
    StageIO("tts", out, stage_number=7).finalize("skipped")


def die(out: Path) -> None:
    """Open stage asr in a process that is killed within a step."""
    child = os.fork()
    if child == 0:
        io = StageIO("asr", out, stage_number=6)
        with io.step("decode"):
            io.get_stage_logger().info("last words")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


# Rows.


def test_stages(out):
    """One row for each stage, its newest attempt, in the order of the numbers, all with the same keys."""
    story(out)
    rows = open_job(out).stages
    assert [list(row) for row in rows] == [STAGE_KEYS] * 3
    told = [(row["stage"], row["stage_number"], row["status"], row["reason"], row["attempt"]) for row in rows]
    assert told == [
        ("ingest", 1, "success", None, 1),
        ("asr", 6, "success", "it was a success", 2),
        ("tts", 7, "skipped", None, 1),
    ]
    counts = {key: rows[1][key] for key in ("inputs", "outputs", "intermediate_files", "warnings", "errors")}
    assert counts == {"inputs": 1, "outputs": 0, "intermediate_files": 1, "warnings": 1, "errors": 0}
    assert (rows[1]["folder"], rows[1]["pid"], rows[1]["host"]) == ("06_asr", os.getpid(), os.uname().nodename)


def test_attempts(out):
    """Every attempt has a row, the oldest first."""
    story(out)
    rows = open_job(out).attempts()
    assert [(row["stage"], row["attempt"], row["status"]) for row in rows] == [
        ("ingest", 1, "success"),
        ("asr", 1, "failed"),
        ("asr", 2, "success"),
        ("tts", 1, "skipped"),
    ]


def test_artifacts(out):
    """Each artifact is a flat row; a metadata key with a name of ours is kept apart."""
    story(out)
    rows = open_job(out).artifacts()
    assert [(row["stage"], row["role"], row["type"], row["path"]) for row in rows] == [
        ("ingest", "output", "json", "01_ingest/a.json"),
        ("asr", "input", "json", "01_ingest/a.json"),
        ("asr", "intermediate", "intermediate", "06_asr/.cache/x"),
    ]
    assert rows[0]["lines"] == 1
    assert rows[0]["checksum"] == rows[1]["checksum"] != ""
    assert (rows[1]["metadata.stage"], rows[1]["metadata.size_bytes"]) == ("vocals", "huge")
    assert isinstance(rows[1]["size_bytes"], int)
    assert (rows[2]["retained"], rows[2]["reason"], rows[2]["kind"]) == (True, "cache", "missing")


def test_logs(out):
    """Each log record of every attempt is a row, in the order of time, its extras below `extra.`."""
    story(out)
    rows = open_job(out).logs()
    assert [list(row)[: len(LOG_KEYS)] for row in rows] == [LOG_KEYS] * len(rows)
    told = [(row["stage"], row["attempt"], row["level"], row["message"]) for row in rows]
    assert told == [
        ("ingest", 1, "INFO", "ingested"),
        ("asr", 1, "DEBUG", "trying"),
        ("asr", 2, "DEBUG", "trying"),
    ]
    assert rows[0]["extra.files"] == 3
    assert rows[0]["file"] == __file__
    assert rows[0]["function"] == "story"
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)


@pytest.mark.parametrize("level", ["INFO", "info"])
def test_logs_of_a_stage_or_a_level(out, level):
    """Log records may be asked for by stage, named with or without its number, and by level."""
    story(out)
    job = open_job(out)
    assert [row["message"] for row in job.logs(level=level)] == ["ingested"]
    assert len(job.logs(stage="asr")) == len(job.logs(stage="06_asr")) == 2
    assert job.logs(stage="asr", level=level) == job.logs(stage="none") == []


def test_logs_of_steps(out):
    """A record that was made within a step says so."""
    with StageIO("asr", out, stage_number=6) as io:
        io.get_stage_logger().info("outside")
        with io.step("decode"), io.step("beam"):
            io.get_stage_logger().info("inside")
    assert [(row["message"], row["step"]) for row in open_job(out).logs()] == [
        ("outside", None),
        ("inside", "decode/beam"),
    ]


def test_logs_are_sorted_over_stages(out):
    """Records of stages that run side by side come in the order in which they were made."""
    first, second = StageIO("a", out, stage_number=1), StageIO("b", out, stage_number=2)
    for number in range(6):
        (first, second)[number % 2].get_stage_logger().info("%d", number)
    first.finalize()
    second.finalize()
    assert [row["message"] for row in open_job(out).logs()] == list("012345")


def test_pandas_takes_them_as_they_are(out):
    """pandas.DataFrame takes all rows; columns are what they are called."""
    story(out)
    job = open_job(out)
    stages, artifacts, logs = (pd.DataFrame(rows) for rows in (job.stages, job.artifacts(), job.logs()))
    assert list(stages.columns) == STAGE_KEYS
    assert stages.set_index("stage").loc["asr", "attempt"] == 2
    assert artifacts[artifacts.role == "output"]["size_bytes"].sum() == len('{\n  "a": 1\n}')
    assert list(logs[logs.level == "DEBUG"].message) == ["trying", "trying"]
    assert pd.to_datetime(stages.started_at).is_monotonic_increasing


def test_manifest(out):
    """The manifest of a stage is made from the journal and equals the file, byte for byte."""
    story(out)
    job = open_job(out)
    shutil.copy(out / "06_asr" / "manifest.json", out / "kept.json")
    (out / "06_asr" / "manifest.json").unlink()
    assert dump(job.manifest("asr")) == dump(job.manifest("06_asr")) == (out / "kept.json").read_bytes()
    with pytest.raises(KeyError):
        job.manifest("none")


def test_two_stages_of_one_name(out):
    """Of two stages of one name each is found by its number; by the name alone the later one is."""
    StageIO("02_pass", out).finalize("success")
    StageIO("05_pass", out).finalize("failed")
    job = open_job(out)
    assert [job.manifest(name)["stage_number"] for name in ("02_pass", "05_pass", "pass")] == [2, 5, 5]
    assert [row["folder"] for row in job.stages] == ["02_pass", "05_pass"]


# What runs, what died, what is lost.


def test_running_stage(out):
    """A stage is seen while it runs, from its own process and from others, with all that it said so far."""
    io = StageIO("asr", out, stage_number=6)
    io.add_warning("careful")
    io.get_stage_logger().info("hello")

    def look(_: int) -> list[object]:
        job = open_job(out)
        (row,) = job.stages
        return [row["status"], row["warnings"], row["completed_at"], [each["message"] for each in job.logs()]]

    assert look(0) == in_processes(1, look)[0] == ["running", 1, None, ["hello"]]
    io.finalize()
    assert open_job(out).stages[0]["status"] == "success"


def test_half_a_line_of_a_running_stage(out):
    """A line that is being written is not there yet; when the stage is over, what is whole of it counts."""
    io = StageIO("asr", out, stage_number=6)
    io.get_stage_logger().info("hello")
    path = io.stage_dir / ".stageio" / "001" / "logs.jsonl"
    with open(path, "ab") as file:
        file.write(path.read_bytes()[:-1].replace(b"hello", b"half"))
    assert [row["message"] for row in open_job(out).logs()] == ["hello"]
    io.finalize()
    assert [row["message"] for row in open_job(out).logs()] == ["hello", "half"]


def test_dead_stage(out):
    """A stage that was killed is abandoned; all that it said is there, and so it stays after a retry."""
    die(out)
    job = open_job(out)
    assert (job.stages[0]["status"], job.manifest("asr")["status"]) == ("abandoned", "abandoned")
    assert [(step["name"], step["status"]) for step in job.manifest("asr")["steps"]] == [("decode", "abandoned")]
    assert [row["message"] for row in job.logs()] == ["last words"]
    io = StageIO("asr", out, stage_number=6)
    assert [row["status"] for row in job.attempts()] == ["abandoned", "running"]
    io.finalize()
    assert [row["status"] for row in job.attempts()] == ["abandoned", "success"]


def test_torn_line_of_a_dead_stage(out):
    """A line that the crash tore costs itself alone."""
    die(out)
    path = out / "06_asr" / ".stageio" / "001" / "logs.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:100])
    assert [row["message"] for row in open_job(out).logs()] == ["last words"]


def test_stage_of_another_host(out):
    """A stage of another host runs while its heartbeat is seen, and is lost when it is silent."""
    die(out)
    path = out / "06_asr" / ".stageio" / "001" / "events.jsonl"
    here = json.dumps(os.uname().nodename).encode()
    path.write_bytes(path.read_bytes().replace(b'{"stringValue":%s}' % here, b'{"stringValue":"elsewhere"}'))
    lock = out / "06_asr" / ".stageio" / "lock"
    seen = []
    for silent in (5, 3600):
        os.utime(lock, (time.time() - silent,) * 2)
        seen.append((open_job(out).stages[0]["status"], open_job(out).stages[0]["host"]))
        seen.append(open_job(out).manifest("asr")["steps"][0]["status"])
    assert seen == [("running", "elsewhere"), "running", ("lost", "elsewhere"), "lost"]


def test_claimed_attempt_without_a_record(out):
    """An attempt that died before its first record is passed over."""
    StageIO("asr", out, stage_number=6).finalize("failed")
    (out / "06_asr" / ".stageio" / "002").mkdir()
    assert [(row["attempt"], row["status"]) for row in open_job(out).stages] == [(1, "failed")]


def test_reading_writes_nothing(out):
    """Reading changes no file, and no time of one."""
    story(out)
    die(out)

    def seen() -> dict[str, tuple[int, int]]:
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(out.rglob("*"))}

    before = seen()
    job = open_job(out)
    assert job.stages
    assert job.attempts()
    assert job.artifacts()
    assert job.logs()
    assert seen() == before


# Jobs.


def test_job_knows_itself(out):
    """A job has its path and its id, and says both."""
    story(out)
    job = open_job(str(out))
    assert (job.path, job.job_id) == (out, json.loads((out / "manifest.json").read_text())["job_id"])
    assert repr(job) == f"<Job {job.job_id} in {out}>"


def test_open_while_stages_come(out):
    """A job is read anew at every call."""
    StageIO("a", out, stage_number=1).finalize()
    job = open_job(out)
    assert len(job.stages) == 1
    StageIO("b", out, stage_number=2).finalize()
    assert len(job.stages) == 2


@pytest.mark.parametrize(
    "make", [lambda _: None, lambda path: path.mkdir(), lambda path: (path / ".stageio").mkdir(parents=True)]
)
def test_folder_that_is_no_job(out, make):
    """A folder without a job is an error that says which folder is meant."""
    make(out)
    with pytest.raises(JobFormatError, match=r"is no job folder.*output_base"):
        open_job(out)


def test_newer_format(out):
    """A job of a newer major version is refused with a clear word; one of a newer minor version is read."""
    story(out)
    path = out / ".stageio" / "job.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "format": "2.0"}))
    with pytest.raises(JobFormatError, match=r"format 2\.0, and this otel-stageio reads up to 1\.0"):
        open_job(out)
    path.write_text(json.dumps({**document, "format": "1.9", "future": True}))
    assert len(open_job(out).stages) == 3


def test_unknown_events_and_keys(out):
    """Records and attributes of a newer minor version are passed over."""
    story(out)
    path = out / "06_asr" / ".stageio" / "002" / "events.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    new = lines[1].replace('"eventName":"stageio.input"', '"eventName":"stageio.future","futureKey":{"a":1}')
    assert new != lines[1]
    before = open_job(out).stages
    path.write_text("".join([*lines, new]))
    assert open_job(out).stages == before


def test_folders_that_are_no_stages(out):
    """Folders of other programs in the job are passed over."""
    story(out)
    for name in ("08_other", "9_asr", "data", "08_deep/.stageio/001"):
        (out / name).mkdir(parents=True, exist_ok=True)
    (out / "10_file").write_text("")
    assert [row["folder"] for row in open_job(out).stages] == ["01_ingest", "06_asr", "07_tts"]


def test_open_jobs(tmp_path):
    """Every job at or below a folder, sorted by path; a job's own folders and hidden ones are not looked through."""
    for name in ("b/x", "a", "c/y/z", ".hidden/j"):
        StageIO("asr", tmp_path / "all" / name, stage_number=1).finalize()
    StageIO("asr", tmp_path / "all" / "a" / "inner", stage_number=1).finalize()
    (tmp_path / "all" / "no job").mkdir()
    found = [str(job.path.relative_to(tmp_path / "all")) for job in open_jobs(tmp_path / "all")]
    assert found == ["a", "b/x", "c/y/z"]
    assert [job.path for job in open_jobs(tmp_path / "all" / "a")] == [tmp_path / "all" / "a"]
    assert open_jobs(tmp_path / "all" / "no job") == []


def test_open_jobs_of_nothing(tmp_path):
    """A root that is no folder is an error of its own kind."""
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError):
        open_jobs(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        open_jobs(tmp_path / "file")
