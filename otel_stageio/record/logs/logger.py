"""The logger of a stage: a private stdlib logger below root that no logging configuration can disable.

It is not in logging's table of loggers, so dictConfig and fileConfig cannot disable it, and its handler does not close.
The host's handlers on root see its records as those of any logger.
"""

from __future__ import annotations

import logging
import operator
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from otel_stageio.errors import SettingError, attempt, quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.record.logs.handler import StageHandler
    from otel_stageio.record.logs.quick import QuickWay
    from otel_stageio.record.stage import StageIO

#: stage.log has every level, also those that somebody put below DEBUG.
_EVERY_LEVEL: Final = 1
#: A record that is made while a record is handled, and so on, up to here; beyond, it would go on for ever.
DEEPEST: Final = 3


class _Handling(threading.local):
    """What this thread is handing to handlers now, and how many records deep."""

    now: tuple[logging.LogRecord, StageLogger] | None = None
    depth = 0


_handling = _Handling()
#: The loggers of this process by their keys: what a pickle made here finds here again.
_known: weakref.WeakValueDictionary[str, StageLogger] = weakref.WeakValueDictionary()
_console_loggers: dict[str, StageLogger] = {}


class StageLogger(logging.Logger):
    """A logger of its own for each stage and attempt. Thread-safe; pickles and copies to itself, see `__reduce__`."""

    def __init__(self, name: str, own: StageHandler, parent: StageLogger | None = None) -> None:
        """Be recorded by the handler `own`; stand below root and take every level, or below `parent`."""
        super().__init__(name, _EVERY_LEVEL if parent is None else logging.NOTSET)
        self.own = own
        self.parent = parent or logging.getLogger()
        self.top: StageLogger = parent.top if parent else self
        self._children: dict[str, StageLogger] = {}
        #: Takes plain records, where nobody else wants them.
        self.quick: QuickWay | None = None
        #: The stage, as long as somebody holds it.
        self.stage: Callable[[], StageIO | None] | None = None
        self._key = os.urandom(8).hex()
        _known[self._key] = self

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at DEBUG; see `logging.Logger.debug`."""
        if kwargs or self.quick is None or not self.quick.take(logging.DEBUG, msg, args):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().debug(msg, *args, **kwargs)

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log at INFO; see `logging.Logger.info`."""
        if kwargs or self.quick is None or not self.quick.take(logging.INFO, msg, args):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().info(msg, *args, **kwargs)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        """Whether a level is taken; not cached, since logging clears the caches of the loggers in its table only."""
        return not self.disabled and self.manager.disable < level and level >= self.getEffectiveLevel()

    def handle(self, record: logging.LogRecord) -> None:
        """Hand a record to the handlers from here up.

        Written out rather than left to logging, whose newer releases drop what is logged while a record is handled.
        """
        if self.disabled:
            return
        passed: object = self.filter(record)
        if not passed:
            return
        if isinstance(passed, logging.LogRecord):  # a filter may give another record, from Python 3.12 on
            record = passed
        if _handling.depth >= DEEPEST:
            self.own.stop()
            return
        before = _handling.now
        _handling.now = (record, self)
        _handling.depth += 1
        try:
            if self.host_asks(record.levelno):
                self.callHandlers(record)
            else:
                self._keep(record)
        finally:
            _handling.depth -= 1
            _handling.now = before

    def host_asks(self, level: int) -> bool:
        """Whether records of a level go up to the host's handlers: from INFO up always, else as root's level says.

        A handler on root mostly has no level of its own, so that ``basicConfig(level=INFO)`` would put DEBUG on the
        console, where it does not belong.
        """
        return level >= logging.INFO or level >= logging.getLogger().level

    def _keep(self, record: logging.LogRecord) -> None:
        """Hand a record to the handlers of the stage's loggers alone."""
        current: logging.Logger | None = self
        while isinstance(current, StageLogger):
            for handler in current.handlers:
                if record.levelno >= handler.level:
                    handler.handle(record)
            current = current.parent if current.propagate else None

    def write(self, record: logging.LogRecord) -> None:
        """Hand a record to the stage's own handler alone, whatever the level: it is not the host's business."""
        passed: object = attempt(lambda: self.filter(record), lambda _: True)
        if passed:
            self.own.handle(passed if isinstance(passed, logging.LogRecord) else record)

    def getChild(self, suffix: str) -> StageLogger:  # noqa: N802 - logging's name
        """The logger named after this one and `suffix`, recorded by the same stage; always the same one."""
        first, _, rest = suffix.partition(".")
        child = self._children.get(first)
        if child is None:
            child = self._children.setdefault(first, StageLogger(f"{self.name}.{first}", self.own, self))
        return child.getChild(rest) if rest else child

    def __reduce__(self) -> tuple[object, tuple[str, str, str, StageIO | None]]:
        """Pickle to this logger; in another process to that of the stage there, which takes part in the attempt."""
        stage = self.top.stage() if self.top.stage is not None else None
        return _unpickled, (self._key, self.top.name, self.name[len(self.top.name) + 1 :], stage)


def _unpickled(key: str, stage_name: str, suffix: str, stage: StageIO | None) -> logging.Logger:
    known = _known.get(key)
    if known is not None:
        return known
    logger = get_stage_logger(stage_name, stage_io=stage)
    return logger.getChild(suffix) if suffix else logger


def handled_by(record: logging.LogRecord) -> StageLogger | None:
    """The stage's logger that this thread hands `record` to its handlers for at this moment; None for any other."""
    now = _handling.now
    return now[1] if now is not None and now[0] is record else None


def level_number(level: int | str) -> int:
    """A level as logging counts it, from its number or its name in any case.

    Raises SettingError, naming the known ones, where there is no such level.
    """
    number: object = None
    if isinstance(level, str):
        name = level.strip().upper()
        number = int(name) if name.isascii() and name.isdigit() else logging.getLevelName(name)
    elif not isinstance(level, bool):
        number = attempt(lambda: operator.index(level), lambda _: None)
    if isinstance(number, int):
        return number
    raise SettingError(
        f"log level {quoted(level)} is unknown: "
        "use DEBUG, INFO, WARNING, ERROR, CRITICAL, or a number such as logging.INFO"
    )


def get_stage_logger(
    stage_name: str, log_level: int | str | None = None, stage_io: StageIO | None = None
) -> logging.Logger:
    """The logger of a stage: of `stage_io`, else of the open stage of that name in this process.

    Where there is neither, it is a logger that writes to the console only, from `log_level` (default INFO) up; asked
    for again it is the same one. Raises SettingError where `log_level` is no level. Thread-safe.
    """
    from otel_stageio.job.naming import split_name
    from otel_stageio.record.processes import exits

    number, name = split_name(stage_name)
    stage = stage_io or exits.open_stage(name, number)
    if stage is not None:
        return stage.get_stage_logger(log_level)
    return _console_logger(name, log_level)


def _console_logger(name: str, log_level: int | str | None) -> StageLogger:
    level = None if log_level is None else level_number(log_level)
    logger = _console_loggers.get(name)
    if logger is None:
        logger = _console_loggers.setdefault(name, _new_console_logger(name))
    if level is not None and logger.own.console is not None:
        logger.own.console.level = level
    return logger


def _new_console_logger(name: str) -> StageLogger:
    from otel_stageio import settings
    from otel_stageio.model import Resource
    from otel_stageio.record.logs.console import Console
    from otel_stageio.record.logs.handler import StageHandler
    from otel_stageio.record.recorder import Recorder
    from otel_stageio.record.secrets.redaction import Redactor

    found = settings.load()
    redactor = Redactor(found.redact, settings.environment())
    console = Console(found.console, no_color=not found.color)
    recorder = Recorder(None, trace_id="", span_id="", resource=Resource(), report=console.report, redactor=redactor)
    return make_logger(name, StageHandler(recorder, stage=name, console=console))


def make_logger(name: str, handler: StageHandler, stage: Callable[[], StageIO | None] | None = None) -> StageLogger:
    """A stage's logger with its handler; `stage` gives the stage as long as there is one."""
    logger = StageLogger(name, handler)
    logger.stage = stage
    logger.addHandler(handler)
    return logger
