"""``capture="root"``: what other loggers and Python warnings say, into stage.log and the journal of the stage.

Nothing of the host changes: levels and handlers stay, warnings are shown where they were shown before. That is why
nothing hangs on the root logger: with a handler there, logging.basicConfig would do nothing, and warnings of a program
that configured no logging would no longer reach its console.
"""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

from otel_stageio.record.logs.handler import StageHandler
from otel_stageio.record.logs.logger import StageLogger
from otel_stageio.ship.quiet import delivering

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.record.recorder import Recorder

_WARNINGS: Final = "py.warnings"

#: Where everything goes: one handler for each stage that captures now.
_capturing: list[StageHandler] = []
#: Our hooks that are in place, each with what it stands before.
_before: dict[Any, Any] = {}


class _Taken(threading.local):
    """What this thread took last: a hook may stand twice in a chain that others hooked into."""

    record: object = None
    warnings: int = 0


_taken = _Taken()


class Capture:
    """Takes what reaches the root logger, and warnings, from `start` to `stop`."""

    def __init__(self, handler: StageHandler) -> None:
        """Take `handler` as the place where everything goes."""
        self._handler = handler

    @classmethod
    def start(cls, recorder: Recorder, stage: str) -> Capture:
        """Begin to listen."""
        capture = cls(StageHandler(recorder, stage=stage, console=None, captured=True))
        _capturing.append(capture._handler)
        if logging.Logger.callHandlers not in _before:
            logging.Logger.callHandlers = _listening(logging.Logger.callHandlers)  # type: ignore[method-assign] # a hook
        if warnings.showwarning not in _before:
            warnings.showwarning = _showing(warnings.showwarning)
        return capture

    def stop(self) -> None:
        """Listen no more. A hook that somebody put over ours stays, and ours below it then does nothing."""
        _capturing[:] = [handler for handler in _capturing if handler is not self._handler]
        if not _capturing:
            calls, shows = logging.Logger.callHandlers, warnings.showwarning
            logging.Logger.callHandlers = _before.pop(calls, calls)  # type: ignore[method-assign] # undone
            warnings.showwarning = _before.pop(shows, shows)


def _take(record: logging.LogRecord) -> None:
    for handler in tuple(_capturing):
        handler.handle(record)


def _listening(before: Callable[[logging.Logger, logging.LogRecord], None]) -> Any:
    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        # A stage's own records are in its files already.
        ours = isinstance(self, StageLogger) or delivering()
        if _taken.record is not record and not ours and _reaches_root(self):
            outer, _taken.record = _taken.record, record
            try:
                _taken.warnings += record.name == _WARNINGS
                _take(record)
                before(self, record)
            finally:
                _taken.record = outer
        else:
            before(self, record)

    _before[callHandlers] = before
    return callHandlers


def _reaches_root(logger: logging.Logger | None) -> bool:
    while logger is not None and logger.parent is not None:
        if not logger.propagate:
            return False
        logger = logger.parent
    return True


def _showing(before: Callable[..., Any]) -> Any:
    def showwarning(  # noqa: PLR0917 - the signature of warnings.showwarning
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        known = _taken.warnings
        try:
            before(message, category, filename, lineno, file, line)
        finally:
            # With logging.captureWarnings it came as a log record just now.
            if _taken.warnings == known:
                _taken.warnings += 1
                about = (category.__name__, message)
                _take(logging.LogRecord(_WARNINGS, logging.WARNING, filename, lineno, "%s: %s", about, None))

    _before[showwarning] = before
    return showwarning
