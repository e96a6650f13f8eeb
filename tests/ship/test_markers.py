"""ship.markers: what stands for a stage in a backend while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio.job import recovery
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.journal import reader
from otel_stageio.ship.markers import marker, of_ends

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunScript


def test_marker_says_which_stage_runs(tmp_path: Path):
    """The marker's name tells it from the stage's span in a list of operations, below which it stands in the trace."""
    io = StageIO("asr", tmp_path, stage_number=6)
    folder = str(tmp_path / "06_asr" / ".stageio" / "001")
    line = marker(folder)
    io.finalize()
    assert line is not None
    (span,) = line.records
    (stage,) = [
        span
        for piece in reader.pieces(f"{folder}/traces.jsonl", live=False)
        for line in piece.lines
        for span in line.records
    ]
    assert (span.name, span.parent_span_id, span.trace_id) == ("asr (running)", stage.span_id, stage.trace_id)
    assert span.attributes["stageio.status"] == "running"
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_000
    assert span == marker(folder).records[0]


@pytest.mark.parametrize(
    ("status", "mark"),
    [("skipped", "asr (skipped)"), ("success", None), ("failed", None), ("abandoned", "asr (killed)")],
)
def test_ends_that_look_alike_have_a_mark(tmp_path: Path, run_script: RunScript, status: str, mark: str | None):
    """Skipped and killed are told from success and failure by a span below the stage's, the same each time."""
    if status == "abandoned":
        run_script("import os\nfrom otel_stageio import StageIO\nio = StageIO('asr', '.')\nos.kill(os.getpid(), 9)")
        recovery.write_ends(StageLayout(JobLayout(tmp_path), 1, "asr"))
    else:
        StageIO("asr", tmp_path, stage_number=1).finalize(status=status)
    path = str(tmp_path / "01_asr" / ".stageio" / "001" / "traces.jsonl")
    lines = [line for piece in reader.pieces(path) for line in piece.lines]
    made = [span for line in of_ends(lines) for span in line.records]
    assert [span.name for span in made] == ([] if mark is None else [mark])
    assert made == [span for line in of_ends(lines) for span in line.records]
    assert {span.parent_span_id for span in made} <= {span.span_id for line in lines for span in line.records}
