"""The items of a job: how one becomes known, and how each stands.

There may be tens of thousands. What an item that has ended came to is said once in .stageio/changes, by whoever finds
it, and read from there; only those that run, or that nobody spoke of, are looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_stageio.errors import ItemNameError, quoted
from otel_stageio.job import links, status
from otel_stageio.job.layout import placed, stages
from otel_stageio.journal import files
from otel_stageio.views.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_stageio.job.changes import Said
    from otel_stageio.job.layout import JobLayout, StageLayout

#: The items of each stage's folder by their names, each with its newest attempt on record.
Items: TypeAlias = "Mapping[str, Mapping[str, Summary]]"

_KEPT: Final = ("attempt", "run", "started", "ended", "contradicted", "status")


def claim(stage: StageLayout) -> None:
    """Make an item of a stage known, before its folder is made; once more does nothing.

    Raises ItemNameError where the stage has something else at that place, and OSError.
    """
    folder = str(stage.folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ItemNameError(_taken(stage, f"{folder} is a file"))
    if os.path.lexists(stage.items_dir / stage.item):
        return
    if os.path.isdir(folder) and _is_output(stage):
        raise ItemNameError(_taken(stage, f"{folder} is an output of the stage"))
    links.refuse(stage.job.root, stage.items_dir)
    files.make_folders(str(stage.items_dir))
    files.claim_file(str(stage.items_dir / stage.item), b"")


def _taken(stage: StageLayout, why: str) -> str:
    return f"{quoted(stage.item)} cannot be an item of stage {stage.name!r}: {why}; give the item another name"


def _is_output(stage: StageLayout) -> bool:
    """Whether the stage itself, without items, tracked the item's folder as its output."""
    try:
        document = json.loads(files.small(str(stage.whole.manifest)))
        return any(entry["path"] == stage.place for entry in document["outputs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def look(job: JobLayout, said: Said, before: Items, changed: str = "") -> tuple[Items, list[tuple[str, str]]]:
    """The items of a job as they stand: as they were `before`, with what was `said` since.

    Those that run are looked at, and so are the one with the folder `changed` and those of which nobody said how they
    stand. With them comes what is worth saying: the folders of those that have ended, with what is known of them. Of a
    stage of which nothing changed it is the same mapping as before. Raises OSError where the job folder cannot be read.
    """
    if said.whole:
        found, unsaid = _heard_of_all(job, said.words)
        now: dict[str, Mapping[str, Summary]] = {**found}
    else:
        now = {folder: of for folder, of in before.items() if os.path.isdir(job.root / folder)}
        words = {place: of for place, of in said.words.items() if "/" in place and place != changed}
        unsaid = [place for place, word in words.items() if not _hear(now, job, place, word)]
    asked = {*unsaid, *_running(now)} | ({changed} if "/" in changed else set())
    news = []
    for place in asked:
        stage = placed(job, place)
        summary = _newest(stage) if stage is not None else None
        if stage is None or summary == now.get(stage.whole.place, {}).get(stage.item):
            continue
        _set(now, stage, summary)
        if summary is not None and summary.ended:
            news.append((place, told(summary)))
    return {folder: of for folder, of in now.items() if of}, news


def _heard_of_all(job: JobLayout, words: Mapping[str, str]) -> tuple[dict[str, dict[str, Summary]], list[str]]:
    """The items of all stages as they were told of, and the folders of those of which nothing is known."""
    found: dict[str, dict[str, Summary]] = {}
    unsaid = []
    for stage in stages(job):
        folder = stage.place
        of_stage = found[folder] = {}
        for item in stage.items():
            place = f"{folder}/{item}"
            summary = heard(stage, item, words.get(place, ""))
            if summary is None:
                unsaid.append(place)
            else:
                of_stage[item] = summary
    return found, unsaid


def _hear(now: dict[str, Mapping[str, Summary]], job: JobLayout, place: str, word: str) -> bool:
    """Take in what was said of an item; False where that has to be looked at."""
    stage = placed(job, place)
    summary = heard(stage, stage.item, word) if stage is not None else None
    if stage is None or summary is None:
        return False
    _set(now, stage, summary)
    return True


def _set(now: dict[str, Mapping[str, Summary]], stage: StageLayout, summary: Summary | None) -> None:
    folder = stage.whole.place
    of_stage = {**now.get(folder, {})}
    of_stage.pop(stage.item, None)
    now[folder] = of_stage if summary is None else {**of_stage, stage.item: summary}


def _running(now: Items) -> list[str]:
    return [f"{folder}/{item}" for folder, of in now.items() for item, each in of.items() if not each.ended]


def _newest(stage: StageLayout) -> Summary | None:
    """The newest attempt that left a start on record, as its journal has it."""
    with contextlib.suppress(OSError):
        for attempt in reversed(stage.attempts()):
            known = status.read_summary(stage, attempt)
            if known is not None:
                return known
    return None


def told(of: Summary) -> str:
    """What is known of an item that has ended, as one word for `heard`."""
    return " ".join([str(int(each) if isinstance(each, bool) else each) for each in map(of._asdict().get, _KEPT)])


def heard(stage: StageLayout, item: str, word: str) -> Summary | None:
    """The same as a summary of an item of the stage; None where it says nothing."""
    try:
        attempt, run, started, ended, contradicted, status = word.split(" ")
        return Summary(
            *(stage.name, stage.number, int(attempt), int(run), int(started), status, int(ended)),
            contradicted=contradicted == "1",
            item=item,
        )
    except ValueError:
        return None
