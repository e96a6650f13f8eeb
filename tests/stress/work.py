"""The processes of a stress run: many on one job folder at once, each with a few attempts.

Two are of another kind. The keeper is there from the first to the last moment and ends an attempt when all others are
gone: what it then keeps as the job manifest comes from all that it was told. The last comes after all.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import random
import signal
import sys
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from otel_stageio import StageIO, StageRunningError
from tests.stress import plans
from tests.stress.notes import EXITS, STDERR, Notes
from tests.stress.plans import Plan, Say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

KEEPER = "keeper"
LAST = "last"
#: The job manifest as the keeper left it, beside the job.
KEPT = "kept.json"
#: Stages and seconds of the keeper and of the last.
_KEEP = "90_keep"
_KEEP_SECONDS = 0.05
_WATCH = 0.002
_LAST_SECONDS = 1.0


class Task(NamedTuple):
    """What one process does; after `alarm` seconds, if any, it is killed wherever it is."""

    todo: Sequence[Plan]
    alarm: float = 0.0


def tasks(seconds: float, seed: int) -> Iterator[Task]:
    """Draw one task after the other, for so many seconds."""
    until = time.monotonic() + seconds
    for turn in itertools.count():
        if time.monotonic() >= until:
            return
        dice = random.Random(seed * 1_000_003 + turn)
        yield Task([plans.draw(dice, turn) for _ in range(dice.randint(1, 4))], plans.draw_alarm(dice))


def run(root: Path, todo: Iterable[Task], processes: int) -> None:
    """Work in the job `root`/job, with so many processes at once; they note in `root`/notes what they do.

    Waits for any child: to be called in a process that has no others.
    """
    job, notes = root / "job", root / "notes"
    notes.mkdir(parents=True)
    for name in plans.STAGES:  # or a stage without a number might be given one of these
        (job / name).mkdir(parents=True)
    over, tell_over = os.pipe()
    ended, alive = os.pipe()  # a child by fork may outlive the process that was killed

    def keep(note: Notes) -> None:
        os.close(tell_over)
        os.close(alive)
        _keep(job, note, over, root / KEPT)

    names = {start(notes, KEEPER, keep): KEEPER}
    note = Notes(notes / EXITS)
    for number, task in enumerate(todo, 1):
        names[start(notes, str(number), lambda note, of=task: attempts(job, note, of.todo), task.alarm)] = str(number)
        while len(names) > processes:
            _wait(names, note)
    while len(names) > 1:
        _wait(names, note)
    os.close(alive)
    os.read(ended, 1)
    os.close(tell_over)
    while names:
        _wait(names, note)
    names = {start(notes, LAST, lambda note: attempts(job, note, [Plan(LAST, pause=_LAST_SECONDS)])): LAST}
    _wait(names, note)
    os.close(over)
    os.close(ended)


def _wait(names: dict[int, str], note: Notes) -> None:
    """Wait for one of the processes, and note what it came to."""
    ended, status = os.wait()
    note(names.pop(ended), os.waitstatus_to_exitcode(status))


def start(notes: Path, name: str, work: Callable[[Notes], object], alarm: float = 0) -> int:
    """Fork a process that does `work`, with notes of that name, and is killed after `alarm` seconds; gives its id."""
    child = os.fork()
    if child == 0:
        _be(notes, name, work, alarm)
    return child


def _be(notes: Path, name: str, work: Callable[[Notes], object], alarm: float) -> NoReturn:
    note = Notes(notes / name)
    note("began", alarm > 0, time.time())
    os.environ.update(STAGEIO_RUN="stress", STAGEIO_CONSOLE="off", STAGEIO_MODE="file")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(notes / (name + STDERR), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), 2)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not those of a test
    # Python counts threads too late in some releases: see tests/processes.py.
    warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it kills, also where a test has a limit of time
    signal.setitimer(signal.ITIMER_REAL, alarm)
    _leave(lambda: work(note), note)


def _leave(work: Callable[[], object], note: Notes) -> NoReturn:
    """Do `work` and end the process: what it raises is noted, but for an exit."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - whatever it is, it should not have been
        note("trouble", traceback.format_exc())
    finally:
        os._exit(code)


def attempts(job: Path, note: Notes, todo: Iterable[Plan]) -> None:
    """Make these attempts, one after the other."""
    for plan in todo:
        attempt(job, note, plan)


def _keep(job: Path, note: Notes, over: int, kept: Path) -> None:
    """Make attempts until all other processes have ended, the last of them when they have."""
    os.set_blocking(over, False)
    done = False
    count = 0
    while not done:
        count += 1

        def wait(seconds: float) -> None:
            nonlocal done
            _watch(job / "manifest.json", seconds, note)
            with contextlib.suppress(BlockingIOError):
                done = not os.read(over, 1)

        attempt(job, note, Plan(_KEEP, f"k{count % 3}", pause=_KEEP_SECONDS), wait)
    kept.write_bytes((job / "manifest.json").read_bytes())


def _watch(manifest: Path, seconds: float, note: Notes) -> None:
    """Read the job manifest over and over: it is there as a whole at any time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        data = manifest.read_bytes()
        if not (data.startswith(b"{\n") and data.endswith(b"\n}\n")):
            note("trouble", f"the job manifest is {data[:20]!r} ... {data[-20:]!r}")
        time.sleep(_WATCH)


def attempt(job: Path, note: Notes, plan: Plan, wait: Callable[[float], object] = time.sleep) -> None:
    """Make one attempt, if nobody else has the stage."""
    note("opens", plan.stage, plan.item)
    try:
        io = StageIO(plan.stage, job, item=plan.item)
    except StageRunningError:
        note("refused")
        return
    number = io._opened.attempt
    note("opened", str(io.stage_dir.relative_to(io.job_dir)), number)
    _say(io, note, plan.first)
    child = os.fork() if plan.child else 0
    if plan.child and child == 0:
        _leave(lambda: _say(io, note, plan.child), note)
    path = io.get_output_path("made.json")
    path.write_text(json.dumps({"by": os.getpid()}))
    note("calls", "output")
    io.track_output(path, "made")
    note("returned")
    note("calls", "input")
    io.track_input(io.get_input_path("made.json"), "made")
    note("returned")
    wait(plan.pause)
    _say(io, note, plan.last)
    if child and os.waitpid(child, 0)[1]:
        note("trouble", "the child by fork has not ended well")
    note("ends", plan.how)
    try:
        _end(io, plan.how)
    finally:
        note("ended")
        for said in _stale(io, number):
            note("trouble", said)
    _say(io, note, plan.after)


def _say(io: StageIO, note: Notes, says: Iterable[Say]) -> None:
    logger = io.get_stage_logger()
    for level, text in says:
        note("calls", "log", level, text)
        getattr(logger, logging.getLevelName(level).lower())(text)
        note("returned")


def _end(io: StageIO, how: str) -> None:
    if how in ("success", "failed", "skipped"):
        io.finalize(how, reason="dice")
    elif how == "raise":
        with contextlib.suppress(ValueError), io:
            int("dice")
    elif how == "exit":
        with io:
            sys.exit(3)
    elif how == "nothing":
        os._exit(0)
    else:
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "term": signal.SIGTERM}[how])


def _stale(io: StageIO, number: int) -> list[str]:
    """What the two manifests do not say of an attempt that has ended; they may say more, of a newer one."""
    own: dict[str, Any] = json.loads((io.stage_dir / "manifest.json").read_text())
    job: dict[str, Any] = json.loads((io.job_dir / "manifest.json").read_text())
    folder, _, item = str(io.stage_dir.relative_to(io.job_dir)).partition("/")
    stages = [each for each in job["stages"] if each["folder"] == folder]
    listed = (
        stages
        if not item
        else [each for stage in stages for each in stage["items"]["not_succeeded"] if each["item"] == item]
    )
    status = own["status"]
    newer = own["attempt"] > number or (io.stage_dir / ".stageio" / f"{number + 1:03d}").exists()
    shown = [(each["attempt"], each["status"]) for each in listed]
    wanted = [] if item and status in ("success", "skipped") else [(number, status)]
    if status == "running" or own["attempt"] < number:
        return [] if newer else [f"{folder}/{item}, attempt {number}, has ended, and its manifest says {status}"]
    if not newer and (len(stages) != 1 or shown != wanted):
        return [f"{folder}/{item}, attempt {number}, is {status}, and in the job manifest {shown}"]
    return []
