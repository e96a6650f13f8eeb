"""The quick way of plain log records: byte for byte what the handler writes, and only where nobody else wants them."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

from otel_stageio import StageIO
from otel_stageio.record.logs import quick
from otel_stageio.record.processes import exits

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none())


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Give the list of whether each record that was offered was taken."""
    said: list[bool] = []
    take = quick.QuickWay.take

    def listening(self, level, message, arguments):
        frame = quick.sys._getframe
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(quick.sys, "_getframe", lambda depth: frame(depth + 2))
            said.append(take(self, level, message, arguments))
        return said[-1]

    monkeypatch.setattr(quick.QuickWay, "take", listening)
    return said


def opened(folder: str | Path = "out") -> StageIO:
    """Open a stage with nobody's handlers on root: pytest's are put there anew for each test, and taken away again."""
    logging.getLogger().handlers[:] = []
    return StageIO("asr", folder, stage_number=6)


def journal(io: StageIO) -> list[str]:
    """Give the lines of logs.jsonl, without what differs from record to record: time and sign."""
    path = io.stage_dir / ".stageio/001/logs.jsonl"
    text = path.read_text(encoding="ascii") if path.exists() else ""
    text = re.sub(r'"timeUnixNano":"\d+"', '"timeUnixNano":""', text)
    return re.sub(r'(log.record.uid","value":{"stringValue":")[0-9a-f]+-\d+', r"\1", text).splitlines()


def log(io: StageIO) -> list[str]:
    """Give the records of stage.log without their times."""
    return [re.sub(r"^\[[^]]*\]", "", line) for line in io.stage_log.read_text(encoding="utf-8").splitlines()[1:]]


def both_ways(io: StageIO, say: Callable[[logging.Logger], None]) -> tuple[bool, bool]:
    """Say something with the quick way and without it; give whether journal and stage.log have the same twice."""
    logger = io.get_stage_logger()
    before = len(journal(io)), len(log(io))
    way = logger.quick
    say(logger)
    first = journal(io)[before[0] :], log(io)[before[1] :]
    middle = len(journal(io)), len(log(io))
    logger.quick = None
    say(logger)
    logger.quick = way
    return journal(io)[middle[0] :] == first[0], log(io)[middle[1] :] == first[1]


@pytest.mark.parametrize(
    "call",
    [
        ("plain",),
        ("%d of %s in %.2f s, %s %s", 7, "a.wav", 0.25, True, None),
        ("100 %",),
        ("ü → 语言 😀",),
        ('quotes " and {braces} and \t tab',),
        ("",),
        ("two\nlines",),
        ("back\\slash",),
        ("%s", "NUL \0 and \x1b[31m"),
        ("%s", "x" * 20_000),
        ("%s", {"a": 1}),
        ("%(a)s", {"a": 1}),
        ("%d", "no number"),
        ("%c", -1),
        ("%*d", 10**30, 1),
        ("%s",),
        ("%s", "\ud800"),
        (42,),
        (ValueError("x"),),
    ],
)
def test_both_ways_write_the_same(call):
    """Whatever is said, the journal and stage.log are as if there were no quick way."""
    io = opened()
    assert both_ways(io, lambda logger: logger.info(*call)) == (True, True)
    assert both_ways(io, lambda logger: logger.debug(*call)) == (True, True)


@given(st.text(max_size=50), st.lists(PLAIN, max_size=3))
def test_any_message(tmp_path_factory, message, arguments):
    """The same for any text and any arguments of simple types."""
    io = opened(tmp_path_factory.mktemp("job"))
    assert both_ways(io, lambda logger: logger.info(message, *arguments)) == (True, True)
    io.finalize()


def test_the_calls_of_a_program_are_quick(taken, told):
    """Plain records at DEBUG and INFO are quick, at INFO in the pipeline log, too; the place that logged is theirs."""
    io = opened()
    logger = io.get_stage_logger()
    logger.info("segment %d", 7)
    logger.debug("beam")
    assert taken == [True, True]
    io.finalize()
    story = told(io)
    assert story.lines == [("INFO", "segment 7"), ("DEBUG", "beam")]
    assert story.manifest["log_counts"]["INFO"] == story.manifest["log_counts"]["DEBUG"] == 1
    first = story.records[0].attributes
    assert (first["code.file.path"], first["code.function.name"]) == (__file__, "test_the_calls_of_a_program_are_quick")
    assert Path(__file__).read_text(encoding="utf-8").splitlines()[first["code.line.number"] - 1].strip() == (
        'logger.info("segment %d", 7)'
    )
    (pipeline,) = Path("out/logs").glob("99_pipeline_*.log")
    assert [line.partition("] ")[2] for line in pipeline.read_text().splitlines()] == ["[asr] [INFO] segment 7"]


def others() -> dict[str, Callable[[pytest.MonkeyPatch, logging.Logger], object]]:
    """Give what makes somebody else want the records of a logger."""
    return {
        "handler on root": lambda patch, _: patch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()]),
        "handler on the logger": lambda _, logger: logger.addHandler(logging.NullHandler()),
        "filter on the logger": lambda _, logger: logger.addFilter(lambda _: True),
        "filter on the handler": lambda _, logger: logger.handlers[0].addFilter(lambda _: True),
        "level of the handler": lambda _, logger: logger.handlers[0].setLevel(logging.WARNING),
        "name of the level": lambda patch, _: patch.setitem(logging._levelToName, logging.INFO, "NOTE"),
        "record factory": lambda patch, _: patch.setattr(
            logging, "_logRecordFactory", type("Own", (logging.LogRecord,), {})
        ),
        "instrumented": lambda patch, _: patch.setattr(logging.Logger, "callHandlers", lambda *_: None),
        "disabled": lambda patch, _: patch.setattr(logging.root.manager, "disable", logging.INFO),
        "level": lambda _, logger: logger.setLevel("WARNING"),
        "logger disabled": lambda patch, logger: patch.setattr(logger, "disabled", True),
    }


@pytest.mark.parametrize("why", others())
def test_where_somebody_else_wants_them_records_go_the_long_way(monkeypatch, taken, why):
    """With any handler, filter, factory, instrumentation or level in between, no record is quick."""
    io = opened()
    logger = io.get_stage_logger()
    logger.info("before")
    others()[why](monkeypatch, logger)
    logger.info("after")
    assert taken == [True, False]


def test_keywords_and_other_levels_go_the_long_way(taken, told):
    """extra, exc_info, stack_info and stacklevel are honoured as ever, and so is the place that logged."""
    io = opened()
    logger = io.get_stage_logger()

    def helper() -> None:
        logger.info("from where it was called", stacklevel=2)

    helper()
    logger.info("more", extra={"segment": 7})
    logger.warning("low")
    logger.log(logging.INFO, "by number")
    assert taken == []
    story = told(io)
    assert {record.attributes["code.function.name"] for record in story.records} == {
        "test_keywords_and_other_levels_go_the_long_way"
    }
    assert story.records[1].attributes["segment"] == 7


def test_in_a_span_and_in_a_step_records_are_theirs(taken, told):
    """Within a child span or a step a record has that one's id, and the step's tag."""
    io = opened()
    logger = io.get_stage_logger()
    with trace.get_tracer("library").start_as_current_span("child") as child:
        logger.info("in the span")
    with io.step("decode"):
        logger.info("in the step")
    logger.info("in the stage")
    story = told(io)
    assert taken == [False, False, True]
    assert story.records[0].span_id == trace.format_span_id(child.get_span_context().span_id)
    assert [line.stage for line in story.log] == ["asr", "asr/decode", "asr"]
    assert story.records[2].span_id == story.manifest["span_id"]


def test_threads_have_their_names(taken, told):
    """A thread without context is quick too, and its records tell its name."""
    io = opened()
    thread = threading.Thread(target=lambda: io.get_stage_logger().info("hello"), name="worker 7")
    thread.start()
    thread.join()
    (record,) = told(io).records
    assert (taken, record.attributes["thread.name"]) == ([True], "worker 7")


def test_a_child_by_fork_goes_the_long_way(told):
    """A child's records are signed by the child and name its process."""
    io = opened()
    logger = io.get_stage_logger()
    logger.info("parent")
    pid = os.fork()
    if pid == 0:
        logger.info("child")
        os._exit(0)
    os.waitpid(pid, 0)
    io.finalize()
    parent, child = told(io).records
    assert (child.body, child.attributes["process.pid"]) == ("child", pid)
    assert "process.pid" not in parent.attributes


def test_after_the_end_and_in_two_stages(told):
    """A record after finalize is recorded; with two stages open each has its own."""
    logging.getLogger().handlers[:] = []
    a, b = StageIO("a", "out", stage_number=1), StageIO("b", "out", stage_number=2)
    a.get_stage_logger().info("of a")
    b.get_stage_logger().info("of b")
    a.finalize()
    a.get_stage_logger().info("still a")
    assert [record.body for record in told(a).records] == ["of a", "still a"]
    assert [record.body for record in told(b).records] == ["of b"]
    assert {record.span_id for record in told(a).records} == {told(a).manifest["span_id"]}


def test_a_disk_that_refuses_costs_the_record_alone():
    """What the disk refuses is told once, and the caller does not notice."""
    io = opened()
    logger = io.get_stage_logger()
    real = os.write

    def full(number: int, data: bytes) -> int:
        if b"logRecords" in data and b"refused" in data:
            raise OSError(28, "No space left on device")
        return real(number, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", full)
        logger.info("refused")
        logger.info("taken")
    assert ['"stringValue":"taken"' in line for line in journal(io) if line] == [True]
    degraded = json.loads(io._recorder.manifest.dump())["degraded"]
    assert [text.partition(":")[0] for text in degraded] == [f"cannot write {io._recorder.places.logs.path}"]


def test_places_are_forgotten_where_there_is_no_end_of_them(monkeypatch):
    """A program that makes code as it runs does not fill the memory with it."""
    monkeypatch.setattr(quick, "_MOST_SITES", 10)
    io = opened()
    for index in range(25):
        exec(compile(f"logger.info('{index}')", f"<made {index}>", "exec"), {"logger": io.get_stage_logger()})
    assert len(io.get_stage_logger().quick._sites) <= 10
    assert [line.split()[-1] for line in log(io)] == [str(index) for index in range(25)]


def test_bytes_of_a_record_in_the_journal():
    """Besides what the program itself names, a plain record's line has at most 870 bytes, every promise kept."""
    io = opened()
    io.get_stage_logger().info("m" * 60)
    (line,) = (io.stage_dir / ".stageio/001/logs.jsonl").read_bytes().splitlines(keepends=True)
    found = json.loads(line)["resourceLogs"][0]
    record = found["scopeLogs"][0]["logRecords"][0]
    about = {each["key"]: each["value"] for each in record["attributes"] + found["resource"]["attributes"]}
    own = ("code.file.path", "code.function.name", "service.name")
    named = len(record["body"]["stringValue"]) + sum(len(about[key]["stringValue"]) for key in own)
    assert len(line) - named <= 870, f"{len(line)} bytes, {named} of them the program's"
    # What design and conventions promise of a line that is read alone: see docs/decisions/0025.
    assert {*about} == {
        *own,
        "code.line.number",
        "log.record.uid",
        "service.instance.id",
        "stageio.job.id",
        "stageio.run",
        "telemetry.sdk.name",
    }
    assert {*record} == {
        *("timeUnixNano", "severityNumber", "severityText", "body", "attributes", "flags", "traceId", "spanId"),
    }


def test_a_signal_that_waits_for_a_record_finds_it_everywhere(monkeypatch):
    """A record is in the journal, stage.log and the pipeline log before a signal that came meanwhile has its way."""
    io = opened()
    logger = io.get_stage_logger()
    logger.info("a file appears with its first line")
    (pipeline,) = Path("out/logs").glob("99_pipeline_*.log")
    seen: list[list[bool]] = []
    files = (io.stage_dir / ".stageio/001/logs.jsonl", io.stage_log, pipeline)
    with monkeypatch.context() as patch:
        patch.setattr(exits, "settle", lambda: seen.append([b"segment 7" in file.read_bytes() for file in files]))
        patch.setattr(exits, "pending", True)
        logger.info("segment %d", 7)
    assert seen == [[True, True, True]]


def test_an_interrupted_record_is_raised_and_has_the_journal_read_again(monkeypatch):
    """What a signal handler raises in the middle of a record reaches the caller, and the next record is taken."""
    io = opened()
    logger = io.get_stage_logger()
    logger.info("before")
    real = os.write

    def interrupted(number: int, data: bytes) -> int:
        written = real(number, data)
        if b"logRecords" in data:
            raise KeyboardInterrupt
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            logger.info("interrupted")
    logger.info("after")
    io.finalize()
    manifest = json.loads((io.stage_dir / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["log_counts"]["INFO"] == 3
    assert [line.split()[-1] for line in log(io)] == ["before", "after"]
