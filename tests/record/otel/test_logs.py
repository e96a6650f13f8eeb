"""What libraries emit through OpenTelemetry's Logs API: in the stage's files, once, whoever the provider is."""

from __future__ import annotations

import contextvars
import gc
import json
import logging
import os
import signal
import threading
import time
import warnings
import weakref

import pytest
from opentelemetry import _logs as api
from opentelemetry import context, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk._logs import export
from opentelemetry.sdk.trace import TracerProvider

from otel_stageio import StageIO, open_job
from otel_stageio import conventions as names
from otel_stageio.journal import reader
from otel_stageio.record.otel import awaiting, logs
from tests.processes import in_processes

InMemory = getattr(export, "InMemoryLogRecordExporter", None) or export.InMemoryLogExporter
#: Whether a logger takes a record by its fields, and an exception with it.
FIELDS = hasattr(api.Logger, "enabled")


@pytest.fixture(autouse=True)
def silence(caplog):
    """OpenTelemetry has nothing to say, such as that a provider cannot be set twice."""
    yield
    told = [each for each in caplog.get_records("call") if each.name.startswith("opentelemetry")]
    assert [each.getMessage() for each in told] == []


@pytest.fixture
def io() -> StageIO:
    """An open stage."""
    return StageIO("asr", stage_number=6)


@pytest.fixture
def library(io) -> api.Logger:
    """The logger of a library, while the stage is open."""
    return api.get_logger("a.library", "1.2")


@pytest.fixture
def backend() -> InMemory:
    """Where the host's log records go."""
    return InMemory()


@pytest.fixture
def host(backend) -> sdk_logs.LoggerProvider:
    """The host's own provider, set before any stage."""
    made = provider(backend)
    api.set_logger_provider(made)
    return made


def provider(backend: InMemory) -> sdk_logs.LoggerProvider:
    """An SDK provider that exports at once."""
    made = sdk_logs.LoggerProvider(shutdown_on_exit=False)
    made.add_log_record_processor(export.SimpleLogRecordProcessor(backend))
    return made


def bodies(backend: InMemory) -> list[object]:
    """What was exported."""
    return [each.log_record.body for each in backend.get_finished_logs()]


def emit(logger: api.Logger, **fields: object) -> None:
    """Emit a record of these fields, given whole: every release takes that."""
    logger.emit(LogRecord(**fields))


def emit_fields(logger: api.Logger, **fields: object) -> None:
    """Emit a record by its fields."""
    logger.emit(**fields)


def emitted(io: StageIO) -> list[LogRecord]:
    """The records of libraries in a stage's journal."""
    found = reader.log_records(io._recorder.places.logs.path)
    return [each for each in found if names.LOGGER in each.attributes]


def said(io: StageIO, told) -> list[object]:
    """Their bodies, after the stage was found in order."""
    assert told(io).manifest["degraded"] == []
    return [each.body for each in emitted(io)]


def scopes(io: StageIO) -> list[dict[str, object]]:
    """What each line of a stage's log records says of who wrote it."""
    with open(io._recorder.places.logs.path, encoding="utf-8") as file:
        of = [json.loads(line)["resourceLogs"][0]["scopeLogs"][0] for line in file]
    return [each["scope"] | {"schemaUrl": each.get("schemaUrl", "")} for each in of]


def in_thread(work, *args, **fields) -> None:
    """Do something in a thread of its own, with an empty context."""
    thread = threading.Thread(target=work, args=args, kwargs=fields)
    thread.start()
    thread.join()


# What becomes of a record.


@pytest.mark.parametrize("say", [emit, emit_fields])
def test_a_record_lands(io, library, told, capsys, say):
    """A record is in the journal with its library, in stage.log with the library's name, and nowhere else."""
    capsys.readouterr()
    say(
        library,
        timestamp=1_700_000_000_123_456_789,
        severity_number=SeverityNumber.WARN,
        body="the tape is worn",
        attributes={"reel": 3, "sides": ["a", {"b": None}]},
    )
    io.finalize()
    found = told(io)
    (record,) = found.records
    uid = record.attributes[names.LOG_RECORD_UID]
    assert (record.time_unix_nano, record.severity_number, record.severity_text, record.body) == (
        1_700_000_000_123_456_789,
        13,
        "WARNING",
        "the tape is worn",
    )
    assert record.attributes == {
        "reel": 3,
        "sides": ["a", {"b": None}],
        names.LOGGER: "a.library",
        names.LOG_RECORD_UID: uid,
    }
    assert (record.trace_id, record.span_id) == (found.manifest["trace_id"], found.manifest["span_id"])
    assert [(each.stage, each.level, each.message) for each in found.log] == [
        ("asr", "WARNING", "a.library: the tape is worn")
    ]
    assert found.manifest["log_counts"]["WARNING"] == 1
    assert capsys.readouterr().err == ""
    assert "tape" not in "".join(path.read_text() for path in io.logs_dir.iterdir())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ((None, None), (9, "INFO")),
        ((SeverityNumber.UNSPECIFIED, ""), (9, "INFO")),
        ((SeverityNumber.TRACE, None), (1, "DEBUG")),
        ((SeverityNumber.DEBUG4, None), (8, "DEBUG")),
        ((SeverityNumber.INFO2, None), (10, "INFO")),
        ((SeverityNumber.WARN, None), (13, "WARNING")),
        ((SeverityNumber.ERROR, None), (17, "ERROR")),
        ((SeverityNumber.FATAL4, None), (24, "CRITICAL")),
        ((SeverityNumber.WARN, "WARN"), (13, "WARNING")),
        ((SeverityNumber.ERROR, "warn"), (17, "WARNING")),
        ((SeverityNumber.FATAL, "FATAL"), (21, "CRITICAL")),
        ((17, "Error"), (17, "ERROR")),
        ((None, "TRACE"), (1, "TRACE")),
        ((None, "debug"), (5, "DEBUG")),
        ((None, "fatal"), (21, "CRITICAL")),
        ((None, "notice"), (0, "notice")),
        ((SeverityNumber.INFO3, "notice"), (11, "notice")),
        ((25, None), (9, "INFO")),
        ((-1, "ERROR"), (17, "ERROR")),
        (("13", 7), (0, "7")),
    ],
)
def test_severities(io, library, told, given, kept):
    """Number and level are as given, the levels that the journal knows in its spelling; one is made from the other."""
    emit(library, severity_number=given[0], severity_text=given[1], body="x")
    found = told(io)
    assert (found.records[-1].severity_number, found.records[-1].severity_text) == kept
    assert (found.log[-1].level, found.manifest["log_counts"][kept[1]]) == (kept[1], 1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [((5, 7), 5), *[((timestamp, 7), 7) for timestamp in (None, 0, "then", -5, 1 << 64, float("nan"))]],
)
def test_times(io, library, told, given, kept):
    """A record has the time that it is given, else that at which it was seen."""
    library.emit(timestamp=given[0], observed_timestamp=given[1], body="x")
    assert told(io).records[-1].time_unix_nano == kept


def test_a_record_without_a_time_is_of_now(io, library, told):
    """Without either it is of the moment in which it is emitted."""
    before = time.time_ns()
    library.emit(body="x")
    assert before - 1_000_000 <= told(io).records[-1].time_unix_nano <= time.time_ns() + 1_000_000


def test_event_names(io, library, told):
    """An event name is kept, and shown where there is no body; one like ours is an attribute, and no event of ours."""
    emit(library, event_name="model.loaded", body="m", attributes={"stageio.status": "failed"})
    emit(library, event_name="model.loaded")
    emit(library, event_name=names.FINISHED, attributes={names.STATUS: "failed"})
    emit(library, event_name=names.ERROR, body="nothing")
    emit(library, event_name=7)
    found = told(io)
    assert [(each.event_name, each.body) for each in emitted(io)] == [
        ("model.loaded", "m"),
        ("model.loaded", None),
        ("", None),
        ("", "nothing"),
        ("7", None),
    ]
    assert [each.attributes[names.OTEL_EVENT_NAME] for each in found.records] == [names.FINISHED, names.ERROR]
    shown = ["m", "model.loaded", names.FINISHED, "nothing", "7"]
    assert [message for _, message in found.lines] == [f"a.library: {of}" for of in shown]
    assert (found.manifest["status"], found.manifest["errors"]) == ("running", [])
    assert found.manifest["log_counts"]["INFO"] == 5


class Odd:
    """Whatever is asked of it, it raises."""

    def __repr__(self) -> str:
        raise ValueError("no")

    __str__ = __repr__


ODD = f"<{__name__}.Odd: repr failed with ValueError>"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"a": [1, b"\x00\xff"]}, ({"a": [1, b"\x00\xff"]}, '{"a": [1, "AP8="]}')),
        (7, (7, "7")),
        (float("nan"), ("NaN", "NaN")),
        (b"raw", (b"raw", "cmF3")),
        ("two\nlines \udc80", ("two\nlines \\udc80", "two\nlines \\udc80")),
        (False, (False, "false")),
        ("", ("", "")),
        (Odd(), (ODD, ODD)),
        (None, (None, "")),
    ],
    ids=lambda of: type(of).__name__,
)
def test_bodies(io, library, told, body, kept):
    """A body of any type is kept as the journal keeps values, and stands in stage.log as text."""
    emit(library, body=body)
    found = told(io)
    assert (found.records[-1].body, found.log[-1].message.removeprefix("a.library: ")) == kept


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ({1: "one", "of": Odd, "at": ("a", 1)}, {"1": "one", "of": repr(Odd), "at": ["a", 1]}),
        ({names.LOG_RECORD_UID: "mine", names.LOGGER: "somebody", "a": 1}, {"a": 1}),
        ([1, 2], {"value": [1, 2]}),
        (7, {"value": 7}),
        ({}, {}),
    ],
)
def test_attributes(io, library, told, attributes, kept):
    """Attributes of any type are kept as the journal keeps values; what we say of the record ourselves holds."""
    library.emit(body="x", attributes=attributes)
    found = dict(told(io).records[-1].attributes)
    assert found.pop(names.LOGGER) == "a.library"
    assert found.pop(names.LOG_RECORD_UID) != "mine"
    assert found == kept


def test_a_record_too_large_for_a_line_is_cut(io, library, told):
    """A huge record is whole in stage.log, cut in the journal, and no line of that is too long."""
    emit(library, body="b" * 600_000, attributes={"a": "c" * 600_000})
    found = told(io)
    assert found.records[-1].attributes[names.CUT] == {"body": 600_000, "a": 600_000}
    assert len(found.log[-1].message) == 600_000 + len("a.library: ")


class Raising:
    """Whatever is asked of it, it raises."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError("no")


@pytest.mark.parametrize("make", [type(None), str, object, Raising])
def test_what_is_no_record(io, library, told, make):
    """Whatever a logger is given in place of a record, it does not raise, and says that something was said."""
    library.emit(make())
    library.emit(nobody="knows", context=make())
    assert [each.message for each in told(io).log if each.message.startswith("a.library")] == ["a.library: "] * 2


@pytest.mark.parametrize("about", [("",), (None,), (7, 1.5), ("x", None, Odd(), {"a": ["b", None]})])
def test_what_is_no_library(io, told, about):
    """A library may call itself anything."""
    emit(api.get_logger_provider().get_logger(*about), body="said")
    assert told(io).log[-1].message.endswith("said")


def test_exceptions(io, library, told):
    """An exception is in the journal by type, message and traceback; stage.log has the traceback, and add_error not."""
    try:
        int("x")
    except ValueError as why:
        library.emit(body="no number", exception=why)
        library.emit(exception=why, attributes={names.EXCEPTION_TYPE: "Own"})
        io.add_error("no number", why)
    emit(library, body="b", attributes={names.EXCEPTION_TYPE: "E", names.EXCEPTION_MESSAGE: "m"})
    emit(library, body="b", attributes={names.EXCEPTION_STACKTRACE: "T\nE: m\n"})
    emit(library, attributes={names.EXCEPTION_TYPE: "E", names.EXCEPTION_MESSAGE: "m"})
    found = [each for each in told(io).log if each.message.startswith("a.library")]
    last = "ValueError: invalid literal for int() with base 10: 'x'"
    assert [each.message.removeprefix("a.library: ") for each in found] == [
        "no number",
        "Own: invalid literal for int() with base 10: 'x'",
        "b",
        "b",
        "E: m",
    ]
    assert [each.exception.splitlines()[-1:] for each in found] == [[last], [last], ["E: m"], ["E: m"], []]
    assert [each.exception.count("Traceback") for each in told(io).log].count(1) == 2
    first = next(each for each in told(io).records if each.body == "no number")
    assert first.attributes[names.EXCEPTION_TYPE] == "ValueError"
    assert first.attributes[names.EXCEPTION_STACKTRACE].endswith(last)


def test_an_exception_of_a_record(io, library, told):
    """A record that is given whole brings its exception along."""
    record = LogRecord(body="no number")
    record.exception = KeyError("k")
    library.emit(record)
    assert told(io).log[-1].exception == "KeyError: 'k'"


def test_a_record_that_makes_records(io, library, told):
    """A body whose text emits a record with itself ends, is told, and the outer records are kept."""

    class Chain:
        def __repr__(self) -> str:
            emit(library, body=self)
            return "chain"

    emit(library, body=Chain())
    emit(library, body="after")
    io.refresh()
    assert [each.body for each in emitted(io)] == ["chain"] * 3 + ["after"]
    assert [each for each in io.manifest["degraded"] if "more than 3 deep" in each] != []


# Where a record lands.


def test_a_logger_of_before_the_stage(told):
    """A library that got its logger before there was a stage is heard, in this stage and in the next one."""
    library = api.get_logger("a.library")
    emit(library, body="nobody hears")
    stages = []
    for number in (1, 2):
        io = StageIO("asr", stage_number=number)
        emit(library, body=f"in {number}")
        io.finalize()
        stages.append(io)
    assert [[body for body in said(io, told) if "in" in body] for io in stages] == [["in 1"], ["in 2"]]


def test_outside_of_any_stage(told):
    """Before, between and after stages a record goes nowhere."""
    io = StageIO("asr", stage_number=6)
    library = api.get_logger("a.library")
    io.finalize()
    emit(library, body="after")
    in_thread(emit, library, body="after, in a thread")
    assert said(io, told) == []


def test_a_record_of_an_ended_stage(io, library, told):
    """What is emitted in a span that outlives its stage is the stage's still, and is written, and counted."""
    with trace.get_tracer("a.library").start_as_current_span("request"):
        io.finalize()
        emit(library, body="late")
    assert said(io, told) == ["late"]
    assert told(io).log[-1].message == "a.library: late"
    assert told(io).manifest["warnings"] == []


def test_spans_and_steps(io, library, told):
    """A record is by the span that it is emitted in, and in its step; that of another trace is by the stage's span."""
    tracer = trace.get_tracer("a.library")
    with io.step("decode"), io.step("window") as window:
        emit(library, body="in the step")
        with tracer.start_as_current_span("request") as request:
            emit(library, body="in the request")
            held = context.get_current()
    foreign = trace.SpanContext(7, 8, is_remote=True)
    emit(library, body="foreign", context=trace.set_span_in_context(trace.NonRecordingSpan(foreign)))
    library.emit(body="by its context", context=held)
    emit(library, body="by its context, whole", context=held)
    found = told(io)
    own = [window.get_span_context().span_id, request.get_span_context().span_id]
    stage, step, child = found.manifest["span_id"], *map(trace.format_span_id, own)
    assert [(each.body, each.span_id, each.attributes.get(names.STEP)) for each in found.records] == [
        ("in the step", step, "decode/window"),
        ("in the request", child, "decode/window"),
        ("foreign", stage, None),
        ("by its context", child, None),
        ("by its context, whole", child, None),
    ]
    assert [each.stage for each in found.log][:3] == ["asr/decode/window", "asr/decode/window", "asr"]


@pytest.mark.parametrize("span_id", [0, -1, 1 << 64, "ab", None])
def test_what_is_no_span(io, library, told, span_id):
    """A record that names a span that cannot be is the stage's own span's."""
    record = LogRecord(body="x")
    record.span_id = span_id
    library.emit(record)
    found = told(io)
    assert found.records[-1].span_id == found.manifest["span_id"]


def test_threads_and_two_stages(told):
    """A record is the stage's in whose context it is emitted, else the newest open one's."""
    with StageIO("outer", stage_number=1) as outer:
        library = api.get_logger("a.library")
        held = contextvars.copy_context()
        with StageIO("inner", stage_number=2) as inner:
            emit(library, body="here")
            in_thread(emit, library, body="in a bare thread")
            in_thread(held.run, emit, library, body="in a thread of the outer one's")
        emit(library, body="around")
        in_thread(emit, library, body="in a bare thread, later")
    assert said(inner, told) == ["here", "in a bare thread"]
    assert said(outer, told) == ["in a thread of the outer one's", "around", "in a bare thread, later"]


def test_many_threads_at_once(io, library, told):
    """Records of eight threads at once are all there, each once."""
    threads = [
        threading.Thread(target=lambda of=of: [emit(library, body=of * 100 + n) for n in range(50)]) for of in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    io.finalize()
    assert sorted(said(io, told)) == sorted(of * 100 + n for of in range(8) for n in range(50))
    assert told(io).manifest["log_counts"]["INFO"] >= 400


def test_in_a_child_by_fork(io, library, told):
    """What a library emits in a forked process is in the stage's files too."""
    assert in_processes(2, lambda number: emit(library, body=f"child {number}")) == [None, None]
    io.finalize()
    assert sorted(said(io, told)) == ["child 0", "child 1"]


def test_a_kill_leaves_it_readable(io, library, told):
    """A record is on disk when emit returns, whatever ends the process then."""
    child = os.fork()
    if child == 0:
        emit(library, body="last words", severity_text="ERROR")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    row = open_job("out").logs(level="error")[-1]
    assert (row["message"], row["logger"]) == ("last words", "a.library")
    io.finalize()
    assert told(io).manifest["log_counts"]["ERROR"] == 1


def test_mode_off_and_enabled(tmp_path):
    """A library may ask whether a record would be written: within any stage, also one that is kept in memory alone."""
    with StageIO("asr", stage_number=6, mode="off") as io:
        library = api.get_logger("a.library")
        emit(library, body="x", severity_text="WARN")
        logger = logs.JournalLogger("a.library", None, None, None)
        assert logger.enabled(severity_number=SeverityNumber.DEBUG, event_name="e")
        assert logger.enabled(context=context.get_current())
        assert io.manifest["log_counts"]["WARNING"] == 1
    assert not logger.enabled()
    assert list(tmp_path.iterdir()) == []


def test_an_ended_stage_is_let_go(io, library):
    """Neither our provider nor a logger of it keeps a stage that has ended."""
    made = StageIO("other", stage_number=7)
    emit(library, body="x")
    made.finalize()
    known = weakref.ref(made)
    del made
    io.finalize()  # the process remembers the stage that ended last
    gc.collect()
    assert known() is None


# What passes on what logging said.


class Passing(logging.Handler):
    """Hands what logging says to OpenTelemetry, as bridges do."""

    def emit(self, record: logging.LogRecord) -> None:
        self._deeper(record, 4)

    def _deeper(self, record: logging.LogRecord, depth: int) -> None:
        if depth:
            self._deeper(record, depth - 1)
        else:
            emit(api.get_logger(record.name), body=record.getMessage())


def of_the_sdk(**options) -> logging.Handler:
    """The SDK's own bridge, which is to be replaced by another one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return sdk_logs.LoggingHandler(**options)


@pytest.mark.parametrize("make", [Passing, of_the_sdk])
@pytest.mark.parametrize("when", ["before", "after"])
def test_bridges(told, make, when):
    """What a bridge passes on is not told twice; the stage's own record is there once, another logger's is not."""
    root = logging.getLogger()
    if when == "before":
        root.addHandler(make())
    io = StageIO("asr", stage_number=6)
    if when == "after":
        root.addHandler(make())
    io.get_stage_logger().warning("own")
    logging.getLogger("somebody.else").warning("theirs")
    emit(api.get_logger("a.library"), body="by the api")
    assert said(io, told) == ["by the api"]
    assert [message for _, message in told(io).lines] == ["own", "a.library: by the api"]


def test_bridges_beside_capture(told):
    """With capture="root" another logger's record is there once, whether it is passed on or not."""
    logging.getLogger().addHandler(of_the_sdk())
    io = StageIO("asr", stage_number=6, capture="root")
    logging.getLogger("somebody.else").warning("theirs")
    io.finalize()
    assert [line for line in told(io).lines if line[0] == "WARNING"] == [("WARNING", "somebody.else: theirs")]


# Hosts with a provider of their own.


def test_a_host_of_before(host, backend, told):
    """What is emitted within a stage goes to the host, once, and to the stage, once; outside to the host alone."""
    library = api.get_logger("a.library", "1.2", schema_url="http://schema")
    emit(library, body="before")
    found = []
    for number in (1, 2):
        with StageIO("asr", stage_number=number) as io, io.step("decode") as step:
            emit(library, body=f"in {number}", severity_number=SeverityNumber.ERROR, attributes={"a": [1]})
            found.append((io, step.get_span_context().span_id))
    emit(library, body="after")
    assert bodies(backend) == ["before", "in 1", "in 2", "after"]
    for number, (io, step) in enumerate(found, 1):
        assert said(io, told) == [f"in {number}"]
        assert scopes(io) == [{"name": "a.library", "version": "1.2", "schemaUrl": "http://schema"}]
        (record,) = emitted(io)
        assert (record.severity_text, record.attributes["a"]) == ("ERROR", [1])
        assert (record.span_id, record.attributes[names.STEP]) == (trace.format_span_id(step), "decode")
    assert api.get_logger_provider() is host


def test_a_host_that_redacts(host, backend, told):
    """A processor of the host's that changes records has changed them before they are copied."""

    class Redacting:
        def on_emit(self, data) -> None:
            data.log_record.body = "redacted"

        def enabled(self, **_) -> bool:
            return False

    host._multi_log_record_processor._log_record_processors = (
        Redacting(),
        *host._multi_log_record_processor._log_record_processors,
    )
    io = StageIO("asr", stage_number=6)
    emit(api.get_logger("a.library"), body="password")
    assert (said(io, told), bodies(backend)) == (["redacted"], ["redacted"])


def test_a_bridge_of_the_host(host, backend, told):
    """The host has what its bridge passes on; the stage has its own record once."""
    logging.getLogger().addHandler(of_the_sdk(logger_provider=host))
    io = StageIO("asr", stage_number=6)
    io.get_stage_logger().warning("own")
    assert bodies(backend) == ["own"]
    assert said(io, told) == []
    assert [message for _, message in told(io).lines].count("own") == 1


def test_a_host_of_after(backend, told):
    """A provider that is set while a stage is open gets every record from then on, without a warning; we copy them."""
    old = api.get_logger("old.library")
    io = StageIO("asr", stage_number=6)
    new = api.get_logger("new.library")
    for library in (old, new):
        emit(library, body="before")
    set_later = provider(backend)
    api.set_logger_provider(set_later)
    newest = api.get_logger("newest.library")
    for library in (newest, old, new):
        emit(library, body=library._name)
    with io.step("decode"):
        emit(newest, body="in a step")
    io.finalize()
    emit(old, body="after")
    theirs = ["newest.library", "old.library", "new.library", "in a step"]
    assert bodies(backend) == [*theirs, "after"]
    assert said(io, told) == ["before", "before", *theirs]
    assert api.get_logger_provider() is set_later


def test_fields_are_handed_on(backend, told):
    """A logger that we gave out hands on the fields of a record, and the question whether there is any use in one."""
    io = StageIO("asr", stage_number=6)
    library = api.get_logger("a.library")
    api.set_logger_provider(provider(backend))
    if FIELDS:
        library.emit(body="by fields", severity_number=SeverityNumber.WARN)
        assert library.enabled(severity_number=SeverityNumber.WARN)
        assert (bodies(backend), said(io, told)) == (["by fields"], ["by fields"])
    else:
        emit(library, body="whole")
        assert (bodies(backend), said(io, told)) == (["whole"], ["whole"])


def test_a_host_that_is_asked_whether_it_is_enabled(told):
    """Within a stage a record is of use to the copy, whatever the host's processors say; outside they decide."""
    made = sdk_logs.LoggerProvider(shutdown_on_exit=False)
    api.set_logger_provider(made)
    with StageIO("asr", stage_number=6):
        (copier,) = made._multi_log_record_processor._log_record_processors
        assert copier.enabled(context=None, severity_number=SeverityNumber.DEBUG)
    assert not copier.enabled()
    assert (copier.force_flush(), copier.shutdown()) == (True, None)


def test_a_shut_down_host(told):
    """After the host's shutdown the stage's copy goes on."""
    host = sdk_logs.LoggerProvider(shutdown_on_exit=False)
    api.set_logger_provider(host)
    io = StageIO("asr", stage_number=6)
    host.shutdown()
    emit(api.get_logger("a.library"), body="still")
    assert said(io, told) == ["still"]


class Foreign(api.LoggerProvider):
    """A provider that is nobody's we know, and keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[object] = []

    def get_logger(self, name, version=None, schema_url=None, attributes=None):
        kept = self.kept

        class Logger(api.Logger):
            def emit(self, record=None, **fields) -> None:
                kept.append(record.body)

            def enabled(self, **_) -> bool:
                return False

        return Logger(name)


def test_a_host_that_is_not_the_sdk(told):
    """A provider of another kind keeps its records to itself."""
    foreign = Foreign()
    api.set_logger_provider(foreign)
    io = StageIO("asr", stage_number=6)
    emit(api.get_logger("a.library"), body="x")
    assert (foreign.kept, said(io, told)) == (["x"], [])


def test_a_host_made_of_ours(told):
    """A provider that a program builds upon the one it found, ours, does not hand records round in a circle."""
    io = StageIO("asr", stage_number=6)
    found = api.get_logger_provider()
    before = found.get_logger("a.library")

    class Outer(Foreign):
        def get_logger(self, *about, **options):
            return found.get_logger(*about, **options)

    api.set_logger_provider(Outer())
    emit(before, body="by a logger of before")
    emit(api.get_logger("a.library"), body="by a new one")
    assert said(io, told) == ["by a logger of before", "by a new one"]


@pytest.mark.parametrize("how", ["STAGEIO_TRACER", "tracer_provider"])
def test_a_program_that_keeps_its_place(monkeypatch, told, how):
    """With STAGEIO_TRACER=off or a tracer_provider= the place is left to the program; its records are copied still."""
    options = {}
    if how == "STAGEIO_TRACER":
        monkeypatch.setenv(how, "off")
    else:
        options[how] = TracerProvider(shutdown_on_exit=False)
    io = StageIO("asr", stage_number=6, **options)
    library = api.get_logger("a.library")
    assert not isinstance(api.get_logger_provider(), logs.JournalLoggerProvider)
    emit(library, body="lost")
    api.set_logger_provider(sdk_logs.LoggerProvider(shutdown_on_exit=False))
    io.get_stage_logger().info("a look around")
    emit(library, body="copied")
    assert said(io, told) == ["copied"]


def test_a_provider_by_the_environment(monkeypatch, told):
    """Where the environment names a provider, OpenTelemetry makes that one when it is asked, and we copy."""
    monkeypatch.setenv("OTEL_PYTHON_LOGGER_PROVIDER", "sdk_logger_provider")
    io = StageIO("asr", stage_number=6)
    library = api.get_logger("a.library")
    assert isinstance(api.get_logger_provider(), sdk_logs.LoggerProvider)
    emit(library, body="copied")
    assert said(io, told) == ["copied"]
    api.get_logger_provider().shutdown()


def test_trouble_of_our_own(monkeypatch, capsys, told):
    """What goes wrong when our provider comes in is one line on stderr; the stage is as ever."""
    monkeypatch.setattr(logs, "take_place", lambda: 1 / 0)
    io = StageIO("asr", stage_number=6)
    io.finalize()
    assert "cannot take in OpenTelemetry's log records: ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert told(io).manifest["status"] == "success"


def test_trouble_with_a_record(monkeypatch, io, library, capsys):
    """What goes wrong with a record reaches no library, and is told once."""
    monkeypatch.setattr(logs, "_severity", lambda _: 1 / 0)
    emit(library, body="x")
    emit(library, body="x")
    assert capsys.readouterr().err.count("cannot record a log message: ZeroDivisionError") == 1


def test_looking_is_once(host):
    """However often we look, a provider has one processor of ours."""
    StageIO("asr", stage_number=6)
    for _ in range(3):
        awaiting.look()
    in_thread(awaiting.look)
    assert len(host._multi_log_record_processor._log_record_processors) == 2


def test_json_of_a_line(io, library):
    """A line of logs.jsonl is OTLP: event name, scope and body where the protocol has them."""
    emit(library, event_name="e", body={"a": 1}, timestamp=5)
    assert scopes(io) == [{"name": "a.library", "version": "1.2", "schemaUrl": ""}]
    with open(io._recorder.places.logs.path, encoding="utf-8") as file:
        (record,) = json.loads(file.read())["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert (record["eventName"], record["timeUnixNano"]) == ("e", "5")
    assert record["body"] == {"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}
