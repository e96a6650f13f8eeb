"""The quick way of a plain log record: a text with arguments of simple types, which nobody but us takes.

Most records are such: ``logger.info("segment %d done", 7)`` in a program that has no handler of its own on root. Their
lines are put together from what is known of the place that logs, without a LogRecord; byte for byte they are what
`StageHandler` writes, which takes every other record.
"""

from __future__ import annotations

import logging
import sys
import threading
from json.encoder import encode_basestring_ascii as _json
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as contexts

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.record.exceptions import said
from otel_stageio.views import logline

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from opentelemetry.context import Context

    from otel_stageio.model import Attributes, Value
    from otel_stageio.record.logs.handler import StageHandler
    from otel_stageio.record.logs.logger import StageLogger

#: Their names, and what the journal says of them. From WARNING up a record is on the span, too.
_LEVELS: Final = {
    logging.DEBUG: ("DEBUG", names.SEVERITY_DEBUG),
    logging.INFO: ("INFO", names.SEVERITY_INFO),
}
#: What formats itself, calling nobody's code.
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
#: Characters; longer ones may have to be cut.
_LONGEST: Final = 10_000
#: Places that are remembered: a program that makes code as it runs has no end of them.
_MOST_SITES: Final = 4096
_MAIN: Final = "MainThread"
_INFO: Final = logging.INFO
# By short names, since each is asked for with every record. The last two are what an instrumentation of logging puts
# something else in the place of.
_root, _manager, _factory = logging.root, logging.root.manager, logging.getLogRecordFactory
_names = logging._levelToName  # noqa: SLF001 - asked with every record
_Logger, _LogRecord = logging.Logger, logging.LogRecord
_call_handlers, _make_record = logging.Logger.callHandlers, logging.Logger.makeRecord


class QuickWay:
    """Writes plain records of one stage's own logger. Thread-safe."""

    def __init__(self, logger: StageLogger, handler: StageHandler, own: Context) -> None:
        """Write what `logger` is told as `handler` would; in the context `own` the stage's span is the current one."""
        self._logger = logger
        self._handler = handler
        self._recorder = handler.recorder
        self._own = own
        self._clock = logline.LineClock()
        tag = logline.tag(handler.stage)
        self._ways = {
            level: (name, f"] [{tag}] [{name}] ", *encode.plain_log(severity, name))
            for level, (name, severity) in _LEVELS.items()
        }
        #: The encoded attributes of each place that logs. The code object is kept, so that its id stays its own.
        self._sites: dict[tuple[int, int], tuple[CodeType, str]] = {}

    def take(self, level: int, message: object, arguments: tuple[Any, ...]) -> bool:
        """Record a message of the caller's caller if it is plain; else give False, and nothing has happened."""
        context = contexts.get_current()
        if (context and context is not self._own) or type(message) is not str or self._others(level):
            return False
        if arguments:
            for each in arguments:
                if type(each) not in _PLAIN:
                    return False
            try:
                message = message % arguments
            except (TypeError, ValueError, OverflowError):
                return False
        if len(message) > _LONGEST or not message.isprintable() or "\\" in message:
            return False
        recorder = self._recorder
        name, shown, first, second = self._ways[level]
        message = recorder.redactor.text(message)
        at = recorder.clock.now()
        site = self._site(sys._getframe(2))  # noqa: SLF001 - as logging does
        line = f"[{self._clock.text(at)}{shown}{message}"
        if not recorder.plain_log(name, f"{first}{at}{second}{_json(message)}{site}", line, pipeline=level >= _INFO):
            return False
        console = self._handler.console
        if console is not None and level >= console.level:
            console.write(line, level)
        return True

    def _others(self, level: int) -> bool:
        """Whether anybody else may want to see a record, or to change it."""
        logger = self._logger
        return bool(
            logger.disabled
            or logger.filters
            or len(logger.handlers) != 1
            or self._handler.filters
            or self._handler.level > level
            or _names[level] != _LEVELS[level][0]
            or _manager.disable >= level
            or (_root.handlers and logger.host_asks(level))
            or logger.level > level
            or _factory() is not _LogRecord
            or _Logger.callHandlers is not _call_handlers
            or _Logger.makeRecord is not _make_record
        )

    def _site(self, frame: FrameType) -> str:
        """The encoded attributes of a place that logs, up to the record's own sign."""
        code = frame.f_code
        key = (id(code), frame.f_lasti)  # a frame finds its line number by counting from its beginning
        known = self._sites.get(key)
        if known is None:
            if len(self._sites) >= _MOST_SITES:
                self._sites.clear()
            made = encode.plain_attributes(self._attributes(frame), names.LOG_RECORD_UID)
            known = self._sites[key] = (code, made)
        thread = threading.current_thread().name
        if thread == _MAIN:
            return known[1]
        return encode.plain_attributes(self._attributes(frame, thread), names.LOG_RECORD_UID)

    def _attributes(self, frame: FrameType, thread: str = "") -> Attributes:
        made: dict[str, Value] = {
            names.CODE_FILE_PATH: said(frame.f_code.co_filename),
            names.CODE_LINE_NUMBER: frame.f_lineno,
            names.CODE_FUNCTION_NAME: said(frame.f_code.co_name),
        }
        if thread:
            made[names.THREAD_NAME] = said(thread)
        return self._recorder.redactor.attributes(made)
