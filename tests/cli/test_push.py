"""stageio push: what it sends, what it says and how it exits, whatever the backend and the folder are like."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.cli import rounds
from otel_stageio.job import locks
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import reader
from otel_stageio.ship import push
from otel_stageio.ship.sources import sources
from tests.cli.conftest import record
from tests.conftest import clean_environment
from tests.ship.records import arrived, on_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command
    from tests.ship.backend import Answers


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, but for as long as the destination asked to wait."""
    monkeypatch.setattr(rounds, "pause", lambda tries, wait: max(0.02, wait))


def attempt(job: Path) -> Path:
    """The folder of the first stage's attempt."""
    return job / "01_stage1" / ".stageio" / "001"


def test_all_is_sent_once_and_told(stageio: Command, job: Path, server: Answers) -> None:
    """Every record arrives; a second push has nothing to send, says so and exits with 0, too."""
    first = stageio("push", job, "--endpoint", server.url)
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines() == [
        f"{job}: sent 3 spans and 6 log records",
        f"{server.url} has everything that it takes",
    ]
    assert arrived(server) == on_disk(JobLayout(job))
    asked = len(server.asked)
    again = stageio("push", job, "--endpoint", server.url)
    assert (again.code, again.out) == (0, f"nothing to send: {server.url} has everything that it takes\n")
    assert len(server.asked) == asked


def test_many_jobs_below_one_folder(stageio: Command, tmp_path: Path, server: Answers) -> None:
    """Each job at any depth is sent, and one that is named twice is sent once."""
    jobs = [record(tmp_path / "jobs" / each, stages=1) for each in ("a", "b/c")]
    ran = stageio("push", tmp_path / "jobs", jobs[0], "--endpoint", server.url, "--json")
    assert [each["path"] for each in json.loads(ran.out)["jobs"]] == [str(each) for each in jobs]
    assert arrived(server) == sorted(on_disk(JobLayout(jobs[0])) + on_disk(JobLayout(jobs[1])))


def test_endpoint_of_the_environment(
    stageio: Command, job: Path, server: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --endpoint the standard variables say where."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    assert stageio("push", job).code == 0
    assert arrived(server) == on_disk(JobLayout(job))


def test_json(stageio: Command, job: Path, server: Answers) -> None:
    """The document says for each signal what became of its records; nothing else is on stdout."""
    ran = stageio("push", job, "--endpoint", server.url, "--json")
    document = json.loads(ran.out)
    (of_job,) = document["jobs"]
    assert (document["complete"], of_job["taken"], of_job["failed"]) == (True, [], None)
    assert of_job["deliveries"] == [
        {
            "signal": name,
            "destination": server.url,
            "delivered": count,
            "rejected": 0,
            "refused": 0,
            "waiting": 0,
            "not_taken": None,
            "refused_why": [],
            "below_level": 0,
            "unreadable": 0,
            "waiting_why": None,
        }
        for name, count in (("traces", 3), ("logs", 6))
    ]


def test_dry_run(stageio: Command, job: Path, server: Answers) -> None:
    """What would be sent is counted for each signal, and nothing is sent or written."""
    before = sorted(map(str, job.rglob("*")))
    ran = stageio("push", job, "--endpoint", server.url, "--dry-run")
    assert [line.split() for line in ran.out.splitlines()[2:4]] == [
        [str(job), "traces", server.url, "3"],
        [str(job), "logs", server.url, "6"],
    ]
    document = json.loads(stageio("push", job, "--endpoint", server.url, "--dry-run", "--json").out)
    assert [each["waiting"] for each in document["jobs"][0]["deliveries"]] == [3, 6]
    assert (document["dry_run"], server.asked, sorted(map(str, job.rglob("*")))) == (True, [], before)


def test_one_signal(stageio: Command, job: Path, server: Answers) -> None:
    """With --signal only that one is sent, and the other one later."""
    stageio("push", job, "--endpoint", server.url, "--signal", "traces")
    assert {path for path, *_ in server.asked} == {"/v1/traces"}
    stageio("push", job, "--endpoint", server.url)
    assert arrived(server) == on_disk(JobLayout(job))


def test_since(stageio: Command, job: Path, server: Answers) -> None:
    """What began before is left on disk."""
    ran = stageio("push", job, "--endpoint", server.url, "--since", "2999-01-01")
    assert (ran.code, server.asked) == (0, [])
    assert stageio("push", job, "--endpoint", server.url, "--since", "2h").out.startswith(f"{job}: sent 3 spans")


def test_unsampled(stageio: Command, tmp_path: Path, server: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans of a trace that was not sampled are sent with --unsampled only."""
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-00")
    job = record(tmp_path / "out", stages=1)
    assert stageio("push", job, "--endpoint", server.url).out.startswith(f"{job}: sent 3 log records\n")
    assert stageio("push", job, "--endpoint", server.url, "--unsampled").out.startswith(f"{job}: sent 1 span\n")


def test_level(stageio: Command, tmp_path: Path, server: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """STAGEIO_SHIP_LEVEL keeps DEBUG from the backend, in the plan and in the push, and that is told."""
    io = StageIO("asr", tmp_path / "out", stage_number=1)
    io.get_stage_logger().debug("a detail")
    io.get_stage_logger().info("hello")
    io.finalize()
    monkeypatch.setenv("STAGEIO_SHIP_LEVEL", "INFO")
    planned = json.loads(stageio("push", "out", "--endpoint", server.url, "--dry-run", "--json").out)
    ran = stageio("push", "out", "--endpoint", server.url)
    assert [each["waiting"] for each in planned["jobs"][0]["deliveries"]] == [2, 3]
    assert ran.out.splitlines()[:2] == [
        "out: sent 2 spans and 3 log records",
        "1 log record below STAGEIO_SHIP_LEVEL: on disk only",
    ]


def test_a_signal_that_is_not_taken_is_a_line(stageio: Command, job: Path, server: Answers) -> None:
    """Jaeger takes no logs: that is told, and no failure."""
    server.paths["/v1/logs"] = 404
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[1] == f"{server.url} does not take logs (HTTP 404 Not Found): they stay on disk"


def test_what_takes_no_signal_is_no_backend(stageio: Command, job: Path, server: Answers) -> None:
    """Where nothing is ever taken, as with /v1/traces in the endpoint, the push ends with 1 and doubts the address."""
    server.status = 404
    ran = stageio("push", job, "--endpoint", f"{server.url}/v1/traces")
    assert (ran.code, "everything" in ran.out) == (1, False)
    said = "takes neither traces nor logs: is this an OTLP receiver's address, with no path?"
    assert ran.err == f"stageio: {server.url} {said}\n"
    assert json.loads(stageio("push", job, "--endpoint", f"{server.url}/x", "--json").out)["complete"] is False
    server.status = 200
    server.asked.clear()
    assert stageio("push", job, "--endpoint", server.url).code == 0
    assert arrived(server) == on_disk(JobLayout(job))


def test_a_backend_that_is_busy_is_tried_again(stageio: Command, job: Path, server: Answers) -> None:
    """What was put off is sent in the same push, without a repeat."""
    server.first = [503, 429, 503, 503]
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.err) == (0, f"stageio: {server.url}: HTTP 503 Service Unavailable: trying again\n")
    server.asked = server.asked[4:]
    assert arrived(server) == on_disk(JobLayout(job))


def test_a_backend_that_stays_away(stageio: Command, job: Path, server: Answers) -> None:
    """After --wait seconds the push ends with 1 and says what waits; the same command sends it later."""
    server.status = 503
    ran = stageio("push", job, "--endpoint", server.url, "--wait", 0)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"stageio: waiting for {server.url} (HTTP 503 Service Unavailable): 3 spans and 6 log records; "
        "the same command sends what waits\n"
    )
    assert len(server.asked) == 2
    server.status, server.asked = 200, []
    assert stageio("push", job, "--endpoint", server.url).code == 0
    assert arrived(server) == on_disk(JobLayout(job))


def test_the_backends_own_wait_is_kept(stageio: Command, job: Path, server: Answers) -> None:
    """A Retry-After beyond --wait ends the push at once."""
    server.status = 429
    server.headers["Retry-After"] = "3600"
    began = time.monotonic()
    assert stageio("push", job, "--endpoint", server.url, "--wait", 20).code == 1
    assert time.monotonic() - began < 5


def test_a_backend_that_is_away_is_asked_once_for_all_jobs(stageio: Command, tmp_path: Path, server: Answers) -> None:
    """A round over many jobs does not wait for a dead backend at each of them, and all of them wait."""
    jobs = [record(tmp_path / "jobs" / each, stages=1) for each in ("a", "b", "c")]
    server.status = 503
    ran = stageio("push", tmp_path / "jobs", "--endpoint", server.url, "--wait", 0, "--json")
    assert (ran.code, len(server.asked)) == (1, 2)
    assert [
        [each["waiting"], each["waiting_why"]]
        for of_job in json.loads(ran.out)["jobs"]
        for each in of_job["deliveries"]
    ] == [[2, "HTTP 503 Service Unavailable"], [3, "HTTP 503 Service Unavailable"]] * len(jobs)


def html(server: Answers) -> None:
    """A login page."""
    server.headers, server.body = {"Content-Type": "text/html"}, b"<html>Sign in"


def redirect(server: Answers) -> None:
    """Somewhere else."""
    server.status, server.headers = 302, {"Location": "http://elsewhere/"}


def denied(server: Answers) -> None:
    """No to everything."""
    server.status = 401


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        (html, "answered with text/html where OTLP was expected: a login page or a proxy's?"),
        (redirect, "HTTP 302 Found to http://elsewhere/: no OTLP endpoint"),
        (denied, "HTTP 401 Unauthorized"),
    ],
)
def test_who_answers_is_no_backend(stageio: Command, job: Path, server: Answers, answers, says: str) -> None:
    """That is told at once, without trying again; nothing counts as delivered, and nothing is lost."""
    answers(server)
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.out, "trying again" in ran.err, says in ran.err) == (1, "", False, True)
    server.status, server.headers, server.body, server.asked = 200, {}, b"", []
    assert stageio("push", job, "--endpoint", server.url).code == 0
    assert arrived(server) == on_disk(JobLayout(job))


def test_nobody_there(stageio: Command, job: Path) -> None:
    """A port where nobody listens is a line with the reason."""
    ran = stageio("push", job, "--endpoint", "http://127.0.0.1:9", "--wait", 0)
    assert (ran.code, ran.out, "Connection refused" in ran.err, "Traceback" in ran.err) == (1, "", True, False)


def test_refused_records_are_told(stageio: Command, job: Path, server: Answers) -> None:
    """Records that the backend refuses are counted with its reason, and the push exits with 1, the next one with 0."""
    server.first = [200, 400]
    first = stageio("push", job, "--endpoint", server.url, "--signal", "traces")
    assert (first.code, first.out) == (1, f"{job}: sent 2 spans\n")
    assert first.err == f"stageio: {server.url} refused 1 span: HTTP 400 Bad Request\n"
    again = stageio("push", job, "--endpoint", server.url, "--signal", "traces")
    assert (again.code, again.err) == (0, "")


def test_refused_records_before_all_others(stageio: Command, tmp_path: Path, server: Answers) -> None:
    """What is refused first holds up neither its job nor the next: once others are taken, it is set aside."""
    for name in "ab":
        record(tmp_path / name, stages=2)
    (attempt(tmp_path / "a") / "events.jsonl").unlink()  # as if it was delivered before
    only = (attempt(tmp_path / "a") / "logs.jsonl").read_bytes()
    (uid,) = re.findall(rb'"log.record.uid","value":\{"stringValue":"([^"]+)', only)
    server.poison = uid
    ran = stageio("push", tmp_path, "--endpoint", server.url, "--wait", 0)
    assert (ran.code, ran.err) == (1, f"stageio: {server.url} refused 1 log record: HTTP 400 Bad Request\n")
    expected = on_disk(JobLayout(tmp_path / "a")) + on_disk(JobLayout(tmp_path / "b"))
    assert set(arrived(server)) == set(expected)
    again = stageio("push", tmp_path, "--endpoint", server.url)
    assert (again.code, again.out) == (0, f"nothing to send: {server.url} has everything that it takes\n")


def test_rejected_records_are_told(stageio: Command, job: Path, server: Answers) -> None:
    """So are those of a partial success, with the backend's message."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

    body = ExportLogsServiceResponse()
    body.partial_success.rejected_log_records = 1
    body.partial_success.error_message = "too old"
    server.body = body.SerializeToString()
    ran = stageio("push", job, "--endpoint", server.url, "--signal", "logs")
    assert ran.code == 1
    assert ran.err == f"stageio: {server.url} refused 4 log records: too old\n"


def test_another_process_is_at_it(stageio: Command, job: Path, server: Answers) -> None:
    """What another process delivers is left to it, told, and not complete."""
    lock = locks.StageLock.acquire(str(attempt(job) / push.LOCK), {})
    ran = stageio("push", job, "--endpoint", server.url)
    lock.release()
    assert (ran.code, ran.err) == (1, f"stageio: {attempt(job)} is being delivered by another process\n")
    assert stageio("push", job, "--endpoint", server.url).code == 0
    assert arrived(server) == on_disk(JobLayout(job))


def test_broken_lines_are_counted(stageio: Command, job: Path, server: Answers) -> None:
    """Half-written and foreign lines are passed over and told; all around them arrives."""
    with (attempt(job) / "logs.jsonl").open("ab") as file:
        file.write(b'{"resourceLogs":[{"scopeLo\n\xff\xfe\x00 no json\n')
    with (attempt(job) / "traces.jsonl").open("ab") as file:
        file.write(b'{"resourceSpans":[{"scopeS')
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.err.splitlines()) == (
        0,
        [
            "stageio: 1 line of traces cannot be read: passed over",
            "stageio: 2 lines of logs cannot be read: passed over",
        ],
    )
    assert arrived(server) == on_disk(JobLayout(job))


def test_shipped_json_says_nothing(stageio: Command, job: Path, server: Answers) -> None:
    """Missing, of another shape or no JSON: everything is sent again, and nothing fails."""
    stageio("push", job, "--endpoint", server.url)
    for content in (b"", b"[]", b'{"format": 0, "files": {"logs.jsonl": 12}}', b"[" * 100_000, b"\xff"):
        server.asked = []
        for source in sources(JobLayout(job)):
            with open(os.path.join(source.folder, "shipped.json"), "wb") as file:
                file.write(content)
        ran = stageio("push", job, "--endpoint", server.url)
        assert (ran.code, ran.err, arrived(server)) == (0, "", on_disk(JobLayout(job)))


def test_cursor_past_the_end_or_of_another_file(stageio: Command, job: Path, server: Answers) -> None:
    """A file that was cut or replaced since is sent from its start, and the counts are of what was sent now."""
    io = StageIO("stage1", job, stage_number=1)
    io.finalize()
    stageio("push", job, "--endpoint", server.url)
    server.asked = []
    path = attempt(job) / "logs.jsonl"
    line = path.read_bytes()
    path.write_bytes(
        line.replace(b"hello from 1", b"bye") + line.replace(b"hello from 1", b"a longer line than before")
    )
    ran = stageio("push", job, "--endpoint", server.url, "--json")
    assert [each["delivered"] for each in json.loads(ran.out)["jobs"][0]["deliveries"]] == [0, 2]
    server.asked = []
    path.write_bytes(line[:-1].replace(b"hello", b"") + b"\n")
    ran = stageio("push", job, "--endpoint", server.url, "--json")
    assert [each["delivered"] for each in json.loads(ran.out)["jobs"][0]["deliveries"]] == [0, 1]


def test_no_job(stageio: Command, tmp_path: Path) -> None:
    """A folder that is no job is told, with the job that it is a part of where it is one."""
    (tmp_path / "empty").mkdir()
    ran = stageio("push", tmp_path / "empty", "--endpoint", "http://127.0.0.1:9")
    assert (ran.code, ran.err) == (
        2,
        f"stageio: {tmp_path}/empty is no job folder and holds none; give the folder that a stage wrote into\n",
    )
    job = record(tmp_path / "out", stages=1)
    ran = stageio("push", job / "01_stage1", "--endpoint", "http://127.0.0.1:9")
    assert (ran.code, f"it is part of the job {job}: give that" in ran.err) == (2, True)


def test_newer_format(stageio: Command, job: Path, tmp_path: Path, server: Answers) -> None:
    """A job of a newer format is told and left alone; others beside it are sent, and it counts as not done."""
    newer = record(tmp_path / "newer", stages=1)
    document = json.loads((newer / ".stageio" / "job.json").read_text())
    (newer / ".stageio" / "job.json").write_text(json.dumps({**document, "format": "9.0.0"}))
    alone = stageio("push", newer, "--endpoint", server.url)
    assert (alone.code, alone.err.count("\n"), "was written in format 9.0.0" in alone.err) == (2, 1, True)
    assert server.asked == []
    both = stageio("push", tmp_path, "--endpoint", server.url)
    assert (both.code, "was written in format 9.0.0" in both.err) == (1, True)
    assert arrived(server) == on_disk(JobLayout(job))


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"format": "1.0.0"}'])
def test_job_json_says_nothing(stageio: Command, job: Path, content: bytes) -> None:
    """A job.json that a stranger wrote is no job, in one line."""
    (job / ".stageio" / "job.json").write_bytes(content)
    ran = stageio("push", job, "--endpoint", "http://127.0.0.1:9")
    assert (ran.code, ran.err.count("\n"), "is no job folder" in ran.err) == (2, 1, True)


@pytest.mark.parametrize(
    "change",
    [
        {"created_unix_nano": "yesterday"},
        {"trace_flags": "x"},
        {"run": None},
        {"pipeline_log": "../../etc/passwd"},
    ],
)
def test_run_json_of_a_stranger(stageio: Command, job: Path, server: Answers, change: dict[str, object]) -> None:
    """A run.json with values of other types is as one that says nothing, and its span is sent."""
    path = job / ".stageio" / "runs" / "001" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    ran = stageio("push", job, "--endpoint", server.url, "--since", "3d")
    assert (ran.code, ran.err, arrived(server)) == (0, "", on_disk(JobLayout(job)))


def test_planted_links_are_not_followed(stageio: Command, job: Path, tmp_path: Path, server: Answers) -> None:
    """A run or an attempt that is a link is no part of the job: nothing is read or written behind it."""
    other = record(tmp_path / "other", stages=1)
    before = sorted(map(str, other.rglob("*")))
    (attempt(job).parent / "002").symlink_to(attempt(other))
    (job / ".stageio" / "runs" / "002").symlink_to(other / ".stageio" / "runs" / "001")
    expected = on_disk(JobLayout(job))
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.err, arrived(server)) == (0, "", expected)
    assert sorted(map(str, other.rglob("*"))) == before


def test_what_a_stranger_wrote_does_nothing_to_the_terminal(stageio: Command, job: Path, server: Answers) -> None:
    """Control characters and markup, of a folder's name or a backend's answer, are shown and not obeyed."""
    moved = job.rename(job.parent / "a\x1b[31m[red]b")
    ran = stageio("push", moved, "--endpoint", server.url)
    assert ran.out.startswith(f"{job.parent}/a\\x1b[31m[red]b: sent")
    shown = stageio("push", moved, "--endpoint", server.url, "--dry-run")
    assert "a\\x1b[31m[red]b" in shown.out


@pytest.mark.parametrize("name", ["shipped.json", "logs.jsonl"])
def test_one_folder_holds_up_no_other(stageio: Command, job: Path, server: Answers, name: str) -> None:
    """What is no file of ours where one should be is told, once and with its path; the other stages arrive."""
    (attempt(job) / name).unlink(missing_ok=True)
    (attempt(job) / name).mkdir()
    other = next((job / "02_stage2" / ".stageio").glob("0*"))
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.err.count(str(attempt(job) / name)), "Traceback" in ran.err) == (1, 1, False)
    expected = {str(of.attributes[names.LOG_RECORD_UID]) for of in reader.log_records(str(other / "events.jsonl"))}
    assert expected < set(arrived(server))
    again = json.loads(stageio("push", job, "--endpoint", server.url, "--json").out)
    assert (again["complete"], str(attempt(job)) in again["jobs"][0]["failed"]) == (False, True)


def test_folder_that_cannot_be_written(stageio: Command, job: Path, server: Answers, monkeypatch) -> None:
    """Where the cursor cannot be kept the push of that job ends with a line and 1, and tries no more."""

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system", str(job))

    monkeypatch.setattr(locks.StageLock, "acquire", refuse)
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.out, server.asked) == (1, "", [])
    assert ran.err == f"stageio: {job}: [Errno 30] Read-only file system: '{job}'\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no endpoint is set: give --endpoint URL, or set OTEL_EXPORTER_OTLP_ENDPOINT"),
        (["--endpoint", "no url"], "'no url' is no URL with http:// or https:// and a host"),
        (["--endpoint", "ftp://a"], "'ftp://a' is no URL"),
        (["--endpoint", "http://:1", "--signal", "logs"], "'http://:1' is no URL"),
        (["--endpoint", "http://a", "--signal", "metrics"], "'metrics' is not one of"),
        (["--endpoint", "http://a", "--since", "soon"], "'soon' is no time"),
        (["--endpoint", "http://a", "--wait", "-1"], "-1 is not in the range"),
        (["--endpoint", "http://a", "--compress"], "No such option"),
        (["--endpoint", "http://a", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_what_cannot_be_begun(stageio: Command, job: Path, arguments: list[str], says: str) -> None:
    """Each is one line on stderr that says what was wrong, and the exit code 2."""
    ran = stageio("push", job, *arguments)
    assert (ran.code, ran.out, ran.err.count("\n"), says in ran.err) == (2, "", 1, True), ran.err
    assert ran.err.startswith("stageio: ")


def test_endpoint_of_one_signal_is_no_url(
    stageio: Command, job: Path, server: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in one variable ends the push before the other signal is sent."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "localhost:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    ran = stageio("push", job)
    assert (ran.code, server.asked) == (2, [])
    assert ran.err.startswith("stageio: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT='localhost:4318' is no URL")


def test_signals_that_are_switched_off(
    stageio: Command, job: Path, server: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter named none is told as the reason why that signal is not sent; without any there is nothing to do."""
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.err) == (0, "stageio: logs are not sent: OTEL_LOGS_EXPORTER=none\n")
    assert {path for path, *_ in server.asked} == {"/v1/traces"}
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    ran = stageio("push", job, "--endpoint", server.url)
    assert (ran.code, ran.err) == (2, "stageio: nothing is to be sent: OTEL_SDK_DISABLED=true\n")


def test_certificate_that_is_not_there(stageio: Command, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exporter cannot use is a line."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem")
    ran = stageio("push", job, "--endpoint", "https://127.0.0.1:9")
    assert (ran.code, ran.err.count("\n"), "/nowhere.pem" in ran.err) == (2, 1, True)


def test_interrupted_and_gone_on(tmp_path: Path, server: Answers) -> None:
    """Ctrl-C in the middle: exit code 130 and one line; the same command sends the rest, and nothing is sent twice."""
    io = StageIO("asr", tmp_path / "out", stage_number=1)
    for number in range(9_000):
        io.get_stage_logger().info("record %d", number)
    io.finalize()
    server.first = [200, 200, *[503] * 99]
    command = [sys.executable, "-W", "error", "-m", "otel_stageio", "push", "out", "--endpoint", server.url]
    running = subprocess.Popen(
        command, env=clean_environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while len(server.asked) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    taken = server.asked[:2]
    assert (running.returncode, out, "Traceback" in err) == (130, "", False)
    assert "the same command goes on from there" in err.splitlines()[-1]
    server.first, server.asked = [], []
    ran = subprocess.run(command, env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    server.asked += taken
    assert arrived(server) == on_disk(JobLayout(tmp_path / "out"))


LIVE = """
import sys
from otel_stageio import StageIO
with StageIO("asr", "out", stage_number=1) as io:
    for number in range(200):
        io.get_stage_logger().info("record %d", number)
    print("logged", flush=True)
    sys.stdin.readline()
    io.get_stage_logger().info("the last one")
"""


def test_beside_a_live_stage(stageio: Command, tmp_path: Path, server: Answers) -> None:
    """While a stage delivers what it records, pushes of its job leave that to it: all arrives, and nothing twice."""
    stage = subprocess.Popen(
        [sys.executable, "-c", LIVE],
        env=clean_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url}),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert stage.stdout is not None
    assert stage.stdout.readline() == b"logged\n"
    during = [stageio("push", "out", "--endpoint", server.url) for _ in range(5)]
    stage.communicate(b"\n", timeout=30)
    after = stageio("push", "out", "--endpoint", server.url)
    assert ({each.code for each in during} <= {0, 1}, after.code, after.err) == (True, 0, "")
    assert arrived(server) == on_disk(JobLayout(tmp_path / "out"))
