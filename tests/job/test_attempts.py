"""An attempt read back from its files."""

from __future__ import annotations

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job import attempts
from otel_stageio.job.layout import JobLayout, StageLayout


@pytest.fixture
def ended(tmp_path):
    """A stage with an event, two log records and an end."""
    io = StageIO("asr", tmp_path / "out", stage_number=6)
    io.add_warning("careful")
    io.get_stage_logger().info("one")
    io.get_stage_logger().error("two")
    io.finalize("skipped", reason="why")
    return StageLayout(JobLayout(tmp_path / "out"), 6, "asr")


def test_records_come_as_they_stand_in_the_files(ended):
    """First the events, then the log records."""
    told = [(record.event_name, record.body) for record in attempts.records(ended, 1)]
    assert [each for each in told if each[0] != names.GIT] == [  # git may have answered before the end
        (names.STARTED, None),
        (names.WARNING, "careful"),
        (names.FINISHED, None),
        ("", "one"),
        ("", "two"),
    ]


def test_state(ended):
    """They fold to the state of the attempt."""
    state = attempts.state(ended, 1)
    assert (state.status, state.log_counts["ERROR"], len(state.warnings)) == ("skipped", 1, 1)


def test_attempt_that_is_not_there(ended):
    """An attempt without files has no records, and a state that knows nothing."""
    assert list(attempts.records(ended, 2)) == []
    assert attempts.state(ended, 2).started is None


def test_tail_of_a_live_attempt(ended):
    """A line without its newline is not there yet while the attempt runs, and counts when it is over."""
    path = ended.attempt_dir(1) / "logs.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert attempts.state(ended, 1).log_counts["ERROR"] == 1
    assert attempts.state(ended, 1, live=True).log_counts["ERROR"] == 0
