"""The stage's span: a bounded projection of its events and of its log records from WARNING up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_stageio import conventions as names
from otel_stageio.journal import encode, limits
from otel_stageio.model import FLAGS_LOCAL, FLAGS_REMOTE, Span
from otel_stageio.views import span as spans
from tests.journal.samples import TAIL, unhurried
from tests.journal.samples import values as any_values
from tests.views.story import BEGAN, ROOT, SECOND, SPAN, TRACE, Writer, whole_story

#: What a line may weigh in all.
LINE = 512 * 1024


def projected(w: Writer) -> Span:
    """The span of the records, each cut to fit a line as the recorder does it; its line must fit too."""
    w.records[:] = map(limits.fit, w.records)
    made = spans.span(w.state)
    assert made is not None
    assert len(encode.span_line(made, TAIL)) < LINE
    return made


def count(of: Span, name: str) -> int:
    """How many events of that name the span has."""
    return sum(event.name == name for event in of.events)


def test_a_stage_that_runs_has_no_span():
    """The span is there once start and end are on record, not before."""
    w = Writer()
    assert spans.span(w.state) is None
    w.start()
    assert spans.span(w.state) is None
    w.records.clear()
    w.finish()
    assert spans.span(w.state) is None


def test_identity_and_times():
    """Ids, name and times are those of the lifecycle events; the parent is the run's span, in another process."""
    w = Writer()
    w.start()
    w.finish()
    made = projected(w)
    assert (made.trace_id, made.span_id, made.parent_span_id) == (TRACE, SPAN, ROOT)
    assert (made.name, made.kind, made.flags, made.trace_state) == ("asr", 1, FLAGS_REMOTE, "")
    assert (made.start_time_unix_nano, made.end_time_unix_nano) == (BEGAN, BEGAN + SECOND)


def test_without_a_run_there_is_no_parent():
    """Without a run's span the stage's is a root, and is not said to have a remote parent."""
    w = Writer(step=0)
    w.start(RUN_SPAN_ID=None)
    w.finish()
    made = projected(w)
    assert (made.parent_span_id, made.flags) == ("", FLAGS_LOCAL)
    assert made.end_time_unix_nano == made.start_time_unix_nano + 1000  # Jaeger warns of a length of zero


CALLER = {"PARENT_SPAN_ID": "c" * 16, "PARENT_REMOTE": True}


@pytest.mark.parametrize(
    ("said", "parent", "flags"),
    [
        (CALLER, "c" * 16, FLAGS_REMOTE),
        ({**CALLER, "PARENT_REMOTE": False}, "c" * 16, FLAGS_LOCAL),
        ({**CALLER, "RUN_SPAN_ID": None}, "c" * 16, FLAGS_REMOTE),
        ({"PARENT_SPAN_ID": ROOT, "PARENT_REMOTE": True}, ROOT, FLAGS_REMOTE),
        ({"RUN_TRACE_ID": "d" * 32}, "", FLAGS_LOCAL),
        ({"RUN_TRACE_ID": "d" * 32, **CALLER}, "c" * 16, FLAGS_REMOTE),
    ],
)
def test_the_parent(said, parent, flags):
    """The parent is the span that the stage was called in, of another process or of this one; else the run's span."""
    w = Writer()
    w.start(**said)
    w.finish()
    made = projected(w)
    assert (made.parent_span_id, made.flags) == (parent, flags)


def test_the_trace_state():
    """The trace state that the caller handed on is the span's."""
    w = Writer()
    w.start(TRACE_STATE="congo=t61,rojo=00f")
    w.finish()
    assert projected(w).trace_state == "congo=t61,rojo=00f"


def test_the_link_to_a_run_of_another_trace():
    """A stage that follows its caller's trace links to its run's span, before all other links; else there is none."""
    w = Writer()
    w.start(RUN_TRACE_ID="d" * 32, **CALLER)
    w.told_span(names.SPAN_LINK, {"why": "theirs"}, LINK_TRACE_ID="e" * 32, LINK_SPAN_ID="f" * 16, LINK_REMOTE=False)
    w.finish()
    assert [(each.trace_id, each.span_id, each.attributes, each.flags) for each in projected(w).links] == [
        ("d" * 32, ROOT, {names.RUN: 1}, FLAGS_REMOTE),
        ("e" * 32, "f" * 16, {"why": "theirs"}, FLAGS_LOCAL),
    ]
    plain = Writer()
    plain.start(**CALLER)
    plain.finish()
    assert projected(plain).links == ()


def test_the_link_to_the_run_takes_a_place():
    """A span has 128 links, the one to the run among them; what has no place is counted."""
    w = Writer()
    w.start(RUN_TRACE_ID="d" * 32, **CALLER)
    for number in range(130):
        w.told_span(names.SPAN_LINK, LINK_TRACE_ID="e" * 32, LINK_SPAN_ID=f"{number:016x}", LINK_REMOTE=True)
    w.finish()
    made = projected(w)
    assert (len(made.links), made.links[0].span_id, made.dropped_links_count) == (128, ROOT, 3)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ("success", 0, ""),
        ("skipped", 0, ""),
        ("lost", 0, ""),
        ("failed", 2, "no frames"),
        ("abandoned", 2, "no frames"),
    ],
)
def test_the_status(status, code, message):
    """Failed and abandoned are errors with their reason, everything else is unset; ours is always an attribute."""
    w = Writer()
    w.start()
    w.finish(status, REASON="no frames", ERROR_TYPE="ValueError")
    made = projected(w)
    assert (made.status_code, made.status_message) == (code, message)
    assert made.attributes[names.STATUS] == status
    assert made.attributes[names.REASON] == "no frames"
    assert made.attributes[names.ERROR_TYPE] == "ValueError"


def test_a_failure_without_reason():
    """A failed stage of which nobody said why is an error without message."""
    w = Writer()
    w.start()
    w.finish("failed")
    assert (projected(w).status_code, projected(w).status_message) == (2, "")


def test_attributes():
    """Identity, end, place, totals, commit, and each value of resources, metrics, extras and config, in that order."""
    assert list(projected(whole_story()).attributes.items()) == [
        ("stageio.stage.name", "asr"),
        ("stageio.stage.number", 6),
        ("stageio.stage.attempt", 1),
        ("stageio.job.id", "6a6f622d69643031"),
        ("stageio.run", 1),
        ("stageio.run.name", "nightly"),
        ("stageio.status", "failed"),
        ("stageio.reason", "ValueError: no frames"),
        ("error.type", "ValueError"),
        ("host.name", "node1"),
        ("process.pid", 4711),
        ("stageio.inputs.count", 3),
        ("stageio.inputs.size", 120),
        ("stageio.outputs.count", 2),
        ("stageio.outputs.size", 2_000_010),
        ("stageio.intermediates.count", 1),
        ("stageio.intermediates.size", 77),
        ("stageio.warnings.count", 1),
        ("stageio.errors.count", 1),
        ("stageio.logs.debug.count", 1),
        ("stageio.logs.info.count", 1),
        ("stageio.logs.warning.count", 1),
        ("stageio.logs.error.count", 1),
        ("stageio.logs.notice.count", 1),
        ("vcs.ref.head.revision", "c0ffee" * 6 + "c0ff"),
        ("stageio.resource.gpu", "none"),
        ("stageio.resource.wall_seconds", 21.5),
        ("stageio.metric.wer", 0.125),
        ("stageio.metric.segments", 2),
        ("stageio.extra.exit_code", 3),
        ("stageio.config.model", "base.en"),
        ("stageio.config.beam", '{"size": 5, "temperature": [0.0, 0.2]}'),
        ("stageio.config.note", "süß \u2028"),
    ]


def test_events():
    """Artifacts, config, metrics, warnings, errors and log records from WARNING up, at their times, as scalars."""
    made = projected(whole_story())
    assert [event.name for event in made.events] == [
        names.CONFIG,
        names.INPUT,
        names.INPUT,
        names.WARNING,
        "log",
        names.INPUT,
        names.OUTPUT,
        names.OUTPUT,
        names.INTERMEDIATE,
        names.METRIC,
        names.METRIC,
        names.METRIC,
        names.ERROR,
        "log",
    ]
    config, log, remote = made.events[0], made.events[4], made.events[5]
    assert config.time_unix_nano == BEGAN + SECOND
    assert config.attributes[f"{names.CONFIG_KEY}beam"] == '{"size": 5, "temperature": [0.0, 0.2]}'
    assert log.attributes == {"message": "input gone.wav is missing", "level": "WARNING"}
    assert remote.attributes == {
        names.FILE_PATH: "s3://bucket/lexicon.txt",
        names.ARTIFACT_ROLE: "input",
        names.ARTIFACT_TYPE: "lexicon",
        names.ARTIFACT_KIND: "remote",
        f"{names.ARTIFACT_METADATA}raw": "AP8=",
    }
    assert (made.dropped_events_count, made.dropped_attributes_count) == (0, 0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, True),
        (5, 5),
        (0.5, 0.5),
        ("text", "text"),
        (None, "null"),
        ([1, "ä"], '[1, "ä"]'),
        (b"\0\xff", "AP8="),
        ("x" * 4096, "x" * 4096),
        ("x" * 4097, "x" * 4096 + "... [cut from 4097 characters]"),
    ],
)
def test_values_are_scalars(value, shown):
    """Scalars stay as they are, anything else is its text, long text is cut and says so."""
    assert spans.scalar(value) == shown


@unhurried
@given(any_values)
def test_any_value_is_a_scalar(value):
    """Whatever the value, the span has a scalar that Jaeger can show."""
    assert isinstance(spans.scalar(value), (bool, int, float, str))


def test_the_end_fixes_the_span():
    """Whatever comes after the end, of whichever kind, the span stays as it was."""
    w = Writer()
    w.start()
    w.track("output", "a", FILE_SIZE=1)
    w.finish("success")
    before = projected(w)
    w.track("output", "b", FILE_SIZE=5)
    w.config(late=1)
    w.metric("late", 1)
    w.warning("late")
    w.error("late")
    w.log("ERROR", "late")
    w.event(names.GIT, {names.VCS_REVISION: "c0ffee"})
    w.event(names.RESOURCES, {f"{names.RESOURCE_KEY}late": 1})
    w.finish("failed", REASON="late")
    assert projected(w) == before


def test_at_most_a_thousand_events():
    """Of many files so many are shown that warnings, and then errors, still find room; the others are counted."""
    w = Writer()
    w.start()
    for index in range(2000):
        w.event(names.INPUT, {names.FILE_PATH: f"{index}.wav", names.FILE_SIZE: 1})
    for index in range(500):
        w.warning(f"warning {index}")
        w.log("WARNING", f"warning {index}")
    for index in range(100):
        w.error(f"error {index}")
    w.finish("failed")
    made = projected(w)
    assert len(made.events) == spans.MOST_EVENTS
    assert (count(made, names.INPUT), count(made, names.ERROR)) == (800, 100)
    assert count(made, names.WARNING) + count(made, "log") == 100
    assert made.dropped_events_count == 2000 + 1000 + 100 - 1000
    assert made.attributes[names.EVENTS_LEFT_OUT] == made.dropped_events_count
    assert made.attributes["stageio.inputs.count"] == 2000
    assert made.attributes["stageio.inputs.size"] == 2000


def test_a_stage_of_few_files_may_use_it_all():
    """Warnings may fill all but what is kept for errors, logged errors all but what is kept for the stage's own."""
    w = Writer()
    w.start()
    for _ in range(2000):
        w.log("WARNING", "x")
    for _ in range(2000):
        w.log("ERROR", "x")
    w.error("why it failed")
    w.finish("failed")
    made = projected(w)
    assert sum(event.attributes.get("level") == "WARNING" for event in made.events) == 900
    assert sum(event.attributes.get("level") == "ERROR" for event in made.events) == 50
    assert made.events[-1].attributes["message"] == "why it failed"
    w.records[1:2001] = []
    assert len(projected(w).events) == 951


def test_heavy_events_leave_room():
    """Events that are heavy fill their share of the bytes and no more; one that does not fit shuts no other out."""
    w = Writer()
    w.start()
    heavy: dict[str, Any] = {f"key{index}": "v" * 1000 for index in range(40)}
    for index in range(20):
        w.track("input", f"{index}.wav", **heavy)
    w.track("input", "light.wav")
    for _ in range(3):
        w.warning("w" * 4000)
        w.error("e" * 4000)
    w.finish("failed")
    made = projected(w)
    assert sum(len(encode.event(event)) for event in made.events) <= spans.MOST_BYTES
    assert (count(made, names.WARNING), count(made, names.ERROR)) == (3, 3)
    assert made.events[-7].attributes[names.FILE_PATH] == "light.wav"
    assert made.dropped_events_count == 21 + 6 - len(made.events)


def test_one_event_has_its_bounds_too():
    """An event with more attributes than it has room for shows the first ones and counts the others."""
    w = Writer()
    w.start()
    w.track("input", "a.wav", **{f"key{index}": "v" * 1000 for index in range(400)})
    w.finish()
    (event,) = projected(w).events
    assert event.attributes[names.FILE_PATH] == "a.wav"
    assert len(encode.event(event)) < 66 * 1024
    assert event.dropped_attributes_count == 400 + 3 - len(event.attributes)
    assert event.dropped_attributes_count > 300


def test_far_too_much_config():
    """Of 10,000 values of configuration as many are on the span as fit, the others are counted."""
    w = Writer()
    w.start()
    for start in range(0, 10_000, 100):
        w.config(**{f"key{start + index}": "v" * 100 for index in range(100)})
    w.finish()
    made = projected(w)
    kept = sum(key.startswith(names.CONFIG_KEY) for key in made.attributes)
    assert 500 < kept < 10_000
    assert made.dropped_attributes_count == 10_000 - kept


def test_one_huge_value_hides_no_other():
    """A value that has no room takes none from those after it."""
    w = Writer()
    w.start()
    w.config(**{"k" * 200_000: 1, "small": 2})
    w.finish()
    made = projected(w)
    assert made.attributes[f"{names.CONFIG_KEY}small"] == 2
    assert made.dropped_attributes_count == 1


@pytest.mark.parametrize(
    ("character", "times"), [("x", 10_000_000), ("\u00e4", 1_000_000), ("\U0001f600", 1_000_000), ("\0", 1_000_000)]
)
def test_text_of_ten_megabytes(character, times):
    """Huge text at every place that takes text, whatever it weighs when escaped, leaves a span that fits in a line."""
    huge = character * times
    w = Writer()
    w.start(RUN_NAME=huge, HOST_NAME=huge)
    w.config(huge=huge, nested=[huge])
    w.metric("huge", huge)
    w.warning(huge)
    w.error(huge, EXCEPTION_TYPE=huge, EXCEPTION_MESSAGE=huge, EXCEPTION_STACKTRACE=huge)
    w.log("ERROR", huge, huge=huge)
    w.finish("failed", REASON=huge, ERROR_TYPE=huge)
    made = projected(w)
    assert made.status_message.startswith(character * 4000)
    assert made.attributes[names.STATUS] == "failed"
    assert len(made.events) == 5


@settings(deadline=None, max_examples=20)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["track", "warning", "error", "log", "config"]),
            st.integers(1, 400),
            st.sampled_from("x\u00e4\U0001f600"),
            st.integers(0, 6000),
        ),
        max_size=5,
    )
)
def test_any_span_fits_in_a_line(said):
    """Whatever a stage says, and how often, its span fits in a line with its scope and resource."""
    w = Writer()
    w.start()
    for index, (call, times, character, length) in enumerate(said):
        text = character * length
        for time in range(times):
            if call == "track":
                w.track("input", f"{index} {time}", text=text)
            elif call == "log":
                w.log("WARNING", text)
            elif call == "config":
                w.config(**{f"{index} {time}": text})
            else:
                getattr(w, call)(text)
    w.finish("failed", REASON="".join(character * length for _, _, character, length in said))
    projected(w)
