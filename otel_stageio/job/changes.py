"""Which stages somebody changed: whoever changes one says so here, and whoever remembers the others reads what is new.

One line for each change, the stage's folder, in .stageio/changes. The file only grows, by some thirty bytes for an
attempt, and is read on from where it was last read. It is no record: without it all stages are looked at.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio.journal import files

if TYPE_CHECKING:
    from otel_stageio.job.layout import JobLayout

CHANGES: Final = "changes"


class Place(NamedTuple):
    """How far the file has been read: which file, and so many bytes of it."""

    inode: int
    end: int


def tell(job: JobLayout, folder: str) -> None:
    """Say that the stage with that folder is about to change, or has. Raises OSError.

    From any process and thread. A new attempt's folder has to be there, and nothing said in it yet: then whoever reads
    this sees the one, and whoever has read on before will look for the other.
    """
    said = files.AppendFile(str(job.inner / CHANGES))
    said.write(os.fsencode(folder) + b"\n")
    said.close()


def since(job: JobLayout, place: Place | None) -> tuple[set[str] | None, Place | None]:
    """The folders that were told of since `place`, and the new place.

    Of the folders None where nobody can say: from no place, of another file than that one, and without one to read.
    """
    try:
        with open(job.inner / CHANGES, "rb", buffering=0, opener=files.regular) as file:
            found = os.fstat(file.fileno())
            if place is None or found.st_ino != place.inode or found.st_size < place.end:
                return None, Place(found.st_ino, found.st_size)
            file.seek(place.end)
            said = file.read()
    except OSError:
        return None, None
    whole = said[: said.rfind(b"\n") + 1]  # the rest is being written
    return {os.fsdecode(line) for line in whole.split(b"\n") if line}, place._replace(end=place.end + len(whole))
