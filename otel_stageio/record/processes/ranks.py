"""Ranks: of several processes of one launch the first opens the stage, and the others take part in its attempt.

torchrun, srun and mpirun start one script many times and tell each process which it is. Nobody says which launch: that
is told by when a process began.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.job import locks, members, numbers, status
from otel_stageio.job.layout import EVENTS, StageLayout

if TYPE_CHECKING:
    from otel_stageio.job.members import Attempt
    from otel_stageio.record.opened import Request

#: Seconds that a rank waits for the first one, and between two looks.
PATIENCE: Final = 10.0
_PAUSE: Final = 0.05
#: Seconds that one which was faster may take from its lock to its first record.
_BEGINNING: Final = 2.0
#: Seconds that the processes of one launch may begin apart.
_SLACK: Final = 60.0
#: Seconds that a process may seem to have begun too late: the kernel tells it in hundredths.
_ROUNDING: Final = 0.02

#: In which attempt of a stage, by its folder, this process has ended its part last.
_parted: dict[str, int] = {}


def part(folder: str, attempt: int) -> None:
    """This process has ended its part in an attempt of the stage with that folder: a further one is a later attempt's.

    So the third pass of each rank through a stage is the third one of rank 0, whoever is faster.
    """
    _parted[folder] = attempt


def stage_of(request: Request) -> StageLayout | None:
    """The stage that is asked for, where it has a folder already or its number is known without one."""
    job = request.job
    resolved = numbers.resolve(job, request.text, number=request.number, declared=request.declared, claim=False)
    if resolved.how == "claimed":
        return None
    return StageLayout(job, resolved.number, resolved.name, request.item)


def of_first(request: Request) -> Attempt | None:
    """The attempt that rank 0 opened, for a rank above it. Waits for it; None where it does not come."""
    until = time.monotonic() + PATIENCE
    while True:
        stage = stage_of(request)
        found = _next(stage) if stage is not None else None
        if found is not None and _is_ours(found):
            return found
        if time.monotonic() >= until:
            return None
        time.sleep(_PAUSE)


def of_fellow(request: Request) -> Attempt | None:
    """The attempt because of which a rank was refused, where that is all ranks'; None where it is somebody else's.

    Where rank 0 did not come in time another one opened the stage: the others, and a late rank 0, belong to it.
    """
    settings = request.settings
    if not settings.rank_source or request.item:
        return None
    until = time.monotonic() + _BEGINNING
    while True:
        stage = stage_of(request)
        found = members.running(stage) if stage is not None else None
        if found is not None:
            return found if settings.rank or names.RANK in found.started.attributes else None
        if time.monotonic() >= until:
            return None
        time.sleep(_PAUSE)


def _next(stage: StageLayout) -> Attempt | None:
    """The attempt that comes next for this process: the newest, or the one after that in which it had a part."""
    last = _parted.get(str(stage.folder))
    known = sorted(stage.attempts())
    order = known[::-1] if last is None else [number for number in known if number > last]
    return next((found for number in order if (found := members.attempt(stage, number)) is not None), None)


def _is_ours(found: Attempt) -> bool:
    """Whether an attempt is of the launch that this process is of: it runs, or was there in this process's time."""
    stage = found.stage
    runs = members.running(stage)
    if runs is not None and runs.number == found.number:
        return True
    age = _age()
    known = status.read_summary(stage, found.number)
    if known is not None and known.ended:
        # By the file system's clock: that of the first rank's host may be minutes from ours.
        ended = status.silence(str(stage.attempt_dir(found.number) / EVENTS))
        return ended is not None and ended <= age + _ROUNDING
    if found.started.time_unix_nano < (time.time() - age - _SLACK) * 1e9:
        return False
    # It died without a word: in the launch before this one, or in this one, where its last sign is.
    silent = status.silence(str(stage.lock))
    alone = found.number == max(stage.attempts()) and not locks.held(str(stage.lock))
    return alone and silent is not None and silent <= age


def _age() -> float:
    """For how many seconds this process has run, to some hundredths: psutil has whole ones, by the time of boot."""
    try:
        with open("/proc/self/stat", "rb") as file:
            began = int(file.read().rpartition(b")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        import psutil

        return time.time() - psutil.Process().create_time()
