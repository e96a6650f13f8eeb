"""What is said at the start and the end of an attempt."""

from __future__ import annotations

import re

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.model import LogRecord
from otel_stageio.record import ending
from otel_stageio.views.state import StageState


def attributes(status: str, **given: object) -> dict:
    """Give the attributes of the finished event, what is not given being nothing."""
    nothing = {"reason": None, "raised": None, "error_type": "", "extra": {}, "state": StageState()}
    return ending.attributes(status, **{**nothing, **given})


def test_success_says_its_status_and_no_more():
    """A success without extras is its status."""
    assert attributes("success") == {names.STATUS: "success"}


def test_reason_and_extras():
    """The reason is text, extras keep their shape, and neither has anything that UTF-8 cannot hold."""
    actual = attributes("skipped", reason=404, extra={"a": (1, None), "b\udc80": "\udc80"})
    assert actual == {
        names.STATUS: "skipped",
        names.REASON: "404",
        "stageio.extra.a": [1, None],
        "stageio.extra.b\\udc80": "\\udc80",
    }


@pytest.mark.parametrize("reason", [None, ""])
def test_no_reason(reason):
    """An empty reason is none."""
    assert names.REASON not in attributes("skipped", reason=reason)


def test_failure_has_a_type_of_error():
    """A failure's error.type is the exception's type, or what ended it, or _OTHER."""
    raised = ValueError("boom")
    assert attributes("failed")[names.ERROR_TYPE] == "_OTHER"
    assert attributes("failed", error_type="SIGTERM")[names.ERROR_TYPE] == "SIGTERM"
    assert attributes("failed", raised=raised, error_type="x")[names.ERROR_TYPE] == "ValueError"
    assert names.ERROR_TYPE not in attributes("success", raised=raised)


def test_failure_finds_a_reason():
    """A failure's reason is the one given, else the exception, else the extra `error`, else the last error noted."""
    state = StageState()
    state.apply(LogRecord(time_unix_nano=1, event_name=names.ERROR, body="noted"))
    best = {"state": state}
    actual = [attributes("failed", **best)[names.REASON]]
    best["extra"] = {"error": ["passed", 1]}
    actual.append(attributes("failed", **best)[names.REASON])
    best["raised"] = ValueError("boom")
    actual.append(attributes("failed", **best)[names.REASON])
    best["reason"] = "given"
    actual.append(attributes("failed", **best)[names.REASON])
    assert actual == ["noted", "['passed', 1]", "ValueError: boom", "given"]


@pytest.mark.parametrize("nothing", [None, ""])
def test_empty_error_is_no_reason(nothing):
    """An `error` of None or "" says nothing."""
    assert names.REASON not in attributes("failed", extra={"error": nothing})


def test_header_opens_each_attempt(tmp_path):
    """Each attempt opens with a line that says when, with the UTC offset, which attempt, which run, where."""
    for _ in range(2):
        io = StageIO("asr", tmp_path / "out", stage_number=6)
        io.finalize("failed")
    about = io.manifest
    first, second = io.stage_log.read_text().splitlines()
    pid, host = about["process"]["pid"], about["host"]["name"]
    moment = r"# \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4} stage asr \(06\), attempt "
    assert re.fullmatch(f"{moment}1, run 1, pid {pid} on {host}", first)
    assert re.fullmatch(f"{moment}2, run 1, pid {pid} on {host}", second)


def test_progress():
    """Progress tells bytes, rate and the time that is left; without a rate it tells no time."""
    assert ending.progress(5_000_000, 20_000_000, 2.5) == "checksums: 5 of 20 MB, 2 MB/s, about 8 s left"
    assert ending.progress(0, 20_000_000, 0.0) == "checksums: 0 of 20 MB, 0 MB/s"
