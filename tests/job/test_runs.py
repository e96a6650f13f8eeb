"""Runs: which one a stage takes part in, and what a run has from the moment it is there."""

from __future__ import annotations

import json
import re
import time

import pytest

from otel_stageio.job import identity, runs
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import files, reader
from tests.processes import in_processes


@pytest.fixture
def job(tmp_path):
    """A job folder with nothing in it."""
    return JobLayout(tmp_path)


def join(job: JobLayout, name: str | None = None, *, done=()) -> runs.Run:
    """Join a run as a stage that did its work in the runs `done`."""
    return runs.join(
        job,
        name=name,
        done=lambda number: number in done,
        host="h",
        resource=lambda number: identity.resource(service="speech", instance="i", job="j", run=number),
    )


def pipeline_logs(job: JobLayout) -> list[str]:
    """Name the pipeline logs of all runs."""
    return [runs.read(job, number).pipeline_log for number in runs.numbers(job)]


def test_first_run(job):
    """The first stage begins run 1, and every other one joins it."""
    first = join(job)
    assert (first.run, first.name, first.host) == (1, None, "h")
    assert join(job) == first
    assert runs.numbers(job) == [1]
    assert runs.read(job, 1) == first


def test_done_begins_the_next_run(job):
    """A stage that did its work in the current run begins the next; one that did so in a former run joins."""
    first = join(job)
    second = join(job, done=[1])
    assert (second.run, join(job), join(job, done=[1])) == (2, second, second)
    assert second.trace_id != first.trace_id
    assert join(job, done=[1, 2]).run == 3


def test_named_run(job):
    """A name is a run: found whatever was begun since, also where the stage did its work in it; else begun."""
    nightly = join(job, "nightly")
    other = join(job, "other")
    assert (nightly.run, other.run) == (1, 2)
    assert join(job, "nightly", done=[1, 2]) == nightly
    assert join(job) == other  # without a name: the current one
    assert join(job, "nightly\n", done=[]).run == 3
    assert join(job, "").name == ""


def test_run_is_there_with_everything(job):
    """A run's folder has its run.json and its root span, which lasts a millisecond and is named after the pipeline."""
    run = join(job)
    (span,) = reader.spans(str(job.run_dir(1) / "traces.jsonl"))
    assert sorted(path.name for path in job.run_dir(1).iterdir()) == ["run.json", "traces.jsonl"]
    assert (span.trace_id, span.span_id, span.parent_span_id) == (run.trace_id, run.span_id, "")
    assert (span.name, span.kind, span.status_code) == ("speech", 1, 0)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_000_000
    assert span.attributes == {"stageio.job.id": "j", "stageio.run": 1}
    assert re.fullmatch("[0-9a-f]{32}", run.trace_id)
    assert re.fullmatch("[0-9a-f]{16}", run.span_id)


def test_span_of_a_named_run(job):
    """The root span of a named run has its name."""
    join(job, "nightly")
    (span,) = reader.spans(str(job.run_dir(1) / "traces.jsonl"))
    assert (span.name, span.attributes["stageio.run.name"]) == ("nightly", "nightly")


def test_many_processes_begin_one_run(job):
    """Processes that begin a run at once begin one, whole for all of them, named or not."""
    for name, number in ((None, 1), ("nightly", 2)):
        traces = in_processes(20, lambda _, name=name: [join(job, name).run, join(job, name).trace_id])
        assert {run for run, _ in traces} == {number}
        assert len({trace for _, trace in traces}) == 1
    assert [path.name for path in sorted(job.runs_dir.iterdir())] == ["001", "002"]


def test_somebody_was_faster(job, monkeypatch):
    """A run that another process began in between is joined, unless the stage did its work in that one, too."""
    plain = files.claim_filled_folder
    theirs = []

    def late(path, content):
        monkeypatch.setattr(files, "claim_filled_folder", plain)
        theirs.append(join(job, done=[1]))
        return plain(path, content)

    assert join(job).run == 1
    monkeypatch.setattr(files, "claim_filled_folder", late)
    assert join(job, done=[1]) == theirs[0]
    assert runs.numbers(job) == [1, 2]


def test_pipeline_log_is_named_after_the_time(job):
    """The pipeline log's name is the local time at which the run began; the file appears with its first line."""
    before = time.time()
    run = join(job)
    at = re.fullmatch(r"logs/99_pipeline_(\d{8}_\d{6})\.log", run.pipeline_log)[1]
    assert before - 1 <= time.mktime(time.strptime(at, "%Y%m%d_%H%M%S")) <= time.time()
    assert not (job.root / run.pipeline_log).exists()


def test_runs_within_a_second_have_logs_of_their_own(job, monkeypatch):
    """However many runs begin within a second, and whether they wrote or not, each has another pipeline log."""
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    for number in range(5):
        join(job, f"run {number}")
    assert len(set(pipeline_logs(job))) == 5
    monkeypatch.setattr(time, "time_ns", lambda: now + 1_000_000_000)
    join(job, "a second later")
    assert re.fullmatch(r"logs/99_pipeline_\d{8}_\d{6}\.log", pipeline_logs(job)[-1])


def test_log_of_somebody_else_is_not_taken(job, monkeypatch):
    """A file of that name that is there already is left alone, as after a clock was set back."""
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    at = time.strftime("%Y%m%d_%H%M%S", time.localtime(now // 1_000_000_000))
    job.logs_dir.mkdir()
    (job.logs_dir / f"99_pipeline_{at}.log").write_text("theirs")
    assert join(job).pipeline_log == f"logs/99_pipeline_{at}_001.log"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"run": 1}'])
def test_run_json_that_says_nothing(job, text):
    """A run whose run.json is torn is nobody's: the next number is begun."""
    job.run_dir(1).mkdir(parents=True)
    (job.run_dir(1) / "run.json").write_text(text)
    assert runs.read(job, 1) is None
    assert join(job).run == 2


def test_unknown_keys_are_passed_over(job):
    """A run.json of a newer minor version is read."""
    run = join(job)
    path = job.run_dir(1) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "future": 1}))
    assert join(job) == run


def test_strangers_among_the_runs(job):
    """What is no number in the folder of the runs is no run."""
    join(job)
    (job.runs_dir / "notes").mkdir()
    (job.runs_dir / ".abc.tmp").mkdir()
    assert runs.numbers(job) == [1]


def test_no_runs(job):
    """A job without runs has none, and no run of any number."""
    assert runs.numbers(job) == []
    assert runs.read(job, 1) is None
