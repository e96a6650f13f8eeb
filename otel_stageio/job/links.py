"""Links in a job folder. Whoever may write there may plant one, and must not choose thereby where else we write.

The job folder itself is where the caller says, through any links. Below it a folder may be a link that stays in the
job; one that leads out is refused. Files are opened without following a link at all (`journal.files`).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from otel_stageio.errors import OutputPathError

if TYPE_CHECKING:
    from pathlib import Path


def trouble(root: Path, *folders: Path) -> str:
    """What is wrong where one of these folders below the job folder `root` is a link that leads out of it, else "".

    A folder that is not there, or is no link, is fine and costs one look.
    """
    for folder in folders:
        if os.path.islink(folder):
            real = os.path.realpath(folder)
            if not real.startswith(os.path.join(os.path.realpath(root), "")):
                return (
                    f"{folder} is a link that leads out of the job folder, to {real}, and is not followed: remove it. "
                    f"To keep a job on another disk, make the job folder itself a link"
                )
    return ""


def refuse(root: Path, *folders: Path) -> None:
    """Raise OutputPathError where there is `trouble`: for the caller, before anything is written."""
    said = trouble(root, *folders)
    if said:
        raise OutputPathError(said)


def avoid(root: Path, *folders: Path) -> None:
    """Raise OSError where there is `trouble`: while the stage runs, when it is ours to cope with."""
    said = trouble(root, *folders)
    if said:
        raise OSError(errno.ELOOP, said)
