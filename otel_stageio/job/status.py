"""How an attempt stands: what its journal says, and, where that says running, whether anybody still holds its lock."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.job import host, locks
from otel_stageio.job.layout import EVENTS
from otel_stageio.journal import reader
from otel_stageio.views import summary

if TYPE_CHECKING:
    from otel_stageio.job.layout import StageLayout
    from otel_stageio.views.summary import Summary

#: A stage whose lock cannot be asked is held to run while its heartbeat (every 10 s) is not older than this.
HEARTBEAT_TRUSTED: Final = 60.0


def read_summary(stage: StageLayout, attempt: int) -> Summary | None:
    """What the journal says of an attempt, liveness not asked; None where it holds no start. Raises OSError."""
    known: Summary | None = None
    for piece in reader.pieces(str(stage.attempt_dir(attempt) / EVENTS), only=summary.LIFECYCLE):
        for line in piece.lines:
            for record in line.records:
                known = summary.add(known, record)  # type: ignore[arg-type] # events.jsonl holds log records
    return known


def first_host(stage: StageLayout) -> str:
    """The host of the stage's first attempt, which has stage.log; empty where none is on record. Raises OSError."""
    for attempt in stage.attempts():
        for piece in reader.pieces(str(stage.attempt_dir(attempt) / EVENTS), only=summary.LIFECYCLE):
            for line in piece.lines:
                for record in line.records:
                    known = summary.add(None, record)  # type: ignore[arg-type] # events.jsonl holds log records
                    if known is not None:
                        return known.host
    return ""


def newest(stage: StageLayout) -> Summary | None:
    """The newest attempt that left a start on record, with its status as it stands now. Raises OSError."""
    for attempt in reversed(stage.attempts()):
        known = read_summary(stage, attempt)
        if known is not None:
            return alive(known, str(stage.lock))
    return None


def alive(known: Summary, lock: str, *, newest: bool = True) -> Summary:
    """An attempt with running turned into abandoned or lost where nobody runs it any more.

    `lock` is the stage's, which says something of its newest attempt alone.
    """
    if known.status != names.RUNNING:
        return known
    if newest:
        return known._replace(status=_liveness(known, lock))
    here = known.host == host.name()  # then the newer one found the lock free
    return known._replace(status=names.ABANDONED if here else names.LOST)


def _liveness(known: Summary, lock: str) -> str:
    here = known.host == host.name()
    held = locks.held(lock) if here else None
    if held:
        return names.RUNNING
    if held is False and known.boot_id == host.boot_id():
        return names.ABANDONED
    try:
        silent = time.time() - os.stat(lock).st_mtime
    except OSError:
        return names.LOST
    same_boot = not here or known.boot_id == host.boot_id()
    return names.RUNNING if held is None and same_boot and silent <= HEARTBEAT_TRUSTED else names.LOST
