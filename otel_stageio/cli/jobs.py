"""Which jobs a command is about: those that the folders given are, or hold at any depth."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from otel_stageio.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_stageio.read.job import Job


class Found(NamedTuple):
    """The jobs that can be opened, and whether there were others: those were told."""

    jobs: list[Job]
    others: bool


def argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command take folders."""
    kind = click.Path(exists=True, file_okay=False)
    return click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=kind)(command)


def find(folders: Sequence[str]) -> Found:
    """Open the jobs at or below these folders, each once; what cannot be opened is told and passed over.

    Raises CannotBegin where a folder holds no job, or none that can be opened is left.
    """
    from otel_stageio.errors import JobFormatError
    from otel_stageio.read.job import open_job

    found: dict[str, Job] = {}
    others = []
    for path in [path for folder in folders for path in _below(folder)]:
        try:
            found.setdefault(os.path.realpath(path), open_job(path))
        except (JobFormatError, OSError) as trouble:
            others.append(str(trouble))
    if not found:
        output.cannot_begin(others[0])
    for why in others:
        output.trouble(why)
    return Found(list(found.values()), bool(others))


def _below(folder: str) -> list[str]:
    from otel_stageio.read.job import job_folders

    try:
        found = list(job_folders(folder))
    except OSError as why:
        output.cannot_begin(str(why))
    if not found:
        around = _around(folder)
        hint = f"it is part of the job {around}: give that" if around else "give the folder that a stage wrote into"
        output.cannot_begin(f"{folder} is no job folder and holds none; {hint}")
    return found


def _around(folder: str) -> str:
    """The job that the folder is a part of, or ""."""
    from otel_stageio.read.job import is_job

    path = os.path.abspath(folder)
    while (above := os.path.dirname(path)) != path:
        path = above
        if is_job(path):
            return path
    return ""
