"""The end of a stage: what finalize decides, what comes after it, and what of it is on disk."""

from __future__ import annotations

import enum
import json
import os
import sys
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from otel_stageio import StageIO, StageRunningError, StatusError, open_job
from otel_stageio.job import registry
from otel_stageio.journal import reader
from otel_stageio.record import background, lifecycle
from otel_stageio.record.processes import exits
from otel_stageio.views.manifest import dump

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The job folder."""
    return tmp_path / "out"


@pytest.fixture
def opened(out: Path) -> Callable[..., StageIO]:
    """Open stage 6, asr, of the job folder."""

    def open_stage(**options) -> StageIO:
        return StageIO("asr", out, stage_number=6, **options)

    return open_stage


@pytest.fixture
def io(opened) -> StageIO:
    """An open stage."""
    return opened()


@pytest.fixture
def soon(monkeypatch) -> None:
    """Let interim manifests follow at once."""
    monkeypatch.setattr(background, "_PAUSE", 0.01)
    monkeypatch.setattr(background, "_COST_FACTOR", 0)


def written(io: StageIO) -> dict:
    """Read manifest.json."""
    return json.loads(io.manifest_path.read_bytes())


def spans(io: StageIO, attempt: int = 1) -> list:
    """Read the spans of an attempt."""
    return list(reader.spans(str(io.stage_dir / ".stageio" / f"{attempt:03d}" / "traces.jsonl")))


def events(io: StageIO, attempt: int = 1) -> list:
    """Read the events of an attempt."""
    return list(reader.log_records(str(io.stage_dir / ".stageio" / f"{attempt:03d}" / "events.jsonl")))


def job_manifest(io: StageIO) -> dict:
    """Read the job's manifest.json."""
    return json.loads((io.job_dir / "manifest.json").read_bytes())


def wait_until(holds: Callable[[], bool]) -> bool:
    """Wait for ten seconds at most; tell whether it holds then."""
    until = time.monotonic() + 10
    while not holds() and time.monotonic() < until:
        time.sleep(0.005)
    return holds()


@pytest.fixture
def threads() -> Callable[[], list[str]]:
    """Tell which threads there are that were not there before the test."""
    before = set(threading.enumerate())
    return lambda: [thread.name for thread in threading.enumerate() if thread not in before]


# What finalize decides.


@pytest.mark.parametrize(
    ("status", "listed", "job", "code"),
    [
        ("success", "completed_stages", "success", 0),
        ("failed", "failed_stages", "failed", 2),
        ("skipped", "skipped_stages", "success", 0),
    ],
)
def test_status(io, status, listed, job, code):
    """The status is in the manifest, on the span, in the job manifest and in its list."""
    io.finalize(status)
    (span,) = spans(io)
    assert written(io)["status"] == status
    assert (span.attributes["stageio.status"], span.status_code) == (status, code)
    assert job_manifest(io)["status"] == job
    assert job_manifest(io)[listed] == ["asr"]


def test_finalize_alone_is_success(io):
    """Without arguments the stage succeeded: completed, timed, measured."""
    io.finalize()
    manifest = written(io)
    started, completed = (
        datetime.fromisoformat(manifest[key].replace("Z", "+00:00")) for key in ("started_at", "completed_at")
    )
    assert manifest["status"] == "success"
    assert manifest["duration_seconds"] == pytest.approx((completed - started).total_seconds(), abs=2e-6)
    assert "reason" not in manifest
    assert list(manifest["resources"]) == ["wall_seconds", "cpu_seconds", "cpu_percent", "peak_memory_mb"]


@pytest.mark.parametrize("status", ["done", "SUCCESS", "running", "abandoned", "", None, 1, ["success"]])
def test_unknown_status(io, status):
    """A status that finalize does not know is an error that names those it knows; the stage stays open."""
    with pytest.raises(StatusError) as raised:
        io.finalize(status)
    for known in ("success", "failed", "skipped", repr(status)):
        assert known in str(raised.value)
    assert io.manifest["status"] == "running"
    io.finalize("failed", reason="known")
    assert (written(io)["status"], written(io)["warnings"]) == ("failed", [])


def test_status_of_an_enum(io):
    """A member of a text enum is the text that it equals."""
    io.finalize(enum.Enum("Status", {"OK": "skipped"}, type=str).OK)
    assert written(io)["status"] == "skipped"


def test_reason_is_on_top_and_extras_are_below(io):
    """`reason` stands at the top of the manifest; any other keyword is under `extra`, whatever it is."""
    io.finalize(
        "skipped", reason="no audio", error="none", exit_code=3, segments_count=12, model={"name": "m", "size": (1, 2)}
    )
    manifest = written(io)
    assert list(manifest)[:5] == ["schema_version", "stage", "stage_number", "status", "reason"]
    assert manifest["reason"] == "no audio"
    assert manifest["extra"] == {
        "error": "none",
        "exit_code": 3,
        "segments_count": 12,
        "model": {"name": "m", "size": [1, 2]},
    }


@pytest.mark.parametrize("error", [np.array([1, 2]), np.array([]), float("nan"), "\udc80", object, {"a": 1}, b"\xff"])
def test_extras_are_never_refused(io, error):
    """Extras of any kind are recorded, also those that have no truth value."""
    io.finalize("failed", error=error)
    assert "error" in written(io)["extra"]
    assert written(io)["status"] == "failed"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda io: io.finalize("failed"), None),
        (lambda io: io.finalize("failed", error="disk full"), "disk full"),
        (lambda io: io.finalize("failed", error=None), None),
        (lambda io: (io.add_error("first"), io.add_error("last"), io.finalize("failed")), "last"),
        (lambda io: io.finalize("failed", error="disk full", reason="given"), "given"),
        (lambda io: (io.add_error("no reason"), io.finalize("success")), None),
    ],
)
def test_reason_of_a_failure(io, end, reason):
    """A failure without a reason takes the best that is known: the `error` that was passed, the last error noted."""
    end(io)
    assert written(io).get("reason") == reason
    (span,) = spans(io)
    assert span.status_message == (reason or "")


# The exception that is being handled.


def fail(io: StageIO, beside: Callable[[Exception], object] = lambda _: None) -> dict:
    """Finalize as failed while an exception is handled, after `beside`; give manifest.json."""
    try:
        raise_error("boom")
    except ValueError as caught:
        beside(caught)
        io.finalize("failed")
    return written(io)


def raise_error(text: str) -> None:
    """Raise a ValueError."""
    raise ValueError(text)


def test_finalize_in_except_records_the_exception(io):
    """The card's Quick Start does not fail blind: type, message and traceback are in the errors and in stage.log."""
    manifest = fail(io)
    (error,) = manifest["errors"]
    assert manifest["reason"] == "ValueError: boom"
    assert (error["message"], error["exception_type"], error["exception_message"]) == (
        "ValueError: boom",
        "ValueError",
        "boom",
    )
    assert error["stacktrace"].endswith("raise ValueError(text)\nValueError: boom")
    log = io.stage_log.read_text()
    assert log.count("[asr] [DEBUG] ValueError: boom") == 1
    assert log.count("Traceback (most recent call last)") == 1
    assert not list(io.logs_dir.iterdir())  # at DEBUG: stage.log only


def test_add_error_already_did(io):
    """What add_error(message, exception) recorded is not recorded again by finalize."""
    manifest = fail(io, lambda caught: io.add_error("Failed to read", caught))
    assert [error["message"] for error in manifest["errors"]] == ["Failed to read"]
    assert io.stage_log.read_text().count("Traceback (most recent call last)") == 1


def test_logged_already(io):
    """A traceback that was logged is not written to stage.log again; the errors have the exception."""
    manifest = fail(io, lambda _: io.get_stage_logger().exception("Failed"))
    assert [error["exception_type"] for error in manifest["errors"]] == ["ValueError"]
    assert io.stage_log.read_text().count("Traceback (most recent call last)") == 1


def test_message_alone_is_another_error(io):
    """An add_error without the exception does not stand for it."""
    manifest = fail(io, lambda caught: io.add_error(f"Failed: {caught}"))
    assert [error["message"] for error in manifest["errors"]] == ["Failed: boom", "ValueError: boom"]


@pytest.mark.parametrize("status", ["success", "skipped"])
def test_only_a_failure_has_an_exception(io, status):
    """A finalize in an except block with another status records no exception: it was dealt with."""
    try:
        raise_error("dealt with")
    except ValueError:
        io.finalize(status)
    assert written(io)["errors"] == []


def test_exception_of_an_outer_stage(opened, out):
    """An exception that the inner stage recorded is recorded by the outer one as well, which has its own log."""
    outer = StageIO("outer", out, stage_number=1)
    with pytest.raises(ValueError, match="boom"), outer, opened():
        raise ValueError("boom")
    assert [error["message"] for error in written(outer)["errors"]] == ["ValueError: boom"]
    assert outer.stage_log.read_text().count("Traceback (most recent call last)") == 1


# After the end.


def test_first_finalize_decides(io):
    """A later finalize changes neither status nor reason, extras, times, resources or span; it is a warning."""
    io.finalize("success", kept=1)
    before, span = written(io), spans(io)
    io.finalize("failed", reason="changed my mind", lost=2)
    io.refresh()
    after = written(io)
    (warning,) = after.pop("warnings")
    assert (before.pop("warnings"), after) == ([], before)
    assert warning["message"] == "1 call after the stage was finalized, contradicting its status"
    assert [call["call"] for call in warning["calls"]] == ["finalize"]
    assert spans(io) == span


def test_late_calls_are_journaled_whole(io):
    """Each call after the end is in the journal with all that was said, under the stage's trace and span."""
    io.finalize()
    (span,) = spans(io)
    io.add_warning("late warning")
    io.track_output(io.get_output_path("late.txt"), "text", lines=3)
    io.add_metric("wer", 0.1)
    io.finalize("failed", reason="why", extra=1)
    late = [event for event in events(io) if "stageio.late" in event.attributes]
    assert [event.attributes["stageio.late"] for event in late] == [
        "add_warning",
        "track_output",
        "add_metric",
        "finalize",
    ]
    assert {(event.trace_id, event.span_id) for event in events(io)} == {(span.trace_id, span.span_id)}
    assert late[0].body == "late warning"
    assert late[1].attributes["stageio.artifact.metadata.lines"] == 3
    assert late[3].attributes["stageio.reason"] == "why"
    assert late[3].attributes["stageio.extra.extra"] == 1


def test_late_calls_are_one_warning(io):
    """Late calls are counted as one kind of warning, the first 100 listed; what they brought is in the manifest."""
    io.finalize()
    for number in range(150):
        io.add_config(f"key{number}", number)
    io.refresh()
    (warning,) = written(io)["warnings"]
    assert warning["message"] == "150 calls after the stage was finalized"
    assert len(warning["calls"]) == 100
    assert written(io)["config"]["key149"] == 149


@pytest.mark.parametrize(
    ("late", "calls"),
    [
        (lambda io, path: io.track_input(path), ["track_input"]),  # missing: with a warning and a log record of ours
        (lambda io, path: (path.write_bytes(bytes(2 << 20)), io.track_output(path)), ["track_output"]),  # digest later
        (lambda io, _: fail(io), ["finalize"]),  # with an error and a log record of ours
        (lambda io, _: io.get_stage_logger().info("no call"), []),
    ],
)
def test_what_is_found_out_is_no_call(io, late, calls):
    """What a late call finds out beside it (a warning, a digest, a traceback) is not counted as a call of its own."""
    io.finalize()
    late(io, io.get_output_path("file"))
    io.refresh()
    listed = [each["call"] for of in written(io)["warnings"] for each in of.get("calls", ())]
    assert listed == calls
    assert io.manifest_path.read_bytes() == dump(open_job(io.job_dir).manifest("asr"))


def test_manifest_follows_late_calls(threads, io, soon):
    """manifest.json follows by itself, on a thread that is gone again afterwards."""
    io.finalize()
    assert threads() == []
    io.add_warning("late")
    assert wait_until(lambda: len(written(io)["warnings"]) == 2)
    assert wait_until(lambda: threads() == [])
    io.add_warning("later")
    assert wait_until(lambda: len(written(io)["warnings"]) == 3)
    assert wait_until(lambda: threads() == [])
    assert io.manifest_path.read_bytes() == dump(open_job(io.job_dir).manifest("asr"))


def test_nothing_is_owed_after_a_plain_end(threads, io):
    """A stage without calls after its end leaves nothing to be written when the process ends, and no thread."""
    io.finalize()
    assert id(io) not in exits._owed
    assert threads() == []


def test_exit_writes_what_is_owed(io):
    """A late call that the interim rule had no time for is in manifest.json when the process ends."""
    io.finalize()
    io.add_warning("late")
    assert written(io)["warnings"] == []
    exits._at_exit()
    assert len(written(io)["warnings"]) == 2


def test_newer_attempts_manifest_stays(opened, soon):
    """Calls to an attempt that has ended never touch the manifest.json of a newer one."""
    old = opened()
    old.finalize("failed")
    new = opened()
    before = written(new)
    old.add_warning("late")
    old.finalize("success")
    old.refresh()
    time.sleep(0.1)
    assert written(new) == before
    assert before["attempt"] == 2
    new.finalize()
    old.finalize("skipped", save_manifest=False)
    assert (written(new)["attempt"], written(new)["status"]) == (2, "success")
    assert [event.event_name for event in events(old)].count("stageio.stage.finished") == 3


@pytest.mark.parametrize(("second", "job"), [("success", "success"), ("skipped", "failed"), ("failed", "failed")])
def test_contradiction_makes_the_job_failed(io, second, job):
    """A second finalize that says otherwise makes the job's status failed; the stage's own stays."""
    io.finalize("success")
    io.finalize(second)
    assert job_manifest(io)["status"] == job
    assert [stage["status"] for stage in job_manifest(io)["stages"]] == ["success"]


def test_log_records_after_the_end_reach_all_places(io, capsys):
    """Logging goes on after finalize: stage.log, pipeline log, console, journal, and the counts."""
    logger = io.get_stage_logger()
    io.finalize()
    logger.info("after the end")
    (pipeline,) = io.logs_dir.iterdir()
    line = "[asr] [INFO] after the end\n"
    assert io.stage_log.read_text().endswith(line)
    assert pipeline.read_text().endswith(line)
    assert capsys.readouterr().err.endswith(line)
    assert [row["message"] for row in open_job(io.job_dir).logs()] == ["after the end"]
    io.refresh()
    assert written(io)["log_counts"]["INFO"] == 1


def test_ends_at_once_from_many_threads(io):
    """Of finalize calls made at once one ends the stage; the others are late calls, all of them on record."""
    barrier = threading.Barrier(8)

    def end(number):
        barrier.wait()
        io.finalize("success", number=number)

    racing = [threading.Thread(target=end, args=(number,)) for number in range(8)]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join()
    io.refresh()
    finished = [event for event in events(io) if event.event_name == "stageio.stage.finished"]
    assert len(finished) == 8
    assert {event.attributes["stageio.extra.number"] for event in finished} == set(range(8))
    assert len(spans(io)) == 1
    assert written(io)["warnings"][0]["message"] == "7 calls after the stage was finalized"
    assert io.manifest_path.read_bytes() == dump(open_job(io.job_dir).manifest("asr"))


# manifest.json


def test_manifest_is_the_fold_of_the_journal(io, tmp_path, soon):
    """After all kinds of calls, before and after the end, manifest.json is byte for byte what the journal says."""
    source = tmp_path / "in.wav"
    source.write_bytes(b"RIFF")
    io.track_input(source, "audio", rate=16000)
    io.track_input(tmp_path / "missing.wav")
    io.save_json({"text": "hello"}, "a.json")
    io.track_output(io.get_output_path("a.json"), "json", type="transcript")
    io.track_output(io.get_output_path("never.json"))
    io.track_intermediate(io.get_cache_path("x"), retained=True, reason="cache")
    io.track_output("s3://key:secret@bucket/object", "audio")
    io.set_config({"model": "m", "nested": {"b": b"\xff", "inf": float("inf")}})
    io.add_metric("wer", 0.25)
    io.add_warning("careful \udc80")
    io.add_error("broken", ValueError("x"))
    io.set_resources(gpu="none", wall_seconds=1)
    io.get_stage_logger().error("logged %s", "twice")
    io.finalize("success", reason="done", extra={"a": [1, None]})
    io.add_warning("late")
    io.finalize("failed")
    io.refresh()
    assert io.manifest_path.read_bytes() == dump(open_job(io.job_dir).manifest("asr"))
    assert written(io) == dict(io.manifest)
    assert written(io)["resources"]["wall_seconds"] == 1


def test_save_manifest_false_leaves_no_manifest(io, soon):
    """With save_manifest=False no manifest.json stays, not even that of the running stage; the journal is whole."""
    assert written(io)["status"] == "running"
    io.finalize("success", save_manifest=False, segments_count=3)
    assert not io.manifest_path.exists()
    assert open_job(io.job_dir).manifest("asr")["extra"] == {"segments_count": 3}
    assert len(spans(io)) == 1
    assert job_manifest(io)["completed_stages"] == ["asr"]
    io.add_warning("late")
    io.refresh()
    time.sleep(0.05)
    assert not io.manifest_path.exists()


def test_save_manifest_false_without_a_manifest(opened):
    """Where there is no manifest anyway, save_manifest=False changes nothing."""
    io = opened(enable_manifest=False)
    io.finalize("success", save_manifest=False)
    assert not io.manifest_path.exists()
    assert open_job(io.job_dir).manifest("asr")["degraded"] == []


def test_without_manifest(opened):
    """With enable_manifest=False nothing but manifest.json and the artifacts is missing."""
    io = opened(enable_manifest=False)
    io.get_stage_logger().info("hello")
    io.finalize("failed", reason="why")
    assert not io.manifest_path.exists()
    assert (len(spans(io)), job_manifest(io)["failed_stages"]) == (1, ["asr"])
    assert [row["message"] for row in open_job(io.job_dir).logs()] == ["hello"]


def test_nothing_is_written_with_mode_off(opened, out):
    """With mode="off" a stage ends as any, in memory."""
    io = opened(mode="off")
    io.finalize("skipped", reason="off", kept=1)
    io.finalize("failed")
    assert (io.manifest["status"], io.manifest["reason"], io.manifest["extra"]) == ("skipped", "off", {"kept": 1})
    assert not out.exists()


def test_measured_resources_do_not_replace_what_was_set(io):
    """What set_resources said of a key is not overwritten by what is measured."""
    io.set_resources(peak_memory_mb=7, gpu="none")
    io.finalize()
    resources = written(io)["resources"]
    assert (resources["peak_memory_mb"], resources["gpu"]) == (7, "none")
    assert resources["wall_seconds"] >= 0


def test_all_is_on_the_disk_when_finalize_returns(io, monkeypatch):
    """The journal is brought to the disk first, then manifest.json before its name, then the folders' names."""
    synced = []
    plain = os.fsync

    def fsync(descriptor):
        synced.append(os.path.basename(os.readlink(f"/dev/fd/{descriptor}")))
        plain(descriptor)

    io.get_stage_logger().info("hello")
    monkeypatch.setattr(os, "fsync", fsync)
    io.finalize()
    assert set(synced[:4]) == {"events.jsonl", "logs.jsonl", "traces.jsonl", "stage.log"}
    assert synced[4].startswith("99_pipeline")
    assert synced[5] == "001"
    assert synced[6].endswith(".tmp")
    assert synced[7:] == ["06_asr"]


# What is let go, and what trouble costs.


def test_stage_may_be_opened_again_after_its_end(opened):
    """The stage's lock is held until finalize, and free afterwards."""
    io = opened()
    with pytest.raises(StageRunningError, match="this one"):
        opened()
    io.finalize("failed")
    again = opened()
    again.finalize()
    assert [row["status"] for row in open_job(io.job_dir).attempts()] == ["failed", "success"]


@pytest.mark.parametrize("name", ["_judge_outputs", "_settle_digests"])
def test_own_trouble_at_the_end_stays_ours(io, monkeypatch, capsys, name):
    """What breaks in us while a stage ends is one line on stderr and in `degraded`; the stage ends."""

    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(io, name, broken)
    io.finalize()
    assert written(io)["status"] == "success"
    assert written(io)["degraded"] == ["cannot settle the artifacts: RuntimeError: a bug"]
    assert capsys.readouterr().err == "otel-stageio: cannot settle the artifacts: RuntimeError: a bug\n"


def test_broken_job_manifest_stays_ours(io, monkeypatch, capsys):
    """A job manifest that cannot be written is told once, and the stage's own manifest says so when it is due."""

    def broken(*_):
        raise OSError("no space left")

    monkeypatch.setattr(registry, "update", broken)
    io.finalize()
    io.finalize()
    exits._at_exit()
    assert capsys.readouterr().err.count("cannot write the job manifest: OSError: no space left\n") == 1
    assert written(io)["degraded"] == ["cannot write the job manifest: OSError: no space left"]
    assert io.manifest_path.read_bytes() == dump(open_job(io.job_dir).manifest("asr"))


def test_resources_that_cannot_be_measured(io, monkeypatch):
    """Where the system does not tell what was used, the manifest goes without."""
    monkeypatch.setattr(io._usage, "read", lambda: 1 / 0)
    io.finalize()
    assert written(io)["resources"] == {}
    assert written(io)["degraded"] == ["cannot measure the stage's resources: ZeroDivisionError: division by zero"]


def test_interrupted_end(opened, monkeypatch):
    """Ctrl-C while the files are brought to the disk: the success stands, the lock is free, exit writes the rest."""
    io = opened()
    with monkeypatch.context() as patch:
        patch.setattr(io._recorder, "sync", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            io.finalize()
    assert written(io)["status"] == "running"
    exits._at_exit()
    assert (written(io)["status"], written(io)["warnings"]) == ("success", [])
    opened().finalize()


def test_uncaught_exception_after_another_one(io):
    """An exception that nobody caught contradicts a success once; a further one is on record all the same."""
    io.finalize()
    for text in ("late", "later"):
        io.contradict(ValueError(text))
    io.refresh()
    manifest = written(io)
    assert [error["message"] for error in manifest["errors"]] == ["ValueError: late", "ValueError: later"]
    assert manifest["warnings"][0]["message"] == "2 calls after the stage was finalized, contradicting its status"
    assert [call["call"] for call in manifest["warnings"][0]["calls"]] == ["uncaught exception"] * 2


def test_close_failed_is_for_open_stages(io):
    """What ends open stages leaves one that has ended as it is."""
    io.finalize("success")
    io.close_failed("not finalized")
    io.refresh()
    assert (written(io)["status"], written(io)["warnings"]) == ("success", [])


def test_success_waits_for_git_and_the_rest_does_not(opened, monkeypatch):
    """A success waits a moment for what git says; an end that nobody chose does not."""
    asked = []

    class Probe:
        def result(self, patience):
            asked.append(patience)
            return {"vcs.ref.head.revision": "0" * 40}

        def close(self):
            asked.append("closed")

    for end, patience in ((lambda io: io.finalize(), lifecycle._GIT_PATIENCE), (lambda io: io.close_failed("x"), 0)):
        io = opened()
        monkeypatch.setattr(io, "_git", Probe())
        end(io)
        assert asked == [patience, "closed"]
        assert written(io)["git"] == {"commit": "0" * 40}
        io.refresh()
        assert asked == [patience, "closed"]
        asked.clear()


def test_an_exception_after_a_failure_is_on_record(opened):
    """Within `with`, an exception after finalize("failed") is told as a late error, and not lost."""

    def run(io: StageIO):
        with io:
            io.finalize("failed", reason="bad")
            raise RuntimeError("the real cause")

    io = opened()
    with pytest.raises(RuntimeError):
        run(io)
    io.refresh()
    assert [error["message"] for error in written(io)["errors"]] == ["RuntimeError: the real cause"]
    assert written(io)["reason"] == "bad"


def test_an_exit_code_after_a_skip_contradicts_it(opened):
    """sys.exit(4) within `with` after a skip is on record, and makes the pipeline's status failed."""

    def run(io: StageIO):
        with io:
            io.finalize("skipped")
            sys.exit(4)

    io = opened()
    with pytest.raises(SystemExit):
        run(io)
    assert io._recorder.summary.contradicted
    (call,) = io.manifest["warnings"][0]["calls"]
    assert (call["call"], call["status"], call["reason"]) == ("finalize", "failed", "exit code 4")
    assert json.loads((io.job_dir / "manifest.json").read_text())["status"] == "failed"


def test_a_closed_generator_is_no_failure(opened):
    """A consumer that stops early closes the generator, which ends the stage well."""
    io = opened()

    def numbers():
        with io:
            yield 1
            yield 2

    next(generator := numbers())
    generator.close()
    assert io._recorder.state.status == "success"
