"""The logger of a stage: a private stdlib logger below root that no logging configuration can disable.

It is not in logging's table of loggers, so dictConfig and fileConfig cannot disable it, and its handler does not close.
The host's handlers on root see its records as those of any logger.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from otel_stageio.errors import SettingError

if TYPE_CHECKING:
    from otel_stageio.record.stage import StageIO

_handling = threading.local()


class StageLogger(logging.Logger):
    """A logger of its own for each stage and attempt. Thread-safe; pickles to the logger of the open stage."""

    def __init__(self, name: str, parent: logging.Logger | None = None) -> None:
        """Stand below `parent`, by default below root, and take every level."""
        super().__init__(name, logging.DEBUG if parent is None else logging.NOTSET)
        self.parent = parent or logging.getLogger()

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Whether a level is taken; not cached, since logging clears the caches of the loggers in its table only."""
        return not self.disabled and self.manager.disable < level and level >= self.getEffectiveLevel()

    def handle(self, record: logging.LogRecord) -> None:
        """Handle a record, and let it be known as ours while its handlers run."""
        before = getattr(_handling, "record", None)
        _handling.record = record
        try:
            super().handle(record)
        finally:
            _handling.record = before

    def getChild(self, suffix: str) -> StageLogger:  # noqa: N802 - logging's name
        """A logger named after this one and `suffix`, recorded by the same stage."""
        return StageLogger(f"{self.name}.{suffix}", self)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Pickle to the logger of the stage of this name in the process that unpickles it."""
        return get_stage_logger, (self.name.partition(".")[0],)


def is_ours(record: logging.LogRecord) -> bool:
    """Whether this record is being handled for a stage's own logger on this thread right now."""
    return getattr(_handling, "record", None) is record


def level_number(level: int | str) -> int:
    """A level as logging counts it, from its number or its name in any case.

    Raises SettingError, naming the known ones, where there is no such level.
    """
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    number = logging.getLevelName(str(level).strip().upper())
    if isinstance(number, int):
        return number
    raise SettingError(
        f"log level {level!r} is unknown: use DEBUG, INFO, WARNING, ERROR, CRITICAL, or a number such as logging.INFO"
    )


def get_stage_logger(
    stage_name: str, log_level: int | str | None = None, stage_io: StageIO | None = None
) -> logging.Logger:
    """The logger of a stage: of `stage_io`, else of the open stage of that name in this process.

    Where there is neither, it is a logger that writes to the console only, from `log_level` (default INFO) up. Raises
    SettingError where `log_level` is no level. Thread-safe.
    """
    from otel_stageio.job.layout import split_name
    from otel_stageio.record import exits

    stage = stage_io or exits.open_stage(split_name(stage_name)[1])
    if stage is not None:
        return stage.get_stage_logger(log_level)
    return _console_logger(stage_name, log_level)


def _console_logger(name: str, log_level: int | str | None) -> logging.Logger:
    from otel_stageio import settings
    from otel_stageio.record.console import Console
    from otel_stageio.record.handler import StageHandler
    from otel_stageio.record.recorder import Recorder

    found = settings.load()
    console = Console(found.console, no_color=not found.color)
    console.level = level_number(log_level) if log_level is not None else logging.INFO
    recorder = Recorder(None, trace_id="", span_id="", tail="", report=console.report)
    return make_logger(name, StageHandler(recorder, stage=name, console=console))


def make_logger(name: str, handler: logging.Handler) -> StageLogger:
    """A stage's logger with its handler."""
    logger = StageLogger(name)
    logger.addHandler(handler)
    if hasattr(handler, "logger"):
        handler.logger = logger
    return logger
