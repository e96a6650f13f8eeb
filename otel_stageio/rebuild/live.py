"""A job folder that is fed while a program runs: what its exporters are given, until it is known whose it is."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.errors import JobFormatError
from otel_stageio.job import identity, runs
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.journal import files
from otel_stageio.rebuild import attempts, folder, spans_only
from otel_stageio.rebuild.sources import is_stage
from otel_stageio.rebuild.spool import Spool, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.model import Attributes, Line, Value
    from otel_stageio.rebuild.attempts import Attempt

_folders: dict[str, JobFolder] = {}
_opening = threading.Lock()


class JobFolder:
    """A job folder and what this process told of it. May be used from any thread, and from several exporters."""

    def __init__(self, path: str) -> None:
        """Write below `path`; nothing is written yet."""
        self._job = JobLayout(Path(path))
        self._lock = threading.RLock()
        self._spool = Spool()
        self._job_id = ""
        #: Numbers of the attempts on disk, by their spans, and the traces of which something new was told.
        self._settled: dict[tuple[str, str], Attempt] = {}
        self._changed: set[str] = set()
        #: What of it cannot be written, in sentences.
        self.refused: list[str] = []

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> JobFolder:
        """The one of this folder in this process."""
        key = f"{os.getpid()} {os.path.realpath(path)}"
        with _opening:
            return _folders.setdefault(key, _folders.get(key) or cls(os.path.abspath(path)))

    def add(self, lines: Iterable[Line]) -> bool:
        """Take records; the folder is written where the span of a stage is among them, or of one that is written.

        False where some of them are of another job. Raises OSError, OutputPathError, JobFormatError.
        """
        with self._lock:
            fine, ended = True, False
            for line in lines:
                if self._of_this_job(line):
                    self._spool.add(line, None)
                    self._changed.update(record.trace_id for record in line.records)
                    ended |= any(is_stage(record) for record in line.records)
                else:
                    fine = False
            if ended or any(trace in self._changed for trace, _ in self._settled):
                self._write()
            return fine and not self.refused

    def flush(self) -> None:
        """Write what is known. Raises as `add`."""
        with self._lock:
            if self._changed:
                self._write()

    def _of_this_job(self, line: Line) -> bool:
        told = {text(of, names.JOB_ID) for of in (line.resource.attributes, *(_about(line)))} - {""}
        if told and not self._job_id:
            self._job_id = min(told)
        return told <= {self._job_id}

    def _write(self) -> None:
        if not [*self._spool.ask("SELECT 1 FROM spans WHERE stage LIMIT 1")]:
            return
        on_disk = identity.read_job_id(self._job)
        self._job_id = self._job_id or on_disk or os.urandom(8).hex()
        if on_disk not in (None, self._job_id):
            raise JobFormatError(f"it holds job {on_disk}, and what was exported is of {self._job_id}")
        self.refused.clear()
        about: Attributes = {names.JOB_ID: self._job_id}
        told = attempts.find(self._spool, self.refused.append, about)
        if not told:
            return
        folder.begin(self._job, self._job_id, time.time_ns(), rebuilt=False)
        found = [self._numbered(each) for each in told]
        attempts.sort(self._spool, found)
        writer = folder.Writer(self._job, self._spool, self.refused.append, alone=False)
        for place, each in enumerate(found):
            if each.trace_id in self._changed:
                writer.write(each, place)
        writer.finish(self._job_id)
        self._changed.clear()

    def _numbered(self, of: Attempt) -> Attempt:
        """The attempt with its run and number, which are its own from now on, and with its events."""
        key = (of.trace_id, of.span_id)
        known = self._settled.get(key)
        if known is None:
            run = of.run or self._run(of.trace_id)
            stage = StageLayout(self._job, of.stage_number, of.stage, of.item)
            number = of.number or max(stage.attempts(), default=0) + 1
            files.make_folders(str(stage.inner))
            while not files.claim_folder(str(stage.attempt_dir(number))):
                number += 1
            known = self._settled[key] = of._replace(run=run, number=number)
            on_disk = runs.read(self._job, run)
            began = on_disk.created_unix_nano if on_disk else of.began
            about: dict[str, Value] = {names.RUN_BEGAN: began}
            if on_disk is not None:
                about[names.RUN_LOG] = on_disk.pipeline_log
            spans_only.complete(self._spool, known, about)
        return known

    def _run(self, trace_id: str) -> int:
        known = runs.numbers(self._job)
        for number in reversed(known):
            run = runs.read(self._job, number)
            if run is not None and run.trace_id == trace_id:
                return number
        mine = {of.trace_id: of.run for of in self._settled.values()}
        return mine.get(trace_id) or 1 + max([*known, *mine.values()], default=0)


def _about(line: Line) -> list[Attributes]:
    return [record.attributes for record in line.records]
