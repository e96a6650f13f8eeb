"""An attempt in a few words, from its lifecycle events alone."""

from __future__ import annotations

import pytest

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.views import summary
from otel_stageio.views.state import fold
from otel_stageio.views.summary import Summary
from tests.journal.samples import TAIL
from tests.views.story import BEGAN, SECOND, Writer, whole_story

STARTED = Summary(
    stage="asr",
    stage_number=6,
    attempt=1,
    run=1,
    started=BEGAN,
    host="node1",
    boot_id="b00t",
    pid=4711,
    declared=("ingest", "asr"),
)


def summed(w: Writer) -> Summary | None:
    """What the records come to."""
    known = None
    for record in w.records:
        known = summary.add(known, record)
    return known


def test_a_start():
    """The started event says who it is; until an end is on record the attempt is running."""
    w = Writer()
    w.start(JOB_STAGES=["ingest", "asr"])
    assert summed(w) == STARTED
    assert not STARTED.succeeded


@pytest.mark.parametrize(("status", "succeeded"), [("success", True), ("skipped", True), ("failed", False)])
def test_an_end(status, succeeded):
    """The finished event says how it ended and when; success and skipped mean that the work is done."""
    w = Writer()
    w.start(JOB_STAGES=["ingest", "asr"])
    w.finish(status)
    known = summed(w)
    assert known == STARTED._replace(status=status, ended=BEGAN + SECOND)
    assert known.succeeded == succeeded


@pytest.mark.parametrize(
    ("later", "contradicted"), [(["success"], False), (["failed"], True), (["failed", "success"], True)]
)
def test_the_first_end_decides(later, contradicted):
    """A later end changes neither status nor time; one that says otherwise contradicts, for good."""
    w = Writer()
    w.start(JOB_STAGES=["ingest", "asr"])
    w.finish("success")
    for status in later:
        w.finish(status, LATE="finalize")
    known = summed(w)
    assert known == STARTED._replace(status="success", ended=BEGAN + SECOND, contradicted=contradicted)
    assert known.succeeded != contradicted


def test_a_second_start_changes_nothing():
    """An attempt starts once: what says so again is passed over."""
    w = Writer()
    w.start(JOB_STAGES=["ingest", "asr"])
    w.start(STAGE_NAME="other")
    assert summed(w) == STARTED


def test_other_records_change_nothing():
    """Before the start there is nothing, and all but lifecycle events are passed over."""
    w = Writer()
    w.finish()
    w.log("ERROR", "x")
    assert summed(w) is None
    w = Writer()
    w.start(JOB_STAGES=["ingest", "asr"])
    w.log("ERROR", "x")
    w.error("x")
    w.track("input", "a")
    assert summed(w) == STARTED


def test_a_start_that_says_nothing_is_none():
    """A start without name, numbers or run, or with numbers that are none, is as if it were not there."""
    for key in ("STAGE_NAME", "STAGE_NUMBER", "STAGE_ATTEMPT", "RUN"):
        w = Writer()
        w.start(**{key: None})
        assert summed(w) is None
    w = Writer()
    w.start(STAGE_NUMBER="six")
    w.start(JOB_STAGES=["ingest", "asr"])
    assert summed(w) == STARTED._replace(started=BEGAN + SECOND)


def test_what_is_not_known_is_empty():
    """Host, boot and process may be missing, a declared order that is no list is none, an end without status too."""
    w = Writer()
    w.start(HOST_NAME=None, BOOT_ID=None, PROCESS_PID=None, JOB_STAGES="ingest")
    w.event(names.FINISHED)
    assert summed(w) == STARTED._replace(host="", boot_id="", pid=0, declared=())


def test_lifecycle_lines_are_told_by_their_bytes():
    """The lines of lifecycle events, and no others, have the bytes that they are looked for by."""
    w = whole_story()
    w.log("INFO", summary.LIFECYCLE.decode())
    found = [record for record in w.records if summary.LIFECYCLE in encode.log_line(record, TAIL)]
    assert [record.event_name for record in found] == [names.STARTED, names.FINISHED]


def test_summary_and_state_agree():
    """The short fold and the whole one say the same of an attempt."""
    for ends in ([], ["success"], ["failed", "success"], ["success", "failed"]):
        w = Writer()
        w.start()
        for status in ends:
            w.finish(status)
        known, state = summed(w), fold(w.records)
        assert (known.status, known.contradicted) == (state.status, state.contradicted)
