"""A fixed story, with a fixed clock and ids, byte for byte: tests/golden holds what its files look like.

Where a change of the format is meant, `python -m tests.views.test_golden` from the repository's root writes them anew.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.model import Resource, Scope
from otel_stageio.views import job_manifest, logline, manifest, span, summary
from otel_stageio.views.summary import Summary
from tests.views.story import BEGAN, JOB, ROOT, SECOND, TRACE, Writer, validate, whole_story

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
NAMES = ("events.jsonl", "logs.jsonl", "traces.jsonl", "stage.log", "manifest.json", "job_manifest.json")
TAIL = encode.tail(
    Scope(name=names.SCOPE, version="1.0"),
    Resource(
        attributes={
            names.SERVICE_NAME: "speech",
            names.SERVICE_INSTANCE_ID: "1a2b3c4d5e6f7081",
            names.JOB_ID: JOB,
            names.RUN: 1,
            names.TELEMETRY_SDK_NAME: names.SCOPE,
        }
    ),
)


def _stage_log(w: Writer) -> bytes:
    clock = logline.LineClock()
    offset = time.strftime("%z", time.localtime(BEGAN // SECOND))
    lines = [logline.header(clock.text(BEGAN), offset, stage="asr", number=6, attempt=1, run=1, pid=4711, host="node1")]
    lines += [
        logline.render(
            clock.text(record.time_unix_nano),
            logline.tag("asr"),
            logline.tag(record.severity_text),
            str(record.body),
            str(record.attributes.get(names.EXCEPTION_STACKTRACE, "")),
        )
        for record in w.records
        if not record.event_name
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _job_manifest(w: Writer) -> bytes:
    known: Summary | None = None
    for record in w.records:
        known = summary.add(known, record)
    assert known is not None
    ingest = Summary(
        stage="ingest", stage_number=1, attempt=2, run=1, status="success", started=BEGAN - 9 * SECOND, ended=BEGAN
    )
    subtitle = Summary(stage="subtitle", stage_number=7, attempt=1, run=1, status="lost", started=BEGAN + 9 * SECOND)
    document = job_manifest.job_manifest(
        job_id=JOB,
        run={
            "run": 1,
            "name": "nightly",
            "trace_id": TRACE,
            "span_id": ROOT,
            "pipeline_log": "logs/99_pipeline_20251127_133001.log",
            "host": "node1",
            "created_unix_nano": BEGAN - 9 * SECOND,
        },
        stages=[("06_asr", known), ("01_ingest", ingest), ("07_subtitle", subtitle)],
        before={"pipeline": "dub", "status": "queued", "stages": [{"name": "mix", "state": "waiting"}, "asr"]},
    )
    validate("job_manifest", document)
    return manifest.dump(document)


def tell(w: Writer) -> dict[str, bytes]:
    """The story's files, by name. Local time must be Berlin's."""
    of_stage = span.span(w.state)
    assert of_stage is not None
    document = manifest.manifest(w.state)
    validate("manifest", document)
    return {
        "events.jsonl": b"".join(encode.log_line(record, TAIL) for record in w.records if record.event_name),
        "logs.jsonl": b"".join(encode.log_line(record, TAIL) for record in w.records if not record.event_name),
        "traces.jsonl": encode.span_line(of_stage, TAIL),
        "stage.log": _stage_log(w),
        "manifest.json": manifest.dump(document),
        "job_manifest.json": _job_manifest(w),
    }


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The story's files as they are made now."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        files = tell(whole_story())
    time.tzset()
    return files


@pytest.mark.parametrize("name", NAMES)
def test_the_story_is_told_as_ever(told, name):
    """Each file of the story is, byte for byte, what it was when it was last looked at."""
    assert told[name].decode().splitlines() == (GOLDEN / name).read_text(encoding="utf-8").splitlines()
    assert told[name] == (GOLDEN / name).read_bytes()


def test_nothing_else_lies_there():
    """The folder holds the story's files and no others."""
    assert sorted(os.listdir(GOLDEN)) == sorted(NAMES)


if __name__ == "__main__":
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    for file, content in tell(whole_story()).items():
        (GOLDEN / file).write_bytes(content)
