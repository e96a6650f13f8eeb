"""Stages as they were when they were last looked at, kept in .stageio/stages.json for the next process.

It holds nothing that the journals do not and may be deleted at any time: decision 0006.
"""

from __future__ import annotations

import json
from operator import index
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_stageio.journal import files
from otel_stageio.views import job_manifest
from otel_stageio.views.indented import Ready, ready
from otel_stageio.views.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.job.layout import JobLayout

CACHE: Final = "stages.json"
#: Between two lines of stages.json, and nowhere in one: JSON has no line break within a text.
_BETWEEN: Final = ",\n"
_TYPES: Final = [type(each) for each in Summary("", 0, 0, 0, 0)]

#: The newest attempt of a stage, and size and modification time of its events.
Print = tuple[int, int, int]

#: In place of the size where the stage is to be looked at again in any case: no file has it.
_AGAIN: Final = -1


class Known(NamedTuple):
    """A stage as it was when it was last looked at."""

    print: Print
    summary: Summary
    #: Its line in stages.json and the one in the job manifest, made once: that takes longer than writing them.
    cached: str
    shown: Ready

    @property
    def is_ending(self) -> bool:
        """Whether the attempt has ended and its process had not let go of the stage: it may have died before that."""
        return self.print[1] == _AGAIN


def ending(folder: str, summary: Summary) -> Known:
    """Keep the summary of a stage whose process has not let go of it: to be looked at again."""
    return known(folder, (0, _AGAIN, 0), summary)


def known(folder: str, seen: Print, summary: Summary, cached: str = "") -> Known:
    """Keep the summary of the stage with that folder, as it was when it looked as `seen`."""
    cached = cached or json.dumps({folder: [*seen, *summary]})[1:-1]
    return Known(seen, summary, cached, ready(job_manifest.entry(summary, folder)))


def save(job: JobLayout, stages: Iterable[Known]) -> None:
    """Write stages.json. Raises OSError."""
    files.replace(str(job.inner / CACHE), f"{{{_BETWEEN.join([of.cached for of in stages])}}}".encode())


def load(job: JobLayout) -> dict[str, Known]:
    """What stages.json tells, by folder; what it cannot tell is read anew."""
    try:
        with open(job.inner / CACHE, encoding="utf-8", opener=files.regular) as file:
            text = file.read()
        found = {}
        # Each line is kept as it stands: in a job of a thousand stages a process would take long to make them all.
        for (folder, of), line in zip(json.loads(text).items(), text[1:-1].split(_BETWEEN), strict=True):
            attempt, size, changed, *about, declared = of
            found[folder] = known(folder, (index(attempt), size, changed), _summary([*about, tuple(declared)]), line)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
    return found


def _summary(of: list[Any]) -> Summary:
    """The summary of these values. Raises TypeError where they are of other types: they would go into the manifest."""
    summary = Summary._make(of)
    if [type(each) for each in summary] != _TYPES:
        raise TypeError(f"{of!r} is no summary")
    return summary
