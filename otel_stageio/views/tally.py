"""A stage with items in the job manifest: how many came to what, and which did not succeed."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from otel_stageio import conventions as names
from otel_stageio.views.moments import seconds_between

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_stageio.views.summary import Summary

_FAILED: Final = frozenset({names.FAILED, names.ABANDONED, names.LOST})
_ORDER: Final = (*(names.SUCCESS, names.SKIPPED, names.FAILED, names.ABANDONED, names.LOST, names.RUNNING),)


def summed(parts: Sequence[Summary]) -> Summary:
    """One summary for the items of a stage, and its own attempt if it has one: as they stand in their newest run.

    Running while one of them runs, else failed where one failed or died, skipped where all were; it started when the
    last of them did. `parts` is not empty.
    """
    run = max(of.run for of in parts)
    current = [of for of in parts if of.run == run]
    latest = max(current, key=attrgetter("started"))
    states = {of.status for of in current}
    if names.RUNNING in states:
        status = names.RUNNING
    elif not _FAILED.isdisjoint(states):
        status = names.FAILED
    else:
        status = names.SKIPPED if states == {names.SKIPPED} else names.SUCCESS
    return latest._replace(
        item="",
        status=status,
        ended=0 if status == names.RUNNING else max(of.ended for of in current),
        contradicted=any(of.contradicted for of in current),
    )


def entry(parts: Sequence[Summary], folder: str) -> dict[str, Any]:
    """The line of a stage with items in the job manifest; of a stage that ran without items, too, that is one more."""
    of = summed(parts)
    own = next((each for each in parts if not each.item), None)
    items = sorted((each for each in parts if each.item), key=attrgetter("item"))
    began = min(each.started for each in parts if each.run == of.run)
    counts = Counter(each.status for each in items)
    return {
        "stage": of.stage,
        "stage_number": of.stage_number,
        "status": of.status,
        "run": of.run,
        "attempt": own.attempt if own else None,
        "duration_seconds": seconds_between(began, of.ended) if of.ended else None,
        "folder": folder,
        "items": {
            "total": len(items),
            **{status: counts[status] for status in _ORDER if counts[status]},
            "not_succeeded": [_item(each, folder) for each in items if not each.succeeded],
        },
    }


def _item(of: Summary, folder: str) -> dict[str, Any]:
    return {
        "item": of.item,
        "status": of.status,
        "run": of.run,
        "attempt": of.attempt,
        "duration_seconds": seconds_between(of.started, of.ended) if of.ended else None,
        "folder": f"{folder}/{of.item}",
    }
