"""docs/conventions.md and otel_stageio/conventions.py say the same, and a stage writes what they say."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry import trace

from otel_stageio import StageIO, conventions
from otel_stageio.journal import reader
from otel_stageio.record.processes import membership

PAGE = Path(__file__).resolve().parents[1] / "docs" / "conventions.md"
NO_CONSTANT = "-"
UNIT = re.compile(r"-|1|s|ns|By|\{[a-z]+\}")
CODE = re.compile(r"`([^`]*)`")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table: a constant (or none, for a name that we only pass on) and what is said of it."""

    constant: str
    value: str
    type: str
    unit: str
    example: str
    meaning: str


def cells(line: str) -> list[str]:
    """The cells of a table's line; a `|` within code is none of the table's."""
    return [cell.strip() for cell in re.findall(r"((?:`[^`]*`|[^|`])+)\|", line.removeprefix("|"))]


def page() -> list[Row]:
    """Every line of the page's tables, without their heads."""
    found = [cells(line) for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [
        Row(
            constant=constant.strip("`"),
            value=", ".join(CODE.findall(value)),
            type=kind,
            unit=unit,
            example=example.strip("`"),
            meaning=meaning,
        )
        for constant, value, kind, unit, example, meaning in found
        if constant != "Constant" and not constant.startswith("---")
    ]


ROWS = page()
CONSTANTS = {name: of for name, of in vars(conventions).items() if name.isupper()}
#: Without what all of ours begin with: every attribute would fall under it.
NAMED = {row.value: row for row in ROWS if row.type != "event" and row.constant != "OWN"}
#: What the stage below gives its spans under names of its own.
USERS = {"words", "file"}

#: Whether a value is of a type of the page; JSON has no bytes, so that an example of them is base64 text.
FITS = {
    "string": lambda of: isinstance(of, str),
    "int": lambda of: type(of) is int,
    "double": lambda of: isinstance(of, float),
    "boolean": lambda of: isinstance(of, bool),
    "bytes": lambda of: isinstance(of, (bytes, str)),
    "string[]": lambda of: isinstance(of, list) and all(isinstance(each, str) for each in of),
    "any": lambda _: True,
    "event": lambda of: isinstance(of, dict) and len(of) == 1,
}


def in_words(value: object) -> str:
    """A constant's value as the page shows it."""
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def test_every_constant_is_on_the_page_and_nothing_else():
    """Each constant has one line with its value; a line without a constant is no constant's value."""
    assert {row.constant: row.value for row in ROWS if row.constant != NO_CONSTANT} == {
        name: in_words(of) for name, of in CONSTANTS.items()
    }
    listed = [row.constant for row in ROWS if row.constant != NO_CONSTANT]
    assert sorted(listed) == sorted(set(listed))
    assert {row.value for row in ROWS if row.constant == NO_CONSTANT}.isdisjoint(map(in_words, CONSTANTS.values()))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.value)
def test_line_is_complete(row: Row):
    """Each line has a known type, a unit, an example of that type and a meaning."""
    assert UNIT.fullmatch(row.unit)
    example = json.loads(row.example)
    assert FITS[row.type](example)
    assert row.meaning
    if row.type == "event":
        (about,) = example
        assert about == "body" or named(about)


def named(attribute: str) -> Row | None:
    """The line of the page that an attribute's name falls under: itself, a prefix, or a pattern with words in it."""
    for value, row in NAMED.items():
        pattern = re.sub(r"\\{[a-z]+\\}", "[a-z]+", re.escape(value)) + (".+" if value.endswith(".") else "")
        if re.fullmatch(pattern, attribute):
            return row
    return None


def test_a_stage_writes_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every attribute, event name, resource key and span attribute of a stage with one of everything is on the page,
    with the type that it has there.
    """  # noqa: D205 - one sentence that needs two lines
    monkeypatch.setenv("STAGEIO_RUN", "nightly")
    job = tmp_path / "job"
    with StageIO("two", job, stages=["one", "two"]) as two:
        two.track_output(two.save_json({}, "made.json"), "json")
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")
    monkeypatch.setenv("TRACESTATE", "congo=t61")
    one_of_everything(job)
    attempt = job / "01_one" / ".stageio" / "001"
    events, logs, spans = (
        [piece for folder in (attempt, *(attempt / "members").iterdir()) for piece in reader.pieces(str(folder / name))]
        for name in ("events.jsonl", "logs.jsonl", "traces.jsonl")
    )
    run = list(reader.pieces(str(job / ".stageio" / "runs" / "001" / "traces.jsonl")))
    lines = [line for piece in (*events, *logs, *spans, *run) for line in piece.lines]
    records = [record for line in lines for record in line.records]
    assert {line.scope.name for line in lines} == {conventions.SCOPE}

    known_events = {row.value for row in ROWS if row.type == "event"}
    assert {name for record in records if (name := getattr(record, "event_name", ""))} == known_events
    wrong = []
    for attributes in [of.attributes for of in (*records, *(line.resource for line in lines))]:
        for name, value in attributes.items():
            row = named(name)
            if name not in USERS and (row is None or not FITS[row.type](value)):
                wrong.append((name, value))
    assert wrong == []


def one_of_everything(job: Path) -> None:
    """Record a stage with each kind of event, late calls, and every kind of log record."""
    io = StageIO("one", job, stages=["one", "two"], capture="root")
    logger = io.get_stage_logger()
    with membership.wanting(io.environ()["STAGEIO_ATTEMPT"]):
        StageIO("one", job, stages=["one", "two"]).finalize("failed", reason="in a member")
    (job / "folder").mkdir()
    (job / "folder" / "a.txt").write_text("a", encoding="utf-8")
    large = io.get_output_path("large.bin")
    large.write_bytes(bytes(2 << 20))
    try:
        int("no number")
    except ValueError as error:
        io.add_error("broken", error)
        logger.exception("broken")
    logger.getChild("part").warning("part")
    io.track_input(job / "folder", "audio", format="wav")
    io.track_input("s3://bucket/key")
    io.track_input(job / "02_two" / "made.json", "json")
    io.track_input(b"\xff", checksum="off")
    io.track_intermediate(large, retained=True, reason="cache")
    io.track_output(large, checksum="stat")
    io.set_config({"model": "large", "beams": [1, 2]})
    io.add_metric("wer", 0.25, unit="1")
    io.set_resources(gpu_used=True)
    io.add_warning("x" * 1_000_000)
    io._recorder.trouble("cannot write the manifest")
    if io._git is None:
        io._recorder.event(conventions.GIT, {conventions.GIT_DIRTY: False}, call="git")
    with suppress(ValueError), io.step("decode", file="a.wav"):
        logger.info("decoding")
        raise ValueError
    too_many = {**dict.fromkeys(map(str, range(128)), 1), "words": 1}
    io.span.set_attribute("words", 142)
    io.span.add_event("tick", too_many, timestamp=1)
    io.span.add_link(trace.SpanContext(1, 2, is_remote=True), {"words": 1})
    io.span.set_status(trace.StatusCode.ERROR, "half of it")
    io.span.update_name("one of everything")
    io.finalize(status="failed", reason="broken", exit_code=3)
    io.add_warning("late")
