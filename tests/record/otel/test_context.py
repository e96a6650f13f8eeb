"""What is current while stages are open, and never after: in one thread, in many, and in tasks."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace

from otel_stageio import StageIO, stage
from otel_stageio.record.otel import context as stages
from tests.journal.samples import unhurried
from tests.record.otel.hosted import journal, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.record.conftest import Tell

tracer = trace.get_tracer("a.library")
#: Which of several.
picks = st.integers(0, 3)


@pytest.fixture(autouse=True)
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenTelemetry has nothing to warn of, least of all a context that it failed to detach."""
    yield
    assert [each.getMessage() for each in caplog.get_records("call") if each.name.startswith("opentelemetry")] == []


def opened(folder: Path, name: str = "asr", **options: Any) -> StageIO:
    """A stage of its own job, that nothing is written of unless asked."""
    return StageIO(name, folder, **{"mode": "off", "stage_number": 1, **options})


def current() -> Any:
    """The current span; None where there is none."""
    span = trace.get_current_span()
    return span if span.get_span_context().is_valid else None


# One thread.


def test_the_stages_span_is_current_until_its_end(tmp_path: Path):
    """get_current_span is io.span, recording; after finalize there is none, and io.span is as it was, not recording."""
    io = opened(tmp_path)
    assert current() is io.span
    assert io.span.is_recording()
    ids = io.span.get_span_context()
    io.finalize()
    assert current() is None
    assert (io.span.is_recording(), io.span.get_span_context()) == (False, ids)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_stages_that_overlap_end_in_any_order(tmp_path: Path, order: tuple[int, ...]):
    """Of three open stages, ended in any order, the newest that is open is current, and in the end none."""
    opens = [opened(tmp_path, name) for name in ("a", "b", "c")]
    ended = set()
    for one in order:
        opens[one].finalize()
        ended.add(one)
        left = [io.span for number, io in enumerate(opens) if number not in ended]
        assert current() is (left[-1] if left else None)
    assert dict(context.get_current()) == {}


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_somebody_attaches_within_stages_is_kept_and_the_stages_go(tmp_path: Path, order: tuple[int, ...]):
    """With baggage attached in each stage, an ended stage is not current, and the baggage and its detach are whole."""
    opens, tokens = [], []
    for name in ("a", "b", "c"):
        opens.append(opened(tmp_path, name))
        tokens.append(context.attach(baggage.set_baggage(name, "x")))
    ended = set()
    for one in order:
        opens[one].finalize()
        ended.add(one)
        assert current() is None or current().is_recording()
    for token in reversed(tokens):
        context.detach(token)
        assert current() is None
    assert baggage.get_all() == {}


@unhurried
@given(st.lists(st.tuples(st.sampled_from(["open", "nest", "end", "end in a thread", "step", "span", "leave"]), picks)))
def test_stages_steps_and_spans_in_any_order(moves: list[tuple[str, int]]):
    """However stages, steps and a library's spans overlap, no ended stage is current, and in the end nothing is."""
    around, opens, ended, within = context.attach(context.Context()), [], [], []
    with ThreadPoolExecutor(1) as pool, ExitStack() as last:
        last.callback(context.detach, around)
        for number, (move, pick) in enumerate(moves):
            if move in {"open", "nest"}:
                opens.append(opened(Path("job"), f"stage{number}", stage_number=number))
                opens[-1]._trace.nests = move == "nest"
            elif move == "leave" and within:
                within.pop().__exit__(None, None, None)
            elif move in {"end", "end in a thread"} and opens:
                ended.append(opens.pop(pick % len(opens)))
                pool.submit(ended[-1].finalize).result() if move != "end" else ended[-1].finalize()
            elif move in {"step", "span"} and opens:
                step = opens[pick % len(opens)].step("decode") if move == "step" else None
                within.append(step or tracer.start_as_current_span("request"))
                within[-1].__enter__()
            assert current() not in [io.span for io in ended]
        for io in opens:
            io.finalize()
        for each in reversed(within):
            each.__exit__(None, None, None)
        assert current() is None


def test_a_stage_keeps_the_baggage_around_it(tmp_path: Path):
    """What the program put into the context before and after the stage opened is there in it, and in one beside it."""
    context.attach(baggage.set_baggage("before", "1"))
    io = opened(tmp_path)
    assert baggage.get_all() == {"before": "1"}
    context.attach(baggage.set_baggage("after", "2"))
    beside = opened(tmp_path, "b")
    assert baggage.get_all() == {"before": "1", "after": "2"}
    assert beside.headers()["baggage"] == "before=1,after=2"
    beside.finalize()
    io.finalize()
    assert baggage.get_all() == {"before": "1", "after": "2"}


def test_a_stage_that_ends_within_a_span_of_a_library(tmp_path: Path):
    """The library's span stays current until the library ends it, and the stage does not come back."""
    io = opened(tmp_path)
    with tracer.start_as_current_span("request") as request:
        io.finalize()
        assert current() is request
    assert current() is None


def test_an_open_stage_is_no_parent(tmp_path: Path):
    """Stages that are merely open at the same time stand side by side below the run."""
    a = opened(tmp_path / "job", "a", mode="file")
    b = opened(tmp_path / "job", "b", mode="file", stage_number=2)
    with tracer.start_as_current_span("of b"):
        pass
    a.finalize()
    with tracer.start_as_current_span("of b, too"):
        pass
    b.finalize()
    assert tree(journal(tmp_path / "job")) == {"stageio": {"a": {}, "b": {"of b": {}, "of b, too": {}}}}


def test_a_with_block_and_a_decorated_function_are_parents(tmp_path: Path):
    """Stages opened inside one hang on it, in the same trace, also in a span of a library within."""

    @stage("c", tmp_path / "job", stage_number=3)
    def c(io: StageIO) -> None:
        with StageIO("d", tmp_path / "job", stage_number=4):
            assert current() is not io.span
        assert current() is io.span

    with StageIO("a", tmp_path / "job", stage_number=1) as a:
        with StageIO("b", tmp_path / "job", stage_number=2):
            pass
        assert current() is a.span
        with tracer.start_as_current_span("request"):
            c()
    assert tree(journal(tmp_path / "job")) == {"stageio": {"a": {"b": {}, "request": {"c": {"d": {}}}}}}


def test_what_a_stage_logs_is_its_own_whatever_is_current(tmp_path: Path, told: Tell):
    """With two stages of one trace open, a record has a span of the stage that it was logged to."""
    a = StageIO("a", tmp_path / "job", stage_number=1)
    with tracer.start_as_current_span("request") as request:
        a.get_stage_logger().info("in a")
    b = StageIO("b", tmp_path / "job", stage_number=2)
    a.get_stage_logger().info("while b is current")
    with tracer.start_as_current_span("of b"):
        a.get_stage_logger().info("in a span of b")
    b.finalize()
    a.finalize()
    own, of_request = (trace.format_span_id(each.get_span_context().span_id) for each in (a.span, request))
    assert [(each.body, each.span_id) for each in told(a).records] == [
        ("in a", of_request),
        ("while b is current", own),
        ("in a span of b", own),
    ]


def test_a_stage_beside_one_in_a_block_hangs_on_the_block(tmp_path: Path):
    """A stage opened next to one that is merely open hangs on what that one hangs on."""
    with StageIO("a", tmp_path / "job", stage_number=1):
        b = StageIO("b", tmp_path / "job", stage_number=2)
        c = StageIO("c", tmp_path / "job", stage_number=3)
        b.finalize()
        c.finalize()
    assert tree(journal(tmp_path / "job")) == {"stageio": {"a": {"b": {}, "c": {}}}}


def test_a_span_given_as_context_says_whose_its_child_is(tmp_path: Path):
    """With two stages open, the child of a span that is given in a context of its own is of that span's stage."""
    a = opened(tmp_path / "a", "a", mode="file")
    with tracer.start_as_current_span("outer"):
        around = trace.set_span_in_context(trace.get_current_span(), context.Context())
    b = opened(tmp_path / "b", "b", mode="file")
    tracer.start_span("by hand", around).end()
    tracer.start_span("below the stage", trace.set_span_in_context(a.span, context.Context())).end()
    with trace.use_span(a.span):
        tracer.start_span("in its context").end()
    tracer.start_span("current").end()
    b.finalize()
    a.finalize()
    assert tree(journal(tmp_path / "a")) == {
        "stageio": {"a": {"outer": {"by hand": {}}, "below the stage": {}, "in its context": {}}}
    }
    assert tree(journal(tmp_path / "b")) == {"stageio": {"b": {"current": {}}}}


def test_copies_of_contexts_do_not_keep_a_stage_current(tmp_path: Path):
    """A context that was copied in a stage, and one that a stage was opened in, hold no ended stage."""
    io = opened(tmp_path)
    copied, apart = contextvars.copy_context(), contextvars.Context()
    other = apart.run(opened, tmp_path, "b")
    assert (copied.run(current), apart.run(current), current()) == (io.span, other.span, io.span)
    other.finalize()
    assert (apart.run(current), current()) == (None, io.span)
    io.finalize()
    assert (copied.run(current), apart.run(current), current()) == (None, None, None)


def test_after_the_end_nothing_is_left_of_it(tmp_path: Path):
    """The context is the one before, `leave` may be called again, and spans are made that record nothing."""
    before = context.get_current()
    io = opened(tmp_path)
    io.finalize()
    io._trace.leave()
    assert context.get_current() is before
    assert stages.here() is None
    assert not tracer.start_span("late").is_recording()


# Threads.


def in_thread(work: Any, *arguments: Any) -> Any:
    """What `work` gives in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *arguments).result()


def test_a_stage_opened_in_one_thread_and_ended_in_another(tmp_path: Path):
    """It is current where it was opened, not where it ends, and afterwards nowhere."""
    with ThreadPoolExecutor(1) as pool:
        io = pool.submit(opened, tmp_path).result()
        assert (pool.submit(current).result(), current()) == (io.span, None)
        io.finalize()
        assert (pool.submit(current).result(), current()) == (None, None)
    io = opened(tmp_path)
    in_thread(io.finalize)
    assert current() is None


def test_a_thread_without_context_works_for_the_open_stage(tmp_path: Path):
    """A span started in a thread that has no context is a child of the newest open stage."""
    with StageIO("asr", tmp_path / "job", stage_number=1):
        in_thread(lambda: tracer.start_span("request").end())
    assert tree(journal(tmp_path / "job")) == {"stageio": {"asr": {"request": {}}}}


def test_four_threads_with_jobs_of_their_own(tmp_path: Path):
    """Stages of four threads at once do not mix: each job has one trace, with its own spans below its own stages."""
    together = threading.Barrier(4)

    def work(number: int) -> None:
        for name in ("ingest", "asr"):
            io = StageIO(name, tmp_path / str(number), stages=["ingest", "asr"])
            with io, io.step(f"step {number}"):
                together.wait(30)
                with tracer.start_as_current_span(f"request {number}"):
                    together.wait(30)
                    StageIO("aside", tmp_path / f"aside {number}", mode="off").finalize()
                assert current() is not io.span
            together.wait(30)
            assert current() is None

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for number in range(4):
        below = {f"step {number}": {f"request {number}": {}}}
        assert tree(journal(tmp_path / str(number))) == {"stageio": {"ingest": below, "asr": below}}


def test_four_threads_in_one_job(tmp_path: Path):
    """Four stages at once in one job are one run and one trace, each with its own spans."""
    together = threading.Barrier(4)

    def work(number: int) -> None:
        with StageIO(f"stage{number}", tmp_path / "job", stage_number=number):
            together.wait(30)
            with tracer.start_as_current_span(f"request {number}"):
                together.wait(30)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert tree(journal(tmp_path / "job")) == {
        "stageio": {f"stage{number}": {f"request {number}": {}} for number in range(4)}
    }


def test_contexts_attached_in_one_thread_and_detached_in_another(tmp_path: Path, told: Tell, caplog):
    """Spans, steps and stages that are entered in one thread and left in another are on record, and nothing raises.

    OpenTelemetry complains of its own tokens; ours has none. No thread is left with a span of the stage.
    """
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        io = one.submit(StageIO, "asr", tmp_path / "job", stage_number=1).result()
        step = io.step("decode")
        one.submit(step.__enter__).result()
        request = tracer.start_as_current_span("request")
        one.submit(request.__enter__).result()
        other.submit(request.__exit__, None, None, None).result()
        assert [each.getMessage() for each in caplog.records if each.name.startswith("opentelemetry")] == [
            "Failed to detach context"
        ]
        caplog.clear()
        other.submit(step.__exit__, None, None, None).result()
        token = one.submit(context.attach, trace.set_span_in_context(io.span)).result()
        other.submit(context.detach, token).result()
        caplog.clear()
        other.submit(io.finalize).result()
        assert other.submit(current).result() is None
    assert tree(journal(tmp_path / "job")) == {"stageio": {"asr": {"decode": {"request": {}}}}}
    found = told(io)
    assert found.manifest["status"] == "success"
    assert [(each["name"], each["status"]) for each in found.manifest["steps"]] == [("decode", "success")]


# Tasks.


def test_four_tasks_with_jobs_of_their_own(tmp_path: Path):
    """Stages of four asyncio tasks at once do not mix, by with block and by decorator."""

    async def work(number: int) -> None:
        @stage("asr", tmp_path / str(number), stage_number=2)
        async def asr(io: StageIO) -> None:
            await asyncio.sleep(0)
            with tracer.start_as_current_span(f"model {number}"):
                await asyncio.sleep(0)

        with StageIO("ingest", tmp_path / str(number), stage_number=1) as io:
            await asyncio.sleep(0)
            with io.step(f"step {number}"):
                await asyncio.sleep(0)
                with tracer.start_as_current_span(f"request {number}"):
                    await asyncio.sleep(0)
            assert current() is io.span
        await asr()
        assert current() is None

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(4)))

    asyncio.run(main())
    for number in range(4):
        assert tree(journal(tmp_path / str(number))) == {
            "stageio": {"ingest": {f"step {number}": {f"request {number}": {}}}, "asr": {f"model {number}": {}}}
        }


def test_a_task_that_outlives_the_stage_it_was_made_in(tmp_path: Path):
    """The stage is current in the task while it is open and not after; the task's own spans go where they belong."""

    async def main() -> None:
        ended = asyncio.Event()
        io = StageIO("asr", tmp_path / "job", stage_number=1)

        async def outlives() -> None:
            assert current() is io.span
            with tracer.start_as_current_span("in time"):
                await ended.wait()
            assert current() is None

        task = asyncio.create_task(outlives())
        await asyncio.sleep(0)
        io.finalize()
        ended.set()
        await task

    asyncio.run(main())
    assert tree(journal(tmp_path / "job")) == {"stageio": {"asr": {"in time": {}}}}


def test_a_stage_ended_by_another_task(tmp_path: Path):
    """A stage that one task opens and another ends is current in neither afterwards."""

    async def main() -> None:
        io = opened(tmp_path)

        async def ends() -> None:
            io.finalize()
            assert current() is None

        await asyncio.create_task(ends())
        assert current() is None

    asyncio.run(main())


# Memory.


def test_stages_and_loggers_are_free_after_their_end(tmp_path: Path):
    """Ended in order, overlapping or in another thread, stages, loggers, spans and recorders are collectable."""
    left = []

    def run(number: int, **options: Any) -> StageIO:
        io = opened(tmp_path / "job", f"stage{number}", stage_number=number, **options)
        with tracer.start_as_current_span("request"):
            io.get_stage_logger().debug("here")
        left.extend(weakref.ref(each) for each in (io, io._trace, io._recorder, io.get_stage_logger(), io.span))
        return io

    overlapping = [run(number, mode="file") for number in range(5)]
    for io in overlapping:
        io.finalize()
    for number in range(5, 10):
        in_thread(run(number, mode="file").finalize)
    del overlapping, io
    opened(tmp_path, "last").finalize()
    gc.collect()
    assert [each() for each in left if each() is not None] == []


def test_ten_thousand_stages_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """After 10,000 stages the process holds as many objects as after 1,000, and its context is the one before."""
    monkeypatch.setenv("STAGEIO_CONSOLE", "off")

    def run(times: int) -> int:
        for _ in range(times):
            io = opened(tmp_path)
            with tracer.start_as_current_span("request"):
                io.get_stage_logger().debug("here")
            io.finalize()
        gc.collect()
        return len(gc.get_objects())

    before = context.get_current()
    early = run(1_000)
    assert run(9_000) - early < 100
    assert context.get_current() is before


# The pieces.


def test_new_ids_follow_the_parent():
    """A child has its parent's trace, flags and state, and an id of its own; without a parent the trace is new."""
    state = trace.TraceState([("vendor", "x")])
    parent = trace.SpanContext(7, 8, is_remote=True, trace_flags=trace.TraceFlags(0), trace_state=state)
    made = stages.new_context(parent)
    assert (made.trace_id, int(made.trace_flags), made.trace_state, made.is_remote) == (7, 0, state, False)
    assert made.span_id not in {0, 8}
    alone = stages.new_context(None)
    assert (alone.is_valid, int(alone.trace_flags), len(alone.trace_state)) == (True, 1, 0)
    assert alone.trace_id != stages.new_context(None).trace_id


def test_the_stage_of_a_span(tmp_path: Path):
    """A span's ids lead to the open stage whose own they are, else to the newest of its trace."""
    with StageIO("a", tmp_path / "job", stage_number=1) as a, StageIO("b", tmp_path / "job", stage_number=2) as b:
        ids = a.span.get_span_context()
        assert stages.of_span(ids) is a._trace
        assert stages.of_span(b.span.get_span_context()) is b._trace
        assert stages.of_span(stages.new_context(ids)) is b._trace
        assert stages.of_span(stages.new_context(None)) is None
    assert stages.of_span(ids) is None
