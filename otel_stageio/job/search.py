"""Where a stage finds its input: in the stage it names, in an earlier one, or in the job folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio.job.layout import folder_name, split_name, stage_folders
from otel_stageio.job.numbers import chosen_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from otel_stageio.job.layout import JobLayout, StageFolder


class Found(NamedTuple):
    """The path to use, whether something is there, and every path that was looked at, in this order."""

    path: Path
    exists: bool
    looked: tuple[str, ...]


class _Search:
    """Looks for one file in folders of the job and remembers where."""

    __slots__ = ("_job", "_looked", "filename")

    def __init__(self, job: JobLayout, filename: str) -> None:
        self._job = job
        self._looked: list[str] = []
        self.filename = filename

    def has(self, folder: str) -> bool:
        path = os.path.join(self._job.root, folder, self.filename)
        self._looked.append(path)
        return os.path.exists(path)

    def pass_over(self) -> None:
        self._looked[-1] += " (passed over: that stage was skipped)"

    def end(self, folder: str, *, exists: bool) -> Found:
        return Found(path=self._job.root / folder / self.filename, exists=exists, looked=tuple(self._looked))


def find_input(
    job: JobLayout,
    me: tuple[int, str],
    filename: str | os.PathLike[str],
    from_stage: str | None,
    skipped: Callable[[StageFolder], bool],
) -> Found:
    """Find the file (or folder) `filename` for the stage `me`, its number and name.

    With `from_stage` (with or without its number, see `numbers.find_stage`) in that stage, then in the job folder;
    found in neither, the path in that stage. Without it in the nearest earlier stage that has it and was not `skipped`,
    then in the job folder; found nowhere, the path in the previous stage. Earlier is a lower number: a stage of the
    same number is none, and of two earlier ones with one number the later in the alphabet is nearer. An absolute
    `filename` is taken as it is.

    `skipped` is asked only about stages whose answer decides. Raises OSError where the job folder cannot be read,
    StageNameError where `from_stage` is no text or too long to be a folder.
    """
    search = _Search(job, os.fspath(filename))
    if os.path.isabs(search.filename):
        return search.end("", exists=search.has(""))
    folders = stage_folders(job.root)
    if from_stage is not None:
        return _from_named(search, _named(job, folders, from_stage, me))
    return _from_earlier(search, _earlier(folders, me), skipped)


def _from_named(search: _Search, named: str) -> Found:
    for folder in (named, ""):
        if search.has(folder):
            return search.end(folder, exists=True)
    return search.end(named, exists=False)


def _from_earlier(search: _Search, earlier: Sequence[StageFolder], skipped: Callable[[StageFolder], bool]) -> Found:
    for stage in earlier:
        if search.has(stage.folder):
            if not skipped(stage):
                return search.end(stage.folder, exists=True)
            search.pass_over()
    if search.has(""):
        return search.end("", exists=True)
    return search.end(next((one.folder for one in earlier if not skipped(one)), ""), exists=False)


def previous_stage(job: JobLayout, me: tuple[int, str], skipped: Callable[[StageFolder], bool]) -> StageFolder | None:
    """Return the nearest earlier stage that was not skipped; None where there is none.

    Raises OSError where the job folder cannot be read.
    """
    return next((one for one in _earlier(stage_folders(job.root), me) if not skipped(one)), None)


def _named(job: JobLayout, folders: Sequence[StageFolder], text: str, me: tuple[int, str]) -> str:
    """Return the folder of the stage called `text`, or the one that it would have; of several an earlier one."""
    stage = chosen_stage(job, _earlier(folders, me), text) or chosen_stage(job, folders, text)
    if stage is not None:
        return stage.folder
    number, name = split_name(text)
    return text if number is None else folder_name(number, name)


def _earlier(folders: Sequence[StageFolder], me: tuple[int, str]) -> list[StageFolder]:
    return [one for one in reversed(folders) if one.number < me[0]]
