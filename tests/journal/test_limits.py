"""Records and spans that are too heavy for a line."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_stageio import conventions as names
from otel_stageio.journal import encode, limits
from otel_stageio.model import LogRecord, Scope, Span, SpanEvent, SpanLink
from tests.journal import samples

MARK = names.CUT


def record(**about: Any) -> LogRecord:
    """A record as the recorder makes it."""
    about["attributes"] = {names.LOG_RECORD_UID: "w-1", **about.get("attributes", {})}
    return LogRecord(time_unix_nano=1, severity_number=9, trace_id="1" * 32, span_id="2" * 16, flags=1, **about)


def fitted(of: LogRecord) -> LogRecord:
    """The record as `fit` makes it, which must fit and must still say who it is."""
    made = limits.fit(of)
    assert len(encode.log_record(made)) <= limits.RECORD_LIMIT
    assert made.attributes[names.LOG_RECORD_UID] == "w-1"
    assert made.time_unix_nano == of.time_unix_nano
    return made


@given(samples.log_records)
def test_what_fits_stays_as_it_is(of):
    """A record that fits is given back itself."""
    assert limits.fit(of) is of


def test_just_fitting():
    """A record of exactly the limit is not cut, one of a byte more is."""
    room = limits.RECORD_LIMIT - len(encode.log_record(record(body="")))
    assert limits.fit(record(body="x" * room)).body == "x" * room
    cut = fitted(record(body="x" * (room + 1)))
    assert cut.attributes[MARK] == {"body": room + 1}


@pytest.mark.parametrize("character", ["x", "\u00e4", "\U0001f600", "\0", '"'])
def test_a_long_text_keeps_its_start(character):
    """A long text is cut at its end, as little as need be, whatever its characters weigh; the mark has its length."""
    made = fitted(record(body=character * 10**6))
    assert made.body == character * len(made.body)
    assert len(encode.log_record(made)) > limits.RECORD_LIMIT * 0.9
    assert made.attributes[MARK] == {"body": 10**6}


def test_a_text_whose_end_is_light():
    """A text that starts with heavy characters and goes on with light ones is cut in reasonable time."""
    begun = time.monotonic()
    made = fitted(record(body="\U0001f600" * 30_000 + "x" * 10**7))
    assert made.body.startswith("\U0001f600" * 30_000)
    assert len(encode.log_record(made)) > limits.RECORD_LIMIT * 0.9
    assert time.monotonic() - begun < 5


def test_short_values_stay_whole():
    """Only the long values are cut, and they share what room there is; the short ones are as they were."""
    short = {f"key {index}": "short" for index in range(20)}
    made = fitted(record(body="b" * 10**6, attributes={**short, "long": "l" * 10**7}))
    assert {key: made.attributes[key] for key in short} == short
    assert len(made.body) == len(made.attributes["long"])
    assert made.attributes[MARK] == {"long": 10**7, "body": 10**6}


def test_a_long_list_keeps_its_first_items():
    """Of a list, or a mapping, that is too heavy the first items stay, as many as fit; the mark has its bytes."""
    items = [f"item {index}" for index in range(10**5)]
    pairs = {f"key {index}": [index, None] for index in range(10**5)}
    made = fitted(record(attributes={"items": items, "pairs": pairs}))
    kept, kept_pairs = made.attributes["items"], made.attributes["pairs"]
    assert kept == items[: len(kept)]
    assert kept_pairs == dict(list(pairs.items())[: len(kept_pairs)])
    assert len(encode.log_record(made)) > limits.RECORD_LIMIT * 0.9
    assert made.attributes[MARK] == {"items": len(encode.value(items)), "pairs": len(encode.value(pairs))}


@pytest.mark.parametrize(
    ("value", "start", "length"),
    [
        (["x" * 10**6, "y"], '["xxx', None),
        ({"k" * 10**6: 1, "y": 2}, '{"kkk', None),
        ([[[["x" * 10**6]]]], '[[[["xxx', None),
        (b"\0" * 10**6, "AAAA", 10**6),
    ],
    ids=["list", "mapping", "nested", "bytes"],
)
def test_what_has_no_item_that_fits_becomes_text(value, start, length):
    """What cannot be cut between items becomes the start of its readable text; of bytes that is base64."""
    made = fitted(record(attributes={"value": value}))
    assert made.attributes["value"].startswith(start)
    assert made.attributes[MARK] == {"value": length or len(encode.value(value))}


def test_far_too_many_attributes():
    """Of 10,000 attributes of 1 KB as many stay as fit; the mark names some that went, and counts the others."""
    made = fitted(record(attributes={f"key {index}": "v" * 1000 for index in range(10_000)}))
    kept = [key for key in made.attributes if key.startswith("key")]
    mark = made.attributes[MARK]
    assert all(made.attributes[key] == "v" * 1000 for key in kept)
    assert 350 < len(kept) < 500
    assert len(mark) - 1 + mark["..."] == 10_000 - len(kept)
    assert set(mark.values()) - {mark["..."]} == {1000}


def test_huge_keys():
    """Attributes whose keys are too heavy go, the heaviest first; the mark names them by their start."""
    heavy = {"k" * 10**6 + str(index): 1 for index in range(3)}
    made = fitted(record(attributes={**heavy, "light": 1}))
    assert made.attributes == {
        names.LOG_RECORD_UID: "w-1",
        "light": 1,
        MARK: {"k" * 100 + "...": 10**6 + 37, "...": 2},
    }


def test_what_a_reader_needs_is_never_left_out():
    """The attributes that make an event what it is outlive any number of the user's."""
    ours = {names.FILE_PATH: "a/b.wav", names.FILE_SIZE: 5, names.ARTIFACT_TYPE: "audio", names.STATUS: "success"}
    theirs = {f"{names.ARTIFACT_METADATA}{index}": "v" * 100 for index in range(50_000)}
    made = fitted(record(attributes={**theirs, **ours}))
    assert {key: made.attributes[key] for key in ours} == ours


def test_a_huge_level_and_event_name():
    """Names that nobody can mean are cut to 100 characters."""
    made = fitted(record(severity_text="L" * 10**6, event_name="e" * 10**6))
    assert (made.severity_text, made.event_name) == ("L" * 100, "e" * 100)
    assert made.attributes[MARK] == {"severity_text": 10**6, "event_name": 10**6}


def test_an_attribute_called_like_the_mark():
    """An attribute that has the mark's own name gives way to it."""
    assert fitted(record(body="x" * 10**6, attributes={MARK: 5})).attributes[MARK] == {"body": 10**6}


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 600_000),
    st.lists(st.tuples(st.sampled_from("aä\U0001f600\n"), st.integers(1, 200_000)), max_size=5),
    st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 20_000), st.integers(1, 300)), max_size=2),
)
def test_any_record_fits(body, texts, many):
    """Long texts, many attributes, long keys, in any mixture: what `fit` makes fits in a line."""
    attributes: dict[str, Any] = {f"text {index}": of * length for index, (of, length) in enumerate(texts)}
    for index, (count, length, key) in enumerate(many):
        attributes |= {f"{'k' * key}{index} {number}": "v" * (length % 500) for number in range(count)}
        attributes |= {f"list {index}": ["v"] * length}
    of = record(body="b" * body, attributes=attributes)
    made = fitted(of)
    assert (MARK in made.attributes) == (made is not of)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=100), st.integers(0, 300))
def test_shortened_text_is_a_start_and_weighs_little(text, weight):
    """`shorten` gives the start of a text, empty where there is no room, never heavier than asked for."""
    made = limits.shorten(text, weight)
    assert text.startswith(made)
    assert made == "" or len(encode.value(made)) <= weight


# Spans.


def a_span(**about: Any) -> Span:
    """A span of fixed ids."""
    return Span(trace_id="1" * 32, span_id="2" * 16, name="asr", start_time_unix_nano=1, end_time_unix_nano=2, **about)


def an_event(index: int = 0, name: str = "event", **attributes: Any) -> SpanEvent:
    """An event that knows its place."""
    return SpanEvent(time_unix_nano=index, name=name, attributes={"index": index, **attributes})


def a_link(index: int = 0, **attributes: Any) -> SpanLink:
    """A link that knows its place."""
    return SpanLink(trace_id="3" * 32, span_id="4" * 16, attributes={"index": index, **attributes})


def fitted_span(of: Span) -> Span:
    """The span as `fit_span` makes it, which must fit, still be itself, and count what it has no more."""
    made = limits.fit_span(of)
    assert len(encode.span(made)) <= limits.RECORD_LIMIT
    assert (made.trace_id, made.span_id, made.start_time_unix_nano, made.end_time_unix_nano) == (
        *(of.trace_id, of.span_id),
        *(of.start_time_unix_nano, of.end_time_unix_nano),
    )
    assert len(made.events) + made.dropped_events_count == len(of.events) + of.dropped_events_count
    assert len(made.links) + made.dropped_links_count == len(of.links) + of.dropped_links_count
    kept, had = set(made.attributes) - {MARK}, set(of.attributes) - {MARK}
    assert len(kept) + made.dropped_attributes_count == len(had) + of.dropped_attributes_count
    return made


@given(samples.spans())
def test_a_span_that_fits_stays_as_it_is(of):
    """A span that fits is given back itself."""
    assert limits.fit_span(of) is of


def test_a_span_just_fitting():
    """A span of exactly the limit is not cut; one of a byte more is, and is marked with what it weighed."""
    room = limits.RECORD_LIMIT - len(encode.span(a_span(attributes={"text": ""})))
    whole = a_span(attributes={"text": "x" * room})
    assert limits.fit_span(whole) is whole
    made = fitted_span(a_span(attributes={"text": "x" * (room + 1)}))
    assert made.attributes == {MARK: {"span": limits.RECORD_LIMIT + 1, "text": room + 1}, "text": "x" * 4076}


def test_long_values_of_a_span_are_cut():
    """Long texts, lists and mappings are cut to 4 KiB each, on the span, its events and its links; short ones stay."""
    about = {"text": "x" * 10**6, "list": ["y"] * 10**5, "map": {f"k{n}": n for n in range(10**5)}, "short": 1}
    made = fitted_span(a_span(attributes=about, events=(an_event(**about),), links=(a_link(**about),)))
    for of in (made, made.events[0], made.links[0]):
        assert of.attributes["text"] == "x" * 4076
        assert of.attributes["list"] == ["y"] * len(of.attributes["list"])
        assert dict(list(about["map"].items())[: len(of.attributes["map"])]) == of.attributes["map"]
        assert of.attributes["short"] == 1
        lengths = {"text": 10**6, "list": len(encode.value(about["list"])), "map": len(encode.value(about["map"]))}
        assert {key: length for key, length in of.attributes[MARK].items() if key != "span"} == lengths
        assert of.dropped_attributes_count == 0
        assert all(3500 < len(encode.value(of.attributes[key])) <= 4096 for key in ("text", "list", "map"))


def test_of_many_attributes_the_first_stay():
    """A span with too many attributes keeps the earlier ones and counts the others."""
    made = fitted_span(a_span(attributes={f"key {n}": "v" * 1000 for n in range(1000)}, dropped_attributes_count=7))
    kept = [key for key in made.attributes if key != MARK]
    assert kept == [f"key {n}" for n in range(len(kept))]
    assert len(kept) > 200
    assert made.dropped_attributes_count == 1000 - len(kept) + 7


def test_of_many_events_and_links_the_newest_stay():
    """A span with too many events and links keeps the newest ones, as the SDK would, in their order."""
    many = range(10_000)
    made = fitted_span(
        a_span(
            events=tuple(an_event(n, text="e" * 100) for n in many),
            links=tuple(a_link(n, text="l" * 100) for n in many),
            dropped_events_count=3,
            dropped_links_count=4,
        )
    )
    for of, least in ((made.events, 300), (made.links, 150)):
        assert [each.attributes["index"] for each in of] == list(many)[-len(of) :]
        assert len(of) > least


def test_heavy_events_and_links_lose_attributes_first():
    """An event or link that alone is too heavy is kept, with its first attributes, and counts the others."""
    about = {f"key {n}": "v" * 4000 for n in range(128)}
    made = fitted_span(a_span(events=(an_event(0), an_event(1, **about)), links=(a_link(0), a_link(1, **about))))
    for of in (made.events, made.links):
        assert [each.attributes["index"] for each in of] == [0, 1]
        assert of[1].attributes["key 0"] == "v" * 4000
        assert len(of[1].attributes) + of[1].dropped_attributes_count == 129


def test_huge_names_of_a_span():
    """Names and the status message are cut like values, a trace state that no header could carry goes."""
    made = fitted_span(
        a_span(events=(an_event(name="e" * 10**6),), status_code=2, status_message="m" * 10**6)._replace(
            name="n" * 10**6,
            trace_state="s" * 10**6,
        )
    )
    assert (made.name, made.status_message, made.trace_state) == ("n" * 4076, "m" * 4076, "")
    assert made.events[0].name == "e" * 4076
    assert made.status_code == 2
    assert {key: made.attributes[MARK][key] for key in ("name", "status")} == {"name": 10**6, "status": 10**6}
    assert made.events[0].attributes[MARK] == {"name": 10**6}


def test_a_full_trace_state_stays():
    """The longest trace state that W3C allows outlives a cut."""
    state = ",".join(f"{'k' * 254}{n:02}={'v' * 256}" for n in range(32))
    made = fitted_span(a_span(attributes={"text": "x" * 10**6})._replace(trace_state=state))
    assert made.trace_state == state


def test_a_span_s_attribute_called_like_the_mark():
    """An attribute that has the mark's own name gives way to it."""
    of = a_span(attributes={"text": "x" * 10**6, MARK: "mine"})
    assert fitted_span(of).attributes[MARK] == {"span": len(encode.span(of)), "text": 10**6}


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from('aä\U0001f600\n"'), st.integers(1, 50_000)), max_size=3),
    st.tuples(st.integers(0, 100), st.integers(1, 20_000), st.integers(1, 5000)),
    st.tuples(st.integers(0, 200), st.integers(1, 20_000)),
    st.integers(0, 600_000),
)
def test_any_span_fits(texts, events, links, name):
    """Long texts, names and keys, many events and links, in any mixture: what `fit_span` makes fits in a line."""
    of = a_span(
        attributes={f"text {index}": of * length for index, (of, length) in enumerate(texts)} | {"k" * name: 1},
        events=tuple(an_event(n, "e" * (name // 10), **{"k" * events[2]: "v" * events[1]}) for n in range(events[0])),
        links=tuple(a_link(n, text="\n" * links[1]) for n in range(links[0])),
    )._replace(
        name='"' * name,
        status_message="\0" * name,
    )
    made = fitted_span(of)
    assert (MARK in made.attributes) == (made is not of)


# Scopes.


@given(samples.scopes)
def test_a_scope_that_fits_stays_as_it_is(of):
    """A scope of ordinary size is equal to itself."""
    assert limits.fit_scope(of) == of


def test_a_scope_that_says_too_much():
    """A scope keeps the start of its texts and its first attributes, at most 20 KiB in all."""
    huge = {f"key {n}": "v" * 1000 for n in range(1000)} | {"long": "x" * 10**6}
    of = Scope(name="n" * 10**6, version="\n" * 10**6, attributes=huge, schema_url="s" * 10**6)
    made = limits.fit_scope(of)
    assert (made.name, made.schema_url) == ("n" * 4076, "s" * 4076)
    mark, *kept = made.attributes.items()
    assert kept == list(huge.items())[: len(kept)]
    assert kept
    longest = {"name": 10**6, "version": 10**6, "schema_url": 10**6, "long": 10**6}
    assert (mark[0], dict(list(mark[1].items())[:4])) == (MARK, longest)
    # Three texts and the attributes that are left out or cut, of which the mark names as many as it has room for.
    assert len(mark[1]) - 1 + mark[1]["..."] == 3 + len(huge) - len(kept)
    assert len(encode.tail(made, samples.RESOURCE)) < 24 * 1024


def test_a_scope_says_what_it_left_out():
    """Attributes that are short by themselves and too many together are named with their lengths."""
    made = limits.fit_scope(Scope(name="lib", attributes={"a": "x" * 3000, "b": "y" * 3000}))
    assert made.attributes == {MARK: {"b": 3000}, "a": "x" * 3000}
