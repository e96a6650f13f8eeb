"""The items of a job: how one becomes known, and how each stands.

There may be tens of thousands. What an item that has ended came to is said once in .stageio/changes, by whoever finds
it, and read from there; only those that run, or that nobody spoke of, are looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from otel_stageio import conventions as names
from otel_stageio.errors import ItemNameError, quoted
from otel_stageio.job import attempts, changes, links, status
from otel_stageio.job.layout import placed, stages
from otel_stageio.journal import files
from otel_stageio.views import manifest
from otel_stageio.views.summary import Summary
from otel_stageio.views.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_stageio.job.changes import Said
    from otel_stageio.job.layout import JobLayout, StageLayout

#: What is known of the items of each stage, by its folder.
Items: TypeAlias = dict[str, Tally]

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
    whole = stage.whole
    try:
        known = status.newest(whole)
        if known is not None and known.status == names.RUNNING:  # its manifest.json is of some seconds ago
            document = manifest.manifest(attempts.state(whole, known.attempt, live=True))
        else:
            document = json.loads(files.small(str(whole.manifest)))
        return any(entry["path"] == stage.place for entry in document["outputs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


class Looked(NamedTuple):
    """What came of looking: what is worth saying, and where to look again, each by the folders of items."""

    #: Those that were found to have ended, with what is known of them.
    news: list[tuple[str, str]]
    #: Those that are being opened, whose newest attempt has a folder and no start on record; and those `ending`.
    again: list[str]
    #: Those that have ended, and whose process has not let go of them: it may have died before it wrote the rest.
    ending: list[str]


def look(job: JobLayout, said: Said, known: Items, changed: str = "", again: Iterable[str] = ()) -> Looked:
    """Bring what is `known` of the items of a job up to date, by what was `said` since.

    Those that run are looked at, and so are the one with the folder `changed`, those that were to be looked at `again`,
    and those of which nobody said how they stand. Raises OSError where the job folder cannot be read.
    """
    if said.whole:
        unsaid = _hear_all(job, said.words, known)
    else:
        for folder in [folder for folder in known if not os.path.isdir(job.root / folder)]:
            del known[folder]
        words = {place: of for place, of in said.words.items() if "/" in place and place != changed}
        unsaid = [place for place, word in words.items() if not _hear(job, known, place, word)]
        again = {*again} - (words.keys() - unsaid)  # of these it was said meanwhile
    running = [f"{folder}/{of.item}" for folder, tally in known.items() for of in tally.running]
    found = Looked([], [], [])
    for place in {*unsaid, *running, *again} | ({changed} if "/" in changed else set()):
        stage = placed(job, place)
        if stage is None:
            continue
        summary, is_opening = _newest(stage)
        is_ending = summary is not None and place != changed and status.is_ending(summary, stage)
        if is_opening or is_ending:
            found.again.append(place)
        if is_ending:
            found.ending.append(place)
        tally = known.setdefault(stage.whole.place, Tally())
        if summary == tally.get(stage.item) and (is_opening or place not in again):
            continue
        tally.set(stage.item, summary)
        if summary is not None and summary.ended and not is_ending:
            found.news.append((place, told(summary)))
    for folder in [folder for folder, tally in known.items() if not tally]:
        del known[folder]
    return found


def _hear_all(job: JobLayout, words: Mapping[str, str], known: Items) -> list[str]:
    """Know of the items of all stages what was said of them; gives the folders of those of which nothing was."""
    known.clear()
    unsaid = []
    for stage in stages(job):
        folder = stage.place
        tally = known[folder] = Tally()
        for item in stage.items():
            place = f"{folder}/{item}"
            summary = heard(stage, item, words.get(place, ""))
            if summary is None:
                unsaid.append(place)
            else:
                tally.set(item, summary)
    return unsaid


def _hear(job: JobLayout, known: Items, place: str, word: str) -> bool:
    """Take in what was said of an item; False where that has to be looked at."""
    stage = placed(job, place)
    summary = heard(stage, stage.item, word) if stage is not None else None
    if stage is None or summary is None:
        return False
    tally = known.setdefault(stage.whole.place, Tally())
    before = tally.get(stage.item)
    if before is not None and changes.is_stale(word, str(before.attempt)):
        return False
    tally.set(stage.item, summary)
    return True


def _newest(stage: StageLayout) -> tuple[Summary | None, bool]:
    """The newest attempt that left a start on record, as its journal has it; and whether there is a newer one."""
    with contextlib.suppress(OSError):
        numbers = stage.attempts()
        for attempt in reversed(numbers):
            known = status.read_summary(stage, attempt)
            if known is not None:
                return known, attempt != numbers[-1]
        return None, bool(numbers)
    return None, False


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
