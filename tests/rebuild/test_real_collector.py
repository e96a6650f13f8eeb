"""The folder made anew from what the real Collector wrote."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from otel_stageio.rebuild.jobs import rebuild
from tests.backends.programs import Collector, ask
from tests.rebuild import collector as shuffled
from tests.rebuild import pipeline
from tests.rebuild.test_jobs import journals, views

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.plugin import StartBackend


def test_through_the_real_collector(start_backend: StartBackend, tmp_path: Path):
    """What a Collector was sent, in batches and with repeats, becomes the job's folder again, byte for byte."""
    pipeline.tell(tmp_path / "job")
    (tmp_path / "collector").mkdir()
    real = start_backend(Collector(tmp_path / "collector"))
    lines = shuffled.collected(shuffled.journal(tmp_path / "job"), random.Random(5), batch=9, sort=False)
    for line in lines:
        signal = "traces" if "resourceSpans" in line else "logs"
        status, said = ask(f"{real.otlp_http}/v1/{signal}", line.encode(), {"Content-Type": "application/json"})
        assert status == 200, said
    real.stop()
    made = rebuild([real.output], tmp_path / "again")
    assert made.missing == ()
    assert views(tmp_path / "again") == views(tmp_path / "job")
    assert journals(tmp_path / "again") == journals(tmp_path / "job")
