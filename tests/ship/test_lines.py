"""ship.lines: when a destination is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_stageio.settings import Signal
from otel_stageio.ship import lines, probe
from otel_stageio.ship.delivery import Way
from otel_stageio.ship.lines import Line
from otel_stageio.ship.wire import Answer, Verdict
from tests.ship.test_delivery import DELIVERED, LATER, TO, Told

if TYPE_CHECKING:
    import pytest

NOT_NOW = Answer(Verdict.LATER, "HTTP 503")


def test_who_answers_and_takes_nothing_is_asked_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer to the probe is no end of the failures: only what is taken is."""
    monkeypatch.setattr(probe, "answers", lambda *_: "")
    asked: list[int] = []
    monkeypatch.setattr(lines, "pause", lambda tries, _: asked.append(tries) or 0.0)
    line = Line(Signal(), lambda: Way(Told(lambda _: LATER), TO))
    for answer in (NOT_NOW, NOT_NOW, NOT_NOW, DELIVERED, NOT_NOW):
        assert line.way_now(float("inf"), ending=False) is not None
        line.judge(answer)
    assert asked == [1, 2, 3, 1]
