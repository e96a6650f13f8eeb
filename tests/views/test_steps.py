"""The steps of a stage, from their events to their entries in the manifest."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio import conventions as names
from otel_stageio.views import manifest
from otel_stageio.views.state import fold
from tests.journal import samples
from tests.journal.samples import unhurried
from tests.views.story import SECOND, Writer, validate


def entries(w: Writer) -> list[dict[str, Any]]:
    """The steps of the manifest, which the schema must allow."""
    document = manifest.manifest(w.state)
    validate("manifest", document)
    return document["steps"]


def test_a_step_from_its_beginning_to_its_end():
    """A step is listed from its beginning on; its end brings status and duration, its attributes stay."""
    w = Writer()
    w.start()
    w.begin_step("decode", "a1", file="a.wav")
    begun = {
        "name": "decode",
        "status": "running",
        "started_at": "2025-11-27T12:30:02.123456Z",
        "duration_seconds": None,
        "attributes": {"file": "a.wav"},
    }
    assert entries(w) == [begun]
    w.end_step("a1", duration=0.5)
    assert entries(w) == [{**begun, "status": "success", "duration_seconds": 0.5}]


def test_a_step_that_failed():
    """A failed step says why."""
    w = Writer()
    w.start()
    w.begin_step("decode", "a1")
    w.end_step("a1", "failed", REASON="ValueError: no frames", ERROR_TYPE="ValueError")
    (step,) = entries(w)
    assert (step["status"], step["reason"]) == ("failed", "ValueError: no frames")
    assert "attributes" not in step


def test_steps_stand_in_the_order_of_their_beginnings():
    """Steps are listed as they began, however they end; equal names are steps of their own."""
    w = Writer()
    w.start()
    for number, name in enumerate(["outer", "outer/inner", "decode", "decode"]):
        w.begin_step(name, f"a{number}")
    for number in (3, 1, 0):
        w.end_step(f"a{number}")
    assert [(each["name"], each["status"]) for each in entries(w)] == [
        ("outer", "success"),
        ("outer/inner", "success"),
        ("decode", "running"),
        ("decode", "success"),
    ]


@pytest.mark.parametrize("status", [*names.FINAL_STATUSES, names.ABANDONED, names.LOST])
def test_a_step_without_an_end(status):
    """A step that has no end when the stage has one was abandoned; one that ends later has the end that it had."""
    w = Writer()
    w.start()
    w.begin_step("decode", "a1")
    w.finish(status)
    (step,) = manifest.manifest(w.state)["steps"]
    assert (step["status"], step["duration_seconds"]) == ("abandoned", None)
    w.end_step("a1")
    (step,) = manifest.manifest(w.state)["steps"]
    assert step["status"] == "success"


def test_an_end_without_a_beginning():
    """The end of a step whose beginning is lost changes nothing."""
    w = Writer()
    w.start()
    w.begin_step("decode", "a1")
    w.end_step("b2")
    assert [each["status"] for each in entries(w)] == ["running"]


def test_events_of_steps_that_say_nothing():
    """A beginning without a name and an end without a status are passed over."""
    w = Writer()
    w.start()
    w.event(names.STEP_STARTED, {"other": 1})
    assert entries(w) == []
    w.begin_step("decode", "a1")
    w.event(names.STEP_FINISHED, {names.STEP: "decode"})
    assert [each["status"] for each in entries(w)] == ["running"]


def test_steps_change_nothing_of_the_span():
    """Steps are spans of their own: the stage's span does not show their events."""
    w = Writer()
    w.start()
    w.begin_step("decode", "a1")
    w.end_step("a1")
    w.finish()
    assert w.state.span_events.kept == []


@unhurried
@given(
    st.lists(st.tuples(st.sampled_from("ab"), samples.texts, samples.attributes), max_size=5),
    st.randoms(use_true_random=False),
)
def test_any_steps_fold(said, chance):
    """Whatever names and attributes steps have, their entries are valid, and the order of reading does not matter."""
    w = Writer()
    w.start()
    for number, (_, name, attributes) in enumerate(said):
        w.begin_step(name, f"{number}", **attributes)
    for number, (ends, _, _) in enumerate(said):
        if ends == "a":
            w.end_step(f"{number}", duration=number / 7)
    expected = entries(w)
    assert [each["name"] for each in expected] == [name for _, name, _ in said]
    shuffled = w.records * 2
    chance.shuffle(shuffled)
    assert manifest.manifest(fold(shuffled))["steps"] == expected


def test_a_child_by_fork_and_its_parent():
    """Steps of two writers are told apart by their spans, and stand in the order of time."""
    parent, child = Writer("parent"), Writer("child")
    parent.start()
    parent.begin_step("decode", "a1")
    child.at = parent.at - SECOND // 2
    child.begin_step("decode/part", "b2")
    child.end_step("b2")
    parent.at = child.at
    parent.end_step("a1")
    records = [*child.records, *parent.records]
    random.Random(1).shuffle(records)
    assert [(each["name"], each["status"]) for each in manifest.manifest(fold(records))["steps"]] == [
        ("decode", "success"),
        ("decode/part", "success"),
    ]
