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


def join(job: JobLayout, name: str | None = None, *, done=(), incoming: runs.Ids | None = None, **more) -> runs.Run:
    """Join a run as a stage that did its work in the runs `done`, called in the span `incoming`."""
    return runs.join(
        job,
        name=name,
        done=lambda number: number in done,
        host="h",
        resource=lambda number: identity.resource(service="speech", instance="i", job="j", run=number),
        incoming=incoming,
        **more,
    )


#: A span that a stage may be called in.
CALLER = runs.Ids("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


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


def test_a_run_begins_in_an_incoming_trace(job):
    """A run that begins in the trace of its caller takes its ids and writes no span of its own."""
    run = join(job, incoming=CALLER)
    assert (run.run, run.trace_id, run.span_id, run.trace_flags) == (1, CALLER.trace_id, CALLER.span_id, 1)
    assert [path.name for path in job.run_dir(1).iterdir()] == ["run.json"]
    assert runs.read(job, 1) == run


def test_same_trace_same_run(job):
    """An incoming trace decides: the run of that trace, done or not and whatever was begun since, else a new one."""
    first = join(job, incoming=CALLER)
    other = join(job, incoming=runs.Ids("f" * 32, "1" * 16))
    again = runs.Ids(CALLER.trace_id, "2" * 16)
    assert (first.run, other.run) == (1, 2)
    assert join(job, incoming=again, done=[1, 2]) == first
    assert join(job) == other


def test_trace_of_a_run_that_has_a_span(job):
    """A stage that is called in the trace of a run which began without a caller joins that run."""
    run = join(job)
    join(job, done=[1])
    assert join(job, incoming=runs.Ids(run.trace_id, "2" * 16)) == run


def test_name_goes_before_the_trace(job):
    """A name decides before an incoming trace; a run of a new name begins in that trace."""
    nightly = join(job, "nightly")
    assert join(job, "nightly", incoming=CALLER) == nightly
    begun = join(job, "other", incoming=CALLER)
    assert (begun.run, begun.name, begun.trace_id) == (2, "other", CALLER.trace_id)


def test_a_run_is_known_by_its_trace_id(job):
    """A run's trace id is as good as a name, also for a run that has one; that of the incoming trace names no run."""
    plain, nightly = join(job), join(job, "nightly")
    assert (join(job, plain.trace_id), join(job, nightly.trace_id)) == (plain, nightly)
    begun = join(job, CALLER.trace_id, incoming=CALLER)
    assert (begun.run, begun.name, begun.trace_id) == (3, None, CALLER.trace_id)
    assert join(job, CALLER.trace_id) == begun
    assert join(job, "e" * 32, incoming=CALLER).name == "e" * 32


def test_flags_of_a_run(job):
    """A run keeps the flags of the trace that it began in; one of before this was kept is sampled."""
    assert join(job, incoming=runs.Ids(CALLER.trace_id, CALLER.span_id, 0)).trace_flags == 0
    path = job.run_dir(1) / "run.json"
    path.write_text(json.dumps({key: of for key, of in json.loads(path.read_text()).items() if key != "trace_flags"}))
    assert runs.read(job, 1).trace_flags == 1


def test_ids_of_somebody_else(job):
    """Who makes a run's ids is told its name and start; a run in an incoming trace asks for none."""
    asked = []

    def ids(name: str, now: int) -> runs.Ids:
        asked.append((name, now))
        return runs.Ids("a" * 32, "b" * 16, 0)

    run = join(job, "nightly", ids=ids)
    join(job, incoming=CALLER, ids=ids)
    (span,) = reader.spans(str(job.run_dir(1) / "traces.jsonl"))
    assert (span.trace_id, span.span_id) == (run.trace_id, run.span_id) == ("a" * 32, "b" * 16)
    assert (run.trace_flags, asked) == (0, [("nightly", run.created_unix_nano)])


def test_many_processes_begin_one_run_in_a_trace(job):
    """Processes that are called in one trace at once begin one run in it."""
    joined = in_processes(20, lambda _: [join(job, incoming=CALLER).run, join(job, incoming=CALLER).trace_id])
    assert joined == [[1, CALLER.trace_id]] * 20


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
