"""Timed parts of a stage: their spans, their entries in the manifest, their tag in the logs, however they are used."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as contexts

from otel_stageio import StageIO, open_job
from otel_stageio import conventions as names
from otel_stageio.journal import reader
from otel_stageio.record import steps
from tests.journal.official import base64_ids, logs_message, said_by, spans_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import Span


@pytest.fixture
def io() -> StageIO:
    """An open stage, number 6, in `out`, with a console that nobody looks at."""
    io = StageIO("asr", stage_number=6)
    io.get_stage_logger(100)
    return io


def spans(io: StageIO) -> dict[str, Span]:
    """The spans in the stage's traces.jsonl, by name."""
    path = io.stage_dir / ".stageio" / "001" / "traces.jsonl"
    found = list(reader.spans(str(path))) if path.exists() else []
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def listed(io: StageIO) -> list[tuple[str, str]]:
    """Name and status of each step in the manifest."""
    return [(each["name"], each["status"]) for each in io.manifest["steps"]]


def own_id(io: StageIO) -> str:
    """The id of the stage's span."""
    return trace.format_span_id(io.span.get_span_context().span_id)


# What a step leaves.


def test_step_is_a_span_an_entry_and_a_tag(io, told):
    """A step is a child span with its attributes, an entry with duration and status, and its name is in the logs."""
    logger = io.get_stage_logger()
    logger.info("before")
    with io.step("decode", file="a.wav", beam=5) as span:
        logger.info("inside")
        assert span is trace.get_current_span()
        assert span.is_recording()
    logger.info("after")
    io.finalize()
    found = told(io)
    (step,) = found.manifest["steps"]
    made = spans(io)["decode"]
    assert step == {
        "name": "decode",
        "status": "success",
        "started_at": step["started_at"],
        "duration_seconds": (made.end_time_unix_nano - made.start_time_unix_nano) / 1e9,
        "attributes": {"file": "a.wav", "beam": 5},
    }
    assert (made.attributes, made.status_code, made.kind) == ({"file": "a.wav", "beam": 5}, 0, 1)
    assert (made.trace_id, made.parent_span_id) == (found.manifest["trace_id"], found.manifest["span_id"])
    assert [(each.stage, each.message) for each in found.log] == [
        ("asr", "before"),
        ("asr/decode", "inside"),
        ("asr", "after"),
    ]
    assert [(each.attributes.get(names.STEP), each.span_id) for each in found.records] == [
        (None, found.manifest["span_id"]),
        ("decode", made.span_id),
        (None, found.manifest["span_id"]),
    ]
    assert [(each.event_name, each.span_id) for each in found.events if each.attributes.get(names.STEP)] == [
        (names.STEP_STARTED, made.span_id),
        (names.STEP_FINISHED, made.span_id),
    ]


def test_line_of_a_step_in_every_log(io, capsys):
    """stage.log, the pipeline log and the console show `[asr/decode]` in place of `[asr]`."""
    logger = io.get_stage_logger("INFO")
    with io.step("decode"):
        logger.info("inside")
    (pipeline,) = io.logs_dir.iterdir()
    for text in (io.stage_log.read_text(), pipeline.read_text(), capsys.readouterr().err):
        assert "] [asr/decode] [INFO] inside\n" in text


def test_steps_nest(io, told):
    """A step within a step is its child, named with a slash in manifest and logs, by its own name on its span."""
    logger = io.get_stage_logger()
    with io.step("decode"):
        with io.step("beam"):
            logger.info("deep")
        with io.step("score"):
            pass
        logger.info("shallow")
    io.finalize()
    found, made = told(io), spans(io)
    assert listed(io) == [("decode", "success"), ("decode/beam", "success"), ("decode/score", "success")]
    assert {name: each.parent_span_id for name, each in made.items()} == {
        "beam": made["decode"].span_id,
        "score": made["decode"].span_id,
        "decode": own_id(io),
        "asr": found.span.parent_span_id,
    }
    assert [(each.stage, each.message) for each in found.log] == [
        ("asr/decode/beam", "deep"),
        ("asr/decode", "shallow"),
    ]


def test_span_of_a_step_takes_part(io):
    """What is told to a step's span is on it; spans made within are its children; it can rename itself."""
    with io.step("decode") as span:
        span.set_attribute("words", 3)
        span.add_event("first word", {"word": "hello"})
        with trace.get_tracer("decoder").start_as_current_span("beam"):
            io.get_stage_logger().info("in a span of the decoder")
        span.update_name("decode a.wav")
    made = spans(io)
    decode = made["decode a.wav"]
    assert decode.attributes == {"words": 3}
    assert [(each.name, each.attributes) for each in decode.events] == [("first word", {"word": "hello"})]
    assert made["beam"].parent_span_id == decode.span_id
    assert listed(io) == [("decode", "success")]


def test_lines_of_steps_are_otlp(io):
    """The official classes read the lines of a step's span and events, and say the same."""
    with suppress(ValueError), io.step("decode", file="ä.wav", nested={"a": [1, None]}, raw=b"\xff"):
        io.get_stage_logger().info("inside")
        raise ValueError("no frames")
    io.finalize()
    folder = io.stage_dir / ".stageio" / "001"
    for name, message in (("traces", spans_message), ("events", logs_message), ("logs", logs_message)):
        for line in (folder / f"{name}.jsonl").read_bytes().splitlines():
            assert said_by(message(line)) == base64_ids(json.loads(line))


def test_tracking_within_a_step(io, told):
    """Files, figures and findings of a step are the stage's."""
    with io.step("write"):
        io.track_output(io.save_json({}, "a.json"), "json")
        io.add_metric("n", 1)
        io.add_warning("careful")
    io.finalize()
    found = told(io)
    assert found.entry("outputs")["path"] == "06_asr/a.json"
    assert (found.manifest["metrics"]["n"]["value"], found.warnings) == (1, ["careful"])


def test_manifest_while_a_step_runs(io):
    """A step that runs is in the manifest at once, as running, without a duration."""
    with io.step("decode"):
        (step,) = io.manifest["steps"]
        assert (step["status"], step["duration_seconds"]) == ("running", None)
    assert listed(io) == [("decode", "success")]


# How a step ends.


def test_exception_fails_the_step_and_goes_on(io, told):
    """An exception makes the step failed, with its reason, is on its span, and goes on; the stage's end is its own."""
    with pytest.raises(ValueError, match="no frames") as raised, io.step("outer"), io.step("decode"):
        raise ValueError("no frames\nat all")
    assert str(raised.value) == "no frames\nat all"
    io.finalize("success")
    found, made = told(io), spans(io)
    assert [(each["status"], each["reason"]) for each in found.manifest["steps"]] == [
        ("failed", "ValueError: no frames")
    ] * 2
    for name in ("outer", "decode"):
        (event,) = made[name].events
        assert (made[name].status_code, made[name].status_message) == (2, "ValueError: no frames")
        assert made[name].attributes == {names.ERROR_TYPE: "ValueError"}
        assert (event.name, event.attributes["exception.type"]) == ("exception", "ValueError")
        assert event.attributes["exception.message"] == "no frames\nat all"
        assert "test_steps.py" in event.attributes["exception.stacktrace"]
    assert (found.manifest["status"], found.manifest["errors"]) == ("success", [])


def test_caught_exception_within_a_step(io):
    """An exception that is caught within the step does not make it failed."""
    with io.step("decode"), suppress(ValueError):
        int("x")
    assert listed(io) == [("decode", "success")]


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (SystemExit(0), "success"),
        (SystemExit(), "success"),
        (SystemExit(3), "failed"),
        (SystemExit("no"), "failed"),
        (GeneratorExit(), "success"),
        (KeyboardInterrupt(), "failed"),
        (asyncio.CancelledError(), "failed"),
        (StopIteration(1), "failed"),
        (RuntimeError("bad"), "failed"),
    ],
)
def test_what_leaves_a_step(io, raised, status):
    """`sys.exit(0)` and a generator that is closed are no failure of a step, anything else is; all of it goes on."""
    with pytest.raises(type(raised)) as caught, io.step("decode"):
        raise raised
    assert caught.value is raised
    assert listed(io) == [("decode", status)]
    assert spans(io)["decode"].status_code == (2 if status == "failed" else 0)


def test_exception_that_cannot_be_asked(io):
    """An exception whose text raises is recorded by its type."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(OddError), io.step("decode"):
        raise OddError
    (step,) = io.manifest["steps"]
    assert step["reason"].endswith("OddError: [no text: its __str__ raised RuntimeError]")


def test_span_that_was_ended_within_the_step(io):
    """Ending the span early writes it early; the step's own end is when its block ends."""
    with io.step("decode") as span:
        span.end()
        assert list(spans(io)) == ["decode"]
    assert list(spans(io)) == ["decode"]
    assert listed(io) == [("decode", "success")]


def test_status_of_the_user_on_the_span(io):
    """A status that the step's span was given stands, and does not change the step's."""
    with io.step("decode") as span:
        span.set_status(trace.StatusCode.ERROR, "half of it")
    assert (spans(io)["decode"].status_code, spans(io)["decode"].status_message) == (2, "half of it")
    assert listed(io) == [("decode", "success")]


def test_step_open_at_the_end_of_the_stage(io, told):
    """A step that is open when the stage ends was abandoned, until its own end is on record; nothing is a late call."""
    with io.step("decode"):
        io.finalize()
        assert listed(io) == [("decode", "abandoned")]
    assert listed(io) == [("decode", "success")]
    found = told(io)
    assert found.warnings == []
    assert spans(io)["decode"].parent_span_id == found.manifest["span_id"]
    assert not trace.get_current_span().is_recording()


def test_step_in_a_context_that_was_made_within_the_stage(io):
    """A step within a copy of the stage's context (baggage was set) leaves no ended stage current either."""
    contexts.attach(baggage.set_baggage("user", "ada"))
    with io.step("decode"):
        assert baggage.get_baggage("user") == "ada"
        io.finalize()
    assert not trace.get_current_span().get_span_context().is_valid
    assert baggage.get_baggage("user") == "ada"


def test_step_after_the_end_of_the_stage(io, told):
    """A step that begins after the end is on record in the stage's trace, and counted as a late call."""
    io.finalize()
    with io.step("late") as span, io.step("later"):
        span.set_attribute("a", 1)
        io.get_stage_logger().info("still logging")
    found, made = told(io), spans(io)
    assert found.warnings == ["2 calls after the stage was finalized"]
    assert listed(io) == [("late", "success"), ("late/later", "success")]
    assert (made["late"].parent_span_id, made["later"].parent_span_id) == (own_id(io), made["late"].span_id)
    assert made["late"].trace_id == found.manifest["trace_id"]
    assert found.log[-1].stage == "asr/late/later"
    assert not trace.get_current_span().get_span_context().is_valid


def test_with_block_of_the_stage_ends_within_a_step(told):
    """A stage that ends by an exception closes the steps around which it goes, each as failed."""
    with pytest.raises(ZeroDivisionError), StageIO("asr", stage_number=6) as io, io.step("decode"):
        1 / 0  # noqa: B018 - raises
    found = told(io)
    assert found.manifest["status"] == "failed"
    assert listed(io) == [("decode", "failed")]


# As a decorator, in generators, in async functions.


def test_decorator(io):
    """As a decorator a step is begun and ended by each call, and the function stays what it was."""

    @io.step("decode", beam=5)
    def decode(text: str) -> str:
        """Decode."""
        io.get_stage_logger().info("inside")
        return text.upper()

    assert io.manifest["steps"] == []
    assert [decode("a"), decode("b")] == ["A", "B"]
    assert (decode.__name__, decode.__doc__) == ("decode", "Decode.")
    assert listed(io) == [("decode", "success")] * 2
    assert io.stage_log.read_text().count("[asr/decode] [INFO] inside") == 2


def test_decorated_function_that_raises(io):
    """A decorated function's exception makes its step failed and goes on."""

    @io.step("decode")
    def decode() -> None:
        raise ValueError("no frames")

    with pytest.raises(ValueError, match="no frames"):
        decode()
    assert listed(io) == [("decode", "failed")]


def test_decorated_recursion(io):
    """A decorated function that calls itself nests."""

    @io.step("part")
    def part(depth: int) -> None:
        if depth:
            part(depth - 1)

    part(2)
    assert listed(io) == [("part", "success"), ("part/part", "success"), ("part/part/part", "success")]


def test_async_function(io):
    """A decorated async function's step lasts until it is done."""

    @io.step("fetch")
    async def fetch() -> int:
        await asyncio.sleep(0.02)
        return 5

    assert asyncio.run(fetch()) == 5
    (step,) = io.manifest["steps"]
    assert (step["status"], step["duration_seconds"] >= 0.02) == ("success", True)


def test_async_tasks(io, told):
    """Steps of tasks that run at once are told apart: each task's logs and spans are in its own."""
    logger = io.get_stage_logger()

    async def work(number: int) -> None:
        with io.step(f"task{number}"):
            await asyncio.sleep(0.01 * (4 - number))
            with io.step("inner"), trace.get_tracer("t").start_as_current_span(f"span{number}"):
                await asyncio.sleep(0.01)
                logger.info("task %d", number)

    async def main() -> None:
        with io.step("all"):
            await asyncio.gather(*map(work, range(4)))

    asyncio.run(main())
    io.finalize()
    found = told(io)
    assert {(each.stage, each.message) for each in found.log} == {
        (f"asr/all/task{number}/inner", f"task {number}") for number in range(4)
    }
    recorded = list(reader.spans(str(io.stage_dir / ".stageio" / "001" / "traces.jsonl")))
    by_id = {each.span_id: each for each in recorded}
    for number in range(4):
        chain = next(each for each in recorded if each.name == f"span{number}")
        names_up = []
        while chain.parent_span_id in by_id:
            chain = by_id[chain.parent_span_id]
            names_up.append(chain.name)
        assert names_up == ["inner", f"task{number}", "all", "asr"]
    assert {status for _, status in listed(io)} == {"success"}


def test_task_that_outlives_its_step(io):
    """A task that was started in a step and goes on after it logs as the stage; its spans are still children of it."""

    async def late(begun: asyncio.Event, ended: asyncio.Event) -> None:
        begun.set()
        await ended.wait()
        io.get_stage_logger().info("late")
        with trace.get_tracer("t").start_as_current_span("late"), io.step("own"):
            pass

    async def main() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        with io.step("begin"):
            task = asyncio.ensure_future(late(begun, ended))
            await begun.wait()
        ended.set()
        await task

    asyncio.run(main())
    assert "] [asr] [INFO] late" in io.stage_log.read_text()
    assert listed(io) == [("begin", "success"), ("own", "success")]
    assert spans(io)["late"].parent_span_id == spans(io)["begin"].span_id


def test_generator_that_is_closed(io):
    """A step around a generator's yields ends with the generator, also when its consumer does not want the rest."""

    def parts() -> Iterator[int]:
        with io.step("read"):
            yield 1
            yield 2

    for part in parts():
        assert part == 1
        break
    gc.collect()
    assert listed(io) == [("read", "success")]
    assert trace.get_current_span() is io.span


# Threads, other tasks, other stages.


def test_threads(io, told):
    """A thread's step is a child of the stage, at once with those of other threads; none reaches another thread."""
    logger = io.get_stage_logger()
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        with io.step(f"thread{number}"):
            barrier.wait()
            logger.info("thread %d", number)
            with io.step("inner"):
                barrier.wait()

    with io.step("main"):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    io.finalize()
    assert {(each.stage, each.message) for each in told(io).log} == {
        (f"asr/thread{number}", f"thread {number}") for number in range(4)
    }
    recorded = list(reader.spans(str(io.stage_dir / ".stageio" / "001" / "traces.jsonl")))
    assert {each.parent_span_id for each in recorded if each.name.startswith("thread")} == {own_id(io)}
    assert {status for _, status in listed(io)} == {"success"}


def test_step_that_ends_in_another_thread(io):
    """A step may be ended by another thread: it is over in the first one, too, for logs, spans and further steps."""
    step = io.step("decode")
    step.__enter__()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(step.__exit__, None, None, None).result()
    assert listed(io) == [("decode", "success")]
    assert trace.get_current_span() is io.span
    io.get_stage_logger().info("after")
    assert "] [asr] [INFO] after" in io.stage_log.read_text()
    with io.step("next"):
        pass
    assert listed(io)[-1] == ("next", "success")
    assert spans(io)["next"].parent_span_id == own_id(io)
    io.finalize()
    assert not trace.get_current_span().get_span_context().is_valid


def test_step_that_ends_in_another_task(io):
    """The same of tasks: the step of a task that another one ended is over where it began."""

    async def main() -> None:
        step = io.step("decode")
        step.__enter__()

        async def end() -> None:
            step.__exit__(None, None, None)

        await asyncio.ensure_future(end())
        assert trace.get_current_span() is io.span
        with io.step("next"):
            pass

    asyncio.run(main())
    assert listed(io) == [("decode", "success"), ("next", "success")]


def test_steps_that_end_in_the_wrong_order(io, caplog):
    """Steps may be ended in any order, and the stage before them; nothing of them stays current, and nobody warns."""
    entered = [io.step(name) for name in "abc"]
    for step in entered:
        step.__enter__()
    for at in (0, 2):
        entered[at].__exit__(None, None, None)
    assert trace.get_current_span().get_span_context().span_id == int(
        next(each.span_id for each in _started(io) if each.attributes[names.STEP] == "a/b"), 16
    )
    io.finalize()
    entered[1].__exit__(None, None, None)
    assert listed(io) == [("a", "success"), ("a/b", "success"), ("a/b/c", "success")]
    assert not trace.get_current_span().get_span_context().is_valid
    assert caplog.records == []


def _started(io: StageIO) -> list[Any]:
    path = io.stage_dir / ".stageio" / "001" / "events.jsonl"
    return [each for each in reader.log_records(str(path)) if each.event_name == names.STEP_STARTED]


def test_stage_that_is_opened_in_a_step_and_outlives_it(io, tmp_path):
    """A stage opened within another one's step is a child of it; ended after it, it leaves nothing current."""
    with io.step("outer"):
        other = StageIO("tts", tmp_path / "out", stage_number=7)
        parent = next(reader.log_records(str(other.stage_dir / ".stageio" / "001" / "events.jsonl"))).attributes
    assert parent[names.PARENT_SPAN_ID] == spans(io)["outer"].span_id
    other.finalize()
    assert trace.get_current_span() is io.span
    io.finalize()
    assert not trace.get_current_span().get_span_context().is_valid


def test_two_stages_that_are_open_at_once(told):
    """Steps of two open stages do not mix: each logs, and is a child, in its own stage only, however they nest."""
    one, two = StageIO("one", stage_number=1), StageIO("two", stage_number=2)
    with one.step("a"), two.step("b"), one.step("c"):
        one.get_stage_logger().info("of one")
        two.get_stage_logger().info("of two")
    two.finalize()
    one.finalize()
    assert (listed(one), listed(two)) == ([("a", "success"), ("a/c", "success")], [("b", "success")])
    assert [(each.stage, each.message) for io in (one, two) for each in told(io).log] == [
        ("one/a/c", "of one"),
        ("two/b", "of two"),
    ]
    assert spans(one)["c"].parent_span_id == spans(one)["a"].span_id
    assert spans(two)["b"].parent_span_id == own_id(two)


def test_forked_child_ends_nothing(io):
    """A child by fork that leaves the block of a step has not ended it; a step of its own is on record."""
    with io.step("decode"):
        child = os.fork()
        if child == 0:
            try:
                with io.step("child's"):
                    pass
                sys.exit(3)
            except SystemExit:
                os._exit(0)
        os.waitpid(child, 0)
        assert listed(io) == [("decode", "running")]
    assert [(each["name"], each["status"]) for each in open_job("out").manifest("asr")["steps"]] == [
        ("decode", "success"),
        ("decode/child's", "success"),
    ]
    assert spans(io)["child's"].parent_span_id == spans(io)["decode"].span_id


def test_forked_child_that_leaves_by_an_exception(io):
    """An exception that unwinds a forked child through the parent's step leaves no trace of an end."""
    child = -1
    try:
        with io.step("decode"):
            child = os.fork()
            if child == 0:
                raise SystemExit(3)
            os.waitpid(child, 0)
    finally:
        if child == 0:
            os._exit(0)
    assert len(_events(io, names.STEP_FINISHED)) == 1
    assert listed(io) == [("decode", "success")]


def _events(io: StageIO, name: str) -> list[Any]:
    path = io.stage_dir / ".stageio" / "001" / "events.jsonl"
    return [each for each in reader.log_records(str(path)) if each.event_name == name]


def test_killed_within_a_step():
    """After SIGKILL the step's beginning is readable, and the manifest from the journal says that it was abandoned."""
    child = os.fork()
    if child == 0:
        try:
            io = StageIO("asr", stage_number=6)
            io.get_stage_logger(100)
            with io.step("done"):
                pass
            with io.step("decode", file="a.wav"):
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    manifest = open_job("out").manifest("asr")
    assert manifest["status"] == "abandoned"
    assert [(each["name"], each["status"], each.get("attributes")) for each in manifest["steps"]] == [
        ("done", "success", None),
        ("decode", "abandoned", {"file": "a.wav"}),
    ]
    assert manifest["steps"][1]["duration_seconds"] is None


def test_step_in_a_process_that_sys_exits(run_script, tmp_path):
    """`sys.exit(0)` in a step of a stage's block is success of both; the step is on record when the process is gone."""
    ran = run_script(
        """
        import sys
        from otel_stageio import StageIO
        with StageIO("asr", stage_number=6) as io, io.step("decode"):
            sys.exit(0)
        """
    )
    manifest = json.loads((tmp_path / "out" / "06_asr" / "manifest.json").read_bytes())
    assert (ran.returncode, manifest["status"]) == (0, "success")
    assert [(each["name"], each["status"]) for each in manifest["steps"]] == [("decode", "success")]


# Names and attributes of any kind.


@pytest.mark.parametrize(
    "name",
    ["a]b", "two\nlines", "[x] [INFO] forged", "a/b", "größer \u2028", "\x1b[31m", "x" * 10_000, "\udcff", " ", "\0"],
)
def test_odd_names(io, told, name):
    """Any text is a name of a step: in manifest and span as it is, in the logs it forges no line and no tag."""
    shown = name.replace("\udcff", "\\udcff")
    with io.step(name):
        io.get_stage_logger().info("inside")
    io.finalize()
    found = told(io)
    assert listed(io) == [(shown, "success")]
    assert list(spans(io)) == [shown, "asr"]
    assert [(each.stage, each.message) for each in found.log] == [(f"asr/{shown}", "inside")]


@pytest.mark.parametrize(("name", "shown"), [(None, "None"), (5, "5"), (b"a", "b'a'"), (["a"], "['a']")])
def test_names_that_are_no_text(io, name, shown):
    """What is no text is a step's name by its repr."""
    with io.step(name):
        pass
    assert listed(io) == [(shown, "success")]


def test_name_that_raises(io):
    """An object that raises when it is looked at is named, somehow; the block runs."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    with io.step(Odd()):
        ran = True
    assert (ran, [status for _, status in listed(io)]) == (True, ["success"])


def test_step_without_a_name(io):
    """An empty name is one, too: it adds nothing to the tag in the logs."""
    with io.step(""):
        io.get_stage_logger().info("inside")
    assert listed(io) == [("", "success")]
    assert "] [asr] [INFO] inside" in io.stage_log.read_text()


def test_attributes_of_any_kind(io, told):
    """Attributes of every type are in the manifest as they are, on the span as scalars, and none is refused."""

    class Odd:
        def __repr__(self) -> str:
            return "<odd>"

    given: dict[str, Any] = {
        "text": "ä\udcff",
        "whole": 1 << 70,
        "nan": float("nan"),
        "none": None,
        "nested": {"a": [1, {"b": None}]},
        "raw": b"\0\xff",
        "odd": Odd(),
        "name": "not the step's",
        "self": 1,
    }
    with io.step("decode", **given):
        pass
    io.finalize()
    (step,) = told(io).manifest["steps"]
    assert step["attributes"] == {
        "text": "ä\\udcff",
        "whole": str(1 << 70),
        "nan": "NaN",
        "none": None,
        "nested": {"a": [1, {"b": None}]},
        "raw": "AP8=",
        "odd": "<odd>",
        "name": "not the step's",
        "self": 1,
    }
    assert spans(io)["decode"].attributes == {
        **{key: step["attributes"][key] for key in ("text", "whole", "nan", "raw", "odd", "name", "self")},
        "none": "null",
        "nested": '{"a": [1, {"b": null}]}',
    }


def test_attribute_of_ten_megabytes(io, told):
    """An attribute that fits in no line is cut, and that is told; the step is listed as ever."""
    with io.step("decode", huge="x" * 10_000_000):
        pass
    io.finalize()
    found = told(io)
    assert listed(io) == [("decode", "success")]
    assert ["stageio.step.started was cut" in each for each in found.manifest["degraded"]] == [True]
    assert spans(io)["decode"].attributes["huge"].endswith("[cut from 10000000 characters]")


# Where nothing is written, and our own trouble.


def test_mode_off():
    """With `mode="off"` steps are in the manifest in memory, and nothing is written."""
    io = StageIO("asr", stage_number=6, mode="off")
    with io.step("decode") as span:
        assert trace.get_current_span() is span
    io.finalize()
    assert listed(io) == [("decode", "success")]
    assert not os.path.exists("out")


def test_trouble_of_our_own_leaves_the_block_alone(io, monkeypatch, capsys):
    """A bug in beginning or ending a step costs the step alone: the block runs, and what it raises goes on."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(steps.Step, "begin", broken)
    with pytest.raises(ValueError, match="theirs"), io.step("decode"):
        raise ValueError("theirs")
    monkeypatch.setattr(steps.Step, "__init__", broken)
    with io.step("decode") as span:
        assert not span.is_recording()
    assert capsys.readouterr().err.count("cannot begin a step: RuntimeError: a bug") == 1
    assert [each for each in io.manifest["degraded"] if "cannot begin a step" in each] != []


def test_ten_thousand_steps(io, told):
    """So many steps leave as many entries, and neither contexts nor spans pile up."""
    before = contexts.get_current()
    for number in range(10_000):
        with io.step("decode", number=number):
            pass
    assert contexts.get_current() is before
    io.finalize()
    found = told(io)
    assert [each["attributes"]["number"] for each in found.manifest["steps"]] == list(range(10_000))
    gc.collect()
    assert [each for each in gc.get_objects() if type(each) is steps.Step and each.recorder is io._recorder] == []
