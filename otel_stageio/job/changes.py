"""What somebody changed: whoever changes a stage or an item says so here, and whoever remembers reads what is new.

One line for each change, in .stageio/changes.<host>: the folder, and of an item that has ended what is known of it, so
that thousands of items need not be looked at one by one. The last line about a folder counts. Each host has a file:
appending is whole among the processes of one host, and not between hosts. The files only grow, by some thirty bytes for
an attempt, by a hundred for an item's, and are read on from where they were last read. They are no record: without them
everything is looked at.

Who found that an attempt has ended may say so after the next one has been opened. So whoever opens an attempt of an
item says which, and what is said later of those before it is not heard.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from otel_stageio.job import host
from otel_stageio.journal import appending, files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.job.layout import JobLayout

#: What the names of these files begin with; after it comes the host's.
CHANGES: Final = "changes."
#: Between a folder and what is known of it: no name holds one.
_BETWEEN: Final = "\t"


class Place(NamedTuple):
    """How far a file has been read: which one it was, and so many bytes of it."""

    inode: int
    end: int


#: How far each file has been read, by name.
Places: TypeAlias = dict[str, Place]


class Said(NamedTuple):
    """What was said since some place: the folders, each with what is known of it; with "" or a number look at it.

    With `whole` that is since the beginning, and stages of which nothing is said may have changed all the same.
    """

    words: dict[str, str]
    place: Places | None
    whole: bool = False


def tell(job: JobLayout, folder: str) -> None:
    """Say that the stage with that folder is about to change, or has. Raises OSError.

    From any process and thread. A new attempt's folder has to be there, and nothing said in it yet: then whoever reads
    this sees the one, and whoever has read on before will look for the other.
    """
    _write(job, f"{folder}\n")


def tell_opened(job: JobLayout, folder: str, attempt: int) -> None:
    """Say that an attempt of the item with that folder is about to be opened: as `tell`. Raises OSError."""
    _write(job, f"{folder}{_BETWEEN}{attempt}\n")


def tell_known(job: JobLayout, known: Iterable[tuple[str, str]]) -> None:
    """Say what is known of items that have ended, by folder, in one line each. Raises OSError.

    What is known begins with the number of the attempt.
    """
    _write(job, "".join([f"{folder}{_BETWEEN}{of}\n" for folder, of in known]))


def _write(job: JobLayout, text: str) -> None:
    said = appending.AppendFile(str(job.inner / f"{CHANGES}{host.name()}"))
    said.write(os.fsencode(text))
    said.close()


def since(job: JobLayout, place: Places | None) -> Said:
    """What was said since `place`; since the beginning from no place, or where a file of it is another or gone."""
    try:
        found = sorted(name for name in os.listdir(job.inner) if name.startswith(CHANGES))
        whole = place is None or not place.keys() <= set(found)
        before = {} if whole or place is None else place
        now: Places = {}
        words: dict[str, str] = {}
        for name in found:
            said, now[name] = _read(os.path.join(job.inner, name), before.get(name))
            if said is None:
                return since(job, None)
            # The words of one host are in order, those of two are not.
            words.update({folder: _later(words[folder], of) if folder in words else of for folder, of in said.items()})
    except OSError:
        return Said({}, None, whole=True)
    return Said(words, now or None, whole or not found)


def _read(path: str, place: Place | None) -> tuple[dict[str, str] | None, Place]:
    """What a file says after `place`, or from its beginning; None where it is another file."""
    with open(path, "rb", buffering=0, opener=files.regular) as file:
        found = os.fstat(file.fileno())
        begin = place or Place(found.st_ino, 0)
        if found.st_ino != begin.inode or found.st_size < begin.end:
            return None, begin
        file.seek(begin.end)
        said = file.read()
    end = said.rfind(b"\n") + 1  # the rest is being written
    words: dict[str, str] = {}
    for line in said[:end].split(b"\n"):
        if line:
            folder, _, of = os.fsdecode(line).partition(_BETWEEN)
            if not is_stale(of, words.get(folder, "")):
                words[folder] = of
    return words, begin._replace(end=begin.end + end)


def is_stale(word: str, before: str) -> bool:
    """Whether a word is of the end of an earlier attempt than the one that was spoken of `before`."""
    if " " not in word or not before:
        return False
    try:
        return _attempt(word) < _attempt(before)
    except ValueError:
        return False


def _attempt(word: str) -> int:
    return int(word.partition(" ")[0])


def _later(one: str, other: str) -> str:
    """Which of two words counts: of the later attempt; where that does not tell, the folder has to be looked at."""
    try:
        first, second = _attempt(one), _attempt(other)
    except ValueError:
        return ""
    if first == second:
        return one if one == other else ""
    return one if first > second else other
