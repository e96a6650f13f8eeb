"""Where a stage finds its input: in the stage it names, in an earlier one, or in the job folder.

An item of a stage looks into the same item of those stages first, then beside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio.job.layout import ITEMS, STAGEIO, stage_folders
from otel_stageio.job.naming import folder_name, split_name
from otel_stageio.job.numbers import chosen_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from otel_stageio.job.layout import JobLayout, StageFolder, StageLayout


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

    def of_item(self, folder: str, item: str) -> str:
        """Where the stage with that folder would have the item's files: in the item's, if it has items."""
        return f"{folder}/{item}" if item and os.path.isdir(self._job.root / folder / STAGEIO / ITEMS) else folder

    def pass_over(self) -> None:
        self._looked[-1] += " (passed over: that stage was skipped)"

    def end(self, folder: str, *, exists: bool) -> Found:
        return Found(path=self._job.root / folder / self.filename, exists=exists, looked=tuple(self._looked))


def find_input(
    me: StageLayout,
    filename: str | os.PathLike[str],
    from_stage: str | None,
    skipped: Callable[[StageFolder, str], bool],
) -> Found:
    """Find the file (or folder) `filename` for the stage `me`.

    Of an item the same item of each stage, as a folder in the stage's, comes before all that is in stages' folders.

    With `from_stage` (with or without its number, see `numbers.find_stage`) in that stage, then in the job folder;
    found in neither, the path in that stage. Without it in the nearest earlier stage that has it and was not `skipped`,
    then in the job folder; found nowhere, the path in the previous stage. Earlier is a lower number: a stage of the
    same number is none, and of two earlier ones with one number the later in the alphabet is nearer. An absolute
    `filename` is taken as it is.

    `skipped` is asked only about stages whose answer decides. Raises OSError where the job folder cannot be read,
    StageNameError where `from_stage` is no text or too long to be a folder.
    """
    search = _Search(me.job, os.fspath(filename))
    if os.path.isabs(search.filename):
        return search.end("", exists=search.has(""))
    folders = stage_folders(me.job.root)
    if from_stage is not None:
        return _from_named(search, _named(folders, from_stage, me), me.item)
    return _from_earlier(search, _earlier(folders, me), skipped, me.item)


def _from_named(search: _Search, named: str, item: str) -> Found:
    for folder in (*([f"{named}/{item}"] if item else []), named, ""):
        if search.has(folder):
            return search.end(folder, exists=True)
    return search.end(search.of_item(named, item), exists=False)


def _from_earlier(
    search: _Search, earlier: Sequence[StageFolder], skipped: Callable[[StageFolder, str], bool], item: str
) -> Found:
    for of in (item, "") if item else ("",):
        for stage in earlier:
            folder = f"{stage.folder}/{of}" if of else stage.folder
            if search.has(folder):
                if not skipped(stage, of):
                    return search.end(folder, exists=True)
                search.pass_over()
    if search.has(""):
        return search.end("", exists=True)
    previous = _previous(earlier, skipped, item)
    return search.end(search.of_item(previous, item) if previous else "", exists=False)


def previous_stage(me: StageLayout, skipped: Callable[[StageFolder, str], bool]) -> str | None:
    """Return the folder, relative to the job's, of the nearest earlier stage that was not skipped; None without one.

    For an item it is the one of the same item, where that stage has it. Raises OSError where the job folder cannot be
    read.
    """
    previous = _previous(_earlier(stage_folders(me.job.root), me), skipped, me.item)
    of_item = f"{previous}/{me.item}"
    return of_item if previous and me.item and os.path.isdir(me.job.root / of_item) else previous


def _previous(earlier: Sequence[StageFolder], skipped: Callable[[StageFolder, str], bool], item: str) -> str | None:
    return next((one.folder for one in earlier if not (skipped(one, item) or (item and skipped(one, "")))), None)


def _named(folders: Sequence[StageFolder], text: str, me: StageLayout) -> str:
    """Return the folder of the stage called `text`, or the one that it would have; of several an earlier one."""
    stage = chosen_stage(me.job, _earlier(folders, me), text) or chosen_stage(me.job, folders, text)
    if stage is not None:
        return stage.folder
    number, name = split_name(text)
    return text if number is None else folder_name(number, name)


def _earlier(folders: Sequence[StageFolder], me: StageLayout) -> list[StageFolder]:
    return [one for one in reversed(folders) if one.number < me.number]
