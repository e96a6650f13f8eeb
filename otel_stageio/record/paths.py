"""Paths of a stage, and the small file work around them that existing stages use."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from otel_stageio.errors import OutputPathError, guard, quoted
from otel_stageio.job import status
from otel_stageio.job.layout import MANIFEST, STAGE_LOG, STAGEIO, StageLayout, absolute, real
from otel_stageio.job.naming import folder_name
from otel_stageio.record.core import StageCore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_stageio.job.layout import StageFolder

_METADATA = "metadata.json"


class StagePaths(StageCore):
    """Where a stage reads from and writes to. Paths are given back as the caller gave the job folder."""

    stage_name: str
    stage_number: int
    #: The item of the stage, "" where it has none.
    item: str
    stage_dir: Path
    output_base: Path
    logs_dir: Path

    def get_input_path(self, filename: str | os.PathLike[str], from_stage: str | None = None) -> Path:
        """The path of an input file: where it was found, else where it should have been.

        An item looks into the same item of these stages first, then beside it. With `from_stage` (any ``NN_name``
        folder of the job, named with or without its number) the file is looked for in that stage. Else in the earlier
        stages of the job, the nearest first, skipped ones passed over; then in the job folder. A file that is found
        nowhere gives the path in the previous stage, and the warning that `track_input` then records lists every place.
        An absolute `filename`, and a path that this gave before, is given back as it is. Raises OutputPathError where
        it can be no file's name.
        """
        from otel_stageio.job import search

        filename = path_text(filename, "input path")
        with self._job_troubled("cannot look through the job folder"):
            found = search.find_input(self._here, filename, from_stage, self._skipped)
            if not found.exists:
                before = absolute(filename) in self._searched
                if before or (Path(filename).is_relative_to(self.output_base) and os.path.exists(filename)):
                    return Path(filename)
                self._searched[absolute(str(found.path))] = found.looked
            return found.path
        return self._here.job.root / filename

    @property
    def _here(self) -> StageLayout:
        """The stage's places as the caller gave the job folder; absolute, where a relative one now leads elsewhere."""
        layout, job = self._opened.layout, self._opened.job
        if job is None or absolute(str(layout.job.root)) == str(job.root):
            return layout
        return layout._replace(job=job)

    def _job_troubled(self, what: str) -> guard:
        """Keep trouble with the job folder away from the caller; where nothing is written that has been said before."""
        return self._troubled(what) if self._opened.job is not None else guard(lambda _: None)

    def get_output_path(self, filename: str | os.PathLike[str]) -> Path:
        """A path inside the stage folder; its parent folders are made.

        Where they cannot be made the path is given back all the same: opening it will say why. Raises OutputPathError
        where `filename` leads out of the stage folder, into ``.stageio`` or to an item's folder, or can be no file's
        name.
        """
        return self._inside(self._here.folder, filename, "output")

    def _is_item(self, folder: str) -> bool:
        """Whether it is the folder of an item of this stage, which is that item's to write into."""
        below, name = os.path.split(folder)
        here = self._here
        return not here.item and below == real(str(here.folder)) and os.path.lexists(here.items_dir / name)

    def get_cache_path(self, filename: str | os.PathLike[str]) -> Path:
        """A path inside ``.cache`` of the stage folder; its parent folders are made.

        Raises OutputPathError where `filename` leads out of it, or can be no file's name.
        """
        return self._inside(self._here.cache, filename, "cache")

    def _inside(self, folder: Path, filename: str | os.PathLike[str], what: str) -> Path:
        name = path_text(filename, f"{what} path")
        path = folder / name
        place, real_folder = real(str(path)), real(str(folder))
        ours = STAGEIO in place.removeprefix(real_folder).split(os.sep) or self._is_item(place)
        if ours or not _below(place, real_folder):
            raise OutputPathError(
                f"{what} path {quoted(name)} leads to {place}, which is "
                f"{'for otel-stageio alone' if ours else f'not inside {folder}'}: "
                f"give a file name, or a relative path below the stage's folder"
            )
        if _too_long(place):
            raise OutputPathError(f"{what} path {quoted(name)} is too long for a file's name: give a shorter one")
        with self._job_troubled(f"cannot make the folder {path.parent}"):
            os.makedirs(path.parent, exist_ok=True)
        return path

    def save_json(self, data: Any, filename: str | os.PathLike[str]) -> Path:
        """Write `data` as indented JSON into the stage folder, whole or not at all; the path is given back.

        Raises TypeError for what is no JSON, OutputPathError as `get_output_path`.
        """
        text = json.dumps(data, indent=2, ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError:  # names of files that are not UTF-8: JSON can escape them, UTF-8 cannot hold them
            text = json.dumps(data, indent=2)
        path = self.get_output_path(filename)
        with written_beside(path, "w") as file:
            file.write(text)
        return path

    def load_json(self, filename: str | os.PathLike[str], from_stage: str | None = None) -> Any:
        """Read a JSON file, searched for like `get_input_path`. Raises FileNotFoundError, json.JSONDecodeError."""
        path = self.get_input_path(filename, from_stage)
        if not os.path.exists(path):  # false for a name that is too long, too
            looked = "\n  ".join(self._searched.get(absolute(str(path)), (str(path),)))
            raise FileNotFoundError(f"input file {os.fspath(filename)!r} was not found; looked at:\n  {looked}")
        return json.loads(path.read_bytes())

    def save_metadata(self, metadata: dict[str, Any]) -> Path:
        """Write metadata.json; stage, stage_number and timestamp are added to the mapping that was given."""
        from datetime import datetime

        metadata.update(stage=self.stage_name, stage_number=self.stage_number)
        if self.item:
            metadata.update(item=self.item)
        metadata.update(timestamp=datetime.now().astimezone().isoformat())
        return self.save_json(metadata, _METADATA)

    def load_metadata(self, from_stage: str | None = None) -> Mapping[str, Any]:
        """Read another stage's metadata.json; {} where there is none."""
        try:
            document: Mapping[str, Any] = self.load_json(_METADATA, from_stage)
        except FileNotFoundError:
            return {}
        return document

    def copy_to_base(self, filename: str | os.PathLike[str]) -> Path:
        """Copy a file of the stage into the job folder, with its times; the new path is given back.

        `filename` is what `get_output_path` takes, or what it gave. A file that is not there is not copied. Raises
        OutputPathError where `filename` leads out of the stage folder.
        """
        import shutil

        given, folder = Path(path_text(filename, "output path")), self._here.folder
        below = given.relative_to(folder) if given.is_relative_to(folder) else given
        source = self.get_output_path(below)
        if below.is_absolute():
            below = Path(os.path.relpath(real(str(source)), real(str(folder))))
        target = self._inside(self._here.job.root, below, "copy")
        if source.exists():
            shutil.copy2(source, target)
        return target

    def get_all_inputs(self) -> list[Path]:
        """The files of the previous stage, sorted by name, without what otel-stageio keeps there itself.

        For an item those of the same item there, if it has one. Those in its folder, not those in folders below it.
        """
        from otel_stageio.job import search

        with self._job_troubled("cannot look through the previous stage"):
            previous = search.previous_stage(self._here, self._skipped)
            if previous is not None:
                folder = self._here.job.root / previous
                ours = _is_ours if (folder / STAGEIO).is_dir() else lambda _: False
                return sorted(path for path in folder.iterdir() if path.is_file() and not ours(path.name))
        return []

    def get_log_path(self, timestamp: str | None = None) -> Path:
        """A path for a log file of the stage's own: ``logs/06_asr_<time>.log``, by default with the local time now.

        Raises OutputPathError where `timestamp` leads out of ``logs``, or can be no part of a file's name.
        """
        at = time.strftime("%Y%m%d_%H%M%S") if timestamp is None else timestamp
        of_item = f".{self.item}" if self.item else ""
        name = f"{folder_name(self.stage_number, self.stage_name)}{of_item}_{at}.log"
        return self._inside(self._here.job.logs_dir, name, "log")

    def _skipped(self, folder: StageFolder, item: str = "") -> bool:
        """Whether the newest attempt of that stage, or of that item of it, was skipped."""
        if not folder.ours:
            return False
        stage = StageLayout(self._here.job, folder.number, folder.name, item)
        with self._job_troubled(f"cannot read the record of {folder.folder}"):
            known = status.newest(stage)
            return known is not None and known.status == "skipped"
        return False


def path_text(given: str | bytes | os.PathLike[Any], what: str) -> str:
    """A path as text. Raises OutputPathError where it is none, or one that no file can have."""
    try:
        text = os.fsdecode(given)
        if b"\0" not in os.fsencode(text):
            return text
        why = "it holds a zero byte"
    except (TypeError, ValueError) as trouble:
        why = str(trouble)
    raise OutputPathError(f"{what} {quoted(given)} can be no file's name: {why}")


def _too_long(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as why:
        return why.errno == errno.ENAMETOOLONG
    return False


def _below(path: str, folder: str, *, itself: bool = False) -> bool:
    return path.startswith(os.path.join(folder, "")) or (itself and path == folder)


def _is_ours(name: str) -> bool:
    """Whether a file in a stage's folder is a log, the manifest, or one of them that is just being written."""
    log, ending = os.path.splitext(STAGE_LOG)
    return name in (STAGE_LOG, MANIFEST) or (name.startswith(f"{log}.") and name.endswith(ending)) or _is_beside(name)


def _is_beside(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


@contextlib.contextmanager
def written_beside(path: Path, mode: str) -> Iterator[IO[Any]]:
    """Open a file beside `path` that takes its place when the block ends, and is gone where the block raises."""
    beside = path.with_name(f".{os.urandom(6).hex()}.tmp")
    try:
        with open(beside, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
