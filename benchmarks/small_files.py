"""Tracking small files with their sha256 in the call, against hashlib alone.

Ours: `track_input` of files of 1 KiB, each read, hashed and in the journal before the call returns. Baseline: for each
of the same files ``open`` and `hashlib.file_digest`. The files lie a thousand to a folder, and both have read them once
before. The calls are measured; what finalize costs after them has no budget and is shown below.

Memory is what tracemalloc still counts once the files are tracked, without the manifest's text: interim manifests are
off in that pass. (That cost and memory stay flat up to 100,000 files is measured in `growth`.)
"""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.baselines import file_digest
from benchmarks.measuring import Result, Steps, alternate, compared, ratios, shown, timed
from otel_stageio import StageIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.measuring import Size, Tell

BYTES: Final = 1024
_IN_FOLDER: Final = 1000
_BUDGET: Final = 1.0
_MEMORY: Final = 0.5
_AGAINST: Final = "hashlib.file_digest alone"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured: files, and rounds."""

    files: int
    rounds: int


AMOUNTS: Final = {"tiny": Amount(50, 2), "small": Amount(5_000, 5), "full": Amount(10_000, 11)}


class Still(StageIO):
    """A stage without interim manifests."""

    def refresh(self) -> None:
        """Leave the manifest for the end."""


def run(size: Size, folder: str, tell: Tell) -> list[Result]:
    """Measure the row in this process, with files below `folder`."""
    amount = AMOUNTS[size]
    steps = Steps(tell, amount.rounds + 2)
    here = Path(folder)
    paths = make_files(here / "files", amount.files)
    ends: list[float] = []
    mine, theirs = alternate(
        _tracking(paths, here, ends),
        lambda: timed(partial(_digests, paths)),
        rounds=amount.rounds,
        steps=steps,
        what=f"{amount.files:,} files",
    )
    memory = _memory(paths, here / "memory")
    steps.step("memory")
    whole = [a + b for a, b in zip(mine, ends[1:], strict=True)]
    return [
        Result(
            what=f"{amount.files:,} files of 1 KiB tracked with sha256",
            against=_AGAINST,
            values=ratios(mine, theirs),
            limit=_BUDGET,
            detail=compared(mine, theirs, amount.files) + " a file",
        ),
        Result(
            what=f"{amount.files:,} files of 1 KiB tracked, and finalize",
            against=_AGAINST,
            values=ratios(whole, theirs),
            detail=f"{compared(whole, theirs, amount.files)} a file; finalize {shown(sorted(ends)[len(ends) // 2])}",
        ),
        Result(
            what="Memory for each tracked file",
            against="",
            values=(memory / 1000,),
            unit="KB",
            limit=_MEMORY,
            detail=f"tracemalloc, over {len(paths) - len(paths) // 10:,} files",
        ),
    ]


def make_files(folder: Path, files: int) -> list[str]:
    """Make so many files of 1 KiB, each of other content, and return their paths."""
    paths = []
    for number in range(files):
        inside = folder / f"{number // _IN_FOLDER:03d}"
        if number % _IN_FOLDER == 0:
            inside.mkdir(parents=True)
        path = inside / f"segment_{number:06d}.bin"
        path.write_bytes(number.to_bytes(8, "big") * (BYTES // 8))
        paths.append(str(path))
    return paths


def track(stage: StageIO, paths: Sequence[str]) -> None:
    """Track the paths as inputs."""
    for path in paths:
        stage.track_input(path)


def _digests(paths: Sequence[str]) -> None:
    for path in paths:
        file_digest(path)


def _tracking(paths: Sequence[str], folder: Path, ends: list[float]) -> Callable[[], float]:
    """Measure the calls; the seconds of finalize go to `ends`."""
    numbers = count()

    def measure() -> float:
        stage = StageIO("asr", folder / f"job{next(numbers)}", stage_number=6, checksum="sha256")
        seconds = timed(partial(track, stage, paths))
        ends.append(timed(stage.finalize))
        return seconds

    return measure


def _memory(paths: Sequence[str], job: Path) -> float:
    """Bytes that each tracked file leaves in memory."""
    first = len(paths) // 10
    stage = Still("asr", job, stage_number=6, checksum="sha256")
    tracemalloc.start()
    try:
        track(stage, paths[:first])
        before = tracemalloc.get_traced_memory()[0]
        track(stage, paths[first:])
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    stage.finalize()
    return (after - before) / (len(paths) - first)
