"""`open_job`: the stages, artifacts and log records of a job as flat rows, whatever became of the processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.errors import JobFormatError
from otel_stageio.job import attempts, identity, status
from otel_stageio.job.layout import LOG_RECORDS, JobLayout, StageLayout, stage_folders
from otel_stageio.journal import reader
from otel_stageio.views.manifest import manifest
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.model import LogRecord

Row = dict[str, Any]
_LISTS = {"inputs": "input", "outputs": "output", "intermediate_files": "intermediate"}
_STAGE_KEYS = ("stage", "stage_number", "status", "reason", "run", "run_name", "attempt", "started_at", "completed_at")
_LOG_KEYS = {
    "logger": names.LOGGER,
    "file": names.CODE_FILE_PATH,
    "line": names.CODE_LINE_NUMBER,
    "function": names.CODE_FUNCTION_NAME,
    "thread": names.THREAD_NAME,
    "exception_type": names.EXCEPTION_TYPE,
    "exception_message": names.EXCEPTION_MESSAGE,
    "stacktrace": names.EXCEPTION_STACKTRACE,
}
_OWN = {*_LOG_KEYS.values(), names.LOG_RECORD_UID}


class Job:
    """A job folder, read anew at every call: what is asked while stages run is as of that moment.

    Rows are mappings of plain values, the same keys for every row of a kind, so ``pandas.DataFrame(job.stages)`` works.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """See `open_job`."""
        self.path = Path(path)
        self._layout = JobLayout(self.path)
        job_id = identity.read_job_id(self._layout)
        if job_id is None:
            raise JobFormatError(
                f"{self.path} is no job folder: it has no .stageio/job.json. Give the folder that StageIO was given "
                f"as output_base (by default `out`)"
            )
        self.job_id = job_id

    def __repr__(self) -> str:
        """Name the folder and the id."""
        return f"<Job {self.job_id} in {self.path}>"

    @property
    def stages(self) -> list[Row]:
        """The newest attempt of each stage, in the order of the numbers."""
        return [self._row(stage, numbers[-1]) for stage, numbers in self._known()]

    def attempts(self) -> list[Row]:
        """Every attempt of every stage, the oldest first."""
        return [self._row(stage, number) for stage, numbers in self._known() for number in numbers]

    def manifest(self, stage: str) -> Row:
        """The manifest of the stage's newest attempt, made from the journal. Raises KeyError for an unknown stage."""
        for layout, numbers in self._known():
            if stage in (layout.name, layout.folder.name):
                return self._manifest(layout, numbers[-1])
        raise KeyError(stage)

    def artifacts(self) -> list[Row]:
        """Inputs, outputs and intermediate files of the newest attempt of each stage, in the order of tracking.

        Metadata has its own keys; what collided with a key of ours is under ``metadata.<key>``.
        """
        rows = []
        for layout, numbers in self._known():
            document = self._manifest(layout, numbers[-1])
            for key, role in _LISTS.items():
                for entry in document[key]:
                    about = {name: document[name] for name in ("stage", "stage_number", "run", "attempt")}
                    collided = {f"metadata.{name}": of for name, of in entry.get("metadata", {}).items()}
                    plain = {name: of for name, of in entry.items() if name != "metadata"}
                    rows.append({**about, "role": role, **plain, **collided})
        return rows

    def logs(self, *, stage: str | None = None, level: str | None = None) -> list[Row]:
        """The log records of every attempt, in the order of time; of one stage or one level name where given."""
        found = []
        for layout, numbers in self._known():
            if stage is not None and stage not in (layout.name, layout.folder.name):
                continue
            for number in numbers:
                path = str(layout.attempt_dir(number) / LOG_RECORDS)
                for record in reader.log_records(path, live=True):
                    if level is None or record.severity_text == level:
                        found.append((record.time_unix_nano, _log_row(layout, number, record)))
        return [row for _, row in sorted(found, key=lambda each: each[0])]

    def _known(self) -> Iterator[tuple[StageLayout, list[int]]]:
        """Every stage that left a start on record, with its attempts that did."""
        for folder in stage_folders(self.path):
            stage = StageLayout(self._layout, folder.number, folder.name)
            if stage.folder.name != folder.folder:  # "6_asr": somebody else's, ours is 06_asr
                continue
            numbers = [number for number in stage.attempts() if status.read_summary(stage, number)]
            if numbers:
                yield stage, numbers

    def _manifest(self, stage: StageLayout, attempt: int) -> Row:
        """The manifest of an attempt, with the status as it stands: a dead attempt is not running."""
        document = manifest(attempts.state(stage, attempt, live=True))
        known = status.read_summary(stage, attempt)
        if known is not None and document["status"] == names.RUNNING:
            newest = stage.attempts()[-1] == attempt
            document["status"] = status.alive(known, str(stage.lock)).status if newest else names.ABANDONED
        return document

    def _row(self, stage: StageLayout, attempt: int) -> Row:
        document = self._manifest(stage, attempt)
        row: Row = {key: document.get(key) for key in _STAGE_KEYS}
        row["duration_seconds"] = document["duration_seconds"]
        row["folder"] = stage.folder.name
        row.update({key: len(document[key]) for key in (*_LISTS, "warnings", "errors")})
        row.update({key: document[key] for key in ("trace_id", "span_id")})
        row["host"] = document["host"].get("name")
        row["pid"] = document["process"].get("pid")
        return row


def _log_row(stage: StageLayout, attempt: int, record: LogRecord) -> Row:
    row: Row = {
        "timestamp": rfc3339(record.time_unix_nano),
        "stage": stage.name,
        "stage_number": stage.number,
        "attempt": attempt,
        "level": record.severity_text,
        "severity_number": record.severity_number,
        "message": record.body,
    }
    row.update({key: record.attributes.get(name) for key, name in _LOG_KEYS.items()})
    row.update({"trace_id": record.trace_id, "span_id": record.span_id})
    row.update({f"extra.{key}": of for key, of in record.attributes.items() if key not in _OWN})
    return row


def open_job(path: str | os.PathLike[str]) -> Job:
    """Open a job folder for reading. Nothing is written, and stages that run in it are not disturbed.

    Raises JobFormatError where the folder is no job or was written by a newer major version.
    """
    return Job(path)


def open_jobs(root: str | os.PathLike[str]) -> list[Job]:
    """Every job folder at or below `root`, sorted by path; folders inside a job are not looked through.

    Raises JobFormatError as `open_job`, NotADirectoryError and FileNotFoundError where `root` is no folder.
    """
    os.listdir(root)
    found = []
    for folder, below, _ in os.walk(root):
        layout = JobLayout(Path(folder))
        if layout.job_json.exists():
            found.append(Job(folder))
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
    return found
