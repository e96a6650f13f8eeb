"""Where a stage stands in a trace: below its caller's span or its run's, by the host's tracer where there is one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context, trace

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job import runs
from otel_stageio.job.runs import Ids, Run
from otel_stageio.record.otel import entry
from otel_stageio.record.otel.carrier import Incoming
from otel_stageio.record.otel.hosts import Host
from tests.record.otel.hosted import Backend, journal, provider, tree

if TYPE_CHECKING:
    from pathlib import Path

HERE = context.Context()
STATE = trace.TraceState([("vendor", "x")])
CALLER = trace.SpanContext(0xA1, 0xA2, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=STATE)
CALLED = Incoming(trace.set_span_in_context(trace.NonRecordingSpan(CALLER), HERE), CALLER)
ALONE = Incoming(HERE, None)


def run(**about: Any) -> Run:
    """A run in the trace b1."""
    known = {"run": 1, "name": None, "trace_id": f"{0xB1:032x}", "span_id": f"{0xB2:016x}", "host": "here"}
    return Run(**{**known, "pipeline_log": "logs/99_pipeline.log", "created_unix_nano": 7, **about})


@pytest.fixture
def backend() -> Backend:
    """Where the host's spans go."""
    return Backend()


@pytest.fixture
def host(backend: Backend) -> Host:
    """A host with an SDK provider."""
    return Host(provider(backend))


def placed(incoming: Incoming, host: Host | None = None, of: Run | None = None) -> entry.Entry:
    """The stage asr, begun at 5."""
    return entry.enter(incoming, host, name="asr", run=of, start=5)


@pytest.mark.parametrize("hosted", [False, True])
def test_a_called_stage_is_below_its_caller(host: Host, *, hosted: bool):
    """Called in a trace, a stage is in it with an id of its own, its flags and state; its run is only named."""
    made = placed(CALLED, host if hosted else None, run())
    assert (made.own.trace_id, made.parent, made.own.trace_state) == (0xA1, CALLER, STATE)
    assert made.own.trace_flags & 1 == 1
    assert made.own.span_id not in {0, 0xA2, 0xB2}
    assert made.told(run()) == {
        names.RUN_SPAN_ID: f"{0xB2:016x}",
        names.RUN_TRACE_ID: f"{0xB1:032x}",
        names.PARENT_SPAN_ID: f"{0xA2:016x}",
        names.PARENT_REMOTE: True,
        names.TRACE_STATE: "vendor=x",
        **({names.TRACES_BY_HOST: True} if hosted else {}),
    }


@pytest.mark.parametrize("hosted", [False, True])
@pytest.mark.parametrize("flags", [0, 1])
def test_any_other_stage_is_below_its_run(host: Host, flags: int, *, hosted: bool):
    """Without a caller the run's span is the parent, in whose trace, with whose flags and state the stage is."""
    of = run(trace_flags=flags, trace_state="vendor=x")
    made = placed(ALONE, host if hosted else None, of)
    assert made.parent is not None
    assert (made.own.trace_id, made.parent.span_id, made.parent.is_remote) == (0xB1, 0xB2, True)
    assert (made.own.trace_flags & 1, made.own.trace_state) == (flags, STATE)
    assert (made.trace_id, made.span_id) == (f"{0xB1:032x}", trace.format_span_id(made.own.span_id))
    assert names.RUN_TRACE_ID not in made.told(of)
    assert made.told(of)[names.RUN_SPAN_ID] == made.told(of)[names.PARENT_SPAN_ID] == f"{0xB2:016x}"


@pytest.mark.parametrize("hosted", [False, True])
def test_with_neither_it_is_a_trace_of_its_own(host: Host, *, hosted: bool):
    """Where nothing is written there is no run: the stage begins a sampled trace."""
    made = placed(ALONE, host if hosted else None)
    assert (made.parent, made.own.is_valid, made.own.trace_flags & 1) == (None, True, 1)
    assert made.told(None) == ({names.TRACES_BY_HOST: True} if hosted else {})
    assert made.own.trace_id != placed(ALONE).own.trace_id


def test_the_hosts_span_is_the_stages(host: Host, backend: Backend):
    """With a host its span's ids are the stage's; it begins when the stage does, and ends not here."""
    made = placed(CALLED, host)
    assert made.host_span is not None
    assert (made.own, made.host) == (made.host_span.get_span_context(), host)
    assert (made.start, backend.spans) == (5, [])
    made.host_span.end()
    assert [(each.name, each.start_time, each.parent) for each in backend.spans] == [("asr", 5, CALLER)]


class Elsewhere(trace.NoOpTracer):
    """Makes every span in a trace of its own choice."""

    def start_span(self, *args, **kwargs) -> trace.Span:
        return trace.NonRecordingSpan(trace.SpanContext(0xC1, 0xC2, is_remote=False))


def test_a_host_that_begins_a_trace_of_its_own_is_followed(host: Host):
    """Where the host's span is in another trace than the caller's, the stage is there, with no parent of that one."""
    host._tracer = Elsewhere()
    made = placed(CALLED, host, run())
    assert (made.own.trace_id, made.own.span_id, made.parent) == (0xC1, 0xC2, None)
    told = made.told(run())
    assert told == {
        names.RUN_SPAN_ID: f"{0xB2:016x}",
        names.RUN_TRACE_ID: f"{0xB1:032x}",
        names.TRACES_BY_HOST: True,
    }


def test_a_host_without_spans_leaves_it_to_us(host: Host):
    """A host whose tracer makes none costs nothing: the stage is below its run as without it."""
    host._tracer = trace.NoOpTracer()
    made = placed(ALONE, host, run())
    assert (made.host_span, made.own.trace_id) == (None, 0xB1)
    assert made.own.span_id != 0xB2


def test_ids_as_text():
    """What a run takes over of its caller's span."""
    assert entry.ids_of(CALLER) == Ids(f"{0xA1:032x}", f"{0xA2:016x}", 1, "vendor=x")


# The spans of runs.


def test_a_run_without_a_host_has_new_ids():
    """Ids are random and sampled, and there is nothing to end."""
    roots = entry.RootSpans(None)
    ids = roots.ids("tapes", 5)
    assert (len(ids.trace_id), len(ids.span_id), ids.trace_flags, ids.trace_state) == (32, 16, 1, "")
    assert ids != roots.ids("tapes", 5)
    roots.settle(run(trace_id=ids.trace_id, span_id=ids.span_id), "a job")


def test_the_hosts_root_span_is_ended_where_it_became_the_runs(host: Host, backend: Backend):
    """It is a trace of its own whatever is current, lasts a millisecond, and says what the run's line says."""
    roots = entry.RootSpans(host)
    with trace.use_span(trace.NonRecordingSpan(CALLER)):
        ids = roots.ids("tapes", 5)
    began = run(name="monday", trace_id=ids.trace_id, span_id=ids.span_id)
    roots.settle(began, "a job")
    (span,) = backend.spans
    assert (span.name, span.parent, span.start_time, span.end_time) == ("tapes", None, 5, 1_000_005)
    assert dict(span.attributes or {}) == runs.attributes(began, "a job")
    assert entry.ids_of(span.get_span_context())._replace(by_host=True) == ids


def test_a_root_span_that_lost_is_never_exported(host: Host, backend: Backend):
    """Where another process began the run first, the host has no span of a run that is none."""
    roots = entry.RootSpans(host)
    roots.ids("tapes", 5)
    won = roots.ids("tapes", 6)
    roots.settle(run(), "a job")
    assert backend.spans == []
    roots.settle(run(trace_id=won.trace_id, span_id=won.span_id), "a job")
    assert [each.start_time for each in backend.spans] == [6]


def test_a_run_that_is_there_already_gets_no_second_span(tmp_path: Path, backend: Backend):
    """Of the stages of one run only the one that begins it has the host make the run's span."""
    trace.set_tracer_provider(provider(backend))
    for number, name in enumerate(["ingest", "asr", "score"]):
        StageIO(name, tmp_path / "job", stage_number=number).finalize()
    assert [each.name for each in backend.spans] == ["stageio", "ingest", "asr", "score"]
    assert backend.told == journal(tmp_path / "job")
    assert tree(backend.told) == {"stageio": {"ingest": {}, "asr": {}, "score": {}}}


def test_run_json_keeps_flags_and_state_of_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stage that joins the run later, without the caller's environment, is in the same trace with flags and state."""
    monkeypatch.setenv("TRACEPARENT", f"00-{0xA1:032x}-{0xA2:016x}-00")
    monkeypatch.setenv("TRACESTATE", "vendor=x")
    StageIO("ingest", tmp_path / "job", stage_number=1).finalize()
    document = json.loads((tmp_path / "job" / ".stageio" / "runs" / "001" / "run.json").read_bytes())
    assert (document["trace_flags"], document["trace_state"]) == (0, "vendor=x")
    monkeypatch.delenv("TRACEPARENT")
    monkeypatch.delenv("TRACESTATE")
    with StageIO("asr", tmp_path / "job", stage_number=2) as io:
        handed = io.environ()
    _, trace_id, _, flags = handed["TRACEPARENT"].split("-")
    assert (trace_id, flags, handed["TRACESTATE"]) == (f"{0xA1:032x}", "00", "vendor=x")
