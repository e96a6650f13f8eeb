"""What the parts of StageIO share: the open stage behind it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from otel_stageio.errors import guard
from otel_stageio.record.logs.logger import level_number

if TYPE_CHECKING:
    import logging

    from otel_stageio.record.logs.console import Console
    from otel_stageio.record.logs.logger import StageLogger
    from otel_stageio.record.opened import Opened
    from otel_stageio.record.recorder import Recorder
    from otel_stageio.settings import Settings


class StageCore:
    """An open stage: where it is, and who records it. The base of the rooms that StageIO is put together from."""

    _opened: Opened
    _recorder: Recorder
    _logger: StageLogger
    _console: Console
    _settings: Settings
    #: False with ``enable_manifest=False``: then no artifact is tracked.
    _tracks: bool
    #: What get_input_path looked through in vain, by the absolute path that it gave back.
    _searched: dict[str, tuple[str, ...]]

    def get_stage_logger(self, log_level: int | str | None = None) -> logging.Logger:
        """The stage's logger; always the same one.

        Every level goes to stage.log and the journal, INFO and above also to the pipeline log and the console.
        `log_level` (a name in any case, or a number) moves what the console shows and nothing else. Raises
        SettingError where there is no such level.
        """
        if log_level is not None:
            self._console.level = level_number(log_level)
        return self._logger

    def _find(self, message: str) -> None:
        """Put a finding of our own among the warnings, and into the log; what the host's handlers raise ends here."""
        with self._troubled("cannot tell a finding"):
            self._recorder.warn(message)
            self._logger.warning("%s", message)

    def _troubled(self, what: str) -> guard:
        """Keep trouble of our own in `what` away from the caller."""
        return guard(partial(self._recorder.trouble, what))
