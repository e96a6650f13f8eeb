"""ship.waiting: how a job stands, counted without sending anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.job.layout import JobLayout
from otel_stageio.ship import cursor, waiting
from otel_stageio.ship.cursor import Delivered
from otel_stageio.ship.sources import LOGS, SPANS, Source, sources

if TYPE_CHECKING:
    from pathlib import Path

TO = "http://backend:4318"


@pytest.fixture
def found(tmp_path: Path) -> list[Source]:
    """Give the folders of a job: of its run, and of a stage with a DEBUG and an INFO record."""
    io = StageIO("asr", tmp_path, stage_number=1)
    io.get_stage_logger().debug("a detail")
    io.get_stage_logger().info("hello")
    io.finalize()
    return list(sources(JobLayout(tmp_path)))


def test_all_folders_count_together(found: list[Source]) -> None:
    """Spans of the run and the stage, events and log records; with a level, without what is below it."""
    to = {SPANS: TO, LOGS: TO}
    assert {signal: of.waiting for signal, of in waiting.of_job(found, to).items()} == {SPANS: 2, LOGS: 4}
    assert {signal: of.waiting for signal, of in waiting.of_job(found, to, least=9).items()} == {SPANS: 2, LOGS: 3}


def test_what_one_folder_says_is_not_taken_waits_nowhere(found: list[Source]) -> None:
    """A destination that took no logs of one folder is not waited for with those of another."""
    cursor.save(found[0].folder, {TO: Delivered(not_taken={LOGS: "HTTP 404"})})
    standing = waiting.of_job(found, {LOGS: TO})[LOGS]
    assert (standing.waiting, standing.not_taken) == (0, "HTTP 404")


def test_destinations_with_their_signals(found: list[Source]) -> None:
    """Those that something went to have the signals that went; those that were only meant to have all of the folder."""
    _, attempt = found
    cursor.save(attempt.folder, {TO: Delivered(), "http://other": Delivered(not_taken={SPANS: "HTTP 404"})})
    assert waiting.destinations(found) == {TO: {SPANS, LOGS}, "http://other": {SPANS}}
    assert waiting.destinations([]) == {}
