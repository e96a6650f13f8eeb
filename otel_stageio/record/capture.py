"""``capture="root"``: what other loggers and Python warnings say, into stage.log and the journal of the stage.

Nothing of the host changes: levels stay, handlers stay, warnings are shown where they were shown before.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from otel_stageio.record.handler import StageHandler
from otel_stageio.record.logger import is_ours

if TYPE_CHECKING:
    from otel_stageio.record.recorder import Recorder


class Capture:
    """A handler on the root logger and a listener for warnings, from `start` to `stop`."""

    def __init__(self, handler: StageHandler) -> None:
        """Take `handler` as the place where everything goes."""
        self._handler = handler
        self._show: Any = None

    @classmethod
    def start(cls, recorder: Recorder, stage: str) -> Capture:
        """Begin to listen."""
        handler = StageHandler(recorder, stage=stage, console=None, captured=True)
        handler.addFilter(lambda record: not is_ours(record))
        capture = cls(handler)
        logging.getLogger().addHandler(handler)
        capture._listen()  # noqa: SLF001 - its own class
        return capture

    def _listen(self) -> None:
        before = warnings.showwarning

        def show(  # noqa: PLR0913 - the signature of warnings.showwarning
            message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
        ) -> None:
            record = logging.LogRecord(
                "py.warnings", logging.WARNING, filename, lineno, "%s: %s", (category.__name__, message), None
            )
            self._handler.handle(record)
            before(message, category, filename, lineno, file, line)

        self._before, self._show = before, show
        warnings.showwarning = show

    def stop(self) -> None:
        """Listen no more; a listener that somebody put over ours stays."""
        logging.getLogger().removeHandler(self._handler)
        if warnings.showwarning is self._show:
            warnings.showwarning = self._before
