"""The stage's logger: the same one always, with its levels, whatever the host does to logging."""

from __future__ import annotations

import concurrent.futures
import copy
import gc
import io as streams
import logging
import logging.config
import logging.handlers
import multiprocessing
import pickle
import queue
import sys
import weakref
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest

from otel_stageio import SettingError, StageIO, get_stage_logger
from otel_stageio.record.logs.logger import handled_by, level_number

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@pytest.fixture
def io() -> StageIO:
    """An open stage, number 6, in `out`."""
    return StageIO("asr", stage_number=6)


def pipeline(io: StageIO) -> str:
    """What the pipeline log says."""
    return "".join(path.read_text(encoding="utf-8") for path in io.logs_dir.iterdir())


def say_all(logger: logging.Logger) -> None:
    """Say one message at each level, the level's name."""
    for level in LEVELS:
        logger.log(getattr(logging, level), level)


def shown(text: str) -> list[str]:
    """The levels whose messages are in a text, in order."""
    return [line.rpartition("] ")[2] for line in text.splitlines() if line.rpartition("] ")[2] in LEVELS]


# Levels and places.


def test_asked_twice_it_is_the_same_logger(io, told, capsys):
    """get_stage_logger gives one logger however often it is asked, and nothing appears twice."""
    loggers = {io.get_stage_logger(level) for level in (None, "INFO", logging.DEBUG, "info")}
    (logger,) = loggers
    logger.info("once")
    assert len(logger.handlers) == 1
    assert told(io).lines == [("INFO", "once")]
    assert pipeline(io).count("once") == capsys.readouterr().err.count("once") == 1
    assert [record.body for record in told(io).records] == ["once"]


def test_where_each_level_goes(io, told, capsys):
    """DEBUG goes to stage.log and the journal only; all from INFO on also to the pipeline log and the console."""
    say_all(io.get_stage_logger())
    assert [level for level, _ in told(io).lines] == [record.severity_text for record in told(io).records] == LEVELS
    assert shown(pipeline(io)) == shown(capsys.readouterr().err) == LEVELS[1:]


@pytest.mark.parametrize(
    ("log_level", "console"),
    [("INFO", LEVELS[1:]), ("debug", LEVELS), (" Error ", LEVELS[3:]), (logging.CRITICAL, LEVELS[4:]), (100, [])],
)
def test_log_level_moves_the_console_alone(io, told, capsys, log_level, console):
    """A log level moves what the console shows; stage.log, pipeline log and journal are as ever."""
    say_all(io.get_stage_logger(log_level))
    assert shown(capsys.readouterr().err) == console
    assert [level for level, _ in told(io).lines] == LEVELS
    assert shown(pipeline(io)) == LEVELS[1:]


@pytest.mark.parametrize("level", ["LOUD", "", "12.5", None, 1.5, True, [], object()])
def test_unknown_levels_are_errors(io, level):
    """A level that is none is an error that names the known ones, and the console stays as it was."""
    if level is None:
        assert io.get_stage_logger(None) is io.get_stage_logger()
        return
    with pytest.raises(SettingError, match="DEBUG, INFO, WARNING, ERROR, CRITICAL"):
        io.get_stage_logger(level)
    with pytest.raises(SettingError, match="unknown"):
        get_stage_logger("nobody", level)


def test_level_numbers():
    """Levels are numbers, numbers as text, names in any case, names of one's own, and numpy's integers."""
    logging.addLevelName(25, "NOTICE")
    given = [10, "20", "warning", "WARN", "notice", np.int64(30), 0]
    assert [level_number(level) for level in given] == [10, 20, 30, 30, 25, 30, 0]


def test_levels_of_ones_own(io, told):
    """A level below DEBUG or between others is recorded under its name, and counted."""
    logging.addLevelName(5, "TRACE")
    logging.addLevelName(25, "NOTICE")
    logger = io.get_stage_logger()
    for level in (5, 25, 33):
        logger.log(level, "said")
    io.finalize()
    assert told(io).lines == [("TRACE", "said"), ("NOTICE", "said"), ("Level 33", "said")]
    assert told(io).manifest["log_counts"]["TRACE"] == 1
    assert pipeline(io).count("said") == 2


def test_logging_after_finalize_reaches_all_places(io, told, capsys):
    """Records after the end reach stage.log, pipeline log, console and journal as before, with the stage's ids."""
    io.finalize()
    io.get_stage_logger().info("afterwards")
    found = told(io)
    assert found.lines == [("INFO", "afterwards")]
    assert "afterwards" in pipeline(io)
    assert "afterwards" in capsys.readouterr().err
    assert found.records[0].span_id == found.span.span_id
    assert found.warnings == []


# The console.


def test_console_is_stderr_as_it_is_at_that_record(io, capsys):
    """The console is looked up anew for each record: redirections begin and end with their block."""
    logger = io.get_stage_logger()
    logger.info("to capsys")
    with redirect_stderr(streams.StringIO()) as other:
        logger.info("to the other")
    logger.info("back")
    err = capsys.readouterr().err
    assert [word in err for word in ("to capsys", "to the other", "back")] == [True, False, True]
    assert other.getvalue().endswith("[asr] [INFO] to the other\n")
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("mode", "places"), [("stderr", (0, 1)), ("stdout", (1, 0)), ("off", (0, 0)), ("auto", (0, 1))]
)
def test_console_mode_of_the_environment(monkeypatch, capsys, mode, places):
    """STAGEIO_CONSOLE says whether there is a console and which stream it is."""
    monkeypatch.setenv("STAGEIO_CONSOLE", mode)
    StageIO("asr", stage_number=1).get_stage_logger().info("said")
    found = capsys.readouterr()
    assert (found.out.count("said"), found.err.count("said")) == places


def test_auto_is_silent_where_the_host_shows_the_record(io, capsys, monkeypatch):
    """With a handler on root that writes to the console a record is shown once, by it; what it lets out is ours."""
    host = logging.StreamHandler(sys.stderr)
    host.setLevel(logging.ERROR)
    logging.getLogger().addHandler(host)
    logger = io.get_stage_logger()
    logger.info("ours")
    logger.error("theirs")
    assert capsys.readouterr().err.splitlines()[-1:] == ["theirs"]
    monkeypatch.setenv("STAGEIO_CONSOLE", "stderr")
    both = StageIO("vad", stage_number=7).get_stage_logger()
    both.error("both")
    assert capsys.readouterr().err.count("both") == 2


def test_auto_sees_the_handlers_of_a_child(io, capsys):
    """A console handler on a child of the stage's logger counts for the child's records, and for no others."""
    child = io.get_stage_logger().getChild("decoder")
    child.addHandler(logging.StreamHandler(sys.stderr))
    child.info("of the child")
    io.get_stage_logger().info("of the stage")
    err = capsys.readouterr().err
    assert (err.count("of the child"), err.count("of the stage")) == (1, 1)


# The host's logging.


def test_host_handlers_and_caplog_see_the_records(io, caplog):
    """The host's handlers on root get each record, with its name, level, place and extras."""
    records: list[logging.LogRecord] = []

    class Host(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logging.getLogger().addHandler(Host(logging.INFO))
    io.get_stage_logger().info("said %s", 1, extra={"n": 1})
    io.get_stage_logger().debug("for nobody")
    (record,) = records
    assert (record.getMessage(), record.name, record.n) == ("said 1", "asr", 1)
    assert (Path(record.pathname).name, record.funcName) == (
        "test_logger.py",
        "test_host_handlers_and_caplog_see_the_records",
    )
    assert ("asr", logging.INFO, "said 1") in caplog.record_tuples


def reconfigure(how: str, folder: Path) -> None:
    """Configure logging as hosts do, after the stage has opened."""
    if how == "dictConfig":
        handlers = {"h": {"class": "logging.NullHandler"}}
        root = {"level": "ERROR", "handlers": ["h"]}
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True, "handlers": handlers, "root": root})
    elif how == "fileConfig":
        (folder / "logging.ini").write_text(
            "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=\n"
            "[logger_root]\nlevel=ERROR\nhandlers=h\n[handler_h]\nclass=NullHandler\nargs=()\n"
        )
        logging.config.fileConfig(folder / "logging.ini", disable_existing_loggers=True)
    elif how == "basicConfig":
        logging.basicConfig(force=True, level=logging.CRITICAL, handlers=[logging.NullHandler()])
    elif how == "loguru":
        logging.basicConfig(force=True, level=0, handlers=[Intercept()])
        for name in list(logging.root.manager.loggerDict):
            logging.getLogger(name).handlers = []
            logging.getLogger(name).propagate = True
    elif how == "shutdown":
        logging.shutdown()
    elif how == "setLoggerClass":
        logging.setLoggerClass(Silent)
    elif how == "disable existing":
        for name in list(logging.root.manager.loggerDict):
            logging.getLogger(name).disabled = True


class Silent(logging.Logger):
    def handle(self, record: logging.LogRecord) -> None:
        """Drop the record."""


class Intercept(logging.Handler):
    """What loguru's documentation has hosts put on root."""

    seen: list[str]

    def __init__(self) -> None:
        super().__init__()
        Intercept.seen = []

    def emit(self, record: logging.LogRecord) -> None:
        Intercept.seen.append(record.getMessage())


@pytest.mark.parametrize(
    "how", ["dictConfig", "fileConfig", "basicConfig", "loguru", "shutdown", "setLoggerClass", "disable existing"]
)
def test_logger_survives_what_hosts_do(io, told, capsys, tmp_path, how):
    """A later configuration of logging neither disables the stage's logger nor closes its handler."""
    logger = io.get_stage_logger()
    child = logger.getChild("decoder")
    logger.debug("before")
    reconfigure(how, tmp_path)
    logger.debug("after")
    child.warning("of the child")
    assert io.get_stage_logger() is logger
    found = told(io)
    assert [message for _, message in found.lines] == ["before", "after", "of the child"]
    assert [record.body for record in found.records] == ["before", "after", "of the child"]
    assert "of the child" in pipeline(io)
    assert "of the child" in capsys.readouterr().err
    if how == "loguru":
        assert Intercept.seen == ["after", "of the child"]


def test_logging_disable_is_honoured(io, told):
    """logging.disable silences the stage's logger as any other, and as long; it is the host's switch."""
    logger = io.get_stage_logger()
    logging.disable(logging.WARNING)
    say_all(logger)
    assert [logger.isEnabledFor(getattr(logging, level)) for level in LEVELS] == [False] * 3 + [True] * 2
    logging.disable(logging.NOTSET)
    logger.info("again")
    assert [message for _, message in told(io).lines] == ["ERROR", "CRITICAL", "again"]


def test_the_users_own_level_filter_and_switch_are_honoured(io, told):
    """setLevel, a filter and `disabled` on the stage's logger do what they do on any logger."""
    logger = io.get_stage_logger()
    logger.setLevel(logging.WARNING)
    logger.info("too low")
    assert not logger.isEnabledFor(logging.INFO)
    logger.setLevel(logging.DEBUG)
    logger.addFilter(lambda record: "secret" not in record.getMessage())
    logger.info("secret")
    logger.disabled = True
    logger.critical("disabled")
    logger.handle(logging.makeLogRecord({"levelno": 50, "msg": "disabled"}))
    logger.disabled = False
    logger.info("said")
    assert told(io).lines == [("INFO", "said")]


if sys.version_info >= (3, 12):

    def test_a_filter_may_replace_the_record(io, told, caplog):
        """A filter that gives another record is followed by our handler and by the host's."""

        def other(record: logging.LogRecord) -> logging.LogRecord:
            changed = copy.copy(record)
            changed.msg = "changed"
            return changed

        io.get_stage_logger().addFilter(other)
        io.get_stage_logger().info("as it was")
        assert told(io).lines == [("INFO", "changed")]
        assert caplog.messages[-1] == "changed"


def test_queue_handlers_of_the_host(io, told):
    """A host that hands records on by a queue and a listener gets them, and nothing is recorded twice."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logging.getLogger().addHandler(logging.handlers.QueueHandler(records))
    io.get_stage_logger().info("said %s", "so")
    assert records.get_nowait().getMessage() == "said so"
    assert told(io).lines == [("INFO", "said so")]


# Children, copies, pickles.


def test_children_are_recorded_by_the_stage(io, told):
    """A child is one and the same for its name, at any depth, and its records are the stage's, with its name."""
    logger = io.get_stage_logger()
    child = logger.getChild("a.b")
    assert child is logger.getChild("a").getChild("b") is logger.getChild("a.b")
    assert (child.name, child.parent.name) == ("asr.a.b", "asr.a")
    child.debug("deep")
    child.setLevel(logging.ERROR)
    child.info("too low")
    found = told(io)
    assert found.lines == [("DEBUG", "deep")]
    assert found.records[0].attributes["stageio.logger"] == "asr.a.b"


def test_adapters_and_stack_levels(io, told):
    """A LoggerAdapter and stacklevel work: the latter tells the place of the caller's caller."""
    logger = io.get_stage_logger()
    logging.LoggerAdapter(logger, {"item": 7}).info("adapted")

    def helper() -> None:
        logger.warning("said", stacklevel=2)

    helper()
    adapted, said = told(io).records
    assert adapted.attributes["item"] == 7
    assert said.attributes["code.function.name"] == "test_adapters_and_stack_levels"


@pytest.mark.parametrize("again", [lambda of: pickle.loads(pickle.dumps(of)), copy.copy, copy.deepcopy])
def test_pickles_and_copies_are_the_logger_itself(io, again):
    """In the process that has it a pickle or a copy of the logger, or of a child, is the logger itself, also later."""
    logger = io.get_stage_logger()
    for one in (logger, logger.getChild("a.b")):
        assert again(one) is one
    io.finalize()
    assert again({"log": logger})["log"] is logger


def test_a_pickle_from_elsewhere_is_the_logger_of_the_open_stage(io):
    """A pickle of a logger that this process does not know is that of its stage here, as a child of the same name."""
    data = pickle.dumps(io.get_stage_logger().getChild("a.b"))
    key = io.get_stage_logger().getChild("a.b")._key.encode()
    found = pickle.loads(data.replace(key, b"x" * len(key)))
    assert found is io.get_stage_logger().getChild("a.b")


def _log_in_worker(logger: logging.Logger) -> str:
    logger.warning("from the worker")
    return f"{type(logger).__name__} {logger.name}"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a stage has a thread, which Python 3.12 minds
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_logger_in_worker_processes(io, told, method):
    """The logger can be handed to a worker, forked or spawned, and writes to the stage there."""
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(_log_in_worker, io.get_stage_logger()).result() == "StageLogger asr"
    io.finalize()
    assert told(io).lines == [("WARNING", "from the worker")]


def test_loggers_of_closed_stages_are_let_go(tmp_path):
    """A stage that nobody holds is not kept alive by its logger."""
    io = StageIO("asr", stage_number=1)
    io.finalize()
    StageIO("vad", stage_number=2).finalize()
    logger = weakref.ref(io.get_stage_logger())
    del io
    gc.collect()
    assert logger() is None


def test_logger_is_in_no_table(io):
    """The logger is private: logging's table does not have it, and a logger of that name is another one."""
    assert "asr" not in logging.root.manager.loggerDict
    assert logging.getLogger("asr") is not io.get_stage_logger()
    del logging.root.manager.loggerDict["asr"]


def test_handled_by_is_the_logger_at_work(io):
    """While a record is handed to the handlers its logger is known, on this thread and for this record alone."""
    seen = []

    class Host(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            other = logging.makeLogRecord({"msg": "other"})
            seen.append((handled_by(record), handled_by(other)))

    logging.getLogger().addHandler(Host())
    child = io.get_stage_logger().getChild("a")
    child.info("said")
    logging.getLogger("foreign").error("said")
    assert seen == [(child, None), (None, None)]


# The function of the module.


def test_function_gives_the_logger_of_a_stage(io):
    """It gives the logger of the stage handed in, else of the open stage of that name, with its number or not."""
    other = StageIO("vad", stage_number=7)
    assert get_stage_logger("asr", stage_io=other) is other.get_stage_logger()
    assert get_stage_logger("asr") is get_stage_logger("06_asr") is io.get_stage_logger()
    get_stage_logger("asr", "ERROR")
    assert io._console.level == logging.ERROR


def test_function_without_an_open_stage_writes_to_the_console_only(tmp_path, capsys):
    """Without an open stage of that name the logger writes from INFO up to the console, and nothing to disk."""
    io = StageIO("asr", stage_number=6)
    io.finalize()
    size = io.stage_log.stat().st_size
    logger = get_stage_logger("06_asr")
    say_all(logger)
    assert shown(capsys.readouterr().err) == LEVELS[1:]
    assert get_stage_logger("asr", "WARNING") is logger
    say_all(logger)
    assert shown(capsys.readouterr().err) == LEVELS[2:]
    assert io.stage_log.stat().st_size == size
    assert "[asr] [INFO]" not in io.stage_log.read_text()


@pytest.mark.parametrize(("level", "shown"), [(logging.INFO, ["hello"]), (logging.DEBUG, ["detail", "hello"])])
def test_debug_goes_to_the_host_where_it_asks_for_it(level: int, shown: list[str]):
    """A host's handler on root gets DEBUG where root's level says so, and INFO in any case; stage.log has both."""
    seen: list[str] = []
    host = logging.Handler()
    host.emit = lambda record: seen.append(record.getMessage())
    logging.basicConfig(level=level, handlers=[host], force=True)
    io = StageIO("asr")
    io.get_stage_logger().debug("detail")
    io.get_stage_logger().info("hello")
    assert [text for text in seen if "next free" not in text] == shown
    assert [line.rpartition("] ")[2] for line in io.stage_log.read_text().splitlines()[-2:]] == ["detail", "hello"]


def test_debug_is_shown_once_where_the_console_asks_for_it(capsys: pytest.CaptureFixture[str]):
    """With log_level DEBUG the console shows DEBUG, also where a host's console handler is not given it."""
    logging.basicConfig(level=logging.INFO, force=True)
    StageIO("asr").get_stage_logger("DEBUG").debug("detail")
    assert capsys.readouterr().err.count("detail") == 1
