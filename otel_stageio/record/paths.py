"""Paths of a stage, and the small file work around them that existing stages use."""

from __future__ import annotations

import contextlib
import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from otel_stageio.errors import OutputPathError
from otel_stageio.job import search, status
from otel_stageio.job.layout import STAGEIO, StageLayout, folder_name
from otel_stageio.record.core import StageCore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_stageio.job.layout import StageFolder

_METADATA = "metadata.json"


class StagePaths(StageCore):
    """Where a stage reads from and writes to. Paths are given back as the caller gave the job folder."""

    stage_name: str
    stage_number: int
    stage_dir: Path
    output_base: Path
    logs_dir: Path

    def get_input_path(self, filename: str | os.PathLike[str], from_stage: str | None = None) -> Path:
        """The path of an input file: where it was found, else where it should have been.

        With `from_stage` (any ``NN_name`` folder of the job, named with or without its number) it is looked for in
        that stage. Else in the earlier stages of the job, the nearest first, skipped ones passed over; then in the
        job folder. A file that is found nowhere gives the path in the previous stage, and the warning that
        `track_input` then records lists every place. An absolute `filename` is given back as it is.
        """
        job = self._opened.layout.job
        me = (self.stage_number, self.stage_name)
        found = search.find_input(job, me, filename, from_stage, self._skipped)
        if not found.exists:
            self._searched[str(found.path)] = found.looked
        return found.path

    def get_output_path(self, filename: str | os.PathLike[str]) -> Path:
        """A path inside the stage folder; its parent folders are made.

        Raises OutputPathError where `filename` leads out of the stage folder or into ``.stageio``.
        """
        return self._inside(self.stage_dir, filename, "output")

    def get_cache_path(self, filename: str | os.PathLike[str]) -> Path:
        """A path inside ``.cache`` of the stage folder; its parent folders are made.

        Raises OutputPathError where `filename` leads out of it.
        """
        return self._inside(self._opened.layout.cache, filename, "cache")

    def _inside(self, folder: Path, filename: str | os.PathLike[str], what: str) -> Path:
        name = os.fspath(filename)
        path = folder / name
        real, real_folder = os.path.realpath(path), os.path.realpath(folder)
        inside = real.startswith(real_folder + os.sep) and "\0" not in name
        if not inside or os.path.relpath(real, real_folder).split(os.sep)[0] == STAGEIO:
            raise OutputPathError(
                f"{what} path {name!r} leads to {real}, which is not inside {folder}: "
                f"give a file name, or a relative path below the stage's folder"
            )
        os.makedirs(path.parent, exist_ok=True)
        return path

    def save_json(self, data: Any, filename: str | os.PathLike[str]) -> Path:
        """Write `data` as indented JSON into the stage folder, whole or not at all; the path is given back.

        Raises TypeError for what is no JSON, OutputPathError as `get_output_path`.
        """
        text = json.dumps(data, indent=2, ensure_ascii=False)
        path = self.get_output_path(filename)
        with written_beside(path, "w") as file:
            file.write(text)
        return path

    def load_json(self, filename: str | os.PathLike[str], from_stage: str | None = None) -> Any:
        """Read a JSON file, searched for like `get_input_path`. Raises FileNotFoundError, json.JSONDecodeError."""
        path = self.get_input_path(filename, from_stage)
        if not path.exists():
            looked = "\n  ".join(self._searched.get(str(path), (str(path),)))
            raise FileNotFoundError(f"input file {os.fspath(filename)!r} was not found; looked at:\n  {looked}")
        return json.loads(path.read_text(encoding="utf-8"))

    def save_metadata(self, metadata: dict[str, Any]) -> Path:
        """Write metadata.json; stage, stage_number and timestamp are added to the mapping that was given."""
        metadata.update(
            stage=self.stage_name, stage_number=self.stage_number, timestamp=datetime.now().astimezone().isoformat()
        )
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

        A file that is not there is not copied. Raises OutputPathError where `filename` leads out of the stage folder.
        """
        import shutil

        source = self.get_output_path(filename)
        target = self._inside(self.output_base, filename, "copy")
        if source.exists():
            shutil.copy2(source, target)
        return target

    def get_all_inputs(self) -> list[Path]:
        """The files of the previous stage, sorted by name, without what otel-stageio keeps there itself."""
        previous = search.previous_stage(
            self._opened.layout.job, (self.stage_number, self.stage_name), self._skipped
        )
        if previous is None:
            return []
        folder = self.output_base / previous.folder
        return sorted(path for path in folder.iterdir() if path.name != STAGEIO)

    def get_log_path(self, timestamp: str | None = None) -> Path:
        """A path for a log file of the stage's own: ``logs/06_asr_<time>.log``, by default with the local time now."""
        at = time.strftime("%Y%m%d_%H%M%S") if timestamp is None else timestamp
        with contextlib.suppress(OSError):
            os.makedirs(self.logs_dir, exist_ok=True)
        return self.logs_dir / f"{folder_name(self.stage_number, self.stage_name)}_{at}.log"

    def _skipped(self, folder: StageFolder) -> bool:
        """Whether the newest attempt of that stage was skipped."""
        stage = StageLayout(self._opened.layout.job, folder.number, folder.name)
        if stage.folder.name != folder.folder:  # "6_asr": somebody else's, it has no journal
            return False
        with contextlib.suppress(OSError):
            known = status.newest(stage)
            return known is not None and known.status == "skipped"
        return False


@contextlib.contextmanager
def written_beside(path: Path, mode: str) -> Iterator[IO[Any]]:
    beside = path.with_name(f".{os.urandom(6).hex()}.tmp")
    try:
        with open(beside, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
