"""Many processes on one job folder, with mixed work that ends at random: nothing is torn, lost, doubled or wrong.

`make stress` runs it with fifty processes for five minutes; `python -m tests.stress 10 20` with ten for twenty seconds.
What a process logged, and how it ended a stage, it notes beside the job once the call has returned: that has to be on
record, once.
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
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from otel_stageio import StageIO, StageRunningError
from otel_stageio.errors import StageIOError
from otel_stageio.job import registry, status
from otel_stageio.job.layout import JobLayout, all_stages
from otel_stageio.journal import reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_stageio.job.layout import StageLayout

_STAGES = ("91_cut", "92_clean", "93_asr", "94_mix")
_ITEMS = 40
_NEW = 25
#: Which part of the processes is killed at any time, besides those that kill themselves between two calls.
_KILLED = 0.15
#: What begins a note of how a stage was ended; any other is a word that was logged.
_ENDED = "ended"
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


def _work(job: Path, notes: TextIO, dice: random.Random) -> None:
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
            print(word, file=notes)

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
    _end(io, dice.choices(_ENDS, (60, 8, 5, 8, 4, 4, 6, 5))[0], notes)


def _end(io: StageIO, how: str, notes: TextIO) -> None:
    if how in ("success", "failed", "skipped"):
        io.finalize(how, reason="dice")
        print(_ENDED, io.stage_dir.relative_to(io.job_dir), io._opened.attempt, how, file=notes)
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
    noted = [line.split() for each in notes.iterdir() for line in each.read_text().splitlines()]
    said = Counter(words[0] for words in noted if len(words) == 1)
    manifest = json.loads((job / "manifest.json").read_text())
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
        *_ends(stages, [words[1:] for words in noted if words[0] == _ENDED]),
        *_counts(stages, manifest),
    ]
    if registry.overview(layout) != manifest:
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


def _ends(stages: Iterable[StageLayout], said: Iterable[list[str]]) -> Iterator[str]:
    """Attempts that are on record as something else than their processes said."""
    known = {stage.place: stage for stage in stages}
    for place, attempt, how in said:
        found = status.read_summary(known[place], int(attempt)) if place in known else None
        if found is None or found.status != how:
            yield f"{place}, attempt {attempt}, was {how} and is on record as {found}"


def _counts(stages: Iterable[StageLayout], manifest: dict[str, Any]) -> Iterator[str]:
    """Stages of which the job manifest counts the items otherwise than their journals do."""
    items: dict[str, Counter[str]] = {}
    for stage in stages:
        found = status.newest(stage) if stage.item else None
        if found is not None:
            items.setdefault(stage.whole.place, Counter())[found.status] += 1
    listed = {each["folder"]: each.get("items", {}) for each in manifest["stages"]}
    for folder, counts in items.items():
        shown = {key: n for key, n in listed.get(folder, {}).items() if key not in ("total", "not_succeeded")}
        if shown != counts:
            yield f"the items of {folder} are {dict(counts)}, and {shown} in the job manifest"


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
