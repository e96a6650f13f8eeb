"""Members: further processes of an attempt, each with a folder of its own for what it records.

A spawned worker, a rank of a distributed training: what it says belongs to the attempt that another process holds.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import host, locks, status
from otel_stageio.job.layout import EVENTS, StageLayout, placed
from otel_stageio.journal import files, reader
from otel_stageio.model import LogRecord

if TYPE_CHECKING:
    from otel_stageio.job.layout import JobLayout


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
        name = f"{host.name()}-{os.getpid()}-{number}"
        if files.claim_folder(os.path.join(parent, name)):
            return name
        number += 1


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
    return attempt(stage, newest.attempt)


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
    path = str(stage.lock)
    owner = locks.read_owner(path) if locks.held(path) else None
    if owner is None or owner.get("host") != host.name():
        return 0
    pid = owner.get("pid")
    return pid if isinstance(pid, int) else 0
