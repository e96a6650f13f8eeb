"""What somebody changed: whoever changes a stage or an item says so here, and whoever remembers reads what is new.

One line for each change, in .stageio/changes: the folder, and of an item that has ended what is known of it, so that
thousands of items need not be looked at one by one. The last line about a folder counts. The file only grows, by some
thirty bytes for an attempt, by a hundred for an item's, and is read on from where it was last read. It is no record:
without it everything is looked at.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.journal import files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.job.layout import JobLayout

CHANGES: Final = "changes"
#: Between a folder and what is known of it: no name holds one.
_BETWEEN: Final = "\t"


class Place(NamedTuple):
    """How far the file has been read: which file, and so many bytes of it."""

    inode: int
    end: int


class Said(NamedTuple):
    """What was said since some place: the folders, each with what is known of it, "" where it has to be looked at.

    With `whole` that is since the beginning, and stages of which nothing is said may have changed all the same.
    """

    words: dict[str, str]
    place: Place | None
    whole: bool = False


def tell(job: JobLayout, folder: str) -> None:
    """Say that the stage or item with that folder is about to change, or has. Raises OSError.

    From any process and thread. A new attempt's folder has to be there, and nothing said in it yet: then whoever reads
    this sees the one, and whoever has read on before will look for the other.
    """
    _write(job, f"{folder}\n")


def tell_known(job: JobLayout, known: Iterable[tuple[str, str]]) -> None:
    """Say what is known of items that have ended, by folder, in one line each. Raises OSError."""
    _write(job, "".join([f"{folder}{_BETWEEN}{of}\n" for folder, of in known]))


def _write(job: JobLayout, text: str) -> None:
    said = files.AppendFile(str(job.inner / CHANGES))
    said.write(os.fsencode(text))
    said.close()


def since(job: JobLayout, place: Place | None) -> Said:
    """What was said since `place`; since the beginning from no place, or from one in another file."""
    try:
        with open(job.inner / CHANGES, "rb", buffering=0, opener=files.regular) as file:
            found = os.fstat(file.fileno())
            whole = place is None or found.st_ino != place.inode or found.st_size < place.end
            begin = 0 if place is None or whole else place.end
            file.seek(begin)
            said = file.read()
    except OSError:
        return Said({}, None, whole=True)
    end = said.rfind(b"\n") + 1  # the rest is being written
    pairs = (os.fsdecode(line).partition(_BETWEEN) for line in said[:end].split(b"\n") if line)
    return Said({folder: of for folder, _, of in pairs}, Place(found.st_ino, begin + end), whole)
