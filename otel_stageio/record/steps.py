"""``with io.step("decode"):`` a timed part of a stage, with a span, its place in the manifest and a tag in the logs."""

from __future__ import annotations

import os
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as contexts
from opentelemetry import trace

from otel_stageio import conventions as names
from otel_stageio.record import ending, exceptions
from otel_stageio.record.exceptions import said
from otel_stageio.record.otel import context as stages
from otel_stageio.record.otel import hosts
from otel_stageio.record.otel.books import Beginning, ChildBook
from otel_stageio.record.values import clean_text, plain
from otel_stageio.views.span import scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from otel_stageio.model import Value
    from otel_stageio.record.otel.context import StageSpan, StageTrace
    from otel_stageio.record.recorder import Recorder

_SECOND = 1_000_000_000
_current: ContextVar[Step | None] = ContextVar("stageio-step", default=None)


class Step:
    """One step while it runs. `begin` and `end` may be called from different threads or tasks.

    A child by fork that leaves the block of a step ends nothing: its parent does.
    """

    def __init__(self, home: StageTrace, name: str, attributes: Mapping[str, Any]) -> None:
        """Name the step `name` of the stage `home`; a step that this thread or task is in is around it."""
        self.recorder = home.recorder
        self.ended = False
        self._process = os.getpid()
        self._home = home
        self.outer = _open_from(_current.get())
        self._within = _within(home.recorder)
        # Here already: the name goes into the lines of logs, too, as a part of a path.
        self._name = home.recorder.redactor.text(said(name))
        self.path: str = f"{self._within.path}/{self._name}" if self._within else self._name
        self._about = {clean_text(key): plain(of) for key, of in attributes.items()}
        self._start = home.recorder.clock.now()
        self._before: Context = stages.current()
        self.span = self._begun()
        self.span.before = self._before
        self.own = stages.Own(stages.with_span(self.span, self._around()))
        home.adopt(self.own)
        self._token: Token[Step | None]

    def _around(self) -> Context:
        """The current context where it is in the stage, else that of the step around, else the stage's."""
        if stages.of(self._before) is self._home:
            return stages.on_record(self._before)
        return self._within.own if self._within else self._home.context

    def _begun(self) -> StageSpan:
        home, around = self._home, self._around()
        parent = trace.get_current_span(around).get_span_context()
        told = home.host.start(self._name, around, self._start) if home.host else None
        of = Beginning(
            name=self._name,
            context=told.get_span_context() if told else stages.new_context(parent),
            parent=parent,
            kind=trace.SpanKind.INTERNAL,
            attributes={key: scalar(each) for key, each in list(self._about.items())[: home.limits.attributes]},
            links=(),
            dropped_links=0,
            start=self._start,
            scope=None,
        )
        ended = (lambda made: hosts.project(made, told, home.limits)) if told else None
        return home.new_span(of.context, ChildBook(of, home.recorder, home.limits, ended))

    @property
    def _span_id(self) -> str:
        return trace.format_span_id(self.span.get_span_context().span_id)

    def begin(self) -> None:
        """Put the beginning on record and be current."""
        made: dict[str, Value] = {names.STEP: self.path}
        made.update({names.STEP_ATTRIBUTE + key: of for key, of in self._about.items()})
        self.recorder.event(names.STEP_STARTED, made, call="step", span_id=self._span_id)
        contexts.attach(self.own)
        self._token = _current.set(self)

    def end(self, raised: BaseException | None) -> None:
        """Put the end on record, failed where an exception ends it, and be current no more."""
        self.ended = True
        self._leave()
        if os.getpid() != self._process:
            return
        failed = raised is not None and not ending.is_fine(raised)
        end = self.recorder.clock.now()
        made: dict[str, Value] = {
            names.STEP: self.path,
            names.STATUS: names.FAILED if failed else names.SUCCESS,
            names.STEP_DURATION: (end - self._start) / _SECOND,
        }
        if raised is not None and failed:
            made[names.ERROR_TYPE] = exceptions.type_name(raised)
            made[names.REASON] = exceptions.summary(raised)
            self.span.record_exception(raised, escaped=True)
            self.span.set_status(trace.Status(trace.StatusCode.ERROR, exceptions.summary(raised)))
            self.span.set_attribute(names.ERROR_TYPE, exceptions.type_name(raised))
        self.recorder.event(names.STEP_FINISHED, made, call="step", span_id=self._span_id)
        self.span.end(end)

    def _leave(self) -> None:
        inside = _current.get() is self
        # `current` gives way where the context is of a stage that has ended meanwhile.
        if inside and stages.current() is self.own and self._began_here():
            contexts.attach(self._before)
            stages.current()
        else:  # it may be current elsewhere, or come back by a detach
            stages.replace(self.own, self._before)
            self._home.clear_up()
        if inside:
            _current.set(self.outer)

    def _began_here(self) -> bool:
        """Whether the calling thread or task is the one that began the step: no other may have its token back."""
        try:
            _current.reset(self._token)
        except ValueError:
            return False
        return True


def path(recorder: Recorder) -> str:
    """The step of a stage that the calling thread or task is in, nested ones joined with slashes; "" for none."""
    step = _within(recorder)
    return step.path if step is not None else ""


def _within(recorder: Recorder) -> Step | None:
    """The innermost open step of a stage around the calling thread or task."""
    step = _open_from(_current.get())
    while step is not None and step.recorder is not recorder:
        step = _open_from(step.outer)
    return step


def _open_from(step: Step | None) -> Step | None:
    """The step, or where it has ended the nearest one around it that has not."""
    while step is not None and step.ended:
        step = step.outer
    return step
