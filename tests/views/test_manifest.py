"""manifest.json of a stage."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from otel_stageio import conventions as names
from otel_stageio.views import artifacts, manifest
from tests.journal import samples
from tests.journal.samples import unhurried
from tests.views.story import SHA, Writer, schema, validate, whole_story


def made(w: Writer, **how: Any) -> dict[str, Any]:
    """The manifest of the records, which the schema must allow."""
    document = manifest.manifest(w.state, **how)
    validate("manifest", document)
    return document


def test_before_the_start_there_is_none():
    """Without a started event there is nothing to show."""
    assert manifest.manifest(Writer().state) == {}


def test_a_stage_that_runs():
    """From its start on, a manifest has every key; what only the end knows is null."""
    w = Writer()
    w.start()
    assert made(w) == {
        "schema_version": "1.0",
        "stage": "asr",
        "stage_number": 6,
        "status": "running",
        "attempt": 1,
        "run": 1,
        "started_at": "2025-11-27T12:30:01.123456Z",
        "completed_at": None,
        "duration_seconds": None,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "job_id": "6a6f622d69643031",
        "inputs": [],
        "outputs": [],
        "intermediate_files": [],
        "steps": [],
        "config": {},
        "metrics": {},
        "resources": {},
        "warnings": [],
        "errors": [],
        "log_counts": {"DEBUG": 0, "INFO": 0, "WARNING": 0, "ERROR": 0, "CRITICAL": 0},
        "extra": {},
        "host": {"name": "node1", "arch": "amd64", "os_type": "linux", "os_version": "6.1"},
        "process": {
            "pid": 4711,
            "parent_pid": 4700,
            "executable_path": "/usr/bin/python3",
            "working_directory": "/data",
            "owner": "ada",
        },
        "command": ["python3", "asr.py", "--lang", "de"],
        "python": {"implementation": "cpython", "version": "3.11.7"},
        "redacted": 0,
        "degraded": [],
    }


@pytest.mark.parametrize(
    ("status", "reason"), [("success", None), ("skipped", "no reference"), ("failed", "no frames")]
)
def test_a_stage_that_ended(status, reason):
    """The end brings status, time, duration, and the reason where one was given."""
    w = Writer()
    w.start(RUN_NAME="nightly")
    w.finish(status, **({"REASON": reason} if reason else {}))
    document = made(w)
    assert document["status"] == status
    assert document.get("reason") == reason
    assert document["run_name"] == "nightly"
    assert document["completed_at"] == "2025-11-27T12:30:02.123456Z"
    assert document["duration_seconds"] == 1.0


def test_the_whole_story_is_valid():
    """A manifest with everything in it is what the schema says, and reads back from its file as it was."""
    document = made(whole_story())
    back = json.loads(manifest.dump(document))
    assert [*back] == [*document]
    assert back["config"]["note"] == "süß \u2028"
    assert back["inputs"][2]["raw"] == "AP8="
    assert back["git"] == {"commit": "c0ffee" * 6 + "c0ff", "branch": "main", "dirty": True}


def test_what_the_disk_refused_is_added():
    """Trouble that could not be journaled is listed behind what was."""
    w = Writer()
    w.start()
    w.event(names.DEGRADED, body="first", severity=13)
    assert made(w, degraded=["second"])["degraded"] == ["first", "second"]


@pytest.mark.parametrize(
    ("calls", "contradiction", "message"),
    [
        (1, False, "1 call after the stage was finalized"),
        (3, False, "3 calls after the stage was finalized"),
        (120, True, "121 calls after the stage was finalized, contradicting its status"),
    ],
)
def test_calls_after_the_end_are_one_warning(calls, contradiction, message):
    """Late calls are one warning at the time of the first, behind the others, with the first hundred in its list."""
    w = Writer()
    w.start()
    w.warning("before")
    w.finish()
    for _ in range(calls):
        w.event(names.CONFIG, {names.LATE: "add_config"})
    if contradiction:
        w.finish("failed", LATE="finalize")
    before, late = made(w)["warnings"]
    assert before["message"] == "before"
    assert late["message"] == message
    assert late["timestamp"] == late["calls"][0]["timestamp"] == "2025-11-27T12:30:04.123456Z"
    assert [each["call"] for each in late["calls"]] == ["add_config"] * min(calls, 100)


def test_attributes_of_a_start_that_nobody_knows():
    """What a later version says of host and process finds its place, anything else of a start is passed over."""
    w = Writer()
    w.records.append(
        samples.with_attributes(
            w.start(),
            {"host.cpu.count": 8, "os.name": "Debian", "process.cwd.inode": 5, "new.thing": 1, "hostile": 1},
        )
    )
    del w.records[0]
    document = made(w)
    assert document["host"]["cpu_count"] == 8
    assert document["host"]["os_name"] == "Debian"
    assert document["process"]["cwd_inode"] == 5
    assert "new.thing" not in json.dumps(document)


def test_a_start_of_few_words():
    """Without host, process and command the manifest has empty places for them."""
    w = Writer()
    needed = (names.STAGE_NAME, names.STAGE_NUMBER, names.STAGE_ATTEMPT, names.RUN, names.JOB_ID)
    w.event(names.STARTED, {key: of for key, of in w.start().attributes.items() if key in needed})
    del w.records[0]
    document = made(w)
    assert (document["host"], document["process"], document["python"]) == ({}, {}, {})
    assert document["command"] is None


@unhurried
@given(samples.attributes)
def test_any_values_are_written(values):
    """Values of every kind are JSON in the file: bytes as base64, text as UTF-8, nothing else changed."""
    w = Writer()
    w.start()
    w.config(**values)
    w.track("input", "a", **values)
    document = made(w)
    data = manifest.dump(document)
    assert data.endswith(b"}\n")
    assert manifest.dump(json.loads(data)) == data


def test_lone_surrogates_are_written_as_escapes():
    """Text of another program that UTF-8 cannot hold does not stop a manifest from being written."""
    assert json.loads(manifest.dump({"a": "\udcff"})) == {"a": "\udcff"}


def test_the_schema_knows_the_keys_of_the_code():
    """The schema names the artifact keys that the code reserves, in both of its places."""
    artifact = schema("manifest")["$defs"]["artifact"]["properties"]
    assert set(artifact) == artifacts.RESERVED
    assert set(artifact["metadata"]["propertyNames"]["enum"]) == artifacts.RESERVED


@pytest.mark.parametrize("name", ["manifest", "job_manifest"])
def test_the_schemas_are_schemas(name):
    """Both are valid JSON Schemas of draft 2020-12, and every property says what it means."""
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)

    def undescribed(tree: Any, where: str = "") -> list[str]:
        if isinstance(tree, list):
            return [each for index, of in enumerate(tree) for each in undescribed(of, f"{where}/{index}")]
        if not isinstance(tree, dict):
            return []
        mine = [
            f"{where}/{key}"
            for key, of in tree.get("properties", {}).items()
            if "description" not in of and not where.endswith(("/if", "/then", "/else"))
        ]
        return mine + [each for key, of in tree.items() for each in undescribed(of, f"{where}/{key}")]

    assert undescribed(found) == []


MOMENT = "2025-11-27T12:30:01.123456Z"
WRONG = [
    ("status", "done"),
    ("status", "abandoned"),
    ("stage", ""),
    ("stage_number", "6"),
    ("stage_number", -1),
    ("attempt", 0),
    ("run", None),
    ("started_at", "2025-11-27 12:30:01"),
    ("completed_at", None),
    ("duration_seconds", None),
    ("duration_seconds", -1.0),
    ("trace_id", "0" * 31),
    ("span_id", "B" * 16),
    ("inputs", {}),
    ("inputs", [{"path": "a", "size_bytes": 1, "checksum": None}]),
    ("inputs", [{"type": "a", "path": "a", "checksum": None}]),
    ("inputs", [{"type": "a", "path": "a", "size_bytes": 1.5, "checksum": None}]),
    ("inputs", [{"type": "a", "path": "a", "size_bytes": None, "checksum": "stat:" + "ab" * 32}]),
    ("inputs", [{"type": "a", "path": "a", "size_bytes": None, "checksum": None, "stat_print": SHA}]),
    ("inputs", [{"type": "a", "path": "a", "size_bytes": None, "checksum": None, "kind": "file"}]),
    ("inputs", [{"type": "a", "path": "a", "size_bytes": None, "checksum": None, "checksum_method": "md5"}]),
    ("inputs", [{"type": "a", "path": "a", "size_bytes": None, "checksum": None, "metadata": {}}]),
    ("inputs", [{"type": "a", "path": "a", "size_bytes": None, "checksum": None, "metadata": {"format": "wav"}}]),
    ("intermediate_files", [{"type": "a", "path": "a", "size_bytes": None, "checksum": None}]),
    ("steps", [{"name": "decode", "status": "done", "started_at": MOMENT, "duration_seconds": 1.0}]),
    ("steps", [{"name": "decode", "status": "success", "started_at": MOMENT}]),
    ("steps", [{"name": None, "status": "success", "started_at": MOMENT, "duration_seconds": 1.0}]),
    ("steps", [{"name": "decode", "status": "success", "started_at": "12:30", "duration_seconds": 1.0}]),
    ("steps", [{"name": "decode", "status": "success", "started_at": MOMENT, "duration_seconds": "1"}]),
    ("steps", [{"name": "decode", "status": "success", "started_at": MOMENT, "duration_seconds": 1.0, "more": 1}]),
    ("config", []),
    ("metrics", {"wer": 0.5}),
    ("metrics", {"wer": {"value": 0.5, "unit": "1", "more": 1}}),
    ("warnings", ["text"]),
    ("warnings", [{"message": "x"}]),
    ("warnings", [{"timestamp": "2025-11-27T12:30:01.123456Z", "message": "x", "calls": []}]),
    ("errors", [{"timestamp": "2025-11-27T12:30:01.123456Z", "message": "x", "calls": []}]),
    ("log_counts", {"INFO": 1}),
    ("process", {"pid": "4711"}),
    ("command", "python3 asr.py"),
    ("python", {"release": "3"}),
    ("git", {"commit": "HEAD"}),
    ("degraded", [{"message": "x"}]),
    ("unknown", 1),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{key}={value!r}"[:60] for key, value in WRONG])
def test_the_schema_catches_mistakes(key, value):
    """A manifest with one wrong value, or with a key that is not ours, is refused."""
    document = made(whole_story()) | {key: value}
    with pytest.raises(jsonschema.ValidationError):
        validate("manifest", document)


def test_the_schema_misses_no_key():
    """A manifest without any one of its keys is refused, unless that key may be absent."""
    document = made(whole_story())
    optional = {"reason", "run_name", "git"}
    for key in document.keys() - optional:
        with pytest.raises(jsonschema.ValidationError, match="is a required property"):
            validate("manifest", {name: of for name, of in document.items() if name != key})
    validate("manifest", {name: of for name, of in document.items() if name not in optional})
