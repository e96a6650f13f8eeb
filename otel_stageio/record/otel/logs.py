"""Logger and LoggerProvider over the journal: OpenTelemetry's Logs API where the program set no provider of its own.

A record is written to logs.jsonl and stage.log of the stage that it is made in: the one in its context, else the newest
that is open in the process. Outside of any stage it goes nowhere, as without a provider. A record that a handler of the
standard library's logging passes on is left out: what the stage logs is in its files already, and what others log is
there if ``capture="root"`` asks for it.

Loaded only where the program has loaded the Logs API; see `awaiting`.
"""

from __future__ import annotations

import logging
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import _logs as api
from opentelemetry import trace
from opentelemetry.context import Context

from otel_stageio import conventions as names
from otel_stageio import settings as surroundings
from otel_stageio.errors import attempt
from otel_stageio.model import Scope
from otel_stageio.record import exceptions
from otel_stageio.record.exceptions import said
from otel_stageio.record.otel import awaiting
from otel_stageio.record.otel import context as stages
from otel_stageio.record.otel.span import cleaned, moment
from otel_stageio.record.values import mapping, plain
from otel_stageio.views import told as views

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from otel_stageio.record.otel.context import StageTrace

#: By which a program has OpenTelemetry make its provider when it is first asked for one.
_VARIABLE: Final = "OTEL_PYTHON_LOGGER_PROVIDER"
#: What every handler of logging is called by, and how far up it is looked for.
_HANDLE: Final = logging.Handler.handle.__code__
_FRAMES: Final = 16
#: The level of each four severity numbers, from 1 up, and the number of each level's name.
_LEVELS: Final = ("DEBUG", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_MOST: Final = 24
_SPAN_IDS: Final = 1 << 64
_NUMBERS: Final = {
    "TRACE": 1,
    "DEBUG": names.SEVERITY_DEBUG,
    "INFO": names.SEVERITY_INFO,
    "WARN": names.SEVERITY_WARN,
    "WARNING": names.SEVERITY_WARN,
    "ERROR": names.SEVERITY_ERROR,
    "FATAL": names.SEVERITY_FATAL,
    "CRITICAL": names.SEVERITY_FATAL,
}
#: What OpenTelemetry calls a level otherwise than the rest of the journal.
_SPELLED: Final = {"WARN": "WARNING", "FATAL": "CRITICAL"}


class Emitted(NamedTuple):
    """A record as its library gave it: any of it may be missing, or be anything."""

    context: Any
    trace_id: Any
    span_id: Any
    timestamp: Any
    observed_timestamp: Any
    severity_number: Any
    severity_text: Any
    body: Any
    attributes: Any
    event_name: Any
    exception: Any


def emitted(record: object) -> Emitted:
    """What a LogRecord says, of the API or of any SDK."""
    return Emitted(**{name: getattr(record, name, None) for name in Emitted._fields})


def _given(fields: Mapping[str, Any]) -> Emitted:
    return Emitted(**{name: fields.get(name) for name in Emitted._fields})


def keep(told: Emitted, scope: Scope) -> None:
    """Write a record of the library `scope` to the stage that it is made in. Never raises."""
    given = told.context if issubclass(type(told.context), Context) else None
    context = given or stages.current()
    home = stages.here(context)
    if home is not None and not _passed_on():
        home.handler.bounded(partial(_write, home, told, scope, context))


def _passed_on() -> bool:
    """Whether a handler of logging makes the record that is being made."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way to the frames that costs next to nothing
    for _ in range(_FRAMES):
        if frame is None or frame.f_code is _HANDLE:
            return frame is not None
        frame = frame.f_back
    return False


def _write(home: StageTrace, told: Emitted, scope: Scope, context: Context) -> None:
    attributes = {} if told.attributes is None else mapping(told.attributes)
    if isinstance(told.exception, BaseException):
        attributes = {**exceptions.describe(told.exception), **attributes}
        exceptions.mark(told.exception, exceptions.LOGGED, home.recorder.span_id)
    name = said(told.event_name) if told.event_name else ""
    body = plain(told.body)
    shown, exception = views.shown(body, name, attributes)
    if name.startswith(names.OWN):  # it would pass for an event of ours
        attributes[names.OTEL_EVENT_NAME] = name
        name = ""
    if scope.name:
        attributes[names.LOGGER] = scope.name
        shown = f"{scope.name}: {shown}"
    number, level = _severity(told)
    home.handler.put(
        at=moment(told.timestamp) or moment(told.observed_timestamp) or home.recorder.clock.now(),
        level=level,
        severity=number,
        message=body,
        shown=shown,
        attributes=attributes,
        exception=exception,
        span_id=_span_id(home, told, context),
        name=name,
        scope=scope,
    )


def _severity(told: Emitted) -> tuple[int, str]:
    """The severity number and level: as given, spelled as everywhere in the journal, the one by the other, else INFO.

    A level of the library's own has no number but the one that it comes with.
    """
    number: object = getattr(told.severity_number, "value", told.severity_number)
    text = said(told.severity_text) if told.severity_text else ""
    known = text.upper() if text.upper() in _NUMBERS else ""
    if not (isinstance(number, int) and 0 < number <= _MOST):
        number = _NUMBERS[known] if known else 0 if text else names.SEVERITY_INFO
    level = _LEVELS[(number - 1) // 4] if number else ""
    return number, _SPELLED.get(known, known) or text or level


def _span_id(home: StageTrace, told: Emitted, context: Context) -> str:
    """The span that the record is made in, where it is one of the stage's trace."""
    trace_id, span_id = told.trace_id, told.span_id
    if trace_id is None:
        current = trace.get_current_span(context).get_span_context()
        trace_id, span_id = current.trace_id, current.span_id
    fits = trace_id == home.ids.trace_id and isinstance(span_id, int) and 0 < span_id < _SPAN_IDS
    return trace.format_span_id(span_id) if fits else ""


class _Passing(threading.local):
    """Whether this thread is handing a record, or the wish for a logger, to the program's provider."""

    now = False


_passing = _Passing()


class JournalLogger(api.Logger):
    """Takes the records of one library. Once the program has set a provider of its own, its logger takes them."""

    #: What the handler of older SDKs asks a logger for.
    resource = None

    def __init__(self, *about: Any) -> None:
        """Be the logger of the library that `get_logger` was told of: name, version, address of schema, attributes."""
        super().__init__(*about)
        self._about = about
        name, version, schema_url, attributes = about
        self._scope = Scope(
            name=said(name or ""),
            version=said(version or ""),
            attributes=cleaned(attributes, None, None)[0],
            schema_url=said(schema_url or ""),
        )
        self._theirs: tuple[Any, api.Logger] | None = None

    def emit(self, record: api.LogRecord | None = None, **fields: Any) -> None:
        """Write a record, given whole or by its fields."""
        theirs = self._of_the_program()
        if theirs is None:
            told = attempt(lambda: _given(fields) if record is None else emitted(record), lambda _: _given({}))
            keep(told, self._scope)
            return
        _passing.now = True
        try:
            if record is not None:
                theirs.emit(record)
            else:
                theirs.emit(**fields)
        finally:
            _passing.now = False

    def enabled(self, *, context: Context | None = None, **fields: Any) -> bool:
        """Whether a record would be written: within a stage."""
        theirs = self._of_the_program()
        if theirs is None:
            return stages.here(context or None) is not None
        return theirs.enabled(context=context, **fields)

    def _of_the_program(self) -> api.Logger | None:
        """The logger of the provider that the program has set meanwhile. That may be made of our loggers in turn."""
        found = awaiting.provider()
        if found is None or isinstance(found, JournalLoggerProvider) or _passing.now:
            return None
        if self._theirs is None or self._theirs[0] is not found:
            attempt(awaiting.look, lambda _: None)
            _passing.now = True
            try:
                self._theirs = (found, found.get_logger(*self._about))
            finally:
                _passing.now = False
        return self._theirs[1]


class JournalLoggerProvider(api.LoggerProvider):
    """The process's provider as long as it has none."""

    def get_logger(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> api.Logger:
        """The logger of a library."""
        return JournalLogger(name, version, schema_url, attributes)


def take_place() -> None:
    """Be the process's provider, if it has none, until it sets one.

    Not by `set_logger_provider`: what that does, it does once in a process, and that once is the program's.
    """
    of_process: Any = sys.modules["opentelemetry._logs._internal"]
    if surroundings.environment().get(_VARIABLE):
        return
    with of_process._LOGGER_PROVIDER_SET_ONCE._lock:  # noqa: SLF001 - see above
        if of_process._LOGGER_PROVIDER is None:  # noqa: SLF001
            of_process._LOGGER_PROVIDER = JournalLoggerProvider()  # noqa: SLF001
