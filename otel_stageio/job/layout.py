"""Where everything lies in a job folder, as path arithmetic, and which names a stage may have.

Paths are built on the job folder as the caller gave it: relative stays relative. Nothing here writes; the folder is
looked into by `stage_folders` and `StageLayout.attempts` alone.
"""

import os
from pathlib import Path
from typing import NamedTuple

from otel_stageio.errors import StageNameError, StageNumberError, attempt, quoted

STAGEIO = ".stageio"
STAGE_LOG = "stage.log"
MANIFEST = "manifest.json"
CACHE = ".cache"
LOGS = "logs"
RUNS = "runs"
NUMBERS = "numbers"
PIPELINES = "pipelines"
JOB_JSON = "job.json"
LOCK = "lock"
EVENTS = "events.jsonl"
LOG_RECORDS = "logs.jsonl"
TRACES = "traces.jsonl"
METRICS = "metrics.jsonl"

#: What the file systems of Linux and macOS allow for one name, in bytes.
NAME_BYTES = 255
#: Numbers fit the 64 bit of OTLP's integers with room to count on; a longer row of digits is part of the name.
_DIGITS = 18
#: Runs and attempts are counted with as many digits at least.
_COUNT_DIGITS = 3
#: Control characters, and what else ends a line. (No regular expressions here: compiling them is felt at start-up.)
_CONTROLS = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)))


class StageFolder(NamedTuple):
    """A folder of the job whose name is a stage's: ``06_asr`` is `folder`, 6 `number`, asr `name`."""

    number: int
    name: str
    folder: str

    @property
    def ours(self) -> bool:
        """Whether a stage of that number and name has this folder; ``6_asr`` is somebody else's, ours is ``06_asr``."""
        return self.folder == _joined(self.number, self.name)


class JobLayout(NamedTuple):
    """The places of a job."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The job manifest, a view of all stages."""
        return self.root / MANIFEST

    @property
    def logs_dir(self) -> Path:
        """The folder of the pipeline logs."""
        return self.root / LOGS

    @property
    def inner(self) -> Path:
        """The folder of what the job keeps for itself."""
        return self.root / STAGEIO

    @property
    def job_json(self) -> Path:
        """Format version, id and birth of the job."""
        return self.root / STAGEIO / JOB_JSON

    @property
    def lock(self) -> Path:
        """Held for the moment in which the job manifest is read, changed and written."""
        return self.root / STAGEIO / LOCK

    @property
    def numbers_dir(self) -> Path:
        """The claims of numbers that were taken as the next free one."""
        return self.root / STAGEIO / NUMBERS

    @property
    def runs_dir(self) -> Path:
        """One folder for each run."""
        return self.root / STAGEIO / RUNS

    @property
    def pipelines_dir(self) -> Path:
        """One file for each ``stageio run`` that is under way: its lock, and what its span will say."""
        return self.root / STAGEIO / PIPELINES

    def run_dir(self, number: int) -> Path:
        """Return the folder of run `number`."""
        return self.runs_dir / _counted(number)


class StageLayout(NamedTuple):
    """The places of one stage."""

    job: JobLayout
    number: int
    name: str

    @property
    def folder(self) -> Path:
        """The stage's folder. Raises StageNameError where it would exceed what a name may have."""
        return self.job.root / folder_name(self.number, self.name)

    @property
    def log(self) -> Path:
        """The log for people; a further host of the same stage has one of its own."""
        return self.folder / STAGE_LOG

    @property
    def manifest(self) -> Path:
        """A view of the newest attempt."""
        return self.folder / MANIFEST

    @property
    def cache(self) -> Path:
        """The stage's own temporary files."""
        return self.folder / CACHE

    @property
    def inner(self) -> Path:
        """The folder of the attempts and the lock."""
        return self.folder / STAGEIO

    @property
    def lock(self) -> Path:
        """Held while an attempt is alive."""
        return self.inner / LOCK

    def attempt_dir(self, number: int) -> Path:
        """Return the folder of attempt `number`."""
        return self.inner / _counted(number)

    def attempts(self) -> list[int]:
        """Return the numbers of the attempts on disk, ascending; none where the stage never ran.

        Raises OSError where the folder is there and cannot be read.
        """
        try:
            names = os.listdir(self.inner)
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if len(name) >= _COUNT_DIGITS and _is_count(name))


def _counted(number: int) -> str:
    return f"{number:0{_COUNT_DIGITS}d}"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def split_name(text: str) -> tuple[int | None, str]:
    """Split ``06_asr`` into 6 and ``asr``; a text without a number in front comes back whole, with None.

    Raises StageNameError where `text` is not a str. Whether the name is allowed is `check_name`'s to say.
    """
    number, _, name = _text(text).partition("_")
    return (int(number), name) if name and _is_count(number) else (None, text)


def check_name(name: str) -> str:
    """Return `name`, a stage's without its number, if it can be part of a folder name and of a log line.

    Raises StageNameError, which says what is wrong: no text, empty, ``.``, ``/``, ``..``, a control character or line
    break (it would forge log lines), a blank at an end, or a folder name of more than 255 bytes.
    """
    trouble = _trouble(_text(name))
    if trouble:
        message = f"the stage name {quoted(name)} {trouble}; give one that can be a folder's name, such as 'asr'"
        raise StageNameError(message)
    return name


def _text(name: object) -> str:
    if isinstance(name, str):
        return name
    message = f"a stage name is text, {quoted(name)} is {type(name).__name__}"
    raise StageNameError(message)


def _trouble(name: str) -> str:
    if not name.strip():
        return "is empty"
    if name == "." or ".." in name:
        return "is a step through folders" if name in {".", ".."} else "holds '..'"
    if "/" in name or os.sep in name:
        return "holds a '/'" if "/" in name else f"holds a {os.sep!r}"
    if not _CONTROLS.isdisjoint(name):
        return "holds a control character or a line break"
    if name != name.strip():
        return "begins or ends with a blank"
    if name.endswith("_") and name[:-1].isdigit():
        return "is a number without a name"
    return _no_folder(_joined(0, name))


def _no_folder(folder: str) -> str:
    try:
        size = len(os.fsencode(folder))
    except UnicodeEncodeError:
        return "cannot be written in the encoding of file names"
    return f"makes a folder name of {size} bytes, {NAME_BYTES} are possible" if size > NAME_BYTES else ""


def check_number(number: int) -> int:
    """Return `number` as an int. Raises StageNumberError where it is none, is negative or has more than 18 digits.

    What counts as an integer in Python (numpy's too) is one here, a bool is not.
    """
    value = attempt(lambda: -1 if isinstance(number, bool) else number.__index__(), lambda _: -1)
    if not 0 <= value < 10**_DIGITS:
        message = f"the stage number {quoted(number)} is not a whole number from 0 up (of at most {_DIGITS} digits)"
        raise StageNumberError(message)
    return value


def folder_name(number: int, name: str) -> str:
    """Return the stage's folder name, ``06_asr``: the number with two digits, more where it needs them.

    Raises StageNameError where that exceeds 255 bytes.
    """
    joined = _joined(number, name)
    trouble = _no_folder(joined)
    if trouble:
        message = f"the stage name {quoted(name)} with the number {number} {trouble}; give a shorter one"
        raise StageNameError(message)
    return joined


def _joined(number: int, name: str) -> str:
    return f"{number:02d}_{name}"


def stage_folder(entry: str) -> StageFolder | None:
    """Return the stage that an entry of the job folder would belong to, by its name; None for any other."""
    number, name = split_name(entry)
    if number is None or not _CONTROLS.isdisjoint(name):
        return None
    return StageFolder(number=number, name=name, folder=entry)


def stage_folders(job: str | Path) -> list[StageFolder]:
    """Return the stages' folders in the folder `job`, ordered by number and then name; none where it is missing.

    A link to a folder counts. One look at the folder, none into the stages. Raises OSError where it cannot be read.
    """
    found = []
    try:
        with os.scandir(job) as entries:
            for entry in entries:
                folder = stage_folder(entry.name)
                if folder is not None and _is_folder(entry):
                    found.append(folder)
    except FileNotFoundError:
        return []
    return sorted(found, key=_order)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where we may not look
        return False


def _order(folder: StageFolder) -> tuple[int, str, str]:
    return folder.number, folder.name, folder.folder
