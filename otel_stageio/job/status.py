"""How an attempt stands: what its journal says, and, where that says running, whether anybody still holds its lock."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import host, locks
from otel_stageio.job.layout import EVENTS
from otel_stageio.journal import files, reader
from otel_stageio.views import summary
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    from otel_stageio.job.layout import StageLayout
    from otel_stageio.views.summary import Summary

#: Seconds that a stage of this host, whose lock cannot be asked, is held to run after its last heartbeat (every 10 s).
HEARTBEAT_TRUSTED: Final = locks.TRUSTED
#: The same for another host, whose clock may give its heartbeat the time, and may be wrong by minutes.
HEARTBEAT_TRUSTED_ELSEWHERE: Final = 900.0
#: Seconds that two clocks may be apart and count as one: asking takes time.
_CLOCKS_AGREE: Final = 2.0
#: Seconds for which it is remembered how far a file system's clock is from ours.
_REMEMBERED: Final = 60.0

#: By device: when its clock was asked, and what it then said beyond ours that only goes forward.
_clocks: dict[int, tuple[float, float]] = {}


class Standing(NamedTuple):
    """The status as it stands, and for how many seconds there was no sign of life; None where that does not count."""

    status: str
    silent: float | None = None


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
    """An attempt with running turned into abandoned or lost where nobody runs it any more; see `standing`."""
    return known._replace(status=standing(known, lock, newest=newest).status)


def standing(known: Summary, lock: str, *, newest: bool = True) -> Standing:
    """How an attempt stands. `lock` is the stage's, which says something of its newest attempt alone."""
    if known.status != names.RUNNING:
        return Standing(known.status)
    here = known.host == host.name()
    held = locks.held_here(lock) if here else None
    if not newest:
        # Of this host it is dead, unless the newer one is another host's, and began beside it: where there are locks.
        dead = held is not None and not (held and is_holder(known, held))
        return Standing(names.ABANDONED if dead else names.RUNNING if held else names.LOST)
    if held:
        return Standing(names.RUNNING)
    same_boot = not here or known.boot_id == host.boot_id()
    if held is not None and same_boot:
        return Standing(names.ABANDONED)
    silent = silence(lock)
    trusted = HEARTBEAT_TRUSTED if here else HEARTBEAT_TRUSTED_ELSEWHERE
    runs = held is None and same_boot and silent is not None and silent <= trusted
    return Standing(names.RUNNING if runs else names.LOST, silent)


def is_ending(known: Summary, stage: StageLayout) -> bool:
    """Whether an attempt of this host has ended, and its process has not let go of the stage: it may have died then."""
    return known.ended > 0 and known.host == host.name() and locks.is_kept(str(stage.lock))


def is_holder(known: Summary, held: locks.Held) -> bool:
    """Whether the attempt is that of the holder, and not one that the same process, or its id, had before."""
    owner = held.owner or {}
    return owner.get("pid") == known.pid and str(owner.get("since", "")) <= rfc3339(known.started)


def silence(lock: str) -> float | None:
    """Seconds since the owner of a lock file last touched it, never negative; None where there is no such file.

    Both times are the file system's: this host's clock may be minutes from it.
    """
    try:
        found = os.stat(lock)
        return max(_time_there(os.path.dirname(lock), found.st_dev) - found.st_mtime, 0.0)
    except OSError:
        return None


def clock_ahead(path: str) -> float:
    """Seconds that the clock of a file's file system is ahead of this host's. Raises OSError where there is no file."""
    return _time_there(os.path.dirname(path), os.stat(path).st_dev) - time.time()


def last_sign(lock: str) -> int:
    """When an owner of this host last touched a lock file, in nanoseconds since the epoch; 0 where that is not known.

    By the clock of this host, which made the records: the file system's may be minutes from it.
    """
    try:
        touched = os.stat(lock).st_mtime_ns
    except OSError:
        return 0
    ahead = clock_ahead(lock)
    return touched - int(ahead * 1e9) if abs(ahead) > _CLOCKS_AGREE else touched


def _time_there(folder: str, device: int) -> float:
    """The file system's time in seconds; our own where it cannot be asked."""
    now = time.monotonic()
    asked, ahead = _clocks.get(device, (now - _REMEMBERED, 0.0))
    if asked + _REMEMBERED <= now:
        try:
            ahead = files.time_there(folder) / 1e9 - time.monotonic()
        except OSError:  # a folder that we may only read
            return time.time()
        _clocks[device] = now, ahead
    return now + ahead
