"""ship.markers: what stands for a stage in a backend while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_stageio import StageIO
from otel_stageio.journal import reader
from otel_stageio.ship.markers import marker

if TYPE_CHECKING:
    from pathlib import Path


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
