"""Members: further processes of an attempt, each with a folder of its own for what it records.

A spawned worker, a rank of a distributed training: what it says belongs to the attempt that another process holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import attempts, host, locks, status
from otel_stageio.job.layout import EVENTS, LOG_RECORDS, SETTLED, StageLayout, placed
from otel_stageio.journal import files, reader
from otel_stageio.model import LogRecord
from otel_stageio.views import manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.job.layout import JobLayout

#: How long a member waits for the owner, who writes the manifest at the end, and how often it looks, in seconds.
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.02


class Attempt(NamedTuple):
    """An attempt that somebody else opened: where it is, and its first record."""

    stage: StageLayout
    number: int
    started: LogRecord

    @property
    def folder(self) -> str:
        """Its folder, by which other processes find it."""
        return str(self.stage.attempt_dir(self.number))


def claim(of: Attempt) -> str:
    """Make a folder for this process among the attempt's members; gives the member's name. Raises OSError."""
    parent = str(of.stage.members_dir(of.number))
    files.make_folders(parent)
    number = 1
    while True:
        name = _name(os.getpid(), number)
        if files.claim_folder(os.path.join(parent, name)):
            return name
        number += 1


def _name(pid: int, number: int) -> str:
    return f"{host.name()}-{pid}-{number}"


def attempt(stage: StageLayout, number: int) -> Attempt | None:
    """An attempt with a start on record; None without one. Raises OSError."""
    path = os.path.join(stage.attempt_dir(number), EVENTS)
    for piece in reader.pieces(path, live=True, only=names.STARTED.encode()):
        for line in piece.lines:
            for record in line.records:
                if isinstance(record, LogRecord) and record.event_name == names.STARTED:
                    return Attempt(stage, number, record)
    return None


def running(stage: StageLayout) -> Attempt | None:
    """The attempt of a stage that runs now, here or as far as can be seen elsewhere; None without one."""
    newest = status.newest(stage)
    if newest is None or newest.status != names.RUNNING:
        return None
    held = locks.held_here(str(stage.lock))
    if held and newest.host == host.name() and not status.is_holder(newest, held):
        return None  # it is dead: the holder begins the next one
    return attempt(stage, newest.attempt)


def shared_by(stage: StageLayout, processes: Iterable[int]) -> Attempt | None:
    """The newest attempt of a stage, ended or not, where one of these processes of this host opened or joined it."""
    newest = status.newest(stage)
    if newest is None:
        return None
    here = (newest.host, newest.boot_id) == (host.name(), host.boot_id())
    joined = stage.members_dir(newest.attempt)
    shared = any((here and pid == newest.pid) or os.path.isdir(joined / _name(pid, 1)) for pid in processes)
    return attempt(stage, newest.attempt) if shared else None


def at(job: JobLayout, folder: str) -> Attempt | None:
    """The attempt of the job with that folder; None where it is another job's, or none. Raises OSError."""
    inner, number = os.path.split(os.path.realpath(folder))
    root = os.path.realpath(job.root)
    place = os.path.relpath(os.path.dirname(inner), root)
    stage = placed(job, place) if number.isascii() and number.isdigit() else None
    if stage is None or os.path.realpath(stage.attempt_dir(int(number))) != os.path.realpath(folder):
        return None
    return attempt(stage, int(number))


def holder(stage: StageLayout) -> int:
    """The process of this host that has the stage open; 0 where none has."""
    held = locks.held_here(str(stage.lock))
    owner = (held.owner if held else None) or {}
    if owner.get("host") != host.name():
        return 0
    pid = owner.get("pid")
    return pid if isinstance(pid, int) else 0


def settle(stage: StageLayout, number: int, member: str) -> None:
    """Bring manifest.json up to date with what a member recorded, where the attempt ended before it did.

    While the attempt goes on nothing happens: its owner reads what members recorded after it has put the end on record,
    and holds the lock until it has written the manifest. Nor does anything where another member that came later has
    done it, or where the manifest is not that attempt's. Raises OSError.
    """
    until = time.monotonic() + _PATIENCE
    while (known := status.read_summary(stage, number)) is not None and known.status != names.RUNNING:
        about = {"pid": os.getpid(), "host": host.name(), locks.ENDING: True}
        lock = locks.StageLock.acquire(str(stage.lock), about)
        if isinstance(lock, locks.StageLock):
            try:
                _fold_again(stage, number, member)
            finally:
                lock.release()
            return
        if time.monotonic() > until or max(stage.attempts()) > number:
            return
        time.sleep(_PAUSE)


def _fold_again(stage: StageLayout, number: int, member: str) -> None:
    # All by the file system's clock. The lock was just written to: who recorded before that is in the fold.
    began = os.stat(stage.lock).st_mtime_ns
    settled = str(stage.attempt_dir(number) / SETTLED)
    with contextlib.suppress(OSError, ValueError):
        if int(files.small(settled)) > _last_record(str(stage.members_dir(number) / member)):
            return
    if not os.path.exists(stage.manifest) or max(stage.attempts()) > number:
        return
    state = attempts.state(stage, number)
    degraded = [each for each in _degraded(stage) if each not in state.degraded]
    files.replace(str(stage.manifest), manifest.dump(manifest.manifest(state, degraded=degraded)))
    files.replace(settled, str(began).encode())


def _degraded(stage: StageLayout) -> list[str]:
    """What the disk refused of the owner's records: only the manifest that he wrote tells of it."""
    with open(stage.manifest, "rb", opener=files.regular) as file, contextlib.suppress(ValueError, RecursionError):
        document = json.loads(file.read())
        found = document.get("degraded") if isinstance(document, dict) else None
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
    return []


def _last_record(folder: str) -> int:
    return max(
        os.stat(path).st_mtime_ns for name in (EVENTS, LOG_RECORDS) if os.path.exists(path := f"{folder}/{name}")
    )
