"""The log bridge: a stdlib log record to stage.log, the pipeline log, the console and the journal.

A record is formatted whole before anything of it is written, and a call never raises: what cannot be formatted is
recorded as what it was. Records that are made while a record is handled (by ``__str__`` of an argument, ``__del__``, a
signal handler) are written too; only a chain deeper than three is stopped, and counted.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry import trace

from otel_stageio import conventions as names
from otel_stageio.errors import attempt, guard
from otel_stageio.record import exceptions, steps
from otel_stageio.record.exceptions import said
from otel_stageio.record.logs.logger import DEEPEST, handled_by
from otel_stageio.record.otel import context as stages
from otel_stageio.record.values import plain
from otel_stageio.views import logline

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.model import Scope, Value
    from otel_stageio.record.logs.console import Console
    from otel_stageio.record.recorder import Recorder

#: What every stdlib record has; anything else came from ``extra`` or from the host's record factory.
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_MAIN_THREAD = "MainThread"


class StageHandler(logging.Handler):
    """The one handler of a stage's logger. Closing it changes nothing: logging goes on until the process ends."""

    def __init__(self, recorder: Recorder, *, stage: str, console: Console | None, captured: bool = False) -> None:
        """Write what `recorder` records under the stage's name.

        With `captured` the records are those of other loggers: stage.log and journal only, the logger's name before
        the message.
        """
        super().__init__(level=logging.NOTSET)
        self.recorder = recorder
        self.console = console
        self.captured = captured
        self.stage = stage
        self._tag = logline.tag(stage)
        self._clock = logline.LineClock()
        self._depth = threading.local()
        #: For the line: what it shows is in the message and the attributes, and is counted there.
        self._apart = recorder.redactor.apart()

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Need no lock: each write is one system call, and the fold has a lock of its own."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit; never raises, also where a filter that somebody put here does."""
        passed: object = attempt(lambda: self.filter(record), self._filter_raised)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def _filter_raised(self, why: Exception) -> bool:
        self.recorder.trouble("a filter on the stage's log handler raised", why)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record to every place that its level asks for."""
        self.bounded(partial(self._emit, record))

    def bounded(self, write: Callable[[], None]) -> None:
        """Write a record by `write`, whatever that raises; not at the end of a chain of records in this thread."""
        depth = getattr(self._depth, "value", 0)
        if depth >= DEEPEST:
            self.stop()
            return
        self._depth.value = depth + 1
        try:
            with guard(lambda why: self.recorder.trouble("cannot record a log message", why)):
                write()
        finally:
            self._depth.value = depth

    def stop(self) -> None:
        """Say that a record was not taken, for it is one of a chain of records without end."""
        self.recorder.trouble(f"log records made by log records, more than {DEEPEST} deep, were not recorded")

    def close(self) -> None:
        """Stay open: logging.shutdown and dictConfig close every handler that they know of."""

    def _emit(self, record: logging.LogRecord) -> None:
        recorder = self.recorder
        at = recorder.clock.now()
        message = said(attempt(record.getMessage, lambda why: _unformatted(record, why)))
        attributes, exception = _attributes(record, "" if self.captured else self.stage, recorder.span_id)
        if self.captured:
            attributes[names.CAPTURED] = True
        line = self.put(
            at=at,
            level=said(record.levelname),
            severity=names.severity(record.levelno),
            message=message,
            shown=f"{record.name}: {message}" if self.captured else message,
            attributes=attributes,
            exception=exception,
            span_id=_span_id(recorder),
            pipeline=record.levelno >= logging.INFO and not self.captured,
        )
        console = self.console
        if console and record.levelno >= console.level:
            # What nobody's logger hands on just now would reach root's handlers at most.
            own = handled_by(record)
            kept = own is not None and not own.host_asks(record.levelno)
            if kept or not console.shown_elsewhere(record, own or logging.getLogger(), self):
                console.write(line, record.levelno)

    def put(
        self,
        *,
        at: int,
        level: str,
        severity: int,
        message: Value,
        shown: str,
        attributes: dict[str, Value],
        exception: str = "",
        span_id: str = "",
        pipeline: bool = False,
        name: str = "",
        scope: Scope | None = None,
    ) -> str:
        """Write a record to stage.log, with `pipeline` to the pipeline log too, and to the journal; give its line.

        The line has `shown` for the `message`, and `exception` below it. `name` is the event name that the library
        `scope` gave the record. `attributes` may be added to.
        """
        recorder, redactor = self.recorder, self.recorder.redactor
        message, shown, exception = redactor.value("", message), self._apart.text(shown), self._apart.text(exception)
        attributes = dict(redactor.attributes(attributes))
        step = steps.path(recorder)
        tag = self._tag
        if step:
            attributes[names.STEP] = step
            tag = logline.tag(f"{self.stage}/{step}")
        line = logline.render(self._clock.text(at), tag, logline.tag(level), shown, exception)
        recorder.write_line(line, pipeline=pipeline)
        recorder.log(
            at=at,
            level=level,
            severity=severity,
            message=message,
            attributes=attributes,
            span_id=span_id,
            name=name,
            scope=scope,
        )
        return line


def _unformatted(record: logging.LogRecord, why: Exception) -> str:
    """Stand for a message with wrong %-arguments, or with one whose ``__str__`` raises."""
    return f"{said(record.msg)} {said(record.args)} [not formatted: {exceptions.summary(why)}]"


def _attributes(record: logging.LogRecord, stage: str, by: str) -> tuple[dict[str, Value], str]:
    """What the journal tells of a record besides its message, and the traceback and stack below its line."""
    made: dict[str, Value] = {
        names.CODE_FILE_PATH: said(record.pathname),
        names.CODE_LINE_NUMBER: plain(record.lineno),
        names.CODE_FUNCTION_NAME: said(record.funcName or ""),
    }
    if record.threadName != _MAIN_THREAD and record.threadName:
        made[names.THREAD_NAME] = said(record.threadName)
    if record.name != stage:
        made[names.LOGGER] = said(record.name)
    told = _raised(record, made, by)
    if record.stack_info:
        stack = said(record.stack_info)
        told = f"{told}\n{stack}" if told else stack
    if told:
        made[names.EXCEPTION_STACKTRACE] = told
    for key in sorted(vars(record).keys() - _STANDARD, key=said):
        made[said(key)] = plain(vars(record).get(key))
    return made, told


def _raised(record: logging.LogRecord, made: dict[str, Value], by: str) -> str:
    """The traceback text that the record carries; `made` gets the exception's type and message."""
    of: object = record.exc_info
    where = None
    if isinstance(of, tuple) and len(of) > 1:
        where = of[2] if len(of) > 2 and isinstance(of[2], TracebackType) else None  # noqa: PLR2004 - sys.exc_info's
        of = of[1]
    if not isinstance(of, BaseException):
        return said(record.exc_text or "")
    made.update(exceptions.describe(of, where))
    exceptions.mark(of, exceptions.LOGGED, by)
    return str(made[names.EXCEPTION_STACKTRACE])


def _span_id(recorder: Recorder) -> str:
    """The current span, where it is one of the stage's trace and not in another stage; else none."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid or trace.format_trace_id(span.trace_id) != recorder.trace_id:
        return ""
    found = trace.format_span_id(span.span_id)
    home = None if found == recorder.span_id else stages.of(stages.current())
    return found if home is None or home.recorder is recorder else ""
