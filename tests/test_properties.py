"""What holds of every stage's record, whatever it says and wherever its files are cut: real stages, real files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job.layout import EVENTS, LOG_RECORDS, TRACES
from otel_stageio.journal import reader
from otel_stageio.views import logline
from otel_stageio.views.manifest import dump, manifest
from otel_stageio.views.state import fold
from tests.journal import samples
from tests.views.story import validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

#: A stage is opened for each example: fewer of them than of those in memory.
thorough = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])

#: Any text, with what ends lines, colours them and looks like one of ours; lone surrogates too.
texts = st.text(max_size=60) | st.text(
    st.sampled_from("a\n\r\t\0\x1b[]#|!\\ \u2028\u0085\u00e4\ud800\U0001f600%s{}:"), max_size=40
)
_SHARES = st.floats(0, 1)
_LEVELS = st.sampled_from(["debug", "info", "warning", "error", "critical"])


def _log(level: str, text: str) -> Callable[[StageIO], object]:
    return lambda io: getattr(io.get_stage_logger(), level)("%s", text)


def _log_as_it_is(level: str, text: str) -> Callable[[StageIO], object]:
    return lambda io: getattr(io.get_stage_logger(), level)(text)


def _log_exception(level: str, text: str) -> Callable[[StageIO], object]:
    return lambda io: getattr(io.get_stage_logger(), level)("it failed", exc_info=ValueError(text))


def _log_extra(level: str, text: str) -> Callable[[StageIO], object]:
    return lambda io: getattr(io.get_stage_logger(), level)("more", extra={"said": text})


def _track(role: str, name: str, text: str) -> Callable[[StageIO], object]:
    def say(io: StageIO) -> None:
        path = io.get_output_path(f"{name}.bin")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        getattr(io, f"track_{role}")(path, "made", said=text)

    return say


def _step(text: str) -> Callable[[StageIO], object]:
    def say(io: StageIO) -> None:
        with io.step("part", said=text):
            io.get_stage_logger().info("within")

    return say


logs = st.one_of(*(st.builds(of, _LEVELS, texts) for of in (_log, _log_as_it_is, _log_exception, _log_extra)))
says = st.one_of(
    logs,
    st.builds(_track, st.sampled_from(["input", "output", "intermediate"]), st.sampled_from("abc"), texts),
    st.builds(_step, texts),
    st.builds(lambda key, of: lambda io: io.set_config({key: of}), texts, samples.values),
    st.builds(lambda text: lambda io: io.add_warning(text), texts),
    st.builds(lambda text: lambda io: io.add_error(text), texts),
    st.builds(lambda key, of: lambda io: io.span.set_attribute(key, of), st.sampled_from("xyz"), texts),
)


def told(folder: Path, said: list[Any], end: str | None) -> StageIO:
    """A stage that said all this and, if `end` is a status, ended with it; in a job folder of its own."""
    io = StageIO("asr", folder, stage_number=6)
    io.get_stage_logger().propagate = False  # pytest-xdist cannot hand on lone surrogates that pytest captures
    for say in said:
        say(io)
    if end is not None:
        io.finalize(end)
    return io


def attempt(io: StageIO) -> Path:
    """The folder of the journal."""
    return io.stage_dir / ".stageio" / "001"


@thorough
@given(st.lists(logs, max_size=8))
def test_stage_log_is_read_back(tmp_path_factory: pytest.TempPathFactory, said: list[Any]) -> None:
    """stage.log parses back into exactly the records of the journal: level, message, exception, whatever they hold."""
    io = told(tmp_path_factory.mktemp("job"), said, "success")
    with open(io.stage_dir / "stage.log", encoding="utf-8", newline="\n") as file:
        found = [(each.level, each.message, each.exception) for each in logline.parse(file.read().split("\n"))]
    expected = [
        (record.severity_text, record.body, record.attributes.get(names.EXCEPTION_STACKTRACE, ""))
        for record in reader.log_records(str(attempt(io) / LOG_RECORDS))
    ]
    assert found == expected
    assert len(found) >= len(said)


@thorough
@given(st.lists(texts, min_size=1, max_size=5))
def test_stage_log_is_what_was_said(tmp_path_factory: pytest.TempPathFactory, said: list[str]) -> None:
    """The same against what the program said, where nothing of it looks like a secret; surrogates as they are told."""
    io = told(tmp_path_factory.mktemp("job"), [_log("info", text) for text in said], "success")
    with open(io.stage_dir / "stage.log", encoding="utf-8", newline="\n") as file:
        found = [each.message for each in logline.parse(file.read().split("\n"))]
    assert found[: len(said)] == [text.encode("utf-8", "backslashreplace").decode() for text in said]


@thorough
@given(st.lists(says, max_size=6), st.sampled_from([None, "success", "failed"]), st.tuples(_SHARES, _SHARES))
def test_cut_anywhere_it_is_a_manifest(
    tmp_path_factory: pytest.TempPathFactory, said: list[Any], end: str | None, cuts: tuple[float, float]
) -> None:
    """Each file of the journal cut at any byte, as a crash or a full disk may: what is left folds to a valid manifest.

    Nothing before the cut is lost, and the cut line costs itself alone.
    """
    io = told(tmp_path_factory.mktemp("job"), said, end)
    records = []
    for name, share in zip((EVENTS, LOG_RECORDS), cuts, strict=True):
        path = attempt(io) / name
        whole = path.read_bytes() if path.exists() else b""
        cut = round(share * len(whole))
        copy = io.stage_dir / name
        copy.write_bytes(whole[:cut])
        found = list(reader.log_records(str(copy)))
        # A line that lacks its newline only is whole.
        assert len(found) == whole[: cut + 1].count(b"\n")
        assert found == list(reader.log_records(str(path)))[: len(found)]
        records += found
    state = fold(records)
    if state.started is not None:
        validate("manifest", manifest(state))
    else:
        assert manifest(state) == {}
    if end is None:
        io.finalize()


@thorough
@given(st.lists(says, min_size=1, max_size=6), _SHARES, _SHARES)
def test_a_torn_line_costs_itself_alone(
    tmp_path_factory: pytest.TempPathFactory, said: list[Any], which: float, where: float
) -> None:
    """Any line of a real journal, torn at any byte with the next one glued to it, takes no other line with it."""
    io = told(tmp_path_factory.mktemp("job"), said, "success")
    for name in (EVENTS, LOG_RECORDS, TRACES):
        path = attempt(io) / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if not lines:
            continue
        torn = round(which * (len(lines) - 1))
        cut = round(where * (len(lines[torn]) - 2))
        copy = io.stage_dir / name
        copy.write_bytes(b"".join([*lines[:torn], lines[torn][:cut], *lines[torn + 1 :]]))
        read = reader.spans if name == TRACES else reader.log_records
        whole = list(read(str(path)))
        assert list(read(str(copy))) == [*whole[:torn], *whole[torn + 1 :]]


def _newer(line: bytes) -> bytes:
    """The line as a later version might write it: more keys at every level, more attributes."""
    tree = json.loads(line)
    more = {"key": "stageio.future", "value": {"stringValue": "x"}}
    for resource in tree["resourceLogs"]:
        resource["future"] = {"a": [1, {"b": None}]}
        resource["resource"]["attributes"].append(more)
        for scope in resource["scopeLogs"]:
            scope["future"] = "x"
            for record in scope["logRecords"]:
                record["future"] = 1
                record.setdefault("attributes", []).append(more)
    return json.dumps(tree).encode() + b"\n"


_UNKNOWN = (
    b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","eventName":"stageio.future.event"}]}]}]}\n'
)


@thorough
@given(st.lists(says, max_size=6), st.integers(0, 20))
def test_what_a_later_version_adds_is_passed_over(
    tmp_path_factory: pytest.TempPathFactory, said: list[Any], at: int
) -> None:
    """Unknown keys, attributes and events change nothing of what is known, and are still there for who knows them."""
    io = told(tmp_path_factory.mktemp("job"), said, "success")
    before, after = [], []
    for name in (EVENTS, LOG_RECORDS):
        path = attempt(io) / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        copy = io.stage_dir / name
        newer = [_newer(line) for line in lines]
        copy.write_bytes(b"".join([*newer[: at + 1], _UNKNOWN, *newer[at + 1 :]]))
        before += list(reader.log_records(str(path)))
        after += list(reader.log_records(str(copy)))
    assert dump(manifest(fold(after))) == dump(manifest(fold(before)))
    assert sum(record.event_name == "stageio.future.event" for record in after) == 2
    assert sum(record.attributes.get("stageio.future") == "x" for record in after) == len(before)


@thorough
@given(st.lists(says, max_size=6), st.randoms(use_true_random=False))
def test_the_manifest_is_the_fold_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, said: list[Any], chance: Any
) -> None:
    """manifest.json is what the journal's records come to, however they are interleaved, and repeated."""
    io = told(tmp_path_factory.mktemp("job"), said, "success")
    records = [
        record for name in (EVENTS, LOG_RECORDS) for record in reader.log_records(os.fspath(attempt(io) / name))
    ] * 2
    chance.shuffle(records)
    assert dump(manifest(fold(records))) == (io.stage_dir / "manifest.json").read_bytes()
