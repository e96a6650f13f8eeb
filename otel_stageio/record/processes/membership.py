"""Whether a process that opens a stage belongs to an attempt that another process holds, and to which.

It does where an ancestor says so (STAGEIO_ATTEMPT, a pickled stage), where the process that started it through
multiprocessing has the stage open, and where it is a rank of several of which the first opens the stage.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio.job import members
from otel_stageio.job.naming import split_name
from otel_stageio.record.processes import exits, ranks, workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.job.layout import StageLayout
    from otel_stageio.job.members import Attempt
    from otel_stageio.record.opened import Request

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
    if exits.inherited() or workers.is_worker():
        inherited = _of_ancestor(request)
        if inherited is not None:
            return Found(inherited)
    if request.settings.rank > 0 and not request.item:
        first = ranks.of_first(request)
        return Found(first) if first is not None else Found(None, (_alone(request),))
    return Found()


def _alone(request: Request) -> str:
    return (
        f"this process is rank {request.settings.rank}, and rank 0 did not open the stage within {ranks.PATIENCE:.0f} "
        f"s: it was opened here. Unset {request.settings.rank_source} where the processes do not share a stage"
    )


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


def _of_ancestor(request: Request) -> Attempt | None:
    """The attempt that an ancestor of this process has open, or had where the script that opened it is read again."""
    stage = ranks.stage_of(request)
    if stage is None:
        return None
    ancestors = _ancestors()
    held = members.running(stage) if members.holder(stage) in ancestors else None
    # A worker may start when the stage has ended already: what it opens is no further attempt, which would end as
    # failed and take the place of the one that did the work.
    return members.shared_by(stage, ancestors) if held is None and workers.reads_again() else held


def _ancestors() -> set[int]:
    """The processes that this one comes from."""
    import psutil

    try:
        return {each.pid for each in psutil.Process().parents()}
    except psutil.Error:
        return {os.getppid()}
