"""job.items: what is said of an item that ends while somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.job import changes, items
from otel_stageio.job.layout import JobLayout
from otel_stageio.record.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

PLACE = "01_asr/ep042"


class Looker:
    """A process that remembers what it found."""

    def __init__(self, job: JobLayout) -> None:
        self.job = job
        self.known: items.Items = {}
        self.place: changes.Places | None = None
        self.found = items.Looked([], [], [])

    def look(self) -> items.Looked:
        """Look, as an update of the job manifest does."""
        said = changes.since(self.job, self.place)
        self.place = said.place
        self.found = items.look(self.job, said, self.known, again=self.found.again)
        return self.found

    @property
    def status(self) -> str:
        """What it knows of the item."""
        known = self.known["01_asr"].get("ep042")
        return known.status if known else ""


@pytest.fixture
def looker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looker:
    """Somebody who saw the item run, and looked while its process was about to end it."""
    looker = Looker(JobLayout(tmp_path / "job"))
    io = StageIO("asr", tmp_path / "job", item="ep042")
    looker.look()
    monkeypatch.setattr(Recorder, "sync", lambda _: looker.look())
    io.finalize()
    assert looker.found == ([], [PLACE], [PLACE])
    assert looker.status == "success"
    return looker


def test_its_own_process_says_it(looker: Looker) -> None:
    """Who looked in between says nothing more: fifty that do would be fifty lines for each item."""
    assert looker.look() == ([], [], [])
    assert looker.status == "success"


def test_its_own_process_could_not_say_it(looker: Looker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk may have kept it from that: who looks next says it, once."""
    monkeypatch.setattr(changes, "since", lambda job, place: changes.Said({}, place))
    assert [place for place, _ in looker.look().news] == [PLACE]
    assert looker.look() == ([], [], [])
