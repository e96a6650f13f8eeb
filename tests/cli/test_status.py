"""stageio status: every attempt as it stands, and what of it is where, without touching anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from otel_stageio import StageIO, open_job
from otel_stageio.ship import push
from tests.cli.conftest import record
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Command
    from tests.ship.backend import Answers

KILLED = """
import time
from otel_stageio import StageIO
io = StageIO("asr", "out", stage_number=2)
print("open", flush=True)
time.sleep(60)
"""


def lines(text: str) -> list[list[str]]:
    """The lines of a text as their words."""
    return [line.split() for line in text.splitlines() if line.strip()]


def deliveries(stageio: Command, job: Path, *arguments: str) -> list[tuple[object, ...]]:
    """What the document says of a job's deliveries, as rows."""
    (found,) = json.loads(stageio("status", job, "--json", *arguments).out)["jobs"]
    keys = ("signal", "destination", "delivered", "waiting", "refused", "not_taken")
    return [tuple(each[key] for key in keys) for each in found["deliveries"]]


def test_stages_with_every_attempt(stageio: Command, tmp_path: Path) -> None:
    """Success, failure with its reason and a retry are a row each."""
    job = tmp_path / "out"
    for status in ("failed", "success"):
        StageIO("asr", job, stage_number=2).finalize(status, reason="no model" if status == "failed" else None)
    ran = stageio("status", job)
    rows = lines(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert rows[0] == [str(job), "(job", f"{open_job(job).job_id})"]
    assert [[row[0], row[1], row[2], *row[7:]] for row in rows[3:5]] == [
        ["02_asr", "1", "failed", "no", "model"],
        ["02_asr", "2", "success"],
    ]
    assert rows[5] == ["nothing", "is", "delivered,", "and", "no", "endpoint", "is", "set"]


def test_items_that_did_well_are_one_row(stageio: Command, tmp_path: Path) -> None:
    """Of thousands of items the rows are those with something to tell; the document has every one."""
    job = tmp_path / "out"
    for number in range(6):
        with StageIO("asr", job, item=f"ep{number}", stage_number=2) as io:
            if number == 3:
                io.add_warning("low volume")
            if number == 4:
                io.finalize("failed", reason="no audio")
    StageIO("asr", job, item="ep4", stage_number=2).finalize()
    rows = lines(stageio("status", job).out)
    assert rows[3][:6] == ["02_asr/", "(4", "items)", "1", "success", open_job(job).attempts()[0]["started_at"][:19]]
    assert [(row[0], row[1], row[2]) for row in rows[4:-1]] == [
        ("02_asr/ep3", "1", "success"),
        ("02_asr/ep4", "1", "failed"),
        ("02_asr/ep4", "2", "success"),
    ]
    (document,) = json.loads(stageio("status", job, "--json").out)["jobs"]
    assert len(document["attempts"]) == 7


def test_running_and_killed_stages_are_told_apart(stageio: Command, tmp_path: Path) -> None:
    """A stage that is open is running, one whose process was killed is abandoned, and asking writes nothing."""
    job = tmp_path / "out"
    running = StageIO("ingest", job, stage_number=1)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], env=clean_environment(), cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    before = {path: os.stat(path).st_mtime_ns for path in job.rglob("*") if path.suffix == ".json"}
    document = json.loads(stageio("status", job, "--json").out)
    after = {path: os.stat(path).st_mtime_ns for path in job.rglob("*") if path.suffix == ".json"}
    running.finalize()
    assert [each["status"] for each in document["jobs"][0]["attempts"]] == ["running", "abandoned"]
    assert before == after


def test_attempts_of_the_document_are_those_of_python(stageio: Command, job: Path) -> None:
    """The rows are Job.attempts()."""
    (found,) = json.loads(stageio("status", job, "--json").out)["jobs"]
    assert (found["path"], found["job_id"]) == (str(job), open_job(job).job_id)
    assert found["attempts"] == open_job(job).attempts()


def test_what_is_delivered_and_what_waits(stageio: Command, job: Path, server: Answers) -> None:
    """By destination: what was pushed, what came since, and, at the endpoint that is set now, what it would get."""
    stageio("push", job, "--endpoint", server.url)
    StageIO("late", job, stage_number=3).finalize()
    other = "http://other:4318"
    assert deliveries(stageio, job, "--endpoint", other) == [
        ("traces", server.url, 3, 1, 0, None),
        ("logs", server.url, 6, 2, 0, None),
        ("traces", other, 0, 4, 0, None),
        ("logs", other, 0, 8, 0, None),
    ]
    shown = lines(stageio("status", job, "--endpoint", other).out)
    assert ["traces", server.url, "3", "1", "0"] in shown


def test_a_signal_that_is_not_taken_does_not_wait(stageio: Command, job: Path, server: Answers) -> None:
    """What the destination said is there instead, for all folders of the job."""
    server.paths["/v1/logs"] = 404
    stageio("push", job, "--endpoint", server.url)
    assert deliveries(stageio, job) == [
        ("traces", server.url, 3, 0, 0, None),
        ("logs", server.url, 0, 0, 0, "HTTP 404 Not Found"),
    ]
    assert "not taken: HTTP 404 Not Found" in stageio("status", job).out


def test_only_signals_that_went_there(stageio: Command, job: Path, server: Answers) -> None:
    """A destination that got spans only is not said to wait for logs."""
    stageio("push", job, "--endpoint", server.url, "--signal", "traces")
    assert [each[0] for each in deliveries(stageio, job)] == ["traces"]


def test_signals_that_were_meant_to_go_there(stageio: Command, job: Path, server: Answers) -> None:
    """Where a stage noted a destination and got no further, both signals wait, though the run's span is there."""
    stageio("push", job, "--endpoint", server.url, "--signal", "traces")
    for each in job.glob("*/.stageio/001"):
        (each / "shipped.json").unlink()
        push.intend(str(each), {"traces": server.url, "logs": server.url})
    assert [each[:4] for each in deliveries(stageio, job)] == [("traces", server.url, 1, 2), ("logs", server.url, 0, 6)]


def test_refused_records_stay_told(stageio: Command, job: Path, server: Answers) -> None:
    """What a backend refused is counted for good."""
    server.first = [200, 400]
    stageio("push", job, "--endpoint", server.url, "--signal", "traces")
    assert deliveries(stageio, job) == [("traces", server.url, 2, 0, 1, None)]


def test_level(stageio: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records below STAGEIO_SHIP_LEVEL do not wait."""
    io = StageIO("asr", tmp_path / "out", stage_number=1)
    io.get_stage_logger().debug("a detail")
    io.finalize()
    monkeypatch.setenv("STAGEIO_SHIP_LEVEL", "INFO")
    assert [each[3] for each in deliveries(stageio, tmp_path / "out", "--endpoint", "http://a")] == [2, 2]


def test_many_jobs_and_one_that_cannot_be_read(stageio: Command, tmp_path: Path) -> None:
    """Each job is shown; one of a newer format is a line on stderr, and the exit code says that not all is there."""
    for each in ("a", "b", "c"):
        record(tmp_path / "jobs" / each, stages=1)
    broken = tmp_path / "jobs" / "b" / ".stageio" / "job.json"
    broken.write_text('{"format": "9.0.0", "job_id": "x"}')
    ran = stageio("status", tmp_path / "jobs", "--json")
    assert [each["path"] for each in json.loads(ran.out)["jobs"]] == [str(tmp_path / "jobs" / each) for each in "ac"]
    assert (ran.code, ran.err.count("\n"), "format 9.0.0" in ran.err) == (1, 1, True)
    assert stageio("status", tmp_path / "jobs" / "b").code == 2


def test_journal_of_a_stranger(stageio: Command, job: Path) -> None:
    """Torn and endless lines, control characters and markup are no trouble for the table or for a terminal."""
    with (job / "01_stage1" / ".stageio" / "001" / "events.jsonl").open("ab") as file:
        file.write(b'{"resourceLogs":[{"scop\n' + b"\x00" * 100_000)
    (job / "03_[red]\x1b").mkdir()
    StageIO("[bold]name", job, stage_number=4).finalize("skipped", reason="[red]\x1b[31m")
    ran = stageio("status", job)
    assert (ran.code, ran.err) == (0, "")
    assert "04_[bold]name" in ran.out
    assert "[red]\\x1b[31m" in ran.out


def test_endpoint_that_is_no_url(stageio: Command, job: Path) -> None:
    """That is told, and what is known is shown all the same."""
    ran = stageio("status", job, "--endpoint", "nonsense")
    assert (ran.code, "is no URL" in ran.err, "01_stage1" in ran.out) == (0, True, True)


def test_reader_that_goes_away(job: Path) -> None:
    """`stageio status | head` ends without a word, as other programs do."""
    command = [sys.executable, "-m", "otel_stageio", "status", str(job)]
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(command, env=clean_environment(), stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, "")


def test_asking_is_quick(stageio: Command, job: Path) -> None:
    """A job of two stages is told within a moment."""
    began = time.monotonic()
    stageio("status", job)
    assert time.monotonic() - began < 2
