"""What the processes of a stress run note beside the job: each call before it is made, and that it has returned."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: The file of what the processes came to; beside it lies one for each process, and its stderr.
EXITS = "exits"
STDERR = ".stderr"


class Notes:
    """The notes of one process, and of its children by fork; a line is one call of the system, so it is there whole."""

    def __init__(self, path: Path) -> None:
        """Append to the file `path`."""
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def __call__(self, what: str, *more: object) -> None:
        """Write down `what`, with the time and the process."""
        os.write(self._fd, json.dumps([time.monotonic(), os.getpid(), what, *more]).encode() + b"\n")


class Call(NamedTuple):
    """Something that an attempt has to have on record: a log record of that level, or an artifact of that role."""

    #: The process, which may be a child by fork.
    by: int
    kind: str
    level: int = 0
    text: str = ""


@dataclass
class Attempt:
    """What a process did with one attempt. Times are those of `time.monotonic`."""

    place: str
    number: int
    #: The stage and the item that were asked for.
    asked: tuple[str, str] = ("", "")
    pid: int = 0
    #: What to add to have seconds since the epoch.
    clock: float = 0.0
    opens: float = 0.0
    opened: float = 0.0
    #: In the order of each process; and those that have not returned, by process: it was killed in them.
    calls: list[Call] = field(default_factory=list)
    cut: dict[int, Call] = field(default_factory=dict)
    #: How many of the calls came before the end; how it was to end, "" where the process never came to that.
    before: int = 0
    how: str = ""
    ended: bool = False
    #: Until when it was open for sure, and until when it may have been.
    until: float = 0.0
    gone: float = float("inf")


@dataclass
class Process:
    """A process, and what it came to; `unopened` is the stage and item in whose opening it was killed."""

    name: str
    pid: int = 0
    clock: float = 0.0
    #: Whether it was to be killed by an alarm, at any time.
    alarm: bool = False
    #: As `os.waitstatus_to_exitcode` has it.
    code: int | None = None
    died: float = float("inf")
    attempts: list[Attempt] = field(default_factory=list)
    #: Stage and item that it was refused, from when to when.
    refused: list[tuple[str, str, float, float]] = field(default_factory=list)
    unopened: tuple[str, str] | None = None
    opens: float = 0.0
    trouble: list[str] = field(default_factory=list)


def read(notes: Path) -> list[Process]:
    """Every process that left notes, or came to something."""
    exits = {name: (code, died) for died, _, name, code in _lines(notes / EXITS)}
    found = [
        _process(path.name, _lines(path), path.with_name(path.name + STDERR))
        for path in sorted(notes.iterdir())
        if path.name != EXITS and path.suffix != STDERR
    ]
    for process in found:
        process.code, process.died = exits.pop(process.name, (None, float("inf")))
        for attempt in process.attempts:
            attempt.gone = min(attempt.gone, process.died)
    return [*found, *(Process(name, code=code, died=died) for name, (code, died) in exits.items())]


def _lines(path: Path) -> Iterator[list]:
    """The lines of a file of notes; the last may have been cut by a kill, before what it tells of."""
    if path.exists():
        yield from (json.loads(line) for line in path.read_text().split("\n")[:-1])


def _process(name: str, lines: Iterable[list], stderr: Path) -> Process:
    found = Process(name)
    for when, by, what, *more in lines:
        if found.attempts and not found.attempts[-1].how and by == found.pid:
            found.attempts[-1].until = when
        if what == "began":
            found.alarm, now = more
            found.pid, found.clock = by, now - when
        elif what == "opens":
            found.unopened, found.opens = (more[0], more[1]), when
        elif what == "refused":
            found.refused.append((*(found.unopened or ("", "")), found.opens, when))
            found.unopened = None
        elif what == "opened":
            found.attempts.append(
                Attempt(*more, found.unopened or ("", ""), found.pid, found.clock, found.opens, when, until=when)
            )
            found.unopened = None
        elif what == "trouble":
            found.trouble += more
        else:
            _add(found.attempts[-1], when, by, what, more)
    found.trouble += [said] if stderr.exists() and (said := stderr.read_text()) else []
    return found


def _add(attempt: Attempt, when: float, by: int, what: str, more: list) -> None:
    if what == "calls":
        attempt.cut[by] = Call(by, *more)
        attempt.calls.append(attempt.cut[by])
    elif what == "returned":
        del attempt.cut[by]
    elif what == "ends":
        attempt.how, attempt.before = more[0], len(attempt.calls)
    elif what == "ended":
        attempt.ended, attempt.gone = True, when
