"""Checksums of large files, against hashlib in as many threads as cores.

Idle stage: two files are tracked and the stage is finalized at once; the time from the first call until finalize has
returned counts, all of its writing in it. Baseline: the same two files through `hashlib.file_digest` in as many threads
as this process may use cores (two at most: there are two files).

Busy stage, without a budget: the stage tracks the files and computes in pure Python until both digests are in the
journal. Compared with one plain thread of `hashlib.file_digest` beside the same computing, with a file of an eighth of
the size, since it may starve; and what either costs the computing, against the same work alone just after. That cost is
in wall time: where other programs use the cores, it is theirs as well. Where only one core is allowed no thread hashes
beside the stage, and there is nothing to measure.

The files are in the page cache: what is measured is hashing, not the disk.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.baselines import file_digest
from benchmarks.measuring import Result, Steps, alternate, ratios, timed
from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.record.artifacts.hashing import allowed_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.measuring import Size, Tell

_BUDGET: Final = 0.95
_FILES: Final = 2
_GB: Final = 1e9
#: What the thread of plain hashlib hashes beside computing: by so much less than one of the files.
_LESSER: Final = 8
#: A digest that was made after its call, as the journal has it.
_DIGEST: Final = f'"eventName":"{names.DIGEST}"'.encode()
#: Units of computing, a millisecond or less each, between two looks at whether the digests are there.
_BETWEEN_LOOKS: Final = 20
#: Seconds after which a digest that never comes ends the row.
_PATIENCE: Final = 120


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured: bytes of each file, rounds idle and busy."""

    size: int
    idle: int
    busy: int


AMOUNTS: Final = {"tiny": Amount(8 << 20, 1, 1), "small": Amount(1 << 28, 7, 3), "full": Amount(1 << 30, 11, 5)}


def run(size: Size, folder: str, tell: Tell) -> list[Result]:
    """Measure the row in this process, with files below `folder`."""
    amount = AMOUNTS[size]
    beside = allowed_cores() > 1
    steps = Steps(tell, 1 + amount.idle + 1 + (amount.busy + 1 if beside else 0))
    here = Path(folder)
    paths = [_make_file(here / f"audio{number}.wav", amount.size) for number in range(_FILES)]
    steps.step("files")
    total = amount.size * _FILES
    jobs = (here / f"job{number}" for number in count())
    mine, theirs = alternate(
        lambda: timed(partial(_idle, paths, next(jobs))),
        lambda: timed(partial(_threads, paths)),
        rounds=amount.idle,
        steps=steps,
        what="idle",
    )
    name = f"{_FILES} x {amount.size >> 20:,} MiB"
    found = [
        Result(
            what=f"Checksums of {name}, idle stage: GB/s",
            against=f"hashlib in {min(allowed_cores(), _FILES)} threads",
            values=ratios(theirs, mine),
            limit=_BUDGET,
            at_least=True,
            detail=_rates(total, mine, theirs),
        )
    ]
    return found + (_busy_results(name, _busy(amount, paths, jobs, steps)) if beside else [])


def _rates(total: int, mine: Sequence[float], theirs: Sequence[float]) -> str:
    ours, baseline = total / median(mine) / _GB, total / median(theirs) / _GB
    return f"ours {ours:.2f} GB/s, baseline {baseline:.2f} GB/s"


def _make_file(path: Path, size: int) -> str:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())  # no write-back in the middle of a measurement
    return str(path)


def _idle(paths: Sequence[str], job: Path) -> None:
    stage = _tracking(paths, job)
    stage.finalize("success")


def _tracking(paths: Sequence[str], job: Path) -> StageIO:
    stage = StageIO("asr", job, stage_number=6)
    for path in paths:
        stage.track_input(path)
    return stage


def _threads(paths: Sequence[str]) -> None:
    cores = min(allowed_cores(), len(paths))
    _joined([_thread(paths[first::cores]) for first in range(cores)])


def _thread(paths: Sequence[str]) -> threading.Thread:
    thread = threading.Thread(target=lambda: [file_digest(path) for path in paths])
    thread.start()
    return thread


def _joined(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.join()


@dataclass(frozen=True, slots=True)
class _Beside:
    """Digests made beside computing: seconds for each byte, and by what share the computing took longer."""

    byte: float
    cost: float


def _busy(amount: Amount, paths: Sequence[str], jobs: Iterator[Path], steps: Steps) -> list[tuple[_Beside, _Beside]]:
    """Ours and theirs, round by round; the first round is not counted."""
    folder = next(jobs)
    folder.mkdir()
    lesser = [_make_file(folder / "lesser.wav", amount.size // _LESSER)]
    rounds = []
    for number in range(amount.busy + 1):
        stage = _tracking(paths, job := next(jobs))
        ours = _beside(_recorded(job, len(paths)), amount.size * len(paths))
        stage.finalize("success")
        thread = _thread(lesser)
        theirs = _beside(lambda: not thread.is_alive(), amount.size // _LESSER)  # noqa: B023 - called within this turn
        if number:
            rounds.append((ours, theirs))
        steps.step("busy")
    return rounds


def _beside(done: Callable[[], bool], size: int) -> _Beside:
    """Compute until `done` says that so many bytes were hashed, and as much again alone."""
    start = time.perf_counter()
    units = _compute_until(done)
    seconds = time.perf_counter() - start
    alone = timed(partial(_compute, units))
    return _Beside(seconds / size, seconds / alone - 1)


def _busy_results(name: str, rounds: Sequence[tuple[_Beside, _Beside]]) -> list[Result]:
    mine, theirs = zip(*rounds, strict=True)
    bytes_of = [[each.byte for each in side] for side in (mine, theirs)]
    return [
        Result(
            what=f"Checksums of {name}, busy stage: GB/s",
            against="one thread of hashlib beside the same computing",
            values=ratios(bytes_of[1], bytes_of[0]),
            detail=_rates(1, *bytes_of),
        ),
        Result(
            what="What that costs the stage's own computing",
            against="the same computing alone",
            values=tuple(each.cost * 100 for each in mine),
            unit="%",
            detail=f"beside the thread of hashlib: {100 * median(each.cost for each in theirs):.1f} %",
        ),
    ]


def _recorded(job: Path, digests: int) -> Callable[[], bool]:
    """Whether so many digests are in the journal of the job's only stage."""
    journal = job / "06_asr" / ".stageio" / "001" / "events.jsonl"

    def done() -> bool:
        return journal.read_bytes().count(_DIGEST) >= digests

    return done


def _compute_until(done: Callable[[], bool]) -> int:
    """Compute until `done` says so, and return the units of it."""
    units = 0
    start = time.perf_counter()
    while not done():
        _compute(_BETWEEN_LOOKS)
        units += _BETWEEN_LOOKS
        if time.perf_counter() - start > _PATIENCE:
            raise TimeoutError(f"no digest within {_PATIENCE} s")
    return max(units, 1)


def _compute(units: int) -> int:
    total = 0
    for _ in range(units):
        for number in range(5_000):
            total = (total * 31 + number) % 1_000_003
    return total
