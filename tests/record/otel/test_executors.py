"""Work that a stage hands on, to threads, executors and tasks: whose span and step its records are in."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace

from otel_stageio import StageIO, open_job
from otel_stageio.journal import reader

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def io(tmp_path: Path) -> StageIO:
    """An open stage."""
    return StageIO("asr", tmp_path / "out", stage_number=6)


def said(io: StageIO) -> dict[str, tuple[str, str | None]]:
    """Each message's span, by its name, and its step, once the stage has ended."""
    io.finalize()
    spans = {of.span_id: of.name for of in reader.spans(str(io.stage_dir / ".stageio" / "001" / "traces.jsonl"))}
    rows = open_job(io.job_dir).logs()
    assert {row["trace_id"] for row in rows} == {io.manifest["trace_id"]}
    return {row["message"]: (spans[row["span_id"]], row["step"]) for row in rows}


def test_threads_have_the_open_stage(io: StageIO):
    """A thread and an executor inherit no context: what they log within a step is the stage's, by any of its loggers.

    Handed the context, they log in the step.
    """
    logger = io.get_stage_logger()
    with io.step("decode"), ThreadPoolExecutor(2) as pool:
        context = contextvars.copy_context()
        thread = threading.Thread(target=logger.info, args=("thread",))
        thread.start()
        thread.join()
        pool.submit(logger.info, "executor").result()
        pool.submit(logger.getChild("worker").warning, "child logger").result()
        pool.submit(context.run, logger.info, "executor with context").result()
    stage, step = ("asr", None), ("decode", "decode")
    assert said(io) == {
        "thread": stage,
        "executor": stage,
        "child logger": stage,
        "executor with context": step,
    }


def test_an_executor_s_thread_keeps_no_step(io: StageIO):
    """A thread that works for one step after the other has each in its turn, and none in between."""
    logger = io.get_stage_logger()

    def work(number: int) -> None:
        logger.info("before %d", number)
        with io.step(f"file{number}"):
            logger.info("in %d", number)
        logger.info("after %d", number)

    with ThreadPoolExecutor(3) as pool:
        for done in as_completed([pool.submit(work, number) for number in range(12)]):
            done.result()
    found = said(io)
    for number in range(12):
        step = f"file{number}"
        assert found[f"in {number}"] == (step, step)
        assert found[f"before {number}"] == found[f"after {number}"] == ("asr", None)


def test_to_thread_has_the_task_s_step(io: StageIO):
    """`asyncio.to_thread` hands the context on, `run_in_executor` does not; tasks at once do not mix their steps."""
    logger = io.get_stage_logger()

    async def work(number: int) -> None:
        loop = asyncio.get_running_loop()
        with io.step(f"task{number}"):
            for time in range(5):
                await asyncio.sleep(0.001 * (number + 1))
                await asyncio.to_thread(logger.info, "to_thread %d %d", number, time)
                await loop.run_in_executor(None, logger.info, f"run_in_executor {number} {time}")
                logger.info("task %d %d", number, time)

    async def main() -> None:
        await asyncio.gather(*map(work, range(4)))

    asyncio.run(main())
    found = said(io)
    assert len(found) == 4 * 5 * 3
    for message, placed in found.items():
        how, number, _ = message.split()
        step = f"task{number}"
        assert placed == (("asr", None) if how == "run_in_executor" else (step, step))


def test_tasks_that_are_cancelled_or_outlive_the_step(io: StageIO):
    """A cancelled task's step has failed, no other; a task made in a step that is over has its span and no tag."""
    logger = io.get_stage_logger()

    async def work(name: str) -> None:
        with io.step(name):
            await asyncio.sleep(0.02 if name == "lives" else 60)
            logger.info(name)

    async def late(over: asyncio.Event) -> None:
        await over.wait()
        logger.info("late")

    async def main() -> None:
        over = asyncio.Event()
        lives, dies = asyncio.create_task(work("lives")), asyncio.create_task(work("dies"))
        with io.step("around"):
            outlives = asyncio.create_task(late(over))
            await asyncio.sleep(0.001)
            dies.cancel()
        over.set()
        await asyncio.gather(lives, dies, outlives, return_exceptions=True)

    asyncio.run(main())
    assert said(io) == {"lives": ("lives", "lives"), "late": ("around", None)}
    steps = {of["name"]: of["status"] for of in io.manifest["steps"]}
    assert steps == {"lives": "success", "dies": "failed", "around": "success"}


def test_spans_of_threads_and_tasks(io: StageIO):
    """A library's span hangs on the step where the context was handed on, else on the stage."""
    tracer = trace.get_tracer("a.library")

    def request(name: str) -> None:
        with tracer.start_as_current_span(name):
            pass

    async def main() -> None:
        with io.step("fetch"):
            await asyncio.gather(asyncio.to_thread(request, "to_thread"), asyncio.sleep(0))
            await asyncio.get_running_loop().run_in_executor(None, request, "run_in_executor")

    asyncio.run(main())
    io.finalize()
    spans = list(reader.spans(str(io.stage_dir / ".stageio" / "001" / "traces.jsonl")))
    by_id = {of.span_id: of.name for of in spans}
    above = {of.name: by_id.get(of.parent_span_id, "") for of in spans}
    assert (above["to_thread"], above["run_in_executor"], above["fetch"]) == ("fetch", "asr", "asr")
