"""The fold from records to the state that every view is made of."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio import conventions as names
from otel_stageio.journal import encode, limits, reader
from otel_stageio.model import LogRecord
from otel_stageio.views import manifest, span
from otel_stageio.views.state import LATE_LISTED, StageState, fold, order
from tests.journal import samples
from tests.journal.samples import TAIL, unhurried
from tests.views.story import BEGAN, ROOT, SECOND, SHA, Writer, validate, whole_story


def views(state: StageState) -> tuple[Any, ...]:
    """All that is made of a state."""
    return (manifest.manifest(state), span.span(state), state.contradicted, state.late_count)


def live(records: list[LogRecord]) -> StageState:
    """The state as the recorder keeps it: one record after the other."""
    state = StageState()
    for record in records:
        state.apply(record)
    return state


# Any story.

_PATHS = st.sampled_from(["a.wav", "b.json", "dir/c"])
_ROLES = st.sampled_from(names.ROLES)
_SAY = st.one_of(
    st.tuples(st.just("track"), _ROLES, _PATHS, st.just("audio"), st.fixed_dictionaries({"take": samples.values})),
    st.tuples(st.just("digest"), _ROLES, _PATHS, st.fixed_dictionaries({"ARTIFACT_CHECKSUM": st.just(SHA)})),
    st.tuples(st.just("config"), st.dictionaries(st.sampled_from("abc"), samples.values, max_size=2)),
    st.tuples(st.just("metric"), st.sampled_from(["wer", "n"]), st.floats(0, 1) | st.integers(0, 9)),
    st.tuples(st.just("begin_step"), samples.texts, st.sampled_from(["a1", "b2"]), st.just({"take": 1})),
    st.tuples(st.just("end_step"), st.sampled_from(["a1", "b2"]), st.sampled_from(["success", "failed"])),
    st.tuples(st.just("told_span"), st.just(names.SPAN_ATTRIBUTES), samples.attributes, st.just({})),
    st.tuples(
        st.just("told_span"), st.just(names.SPAN_EVENT), samples.attributes, st.just({"SPAN_EVENT_NAME": "tick"})
    ),
    st.tuples(st.just("told_span"), st.just(names.SPAN_LINK), st.just({"LINK_TRACE_ID": ROOT, "LINK_SPAN_ID": ROOT})),
    st.tuples(st.just("told_span"), st.just(names.SPAN_STATUS), st.just({"SPAN_STATUS_CODE": 2})),
    st.tuples(st.just("told_span"), st.just(names.SPAN_NAME), st.just({"SPAN_NAME_VALUE": "words"})),
    st.tuples(st.just("warning"), samples.texts),
    st.tuples(st.just("error"), samples.texts),
    st.tuples(st.just("log"), st.sampled_from(["DEBUG", "INFO", "WARNING", "ERROR", "MINE"]), samples.texts),
    st.tuples(st.just("event"), st.sampled_from(["stageio.future", "other"]), samples.attributes),
    st.tuples(st.just("finish"), st.sampled_from(names.FINAL_STATUSES)),
)


@st.composite
def stories(draw: st.DrawFn) -> Writer:
    """A stage that says any of what a stage can say, in any order, after its start; perhaps without an end."""
    w = Writer()
    w.start()
    for call, *arguments in draw(st.lists(_SAY, max_size=15)):
        keywords = arguments.pop() if arguments and isinstance(arguments[-1], dict) and call != "event" else {}
        ended = w.state.finished is not None
        record = getattr(w, call)(*arguments, **keywords)
        if ended and call not in ("log", "end_step"):
            w.records[-1] = samples.with_attributes(record, {names.LATE: call})
    return w


@unhurried
@given(stories(), st.randoms(use_true_random=False))
def test_the_fold_does_not_depend_on_batching_or_order(w, chance):
    """However records were batched, interleaved, repeated and shuffled, they come to what they were live."""
    expected = views(live(w.records))
    assert views(fold(w.records)) == expected
    events = [record for record in w.records if record.event_name]
    logs = [record for record in w.records if not record.event_name]
    assert views(fold([*events, *logs])) == expected
    assert views(fold([*logs, *events])) == expected
    shuffled = w.records * 2
    chance.shuffle(shuffled)
    assert views(fold(shuffled)) == expected


@unhurried
@given(stories())
def test_any_prefix_is_a_manifest(w):
    """Cut after any record, a journal folds to a manifest that the schema allows; an empty one to none."""
    assert manifest.manifest(fold([])) == {}
    for length in range(1, len(w.records) + 1):
        validate("manifest", manifest.manifest(fold(w.records[:length])))


@unhurried
@given(stories())
def test_the_files_come_to_the_same(w):
    """Written as lines of two files and read back, the records come to the same."""
    for name in ("events.jsonl", "logs.jsonl"):
        with open(name, "wb") as file:
            for record in w.records:
                if bool(record.event_name) == (name == "events.jsonl"):
                    file.write(encode.log_line(record, TAIL))
    back = [*reader.log_records("events.jsonl"), *reader.log_records("logs.jsonl")]
    assert manifest.dump(manifest.manifest(fold(back))) == manifest.dump(manifest.manifest(fold(w.records)))
    assert repr(span.span(fold(back))) == repr(span.span(fold(w.records)))


@unhurried
@given(stories(), samples.log_records)
def test_anything_folds(w, foreign):
    """A record of any other kind, at any place, is passed over or counted; it never raises."""
    for at in range(len(w.records) + 1):
        fold([*w.records[:at], foreign, *w.records[at:]])


@unhurried
@given(st.sampled_from(sorted(of for of in vars(names).values() if isinstance(of, str))), samples.attributes)
def test_events_that_say_nothing_are_passed_over(name, attributes):
    """An event of ours without what makes it one changes nothing, and raises nothing."""
    w = Writer()
    w.start()
    w.event(name, attributes)
    w.finish()
    views(w.state)


# Order.


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        ("a1b2-17", ("a1b2", 17)),
        ("with-dash-3", ("with-dash", 3)),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", ("01ARZ3NDEKTSV4RRFFQ69G5FAV", 0)),
        ("a-\u00b2", ("a-\u00b2", 0)),
        ("a-" + "9" * 5000, ("a-" + "9" * 5000, 0)),
        ("", ("", 0)),
        (5, ("", 5)),
    ],
)
def test_the_order_of_a_record(uid, expected):
    """The uid is a writer and a count; what is not of that form is an order of one."""
    assert order(LogRecord(time_unix_nano=1, attributes={names.LOG_RECORD_UID: uid})) == expected


def test_a_writer_is_believed_before_the_clock():
    """A writer's records keep his order, even where their times run back."""
    w = Writer(step=-SECOND)
    w.start()
    w.config(a=1)
    w.config(a=2)
    w.finish()
    records = w.records[:]
    random.Random(0).shuffle(records)
    state = fold(records)
    assert state.config == {"a": 2}
    assert state.status == "success"


def test_writers_are_merged_by_time():
    """Of several writers the later record wins; at the same time the writer's name decides, not who was read first."""
    one = Writer("one", at=BEGAN)
    one.start()
    one.config(a=1, b=1)
    two = Writer("two", at=BEGAN + SECOND // 2)
    two.config(a=2)
    two.at = BEGAN + SECOND
    two.config(b=2)
    for records in ([*one.records, *two.records], [*two.records, *one.records]):
        assert fold(records).config == {"a": 1, "b": 2}


def test_records_without_a_uid():
    """What another program wrote has only its time: all of it counts, in the order of time."""
    w = Writer()
    w.start()
    w.at += 10 * SECOND
    w.finish()
    foreign = [
        LogRecord(time_unix_nano=BEGAN + at * SECOND, event_name=names.CONFIG, attributes={"stageio.config.a": at})
        for at in (3, 1, 2)
    ]
    logs = [LogRecord(time_unix_nano=BEGAN + SECOND, severity_text="INFO")] * 3
    state = fold([*foreign, *w.records, *logs])
    assert state.config == {"a": 3}
    assert state.log_counts["INFO"] == 3


# What the events do.


def test_tracking_keeps_the_first_order_and_the_last_word():
    """The same path again updates its entry where it stands; metadata not told again stays; roles are apart."""
    w = Writer()
    w.start()
    w.track("input", "a.wav", "audio", FILE_SIZE=1, channels=1)
    w.track("input", "b.wav", "audio")
    w.track("output", "a.wav", "copy")
    w.track("input", "a.wav", "speech", FILE_SIZE=2)
    state = w.state
    assert [(each["path"], each["type"], each["size_bytes"]) for each in state.artifacts["input"].values()] == [
        ("a.wav", "speech", 2),
        ("b.wav", "audio", None),
    ]
    assert state.artifacts["input"]["a.wav"]["channels"] == 1
    assert [each["type"] for each in state.artifacts["output"].values()] == ["copy"]


def test_digests_find_their_entry():
    """A digest changes the entry of its role and path; one for what was never tracked changes nothing."""
    w = Writer()
    w.start()
    w.track("output", "a.bin", "model", FILE_SIZE=1)
    before = manifest.manifest(w.state)
    w.digest("output", "other.bin", ARTIFACT_CHECKSUM=SHA)
    w.digest("input", "a.bin", ARTIFACT_CHECKSUM=SHA)
    w.digest("nonsense", "a.bin", ARTIFACT_CHECKSUM=SHA)
    assert manifest.manifest(w.state) == before
    w.digest("output", "a.bin", ARTIFACT_CHECKSUM=SHA, FILE_SIZE=2)
    (entry,) = w.state.artifacts["output"].values()
    assert (entry["checksum"], entry["size_bytes"]) == (SHA, 2)


def test_later_values_win():
    """Configuration, resources and metrics are merged, the later value wins; the first place in the order stays."""
    w = Writer()
    w.start()
    w.config(a=1, b={"x": 1})
    w.config(b={"y": 2}, c=3)
    w.metric("m", 1)
    w.metric("n", 1)
    w.metric("m", 2, "s")
    w.event(names.METRIC, {names.METRIC_NAME: "bare"})
    w.event(names.RESOURCES, {"stageio.resource.gpu": 1, "stageio.resource.peak_memory_mb": 5})
    w.finish()
    state = w.state
    assert list(state.config.items()) == [("a", 1), ("b", {"y": 2}), ("c", 3)]
    assert list(state.metrics.items()) == [
        ("m", {"value": 2, "unit": "s"}),
        ("n", {"value": 1, "unit": "1"}),
        ("bare", {"value": None, "unit": "1"}),
    ]
    assert state.resources == {"gpu": 1, "peak_memory_mb": 5}


def test_the_end_brings_extras_and_resources():
    """The finished event carries finalize's keywords and what was measured."""
    w = Writer()
    w.start()
    w.event(
        names.FINISHED,
        {names.STATUS: "success", "stageio.extra.model": "base", "stageio.resource.wall_seconds": 1.5, "other": 1},
    )
    assert (w.state.extra, w.state.resources) == ({"model": "base"}, {"wall_seconds": 1.5})


def test_log_records_are_counted_by_level():
    """The five levels are always there; one of the program's own comes behind them."""
    w = Writer()
    w.start()
    for level in ("INFO", "MINE", "INFO", "DEBUG"):
        w.log(level, "x")
    assert list(w.state.log_counts.items()) == [
        ("DEBUG", 1),
        ("INFO", 2),
        ("WARNING", 0),
        ("ERROR", 0),
        ("CRITICAL", 0),
        ("MINE", 1),
    ]


def test_the_first_end_decides():
    """Status, extras and measurements are the first end's; a later one that says otherwise contradicts it."""
    w = Writer()
    w.start()
    w.finish("success")
    assert not w.state.contradicted
    w.event(names.FINISHED, {names.STATUS: "success", "stageio.extra.a": 1, names.LATE: "finalize"})
    assert not w.state.contradicted
    w.finish("failed", LATE="finalize")
    w.finish("success", LATE="finalize")
    state = w.state
    assert (state.status, state.contradicted, state.extra) == ("success", True, {})
    assert state.finished is w.records[1]


def test_calls_after_the_end():
    """Late calls are counted, the first hundred listed, and taken in; a call of two events counts once."""
    w = Writer()
    w.start()
    w.finish()
    for index in range(LATE_LISTED + 20):
        w.event(names.CONFIG, {f"{names.CONFIG_KEY}a": index, names.LATE: "add_config"})
    w.event(names.ERROR, {names.LATE: "add_error"}, body="late", severity=17)
    w.event(names.WARNING, {names.LATE: ""}, body="the same call", severity=13)
    state = w.state
    assert state.late_count == LATE_LISTED + 21
    assert [each["call"] for each in state.late_calls] == ["add_config"] * LATE_LISTED
    assert state.config == {"a": LATE_LISTED + 19}
    assert [each["message"] for each in state.errors] == ["late"]


def test_trouble_and_cut_records_are_degraded():
    """The list has our own trouble, and says of an event that was cut what it was before."""
    w = Writer()
    w.start()
    w.event(names.DEGRADED, body="disk full", severity=13)
    w.config(a="x" * 10**6)
    w.config(**{f"key{index}": "x" * 10**5 for index in range(9)})
    w.records[:] = map(limits.fit, w.records)
    (trouble, one, many) = w.state.degraded
    assert trouble == "disk full"
    assert one == "stageio.config was cut to fit in a line; lengths before: stageio.config.a (1000000)"
    assert many.startswith("stageio.config was cut to fit in a line; lengths before: stageio.config.key0 (100000), ")
    assert many.count("100000") == 5
    assert many.endswith(", ...")


def test_git_is_what_its_event_says():
    """Commit, branch and dirty flag, as far as git told them."""
    w = whole_story()
    assert w.state.git == {"commit": "c0ffee" * 6 + "c0ff", "branch": "main", "dirty": True}


def test_errors_tell_of_their_exception():
    """An error has its time and message, and of its exception what is known."""
    w = Writer()
    w.start()
    w.error("plain")
    w.error("raised", EXCEPTION_TYPE="ValueError", EXCEPTION_MESSAGE="no", EXCEPTION_STACKTRACE="Traceback")
    assert w.state.errors == [
        {"timestamp": "2025-11-27T12:30:02.123456Z", "message": "plain"},
        {
            "timestamp": "2025-11-27T12:30:03.123456Z",
            "message": "raised",
            "exception_type": "ValueError",
            "exception_message": "no",
            "stacktrace": "Traceback",
        },
    ]
