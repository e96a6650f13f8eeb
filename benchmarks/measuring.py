"""What every row measures with: contenders in turn, their ratios, and the result with its spread and its budget."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Size: TypeAlias = Literal["tiny", "small", "full"]
SIZES: tuple[Size, ...] = ("tiny", "small", "full")
#: How far a row is: steps done, steps in all, what is being measured.
Tell: TypeAlias = "Callable[[int, int, str], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table.

    values     what was measured, one number a round; the median counts
    unit       "x" for a ratio, else what the numbers are in: "B", "KB", "%", "s"
    limit      the budget, None where there is none; with `at_least` more is better
    detail     what was measured on both sides, in absolute numbers
    """

    what: str
    against: str
    values: tuple[float, ...]
    unit: str = "x"
    limit: float | None = None
    at_least: bool = False
    detail: str = ""

    @property
    def median(self) -> float:
        """The number that counts."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median keeps the budget; None where there is none."""
        if self.limit is None:
            return None
        return self.median >= self.limit if self.at_least else self.median <= self.limit


class Steps:
    """Counts the steps of a row and tells each; `total` is known from the start."""

    def __init__(self, tell: Tell, total: int) -> None:
        """Begin at none."""
        self._tell = tell
        self._total = total
        self._done = 0

    def step(self, what: str) -> None:
        """Tell that one more step, of measuring `what`, is done."""
        self._done += 1
        self._tell(self._done, self._total, what)


def alternate(
    *contenders: Callable[[], float], rounds: int, steps: Steps, what: str, warm: int = 1
) -> tuple[tuple[float, ...], ...]:
    """Measure the contenders in turn, A B A B ..., and return each one's numbers, round by round.

    A contender returns what it measured. The first `warm` rounds are not counted. Each round is one step.
    """
    measured = []
    for number in range(warm + rounds):
        found = []
        for contender in contenders:
            gc.collect()  # what one left behind is not the other's to clear away
            found.append(contender())
        if number >= warm:
            measured.append(found)
        steps.step(what)
    return tuple(zip(*measured, strict=True))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Ours by theirs, round by round: each pair was measured within the same moments."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))


def timed(work: Callable[[], object]) -> float:
    """The seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def shown(seconds: float) -> str:
    """A duration in a unit that reads well."""
    for factor, unit in ((1e-3, "µs"), (1.0, "ms")):
        if seconds < factor:
            scaled = seconds / factor * 1000
            return f"{scaled:.3g} {unit}"
    return f"{seconds:.3g} s"


def compared(ours: Sequence[float], theirs: Sequence[float], count: int = 1, of: str = "ours") -> str:
    """The absolute numbers behind a ratio: medians of seconds, each for one of `count` items."""
    mine, other = statistics.median(ours) / count, statistics.median(theirs) / count
    return f"{of} {shown(mine)}, baseline {shown(other)}"
