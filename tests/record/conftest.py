"""Reading a stage back from disk, and holding what is there against the journal and the schemas."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jsonschema
import pytest

from otel_stageio.job import attempts
from otel_stageio.job.layout import TRACES, StageLayout
from otel_stageio.journal import reader
from otel_stageio.views import logline, manifest

if TYPE_CHECKING:
    from otel_stageio import StageIO
    from otel_stageio.model import LogRecord, Span
    from otel_stageio.views.logline import ParsedRecord

SCHEMAS = Path(__file__).resolve().parents[2] / "otel_stageio" / "views" / "schemas"


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a stage left on disk."""

    #: manifest.json; with ``enable_manifest=False`` what it would say.
    manifest: dict[str, Any]
    #: The records of stage.log, of all attempts.
    log: list[ParsedRecord]
    #: The attempt's journal: its events and its log records.
    events: list[LogRecord]
    records: list[LogRecord]
    #: The stage's span, where it has ended.
    span: Span | None

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Level and message of each record in stage.log."""
        return [(each.level, each.message) for each in self.log]

    def entry(self, role: str = "inputs") -> dict[str, Any]:
        """The only artifact of a role."""
        (found,) = self.manifest[role]
        return found

    @property
    def warnings(self) -> list[str]:
        """The messages of the manifest's warnings."""
        return [each["message"] for each in self.manifest["warnings"]]

    def named(self, event: str) -> list[LogRecord]:
        """The events of one name."""
        return [each for each in self.events if each.event_name == event]


class Tell(Protocol):
    """Reads a stage back; see `told`."""

    def __call__(self, io: StageIO) -> Told: ...


@pytest.fixture
def told() -> Tell:
    """Give a function that reads a stage back, after it has proved what holds of every stage.

    manifest.json is byte for byte the fold of the journal, it and the job manifest are valid by their schemas, every
    record has the stage's trace, and no line of the journal is broken.
    """

    def tell(io: StageIO) -> Told:
        io.refresh()
        stage = StageLayout(io._opened.job, io.stage_number, io.stage_name)
        attempt = io._opened.attempt
        folded = manifest.manifest(attempts.state(stage, attempt))
        document = json.loads(manifest.dump(folded))
        if stage.manifest.exists():
            assert stage.manifest.read_bytes() == manifest.dump(folded)
            assert [each for each in folded["degraded"] if "was cut to fit" not in each] == []
        validate(document, of="inputs")
        if stage.job.manifest.exists():
            validate(json.loads(stage.job.manifest.read_bytes()), of="stages")
        records = list(attempts.records(stage, attempt))
        assert {each.trace_id for each in records} == {document["trace_id"]}
        spans = list(reader.spans(str(stage.attempt_dir(attempt) / TRACES)))
        for path in stage.attempt_dir(attempt).glob("*.jsonl"):
            assert not [piece for piece in reader.pieces(str(path)) if piece.broken]
        with open(stage.log, encoding="utf-8", newline="\n") as file:
            log = list(logline.parse(file))
        return Told(
            manifest=document,
            log=log,
            events=[each for each in records if each.event_name],
            records=[each for each in records if not each.event_name],
            span=next((each for each in spans if each.span_id == document["span_id"]), None),
        )

    return tell


def validate(document: object, *, of: str) -> None:
    """Hold a document against the one schema that knows the key `of`."""
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")]
    (schema,) = [schema for schema in schemas if of in schema["properties"]]
    jsonschema.validate(document, schema)
