"""`open_job`: the stages, artifacts and log records of a job as flat rows, whatever became of the processes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.errors import JobFormatError
from otel_stageio.job import attempts, identity, registry, status
from otel_stageio.job.layout import LOG_RECORDS, JobLayout, StageLayout, all_stages, stages
from otel_stageio.journal import reader
from otel_stageio.read import pipelines
from otel_stageio.views.manifest import dump, manifest
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from otel_stageio.model import LogRecord
    from otel_stageio.views.summary import Summary

Row = dict[str, Any]
_LISTS = {"inputs": "input", "outputs": "output", "intermediate_files": "intermediate"}
_STAGE_KEYS = (
    *("stage", "stage_number", "item", "status", "reason", "run", "run_name", "attempt", "started_at", "completed_at"),
    "duration_seconds",
)
_LOG_KEYS = {
    "step": names.STEP,
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


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt that left a start on record, with its status as it stands now: a dead one is not running."""

    stage: StageLayout
    number: int
    summary: Summary
    #: Seconds without a sign of life, where nothing else tells whether it runs.
    silent: float | None = None

    @property
    def live(self) -> bool:
        """Whether it is still being written: a line without its end is then not there yet."""
        return self.summary.status == names.RUNNING

    def manifest(self) -> Row:
        """What manifest.json says of it, made from the journal."""
        state = attempts.state(self.stage, self.number, live=self.live)
        document: Row = json.loads(dump(manifest(state)))  # as the file has it: bytes as text
        for each in (document, *document["steps"]):
            if each["status"] == names.RUNNING:
                each["status"] = self.summary.status
        return document

    def log_records(self) -> Iterator[LogRecord]:
        """Its log records in the order in which they were written, then its members'."""
        for folder in (self.stage.attempt_dir(self.number), *self.stage.members(self.number)):
            yield from reader.log_records(str(folder / LOG_RECORDS), live=self.live)


class Job:
    """A job folder, read anew at every call: what is asked while stages run is as of that moment.

    Rows are mappings of plain values, the same keys for every row of a kind and metadata besides, so that
    ``pandas.DataFrame(job.stages)`` works.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """See `open_job`."""
        self.path = Path(path)
        self._layout = JobLayout(self.path)
        job_id = identity.read_job_id(self._layout)
        if job_id is None:
            raise JobFormatError(
                f"{self.path} is no job folder: it has no .stageio/job.json that names a job. Give the folder that "
                f"StageIO was given as output_base (by default `out`)"
            )
        self.job_id = job_id

    def __repr__(self) -> str:
        """Name the folder and the id."""
        return f"<Job {self.job_id} in {self.path}>"

    def overview(self) -> Row | None:
        """The job manifest as of now: the state of each stage, and of its items their number; None where nothing ran.

        Costs the same for ten items and for ten thousand that ended. Raises OSError where the folder cannot be read.
        """
        return registry.overview(self._layout)

    def unreadable(self, known: Collection[str] = ()) -> list[str]:
        """Why stages of the job cannot be read, a line for each; those whose folders are `known` are not looked at."""
        found = []
        for stage in stages(self._layout):
            if stage.place not in known:
                try:
                    status.newest(stage)
                except OSError as why:
                    found.append(f"{stage.place} cannot be read: {why}")
        return found

    @property
    def stages(self) -> list[Row]:
        """The newest attempt of each stage, and of each item of it, in the order of the numbers."""
        return [_stage_row(known[-1]) for known in self._known()]

    def attempts(self) -> list[Row]:
        """Every attempt of every stage and item, the oldest first."""
        return [_stage_row(attempt) for known in self._known() for attempt in known]

    def pipelines(self) -> list[Row]:
        """Every `stageio run` of a pipeline through the job, the oldest first: its command, and how it stands or ended.

        Keys as for stages, and `command` (a list of words; JSON text, cut, where it is very long), `exit_code` (None
        where a signal ended it) and `reason`.
        Raises OSError where the job folder cannot be read.
        """
        return pipelines.rows(self._layout)

    def manifest(self, stage: str, item: str | None = None) -> Row:
        """The manifest of the newest attempt of the stage, or of an item of it, made from the journal.

        The stage is given with its number (``06_asr``) or without; of several of that name it is the one with the
        highest number. Raises KeyError for one that there is not.
        """
        found = [known[-1] for known in self._known(stage, item or "")]
        if not found:
            raise KeyError(f"{stage}:{item}" if item else stage)
        return found[-1].manifest()

    def artifacts(self) -> list[Row]:
        """Inputs, outputs and intermediate files of the newest attempt of each stage and item, as they were tracked.

        Metadata has its own keys; what collided with a key of ours is under ``metadata.<key>``.
        """
        return [row for known in self._known() for row in _artifact_rows(known[-1].manifest())]

    def logs(self, *, stage: str | None = None, item: str | None = None, level: str | None = None) -> list[Row]:
        """The log records of every attempt, in the order of time; of one stage, item or level name where given."""
        wanted = None if level is None else level.upper()
        found = [
            (record.time_unix_nano, _log_row(attempt, record))
            for known in self._known(stage, item)
            for attempt in known
            for record in attempt.log_records()
            if wanted is None or record.severity_text == wanted
        ]
        return [row for _, row in sorted(found, key=lambda each: each[0])]

    def _known(self, name: str | None = None, item: str | None = None) -> Iterator[list[_Attempt]]:
        """The attempts on record of every stage and item, or of those of that name; none of these lists is empty.

        With an `item` it is that one, with "" no item.
        """
        for stage in all_stages(self._layout):
            if name not in (None, stage.name, stage.whole.place) or item not in (None, stage.item):
                continue
            known = list(_attempts(stage))
            if known:
                yield known


def _attempts(stage: StageLayout) -> Iterator[_Attempt]:
    on_disk = stage.attempts()
    for number in on_disk:
        known = status.read_summary(stage, number)
        if known is not None:
            stands = status.standing(known, str(stage.lock), newest=number == on_disk[-1])
            yield _Attempt(stage, number, known._replace(status=stands.status), stands.silent)


def _stage_row(attempt: _Attempt) -> Row:
    document = attempt.manifest()
    row: Row = {key: document.get(key) for key in _STAGE_KEYS}
    row["folder"] = attempt.stage.place
    row.update({key: len(document[key]) for key in (*_LISTS, "warnings", "errors")})
    row.update({key: document[key] for key in ("trace_id", "span_id")})
    row["host"] = document["host"].get("name")
    row["pid"] = document["process"].get("pid")
    row["silent_seconds"] = None if attempt.silent is None else round(attempt.silent, 3)
    return row


def _artifact_rows(document: Row) -> Iterator[Row]:
    about = {name: document.get(name) for name in ("stage", "stage_number", "item", "run", "attempt")}
    for key, role in _LISTS.items():
        for entry in document[key]:
            row = {**about, "role": role}
            metadata = dict(entry.get("metadata", {}))
            for name, of in entry.items():
                if name in row:  # the user's word for it: ours says which stage this is
                    metadata[name] = of
                elif name != "metadata":
                    row[name] = of
            yield {**row, **{f"metadata.{name}": of for name, of in metadata.items()}}


def _log_row(attempt: _Attempt, record: LogRecord) -> Row:
    row: Row = {
        "timestamp": rfc3339(record.time_unix_nano),
        "stage": attempt.stage.name,
        "stage_number": attempt.stage.number,
        "item": attempt.stage.item or None,
        "attempt": attempt.number,
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
    return [Job(folder) for folder in job_folders(root)]


def is_job(folder: str) -> bool:
    """Whether the folder itself says that it is a job, whatever of it can be read."""
    return os.path.lexists(JobLayout(Path(folder)).job_json)


def job_folders(root: str | os.PathLike[str]) -> Iterator[str]:
    """Where those are, without opening any. Raises OSError where `root` is no folder that can be read."""
    os.listdir(root)
    for folder, below, _ in os.walk(root):
        if is_job(folder):
            yield folder
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
