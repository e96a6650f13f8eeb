"""Where everything lies in a job folder, as path arithmetic.

Paths are built on the job folder as the caller gave it: relative stays relative. Nothing here writes; the folder is
looked into by `stage_folders` and `StageLayout.attempts` alone.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from otel_stageio.job.naming import folder_name, has_controls, is_count, joined_name, split_name

STAGEIO = ".stageio"
STAGE_LOG = "stage.log"
MANIFEST = "manifest.json"
CACHE = ".cache"
LOGS = "logs"
RUNS = "runs"
NUMBERS = "numbers"
ITEMS = "items"
MEMBERS = "members"
PIPELINES = "pipelines"
JOB_JSON = "job.json"
LOCK = "lock"
EVENTS = "events.jsonl"
LOG_RECORDS = "logs.jsonl"
TRACES = "traces.jsonl"
METRICS = "metrics.jsonl"
SETTLED = "settled"

#: Runs and attempts are counted with as many digits at least.
_COUNT_DIGITS = 3


def absolute(path: str) -> str:
    """The path as it is looked up now; as it is where the working directory is gone, and where it is empty."""
    try:
        return os.path.abspath(path) if path else path
    except OSError:
        return path


def real(path: str) -> str:
    """The same with its links followed; without, where it is relative to a working directory that is gone."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.path.normpath(path)


class StageFolder(NamedTuple):
    """A folder of the job whose name is a stage's: ``06_asr`` is `folder`, 6 `number`, asr `name`."""

    number: int
    name: str
    folder: str

    @property
    def ours(self) -> bool:
        """Whether a stage of that number and name has this folder; ``6_asr`` is somebody else's, ours is ``06_asr``."""
        return self.folder == joined_name(self.number, self.name)


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

    def run_members(self, number: int) -> list[Path]:
        """Return the folders of the hosts that wrote spans of run `number` and did not begin it, by name."""
        return _below(self.run_dir(number) / MEMBERS)


class StageLayout(NamedTuple):
    """The places of one stage, or of one item of it, which has its own in a folder below."""

    job: JobLayout
    number: int
    name: str
    #: The item's name; "" is the stage itself.
    item: str = ""

    @property
    def place(self) -> str:
        """The folder relative to the job's, ``06_asr`` or ``06_asr/ep042``: what tells it from all others.

        Raises StageNameError where it would exceed what a name may have.
        """
        folder = folder_name(self.number, self.name)
        return f"{folder}/{self.item}" if self.item else folder

    @property
    def folders(self) -> tuple[Path, ...]:
        """The stage's folder, and below it the item's."""
        return (self.whole.folder, self.folder) if self.item else (self.folder,)

    @property
    def label(self) -> str:
        """What people call it: ``asr``, or ``asr:ep042``."""
        return f"{self.name}:{self.item}" if self.item else self.name

    @property
    def whole(self) -> "StageLayout":
        """The stage that this is an item of; a stage itself."""
        return self._replace(item="") if self.item else self

    @property
    def folder(self) -> Path:
        """The stage's folder, or the item's. Raises StageNameError as `place`."""
        return self.job.root / self.place

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
    def items_dir(self) -> Path:
        """One file for each item of the stage, of its name: written before the item's folder is."""
        return self.job.root / folder_name(self.number, self.name) / STAGEIO / ITEMS

    @property
    def lock(self) -> Path:
        """Held while an attempt is alive."""
        return self.inner / LOCK

    def attempt_dir(self, number: int) -> Path:
        """Return the folder of attempt `number`."""
        return self.inner / _counted(number)

    def members_dir(self, number: int) -> Path:
        """Return the folder of the members of attempt `number`."""
        return self.attempt_dir(number) / MEMBERS

    def members(self, number: int) -> list[Path]:
        """Return the folders of the members of attempt `number`, by name; none where it is one process."""
        return _below(self.members_dir(number))

    def attempts(self) -> list[int]:
        """Return the numbers of the attempts on disk, ascending; none where the stage never ran.

        Raises OSError where the folder is there and cannot be read.
        """
        try:
            names = os.listdir(self.inner)
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if len(name) >= _COUNT_DIGITS and is_count(name))

    def items(self) -> list[str]:
        """The names of the stage's items whose folders are there: two looks, however many they are.

        None where a folder cannot be read.
        """
        # As text: in a job of a thousand stages path objects would cost more than the looking.
        folder = f"{self.job.root}/{self.whole.place}"
        try:
            known = os.listdir(f"{folder}/{STAGEIO}/{ITEMS}")
            there = {*os.listdir(folder)} if known else set()
        except OSError:
            return []
        return sorted(there.intersection(known))


def _below(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _counted(number: int) -> str:
    return f"{number:0{_COUNT_DIGITS}d}"


def stage_folder(entry: str) -> StageFolder | None:
    """Return the stage that an entry of the job folder would belong to, by its name; None for any other."""
    number, name = split_name(entry)
    if number is None or has_controls(name):
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


def stages(job: JobLayout) -> list[StageLayout]:
    """The stages that have a folder of ours, in the order of `stage_folders`, without their items. Raises OSError."""
    return [StageLayout(job, of.number, of.name) for of in stage_folders(job.root) if of.ours]


def all_stages(job: JobLayout) -> Iterator[StageLayout]:
    """Every stage followed by its items. Raises OSError as `stages`."""
    for stage in stages(job):
        yield stage
        for item in stage.items():
            yield stage._replace(item=item)


def placed(job: JobLayout, place: str) -> StageLayout | None:
    """The stage or item of that `StageLayout.place`; None where it is none of ours."""
    folder, _, item = place.partition("/")
    of = stage_folder(folder)
    return StageLayout(job, of.number, of.name, item) if of is not None and of.ours else None
