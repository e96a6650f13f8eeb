"""Whether a job folder is a copy of one that is still there: then the next stage in it gives it an id of its own.

Each host that opens a stage notes in .stageio/places/<host> where it has the folder. A folder that is found elsewhere
was moved, is mounted elsewhere, or is a copy. It is taken for a copy only where that is proved: at a noted place stands
a job of the same id, with another inode, and a file that is made here does not appear there. Device numbers say nothing
(they change with each mount), and inodes alone little (some network file systems make them up): a copy that is missed
has the id of its original, which costs little, and a new id for the same folder would tear a job apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_stageio.job import host, links
from otel_stageio.journal import files
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    from otel_stageio.job.layout import JobLayout

#: The folder of these notes in .stageio, and the key of job.json with the id of the job that was copied.
PLACES: Final = "places"
COPIED_FROM: Final = "copied_from"
#: What the name of the file begins with that holds the new id; after it comes the old one.
_CLAIM: Final = "copy_of_"


def is_known(job: JobLayout) -> bool:
    """Whether this host found the job in this place before, or the job began here."""
    try:
        return files.small(str(job.inner / PLACES / host.name())) == _here(job)
    except (OSError, ValueError):
        return False


def note(job: JobLayout) -> None:
    """Note that this host has the job in this place. What cannot be written is asked again next time."""
    folder = job.inner / PLACES
    with contextlib.suppress(OSError):
        links.avoid(job.root, folder)
        files.make_folders(str(folder))
        files.replace(str(folder / host.name()), _here(job))


def _here(job: JobLayout) -> bytes:
    return os.fsencode(os.path.realpath(job.root)) + b"\n"


def is_copy(job: JobLayout, job_id: str) -> bool:
    """Whether the folder is proved to be a copy of one that stands at a place that some host noted."""
    noted = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(job.inner / PLACES):
            with contextlib.suppress(OSError, ValueError):  # one that is being written
                noted.add(files.small(str(job.inner / PLACES / name)))
    return any(_stands(Path(os.fsdecode(place[:-1])), job, job_id) for place in noted - {_here(job)})


def _stands(place: Path, job: JobLayout, job_id: str) -> bool:
    """Whether at `place` stands another folder than the job's, and that is the job, too."""
    other = job._replace(root=place)
    try:
        # Folders and not files: those may be two names of one file in a copy by hard links.
        if os.stat(other.inner).st_ino == os.stat(job.inner).st_ino:
            return False
        return _read(other)["job_id"] == job_id and not files.is_same_folder(str(job.inner), str(other.inner))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def give_id(job: JobLayout, old: str) -> str:
    """Give a copy, which has the `old` id, one of its own; processes that do so at once give the same.

    Raises OSError, ValueError.
    """
    claim = str(job.inner / f"{_CLAIM}{old}")
    here = _here(job)
    own = os.urandom(8).hex()
    if not files.claim_file(claim, f"{own} ".encode() + here):
        theirs, _, place = files.small(claim).partition(b" ")
        if place == here:
            own = theirs.decode()
        else:  # of a copy that came no further, and that this one is a copy of
            files.replace(claim, f"{own} ".encode() + here)
    document = _read(job)
    if document["job_id"] != old:
        return str(document["job_id"])
    now = {**document, "job_id": own, "created_at": rfc3339(time.time_ns()), COPIED_FROM: old}
    files.replace(str(job.job_json), f"{json.dumps(now, indent=2)}\n".encode())
    return own


def _read(job: JobLayout) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files.small(str(job.job_json)))
    return document
