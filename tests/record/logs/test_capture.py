"""capture="root": what other loggers and Python warnings say is recorded too, and nothing of the host changes."""

from __future__ import annotations

import functools
import logging
import threading
import warnings
from unittest import mock

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names

CALLS = logging.Logger.callHandlers


def stage(name: str = "asr", number: int = 6) -> StageIO:
    """An open stage that captures."""
    return StageIO(name, stage_number=number, capture="root")


@pytest.fixture
def foreign() -> logging.Logger:
    """A logger of somebody else's, from DEBUG up."""
    logger = logging.getLogger("somebody.else")
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def shown(monkeypatch) -> list[str]:
    """What the host shows of warnings; every test ends with the host's own functions in their places."""
    seen: list[str] = []

    def show(message: Warning | str, *_: object) -> None:
        seen.append(str(message))

    with monkeypatch.context() as patch:
        patch.setattr(warnings, "showwarning", show)
        yield seen
        assert logging.Logger.callHandlers is CALLS
        assert warnings.showwarning is show


def test_other_loggers_and_warnings_are_recorded(told, capsys, foreign, shown):
    """What others log and warn of is in stage.log and journal, with the logger's name, and not on the console."""
    io = stage()
    foreign.debug("decoding %d", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(UserWarning, match="seen"):
            warnings.warn("seen by the host alone", UserWarning, stacklevel=1)
        warnings.warn("odd\ninput", DeprecationWarning, stacklevel=1)
    io.finalize()
    found = told(io)
    assert found.lines == [
        ("DEBUG", "somebody.else: decoding 1"),
        ("WARNING", "py.warnings: DeprecationWarning: odd\ninput"),
    ]
    decoding, warning = found.records
    assert (decoding.body, decoding.attributes[names.LOGGER]) == ("decoding 1", "somebody.else")
    assert (warning.attributes[names.LOGGER], warning.attributes[names.CODE_FILE_PATH]) == ("py.warnings", __file__)
    assert warning.trace_id == io.manifest["trace_id"]
    assert "decoding" not in capsys.readouterr().err
    assert shown == ["odd\ninput"]
    assert not list(io.logs_dir.iterdir())
    assert found.manifest["log_counts"] == {"DEBUG": 1, "INFO": 0, "WARNING": 1, "ERROR": 0, "CRITICAL": 0}
    assert found.warnings == []


def test_capture_of_the_environment(told, monkeypatch, foreign):
    """STAGEIO_CAPTURE=root does the same."""
    monkeypatch.setenv("STAGEIO_CAPTURE", "root")
    io = StageIO("asr", stage_number=6)
    foreign.info("said")
    io.finalize()
    assert told(io).lines == [("INFO", "somebody.else: said")]


def test_without_capture_nothing_of_others_is_recorded(told, foreign):
    """By default a stage records its own logger alone."""
    io = StageIO("asr", stage_number=6)
    foreign.error("said")
    assert logging.Logger.callHandlers is CALLS
    io.finalize()
    assert told(io).lines == []


def test_own_records_are_not_doubled(told, foreign):
    """The stage's own records, those of its children and of other stages are in their own logs once."""
    io, other = stage(), stage("vad", 7)
    io.get_stage_logger().info("mine")
    io.get_stage_logger().getChild("a").info("of a child")
    other.get_stage_logger().info("of the other")
    foreign.info("of others")
    assert told(io).lines == [("INFO", "mine"), ("INFO", "of a child"), ("INFO", "somebody.else: of others")]
    assert told(other).lines == [("INFO", "of the other"), ("INFO", "somebody.else: of others")]
    io.finalize()
    foreign.info("later")
    assert [message for _, message in told(io).lines][3:] == []
    assert [message for _, message in told(other).lines][2:] == ["somebody.else: later"]
    other.finalize()


def test_levels_and_propagation_of_the_host_decide(told, foreign):
    """What a logger does not take, or does not hand on to root, is not recorded; levels do not change."""
    io = stage()
    foreign.setLevel(logging.WARNING)
    foreign.info("too low")
    foreign.propagate = False
    foreign.error("kept to itself")
    foreign.getChild("deep").error("the same")
    foreign.propagate = True
    foreign.error("said")
    io.finalize()
    assert told(io).lines == [("ERROR", "somebody.else: said")]


def test_capture_begins_and_ends_with_the_stage(told, foreign):
    """Before the stage opens and after it ends nothing of others is recorded, and no hook stays."""
    foreign.error("before")
    io = stage()
    foreign.error("within")
    io.finalize()
    foreign.error("after")
    warnings.showwarning("after", UserWarning, "f", 1)
    assert told(io).lines == [("ERROR", "somebody.else: within")]


def test_capture_ends_with_a_failure_too():
    """A stage that an exception ends takes its hooks with it."""
    with pytest.raises(ZeroDivisionError), stage():
        1 / (logging.Logger.callHandlers is CALLS)
    assert logging.Logger.callHandlers is CALLS


def test_capture_survives_a_configuration_of_logging(told, foreign):
    """basicConfig(force=True), which takes all handlers off root, does not end the capture."""
    io = stage()
    logging.basicConfig(force=True, handlers=[logging.NullHandler()])
    foreign.error("said")
    io.finalize()
    assert told(io).lines == [("ERROR", "somebody.else: said")]


# The host's own ways.


def test_basic_config_and_last_resort_work_as_without_us(run_script):
    """A program that configured no logging still sees its warnings, and its basicConfig still takes effect."""
    source = """
        import logging, sys, warnings
        from otel_stageio import StageIO
        io = StageIO("asr", stage_number=1, capture=sys.argv[1])
        logging.getLogger("lib").warning("by the last resort")
        assert not logging.getLogger("lib").hasHandlers()
        logging.basicConfig(format="%(name)s says %(message)s")
        logging.getLogger("lib").warning("configured")
        warnings.simplefilter("always")
        warnings.warn("by Python")
        io.finalize()
    """
    plain, captured = (run_script(source, capture) for capture in ("stage", "root"))
    assert plain.stderr.splitlines()[:2] == ["by the last resort", "lib says configured"]
    assert "UserWarning: by Python" in plain.stderr
    assert captured.stderr == plain.stderr


@pytest.mark.parametrize("first", ["host", "stage"])
def test_warnings_that_the_host_logs_are_recorded_once(told, first):
    """With logging.captureWarnings, before or after the stage opened, a warning is recorded once and logged once."""
    if first == "host":
        logging.captureWarnings(capture=True)
    io = stage()
    if first == "stage":
        logging.captureWarnings(capture=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("odd", UserWarning, stacklevel=1)
    logging.captureWarnings(capture=False)
    io.finalize()
    ((level, message),) = told(io).lines
    assert level == "WARNING"
    assert "UserWarning: odd" in message


def test_a_listener_of_the_host_sees_each_warning(told):
    """The host's own showwarning is called with what Python hands over; where it raises, the warning is recorded."""
    seen = []

    def show(*arguments: object) -> None:
        seen.append(arguments)
        raise RuntimeError("host")

    with mock.patch.object(warnings, "showwarning", show), warnings.catch_warnings():
        io = stage()
        warnings.simplefilter("always")
        with pytest.raises(RuntimeError, match="host"):
            warnings.warn("odd", UserWarning, stacklevel=1)
        io.finalize()
        assert warnings.showwarning is show
    ((message, category, filename, *_),) = seen
    assert (str(message), category, filename) == ("odd", UserWarning, __file__)
    assert told(io).lines == [("WARNING", "py.warnings: UserWarning: odd")]


def test_hooks_of_others_over_ours_stay_and_ours_fall_silent(told, foreign):
    """What a host hooked over ours stays when the stage ends, works on, and a later stage records each record once."""
    seen = []
    before = warnings.showwarning
    first = stage()
    below = logging.Logger.callHandlers
    showing = warnings.showwarning

    @functools.wraps(below)
    def hook(self: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        below(self, record)

    with mock.patch.object(logging.Logger, "callHandlers", hook):
        warnings.showwarning = functools.partial(showing)
        first.finalize()
        assert logging.Logger.callHandlers is hook
        second = stage("vad", 7)
        foreign.error("said")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("odd", UserWarning, stacklevel=1)
        second.finalize()
        assert logging.Logger.callHandlers is hook
        foreign.error("after")
    warnings.showwarning = before
    logging.Logger.callHandlers = CALLS
    assert seen == ["said", "after"]
    assert told(first).lines == []
    assert [message for _, message in told(second).lines] == [
        "somebody.else: said",
        "py.warnings: UserWarning: odd",
    ]


def test_a_record_that_the_host_hands_on_is_recorded_once(told, foreign):
    """A host's handler that hands the same record to another logger does not double it."""
    io = stage()

    class HandOn(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "somebody.else":
                logging.getLogger("another").handle(record)

    foreign.addHandler(host := HandOn())
    foreign.error("said")
    foreign.removeHandler(host)
    io.finalize()
    assert told(io).lines == [("ERROR", "somebody.else: said")]


def test_records_from_many_threads(told, foreign):
    """Other loggers in many threads lose nothing."""
    io = stage()
    threads = [threading.Thread(target=foreign.info, args=("%d", number)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    io.finalize()
    assert sorted(message for _, message in told(io).lines) == sorted(f"somebody.else: {n}" for n in range(20))


def test_a_foreign_record_that_cannot_be_formatted(told, foreign, monkeypatch):
    """A record of others with wrong arguments is recorded as what it was, and does what it does without us."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    io = stage()
    with mock.patch.object(logging.getLogger(), "handlers", []):
        foreign.info("%d", "x")
    io.finalize()
    ((_, message),) = told(io).lines
    assert message.startswith("somebody.else: %d ['x'] [not formatted: TypeError")
