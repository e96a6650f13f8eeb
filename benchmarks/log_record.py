"""One log record to all its places, against plain logging with three handlers.

Ours: the logger of a stage in a program without handlers of its own. An INFO record goes to stage.log, the pipeline
log, the console and the journal, a DEBUG record to stage.log and the journal.

Baseline: a standard library logger with two FileHandlers and a StreamHandler, the second file and the stream from INFO
up, and a Formatter that gives the same line; no OpenTelemetry.

Both consoles are text files opened alike, in place of a terminal. Both get the same calls from the same line of code;
the message has 60 characters once its %-arguments are in. Below, for orientation: the same bytes written by bare
``os.write``, one call a place.
"""

from __future__ import annotations

import logging
import os
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Result, Steps, alternate, compared, ratios, timed
from otel_stageio import StageIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from benchmarks.measuring import Size, Tell

MESSAGE: Final = "segment %06d: %6.3f s of speech, %3d words, score %.5f"
LENGTH: Final = 60
_LINE: Final = "[%(asctime)s.%(msecs)03d] [%(name)s] [%(levelname)s] %(message)s"
_TIME: Final = "%Y-%m-%d %H:%M:%S"
_BUDGETS: Final = {"INFO": 0.5, "DEBUG": 0.9}
_BYTES: Final = 700
_AGAINST: Final = "logging with three handlers"


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured: records in a round, and rounds."""

    records: int
    rounds: int


AMOUNTS: Final = {"tiny": Amount(100, 2), "small": Amount(2_000, 9), "full": Amount(5_000, 25)}
Arguments = list[tuple[int, float, int, float]]


def run(size: Size, folder: str, tell: Tell) -> list[Result]:
    """Measure the row in this process, with files below `folder`."""
    amount = AMOUNTS[size]
    steps = Steps(tell, (amount.rounds + 1) * len(_BUDGETS))
    arguments = _arguments(amount.records)
    here = Path(folder)
    with _console(here / "ours.console") as stream, _console(here / "theirs.console") as other:
        os.environ["STAGEIO_CONSOLE"] = "stderr"
        with redirect_stderr(stream):
            stage = StageIO("asr", here / "job", stage_number=6)
            loggers = stage.get_stage_logger(), _plain(here / "plain", other)
            _log(loggers[0], "INFO", arguments[:1])  # files appear with their first line
            found = []
            for level in _BUDGETS:
                places = _places(here, level)
                found += _measured(level, loggers, arguments, places, rounds=amount.rounds, steps=steps)
            stage.finalize("success")
    return found


def _measured(
    level: str,
    loggers: tuple[logging.Logger, logging.Logger],
    arguments: Arguments,
    places: dict[str, Path],
    *,
    rounds: int,
    steps: Steps,
) -> list[Result]:
    ours, theirs = loggers
    grown = _Growth(places)
    mine, plain, bare = alternate(
        lambda: timed(partial(_log, ours, level, arguments)),
        lambda: timed(partial(_log, theirs, level, arguments)),
        _bare(places["stage.log"].parent / "bare", arguments, len(places)),
        rounds=rounds,
        steps=steps,
        what=f"{level} record",
    )
    sizes = grown.sizes((rounds + 1) * len(arguments))
    where = ", ".join(sizes)
    return [
        Result(
            what=f"{level} record to {where}",
            against=_AGAINST,
            values=ratios(mine, plain),
            limit=_BUDGETS[level],
            detail=compared(mine, plain, len(arguments)),
        ),
        Result(
            what=f"{level} record: bare writes to as many places",
            against=_AGAINST,
            values=ratios(bare, plain),
            detail=compared(bare, plain, len(arguments), of="bare writes"),
        ),
        Result(
            what=f"{level} record of {LENGTH} characters in the journal",
            against="",
            values=(sizes["journal"],),
            unit="B",
            limit=_BYTES,
            detail=", ".join(f"{place} {size:.0f} B" for place, size in sizes.items()),
        ),
    ]


def _arguments(records: int) -> Arguments:
    found: Arguments = [(i, 5 + i % 25 + 0.125, i % 200, i % 9973 / 9973) for i in range(records)]
    lengths = {len(MESSAGE % one) for one in found}
    if lengths != {LENGTH}:
        raise ValueError(f"messages have {lengths} characters and not {LENGTH}")
    return found


def _log(logger: logging.Logger, level: str, arguments: Arguments) -> None:
    call: Callable[..., None] = logger.info if level == "INFO" else logger.debug
    for number, seconds, words, score in arguments:
        call(MESSAGE, number, seconds, words, score)


def _console(path: Path) -> TextIO:
    """A text stream as sys.stderr is one."""
    return open(path, "w", encoding="utf-8", errors="backslashreplace", buffering=1)


def _plain(folder: Path, stream: TextIO) -> logging.Logger:
    folder.mkdir()
    formatter = logging.Formatter(_LINE, _TIME)
    logger = logging.getLogger("plain")
    logger.setLevel(logging.DEBUG)
    handlers: list[tuple[logging.Handler, int]] = [
        (logging.FileHandler(folder / "stage.log", encoding="utf-8"), logging.DEBUG),
        (logging.FileHandler(folder / "pipeline.log", encoding="utf-8"), logging.INFO),
        (logging.StreamHandler(stream), logging.INFO),
    ]
    for handler, level in handlers:
        handler.setLevel(level)
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    return logger


def _places(folder: Path, level: str) -> dict[str, Path]:
    """The files that a record of a level goes to."""
    stage, logs = folder / "job" / "06_asr", folder / "job" / "logs"
    places = {"stage.log": stage / "stage.log", "journal": stage / ".stageio" / "001" / "logs.jsonl"}
    if level == "INFO":
        (pipeline,) = logs.iterdir()
        places |= {"pipeline log": pipeline, "console": folder / "ours.console"}
    return places


class _Growth:
    """How much each of some files grows from now on."""

    def __init__(self, places: dict[str, Path]) -> None:
        self._places = places
        self._before = self._sizes()

    def _sizes(self) -> dict[str, int]:
        return {name: path.stat().st_size for name, path in self._places.items()}

    def sizes(self, records: int) -> dict[str, float]:
        """Bytes per record since the start."""
        return {name: (size - self._before[name]) / records for name, size in self._sizes().items()}


def _bare(folder: Path, arguments: Arguments, places: int) -> Callable[[], float]:
    """One os.write a place and record: log lines, and for the journal one of the size that the budget allows."""
    line = f"[2025-11-27 13:30:01.123] [asr] [INFO] {MESSAGE % arguments[0]}\n".encode()
    texts = [line] * (places - 1) + [b"{" * (_BYTES - 1) + b"\n"]

    def measure() -> float:
        folder.mkdir(exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        opened = [(os.open(folder / f"{number}", flags), text) for number, text in enumerate(texts)]

        def write() -> None:
            for _ in arguments:
                for descriptor, text in opened:
                    os.write(descriptor, text)

        seconds = timed(write)
        for descriptor, _ in opened:
            os.close(descriptor)
        return seconds

    return measure
