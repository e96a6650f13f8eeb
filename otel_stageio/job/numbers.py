"""Which number a stage has: given, declared, found on disk, or claimed as the next free one.

A claim is two files in ``.stageio/numbers``, each of which only one process can create: ``07`` holds the stage's name
and keeps the number from other stages, ``_asr`` holds the number and keeps the stage from a second one. The first alone
would not do: two processes that open the same new stage may have seen different folders, and so try different numbers.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from otel_stageio.job.layout import STAGEIO, stage_folders
from otel_stageio.job.naming import check_name, check_number, folder_name, split_name
from otel_stageio.journal import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from otel_stageio.job.layout import JobLayout, StageFolder

How: TypeAlias = Literal["argument", "name", "declared", "folder", "claimed"]

#: Where there are no hard links, a claim gets its content a moment after its name: how often and long to wait for it.
_LOOKS = 20
_PAUSE = 0.005
#: Folders with higher numbers in which no stage ran are not taken for stages when the next free number is looked for.
_HIGHEST_GUESSED = 999


class Resolved(NamedTuple):
    """A stage's number and name, and what decided on the number."""

    number: int
    name: str
    how: How


def resolve(job: JobLayout, text: str, *, number: int | None, declared: Sequence[str], claim: bool = True) -> Resolved:
    """Decide which number the stage called `text` (``asr`` or ``06_asr``) has.

    In this order: the argument `number`, which also wins over a number in the name; the number in the name; the place
    in `declared`; the folder of that name (of several the one that has run, then the highest number); a claim of the
    next free one, above all folders, claims and declared stages. Processes that claim at once get one number for one
    name and different numbers for different names, also from several hosts; the claim stays when the folder goes.

    Without `claim` the next free number is told and not taken: nothing is written.

    Raises StageNameError and StageNumberError for what cannot be a folder, OSError where the claim cannot be written.
    """
    resolved = _resolve(job, text, number, declared, claim=claim)
    folder_name(resolved.number, resolved.name)
    return resolved


def _resolve(job: JobLayout, text: str, number: int | None, declared: Sequence[str], *, claim: bool) -> Resolved:
    prefix, name = split_name(text)
    check_name(name)
    if number is not None:
        return Resolved(number=check_number(number), name=name, how="argument")
    if prefix is not None:
        return Resolved(number=prefix, name=name, how="name")
    order = declared_stages(declared)
    for place, stage in order:
        if stage == name:
            return Resolved(number=place, name=name, how="declared")
    # The folders before the claims: a folder is made after its claim, so none is seen whose claim then is not.
    folders = stage_folders(job.root)
    folder = _chosen(job, (one for one in folders if one.name == name))
    if folder is not None:
        return Resolved(number=folder.number, name=name, how="folder")
    taken = [one.number for one in folders if _counts(job, one)] + [place for place, _ in order]
    number = _claim(job.numbers_dir, name, taken) if claim else 1 + max(taken, default=0)
    return Resolved(number=number, name=name, how="claimed")


def _counts(job: JobLayout, folder: StageFolder) -> bool:
    """Whether a folder's number is one to count on from; ``20251127_backup`` is a date, unless a stage ran there."""
    return folder.number <= _HIGHEST_GUESSED or os.path.isdir(job.root / folder.folder / STAGEIO)


def declared_stages(declared: Sequence[str]) -> list[tuple[int, str]]:
    """Return number and name of each declared stage: counted from 1, or on from an entry that has its own number.

    >>> declared_stages(["ingest", "06_asr", "score"])
    [(1, 'ingest'), (6, 'asr'), (7, 'score')]
    """
    stages = []
    place = 0
    for text in declared:
        prefix, name = split_name(text)
        place = place + 1 if prefix is None else prefix
        stages.append((place, name))
    return stages


def find_stage(job: JobLayout, text: str) -> StageFolder | None:
    """Find the folder of a stage named with or without its number, ``asr``, ``06_asr``, ``6_asr``; None without one.

    Of several, the folder of exactly that name, then the one that has run, then the highest number. Raises OSError
    where the job folder cannot be read.
    """
    return chosen_stage(job, stage_folders(job.root), text)


def chosen_stage(job: JobLayout, folders: Sequence[StageFolder], text: str) -> StageFolder | None:
    """Find the folder as `find_stage` does, among `folders` of the job."""
    prefix, name = split_name(text)
    for one in folders:
        if one.folder == text:
            return one
    numbered = (one for one in folders if prefix is not None and (one.number, one.name) == (prefix, name))
    # The second search: "2_pass" may be the bare name of the stage in 03_2_pass.
    return _chosen(job, numbered) or _chosen(job, (one for one in folders if one.name == text))


def _chosen(job: JobLayout, folders: Iterable[StageFolder]) -> StageFolder | None:
    candidates = list(folders)
    if len(candidates) < 2:  # noqa: PLR2004 - nothing to choose between, nothing to look up
        return candidates[0] if candidates else None
    return max(candidates, key=lambda one: (os.path.isdir(job.root / one.folder / STAGEIO), one.number))


def _claim(numbers: Path, name: str, taken: Sequence[int]) -> int:
    """Claim the next number for `name`, or return the one that it has."""
    by_name = str(numbers / f"_{name}")
    number = _claim_number(numbers, name, taken)
    if files.claim_file(by_name, f"{number:02d}\n".encode()):
        return number
    # The stage has a number, from before or from somebody faster: it holds, a newer one stays a gap in the count.
    claimed = _content(by_name)
    return int(claimed) if claimed.isdigit() else number


def _claim_number(numbers: Path, name: str, taken: Sequence[int]) -> int:
    content = os.fsencode(name)
    tried = 0
    while True:
        claims = _claims(numbers)
        for number in sorted(claims):
            if _content(claims[number]) == content:
                return number
        # `tried` too: on a network file system the list may be older than the refusal.
        number = 1 + max([tried, *taken, *claims])
        if files.claim_file(str(numbers / f"{number:02d}"), content + b"\n"):
            return number
        tried = number


def _claims(numbers: Path) -> dict[int, str]:
    try:
        names = os.listdir(numbers)
    except FileNotFoundError:
        return {}
    return {int(name): str(numbers / name) for name in names if name.isascii() and name.isdigit()}


def _content(path: str) -> bytes:
    """Return what a claim holds, b"" where there is none; waits a little for one that is being written."""
    for look in range(_LOOKS):
        if look:
            time.sleep(_PAUSE)
        try:
            with open(path, "rb", opener=files.regular) as file:
                content = file.read()
        except FileNotFoundError:
            return b""
        if content.endswith(b"\n"):
            return content[:-1]
    return b""
