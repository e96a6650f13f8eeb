"""Many processes on one job folder, with mixed work that ends at random: nothing is torn, lost, doubled or wrong.

`make stress` runs it with fifty processes for five minutes; `python -m tests.stress 10 20` with ten for twenty seconds.
What a process logged it notes beside the job, once the call has returned: that has to be on record, once.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio import StageIO, StageRunningError
from otel_stageio.errors import StageIOError
from otel_stageio.job import registry
from otel_stageio.job.layout import JobLayout, all_stages
from otel_stageio.journal import reader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.job.layout import StageLayout

_STAGES = ("91_cut", "92_clean", "93_asr", "94_mix")
_ITEMS = 40
_NEW = 25
#: Which part of the processes is killed at any time, besides those that kill themselves between two calls.
_KILLED = 0.15
_ENDS = ("success", "failed", "skipped", "raise", "exit", "nothing", "kill", "term")


class Found(NamedTuple):
    """What came of a stress run: what was done, and each thing that is wrong."""

    processes: int
    attempts: int
    records: int
    wrong: list[str]


def stress(root: Path, *, processes: int, seconds: float, seed: int = 1) -> Found:
    """Keep `processes` at work in the job `root`/job for `seconds`, and judge what they left."""
    job, notes = root / "job", root / "notes"
    notes.mkdir(parents=True)
    for name in _STAGES:  # or a stage without a number might be given one of these
        (job / name).mkdir(parents=True)
    until = time.monotonic() + seconds
    living: set[int] = set()
    begun = 0
    while time.monotonic() < until or living:
        while len(living) < processes and time.monotonic() < until:
            begun += 1
            child = os.fork()
            if child == 0:
                _process(job, notes / str(begun), random.Random(seed * 1_000_003 + begun))
            living.add(child)
        ended, _ = os.wait()
        living.discard(ended)
    os.environ.pop("STAGEIO_RUN", None)
    registry.update(JobLayout(job))
    return judge(root, begun)


def _process(job: Path, notes: Path, dice: random.Random) -> None:
    """Be a process of the pipeline: a few stages and items, one of them the last."""
    os.environ.update(STAGEIO_RUN="stress", STAGEIO_CONSOLE="off", STAGEIO_MODE="file")
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    code = 1
    try:
        if dice.random() < _KILLED:  # nothing hears SIGALRM, so it kills, wherever the process is
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.001, 0.5))
        with notes.open("w", encoding="utf-8", buffering=1) as file:
            for _ in range(dice.randint(1, 4)):
                _work(job, file, dice)
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        os._exit(code)


def _work(job: Path, notes: object, dice: random.Random) -> None:
    item = f"ep{dice.randrange(_ITEMS):03d}" if dice.random() < 0.8 else ""
    name = dice.choice(_STAGES) if item else f"new{dice.randrange(_NEW)}"
    try:
        io = StageIO(name, job, item=item)
    except StageRunningError:
        return
    logger = io.get_stage_logger()

    def say(count: int) -> None:
        for _ in range(count):
            word = f"{dice.getrandbits(64):016x}"
            logger.log(dice.choice((10, 20, 30)), "word %s %s", word, "x" * dice.choice((1, 100, 5_000)))
            print(word, file=notes)  # type: ignore[call-overload] # an open file

    say(dice.randint(0, 10))
    if dice.random() < 0.2:
        child = os.fork()
        if child == 0:
            dice.seed(os.getpid())
            say(3)
            os._exit(0)
        os.waitpid(child, 0)
    path = io.get_output_path("made.json")
    path.write_text(json.dumps({"by": os.getpid()}))
    io.track_output(path, "made")
    io.track_input(io.get_input_path("made.json"), "made")
    time.sleep(dice.random() / 50)
    say(dice.randint(0, 5))
    _end(io, dice.choices(_ENDS, (60, 8, 5, 8, 4, 4, 6, 5))[0])


def _end(io: StageIO, how: str) -> None:
    if how in ("success", "failed", "skipped"):
        io.finalize(how, reason="dice")
    elif how == "raise":
        with contextlib.suppress(ValueError), io:
            int("dice")
    elif how == "exit":
        with io:
            sys.exit(3)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        os._exit(0)


def judge(root: Path, processes: int) -> Found:
    """Hold what is on disk against what the processes noted."""
    job, notes = root / "job", root / "notes"
    layout = JobLayout(job)
    stages = [*all_stages(layout)]
    said = Counter(line for each in notes.iterdir() for line in each.read_text().split())
    logged, traces, broken = _journals(stages)
    shown, torn = _logs(stages)
    numbers = Counter(stage.number for stage in stages if not stage.item)
    wrong = [
        *broken,
        *torn,
        *(f"number {number} is there {n} times" for number, n in numbers.items() if n > 1),
        *(f"{word} was logged once and is on record {logged[word]} times" for word in said if logged[word] != 1),
        *(f"{word} was logged once and is in stage.log {shown[word]} times" for word in said if shown[word] != 1),
        *([f"{len(traces)} traces"] if len(traces) != 1 else []),
    ]
    if registry.overview(layout) != json.loads((job / "manifest.json").read_text()):
        wrong.append("the job manifest is not what the journals say")
    return Found(processes, sum(len(stage.attempts()) for stage in stages), sum(said.values()), wrong)


def _journals(stages: Iterable[StageLayout]) -> tuple[Counter[str], set[str], list[str]]:
    """How often each word is on record, the traces, and files with lines that cannot be read."""
    logged: Counter[str] = Counter()
    traces: set[str] = set()
    wrong = []
    for folder in [stage.attempt_dir(number) for stage in stages for number in stage.attempts()]:
        for name in ("events.jsonl", "logs.jsonl", "traces.jsonl"):
            broken = sum(piece.broken for piece in reader.pieces(str(folder / name)))
            wrong += [f"{folder / name}: {broken} lines cannot be read"] if broken else []
        for record in reader.log_records(str(folder / "logs.jsonl")):
            traces.add(record.trace_id)
            words = str(record.body).split()
            logged.update(words[1:2] if words[0] == "word" else ())
    return logged, traces, wrong


def _logs(stages: Iterable[StageLayout]) -> tuple[Counter[str], list[str]]:
    """How often each word is in a stage.log, and lines there that are none."""
    shown: Counter[str] = Counter()
    wrong = []
    for log in [stage.log for stage in stages if stage.log.exists()]:
        for line in log.read_text().splitlines():
            shown.update(line.partition("] word ")[2].split()[:1])
            if line[:1] not in ("[", "#", " "):
                wrong.append(f"{log}: {line[:80]!r}")
    return shown, wrong


def main() -> None:
    """Run it as the command line says: processes, seconds."""
    processes, seconds = map(float, sys.argv[1:] or ("50", "300"))
    with tempfile.TemporaryDirectory(prefix="stress-") as root:
        found = stress(Path(root), processes=int(processes), seconds=seconds, seed=int(time.time()))
    counts = (
        f"{found.processes} processes, {found.attempts} attempts, {found.records} records, {len(found.wrong)} wrong"
    )
    sys.stdout.write("\n".join([counts, *found.wrong[:20], ""]))
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    try:
        main()
    except StageIOError as why:
        sys.exit(str(why))
