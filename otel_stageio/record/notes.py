"""What a stage says about itself: configuration, metrics, warnings, errors, resources."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.journal import limits
from otel_stageio.record import exceptions
from otel_stageio.record.core import StageCore
from otel_stageio.record.exceptions import said
from otel_stageio.record.values import mapping, plain

if TYPE_CHECKING:
    from otel_stageio.model import Value


class StageNotes(StageCore):
    """Notes that go into the manifest and onto the stage's span. All may be called from any thread and never raise."""

    def set_config(self, config: object) -> None:
        """Add configuration: a mapping, Namespace, dataclass, pydantic or OmegaConf object; a later value wins."""
        with self._troubled("cannot record the configuration"):
            for part in limits.parts({names.CONFIG_KEY + key: of for key, of in mapping(config).items()}):
                self._recorder.event(names.CONFIG, part, call="set_config")

    def add_config(self, key: str, value: object) -> None:
        """Add one configuration value; a later one of that key wins."""
        with self._troubled("cannot record the configuration"):
            self._recorder.event(names.CONFIG, {names.CONFIG_KEY + said(key): plain(value)}, call="add_config")

    def add_metric(self, name: str, value: float, unit: str = "1") -> None:
        """Put a figure on record; the manifest shows the last one of each name.

        `unit` is a UCUM code as OpenTelemetry uses them: ``1`` for a ratio, ``s``, ``By``, ``{segment}``.
        """
        with self._troubled("cannot record a metric"):
            made: dict[str, Value] = {
                names.METRIC_NAME: said(name),
                names.METRIC_VALUE: plain(value),
                names.METRIC_UNIT: said(unit),
            }
            self._recorder.event(names.METRIC, made, call="add_metric")

    def add_warning(self, message: object) -> None:
        """Add a warning to the manifest and the span. It is not logged: log it beside, where a person should see it."""
        with self._troubled("cannot record a warning"):
            self._recorder.event(
                names.WARNING, {}, call="add_warning", body=said(message), severity=names.SEVERITY_WARN
            )

    def add_error(self, message: object, exception: BaseException | str | None = None) -> None:
        """Add an error to the manifest and the span, with the exception's type, message and stack trace.

        It is not logged, but the traceback is written to stage.log at DEBUG, unless it was logged there already.
        """
        self._note_error(said(message), exception, call="add_error")

    def set_resources(self, **values: object) -> None:
        """Add to the manifest's ``resources``; what is measured at the end does not replace what is set here."""
        with self._troubled("cannot record resources"):
            made = {names.RESOURCE_KEY + said(key): plain(of) for key, of in values.items()}
            self._recorder.event(names.RESOURCES, made, call="set_resources")

    def _note_error(self, message: str, exception: BaseException | str | None, *, call: str) -> None:
        with self._troubled("cannot record an error"):
            made: dict[str, Value] = {}
            if isinstance(exception, BaseException):
                made = exceptions.describe(exception)
                self._write_traceback(exception)
                exceptions.mark(exception, exceptions.RECORDED, self._recorder.span_id)
            elif exception is not None:
                made = {names.EXCEPTION_MESSAGE: said(exception)}
            self._recorder.event(names.ERROR, made, call=call, body=message, severity=names.SEVERITY_ERROR)

    def _write_traceback(self, exception: BaseException) -> None:
        """Put the traceback into stage.log at DEBUG, as from where it was raised; the host's handlers do not see it."""
        if exceptions.marked(exception, exceptions.LOGGED, self._recorder.span_id):
            return
        path, line, function = "", 0, ""
        where = exception.__traceback__
        while where is not None:
            code = where.tb_frame.f_code
            path, line, function = code.co_filename, where.tb_lineno, code.co_name
            where = where.tb_next
        self._logger.write(
            logging.LogRecord(
                name=self._logger.name,
                level=logging.DEBUG,
                pathname=path,
                lineno=line,
                msg="%s",
                args=(exceptions.summary(exception),),
                exc_info=(type(exception), exception, exception.__traceback__),
                func=function,
            )
        )
