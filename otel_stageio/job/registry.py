"""Keeping the job manifest: who calls has changed a stage, what others changed since is found by looking.

Under the job's lock the folder is looked through: a stage costs a list of its attempts and one `stat`, and its journal
is read again only where one of them changed. What was found is kept in .stageio/stages.json, which holds nothing that
the journals do not and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import identity, links, locks, runs, status
from otel_stageio.job.layout import EVENTS, JobLayout, StageLayout, stage_folders
from otel_stageio.journal import files
from otel_stageio.views import job_manifest
from otel_stageio.views.manifest import dump
from otel_stageio.views.summary import Summary

CACHE = "stages.json"
#: Seconds to wait for the job's lock; fifty stages that end at once need a fraction of it.
LOCK_PATIENCE = 5.0


class _Known(NamedTuple):
    """A stage as it was when it was last looked at: its newest attempt, and size and time of that one's events."""

    print: tuple[int, int, int]
    summary: Summary


def update(job: JobLayout) -> None:
    """Bring the job manifest up to date. Raises OSError.

    Without the lock (a file system that has none) it is written all the same: it is derived from the journals, so the
    worst is that it is late until the next stage.
    """
    links.avoid(job.root, job.inner)
    with locks.job_lock(str(job.lock), LOCK_PATIENCE):
        before = _load_cache(job)
        now = look(job, before)
        if now != before:
            made = {folder: {**of._asdict(), "summary": of.summary._asdict()} for folder, of in now.items()}
            files.replace(str(job.inner / CACHE), json.dumps(made).encode())
        document = compose(job, {folder: of.summary for folder, of in now.items()}, _standing(job))
        if document is not None:
            files.replace(str(job.manifest), dump(document))


def look(job: JobLayout, before: dict[str, _Known]) -> dict[str, _Known]:
    """Every stage of the job that left a record, by folder. Raises OSError where the job folder cannot be read."""
    found: dict[str, _Known] = {}
    for folder in stage_folders(job.root):
        if not folder.ours:
            continue
        with contextlib.suppress(OSError):  # a stage folder that vanishes or cannot be read is no stage
            of = _look_at(StageLayout(job, folder.number, folder.name), before.get(folder.folder))
            if of is not None:
                found[folder.folder] = of
    return found


def _look_at(stage: StageLayout, before: _Known | None) -> _Known | None:
    attempts = stage.attempts()
    if not attempts:
        return None
    seen = _print(stage, attempts[-1])
    if before is not None and before.print == seen:
        return before
    for attempt in reversed(attempts):
        known = status.read_summary(stage, attempt)
        if known is not None:
            return _Known(print=seen, summary=known)
    return None


def _print(stage: StageLayout, attempt: int) -> tuple[int, int, int]:
    """What changes when the attempt says more; taken before it is read, so that nothing said meanwhile is missed."""
    try:
        found = os.stat(stage.attempt_dir(attempt) / EVENTS)
    except FileNotFoundError:
        return attempt, 0, 0
    return attempt, found.st_size, found.st_mtime_ns


def compose(job: JobLayout, stages: dict[str, Summary], before: dict[str, Any]) -> dict[str, Any] | None:
    """The job manifest of these stages as they stand now; None where none of them belongs to a run on record."""
    alive = {
        folder: status.alive(of, str(StageLayout(job, of.stage_number, of.stage).lock)) for folder, of in stages.items()
    }
    newest = max(alive.values(), key=lambda of: (of.started, of.run), default=None)
    run = runs.read(job, newest.run) if newest else None
    job_id = identity.read_job_id(job)
    if run is None or job_id is None:
        return None
    return job_manifest.job_manifest(
        job_id=job_id,
        run=run._asdict(),
        stages=alive.items(),
        before=before,
        moved_on=[of for stage in alive.values() if stage.run > run.run and (of := _in_run(job, stage, run.run))],
    )


def _in_run(job: JobLayout, newest: Summary, run: int) -> Summary | None:
    """The newest attempt in a run of a stage that has gone on to a later one; without an end it is dead."""
    stage = StageLayout(job, newest.stage_number, newest.stage)
    with contextlib.suppress(OSError):
        for attempt in reversed(stage.attempts()):
            known = status.read_summary(stage, attempt)
            if known is not None and known.run == run:
                return known._replace(status=names.ABANDONED) if known.status == names.RUNNING else known
    return None


def _standing(job: JobLayout) -> dict[str, Any]:
    """The document that stands at the job manifest's place; what is no JSON object is moved aside, not lost."""
    try:
        with open(job.manifest, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return {}
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, list) and all(isinstance(each, (dict, str)) for each in document):
        # An orchestrator's bare list of its stages.
        document = {"stages": document}
    if isinstance(document, dict):
        return document
    files.replace(str(job.root / "manifest.foreign"), data)
    return {}


def _load_cache(job: JobLayout) -> dict[str, _Known]:
    try:
        with open(job.inner / CACHE, "rb") as file:
            document = json.load(file)
        return {
            folder: _Known(
                print=tuple(of["print"]),
                summary=Summary(**{**of["summary"], "declared": tuple(of["summary"]["declared"])}),
            )
            for folder, of in document.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a cache: what it cannot tell is read anew
