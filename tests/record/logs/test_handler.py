"""What becomes of a log record: in stage.log and in the journal, whatever is in it."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
from decimal import Decimal
from unittest import mock

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_stageio import StageIO, StageIOError
from otel_stageio import conventions as names
from otel_stageio.conventions import severity
from otel_stageio.record.logs import handler as handler_module


@pytest.fixture
def io() -> StageIO:
    """An open stage, number 6, in `out`, with a console that nobody looks at."""
    io = StageIO("asr", stage_number=6)
    io.get_stage_logger(100)
    return io


@pytest.fixture
def logger(io) -> logging.Logger:
    """Its logger."""
    return io.get_stage_logger()


def alone():
    """No handlers of the host, pytest's among them, in a block: each would format a record once more."""
    return mock.patch.object(logging.getLogger(), "handlers", [])


@pytest.fixture
def only(io, told):
    """Give a function that returns the only record of the journal, after stage.log was found to say the same."""

    def record():
        found = told(io)
        (one,) = found.records
        (line,) = found.log
        if names.CUT not in one.attributes:
            assert (line.level, line.message) == (one.severity_text, one.body)
            assert line.exception == one.attributes.get(names.EXCEPTION_STACKTRACE, "")
        return one

    return record


@pytest.mark.parametrize(
    ("level", "number"),
    [(0, 1), (1, 1), (9, 1), (10, 5), (13, 6), (19, 8), (20, 9), (25, 10), (30, 13), (40, 17), (50, 21), (99, 21)],
)
def test_severity(level, number):
    """A level is the OpenTelemetry severity number of its range; those between lie between, and order is kept."""
    assert severity(level) == number


def test_severities_keep_the_order_of_levels():
    """A higher level never has a lower severity."""
    numbers = [severity(level) for level in range(60)]
    assert numbers == sorted(numbers)
    assert set(numbers) <= set(range(1, 25))


def test_a_line_of_stage_log(io, logger):
    """A line is `[time with milliseconds] [stage] [LEVEL] message`; a traceback stands indented below it."""
    logger.info("Starting")
    try:
        int("x")
    except ValueError:
        logger.exception("Failed\nbadly")
    header, first, *rest = io.stage_log.read_text(encoding="utf-8").splitlines()
    assert header.startswith("# ")
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] \[asr\] \[INFO\] Starting", first)
    assert re.fullmatch(r"\[.{23}\] \[asr\] \[ERROR\] Failed", rest[0])
    assert rest[1:3] == ["    badly", "  ! Traceback (most recent call last):"]
    assert rest[-1] == "  ! ValueError: invalid literal for int() with base 10: 'x'"


def test_record_in_the_journal(io, logger, only):
    """The journal has time, severity, body, place, trace and span of a record."""
    before = io._recorder.clock.now()
    logger.warning("at %d %%", 50)
    after = io._recorder.clock.now()
    record = only()
    assert before <= record.time_unix_nano <= after
    assert (record.body, record.severity_text, record.severity_number) == ("at 50 %", "WARNING", 13)
    assert (record.trace_id, record.span_id) == (io.manifest["trace_id"], io.manifest["span_id"])
    about = record.attributes
    assert about[names.CODE_FILE_PATH] == __file__
    assert about[names.CODE_FUNCTION_NAME] == "test_record_in_the_journal"
    assert type(about[names.CODE_LINE_NUMBER]) is int
    assert names.THREAD_NAME not in about


# Messages.


@pytest.mark.parametrize(
    "message",
    [
        "",
        "two\nlines\n\nand more\n",
        "[2025-11-27 13:30:01.123] [asr] [ERROR] forged",
        "line\n[2025-11-27 13:30:01.123] [asr] [ERROR] forged",
        "line\r[2025-11-27 13:30:01.123] [asr] [ERROR] forged",
        "line\u2028[2025-11-27 13:30:01.123] [asr] [ERROR] forged",
        "nul \0, ansi \x1b[31mred\x1b[0m, tab \t, bell \x07, \x85",
        "\\x1b is no escape, C:\\temp\\new neither",
        "100%s %d %(name)s {x}",
        "gr\u00fc\u00df \U0001f3b5 \u202eabc",
    ],
)
def test_messages_come_back_as_they_were(logger, only, io, message):
    """Whatever is in a message, stage.log and journal give it back, and no message can forge a line."""
    logger.info(message)
    assert only().body == message
    heads = [line for line in io.stage_log.read_text(encoding="utf-8").split("\n") if line.startswith("[")]
    assert len(heads) == 1
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028]", io.stage_log.read_text(encoding="utf-8"))


def test_lone_surrogates_are_escaped(logger, only):
    """A file name that is not UTF-8 is written with an escape, since no UTF-8 can hold it."""
    with alone():  # no stream can take them
        logger.info("caf\udce9 %s", "\ud800")
    assert only().body == "caf\\udce9 \\ud800"


def test_a_long_message_is_whole_in_stage_log_and_cut_in_the_journal(io, logger, told):
    """A message of 5 MB is whole in stage.log; in the journal it is cut to fit a line, and marked."""
    message = "0123456789" * 500_000
    logger.info(message)
    found = told(io)
    (record,) = found.records
    assert found.log[0].message == message
    assert message.startswith(record.body)
    assert 400_000 < len(record.body) < 512 * 1024
    assert record.attributes[names.CUT] == {"body": 5_000_000}
    assert max(map(len, (io.stage_dir / ".stageio/001/logs.jsonl").read_bytes().splitlines())) < 512 * 1024


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self

    def __mod__(self, _: object) -> Text:
        return self


class Failing:
    def __str__(self) -> str:
        raise StageIOError("not today")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("message", "arguments", "parts"),
    [
        ("%d words", ("many",), ["%d words", "many", "not formatted: TypeError"]),
        ("none", (1, 2), ["none", "1", "2", "not formatted"]),
        ("%(a)s", ({"b": 1},), ["%(a)s", "'b': 1", "KeyError"]),
        ("said %s", (Failing(),), ["said %s", "Failing", "not formatted: otel_stageio.errors.StageIOError: not today"]),
        (Failing(), (), ["Failing", "not formatted"]),
        (Failing(), (Failing(),), ["Failing", "not formatted"]),
        (7, (), ["7"]),
        (None, (), ["None"]),
        (b"\0bytes", (), ["b'\\x00bytes'"]),
        (ValueError("bad"), (), ["bad"]),
        (Text("of its own class"), (), ["of its own class"]),
        (Text("of its own class"), (1,), ["of its own class"]),
        ("%s", (Text("x"),), ["x"]),
        ("%s %r", ("a", {"b": Decimal(1)}), ["a {'b': Decimal('1')}"]),
    ],
)
def test_messages_and_arguments_of_any_kind(logger, only, message, arguments, parts):
    """What cannot be formatted is recorded as what it was, and the call does not raise."""
    with alone():
        logger.info(message, *arguments)
    body = only().body
    assert [part in body for part in parts] == [True] * len(parts)


# Exceptions and stacks.


def raised() -> ValueError:
    """An exception with a traceback."""
    with pytest.raises(ValueError, match="bad") as caught:
        raise ValueError("bad")
    return caught.value


@pytest.mark.parametrize(
    "given",
    [lambda error: error, lambda error: (type(error), error, error.__traceback__), lambda _: True],
    ids=["exception", "tuple", "true"],
)
def test_exc_info_of_every_kind(logger, only, given):
    """exc_info as exception, as tuple and as True gives type, message and traceback."""
    try:
        int("bad")
    except ValueError as error:
        logger.warning("failed", exc_info=given(error))
    about = only().attributes
    assert (about[names.EXCEPTION_TYPE], about[names.EXCEPTION_MESSAGE][-5:]) == ("ValueError", "'bad'")
    assert "test_exc_info_of_every_kind" in about[names.EXCEPTION_STACKTRACE]


@pytest.mark.parametrize("given", [True, (None, None, None), False, None, ()], ids=str)
def test_exc_info_without_an_exception(logger, only, given):
    """exc_info where nothing was raised adds nothing."""
    logger.error("failed", exc_info=given)
    assert not [key for key in only().attributes if key.startswith("exception.")]


def test_exc_info_with_a_traceback_of_its_own(logger, only):
    """The traceback of a tuple is the one that is told, also where the exception has lost its own."""
    error = raised()
    where = error.__traceback__
    logger.error("failed", exc_info=(ValueError, error.with_traceback(None), where))
    assert "in raised" in only().attributes[names.EXCEPTION_STACKTRACE]


def test_a_traceback_that_came_as_text(logger, only):
    """A record that another process sent has its traceback as text, which is told."""
    logger.handle(logging.makeLogRecord({"levelno": 40, "levelname": "ERROR", "msg": "m", "exc_text": "Traceback ..."}))
    assert only().attributes[names.EXCEPTION_STACKTRACE] == "Traceback ..."


def test_stack_info(logger, only):
    """stack_info stands below the record, after a traceback if there is one."""
    logger.error("failed", exc_info=raised(), stack_info=True)
    told = only().attributes[names.EXCEPTION_STACKTRACE]
    assert told.index("ValueError: bad") < told.index("Stack (most recent call last)") < told.index("test_stack_info")


def test_stack_info_alone(logger, only):
    """stack_info without an exception is told as well."""
    logger.info("here", stack_info=True)
    assert only().attributes[names.EXCEPTION_STACKTRACE].startswith("Stack (most recent call last)")


# Extras.


def test_extras_of_any_kind(logger, only):
    """Each extra is an attribute of its name with its value, whatever it is."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    extra = {
        "n": 1,
        "deep": {"a": [None, 2.5]},
        "odd": Odd(),
        "caf\udce9": "\udce9",
        "bytes": b"\0",
        "nan": float("nan"),
    }
    logger.info("said", extra=extra)
    about = only().attributes
    assert {key: about[key] for key in ("n", "deep", "caf\\udce9", "bytes", "nan")} == {
        "n": 1,
        "deep": {"a": [None, 2.5]},
        "caf\\udce9": "\\udce9",
        "bytes": b"\0",
        "nan": "NaN",
    }
    assert "Odd" in about["odd"]


def test_extras_cannot_take_the_records_identity(io, logger, only):
    """An extra with the name of the record's uid does not become it."""
    logger.info("said", extra={names.LOG_RECORD_UID: "mine-1"})
    assert only().attributes[names.LOG_RECORD_UID] != "mine-1"


def test_what_the_hosts_record_factory_adds_is_recorded(tmp_path, run_script):
    """Attributes of the host's record factory are recorded like extras, also where it was set before the import."""
    done = run_script(
        """
        import logging
        before = logging.getLogRecordFactory()
        def factory(*args, **kwargs):
            record = before(*args, **kwargs)
            record.request = "r1"
            return record
        logging.setLogRecordFactory(factory)
        from otel_stageio import StageIO, open_job
        with StageIO("asr", stage_number=1) as io:
            io.get_stage_logger().info("said")
        print(open_job("out").logs()[0]["extra.request"])
        """
    )
    assert done.stdout == "r1\n", done.stderr


# Records within records.


def test_records_of_an_arguments_str(io, logger, told):
    """A record that __str__ of an argument makes is written too, before the one that it is part of."""

    class Talking:
        def __str__(self) -> str:
            logger.debug("asked")
            return "me"

    with alone():
        logger.info("said by %s", Talking())
    assert told(io).lines == [("DEBUG", "asked"), ("INFO", "said by me")]


def test_records_of_a_destructor(io, logger, told):
    """A record that __del__ makes while a record is formatted is written too."""

    class Leaving:
        def __del__(self) -> None:
            logger.debug("leaving")

    class Dropping:
        def __str__(self) -> str:
            Leaving()
            return "dropped"

    with alone():
        logger.info("%s", Dropping())
    assert told(io).lines == [("DEBUG", "leaving"), ("INFO", "dropped")]


def test_records_of_a_signal_handler(io, logger, told, monkeypatch):
    """A record that a signal handler makes in the middle of another one is written too, and nothing waits."""
    signal.signal(signal.SIGUSR1, lambda *_: logger.warning("signalled"))

    class Slow:
        def __str__(self) -> str:
            os.kill(os.getpid(), signal.SIGUSR1)
            return "slow"

    with alone():
        logger.info("%s", Slow())
    real = handler_module.logline.render

    def render(*args: str) -> str:
        monkeypatch.setattr(handler_module.logline, "render", real)
        os.kill(os.getpid(), signal.SIGUSR1)
        return real(*args)

    monkeypatch.setattr(handler_module.logline, "render", render)
    logger.info("second")
    assert sorted(told(io).lines) == [("INFO", "second"), ("INFO", "slow"), *[("WARNING", "signalled")] * 2]


def test_endless_records_are_stopped_and_counted(io, logger, told, capsys):
    """A record whose formatting makes a record without end is stopped at a depth of three, and said once."""

    class Endless:
        def __str__(self) -> str:
            logger.info("%s", Endless())
            return "end"

    with alone():
        logger.info("%s", Endless())
        logger.info("%s", Endless())
    assert [message for _, message in told_lines(io)] == ["end"] * 6
    (said,) = io.manifest["degraded"]
    assert "more than 3 deep" in said
    assert capsys.readouterr().err.count("more than 3 deep") == 1


def test_endless_records_do_not_end_the_program_of_a_host_that_listens(io, logger):
    """With handlers of a host, which format each record too, an endless record is stopped all the same."""

    class Endless:
        def __str__(self) -> str:
            logger.info("%s", Endless())
            return "end"

    host = logging.StreamHandler(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - closed below
    logging.getLogger().addHandler(host)
    logger.info("%s", Endless())
    host.stream.close()
    assert set(told_lines(io)) == {("INFO", "end")}


def told_lines(io: StageIO) -> list[tuple[str, str]]:
    """Level and message of each line of stage.log."""
    return re.findall(r"\] \[asr\] \[(\w+)\] (.*)", io.stage_log.read_text(encoding="utf-8"))


def test_an_interrupt_in_a_record_does_not_silence_the_thread(io, logger, told):
    """A KeyboardInterrupt that comes while a record is formatted goes on, and later records are written."""

    class Interrupted:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            logger.info("%s", Interrupted())
    logger.info("going on")
    assert told(io).lines == [("INFO", "going on")]


# Threads and spans.


def test_thread_names(io, logger, told):
    """A record of another thread has the thread's name, and the stage's span."""
    thread = threading.Thread(target=logger.info, args=("from a thread",), name="worker \udce9")
    thread.start()
    thread.join()
    (record,) = told(io).records
    assert record.attributes[names.THREAD_NAME] == "worker \\udce9"
    assert record.span_id == io.manifest["span_id"]


def test_records_in_a_child_span_have_its_id(io, logger, told):
    """A record made while a span of the stage's trace is current belongs to it; one of another trace to the stage."""
    own = int(io.manifest["trace_id"], 16)
    for trace_id, span_id in ((own, 0xABC), (0x123, 0xDEF)):
        context = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(1))
        with trace.use_span(NonRecordingSpan(context)):
            logger.info("said")
    logger.info("said")
    stage = io.manifest["span_id"]
    assert [record.span_id for record in told(io).records] == ["0000000000000abc", stage, stage]


def test_records_from_many_threads(io, logger, told):
    """Threads that log at once lose nothing, and no line is torn."""

    def work(number: int) -> None:
        for count in range(50):
            logger.info("%d of %d\nsecond line", count, number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    io.finalize()
    expected = sorted(f"{count} of {number}\nsecond line" for count in range(50) for number in range(8))
    assert sorted(message for _, message in told(io).lines) == expected
    assert sorted(record.body for record in told(io).records) == expected
    assert told(io).manifest["log_counts"]["INFO"] == 400


def test_warnings_and_above_are_events_of_the_span(io, logger, told):
    """The span has log records from WARNING up as events, with level and message; all are counted by level."""
    for level in (10, 20, 30, 40, 50):
        logger.log(level, "at %d", level)
    io.finalize()
    span = told(io).span
    assert [(event.name, event.attributes["level"], event.attributes["message"]) for event in span.events] == [
        ("log", "WARNING", "at 30"),
        ("log", "ERROR", "at 40"),
        ("log", "CRITICAL", "at 50"),
    ]
    assert told(io).manifest["log_counts"] == dict.fromkeys(("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), 1)
    assert told(io).manifest["warnings"] == told(io).manifest["errors"] == []


# The host's trouble and ours.


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            int("host")
        except ValueError:
            self.handleError(record)


@pytest.mark.parametrize("raises", [True, False])
def test_a_broken_handler_of_the_host_takes_nothing_from_the_record(io, told, monkeypatch, capsys, raises):
    """A host's handler that fails says so as logging has it say; the record is in our places all the same."""
    monkeypatch.setattr(logging, "raiseExceptions", raises)
    logging.getLogger().addHandler(Broken())
    io.get_stage_logger(100).info("said")
    assert told(io).lines == [("INFO", "said")]
    assert ("--- Logging error ---" in capsys.readouterr().err) == raises


def test_a_host_handler_that_raises_raises_as_from_any_logger(io, logger, told):
    """An exception out of a host's handler reaches the caller, as with any logger, after our record was written."""

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("host")

    host = Raising()
    logging.getLogger().addHandler(host)
    with pytest.raises(RuntimeError, match="host"):
        logger.info("said")
    logging.getLogger().removeHandler(host)
    assert told(io).lines == [("INFO", "said")]


def test_a_filter_on_our_handler_that_raises(io, logger):
    """A filter that somebody put on the stage's handler and that raises lets the record pass, and is told once."""
    logger.handlers[0].addFilter(lambda _: 1 / 0)
    logger.info("first")
    logger.info("second")
    assert told_lines(io) == [("INFO", "first"), ("INFO", "second")]
    (said,) = io.manifest["degraded"]
    assert "filter" in said


def test_a_filter_on_our_handler_is_honoured(io, logger, told):
    """A filter on the stage's handler that refuses a record keeps it out of all our places."""
    logger.handlers[0].addFilter(lambda record: record.levelno > logging.INFO)
    logger.info("refused")
    logger.warning("said")
    assert told(io).lines == [("WARNING", "said")]


def test_our_own_trouble_never_reaches_the_caller(io, logger, monkeypatch, capsys):
    """A bug of ours in the handling of a record costs the record: one line on stderr, and the stage goes on."""
    monkeypatch.setattr(handler_module.logline, "render", lambda *_: 1 / 0)
    logger.info("first")
    logger.info("second")
    assert capsys.readouterr().err.count("cannot record a log message") == 1
    assert "ZeroDivisionError" in io.manifest["degraded"][0]


def test_a_console_that_is_gone(io, told, monkeypatch):
    """Without a console, or with a closed one, records are written to the files as ever."""
    logger = io.get_stage_logger("DEBUG")
    monkeypatch.setattr(sys, "stderr", None)
    logger.info("without")
    closed = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - closed on purpose
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    logger.info("closed")
    assert told(io).lines == [("INFO", "without"), ("INFO", "closed")]
