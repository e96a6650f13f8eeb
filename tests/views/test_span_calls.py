"""The fold of what OpenTelemetry's API told the stage's span, and of whom the stage has its inputs from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from otel_stageio import conventions as names
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, SpanLink
from otel_stageio.views import span as spans
from otel_stageio.views.span_calls import MOST_LINKS, SpanCalls, under
from tests.journal import samples
from tests.views.story import ROOT, Writer

TRACE, SPAN = "0" * 31 + "1", "0" * 15 + "2"


class Teller(Writer):
    """A writer of what a span is told, as the recorder writes it."""

    def attributes(self, of: dict[str, Any], **more: Any) -> None:
        self.told_span(names.SPAN_ATTRIBUTES, of, **more)

    def status(self, code: Any, message: str = "") -> None:
        self.told_span(names.SPAN_STATUS, SPAN_STATUS_CODE=code, SPAN_STATUS_MESSAGE=message)

    def rename(self, name: str) -> None:
        self.told_span(names.SPAN_NAME, SPAN_NAME_VALUE=name)

    def told(self, name: str, of: dict[str, Any] | None = None, **more: Any) -> None:
        self.told_span(names.SPAN_EVENT, of, SPAN_EVENT_NAME=name, **more)

    def link(self, of: dict[str, Any] | None = None, *, remote: bool = False, **more: Any) -> None:
        self.told_span(names.SPAN_LINK, of, LINK_TRACE_ID=TRACE, LINK_SPAN_ID=SPAN, LINK_REMOTE=remote, **more)

    def input_from(self, path: str, stage: str, number: int = 1) -> None:
        self.track(
            "input",
            path,
            PRODUCER_STAGE=stage,
            PRODUCER_NUMBER=number,
            PRODUCER_ATTEMPT=1,
            PRODUCER_TRACE_ID=TRACE,
            PRODUCER_SPAN_ID=f"{number:016x}",
        )

    @property
    def calls(self) -> SpanCalls:
        """What they fold to."""
        return self.state.span_calls


def test_nothing_told():
    """A stage whose span was told nothing has nothing of it, and none of our own events counts as such."""
    w = Teller()
    w.start()
    w.track("output", "a.wav")
    w.finish()
    calls = w.calls
    assert (calls.name, calls.status, calls.attributes, calls.attributes_dropped) == ("", (0, ""), {}, 0)
    assert (calls.links, calls.links_left_out) == ([], 0)


def test_the_last_value_and_the_last_name_hold():
    """Attributes and names are as they were told last; dropped attributes add up."""
    w = Teller()
    w.attributes({"a": 1, "b": [1, {"c": b"d"}]})
    w.attributes({"a": "two", names.SPAN_ATTRIBUTE: "in its own name"}, SPAN_DROPPED_ATTRIBUTES=2)
    w.attributes({}, SPAN_DROPPED_ATTRIBUTES=1)
    w.rename("first")
    w.rename("second")
    expected = {"a": "two", "b": [1, {"c": b"d"}], names.SPAN_ATTRIBUTE: "in its own name"}
    assert (w.calls.attributes, w.calls.attributes_dropped) == (expected, 3)
    assert w.calls.name == "second"


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([(2, "bad")], (2, "bad")),
        ([(1, "")], (1, "")),
        ([(2, "bad"), (2, "worse")], (2, "worse")),
        ([(2, "bad"), (1, "")], (1, "")),
        ([(1, ""), (2, "bad")], (1, "")),
        ([("2", "text"), (None, "")], (0, "")),
    ],
)
def test_ok_is_the_last_word(told, status):
    """A later status takes an earlier one's place, save that nothing comes after OK; what is no status is none."""
    w = Teller()
    for each in told:
        w.status(*each)
    assert w.calls.status == status


def test_links_as_they_come():
    """Links keep their order, attributes, dropped counts, and whether they point out of the process."""
    w = Teller()
    w.link({"role": "input"}, remote=True, SPAN_DROPPED_ATTRIBUTES=3)
    w.link()
    assert w.calls.links == [
        SpanLink(
            trace_id=TRACE,
            span_id=SPAN,
            attributes={"role": "input"},
            dropped_attributes_count=3,
            flags=FLAGS_REMOTE,
        ),
        SpanLink(trace_id=TRACE, span_id=SPAN, flags=FLAGS_LOCAL),
    ]


def test_an_input_links_to_the_stage_that_made_it():
    """An input whose producer is known is a link to it, with the file's path and role and who that was."""
    w = Teller()
    w.input_from("05_segment/segments.json", "segment", 5)
    w.track("input", "elsewhere.wav")
    about = {
        names.FILE_PATH: "05_segment/segments.json",
        names.ARTIFACT_ROLE: "input",
        names.PRODUCER_STAGE: "segment",
        names.PRODUCER_NUMBER: 5,
        names.PRODUCER_ATTEMPT: 1,
    }
    assert w.calls.links == [SpanLink(trace_id=TRACE, span_id=f"{5:016x}", attributes=about, flags=FLAGS_REMOTE)]


def test_a_digest_may_tell_the_producer_later():
    """Where the file's content tells who made it, the link comes with the digest."""
    w = Teller()
    w.track("input", "copy.json")
    w.digest("input", "copy.json", PRODUCER_STAGE="segment", PRODUCER_TRACE_ID=TRACE, PRODUCER_SPAN_ID=SPAN)
    (link,) = w.calls.links
    assert (link.trace_id, link.span_id) == (TRACE, SPAN)
    assert link.attributes[names.FILE_PATH] == "copy.json"


def test_many_inputs_of_one_stage_leave_room_for_others():
    """Of one producer's inputs 100 are links; a new producer is linked to all the same, up to 128 links in all."""
    w = Teller()
    for index in range(150):
        w.input_from(f"part{index}.json", "segment", 1)
    assert (len(w.calls.links), w.calls.links_left_out) == (100, 50)
    for number in range(2, 40):
        w.input_from("part.json", "other", number)
    assert (len(w.calls.links), w.calls.links_left_out) == (MOST_LINKS, 50 + 38 - 28)
    assert [int(each.span_id, 16) for each in w.calls.links] == [1] * 100 + list(range(2, 30))


def test_too_many_links():
    """Of the program's own links the first 128 stay, and the others are counted."""
    w = Teller()
    w.start(RUN_SPAN_ID=None)
    for index in range(150):
        w.link({"index": index})
    w.finish()
    assert [each.attributes["index"] for each in w.calls.links] == list(range(MOST_LINKS))
    made = spans.span(w.state)
    assert (len(made.links), made.dropped_links_count) == (MOST_LINKS, 22)


def test_the_link_to_the_run_is_one_of_them():
    """A stage in another trace than its run's links to the run first, within the same bound."""
    w = Teller()
    w.start(RUN_TRACE_ID=TRACE)
    for index in range(MOST_LINKS):
        w.link({"index": index})
    w.finish()
    made = spans.span(w.state)
    assert (made.links[0].trace_id, made.links[0].span_id) == (TRACE, ROOT)
    assert [each.attributes["index"] for each in made.links[1:]] == list(range(MOST_LINKS - 1))
    assert made.dropped_links_count == 1


def test_what_comes_after_the_end_changes_nothing():
    """Once the stage's end is on record its span is what it is."""
    w = Teller()
    w.start()
    w.attributes({"a": 1})
    w.finish()
    before = spans.span(w.state)
    w.attributes({"a": 2})
    w.rename("late")
    w.status(2, "late")
    w.link()
    w.told("late")
    assert spans.span(w.state) == before


@given(samples.attributes)
def test_under_a_prefix(attributes):
    """What stands under a prefix comes back as it was, whatever stands beside it."""
    prefixed = {names.SPAN_ATTRIBUTE + key: of for key, of in attributes.items()}
    assert under(prefixed | {names.SPAN_EVENT_NAME: "beside"}, names.SPAN_ATTRIBUTE) == attributes


# As the span has it.


def ended(w: Teller, status: str = "success", **more: Any) -> Any:
    """The span of a stage that was told what `w` says, and ended."""
    w.finish(status, **more)
    return spans.span(w.state)


@pytest.mark.parametrize("status", ["success", "skipped", "lost"])
def test_a_status_that_was_told_stands(status):
    """Where the stage did not fail, the program's word on its status is the span's."""
    for told in ((1, ""), (2, "not quite")):
        w = Teller()
        w.start()
        w.status(*told)
        made = ended(w, status)
        assert (made.status_code, made.status_message) == told
        assert made.attributes[names.STATUS] == status


@pytest.mark.parametrize("status", ["failed", "abandoned"])
def test_a_failure_is_an_error_whatever_was_told(status):
    """A stage that failed is an error with its reason, even where the program said OK before."""
    for told in ((1, ""), (2, "not quite")):
        w = Teller()
        w.start()
        w.status(*told)
        made = ended(w, status, REASON="no frames")
        assert (made.status_code, made.status_message) == (2, "no frames")


def test_the_name_is_the_last_one():
    """The span is called as it was told last; the stage stays what it is."""
    w = Teller()
    w.start()
    w.rename("decode everything")
    made = ended(w)
    assert made.name == "decode everything"
    assert made.attributes[names.STAGE_NAME] == "asr"
    w = Teller()
    w.start()
    w.rename("")
    assert ended(w).name == "asr"


def test_the_attributes_stand_beside_ours():
    """The program's attributes are the span's as they are; those in our own name say what the record says."""
    w = Teller()
    w.start()
    told = {"a": [1, {"b": None}], names.HOST_NAME: "mine", names.STATUS: "wonderful", "stageio.mine": 1}
    w.attributes(told, SPAN_DROPPED_ATTRIBUTES=2)
    made = ended(w)
    assert {key: made.attributes[key] for key in told} == told | {names.STATUS: "success"}
    assert made.dropped_attributes_count == 2


def test_the_events_stand_among_ours_in_their_order():
    """The program's events are the span's, at the times that it gave, without any of our names on them."""
    w = Teller()
    w.start()
    w.track("input", "a.wav")
    at = w.at
    w.told("mine", {"a": [1]}, SPAN_DROPPED_ATTRIBUTES=4)
    w.told("at a time", {}, SPAN_EVENT_TIME=5)
    w.told("at a late time", {}, SPAN_EVENT_TIME=str(2**64 - 1))
    w.told("at no time", {}, SPAN_EVENT_TIME="soon")
    w.warning("careful")
    made = ended(w)
    assert [each.name for each in made.events] == [
        *(names.INPUT, "mine", "at a time", "at a late time", "at no time", names.WARNING)
    ]
    mine, early, late, never = made.events[1:5]
    assert (mine.time_unix_nano, mine.attributes, mine.dropped_attributes_count) == (at, {"a": [1]}, 4)
    assert (early.time_unix_nano, late.time_unix_nano) == (5, 2**64 - 1)
    assert early.attributes == {}
    assert never.time_unix_nano > at


def test_events_leave_room_for_what_matters():
    """Of too many events of the program the first stay; warnings, errors and the reason have room after them."""
    w = Teller(step=1)
    w.start()
    for index in range(2000):
        w.told("tick", {"index": index})
    w.warning("careful")
    w.error("why it failed")
    made = ended(w, "failed")
    told = [each.attributes["index"] for each in made.events if each.name == "tick"]
    assert told == list(range(800))
    assert [each.name for each in made.events[800:]] == [names.WARNING, names.ERROR]
    assert (made.dropped_events_count, made.attributes[names.EVENTS_LEFT_OUT]) == (1200, 1200)


def test_long_values_are_cut_where_they_are_shown():
    """A value of the program's beyond 16 KiB is shown by its start, on the span and on its events."""
    w = Teller()
    w.start()
    long = {"text": "x" * 10**5, "list": ["y"] * 10**5, "just fits": "z" * 16_000}
    w.attributes(long)
    w.told("event", long)
    made = ended(w)
    for shown in (made.attributes, made.events[-1].attributes):
        assert shown["text"] == "x" * 4096 + "... [cut from 100000 characters]"
        assert shown["list"].startswith('["y", "y", ')
        assert len(shown["list"]) < 5000
        assert shown["just fits"] == "z" * 16_000
    assert (made.dropped_attributes_count, made.events[-1].dropped_attributes_count) == (0, 0)
