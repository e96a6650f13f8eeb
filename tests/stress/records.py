"""The journals and logs of a stress run, held against what its processes noted."""

from __future__ import annotations

import itertools
import logging
import re
import signal
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from tests.stress.disk import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.stress import disk, notes

#: Seconds for which a child by fork may go on after its parent was killed, and that two clocks may be apart.
OUTLIVES = 1.0
_CLOCK = 0.1
ABANDONED = ("abandoned", "abandoned")
#: Status and error.type of what a process did to end a stage.
ENDS = {
    "success": ("success", ""),
    "failed": ("failed", "_OTHER"),
    "skipped": ("skipped", ""),
    "raise": ("failed", "ValueError"),
    "exit": ("failed", "_OTHER"),
    "term": ("failed", "SIGTERM"),
    "kill": ABANDONED,
    "nothing": ABANDONED,
}
#: What a stage says by itself: an input was not there, a stage without a number got one, an exception ended it.
_MISSING = re.compile(r"input \S*made\.json is missing(\n  looked at [^\n]+)+")
_NUMBERED = re.compile(r"Stage number \d+ is the next free one\. [^\n]+pyproject\.toml\.")
_RAISED = "ValueError: invalid literal for int() with base 10: 'dice'"
_TRACEBACK = re.compile(
    rf'Traceback \(most recent call last\):\n  File [^\n]+\n    int\("dice"\)\n{re.escape(_RAISED)}'
)


def possible_ends(attempt: notes.Attempt, process: notes.Process) -> set[tuple[str, str]]:
    """What may be on record as the end of an attempt of that process."""
    ended = attempt.ended or (attempt.how == "term" and process.code == -signal.SIGTERM)
    if ended:
        return {ENDS[attempt.how]}
    return {ABANDONED, ENDS[attempt.how]} if attempt.how else {ABANDONED}


def of_attempt(attempt: notes.Attempt, process: notes.Process, found: disk.Attempt) -> Iterator[str]:
    """What is wrong in the journal of an attempt."""
    at = f"{attempt.place}, attempt {attempt.number}"
    said = [each for each in found.logs if not _own(each)]
    yield from _sequence(f"{at}, logs.jsonl", attempt, [(each.level, each.text) for each in said], logging.DEBUG)
    yield from _events(at, attempt, process, found)
    yield from _spans(at, attempt, found)
    yield from _times(at, attempt, process, found)
    yield from _uids(at, [*found.logs, *found.events])


def _sequence(at: str, attempt: notes.Attempt, said: Sequence[tuple[str, str]], least: int) -> Iterator[str]:
    """What is wrong with the messages that are on record: of each process all, in its order; of others none."""
    calls = [of for of in attempt.calls if of.kind == "log" and of.level >= least]
    by = {of.text: of.by for of in calls}
    for process in {0, *by.values()}:
        theirs = [each for each in said if by.get(each[1], 0) == process]
        wanted = [(logging.getLevelName(of.level), of.text) for of in calls if of.by == process]
        last = attempt.cut.get(process)
        if theirs != wanted and not (last in calls and theirs == wanted[:-1]):
            pairs = itertools.zip_longest(theirs, wanted)
            number, pair = next((number, pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1])
            shown = [str(each)[:60] if each else "nothing" for each in pair]
            yield f"{at}: {len(theirs)} messages, not {len(wanted)}; number {number} is {shown[0]}, not {shown[1]}"


def _events(at: str, attempt: notes.Attempt, process: notes.Process, found: disk.Attempt) -> Iterator[str]:
    """What is wrong with the events: a start, the artifacts in their order, an end."""
    missed = [each for each in found.events if each.name == "warning" and _MISSING.fullmatch(each.text)]
    asked = [each for each in found.events if each.name == "git"]
    names = [each.name for each in found.events if each not in missed and each not in asked]
    finished = found.event("stage.finished")
    end = (finished.values.get("stageio.status"), finished.values.get("error.type", "")) if finished else None
    ends = possible_ends(attempt, process)
    if end not in ends:
        yield f"{at} ended by {attempt.how or 'a kill'} and is on record as {end}, not {sorted(ends)}"
    wanted = [of.kind for of in attempt.calls if of.kind != "log"]
    raised = ["error"] if attempt.how == "raise" else []
    possible = [["stage.started", *wanted, *raised, "stage.finished"]]
    if not attempt.ended:
        possible.append(["stage.started", *wanted, "stage.finished"])
    if attempt.pid in attempt.cut and attempt.cut[attempt.pid].kind != "log":
        possible.append(["stage.started", *wanted[:-1], "stage.finished"])
    if names not in possible:
        yield f"{at}: the events are {names}, not {possible[0]}"
    if len(missed) > 1 or len(asked) > 1:
        yield f"{at}: {len(missed)} inputs are missing, git was asked {len(asked)} times"
    made = [each.values["file.path"] for each in found.events if each.name == "output"]
    if made not in ([], [f"{attempt.place}/made.json"]):
        yield f"{at}: the output is {made}"
    started = found.event("stage.started")
    if started is not None and (started.values["process.pid"], started.values["stageio.stage.attempt"]) != (
        attempt.pid,
        attempt.number,
    ):
        yield f"{at}, was of process {attempt.pid} and is on record as {started.values}"


def _spans(at: str, attempt: notes.Attempt, found: disk.Attempt) -> Iterator[str]:
    """What is wrong with the span: there is one, and it says what the events say."""
    started, finished = found.event("stage.started"), found.event("stage.finished")
    if len(found.spans) != 1 or started is None or finished is None:
        yield f"{at} has {len(found.spans)} spans"
        return
    span = found.spans[0]
    same = ("stageio.stage.name", "stageio.stage.number", "stageio.stage.item", "stageio.stage.attempt", "process.pid")
    wanted: dict[str, Any] = {key: started.values.get(key) for key in same}
    wanted |= {key: finished.values.get(key) for key in ("stageio.status", "error.type", "stageio.reason")}
    wanted |= {
        f"stageio.{name}s.count": sum(each.name == name for each in found.events) for name in ("output", "input")
    }
    if attempt.ended:  # else a child may have gone on
        wanted |= {f"stageio.logs.{level.lower()}.count": n or None for level, n in levels(attempt, found).items()}
    differs = {key: (span.values.get(key), value) for key, value in wanted.items() if span.values.get(key) != value}
    if differs:
        yield f"{at}: the span differs from the events: {differs}"
    ids = {each.span for each in (*found.logs, *found.events, span)}
    if len(ids) != 1:
        yield f"{at} has {len(ids)} span ids"
    failed = finished.values.get("stageio.status") in ("failed", "abandoned")
    if (span.name, span.time, span.end, span.failed) != (
        _who(attempt).partition(":")[0],
        started.time,
        finished.time,
        failed,
    ):
        yield f"{at}: the span is {span.name} from {span.time} to {span.end}, failed {span.failed}"


def _times(at: str, attempt: notes.Attempt, process: notes.Process, found: disk.Attempt) -> Iterator[str]:
    """Records of another time than that in which the process had the attempt, by the clock of the wall."""
    since, until = (each + attempt.clock for each in (attempt.opens, process.died))
    for each in (*found.logs, *found.events):
        if not since - _CLOCK <= each.time / 1e9 <= until + OUTLIVES:
            yield f"{at}: {each.name or 'a message'} is of {each.time / 1e9}, not from {since} to {until}"


def levels(attempt: notes.Attempt, found: disk.Attempt, *, late: bool = False) -> dict[str, int]:
    """How many messages there were of each level, the stage's own among them, until the end or with the `late` ones."""
    calls = attempt.calls if late or not attempt.how else attempt.calls[: attempt.before]
    count = Counter(logging.getLevelName(of.level) for of in calls if of.kind == "log")
    count.update(each.level for each in found.logs if _own(each))
    return {level: count[level] for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}


def _uids(at: str, records: Iterable[disk.Record]) -> Iterator[str]:
    """Records that are missing between others, or there twice: each writer counts his from 1."""
    written: dict[str, list[int]] = defaultdict(list)
    for record in records:
        writer, _, number = record.values["log.record.uid"].rpartition("-")
        written[writer].append(int(number))
    for writer, numbers in written.items():
        if sorted(numbers) != [*range(1, len(numbers) + 1)]:
            yield f"{at}: the records of {writer} are {sorted(numbers)}"


def _own(record: disk.Record) -> bool:
    """Whether the stage itself said so."""
    trace = record.values.get("exception.stacktrace")
    return _is_own(f"{record.text}\n{trace}" if trace else record.text)


def _is_own(text: str) -> bool:
    raised, _, trace = text.partition("\n")
    if raised == _RAISED:
        return _TRACEBACK.fullmatch(trace) is not None
    return any(each.fullmatch(text) for each in (_MISSING, _NUMBERED))


def of_log(
    name: str, log: Sequence[Entry], made: Sequence[tuple[notes.Attempt, disk.Attempt]], least: int
) -> Iterator[str]:
    """What is wrong in a log file that has the messages of these attempts, from a level on, and of their stages."""
    theirs = {of.text: attempt for attempt, _ in made for of in attempt.calls if of.kind == "log"}
    said: dict[int, list[tuple[str, str]]] = {id(attempt): [] for attempt, _ in made}
    own: Counter[Entry] = Counter()
    for entry in log:
        attempt = theirs.get(entry.text)
        if attempt is not None and entry.who == _who(attempt):
            said[id(attempt)].append((entry.level, entry.text))
        else:
            own[entry] += 1
    for attempt, found in made:
        yield from _sequence(f"{name}, {attempt.place}, attempt {attempt.number}", attempt, said[id(attempt)], least)
        for each in found.logs:
            if _own(each) and logging.getLevelName(each.level) >= least:
                trace = each.values.get("exception.stacktrace")
                entry = Entry(_who(attempt), each.level, f"{each.text}\n{trace}" if trace else each.text)
                own[entry] -= 1 if attempt.ended or own[entry] else 0
    # A line comes before its record: where the process was killed between the two there is one more.
    cut = {_who(attempt) for attempt, _ in made if not attempt.ended}
    for entry, times in own.items():
        if times and not (times == 1 and entry.who in cut and _is_own(entry.text)):
            yield f"{name}: {entry.who} {entry.text[:60]!r} is there {times:+} times"


def _who(attempt: notes.Attempt) -> str:
    folder, _, item = attempt.place.partition("/")
    stage = folder.partition("_")[2]
    return f"{stage}:{item}" if item else stage
