"""What a push came to: told in lines, given as JSON, and whether all is well."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from otel_stageio.cli import deliveries, output
from otel_stageio.cli.deliveries import RECORDS
from otel_stageio.job.layout import JobLayout
from otel_stageio.ship.push import Pushed, Tally

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otel_stageio.cli.deliveries import Row
    from otel_stageio.cli.jobs import Found
    from otel_stageio.cli.rounds import Rounds
    from otel_stageio.ship.waiting import Standing


class Account:
    """What became of each job, and how it stands afterwards."""

    def __init__(self, found: Found, rounds: Rounds, standings: Mapping[Path, Mapping[str, Standing]]) -> None:
        """Take in what the rounds brought; `standings` by the path of the job, and by signal."""
        self._found = found
        self._rounds = rounds
        self._standings = standings

    @property
    def is_complete(self) -> bool:
        """Whether the backend has everything that it takes, and took all that it was sent."""
        lost = [each.total.rejected + each.total.refused for each in self._rounds.pushed.values()]
        away = [not each.complete for each in self._rounds.pushed.values()]
        return not (any(lost) or any(away) or self._rounds.failed or self._found.others or self._deaf())

    def document(self) -> Row:
        """All of it, for programs."""
        return {
            "complete": self.is_complete,
            "jobs": [
                deliveries.of_job(
                    job,
                    (deliveries.sent(pushed, of) for of in self._standings[job.path].values()),
                    taken=list(pushed.taken),
                    failed=self._rounds.failed.get(JobLayout(job.path)) or "; ".join(_failed(pushed)) or None,
                )
                for job in self._found.jobs
                for pushed in [self._rounds.pushed[JobLayout(job.path)]]
            ],
        }

    def tell(self) -> None:
        """What was done, for people."""
        pushed = self._rounds.pushed
        for job, of in pushed.items():
            if of.delivered:
                output.say(f"{job.root}: sent {_kinds(of)}")
        for signal, to in self._destinations().items():
            refusals = self._refusals(signal)
            if refusals:
                output.say(f"{to} does not take {signal} ({refusals[0]}): they stay on disk")
        kept = sum(of.total.kept for of in pushed.values())
        if kept:
            output.say(f"{output.counted(kept, 'log record')} below STAGEIO_SHIP_LEVEL: on disk only")
        if self.is_complete:
            to = " and ".join(dict.fromkeys(self._destinations().values()))
            nothing = "" if any(of.delivered for of in pushed.values()) else "nothing to send: "
            has, takes = ("have", "they take") if " and " in to else ("has", "it takes")
            output.say(f"{nothing}{to} {has} everything that {takes}")

    def tell_troubles(self) -> None:
        """What was not done, and why."""
        pushed = self._rounds.pushed
        for signal, to in self._destinations().items():
            tally = reduce(Tally.plus, (of.tallies.get(signal, Tally()) for of in pushed.values()), Tally())
            what = RECORDS[signal]
            if tally.broken:
                output.trouble(f"{output.counted(tally.broken, 'line')} of {signal} cannot be read: passed over")
            if tally.refused + tally.rejected:
                why = "; ".join(filter(None, tally.why)) or "it does not say why"
                output.trouble(f"{to} refused {output.counted(tally.refused + tally.rejected, what)}: {why}")
        for (to, why), counts in self._waiting().items():
            output.trouble(f"waiting for {to} ({why}): {' and '.join(counts)}; the same command sends what waits")
        for to in self._deaf():
            output.trouble(f"{to} takes neither traces nor logs: is this an OTLP receiver's address, with no path?")
        for of in pushed.values():
            for folder in of.taken:
                output.trouble(f"{folder} is being delivered by another process")
            for line in _failed(of):
                output.trouble(line)
        for job, why in self._rounds.failed.items():
            output.trouble(f"{job.root}: {why}")

    def _refusals(self, signal: str) -> list[str]:
        """What was said where the signal is not taken."""
        return [
            of.stopped[signal].why
            for of in self._rounds.pushed.values()
            if signal in of.stopped.keys() - of.waits.keys()
        ]

    def _deaf(self) -> set[str]:
        """The destination that takes nothing at all: no backend, most likely, or an endpoint with a path too many."""
        to = self._destinations()
        taken = any(of.delivered for each in self._standings.values() for of in each.values())
        if taken or len(set(to.values())) > 1 or not all(self._refusals(signal) for signal in RECORDS):
            return set()
        return set(to.values())

    def _waiting(self) -> dict[tuple[str, str], list[str]]:
        """What waits, by destination and reason."""
        found: dict[tuple[str, str], list[str]] = {}
        for signal, to in self._destinations().items():
            reasons = [of.waits[signal].why for of in self._rounds.pushed.values() if signal in of.waits]
            if reasons:
                waiting = sum(of[signal].waiting for of in self._standings.values())
                found.setdefault((to, reasons[0]), []).append(output.counted(waiting, RECORDS[signal]))
        return found

    def _destinations(self) -> dict[str, str]:
        return {signal: of.to for each in self._standings.values() for signal, of in each.items()}


def _failed(of: Pushed) -> list[str]:
    return [f"{folder}: {why}" for folder, why in of.failed.items()]


def _kinds(of: Pushed) -> str:
    sent = {what: of.tallies.get(signal, Tally()).delivered for signal, what in RECORDS.items()}
    return " and ".join(output.counted(number, what) for what, number in sent.items() if number)
