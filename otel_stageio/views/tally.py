"""A stage with items in the job manifest: how many came to what, and which did not succeed.

There may be tens of thousands of items, and the manifest is written anew whenever one begins or ends: what is counted
is kept, and a change costs the same however many there are.
"""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from otel_stageio import conventions as names
from otel_stageio.views.moments import seconds_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from otel_stageio.views.summary import Summary

_FAILED: Final = frozenset({names.FAILED, names.ABANDONED, names.LOST})
_ORDER: Final = (names.SUCCESS, names.SKIPPED, names.FAILED, names.ABANDONED, names.LOST, names.RUNNING)
_started = attrgetter("started", "item")
_came_to = attrgetter("attempt", "run", "started", "ended", "contradicted", "status")


class _Run:
    """The items that ended in one run."""

    __slots__ = ("began", "contradicted", "ended", "latest", "statuses")

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.contradicted = 0
        self.began = self.ended = 0
        self.latest: Summary | None = None

    def add(self, of: Summary) -> None:
        self.statuses[of.status] += 1
        self.contradicted += of.contradicted
        self.began = min(self.began or of.started, of.started)
        self.ended = max(self.ended, of.ended)
        self.latest = of if self.latest is None else max(self.latest, of, key=_started)

    def remove(self, of: Summary) -> bool:
        """Take one away; False where the rest has to be counted anew."""
        self.statuses[of.status] -= 1
        self.contradicted -= of.contradicted
        return of.started != self.began and of.ended != self.ended and of is not self.latest


class Tally:
    """The newest attempts of a stage's items, counted. Not thread-safe."""

    def __init__(self) -> None:
        """Know of none."""
        self._known: dict[str, Summary] = {}
        self._runs: dict[int, _Run] = {}
        self._running: dict[str, Summary] = {}
        self._failed: dict[str, Summary] = {}
        self._statuses: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many items there are."""
        return len(self._known)

    def __iter__(self) -> Iterator[Summary]:
        """Every one."""
        return iter(self._known.values())

    @property
    def running(self) -> list[Summary]:
        """Those without an end on record."""
        return [*self._running.values()]

    def get(self, item: str) -> Summary | None:
        """The newest attempt of an item."""
        return self._known.get(item)

    def set(self, item: str, summary: Summary | None) -> None:
        """Say what the newest attempt of an item is; None where there is none."""
        before = self._known.get(item)
        if before is not None and summary is not None and before.ended and _came_to(before) == _came_to(summary):
            return  # who ended it hears of it once more
        self._known.pop(item, None)
        self._running.pop(item, None)
        self._failed.pop(item, None)
        if before is not None and before.ended:
            self._statuses[before.status] -= 1
            if not self._runs[before.run].remove(before):
                self._count(before.run)
        if summary is None:
            return
        self._known[item] = summary
        if not summary.ended:
            self._running[item] = summary
            return
        self._statuses[summary.status] += 1
        self._runs.setdefault(summary.run, _Run()).add(summary)
        if not summary.succeeded:
            self._failed[item] = summary

    def _count(self, run: int) -> None:
        made = _Run()
        for of in self._known.values():
            if of.ended and of.run == run:
                made.add(of)
        self._runs[run] = made
        if made.latest is None:
            del self._runs[run]

    def entry(
        self, own: Summary | None, folder: str, alive: Callable[[Summary], Summary]
    ) -> tuple[Summary, dict[str, Any]]:
        """One summary for the stage, and its line in the job manifest; there is an item, at least.

        `own` is the stage's own newest attempt, if it ran without items, too; `alive` turns running into what it is.
        Both are of the newest run: running while an item of it runs, else failed where one failed or died, skipped
        where all were. It started when the last of them did.
        """
        open_ones = [*map(alive, self._running.values()), *([own] if own else [])]
        run = max([*self._runs, *(of.run for of in open_ones)])
        current = [of for of in open_ones if of.run == run]
        ended = self._runs.get(run, _Run())
        states = {*(status for status, n in ended.statuses.items() if n), *(of.status for of in current)}
        latest = max([*current, *([ended.latest] if ended.latest else [])], key=_started)
        status = _status(states)
        began = min([*(of.started for of in current), *([ended.began] if ended.latest else [])])
        end = 0 if status == names.RUNNING else max([ended.ended, *(of.ended for of in current)])
        contradicted = ended.contradicted > 0 or any(of.contradicted for of in current)
        made = latest._replace(item="", status=status, ended=end, contradicted=contradicted)
        return made, {
            "stage": made.stage,
            "stage_number": made.stage_number,
            "status": status,
            "run": run,
            "attempt": own.attempt if own else None,
            "duration_seconds": seconds_between(began, end) if end else None,
            "folder": folder,
            "items": self._items(folder, [of for of in open_ones if of.item]),
        }

    def _items(self, folder: str, running: list[Summary]) -> dict[str, Any]:
        counts = self._statuses + Counter(of.status for of in running)
        return {
            "total": len(self),
            **{status: counts[status] for status in _ORDER if counts[status]},
            "not_succeeded": [_item(of, folder) for of in _by_name([*self._failed.values(), *running])],
        }


def _status(states: set[str]) -> str:
    if names.RUNNING in states:
        return names.RUNNING
    if not _FAILED.isdisjoint(states):
        return names.FAILED
    return names.SKIPPED if states == {names.SKIPPED} else names.SUCCESS


def _by_name(of: Iterable[Summary]) -> list[Summary]:
    return sorted(of, key=attrgetter("item"))


def _item(of: Summary, folder: str) -> dict[str, Any]:
    return {
        "item": of.item,
        "status": of.status,
        "run": of.run,
        "attempt": of.attempt,
        "duration_seconds": seconds_between(of.started, of.ended) if of.ended else None,
        "folder": f"{folder}/{of.item}",
    }
