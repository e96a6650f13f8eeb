"""How the passes of `stageio run` stand: under way, ended, dead; and what that makes of the status of a run."""

from __future__ import annotations

import json
import os
import time

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job import passes, pipelines, runs
from otel_stageio.job.layout import JobLayout
from tests.hosts import SimulatedHost
from tests.pipelines import begin, killed

SUCCESS = {names.STATUS: names.SUCCESS}
FAILED = {names.STATUS: names.FAILED, names.REASON: "exit code 3"}


@pytest.fixture
def job(tmp_path):
    """Give a job folder that is there."""
    (tmp_path / "out").mkdir()
    return JobLayout(tmp_path / "out")


def test_under_way_and_ended(job):
    """A pass is running from its beginning on, and then what its end says."""
    assert ([*passes.every(job)], passes.without_end(job)) == ([], [])
    before = time.time_ns()
    pipeline = begin(job, "nightly")
    (now,) = passes.every(job)
    assert (now.status, now.ended, now.run, now.attributes) == ("running", 0, pipeline.run, {"a": 1})
    pipeline.end(FAILED)
    (then,) = passes.every(job)
    assert (then.status, then.span_id, then.started) == ("failed", now.span_id, now.started)
    assert before <= then.started < then.ended == then.seen <= time.time_ns()
    assert (then.attributes[names.REASON], passes.without_end(job)) == ("exit code 3", [])


def test_a_run_without_stageio_run_has_none(job, tmp_path):
    """The millisecond that stands for a run is no pass."""
    StageIO("asr", tmp_path / "out").finalize()
    assert [*passes.every(job)] == []


@pytest.mark.parametrize(("at", "status"), [("running", "abandoned"), ("span written", "success")])
def test_killed(job, at, status):
    """A dead pass that nobody wrote the end of is abandoned; one that had written it is what it said, and once."""
    killed(job, at, name="nightly")
    assert [each.status for each in passes.every(job)] == [status]
    assert pipelines.write_ends(job) == 1
    assert [each.status for each in passes.every(job)] == [status]


def test_other_hosts(job):
    """A pass of another host is read where that one writes; without its end it is running as long as it shows signs."""
    begin(job, "nightly").end(SUCCESS)
    node7 = SimulatedHost("node7")
    node7.does(lambda: begin(job, "nightly").end(FAILED))
    assert sorted(each.status for each in passes.every(job)) == ["failed", "success"]
    node7.dies_after(lambda: begin(job, "nightly"))
    (there,) = passes.without_end(job)
    assert (there.status, passes.stands(job, there.run, 0)) == ("running", "running")
    os.utime(job.pipelines_dir / there.span_id, (1, 1))
    (there,) = passes.without_end(job)
    assert (there.status, there.seen, there.silent > 1e6) == ("lost", there.started, True)


def test_strangers(job):
    """What is no file of ours in that folder is no pass, and one whose run was never begun is none either."""
    begin(job, "nightly").end(SUCCESS)
    (job.pipelines_dir / "notes.txt").write_text("[]")
    (job.pipelines_dir / ("b" * 16)).write_text("{}")
    assert [each.status for each in passes.every(job)] == ["success"]


def test_what_they_make_of_the_run(job):
    """Running while one is under way, then what the last came to, and nothing once a stage followed that."""
    first = begin(job, "nightly")
    run = first.run
    assert passes.stands(job, run, time.time_ns()) == "running"
    first.end(FAILED)
    at = time.time_ns()
    assert (passes.stands(job, run, 0), passes.stands(job, run, at)) == ("failed", "")
    outer, inner = begin(job, "nightly"), begin(job, "nightly")
    inner.end(FAILED)
    assert passes.stands(job, run, 0) == "running"
    outer.end(SUCCESS)
    assert (passes.stands(job, run, 0), passes.stands(job, run, time.time_ns())) == ("success", "")
    other = begin(job, "other")
    assert (passes.stands(job, run, 0), passes.stands(job, other.run, 0)) == ("success", "running")
    other.end(SUCCESS)


def test_what_a_dead_one_makes_of_the_run(job):
    """Dead is failed, whether its end was written or not; what was killed after that is what it had said."""
    killed(job, "running", name="nightly")
    (dead,) = passes.every(job)
    found = [passes.stands(job, dead.run, since) for since in (0, time.time_ns())]
    pipelines.write_ends(job)
    assert found == [passes.stands(job, dead.run, since) for since in (0, time.time_ns())] == ["failed", ""]
    killed(job, "span written", name="nightly")
    assert passes.stands(job, dead.run, 0) == "success"


def test_a_folder_that_cannot_be_read(job, tmp_path):
    """Where the passes cannot be read, the job manifest says what the stages came to."""
    StageIO("asr", tmp_path / "out").finalize()
    job.pipelines_dir.symlink_to(job.pipelines_dir)  # a circle: an error for root, too
    StageIO("mux", tmp_path / "out").finalize()
    document = json.loads(job.manifest.read_bytes())
    assert (document["status"], document["completed_stages"]) == ("success", ["asr", "mux"])
    with pytest.raises(OSError, match="symbolic links"):
        passes.stands(job, runs.read(job, 1), 0)
