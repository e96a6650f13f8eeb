"""Many log records, tracked files and stages, against a hundredth of them: one must not cost more for their number.

The cost of a record and of a file: all calls and the finalize after them, without what finalize takes in a stage that
did nothing, divided by their number. The cost of a stage: opening it, one log line and finalize, in one process, as the
n-th stage of its job; that of an item the same, of one item of one of six stages. Each is compared with smaller runs
just before and just after, which stand for the machine as it was then. Ours against ours: there is no baseline. The
numbers also tell the processor's time for one, all in all: it knows neither the disk nor what other programs do
meanwhile.

Interim manifests are written by the stage's own thread while files are tracked; their share is the time that thread
spends in rewriting, by the time of the calls. It includes waiting for the interpreter's lock and for the disk.
"""

from __future__ import annotations

import gc
import shutil
import time
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Result, Steps, shown, timed
from benchmarks.small_files import make_files, track
from otel_stageio import StageIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measuring import Size, Tell

_BUDGET: Final = 1.2
_SHARE: Final = 2.0
_HUNDREDTH: Final = 100
#: That an item goes through.
_STAGES: Final = 6


@dataclass(frozen=True, slots=True)
class Amount:
    """The large numbers, of which a hundredth is compared with them; and how many small runs surround a large one."""

    records: int
    files: int
    stages: int
    items: int
    around: int


AMOUNTS: Final = {
    "tiny": Amount(1_000, 100, 10, 24, 1),
    "small": Amount(200_000, 20_000, 200, 600, 3),
    "full": Amount(1_000_000, 100_000, 1_000, 3_000, 5),
}
#: Fewer than these tell nothing, tiny as a run may be.
_LEAST: Final = 5


class Watched(StageIO):
    """A stage that knows how long its interim manifests took."""

    seconds = 0.0
    #: Of the processor, without waiting.
    processor = 0.0
    rewrites = 0

    def refresh(self) -> None:
        """Measure the rewrite."""
        start, processor = time.perf_counter(), time.thread_time()
        super().refresh()
        self.seconds += time.perf_counter() - start
        self.processor += time.thread_time() - processor
        self.rewrites += 1


def run(size: Size, folder: str, tell: Tell) -> list[Result]:
    """Measure the row in this process, with files below `folder`."""
    amount = AMOUNTS[size]
    steps = Steps(tell, 4 * (2 * amount.around + 1) + 1)
    here = Path(folder)
    jobs = (here / f"job{number}" for number in count())
    nothing = median(_stage_with(next(jobs), lambda _: None).end for _ in range(2 * amount.around + 1))

    def records(number: int) -> float:
        return _stage_with(next(jobs), partial(_log, number=number)).more_than(nothing)

    paths = make_files(here / "files", amount.files)
    steps.step("making files")
    watched: list[_Run] = []

    def files(number: int) -> float:
        watched.append(_stage_with(next(jobs), partial(track, paths=paths[:number])))
        return watched[-1].more_than(nothing)

    results = [
        _grown("log records", amount.records, records, amount.around, steps),
        _grown("tracked files of 1 KiB", amount.files, files, amount.around, steps),
        _grown("stages in one job", amount.stages, lambda number: _stages(next(jobs), number), amount.around, steps),
        _grown("items of six stages", amount.items, lambda number: _items(next(jobs), number), amount.around, steps),
    ]
    results.insert(2, _manifests(max(watched, key=lambda each: each.calls), amount.files))
    return results


def _grown(what: str, large: int, cost: Callable[[int], float], around: int, steps: Steps) -> Result:
    """What one of `large` costs, against one of a hundredth: `cost` gives the seconds for so many."""
    small = max(large // _HUNDREDTH, _LEAST)
    cost(small)  # not counted: the first of all loads modules
    costs, processor = [], []
    for number in [small] * around + [large] + [small] * around:
        gc.collect()
        start = time.process_time()
        costs.append(cost(number) / number)
        processor.append((time.process_time() - start) / number)
        steps.step(f"{number:,} {what}")
    many, worked = costs.pop(around), processor.pop(around)
    return Result(
        what=f"{large:,} {what}: cost of one",
        against=f"one of {small:,}",
        values=tuple(many / few for few in costs),
        limit=_BUDGET,
        detail=(
            f"{shown(many)}, of {small:,} {shown(median(costs))}; "
            f"of the processor {shown(worked)} and {shown(median(processor))}"
        ),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """One stage: seconds of its calls and of finalize, and what its interim manifests took while the calls went on."""

    calls: float
    end: float
    interim: float
    processor: float
    rewrites: int

    def more_than(self, nothing: float) -> float:
        """The seconds of it all, without those that a finalize takes where nothing was done."""
        return self.calls + max(self.end - nothing, 0)


def _stage_with(job: Path, work: Callable[[StageIO], None]) -> _Run:
    stage = Watched("asr", job, stage_number=6)
    calls = timed(partial(work, stage))
    interim, processor, rewrites = stage.seconds, stage.processor, stage.rewrites
    end = timed(stage.finalize)
    shutil.rmtree(job)
    return _Run(calls, end, interim, processor, rewrites)


def _manifests(found: _Run, files: int) -> Result:
    return Result(
        what=f"Interim manifests while {files:,} files are tracked",
        against="wall time of the calls",
        values=(100 * found.interim / found.calls,),
        unit="%",
        limit=_SHARE,
        detail=(
            f"{found.rewrites} rewrites took {shown(found.interim)} ({shown(found.processor)} of the processor) "
            f"of {shown(found.calls)}"
        ),
    )


def _log(stage: StageIO, number: int) -> None:
    info = stage.get_stage_logger().info
    for each in range(number):
        info("segment %06d: %6.3f s of speech", each, each % 25 + 0.125)


def _stages(job: Path, number: int) -> float:
    """Seconds for so many stages of a new job."""
    start = time.perf_counter()
    for each in range(1, number + 1):
        stage = StageIO(f"stage{each}", job, stage_number=each)
        stage.get_stage_logger().info("stage %d", each)
        stage.finalize()
    seconds = time.perf_counter() - start
    shutil.rmtree(job)
    return seconds


def _items(job: Path, number: int) -> float:
    """Seconds for so many items of a new job's stages, each item through all stages before the next."""
    start = time.perf_counter()
    for each in range(number):
        stage = StageIO(f"stage{each % _STAGES}", job, stage_number=each % _STAGES, item=each // _STAGES)
        stage.get_stage_logger().info("item %d", each // _STAGES)
        stage.finalize()
    seconds = time.perf_counter() - start
    shutil.rmtree(job)
    return seconds
