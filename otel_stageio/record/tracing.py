"""The stage in its trace: its live span, its steps, and what it hands on to the processes and services it calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.util._decorator import _agnosticcontextmanager

from otel_stageio import settings as surroundings
from otel_stageio.record.core import StageCore
from otel_stageio.record.otel import carrier
from otel_stageio.record.otel import context as stages
from otel_stageio.record.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context

    from otel_stageio.record.otel.context import StageTrace

_JOB_DIR = "STAGEIO_JOB_DIR"
_ATTEMPT = "STAGEIO_ATTEMPT"
_ITEM = "STAGEIO_ITEM"
_RUN = "STAGEIO_RUN"


class StageTracing(StageCore):
    """The trace of a stage. All may be called from any thread or task and never raise."""

    _trace: StageTrace
    _folder: str

    @property
    def span(self) -> trace.Span:
        """The stage's span, recording until the stage ends; what it is told is on record when the call returns.

        The same as ``trace.get_current_span()`` in the thread or task that opened the stage. Ending it changes
        nothing: the stage's end is its end.
        """
        return self._trace.span

    @_agnosticcontextmanager
    def step(self, name: str, /, **attributes: Any) -> Iterator[trace.Span]:
        """Time a part of the stage: ``with io.step("decode", file=f):``, or as a decorator, of async functions too.

        It is a child span with `attributes` of any shape, an entry in the manifest's ``steps`` with its duration in
        seconds and its status, and ``[asr/decode]`` in place of ``[asr]`` in the logs. Steps nest. An exception makes
        it failed, and goes on; ``sys.exit(0)`` does not. Gives the step's span.
        """
        step = None
        with self._troubled("cannot begin a step"):
            step = Step(self._trace, name, attributes)
            step.begin()
        try:
            yield step.span if step is not None else trace.INVALID_SPAN
        except BaseException as raised:
            self._end_step(step, raised)
            raise
        self._end_step(step, None)

    def _end_step(self, step: Step | None, raised: BaseException | None) -> None:
        with self._troubled("cannot end a step"):
            if step is not None:
                step.end(raised)

    def environ(self) -> dict[str, str]:
        """A copy of the environment for a process that the stage starts: ``subprocess.run(..., env=io.environ())``.

        With ``TRACEPARENT``, ``TRACESTATE`` and ``BAGGAGE`` of the step or span that this is called in,
        ``STAGEIO_JOB_DIR`` and ``STAGEIO_RUN``: a stage there is in the same job, run and trace. By ``STAGEIO_ATTEMPT``
        this stage, opened there again, takes part in this attempt. The item of this stage, ``STAGEIO_ITEM``, is that of
        all stages there which name none.
        """
        made = surroundings.environment()
        with self._troubled("cannot hand on the trace"):
            handed = carrier.outgoing(self._carried())
            for name in carrier.VARIABLES:
                made.pop(name, None)
            made.update(handed)
        stage = os.path.dirname(self._folder) if self._opened.layout.item else self._folder
        made[_JOB_DIR] = os.path.dirname(stage)
        places = self._opened.recorder.places
        if places is not None:
            made[_ATTEMPT] = places.attempt_folder
        if self._opened.layout.item or made.get(_ITEM):
            made[_ITEM] = self._opened.layout.item
        if self._opened.run_name:
            made[_RUN] = self._opened.run_name
        return made

    def headers(self) -> dict[str, str]:
        """The trace and baggage as HTTP headers: ``requests.get(url, headers=io.headers())``.

        By the propagators that ``OTEL_PROPAGATORS`` names, by default W3C trace context and baggage.
        """
        with self._troubled("cannot hand on the trace"):
            return carrier.headers(self._carried())
        return {}

    def _carried(self) -> Context:
        """The current context where it is in this stage, else the stage's."""
        context = stages.on_record(contexts.get_current())
        return context if stages.of(context) is self._trace else self._trace.context
