"""Hosts with tracing of their own: their spans and ours are one tree, there and in the files, and each is told once."""

from __future__ import annotations

import gc
import json
import weakref
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ConcurrentMultiSpanProcessor, TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import TraceState

from otel_stageio import StageIO
from otel_stageio.record.otel import sdk
from otel_stageio.record.otel.tracer import JournalTracerProvider
from tests.record.otel.hosted import PIPELINE, Backend, journal, named, pipeline, provider, tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.record.conftest import Tell

SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenTelemetry says nothing, and nothing of ours is in trouble."""
    yield
    told = [each for each in caplog.get_records("call") if each.name.startswith("opentelemetry")]
    assert [each.getMessage() for each in told] == []


@pytest.fixture
def backend() -> Backend:
    """Where the host's spans go."""
    return Backend()


def root(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The one span that hangs on none."""
    (found,) = [span for span in told.values() if "parentSpanId" not in span]
    return found


def sampled(told: list[Any]) -> set[int]:
    """The sampled bits of log records."""
    return {each.flags & 1 for each in told}


class Numbered(IdGenerator):
    """Gives ids in order, and none that is random."""

    def __init__(self) -> None:
        self._numbers = count(1)

    def generate_span_id(self) -> int:
        return 0xAB00 + next(self._numbers)

    def generate_trace_id(self) -> int:
        return 0xCD00 + next(self._numbers)


class Marking(sampling.Sampler):
    """Takes every span, and marks the trace."""

    def should_sample(self, *args, **kwargs) -> sampling.SamplingResult:
        return sampling.SamplingResult(sampling.Decision.RECORD_AND_SAMPLE, None, TraceState([("host", "1")]))

    def get_description(self) -> str:
        return "takes all"


class RecordsOnly(Marking):
    """Has spans recorded and not exported."""

    def should_sample(self, *args, **kwargs) -> sampling.SamplingResult:
        return sampling.SamplingResult(sampling.Decision.RECORD_ONLY)


# A host with an SDK provider.


@pytest.mark.parametrize(
    ("processor", "options"),
    [
        pytest.param(SimpleSpanProcessor, {}, id="simple"),
        pytest.param(BatchSpanProcessor, {}, id="batch"),
        pytest.param(SimpleSpanProcessor, {"active_span_processor": ConcurrentMultiSpanProcessor}, id="concurrent"),
        pytest.param(SimpleSpanProcessor, {"sampler": sampling.ParentBased(sampling.ALWAYS_ON)}, id="parent-based"),
        pytest.param(SimpleSpanProcessor, {"sampler": Marking()}, id="sampler"),
        pytest.param(SimpleSpanProcessor, {"id_generator": Numbered()}, id="ids"),
    ],
)
@pytest.mark.parametrize("given", [False, True], ids=["global", "argument"])
def test_the_host_and_the_files_have_the_same_spans_once(
    tmp_path: Path, backend: Backend, processor: Any, options: dict[str, Any], *, given: bool
):
    """Run, stages, steps and a library's spans are one tree in both, equal in every field, each of them once."""
    made = {key: of() if isinstance(of, type) else of for key, of in options.items()}
    host = provider(backend, processor, **made)
    if given:
        pipeline(tmp_path / "job", tracer_provider=host)
    else:
        trace.set_tracer_provider(host)
        pipeline(tmp_path / "job")
    host.force_flush()
    files = journal(tmp_path / "job")
    assert tree(files) == PIPELINE
    assert backend.told == files
    assert backend.shutdowns == 0
    host.shutdown()
    assert (backend.told, backend.shutdowns) == (files, 1)


def test_the_hosts_ids_and_trace_state_are_taken_on(tmp_path: Path, backend: Backend):
    """Run and stages have ids of the host's generator, also in run.json and environ, and its sampler's trace state."""
    trace.set_tracer_provider(provider(backend, id_generator=Numbered(), sampler=Marking()))
    with StageIO("ingest", tmp_path / "job", stage_number=1) as io:
        assert (io.environ()["TRACEPARENT"], io.environ()["TRACESTATE"]) == (
            f"00-{0xCD01:032x}-{0xAB03:016x}-01",
            "host=1",
        )
    run = json.loads((tmp_path / "job" / ".stageio" / "runs" / "001" / "run.json").read_bytes())
    assert (run["trace_id"], run["span_id"]) == (f"{0xCD01:032x}", f"{0xAB02:016x}")
    files = journal(tmp_path / "job")
    assert sorted(files) == [f"{0xAB02:016x}", f"{0xAB03:016x}"]
    assert named(files, "ingest")["traceState"] == "host=1"
    assert backend.told == files | {f"{0xAB02:016x}": {**root(files), "traceState": "host=1"}}


@pytest.mark.parametrize(
    "sampler", [sampling.ALWAYS_OFF, sampling.TraceIdRatioBased(0), RecordsOnly()], ids=["off", "ratio", "record-only"]
)
def test_a_host_that_samples_nothing_costs_the_files_nothing(
    tmp_path: Path, backend: Backend, told: Tell, sampler: sampling.Sampler
):
    """Nothing is exported; the journal has run, stage and step with all that they were told, and the flag goes on."""
    trace.set_tracer_provider(provider(backend, sampler=sampler))
    with StageIO("ingest", tmp_path / "job", stage_number=1) as io:
        io.span.set_attribute("speaker", "alice")
        io.get_stage_logger().warning("the tape is worn")
        with io.step("decode"), trace.get_tracer("a.library").start_as_current_span("inner"):
            assert int(io.environ()["TRACEPARENT"][-2:], 16) & 1 == 0
            assert int(io.headers()["traceparent"][-2:], 16) & 1 == 0
    found = told(io)
    assert found.lines == [("WARNING", "the tape is worn")]
    assert sampled(found.records) == sampled(found.events) == {0}
    files = journal(tmp_path / "job")
    library = {"inner": {}} if isinstance(sampler, RecordsOnly) else {}
    assert tree(files) == {"stageio": {"ingest": {"decode": library}}}
    assert found.span is not None
    assert found.span.attributes["speaker"] == "alice"
    assert [each.name for each in found.span.events] == ["log"]
    assert backend.spans == []


@pytest.mark.parametrize("host", [False, True], ids=["no host", "host"])
def test_an_incoming_unsampled_trace_is_recorded_and_goes_on_unsampled(
    tmp_path: Path, backend: Backend, told: Tell, monkeypatch: pytest.MonkeyPatch, *, host: bool
):
    """With the flag 00 in TRACEPARENT the files are whole, in that trace, and children are handed 00."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    monkeypatch.setenv("TRACESTATE", "vendor=x")
    if host:
        trace.set_tracer_provider(provider(backend))
    with StageIO("ingest", tmp_path / "job", stage_number=1) as io:
        with io.step("decode"):
            handed = io.environ()
        with trace.get_tracer("a.library").start_as_current_span("request"):
            assert int(io.headers()["traceparent"][-2:], 16) & 1 == 0
    version, trace_id, span_id, flags = handed["TRACEPARENT"].split("-")
    assert (version, trace_id, flags, handed["TRACESTATE"]) == ("00", PARENT.split("-")[1], "00", "vendor=x")
    files = journal(tmp_path / "job")
    stage = named(files, "ingest")
    assert (stage["traceId"], stage["parentSpanId"]) == (PARENT.split("-")[1], PARENT.split("-")[2])
    assert named(files, "decode")["spanId"] == span_id
    assert sorted(each["name"] for each in files.values()) == sorted(
        ["ingest", "decode", *(["request"] if not host else [])]
    )
    found = told(io)
    assert sampled(found.records) | sampled(found.events) == {0}
    assert backend.spans == []


def test_the_hosts_current_span_is_the_stages_parent(tmp_path: Path, backend: Backend):
    """A stage that is opened in a span of the host's hangs on it, in its trace, and the run writes no span."""
    host = provider(backend)
    trace.set_tracer_provider(host)
    with host.get_tracer("a.flow").start_as_current_span("flow"):
        pipeline(tmp_path / "job")
    stages = PIPELINE["stageio"]
    assert tree(backend.told) == {"flow": stages}
    files = journal(tmp_path / "job")
    assert files == {key: span for key, span in backend.told.items() if span["name"] != "flow"}


def test_the_host_gets_at_most_a_hundred_of_everything(tmp_path: Path, backend: Backend, told: Tell):
    """Of 300 events the host's span has the newest 100 and says how many it has not; attributes are at most 100."""
    trace.set_tracer_provider(provider(backend))
    io = StageIO("ingest", tmp_path / "job", stage_number=1)
    for number in range(300):
        io.span.add_event(f"event {number}", {"n": number})
        io.span.set_attribute(f"attribute {number}", number)
    io.finalize()
    journaled = told(io).span
    assert journaled is not None
    assert [each.name for each in journaled.events] == [f"event {number}" for number in range(300)]
    assert {f"attribute {number}" for number in range(300)} <= set(journaled.attributes)
    exported = sdk.read(backend.spans[-1])
    assert exported.events == journaled.events[-100:]
    assert len(exported.attributes) == 100
    assert exported.attributes["stageio.events.left_out"] == 200
    assert (exported.dropped_attributes_count, exported.dropped_events_count) == (0, 0)
    assert (exported.start_time_unix_nano, exported.end_time_unix_nano) == (
        journaled.start_time_unix_nano,
        journaled.end_time_unix_nano,
    )


def test_a_host_with_small_limits_is_not_overrun(tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch):
    """Where the environment's limits are lower, the host is told no more, and the journal is whole."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "5")
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "2")
    trace.set_tracer_provider(provider(backend))
    io = StageIO("ingest", tmp_path / "job", stage_number=1)
    for number in range(10):
        io.span.add_event(f"event {number}")
    io.finalize()
    exported = backend.spans[-1]
    assert ([each.name for each in exported.events], len(exported.attributes)) == (["event 8", "event 9"], 4)
    assert len(named(journal(tmp_path / "job"), "ingest")["events"]) == 10


def test_name_status_and_failure_reach_the_host(tmp_path: Path, backend: Backend):
    """A new name, a status that the program set, and the reason of a failure are on the host's spans."""
    trace.set_tracer_provider(provider(backend))
    io = StageIO("ingest", tmp_path / "job", stage_number=1)
    io.span.update_name("ingest of tape 7")
    io.span.set_status(trace.Status(trace.StatusCode.OK))
    io.finalize()
    with pytest.raises(ValueError, match="torn"), StageIO("asr", tmp_path / "job", stage_number=2) as io, io.step("a"):
        raise ValueError("torn")
    assert [(each.name, each.status.status_code.name, each.status.description) for each in backend.spans] == [
        ("stageio", "UNSET", None),
        ("ingest of tape 7", "OK", None),
        ("a", "ERROR", "ValueError: torn"),
        ("asr", "ERROR", "ValueError: torn"),
    ]
    assert backend.told == journal(tmp_path / "job")


def test_nothing_written_is_traced_all_the_same(tmp_path: Path, backend: Backend):
    """With ``mode="off"`` the host has the stage, its steps and a library's spans."""
    trace.set_tracer_provider(provider(backend))
    pipeline(tmp_path / "job", mode="off")
    assert [each.name for each in backend.spans] == ["inner", "decode", "request", "ingest", "model", "asr"]
    assert not (tmp_path / "job").exists()


# The order in which stage and provider come.


def test_a_provider_set_during_a_stage(tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch):
    """With STAGEIO_TRACER=off its spans hang on the open stage, or step, and are in the files; later stages are its."""
    monkeypatch.setenv("STAGEIO_TRACER", "off")
    tracer = trace.get_tracer("a.library")
    with StageIO("ingest", tmp_path / "job", stage_number=1) as io, io.step("decode"):
        with tracer.start_as_current_span("unheard"):
            pass
        trace.set_tracer_provider(provider(backend))
        with tracer.start_as_current_span("heard"):
            pass
    with StageIO("asr", tmp_path / "job", stage_number=2), tracer.start_as_current_span("model"):
        pass
    files = journal(tmp_path / "job")
    assert tree(files) == {"stageio": {"ingest": {"decode": {"heard": {}}}, "asr": {"model": {}}}}
    assert [each.name for each in backend.spans] == ["heard", "model", "asr"]
    assert backend.told == {key: files[key] for key in backend.told}


def test_a_provider_set_after_ours_is_told_so_by_opentelemetry_once(
    tmp_path: Path, backend: Backend, caplog: pytest.LogCaptureFixture
):
    """Without STAGEIO_TRACER=off the program hears OTel's one warning; given as an argument its provider works."""
    with StageIO("ingest", tmp_path / "job", stage_number=1):
        pass
    late = provider(backend)
    trace.set_tracer_provider(late)
    assert [(each.name, each.getMessage()) for each in caplog.records if each.name.startswith("opentelemetry")] == [
        ("opentelemetry.trace", "Overriding of current TracerProvider is not allowed")
    ]
    caplog.clear()
    with StageIO("asr", tmp_path / "job", stage_number=2, tracer_provider=late):
        with late.get_tracer("a.library").start_as_current_span("model"):
            pass
        with trace.get_tracer("a.library").start_as_current_span("by ours"):
            pass
    files = journal(tmp_path / "job")
    assert tree(files) == {"stageio": {"ingest": {}, "asr": {"model": {}, "by ours": {}}}}
    assert [each.name for each in backend.spans] == ["model", "asr"]


def test_a_given_provider_leaves_the_process_its_own(tmp_path: Path, backend: Backend):
    """With tracer_provider= the program can still set one for the process, without a warning."""
    with StageIO("ingest", tmp_path / "job", stage_number=1, tracer_provider=provider(Backend())):
        trace.set_tracer_provider(provider(backend))
        with trace.get_tracer("a.library").start_as_current_span("request"):
            pass
    assert [each.name for each in backend.spans] == ["request"]
    assert tree(journal(tmp_path / "job")) == {"stageio": {"ingest": {"request": {}}}}


def test_tracer_off_leaves_the_process_without_a_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With STAGEIO_TRACER=off and no provider stages and steps are in the files, and a library's spans nowhere."""
    monkeypatch.setenv("STAGEIO_TRACER", "off")
    pipeline(tmp_path / "job")
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert tree(journal(tmp_path / "job")) == {"stageio": {"ingest": {"decode": {}}, "asr": {}}}


# Our own provider with an SDK behind it.


def test_a_processor_added_to_ours_gets_the_spans_that_the_files_have(tmp_path: Path, backend: Backend):
    """add_span_processor brings an SDK in: from then on spans are exported, and in the files, once each."""
    tracer = trace.get_tracer("a.library")
    with StageIO("ingest", tmp_path / "job", stage_number=1):
        with tracer.start_as_current_span("before"):
            pass
        ours = trace.get_tracer_provider()
        assert isinstance(ours, JournalTracerProvider)
        ours.add_span_processor(SimpleSpanProcessor(backend))
        with tracer.start_as_current_span("after", attributes={"a": 1}):
            pass
    with StageIO("asr", tmp_path / "job", stage_number=2) as io, io.step("hear"), tracer.start_as_current_span("model"):
        pass
    files = journal(tmp_path / "job")
    assert tree(files) == {
        "stageio": {"ingest": {"before": {}, "after": {}}, "asr": {"hear": {"model": {}}}},
    }
    assert [each.name for each in backend.spans] == ["after", "model", "hear", "asr"]
    assert backend.told == {key: files[key] for key in backend.told}
    assert ours.force_flush()
    ours.shutdown()
    assert backend.shutdowns == 1


# Hosts that are not the SDK's.


class OwnSpan(trace.NonRecordingSpan):
    """A span of somebody's own making, that keeps what it is told."""

    def __init__(self, own: trace.SpanContext, parent: trace.SpanContext, name: str) -> None:
        super().__init__(own)
        self.name, self.parent, self.about, self.events, self.ended = name, parent, {}, [], []

    @property
    def told(self) -> dict[str, Any]:
        """Where it stands."""
        own = self.get_span_context()
        parent = {"parentSpanId": trace.format_span_id(self.parent.span_id)} if self.parent.is_valid else {}
        return {"name": self.name, "traceId": own.trace_id, "spanId": trace.format_span_id(own.span_id), **parent}

    def is_recording(self) -> bool:
        return not self.ended

    def set_attributes(self, attributes) -> None:
        self.about.update(attributes)

    def set_attribute(self, key, value) -> None:
        self.about[key] = value

    def add_event(self, name, attributes=None, timestamp=None) -> None:
        self.events.append((name, timestamp))

    def update_name(self, name) -> None:
        self.name = name

    def end(self, end_time=None) -> None:
        self.ended.append(end_time)


class OwnTracer(trace.NoOpTracer):
    """Makes spans by the API alone."""

    def __init__(self) -> None:
        self.made: list[OwnSpan] = []

    def start_span(self, name, context=None, *args, **kwargs) -> OwnSpan:
        parent = trace.get_current_span(context).get_span_context()
        own = trace.SpanContext(parent.trace_id or 0xFEED, 0x100 + len(self.made), is_remote=False, trace_flags=SAMPLED)
        self.made.append(OwnSpan(own, parent, name))
        return self.made[-1]

    @contextmanager
    def start_as_current_span(self, name, context=None, *args, **kwargs) -> Iterator[trace.Span]:
        with trace.use_span(self.start_span(name, context), end_on_exit=True) as span:
            yield span


class OwnProvider(trace.TracerProvider):
    """A provider by the API alone. It takes no weak reference, and cannot be a key."""

    __slots__ = ("tracer",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, tracer: trace.Tracer | None = None) -> None:
        self.tracer = tracer or OwnTracer()

    def __eq__(self, other: object) -> bool:
        return False

    def get_tracer(self, *args, **kwargs) -> trace.Tracer:
        return self.tracer


def test_a_provider_of_somebodys_own_has_run_stages_and_steps(tmp_path: Path):
    """A provider that implements the API makes run, stages and steps, is told what they say, and ends each once."""
    own = OwnProvider()
    trace.set_tracer_provider(own)
    pipeline(tmp_path / "job")
    theirs = {each.told["spanId"]: each for each in own.tracer.made}
    assert tree({key: each.told for key, each in theirs.items()}) == PIPELINE
    files = journal(tmp_path / "job")
    assert sorted(span["name"] for span in files.values()) == ["asr", "decode", "ingest", "stageio"]
    assert {
        key: (span["name"], span.get("parentSpanId"), [span["endTimeUnixNano"]]) for key, span in files.items()
    } == {key: (each.name, each.told.get("parentSpanId"), each.ended) for key, each in theirs.items() if key in files}
    (ingest,) = [each for each in own.tracer.made if each.name == "ingest"]
    assert ingest.about["speaker"] == "alice"
    assert [name for name, _ in ingest.events] == ["log", "reel"]


def raises(*args: Any, **kwargs: Any) -> Any:
    """Stand for a method that does not work."""
    raise RuntimeError("out of order")


class Raising(OwnTracer):
    start_span = raises


class Handing(OwnTracer):
    """Gives as its span whatever it was made with."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def start_span(self, *args, **kwargs) -> Any:
        return self._given


class Odd(trace.NonRecordingSpan):
    """A span whose context is none of OpenTelemetry's."""

    def get_span_context(self) -> Any:
        return "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "tracer",
    [Raising(), Handing(None), Handing("span"), Handing(trace.INVALID_SPAN), Handing(Odd(trace.INVALID_SPAN_CONTEXT))],
    ids=["raises", "none", "text", "invalid", "odd"],
)
def test_a_provider_that_does_not_work_costs_nothing(tmp_path: Path, told: Tell, tracer: trace.Tracer, capsys):
    """Where the host's tracer raises or gives no span, the files have run, stages and steps as without a host."""
    trace.set_tracer_provider(OwnProvider(tracer))
    with StageIO("ingest", tmp_path / "job", stage_number=1) as io, io.step("decode"):
        io.span.set_attribute("speaker", "alice")
    assert tree(journal(tmp_path / "job")) == {"stageio": {"ingest": {"decode": {}}}}
    assert told(io).manifest["degraded"] == []
    assert capsys.readouterr().err == ""


def test_a_provider_without_tracers_is_told_on_stderr(tmp_path: Path, told: Tell, capsys):
    """Where get_tracer raises, the stage goes on without the host, and one line says why."""
    own = OwnProvider()
    trace.set_tracer_provider(own)
    own.tracer = None
    type(own).get_tracer, kept = raises, type(own).get_tracer
    try:
        with StageIO("ingest", tmp_path / "job", stage_number=1) as io:
            pass
    finally:
        type(own).get_tracer = kept
    assert tree(journal(tmp_path / "job")) == {"stageio": {"ingest": {}}}
    assert told(io).manifest["degraded"] == []
    assert "cannot use the program's tracer provider: RuntimeError: out of order" in capsys.readouterr().err


def test_a_host_span_that_does_not_take_what_it_is_told(tmp_path: Path, capsys):
    """Where the host's spans raise, the stage ends with success, the files are whole, and one line says what was."""
    tracer = OwnTracer()
    trace.set_tracer_provider(OwnProvider(tracer))
    with StageIO("ingest", tmp_path / "job", stage_number=1) as io:
        OwnSpan.set_attributes, kept = raises, OwnSpan.set_attributes
    OwnSpan.set_attributes = kept
    manifest = json.loads(io.manifest_path.read_bytes())
    assert (manifest["status"], manifest["degraded"]) == (
        "success",
        ["the program's tracer provider did not take the stage's span: RuntimeError: out of order"],
    )
    assert tree(journal(tmp_path / "job")) == {"stageio": {"ingest": {}}}
    assert capsys.readouterr().err.count("out of order") == 1


@pytest.mark.parametrize("kind", ["no-op", "disabled"])
def test_a_host_that_switched_tracing_off(tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch, kind: str):
    """With a NoOpTracerProvider, and with OTEL_SDK_DISABLED=true, the files have run, stages and steps."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    trace.set_tracer_provider(trace.NoOpTracerProvider() if kind == "no-op" else provider(backend))
    pipeline(tmp_path / "job")
    assert tree(journal(tmp_path / "job")) == {"stageio": {"ingest": {"decode": {}}, "asr": {}}}
    assert backend.spans == []


def test_a_named_provider_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, capsys):
    """Where OTEL_PYTHON_TRACER_PROVIDER names none that is installed, a stage runs all the same."""
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "nobody")
    with StageIO("ingest", tmp_path / "job", stage_number=1) as io, io.step("decode"):
        pass
    assert tree(journal(tmp_path / "job")) == {"stageio": {"ingest": {"decode": {}}}}
    assert "cannot use the program's tracer provider" in capsys.readouterr().err
    caplog.clear()  # OTel logs the error, too


def test_a_named_provider_is_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """OTEL_PYTHON_TRACER_PROVIDER=sdk_tracer_provider makes an SDK provider the host, and the files have its spans."""
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "sdk_tracer_provider")
    pipeline(tmp_path / "job")
    assert isinstance(trace.get_tracer_provider(), TracerProvider)
    assert tree(journal(tmp_path / "job")) == PIPELINE


# Long-lived hosts.


def test_many_stages_leave_nothing_behind_in_a_host(tmp_path: Path, backend: Backend):
    """After 100 stages under one provider it has one processor of ours, and nothing of theirs is kept by anybody."""
    host = provider(backend)
    trace.set_tracer_provider(host)
    tracer = trace.get_tracer("a.library")
    left = []
    for number in range(100):
        io = StageIO("ingest", tmp_path / "job", stage_number=1, mode="file" if number < 10 else "off")
        with io, io.step("decode"), tracer.start_as_current_span("request"):
            tracer.start_span("never ended")
        left += [weakref.ref(each) for each in (io, io._recorder, io._trace, io.get_stage_logger())]
    del io
    StageIO("last", tmp_path / "job", mode="off").finalize()
    gc.collect()
    assert [each for each in left if each() is not None] == []
    assert sdk._homes == {}
    assert len(host._active_span_processor._span_processors) == 2


def test_providers_are_not_kept(tmp_path: Path):
    """A provider that the program gives to one stage is free with the stage."""
    host = provider(Backend())
    StageIO("ingest", tmp_path / "job", stage_number=1, tracer_provider=host).finalize()
    left = weakref.ref(host)
    del host
    StageIO("last", tmp_path / "job").finalize()
    gc.collect()
    assert left() is None
