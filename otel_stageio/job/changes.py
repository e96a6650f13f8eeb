"""Which stages somebody changed: whoever changes one says so here, and whoever remembers the others reads what is new.

One line for each change, the stage's folder, in .stageio/changes.<host>: appending is whole among the processes of one
host and not between hosts, so each has a file. They only grow, by some thirty bytes for an attempt, and are read on
from where they were last read. They are no record: without them all stages are looked at.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from otel_stageio.job import host
from otel_stageio.journal import files

if TYPE_CHECKING:
    from otel_stageio.job.layout import JobLayout

#: What the names of these files begin with; after it comes the host's.
CHANGES: Final = "changes."


class Place(NamedTuple):
    """How far a file has been read: which one it was, and so many bytes of it."""

    inode: int
    end: int


#: How far each file has been read, by name.
Places: TypeAlias = dict[str, Place]


def tell(job: JobLayout, folder: str) -> None:
    """Say that the stage with that folder is about to change, or has. Raises OSError.

    From any process and thread. A new attempt's folder has to be there, and nothing said in it yet: then whoever reads
    this sees the one, and whoever has read on before will look for the other.
    """
    said = files.AppendFile(str(job.inner / f"{CHANGES}{host.name()}"))
    said.write(os.fsencode(folder) + b"\n")
    said.close()


def since(job: JobLayout, places: Places | None) -> tuple[set[str] | None, Places | None]:
    """The folders that were told of since `places`, and the new places.

    Of the folders None where nobody can say: from no place, of a file that is another than it was, and without any.
    """
    told: set[str] = set()
    now: Places = {}
    # Without a place, and without the file of one, there may be changes that nobody reads any more.
    known = places is not None
    before = places or {}
    try:
        found = {name for name in os.listdir(job.inner) if name.startswith(CHANGES)}
        for name in found:
            words, now[name] = _read(os.path.join(job.inner, name), before.get(name), whole=known)
            known = known and words is not None
            told.update(words or ())
    except OSError:
        return None, None
    return (told if known and found and before.keys() <= found else None), (now if found else None)


def _read(path: str, place: Place | None, *, whole: bool) -> tuple[set[str] | None, Place]:
    """What a file says after `place`, None where it is another file. With `whole` a file without a place is all new."""
    with open(path, "rb", buffering=0, opener=files.regular) as file:
        found = os.fstat(file.fileno())
        if place is None and whole:
            place = Place(found.st_ino, 0)
        if place is None or found.st_ino != place.inode or found.st_size < place.end:
            return None, Place(found.st_ino, found.st_size)
        file.seek(place.end)
        said = file.read()
    end = said.rfind(b"\n") + 1  # the rest is being written
    return {os.fsdecode(line) for line in said[:end].split(b"\n") if line}, place._replace(end=place.end + end)
