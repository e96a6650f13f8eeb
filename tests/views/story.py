"""What a stage says, put together by hand: the recorder's part, with a clock and ids that do not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

import otel_stageio.views
from otel_stageio import conventions as names
from otel_stageio.model import LogRecord
from otel_stageio.views import manifest
from otel_stageio.views.state import StageState, fold

SCHEMAS = Path(otel_stageio.views.__file__).parent / "schemas"
#: 2025-11-27 12:30:01.123456 UTC.
BEGAN = 1_764_246_601_123_456_789
SECOND = 1_000_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
ROOT = "00f067aa0ba902b7"
JOB = "6a6f622d69643031"
SHA = "sha256:" + "ab" * 32


def schema(name: str) -> dict[str, Any]:
    """One of the JSON Schemas that the package ships: ``manifest`` or ``job_manifest``."""
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


_VALIDATORS = {name: jsonschema.Draft202012Validator(schema(name)) for name in ("manifest", "job_manifest")}


def validate(name: str, document: object) -> None:
    """Raise jsonschema.ValidationError where the document, as it stands in its file, is not what the schema says."""
    _VALIDATORS[name].validate(json.loads(manifest.dump(document)))  # type: ignore[arg-type] # some are wrong on purpose


def about(**more: Any) -> dict[str, Any]:
    """What a started event says; `more` by the constants' names in conventions, None leaves one out."""
    said = {
        names.STAGE_NAME: "asr",
        names.STAGE_NUMBER: 6,
        names.STAGE_ATTEMPT: 1,
        names.STAGE_MANIFEST: True,
        names.JOB_ID: JOB,
        names.RUN: 1,
        names.RUN_SPAN_ID: ROOT,
        names.HOST_NAME: "node1",
        "host.arch": "amd64",
        "os.type": "linux",
        "os.version": "6.1",
        names.PROCESS_PID: 4711,
        "process.parent_pid": 4700,
        "process.executable.path": "/usr/bin/python3",
        names.PROCESS_COMMAND_ARGS: ["python3", "asr.py", "--lang", "de"],
        "process.working_directory": "/data",
        "process.owner": "ada",
        "process.runtime.name": "cpython",
        "process.runtime.version": "3.11.7",
        names.BOOT_ID: "b00t",
    }
    said.update({getattr(names, key): value for key, value in more.items()})
    return {key: value for key, value in said.items() if value is not None}


class Writer:
    """A writer of one attempt's records: each comes a second after the one before and has the next uid."""

    def __init__(self, writer: str = "w", *, at: int = BEGAN, step: int = SECOND) -> None:
        """Begin at the time `at` with no record."""
        self.writer, self.at, self.step = writer, at, step
        self.records: list[LogRecord] = []

    def _add(self, **fields: Any) -> LogRecord:
        fields["attributes"] = {**fields["attributes"], names.LOG_RECORD_UID: f"{self.writer}-{len(self.records) + 1}"}
        self.records.append(
            LogRecord(time_unix_nano=self.at, **{"trace_id": TRACE, "span_id": SPAN, "flags": 1, **fields})
        )
        self.at += self.step
        return self.records[-1]

    def event(
        self,
        name: str,
        attributes: dict[str, Any] | None = None,
        *,
        body: Any = None,
        severity: int = 9,
        span_id: str = SPAN,
    ) -> LogRecord:
        """An event of the stage, by the span `span_id`."""
        return self._add(
            event_name=name,
            severity_number=severity,
            severity_text={9: "INFO", 13: "WARNING", 17: "ERROR"}[severity],
            body=body,
            attributes=attributes or {},
            span_id=span_id,
        )

    def log(self, level: str, message: str, **attributes: Any) -> LogRecord:
        """A log record."""
        numbers = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21}
        return self._add(
            severity_number=numbers.get(level, 9), severity_text=level, body=message, attributes=attributes
        )

    def start(self, **more: Any) -> LogRecord:
        """The started event, see `about`."""
        return self.event(names.STARTED, about(**more))

    def finish(self, status: str = "success", **more: Any) -> LogRecord:
        """The finished event; `more` are attributes by the constants' names."""
        attributes = {names.STATUS: status, **{getattr(names, key): value for key, value in more.items()}}
        return self.event(names.FINISHED, attributes, severity=17 if status == "failed" else 9)

    def track(self, role: str, path: str, kind: str = "file", /, **more: Any) -> LogRecord:
        """An artifact's event; keywords with a constant's name are its attributes, any other is metadata."""
        attributes: dict[str, Any] = {names.FILE_PATH: path, names.ARTIFACT_ROLE: role, names.ARTIFACT_TYPE: kind}
        if role == "intermediate":
            attributes |= {names.ARTIFACT_RETAINED: False, names.ARTIFACT_REASON: ""}
        for key, value in more.items():
            ours = key.isupper() and hasattr(names, key)
            attributes[getattr(names, key) if ours else names.ARTIFACT_METADATA + key] = value
        return self.event({"input": names.INPUT, "output": names.OUTPUT}.get(role, names.INTERMEDIATE), attributes)

    def digest(self, role: str, path: str, /, **more: Any) -> LogRecord:
        """A digest's event; `more` are attributes by the constants' names."""
        attributes = {getattr(names, key): value for key, value in more.items()}
        return self.event(names.DIGEST, {names.ARTIFACT_ROLE: role, names.FILE_PATH: path, **attributes})

    def config(self, **values: Any) -> LogRecord:
        """A configuration event."""
        return self.event(names.CONFIG, {names.CONFIG_KEY + key: value for key, value in values.items()})

    def metric(self, name: str, value: Any, unit: str = "1") -> LogRecord:
        """A figure's event."""
        return self.event(names.METRIC, {names.METRIC_NAME: name, names.METRIC_VALUE: value, names.METRIC_UNIT: unit})

    def begin_step(self, path: str, span_id: str, /, **attributes: Any) -> LogRecord:
        """The beginning of a step, whose span has the id `span_id`."""
        given = {names.STEP_ATTRIBUTE + key: value for key, value in attributes.items()}
        return self.event(names.STEP_STARTED, {names.STEP: path, **given}, span_id=span_id)

    def end_step(self, span_id: str, status: str = "success", /, duration: float = 1.0, **more: Any) -> LogRecord:
        """Its end; `duration` in seconds, `more` are attributes by the constants' names."""
        said = {names.STATUS: status, names.STEP_DURATION: duration}
        said.update({getattr(names, key): value for key, value in more.items()})
        return self.event(names.STEP_FINISHED, said, span_id=span_id)

    def told_span(self, event: str, attributes: dict[str, Any] | None = None, /, **more: Any) -> LogRecord:
        """What the stage's span was told; `attributes` are the user's, `more` ours by the constants' names."""
        said = {getattr(names, key): value for key, value in more.items()}
        said.update({names.SPAN_ATTRIBUTE + key: value for key, value in (attributes or {}).items()})
        return self.event(event, said)

    def warning(self, message: str) -> LogRecord:
        """An add_warning's event."""
        return self.event(names.WARNING, body=message, severity=13)

    def error(self, message: str, **more: Any) -> LogRecord:
        """An add_error's event; `more` are attributes by the constants' names."""
        return self.event(
            names.ERROR, {getattr(names, key): value for key, value in more.items()}, body=message, severity=17
        )

    @property
    def state(self) -> StageState:
        """What the records so far fold to."""
        return fold(self.records)


def whole_story() -> Writer:
    """A stage that says everything there is to say, and ends as failed."""
    w = Writer()
    w.start(RUN_NAME="nightly", JOB_STAGES=["ingest", "asr", "subtitle"])
    w.config(model="base.en", beam={"size": 5, "temperature": [0.0, 0.2]}, note="süß \u2028")
    w.log("DEBUG", "cache is cold")
    w.track(
        "input",
        "05_segment/segments.json",
        "segments",
        FILE_SIZE=120,
        FILE_MODIFIED="2025-11-27T12:00:00.000000Z",
        ARTIFACT_CHECKSUM=SHA,
        ARTIFACT_CHECKSUM_METHOD="sha256",
        count=2,
        path="collides",
    )
    w.track("input", "gone.wav", "audio", ARTIFACT_KIND="missing")
    w.warning("input gone.wav is missing")
    w.log("WARNING", "input gone.wav is missing")
    w.track("input", "s3://bucket/lexicon.txt", "lexicon", ARTIFACT_KIND="remote", raw=b"\0\xff")
    w.track(
        "output",
        "06_asr/model.bin",
        "model",
        FILE_SIZE=2_000_000,
        ARTIFACT_CHECKSUM_METHOD="sha256",
        ARTIFACT_CHECKSUM_PROBLEM="not computed yet",
        layers=[{"name": "conv", "size": [3, 3]}],
        none=None,
    )
    w.track("output", "06_asr/transcript.json", "transcript", FILE_SIZE=9, ARTIFACT_CHECKSUM=SHA)
    w.track("intermediate", "06_asr/.cache", "cache", ARTIFACT_KIND="folder", ARTIFACT_FILES=3, FILE_SIZE=77)
    w.metric("wer", 0.25)
    w.metric("wer", 0.125)
    w.metric("segments", 2, "{segment}")
    w.log("INFO", "two\nlines")
    w.digest(
        "output",
        "06_asr/model.bin",
        FILE_SIZE=2_000_001,
        ARTIFACT_CHECKSUM=SHA,
        ARTIFACT_CHECKSUM_METHOD="sha256",
    )
    w.event(names.RESOURCES, {f"{names.RESOURCE_KEY}gpu": "none"})
    w.event(names.GIT, {names.VCS_REVISION: "c0ffee" * 6 + "c0ff", names.VCS_BRANCH: "main", names.GIT_DIRTY: True})
    w.event(names.DEGRADED, body="cannot write the manifest: OSError: [Errno 28] No space left on device", severity=13)
    w.log("NOTICE", "a level of the program's own")
    w.error(
        "decoder failed",
        EXCEPTION_TYPE="ValueError",
        EXCEPTION_MESSAGE="no frames",
        EXCEPTION_STACKTRACE="Traceback (most recent call last):\n  ...\nValueError: no frames",
    )
    w.log("ERROR", "decoder failed", **{names.EXCEPTION_STACKTRACE: "Traceback ...\nValueError: no frames"})
    finish = {f"{names.EXTRA_KEY}exit_code": 3, f"{names.RESOURCE_KEY}wall_seconds": 21.5}
    w.event(
        names.FINISHED,
        {names.STATUS: "failed", names.ERROR_TYPE: "ValueError", names.REASON: "ValueError: no frames", **finish},
        severity=17,
    )
    return w
