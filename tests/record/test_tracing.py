"""The stage in its trace: where it hangs, what it hands on, and what becomes of the sampling flag."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_stageio import StageIO, open_job, stage
from otel_stageio import conventions as names
from otel_stageio.journal import reader
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE
from tests.conftest import REPO

if TYPE_CHECKING:
    from pathlib import Path

    from otel_stageio.model import Span

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
#: What a child process runs: a stage with a step and a log record.
CHILD = """
import sys
from otel_stageio import StageIO
with StageIO(sys.argv[1]) as io, io.step("decode"):
    io.get_stage_logger().info("hello")
"""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch) -> None:
    """Write nothing to the console, and let child processes find the package."""
    monkeypatch.setenv("STAGEIO_CONSOLE", "off")
    monkeypatch.setenv("PYTHONPATH", str(REPO))


def recorded(io: StageIO) -> dict[str, Span]:
    """The spans in the stage's traces.jsonl, by name."""
    path = io.stage_dir / ".stageio" / "001" / "traces.jsonl"
    return {each.name: each for each in reader.spans(str(path))}


def roots(job: Path | str) -> list[Span]:
    """The spans of the job's runs."""
    found = sorted((open_job(job).path / ".stageio" / "runs").glob("*/traces.jsonl"))
    return [each for path in found for each in reader.spans(str(path))]


def run_json(job: Path | str, number: int = 1) -> dict[str, Any]:
    """What a run says of itself."""
    return json.loads((open_job(job).path / ".stageio" / "runs" / f"{number:03d}" / "run.json").read_bytes())


def parent(io: StageIO) -> tuple[str, str]:
    """Trace and parent of the stage's span; the stage is ended."""
    io.finalize()
    made = recorded(io)[io.stage_name]
    return made.trace_id, made.parent_span_id


def ids(span: trace.Span) -> tuple[str, str]:
    """Trace and id of a span."""
    of = span.get_span_context()
    return trace.format_trace_id(of.trace_id), trace.format_span_id(of.span_id)


# Where a stage hangs.


def test_span_of_the_stage():
    """Within a stage the current span is `io.span`, which records, with the ids of the manifest; after it, none is."""
    with StageIO("asr", stage_number=6) as io:
        assert trace.get_current_span() is io.span
        assert io.span.is_recording()
        assert ids(io.span) == (io.manifest["trace_id"], io.manifest["span_id"])
    assert not io.span.is_recording()
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_without_a_caller_a_stage_hangs_on_its_run():
    """A stage that is called in no trace is a child of its run's span."""
    io = StageIO("asr", stage_number=6)
    (root,) = roots("out")
    assert parent(io) == (root.trace_id, root.span_id)


def test_trace_parent_in_the_environment(monkeypatch):
    """TRACEPARENT makes the stage a child of the caller's span; the run begins in that trace without one of its own."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    first, second = StageIO("vad", stage_number=5), StageIO("asr", stage_number=6)
    assert (parent(second), parent(first)) == ((TRACE, SPAN), (TRACE, SPAN))
    assert {io.manifest["run"] for io in (first, second)} == {1}
    assert (run_json("out")["trace_id"], roots("out")) == (TRACE, [])
    assert recorded(first)["vad"].flags == FLAGS_REMOTE


@pytest.mark.parametrize("text", [PARENT[:-1], PARENT.upper(), "ff" + PARENT[2:], "nonsense"])
def test_trace_parent_that_is_none(monkeypatch, told, text):
    """One of the wrong length, case, version or form is passed over with a DEBUG line; the trace is then a new one."""
    monkeypatch.setenv("TRACEPARENT", text)
    io = StageIO("asr", stage_number=6)
    (root,) = roots("out")
    assert parent(io) == (root.trace_id, root.span_id)
    (line,) = [line for line in told(io).lines if "TRACEPARENT" in line[1]]
    assert line[0] == "DEBUG"
    assert line[1].startswith(f"TRACEPARENT={text!r} is no W3C trace parent")
    assert told(io).warnings == []


def test_trace_state_and_baggage(monkeypatch):
    """TRACESTATE goes on with every span of the stage, BAGGAGE is in its context; both go on to what it calls."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    monkeypatch.setenv("TRACESTATE", "congo=t61,rojo=00f")
    monkeypatch.setenv("BAGGAGE", "user=ada")
    with StageIO("asr", stage_number=6) as io:
        assert baggage.get_baggage("user") == "ada"
        with io.step("decode"):
            assert {name: io.environ()[name] for name in ("TRACESTATE", "BAGGAGE")} == {
                "TRACESTATE": "congo=t61,rojo=00f",
                "BAGGAGE": "user=ada",
            }
    assert {each.trace_state for each in recorded(io).values()} == {"congo=t61,rojo=00f"}
    assert baggage.get_all() == {}


def test_current_span_of_the_host(monkeypatch):
    """The host's current span is the parent, before what the environment says; it is current again afterwards."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    theirs = NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(theirs):
        io = StageIO("asr", stage_number=6)
        assert parent(io) == (f"{1:032x}", f"{2:016x}")
        assert trace.get_current_span() is theirs
    assert recorded(io)["asr"].flags == FLAGS_LOCAL
    assert (run_json("out")["trace_id"], roots("out")) == (f"{1:032x}", [])


def test_same_trace_is_the_same_run(monkeypatch):
    """Stages of one incoming trace are in one run, also when they are started again; another trace is another run."""
    seen = []
    for text in (TRACE, TRACE, "f" * 32, TRACE):
        monkeypatch.setenv("TRACEPARENT", f"00-{text}-{SPAN}-01")
        io = StageIO("asr", stage_number=6)
        io.finalize()
        seen.append((io.manifest["run"], io.manifest["trace_id"]))
    assert seen == [(1, TRACE), (1, TRACE), (2, "f" * 32), (1, TRACE)]


def test_trace_of_the_run_that_is_there_already(monkeypatch):
    """A stage called in the trace of a run is in that run, a child of its caller and not of the run's span."""
    StageIO("vad", stage_number=5).finalize()
    (root,) = roots("out")
    monkeypatch.setenv("TRACEPARENT", f"00-{root.trace_id}-{SPAN}-01")
    io = StageIO("asr", stage_number=6)
    assert (parent(io), io.manifest["run"]) == ((root.trace_id, SPAN), 1)
    assert recorded(io)["asr"].links == ()


def test_named_run_of_another_trace(monkeypatch):
    """Where STAGEIO_RUN names a run of another trace, the stage follows its caller and links to the run's span."""
    monkeypatch.setenv("STAGEIO_RUN", "nightly")
    StageIO("vad", stage_number=5).finalize()
    (root,) = roots("out")
    monkeypatch.setenv("TRACEPARENT", PARENT)
    io = StageIO("asr", stage_number=6)
    assert parent(io) == (TRACE, SPAN)
    assert (io.manifest["run"], io.manifest["run_name"], io.manifest["trace_id"]) == (1, "nightly", TRACE)
    (link,) = recorded(io)["asr"].links
    assert (link.trace_id, link.span_id, link.attributes) == (root.trace_id, root.span_id, {names.RUN: 1})


def test_run_by_its_trace_id(monkeypatch):
    """STAGEIO_RUN may be a run's trace id: the stage is in that run, also where a newer one has begun since."""
    first = StageIO("vad", stage_number=5)
    first.finalize()
    monkeypatch.setenv("STAGEIO_RUN", "another")
    StageIO("vad", stage_number=5).finalize()
    monkeypatch.setenv("STAGEIO_RUN", first.manifest["trace_id"])
    io = StageIO("asr", stage_number=6)
    io.finalize()
    assert (io.manifest["run"], io.manifest["trace_id"]) == (1, first.manifest["trace_id"])
    assert "run_name" not in io.manifest


def test_open_stage_is_no_parent():
    """A stage that is merely open is not the parent of the next one: they are siblings under the run."""
    first, second = StageIO("vad", stage_number=5), StageIO("asr", stage_number=6)
    (root,) = roots("out")
    assert trace.get_current_span() is second.span
    assert (parent(first), trace.get_current_span()) == ((root.trace_id, root.span_id), second.span)
    assert parent(second) == (root.trace_id, root.span_id)
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_stage_within_a_stage():
    """Within a with block or a decorated function a stage is the parent of the next; in another job, too."""

    @stage("words", "words", stage_number=1)
    def count(io: StageIO) -> StageIO:
        return io

    with StageIO("asr", stage_number=6) as io:
        inner = count()
        with io.step("decode"):
            deeper = count()
    assert parent(inner) == ids(io.span)
    deep = next(reader.spans("words/01_words/.stageio/002/traces.jsonl"))
    assert deep.parent_span_id == recorded(io)["decode"].span_id
    assert deeper.manifest["trace_id"] == io.manifest["trace_id"] == run_json("words")["trace_id"]
    assert (roots("words"), len(roots("out"))) == ([], 1)


# Context out.


def child(name: str, environment: dict[str, str]) -> None:
    """Run a stage in a process of its own, with this environment."""
    subprocess.run([sys.executable, "-W", "error", "-c", CHILD, name], env=environment, timeout=60, check=True)


def test_environment_for_a_child(monkeypatch, tmp_path):
    """With `io.environ()`, a copy of the environment, a stage is in the same job, run and trace, below its caller."""
    monkeypatch.setenv("STAGEIO_STAGES", "asr,tts,mix")
    before = dict(os.environ)
    with StageIO("asr", "job") as io:
        made = io.environ()
        with io.step("synthesise"):
            child("tts", io.environ())
            with trace.get_tracer("mixer").start_as_current_span("mix down"):
                child("mix", io.environ())
    added = {"TRACEPARENT", "STAGEIO_JOB_DIR", "STAGEIO_RUN", "STAGEIO_ATTEMPT"}
    assert {name: of for name, of in made.items() if name not in added} == before == dict(os.environ)
    assert (made["STAGEIO_JOB_DIR"], made["STAGEIO_RUN"]) == (str(tmp_path / "job"), io.manifest["trace_id"])
    assert made["TRACEPARENT"] == "00-{}-{}-01".format(*ids(io.span))
    job = open_job("job")
    assert [(row["stage"], row["run"], row["trace_id"]) for row in job.stages] == [
        (name, 1, io.manifest["trace_id"]) for name in ("asr", "tts", "mix")
    ]
    spans = {
        each.name: each for path in job.path.glob("*/.stageio/001/*traces.jsonl") for each in reader.spans(str(path))
    }
    assert spans["tts"].parent_span_id == spans["synthesise"].span_id
    assert spans["mix"].parent_span_id == spans["mix down"].span_id
    assert run_json("job")["name"] is None


def test_environment_of_a_named_run(monkeypatch):
    """A run that has a name is handed on by it."""
    monkeypatch.setenv("STAGEIO_RUN", "nightly")
    with StageIO("asr", stage_number=6) as io:
        assert io.environ()["STAGEIO_RUN"] == "nightly"


def test_child_that_is_started_again_stays_in_the_run(monkeypatch):
    """A child that succeeded and is started again by the same stage is in the same run, however often."""
    monkeypatch.setenv("STAGEIO_STAGES", "asr,tts")
    with StageIO("asr") as io:
        for _ in range(2):
            child("tts", io.environ())
    assert [(row["stage"], row["run"], row["attempt"]) for row in open_job("out").attempts()] == [
        ("asr", 1, 1),
        ("tts", 1, 1),
        ("tts", 1, 2),
    ]


def test_child_in_another_job():
    """A child that takes another job folder has a run in the same trace there, without a name."""
    with StageIO("asr", stage_number=6) as io:
        for name in ("01_vad", "02_tts"):
            child(name, {**io.environ(), "STAGEIO_JOB_DIR": "other"})
    assert [(row["stage"], row["run"], row["run_name"], row["trace_id"]) for row in open_job("other").stages] == [
        ("vad", 1, None, io.manifest["trace_id"]),
        ("tts", 1, None, io.manifest["trace_id"]),
    ]


def test_stale_context_is_not_handed_on(monkeypatch):
    """What the environment said of another trace does not stay beside the stage's own."""
    monkeypatch.setenv("TRACEPARENT", "nonsense")
    monkeypatch.setenv("TRACESTATE", "theirs=1")
    monkeypatch.setenv("BAGGAGE", "!")
    with StageIO("asr", stage_number=6) as io:
        made = io.environ()
    assert made["TRACEPARENT"].split("-")[1:3] == list(ids(io.span))
    assert not {"TRACESTATE", "BAGGAGE"} & made.keys()


def test_handing_on_from_another_thread():
    """A thread has no context of its own: what it hands on is the stage's; in a step of the thread it is the step's."""
    seen = []

    def work() -> None:
        seen.append(io.environ()["TRACEPARENT"].split("-")[2])
        with io.step("part") as span:
            seen.extend([io.headers()["traceparent"].split("-")[2], ids(span)[1]])

    with StageIO("asr", stage_number=6) as io:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert (seen[0], seen[1]) == (ids(io.span)[1], seen[2])


def test_handing_on_from_within_another_stage():
    """Each stage hands on its own context, wherever it is asked."""
    with StageIO("asr", stage_number=6) as io, StageIO("tts", stage_number=7) as other:
        assert io.environ()["TRACEPARENT"].split("-")[2] == ids(io.span)[1]
        assert other.environ()["TRACEPARENT"].split("-")[2] == ids(other.span)[1]


def test_handing_on_after_the_end(monkeypatch):
    """After its end a stage still hands on its own span, job and run, and not what is current then."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    io = StageIO("asr", stage_number=6)
    made = io.environ()
    io.finalize()
    with StageIO("tts", stage_number=7):
        assert io.environ() == made
        assert io.headers() == {"traceparent": made["TRACEPARENT"]}


def test_headers():
    """`io.headers()` has the same for HTTP, with what the program put into the baggage."""
    with StageIO("asr", stage_number=6) as io, io.step("fetch") as span:
        token = context.attach(baggage.set_baggage("user", "ada"))
        assert io.headers() == {"traceparent": "00-{}-{}-01".format(*ids(span)), "baggage": "user=ada"}
        context.detach(token)


def test_mode_off(monkeypatch, tmp_path):
    """With `mode="off"` the trace is handed on as ever, and the job folder; there is no run to join."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    with StageIO("asr", "job", stage_number=6, mode="off") as io:
        made = io.environ()
        assert made["TRACEPARENT"] == "00-{}-{}-01".format(*ids(io.span))
    assert (ids(io.span)[0], made["STAGEIO_JOB_DIR"]) == (TRACE, str(tmp_path / "job"))
    assert "STAGEIO_RUN" not in made
    assert list(tmp_path.iterdir()) == []


def test_changed_working_directory(tmp_path, monkeypatch):
    """The job folder that is handed on is the one that was opened, wherever the process went since."""
    with StageIO("asr", "job", stage_number=6) as io:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert io.environ()["STAGEIO_JOB_DIR"] == str(tmp_path / "job")


# Sampling.


def journal(io: StageIO) -> list[Any]:
    """Events and log records of the stage's first attempt."""
    folder = io.stage_dir / ".stageio" / "001"
    return [each for name in ("events", "logs") for each in reader.log_records(str(folder / f"{name}.jsonl"))]


@pytest.mark.parametrize("flags", ["00", "01"])
def test_sampling_flag(monkeypatch, told, flags):
    """Sampled or not, the files have everything, and the flag goes on as it came: to records, children and callees."""
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{SPAN}-{flags}")
    io = StageIO("asr", stage_number=6)
    io.get_stage_logger().info("hello")
    with io.step("decode") as span, trace.get_tracer("t").start_as_current_span("beam") as child_span:
        assert span.is_recording()
        assert io.environ()["TRACEPARENT"].endswith(f"-{flags}")
        assert io.headers()["traceparent"].endswith(f"-{flags}")
        assert child_span.get_span_context().trace_flags == int(flags)
    io.finalize()
    assert sorted(recorded(io)) == ["asr", "beam", "decode"]
    assert {each.flags for each in journal(io)} == {int(flags)}
    assert [each["status"] for each in told(io).manifest["steps"]] == ["success"]


def test_unsampled_run(monkeypatch):
    """Stages that join the run of an unsampled trace without being called in it are unsampled, too."""
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{SPAN}-00")
    StageIO("vad", stage_number=5).finalize()
    monkeypatch.delenv("TRACEPARENT")
    io = StageIO("asr", stage_number=6)
    assert io.environ()["TRACEPARENT"].endswith("-00")
    assert parent(io) == (TRACE, SPAN)
    assert {each.flags for each in journal(io)} == {0}


def test_flags_that_nobody_knows(monkeypatch):
    """Flags that W3C has not given a meaning yet are not handed on; that the trace id is random is."""
    monkeypatch.setenv("TRACEPARENT", f"00-{TRACE}-{SPAN}-ff")
    with StageIO("asr", stage_number=6) as io:
        assert io.environ()["TRACEPARENT"].endswith("-03")
