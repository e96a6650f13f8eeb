"""Keeping the job manifest: who calls has changed a stage and says so, what others changed is found by looking.

The first update of a process looks at all stages under the job's lock: that costs two `stat` a stage, and its journal
is read again only where one of them tells of a change. What was found is kept in .stageio/stages.json, which holds
nothing that the journals do not and may be deleted at any time.

From then on the process remembers what it found, and looks only at the stages that somebody told of since
(`changes`), at those that have not ended, and at the folders that came or went.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job import changes, identity, items, links, locks, looks, passes, runs, status
from otel_stageio.job.items import Items
from otel_stageio.job.layout import EVENTS, STAGEIO, JobLayout, StageLayout, placed, stage_folder, stage_folders
from otel_stageio.job.looks import Known, Print
from otel_stageio.journal import files
from otel_stageio.views import job_manifest
from otel_stageio.views.indented import ready
from otel_stageio.views.manifest import dump
from otel_stageio.views.summary import Summary
from otel_stageio.views.tally import Tally

#: Seconds to wait for the job's lock. Fifty stages that end at once need a fraction of it; fifty that begin and end all
#: the time on two cores do not get it in time in a part of the cases, and go on without: decision 0005.
LOCK_PATIENCE = 5.0


class _Memory(NamedTuple):
    """What the last update of this process found and wrote. Whoever takes it is alone with it: see `_memory`."""

    root: str
    job_id: str | None
    place: changes.Places | None
    stages: dict[str, Known]
    items: Items
    #: The folders of items that are to be looked at again.
    again: list[str]
    #: The job manifest as bytes, and as values but for our stages.
    manifest: bytes | None
    document: dict[str, Any]


#: Of the job that this process changed last; empty while an update has it, also where two threads had no lock.
_memory: list[_Memory] = []


class _Turn(threading.local):
    """What this thread is about to update: one after the other, since it would wait for its own lock."""

    def __init__(self) -> None:
        self.taken = False
        self.waiting: list[tuple[JobLayout, str | None]] = []


_turn = _Turn()


def update(job: JobLayout, changed: str | None = None) -> list[str]:
    """Bring the job manifest up to date; gives the folders of stages whose process was found dead. Raises OSError.

    `changed` is the folder of the stage that the caller has changed; without it all stages are looked at.

    Without the lock (a file system that has none) it is written all the same: it is derived from the journals, so the
    worst is that it is late until the next stage.
    """
    _turn.waiting.append((job, changed))
    if _turn.taken:  # a signal handler ends a stage: whom it interrupted comes to that
        return []
    _turn.taken = True
    dead: list[str] = []
    try:
        while _turn.waiting:
            dead = _update(*_turn.waiting.pop(0))
    finally:
        _turn.taken = False
        _turn.waiting.clear()
    return dead


def _update(job: JobLayout, changed: str | None) -> list[str]:
    links.avoid(job.root, job.inner)
    with locks.job_lock(str(job.lock), LOCK_PATIENCE):
        left = _taken()  # until all is written
        job_id = identity.read_job_id(job)
        if changed is not None and "/" not in changed:  # of an item is told when it opens, and what it came to
            with contextlib.suppress(OSError):  # a full disk: others are late, the manifest is right
                changes.tell(job, changed)
        if left is None or (left.root, left.job_id) != (str(job.root), job_id):
            left = _Memory(str(job.root), job_id, None, looks.load(job), {}, [], None, {})
        said = changes.since(job, left.place if changed is not None else None)
        if said.whole:
            now = look(job, left.stages, changed)
        else:
            told = {of for of in (changed or "", *said.words) if "/" not in of}
            now = _look_again(job, left.stages, told, changed)
        looked = items.look(job, said, left.items, changed or "", left.again)
        if looked.news:
            with contextlib.suppress(OSError):  # then they are looked at by whoever comes next
                changes.tell_known(job, looked.news)
        # What a running stage says changes with every line: the next process has to read its journal anyway.
        new = [of for folder, of in now.items() if of is not left.stages.get(folder)]
        if any(of.summary.ended for of in new) or not left.stages.keys() <= now.keys():
            looks.save(job, now.values())
        left = _write_manifest(job, left._replace(stages=now, place=said.place, again=looked.again))
        _memory[:] = [left]
        return _dead(job, now, left.items, looked.ending)


def overview(job: JobLayout) -> dict[str, Any] | None:
    """The job manifest as it would be written now, without what others wrote there; None where nothing ran.

    Nothing is written. Raises OSError where the job folder cannot be read.
    """
    of_items: Items = {}
    items.look(job, changes.since(job, None), of_items)
    document = compose(job, look(job, {}), {}, of_items)
    return None if document is None else json.loads(dump(document))


def _taken() -> _Memory | None:
    try:
        return _memory.pop()
    except IndexError:
        return None


def look(job: JobLayout, before: dict[str, Known], changed: str | None = None) -> dict[str, Known]:
    """Every stage of the job that left a record, by folder; `changed` is the one that the caller has changed.

    Raises OSError where the job folder cannot be read.
    """
    found: dict[str, Known] = {}
    for folder in stage_folders(job.root):
        if folder.ours:
            stage = StageLayout(job, folder.number, folder.name)
            _look_at(stage, folder.folder, before.get(folder.folder), found, own=folder.folder == changed)
    return found


def _look_again(job: JobLayout, before: dict[str, Known], told: set[str], changed: str | None) -> dict[str, Known]:
    """The stages `before`, with the changes of those that were `told` of, have not settled, came or went."""
    there = set(os.listdir(job.root))
    found = before.copy()
    # Settled is what stays so until somebody tells of it: the newest attempt left a record and has ended.
    unsettled = [
        name
        for name, (seen, summary, _, _) in before.items()
        if summary.status == names.RUNNING or summary.attempt != seen[0]
    ]
    for name in {*told, *unsettled, *(there ^ before.keys())}:
        known = found.pop(name, None)
        folder = stage_folder(name) if name in there else None
        if folder is not None and folder.ours:
            _look_at(StageLayout(job, folder.number, folder.name), name, known, found, own=name == changed)
    return found


def _look_at(stage: StageLayout, folder: str, before: Known | None, found: dict[str, Known], *, own: bool) -> None:
    """Add the stage to what was `found`, if it is one; a folder that vanishes or cannot be read is none.

    Its `own` process knows that all is written of an attempt that has ended; any other sees that by the lock.
    """
    # Paths as text: of a thousand stages, path objects would cost more than the looking.
    inner = f"{stage.job.root}/{folder}/{STAGEIO}"
    with contextlib.suppress(OSError):
        if before is not None and _unchanged(inner, before.print):
            found[folder] = before
            return
        attempts = stage.attempts()
        seen = _print(inner, attempts[-1]) if attempts else (0, 0, 0)
        for attempt in reversed(attempts):
            summary = status.read_summary(stage, attempt)
            if summary is not None:
                ending = not own and status.is_ending(summary, stage)
                found[folder] = looks.ending(folder, summary) if ending else looks.known(folder, seen, summary)
                return


def _unchanged(inner: str, seen: Print) -> bool:
    """Whether the attempt is as it was, and still the newest: the next one would have the next number."""
    return _print(inner, seen[0]) == seen and not os.access(f"{inner}/{seen[0] + 1:03d}", os.F_OK)


def _print(inner: str, attempt: int) -> Print:
    """What changes when the attempt says more; taken before it is read, so that nothing said meanwhile is missed."""
    try:
        found = os.stat(f"{inner}/{attempt:03d}/{EVENTS}")
    except FileNotFoundError:
        return attempt, 0, 0
    return attempt, found.st_size, found.st_mtime_ns


def _write_manifest(job: JobLayout, left: _Memory) -> _Memory:
    """Write the job manifest where it differs from what stands there; the memory with what stands then."""
    standing = _content(job)
    before = left.document if standing is not None and standing == left.manifest else _parsed(job, standing)
    document = compose(job, left.stages, before, left.items)
    if document is None:
        return left
    data = dump(document)
    if data != standing:
        files.replace(str(job.manifest), data)
    theirs = document["stages"][len({*left.stages, *left.items}) :]
    return left._replace(manifest=data, document={**document, "stages": theirs})


def compose(
    job: JobLayout,
    stages: dict[str, Known],
    before: dict[str, Any],
    of_items: Items = {},  # noqa: B006 - never changed
) -> dict[str, Any] | None:
    """The job manifest of these stages as they stand now; None where none of them belongs to a run on record."""
    alive = {folder: _alive(job, of.summary) for folder, of in stages.items()}
    shown = {
        folder: of.shown if alive[folder] is of.summary else ready(job_manifest.entry(alive[folder], folder))
        for folder, of in stages.items()
    }
    own = alive.copy()
    for folder, tally in of_items.items():
        alive[folder], line = tally.entry(own.get(folder), folder, lambda of: _alive(job, of))
        shown[folder] = ready(line)
    latest = max(alive.values(), key=attrgetter("started", "run"), default=None)
    run = runs.read(job, latest.run) if latest else None
    job_id = identity.read_job_id(job)
    if latest is None or run is None or job_id is None:
        return None
    number = run.run
    later = [folder for folder, of in alive.items() if of.run > number]
    return job_manifest.job_manifest(
        job_id=job_id,
        run=run._asdict(),
        stages=alive.items(),
        before=before,
        moved_on=[
            found for folder in later if (found := _in_run(job, own.get(folder), of_items.get(folder, ()), number))
        ],
        pipeline=_pipeline(job, run, latest.started),
        shown=shown,
    )


def _pipeline(job: JobLayout, run: runs.Run, since: int) -> str:
    with contextlib.suppress(OSError):  # a folder of a run that cannot be read: the stages can
        return passes.stands(job, run, since)
    return ""


def _alive(job: JobLayout, of: Summary) -> Summary:
    """The same with running turned into abandoned or lost where nobody runs it any more."""
    if of.status != names.RUNNING:
        return of
    return status.alive(of, str(StageLayout(job, of.stage_number, of.stage, of.item).lock))


def _dead(job: JobLayout, stages: dict[str, Known], of_items: Items, ending: Iterable[str]) -> list[str]:
    """The folders of stages and items without an end, or without all that belongs to it, that nobody runs any more."""
    running = {folder: of.summary for folder, of in stages.items() if of.summary.status == names.RUNNING}
    running.update({f"{folder}/{of.item}": of for folder, tally in of_items.items() for of in tally.running})
    ending = [*ending, *(folder for folder, of in stages.items() if of.is_ending)]
    left = [place for place in ending if (of := placed(job, place)) and locks.held_here(str(of.lock)) is False]
    return left + [place for place, of in running.items() if _alive(job, of).status == names.ABANDONED]


def _in_run(job: JobLayout, own: Summary | None, of_items: Iterable[Summary], run: int) -> Summary | None:
    """What came of a stage in a run that it has gone on from, to a later one; without an end an attempt is dead."""
    tally = Tally()
    for of in of_items:
        tally.set(of.item, of if of.run == run else _of_run(job, of, run))
    own = own if own is None or own.run == run else _of_run(job, own, run)
    return tally.entry(own, "", lambda of: of)[0] if tally else own


def _of_run(job: JobLayout, newest: Summary, run: int) -> Summary | None:
    stage = StageLayout(job, newest.stage_number, newest.stage, newest.item)
    with contextlib.suppress(OSError):
        for attempt in reversed(stage.attempts()):
            known = status.read_summary(stage, attempt)
            if known is not None and known.run == run:
                return known._replace(status=names.ABANDONED) if known.status == names.RUNNING else known
    return None


def _content(job: JobLayout) -> bytes | None:
    try:
        with open(job.manifest, "rb", buffering=0, opener=files.regular) as file:
            return file.read()
    except FileNotFoundError:
        return None


def _parsed(job: JobLayout, data: bytes | None) -> dict[str, Any]:
    """The document that stands at the job manifest's place; what is no JSON object is moved aside, not lost."""
    if data is None:
        return {}
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, list) and all(isinstance(each, (dict, str)) for each in document):
        # An orchestrator's bare list of its stages.
        document = {"stages": document}
    if isinstance(document, dict):
        return document
    files.replace(str(job.root / "manifest.foreign"), data)
    return {}
