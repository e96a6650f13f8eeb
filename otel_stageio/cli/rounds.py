"""Push in rounds: what a backend that is away could not take is tried again, for as long as it is worth it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from otel_stageio.ship import push
from otel_stageio.ship.lines import pause
from otel_stageio.ship.push import Pushed, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.ship.delivery import Way
    from otel_stageio.ship.sources import Choice
    from otel_stageio.ship.wire import Answer


class Rounds:
    """Jobs on their way. What became of each may be asked at any time, after an interrupt too."""

    def __init__(self, jobs: Iterable[JobLayout], ways: Mapping[str, Way], choice: Choice) -> None:
        """Send what of the jobs is chosen."""
        self._ways = ways
        self._choice = choice
        #: What became of each so far.
        self.pushed = {job: Pushed() for job in jobs}
        #: Those that could not be read or noted down, with the reason; they are not tried again.
        self.failed: dict[JobLayout, str] = {}
        self._left = {job: tuple(ways) for job in self.pushed}

    @property
    def passed(self) -> int:
        """How many records are done with."""
        return sum(pushed.total.passed for pushed in self.pushed.values())

    def go(self, patience: float, moved: Callable[[int], None], waits: Callable[[str], None]) -> None:
        """Send until all is delivered, or nothing more was taken for `patience` seconds.

        `moved` hears how many records are done, `waits` why it does not go on right now.
        """
        tries, passed, sign = 0, 0, time.monotonic()
        while away := self._rounds(moved):
            if self.passed > passed:
                tries, passed, sign = 0, self.passed, time.monotonic()
            tries += 1
            rest = pause(tries, max(answer.wait or 0.0 for answer in away.values()))
            if time.monotonic() + rest > sign + patience:
                return
            signal, answer = next(iter(away.items()))
            waits(f"{self._ways[signal].to}: {answer.why}")
            time.sleep(rest)

    def _rounds(self, moved: Callable[[int], None]) -> dict[str, Answer]:
        """A round; and one more where it was found out meanwhile that records were to blame and not the backend."""
        unsure = {signal for signal, way in self._ways.items() if not way.takes}
        away = self._round(moved)
        stopped = [item for pushed in self.pushed.values() for item in pushed.stopped.items()]
        if any(answer.unsure and signal in unsure and self._ways[signal].takes for signal, answer in stopped):
            away = self._round(moved)
        return away

    def _round(self, moved: Callable[[int], None]) -> dict[str, Answer]:
        """Try what is left, a destination that is away at one job not at the next; gives what may pass soon."""
        away: dict[str, Answer] = {}
        for job, left in list(self._left.items()):
            untried = {signal: away[signal] for signal in left if signal in away}
            ways = {signal: self._ways[signal] for signal in left if signal not in away}
            told = partial(self._tell, job, self.pushed[job], untried, moved)
            try:
                told(push.push(job, ways, told, self._choice) if ways else Pushed(taken=self.pushed[job].taken))
            except OSError as why:
                self.failed[job] = str(why)
                self._left[job] = ()
                continue
            waits = self.pushed[job].waits
            away |= {signal: waits[signal] for signal in ways if signal in waits and not waits[signal].unsure}
            self._left[job] = tuple(signal for signal in left if signal in waits)
        return {signal: answer for signal, answer in away.items() if answer.passing}

    def _tell(
        self,
        job: JobLayout,
        before: Pushed,
        untried: Mapping[str, Answer],
        moved: Callable[[int], None],
        now: Pushed,
    ) -> None:
        kept = {signal: of for signal, of in before.stopped.items() if signal not in self._left[job]}
        signals = {**before.tallies, **now.tallies}
        self.pushed[job] = Pushed(
            tallies={each: before.tallies.get(each, Tally()).plus(now.tallies.get(each, Tally())) for each in signals},
            stopped={**kept, **untried, **now.stopped},
            taken=now.taken,
            failed={**before.failed, **now.failed},
        )
        moved(self.passed)
