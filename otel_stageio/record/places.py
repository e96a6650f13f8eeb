"""Where an attempt writes: its open files and the paths of its views."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_stageio.errors import guard
from otel_stageio.job import links
from otel_stageio.job.layout import EVENTS, LOG_RECORDS, MEMBERS, TRACES
from otel_stageio.journal import appending, files

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.job.layout import StageLayout


class Places:
    """The files of one attempt. Nothing is opened before its first line."""

    def __init__(
        self,
        stage: StageLayout,
        attempt: int,
        *,
        stage_log: str,
        pipeline_log: str,
        with_manifest: bool,
        member: str = "",
    ) -> None:
        """Name the files of attempt `attempt` of a stage, or of that `member` of it."""
        self._stage = stage
        self.attempt = attempt
        self.attempt_folder = str(stage.attempt_dir(attempt))
        self.folder = str(stage.members_dir(attempt) / member) if member else self.attempt_folder
        self.events = appending.AppendFile(f"{self.folder}/{EVENTS}", before=self._stay)
        self.logs = appending.AppendFile(f"{self.folder}/{LOG_RECORDS}", before=self._stay)
        self.traces = appending.AppendFile(f"{self.folder}/{TRACES}", before=self._stay)
        self.stage_log = appending.AppendFile(stage_log, before=self._stay)
        self.pipeline_log = appending.AppendFile(pipeline_log, before=self._stay)
        self.manifest = str(stage.manifest)
        self.with_manifest = with_manifest

    @property
    def _all(self) -> tuple[appending.AppendFile, ...]:
        return (self.events, self.logs, self.traces, self.stage_log, self.pipeline_log)

    def _stay(self) -> None:
        """Raise OSError where the stage's folder, or that of the logs, became a link out of the job."""
        links.avoid(self._stage.job.root, *self._stage.folders, self._stage.job.logs_dir)

    def shared(self) -> bool:
        """Whether other processes recorded something of this attempt, too."""
        return os.path.isdir(os.path.join(self.attempt_folder, MEMBERS))

    def superseded(self) -> bool:
        """Whether a newer attempt of the stage exists, to whom manifest.json belongs now. Raises OSError."""
        return max(self._stage.attempts(), default=0) > self.attempt

    def write_manifest(self, make: Callable[[], bytes], *, sync: bool) -> None:
        """Write manifest.json, if the stage has one and it belongs to this attempt. Raises OSError."""
        if not self.with_manifest:
            return
        data = make()
        self._stay()
        if not self.superseded():
            files.replace(self.manifest, data, sync=sync)
            if sync:
                files.sync_folder(os.path.dirname(self.manifest))

    def remove_manifest(self) -> None:
        """Remove manifest.json, if it belongs to this attempt. Raises OSError."""
        self._stay()
        if not self.superseded():
            files.remove(self.manifest)

    def sync(self) -> None:
        """Put the journal and the names in its folder onto the disk. Raises OSError."""
        refused: list[BaseException] = []
        for file in self._all:
            with guard(refused.append):  # the others are to be safe all the same
                file.sync()
        files.sync_folder(self.folder)
        for why in refused:
            raise why

    def close(self) -> None:
        """Give the descriptors back."""
        for file in self._all:
            file.close()
