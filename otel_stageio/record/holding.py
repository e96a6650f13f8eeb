"""Taking a stage: its lock, and what to say where another process has it or left it behind."""

import os
import time
from typing import Any

from otel_stageio import conventions as names
from otel_stageio.errors import StageRunningError
from otel_stageio.job import host, locks, status
from otel_stageio.job.layout import StageLayout
from otel_stageio.views.moments import rfc3339, spoken


def hold(stage: StageLayout) -> tuple[locks.StageLock, list[str]]:
    """The stage's lock, taken, with what came to pass and belongs among the stage's warnings.

    Raises StageRunningError where a living process of this host has it, and OSError.
    """
    owner: dict[str, Any] = {
        "pid": os.getpid(),
        "host": host.name(),
        "boot_id": host.boot_id(),
        "since": rfc3339(time.time_ns()),
    }
    path = str(stage.lock)
    warnings = []
    lock = locks.StageLock.acquire(path, owner)
    if isinstance(lock, locks.Held) and (holder := lock.owner or {}).get("host", owner["host"]) != owner["host"]:
        beside = (
            f"the stage seems to run on host {holder['host']} as well (pid {holder.get('pid')}, "
            f"since {holder.get('since')}); this attempt goes on beside it"
        )
        warnings = [beside]
        lock = locks.StageLock.beside(path, owner)
    elif isinstance(lock, locks.StageLock) and locks.held(locks.of_host(path)):
        # By one that began beside another host's, which has ended.
        lock.release()
        lock = locks.Held(locks.read_owner(locks.of_host(path)))
    if isinstance(lock, locks.StageLock):
        return lock, warnings or _left_open(stage, lock)
    holder = lock.owner or {}
    who = f"process {holder.get('pid', 'unknown')}"
    if holder.get("pid") == os.getpid():
        who += " (this one)"
    raise StageRunningError(
        f"stage {stage.label!r} is running: {who} has it open since {holder.get('since', 'a moment ago')}, "
        f"in {stage.folder}. Wait for it or end it; within one process finalize the first StageIO before opening "
        f"the stage again"
    )


def _left_open(stage: StageLayout, lock: locks.StageLock) -> list[str]:
    """The warning that the attempt before this one has no end and is not proved dead: a node that died, or a twin."""
    former = lock.former
    if former is None:
        return []
    newest = True
    for number in reversed(stage.attempts()):
        known = status.read_summary(stage, number)
        if known is None:
            continue
        # Where there are no locks it may be an older one, beside which others have come and gone.
        meant = (known.pid, known.host) == (former.get("pid"), former.get("host"))
        if not (newest or meant):
            continue
        newest = False
        proved = lock.works and known.host == host.name() and known.boot_id == host.boot_id()
        if known.status != names.RUNNING or proved:
            if meant or lock.works:
                break
            continue
        warning = (
            f"attempt {number} of this stage has no end on record: process {known.pid} on host {known.host} gave its "
            f"last sign {spoken(lock.silent)} ago. Whether it runs cannot be known from here; this attempt goes on "
            f"beside it"
        )
        return [warning]
    return []
