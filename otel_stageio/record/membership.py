"""Whether a process that opens a stage belongs to an attempt that another process holds, and to which.

It does where an ancestor says so (STAGEIO_ATTEMPT, a pickled stage), where the process that started it through
multiprocessing has the stage open, and where it is a rank of several of which the first opens the stage.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_stageio.job import members, numbers, status
from otel_stageio.job.layout import EVENTS, StageLayout
from otel_stageio.job.naming import split_name
from otel_stageio.record import exits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.job.members import Attempt
    from otel_stageio.record.opened import Request

#: Seconds that a rank waits for the first one, and between two looks.
PATIENCE: Final = 10.0
_PAUSE: Final = 0.05
#: Seconds that the processes of one launch may begin apart.
_SLACK: Final = 60

#: Seconds that a process may seem to have begun too late, since the kernel tells the time of boot in whole ones.
_ROUNDING: Final = 2

#: The attempt that a stage is unpickled for.
_wanted: list[str] = []


class Found(NamedTuple):
    """The attempt to join, if there is one, and what came to pass while looking for it."""

    attempt: Attempt | None = None
    warnings: tuple[str, ...] = ()


@contextmanager
def wanting(folder: str) -> Iterator[None]:
    """Have the stage that is opened in the block join the attempt with that folder, whatever became of it."""
    _wanted.append(folder)
    try:
        yield
    finally:
        _wanted.pop()


def joins() -> bool:
    """Whether a stage is being unpickled."""
    return bool(_wanted)


def find(request: Request) -> Found:
    """The attempt that this process is a member of, if it is one of any. Raises OSError and what `numbers` does."""
    if _wanted:
        return Found(members.at(request.job, _wanted[-1]))
    named = _named(request)
    if named is not None:
        return Found(named)
    if _is_child():
        stage = _stage(request)
        if stage is not None and members.holder(stage) in _ancestors():
            return Found(members.running(stage))
    if request.settings.rank > 0 and not request.item:
        return _of_first_rank(request)
    return Found()


def _named(request: Request) -> Attempt | None:
    """The attempt that the environment names, if it is of the stage that is asked for and still runs."""
    folder = request.settings.attempt
    found = members.at(request.job, folder) if folder else None
    if found is None or not _is_meant(request, found.stage):
        return None
    living = members.running(found.stage)
    return living if living is not None and living.number == found.number else None


def _is_meant(request: Request, stage: StageLayout) -> bool:
    prefix, name = split_name(request.text)
    number = prefix if request.number is None else request.number
    return stage.name == name and stage.item == request.item and number in (None, stage.number)


def _stage(request: Request) -> StageLayout | None:
    """The stage that is asked for, where it has a folder already or its number is known without one."""
    job = request.job
    resolved = numbers.resolve(job, request.text, number=request.number, declared=request.declared, claim=False)
    if resolved.how == "claimed":
        return None
    return StageLayout(job, resolved.number, resolved.name, request.item)


def _is_child() -> bool:
    """Whether this process was made from another one: by multiprocessing, whatever its way, or by a fork."""
    if exits.inherited():
        return True
    module: Any = sys.modules.get("multiprocessing.process")
    # While a spawned child reads the main script again it does not know its parent yet.
    return module is not None and (
        module.parent_process() is not None or getattr(module.current_process(), "_inheriting", False)
    )


def _ancestors() -> set[int]:
    """The processes that this one comes from."""
    import psutil

    try:
        return {each.pid for each in psutil.Process().parents()}
    except psutil.Error:
        return {os.getppid()}


def _of_first_rank(request: Request) -> Found:
    """The attempt of rank 0: the one that runs, or is of the same launch. Waits for it.

    One that had ended before this process began is that of a launch before.
    """
    import psutil

    born = psutil.Process().create_time()
    until = time.monotonic() + PATIENCE
    while True:
        stage = _stage(request)
        for number in reversed(stage.attempts() if stage is not None else ()):
            found = members.attempt(stage, number) if stage is not None else None
            if found is not None:
                if members.running(found.stage) is not None or _is_of_launch(found, born):
                    return Found(found)
                break
        if time.monotonic() >= until:
            break
        time.sleep(_PAUSE)
    warning = (
        f"this process is rank {request.settings.rank}, and rank 0 did not open the stage within {PATIENCE:.0f} s: it "
        f"was opened here. Unset {request.settings.rank_source} where the processes do not share a stage"
    )
    return Found(None, (warning,))


def _is_of_launch(found: Attempt, born: float) -> bool:
    """Whether an attempt that does not run any more is of the launch of this process, which was `born` at that time.

    Its last event is dated by the file system, since the clock of its host may be minutes from ours.
    """
    known = status.read_summary(found.stage, found.number)
    path = os.path.join(found.folder, EVENTS)
    later = os.stat(path).st_mtime - status.clock_ahead(path) - born
    if known is not None and known.ended:
        return later >= -_ROUNDING
    return later >= -_SLACK and found.started.time_unix_nano >= int((born - _SLACK) * 1e9)
