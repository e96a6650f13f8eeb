from __future__ import annotations

import os
import time

import pytest

from otel_stageio import conventions as names
from otel_stageio.job import pipelines, runs
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import reader
from tests.hosts import SimulatedHost
from tests.pipelines import begin, killed
from tests.processes import in_processes

CALLER = runs.Ids("a" * 32, "b" * 16)


@pytest.fixture
def job(tmp_path):
    """Give a job folder that is there."""
    (tmp_path / "out").mkdir()
    return JobLayout(tmp_path / "out")


def spans(job, run):
    """The spans in a run's folder."""
    return list(reader.spans(str(job.run_dir(run) / "traces.jsonl")))


def test_a_run_of_its_own(job):
    """A pipeline begins a run whose root span is written at its end, with the time that it took."""
    before = time.time_ns()
    pipeline = begin(job)
    assert (pipeline.run.run, spans(job, 1), len(os.listdir(job.pipelines_dir))) == (1, [], 1)
    pipeline.end({names.STATUS: names.SUCCESS})
    (span,) = spans(job, 1)
    assert (span.trace_id, span.span_id, span.parent_span_id) == (pipeline.run.trace_id, pipeline.run.span_id, "")
    assert before <= span.start_time_unix_nano < span.end_time_unix_nano <= time.time_ns()
    assert span.attributes == {names.JOB_ID: "f00d", names.RUN: 1, "a": 1, names.STATUS: names.SUCCESS}
    assert (span.name, span.status_code, os.listdir(job.pipelines_dir)) == ("speech", 0, [])
    assert begin(job).run.run == 2


def test_failure(job):
    """The span of a pipeline that failed says so, with the reason."""
    pipeline = begin(job, "nightly")
    pipeline.end({names.STATUS: names.FAILED, names.REASON: "exit code 3"})
    (span,) = spans(job, 1)
    assert (span.name, span.status_code, span.status_message) == ("nightly", 2, "exit code 3")


def test_in_the_trace_of_a_caller(job):
    """A pipeline that is called in a trace begins a run in it, with a span below the caller's."""
    pipeline = begin(job, parent=CALLER._replace(trace_state="a=b"))
    assert pipeline.traceparent == f"00-{'a' * 32}-{pipeline.run.span_id}-01"
    assert (pipeline.run.trace_id, pipeline.trace_state) == ("a" * 32, "a=b")
    pipeline.end({names.STATUS: names.SUCCESS})
    (span,) = spans(job, 1)
    assert (span.parent_span_id, span.flags, span.trace_state) == ("b" * 16, 0x300, "a=b")


def test_the_same_name_goes_on_in_the_run(job):
    """A pipeline of a name that is on record has a span of its own, below the run's; and so has one within another."""
    first = begin(job, "nightly")
    inner = begin(job, "nightly", runs.Ids(first.run.trace_id, first.run.span_id))
    inner.end({names.STATUS: names.SUCCESS})
    first.end({names.STATUS: names.SUCCESS})
    again = begin(job, "nightly")
    again.end({names.STATUS: names.SUCCESS})
    assert [each.run.run for each in (first, inner, again)] == [1, 1, 1]
    assert [span.parent_span_id for span in spans(job, 1)] == [first.run.span_id, "", first.run.span_id]
    assert {span.trace_id for span in spans(job, 1)} == {first.run.trace_id}


def test_the_same_name_on_another_host(job):
    """Each host writes a file of its own: appending is not whole between hosts. A dead one's end goes there, too."""
    begin(job, "nightly").end({names.STATUS: names.SUCCESS})
    node7 = SimulatedHost("node7")
    node7.does(lambda: begin(job, "nightly").end({names.STATUS: names.FAILED, names.REASON: "exit code 3"}))
    node7.does(lambda: killed(job, "running", name="nightly"))
    found = (node7.does(lambda: pipelines.write_ends(job)), pipelines.write_ends(job))
    (member,) = job.run_members(1)
    theirs = list(reader.spans(str(member / "traces.jsonl")))
    assert (found, member.name, [span.attributes[names.STATUS] for span in spans(job, 1)]) == (
        (1, 0),
        "node7",
        [names.SUCCESS],
    )
    assert [span.attributes[names.STATUS] for span in theirs] == [names.FAILED, names.ABANDONED]
    assert {span.parent_span_id for span in theirs} == {spans(job, 1)[0].span_id}


@pytest.mark.parametrize(
    ("at", "found", "statuses"), [("no run", 0, []), ("running", 1, ["abandoned"]), ("span written", 1, ["success"])]
)
def test_killed(job, at, found, statuses):
    """Wherever a pipeline is killed, whoever comes next writes its span, once, and cleans up."""
    killed(job, at)
    assert (pipelines.write_ends(job), pipelines.write_ends(job)) == (found, 0)
    made = spans(job, 1)
    assert ([span.attributes[names.STATUS] for span in made], os.listdir(job.pipelines_dir)) == (statuses, [])
    if at == "running":
        assert made[0].span_id == runs.read(job, 1).span_id
        assert made[0].status_message.startswith("the process ended without a word; last sign of it at 20")
        assert 0 < made[0].end_time_unix_nano - made[0].start_time_unix_nano < 60_000_000_000


@pytest.mark.parametrize("clock", [300.0, -300.0])
def test_killed_on_a_host_whose_clock_is_wrong(job, clock):
    """The span of one that was killed lasts as long as it did, and not as far as the file system's clock is away."""
    node7 = SimulatedHost("node7", clock=clock)
    node7.dies_after(lambda: begin(job))
    assert node7.does(lambda: pipelines.write_ends(job)) == 1
    (span,) = spans(job, 1)
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10e9


def test_killed_in_a_run_that_was_there(job):
    """The span of a pipeline that went on in a run and was killed is written into that run."""
    begin(job, "nightly").end({names.STATUS: names.SUCCESS})
    begin(job).end({names.STATUS: names.SUCCESS})
    killed(job, "running", name="nightly")
    assert pipelines.write_ends(job) == 1
    assert [span.attributes[names.STATUS] for span in spans(job, 1)] == ["success", "abandoned"]


def test_what_runs_is_left_alone(job):
    """A pipeline that runs, one of another host, and what is none of ours are left as they are."""
    pipeline = begin(job)
    path = job.pipelines_dir / pipeline.run.span_id
    (job.pipelines_dir / ("c" * 16)).write_text(
        path.read_text().replace(pipeline.run.span_id, "c" * 16).replace(os.uname().nodename, "elsewhere")
    )
    (job.pipelines_dir / "notes").write_text("mine")
    assert (pipelines.write_ends(job), len(os.listdir(job.pipelines_dir))) == (0, 3)
    pipeline.end({names.STATUS: names.SUCCESS})
    assert len(spans(job, 1)) == 1


def test_many_find_the_same_dead(job):
    """Processes that find a dead pipeline at once write its span once."""
    killed(job, "running")
    assert sum(in_processes(10, lambda _: pipelines.write_ends(job))) == 1
    assert len(spans(job, 1)) == 1


def test_no_pipelines(job):
    """A job without any has none that died."""
    assert pipelines.write_ends(job) == 0
