"""Whether a stress run went well: what is on disk, held against what the processes noted."""

from __future__ import annotations

import itertools
import json
import logging
import signal
from collections import Counter, defaultdict
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio.job import registry
from otel_stageio.job.layout import JobLayout
from tests.stress import disk, manifests, notes, records
from tests.stress.work import KEPT, LAST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

#: What a process comes to by how its last attempt ended; 0 is any other.
_CODES = {"exit": 3, "kill": -signal.SIGKILL, "term": -signal.SIGTERM}

#: How often an attempt may be told of, on average: when it is opened, when it has ended, and by who saw that first.
_TOLD = 4


class Found(NamedTuple):
    """What came of a stress run: what was done, and each thing that is wrong."""

    processes: int
    attempts: int
    records: int
    wrong: list[str]


def judge(root: Path) -> Found:
    """Judge the run in `root`, which has the folders job and notes."""
    processes = notes.read(root / "notes")
    job = disk.read(root / "job")
    made = [(attempt, process) for process in processes for attempt in process.attempts]
    wrong = [
        *job.wrong,
        *(said for process in processes for said in _process(process)),
        *_holds(processes),
        *_refusals(processes),
        *_numbers(job),
        *_known(job, processes),
        *_journals(job, made),
        *_logs(job, [attempt for attempt, _ in made]),
        *_manifests(root, job, made),
        *_changes(job),
        *_traces(job),
    ]
    killed = sum(process.code in (-signal.SIGALRM, -signal.SIGKILL) for process in processes)
    if job.unfinished > killed:
        wrong.append(f"{job.unfinished} unfinished files of {killed} processes that were killed")
    said = sum(of.kind == "log" for attempt, _ in made for of in attempt.calls)
    return Found(len(processes), sum(len(stage.attempts) for stage in job.stages.values()), said, wrong)


def _process(process: notes.Process) -> Iterator[str]:
    """What is wrong with how a process ended."""
    yield from (f"process {process.name}: {said}" for said in process.trouble)
    last = process.attempts[-1].how if process.attempts else ""
    codes = {_CODES.get(last, 0)} | ({-signal.SIGALRM} if process.alarm else set())
    if process.code not in codes:
        yield f"process {process.name} came to {process.code}, not {codes}, after {last or 'nothing'}"
    if process.unopened and process.code != -signal.SIGALRM:
        yield f"process {process.name} began to open {process.unopened} and never said what came of it"


def _holds(processes: Iterable[notes.Process]) -> Iterator[str]:
    """Stages that two had at once, and others than were asked for."""
    held: dict[str, list[notes.Attempt]] = defaultdict(list)
    for process in processes:
        for attempt in process.attempts:
            held[attempt.place].append(attempt)
            folder, _, item = attempt.place.partition("/")
            if _asked(*attempt.asked) != (folder.partition("_")[2], item):
                yield f"process {process.name} asked for {attempt.asked} and got {attempt.place}"
    for place, attempts in held.items():
        for one, other in itertools.pairwise(sorted(attempts, key=attrgetter("opened"))):
            if other.opened < one.until or other.number <= one.number:
                yield f"{place}: attempt {other.number} was opened before the end of attempt {one.number}"


def _refusals(processes: Iterable[notes.Process]) -> Iterator[str]:
    """Stages that were refused though nobody had them."""
    held: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for process in processes:
        for attempt in process.attempts:
            gone = attempt.gone + (0 if attempt.ended else records.OUTLIVES)
            held[_asked(*attempt.asked)].append((attempt.opens, gone))
        if process.unopened:
            held[_asked(*process.unopened)].append((process.opens, process.died + records.OUTLIVES))
    for process in processes:
        for stage, item, since, until in process.refused:
            if not any(begin <= until and end >= since for begin, end in held[_asked(stage, item)]):
                yield f"process {process.name} was refused {stage} {item}, which nobody had"


def _asked(stage: str, item: str) -> tuple[str, str]:
    """The name of a stage as it was asked for, with or without a number, and the item."""
    number, _, name = stage.partition("_")
    return (name if number.isdigit() else stage), item


def _numbers(job: disk.Job) -> Iterator[str]:
    """Numbers that two stages have, and names that have two numbers; attempts that are not counted from 1."""
    folders = {stage.place.partition("/")[0]: stage for stage in job.stages.values()}
    for number, times in Counter(stage.number for stage in folders.values()).items():
        if times > 1:
            yield f"number {number} is there {times} times"
    for name, times in Counter(stage.name for stage in folders.values()).items():
        if times > 1:
            yield f"{name} has {times} folders"
    for stage in job.stages.values():
        if sorted(stage.attempts) != [*range(1, len(stage.attempts) + 1)]:
            yield f"{stage.place} has the attempts {sorted(stage.attempts)}"


def _known(job: disk.Job, processes: Sequence[notes.Process]) -> Iterator[str]:
    """Attempts that nobody noted: each is that of a process that was killed while it opened it, and so has little."""
    noted = Counter((attempt.place, attempt.number) for process in processes for attempt in process.attempts)
    yield from (f"{place}, attempt {number}, was opened {n} times" for (place, number), n in noted.items() if n > 1)
    unopened = [process for process in processes if process.unopened]
    for stage in job.stages.values():
        for number, attempt in stage.attempts.items():
            if (stage.place, number) in noted:
                continue
            started = attempt.event("stage.started")
            pid = started.values["process.pid"] if started else None
            asked = (stage.name, stage.item)
            who = [of for of in unopened if of.unopened and _asked(*of.unopened) == asked and pid in (None, of.pid)]
            if not who:
                yield f"{stage.place}, attempt {number}, was opened by nobody"
                continue
            unopened.remove(who[0])
            if started:
                opening = notes.Attempt(stage.place, number, pid=who[0].pid, clock=who[0].clock)
                yield from records.of_attempt(opening, who[0], attempt)
            elif any(attempt):
                yield f"{stage.place}, attempt {number}, has no start"


def _journals(job: disk.Job, made: Iterable[tuple[notes.Attempt, notes.Process]]) -> Iterator[str]:
    for attempt, process in made:
        stage = job.stages.get(attempt.place)
        found = stage.attempts.get(attempt.number) if stage else None
        if found is None:
            yield f"{attempt.place}, attempt {attempt.number}, is not there"
        else:
            yield from records.of_attempt(attempt, process, found)


def _logs(job: disk.Job, made: Iterable[notes.Attempt]) -> Iterator[str]:
    theirs: dict[str, dict[int, notes.Attempt]] = defaultdict(dict)
    for attempt in made:
        theirs[attempt.place][attempt.number] = attempt
    every = []
    for place, stage in job.stages.items():
        # Of an attempt whose process was killed while it opened it there are no notes.
        both = [(theirs[place].get(n, notes.Attempt(place, n)), found) for n, found in stage.attempts.items()]
        every += both
        yield from records.of_log(f"{place}/stage.log", stage.log, both, logging.DEBUG)
        heads = Counter(stage.heads)
        began = Counter((number, attempt.pid) for number, attempt in theirs[place].items())
        if began - heads or max(heads.values(), default=0) > 1 or not {n for n, _ in heads} <= stage.attempts.keys():
            yield f"{place}/stage.log: begun were {sorted(heads)}, not {sorted(began)}"
    yield from records.of_log("the pipeline log", job.log, every, logging.INFO)


def _manifests(root: Path, job: disk.Job, made: Iterable[tuple[notes.Attempt, notes.Process]]) -> Iterator[str]:
    ended = {(attempt.place, attempt.number): attempt for attempt, _ in made if attempt.ended}
    for stage in job.stages.values():
        number, _ = manifests.newest(stage) or (0, "")
        attempt = ended.get((stage.place, number))
        found = stage.attempts.get(number)
        # A message that comes after the end is counted if the process lives for another while.
        counts = [records.levels(attempt, found, late=late) for late in (False, True)] if attempt and found else []
        yield from manifests.of_stage(stage, counts)
        yield from manifests.folded(root / "job", stage, number)
        if attempt and stage.lock and json.loads(stage.lock).get("pid") == attempt.pid:
            yield f"{stage.place}: the lock was not given back by {stage.lock}"
    yield from manifests.of_job("the job manifest", job.manifest, job.stages.values())
    kept = json.loads((root / KEPT).read_text()) if (root / KEPT).exists() else {}
    before = [stage for stage in job.stages.values() if stage.name != LAST]
    yield from manifests.of_job("the keeper's job manifest", kept, before)
    if registry.overview(JobLayout(root / "job")) != job.manifest:
        yield "the job manifest is not what the journals say"
    if job.logs != [job.manifest.get("pipeline_log")]:
        yield f"the pipeline log is {job.logs}, and {job.manifest.get('pipeline_log')} in the job manifest"


def _changes(job: disk.Job) -> Iterator[str]:
    """More lines about what changed than somebody had to say: whoever comes new reads them all."""
    attempts = sum(len(stage.attempts) for stage in job.stages.values())
    if job.told > _TOLD * (attempts + len(job.stages)):
        yield f"{job.told} changes were told of {attempts} attempts"


def _traces(job: disk.Job) -> Iterator[str]:
    """More than one trace, more or less than one root, spans that two have or that do not hang on the root."""
    found = [(stage, of) for stage in job.stages.values() for of in stage.attempts.values()]
    every = [each for _, attempt in found for of in attempt for each in of] + job.roots
    for what, ids in {
        "traces": {each.trace for each in every},
        "jobs": {each.values.get("stageio.job.id") for each in every},
        "runs": {each.values.get("stageio.run") for each in every},
        "parents": {each.parent for _, attempt in found for each in attempt.spans},
    }.items():
        if len(ids) != 1:
            yield f"{len(ids)} {what}"
    if len(job.roots) != 1:
        yield f"{len(job.roots)} roots"
    if {each.span for each in job.roots} != {each.parent for _, attempt in found for each in attempt.spans}:
        yield "the spans hang on another than the root"
    for span, times in Counter(each.span for _, attempt in found for each in attempt.spans).items():
        if times > 1:
            yield f"span {span} is there {times} times"
