"""The count of a stage's items: kept, whatever changes, as if it were counted anew."""

from __future__ import annotations

import random

import pytest

from otel_stageio.views.summary import Summary
from otel_stageio.views.tally import Tally

STATUSES = ("success", "skipped", "failed", "abandoned", "running")


def summary(chance: random.Random, item: str) -> Summary:
    """Some attempt of an item."""
    status = chance.choice(STATUSES)
    started = chance.randint(1, 30)
    return Summary(
        *("asr", 6, chance.randint(1, 3), chance.randint(1, 2), started, status),
        ended=0 if status == "running" else started + chance.randint(0, 9),
        contradicted=status == "success" and chance.random() < 0.2,
        item=item,
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_is_kept_is_what_a_count_finds(seed: int) -> None:
    """After any changes, items that go among them, the line of the stage is that of the items that are left."""
    chance = random.Random(seed)
    kept, known = Tally(), dict[str, Summary]()
    for _ in range(60):
        item = f"ep{chance.randint(0, 7)}"
        if chance.random() < 0.2:
            kept.set(item, None)
            known.pop(item, None)
        else:
            known[item] = known[item] if item in known and chance.random() < 0.3 else summary(chance, item)
            kept.set(item, known[item])
        anew = Tally()
        for name, of in known.items():
            anew.set(name, of)
        assert len(kept) == len(known)
        if known:
            (mine, line), (other, expected) = (each.entry(None, "06_asr", lambda of: of) for each in (kept, anew))
            assert line == expected
            assert mine._replace(attempt=0) == other._replace(attempt=0)


def test_hearing_of_an_end_again_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tens of thousands of items none is counted anew because the newest end is told twice, and in fewer words."""
    tally = Tally()
    tally.set("ep1", Summary("asr", 6, 1, 1, 5, "success", ended=9, host="node7", pid=4711, item="ep1"))
    monkeypatch.setattr(tally, "_count", lambda run: pytest.fail(f"counted run {run} anew"), raising=False)
    tally.set("ep1", Summary("asr", 6, 1, 1, 5, "success", ended=9, item="ep1"))
    assert tally.entry(None, "06_asr", lambda of: of)[1]["items"] == {"total": 1, "success": 1, "not_succeeded": []}
