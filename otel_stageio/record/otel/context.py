"""The stage in OpenTelemetry's context: what is current while it is open, and never after.

A stage is opened by one call and ended by another, maybe in another thread or task, so a token of `attach` could not be
given back. Instead each stage has a Context object of its own, and when the stage ends, that object's content becomes
what was there before: wherever it is still current, or comes back by somebody's `detach`, the ended stage is not in it.
"""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context

from otel_stageio.errors import guard
from otel_stageio.record.otel.books import StageBook
from otel_stageio.record.otel.span import JournalSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.record.logs.handler import StageHandler
    from otel_stageio.record.otel.hosts import Host
    from otel_stageio.record.otel.limits import SpanLimits
    from otel_stageio.record.otel.span import Book
    from otel_stageio.record.recorder import Recorder

_KEY: Final = contexts.create_key("stageio-stage")
_SPAN: Final = contexts.create_key("stageio-span")
#: What a stage sets in a context: itself, its span or step's, and the current span.
_OURS: Final = (_KEY, _SPAN, *trace.set_span_in_context(trace.INVALID_SPAN, Context()))
#: Sampled, and random trace id. What W3C has not given a meaning yet is not handed on.
_KNOWN_FLAGS: Final = 0x03


class StageTrace:
    """An open stage as OpenTelemetry sees it: its span, and the context in which it is current."""

    def __init__(
        self,
        recorder: Recorder,
        own: trace.SpanContext,
        *,
        limits: SpanLimits,
        handler: StageHandler,
        host: Host | None = None,
        host_span: trace.Span | None = None,
        watch: Callable[[], None] | None = None,
    ) -> None:
        """Stand for the stage that `recorder` records and `handler` logs; a `host`'s `host_span` is told at the end.

        `watch` is called before another span takes this one as its parent.
        """
        self.recorder = recorder
        self.limits = limits
        self.handler = handler
        self.host = host
        self.host_span = host_span
        self.trouble = guard(partial(recorder.trouble, "cannot record what a span was told"))
        self.ids = own
        self._watch = watch
        self.span = self.new_span(own, StageBook(recorder, limits))
        #: Inside its with block or decorator a stage is the parent of stages that are opened there.
        self.nests = False
        self._own = Own()
        self._before = self._base = Context()
        self._ended = False
        #: Contexts that got this one's content when a stage or step ended.
        self._heirs: weakref.WeakValueDictionary[int, Context] = weakref.WeakValueDictionary()

    def enter(self, base: Context) -> None:
        """Become current in the calling thread or task, with all else that is in `base`."""
        self._before = current()
        self._base = base
        content = contexts.set_value(_KEY, self, with_span(self.span, base))
        _fill(self._own, content)
        contexts.attach(self._own)
        _open[id(self)] = self

    def leave(self) -> None:
        """Be current nowhere, from whatever thread or task. Once is enough."""
        if _open.pop(id(self), None) is None:
            return
        self._ended = True
        self._before = _settled(self._before)
        replace(self._own, self._before)
        self.clear_up()
        if contexts.get_current() is self._own:
            contexts.attach(self._before)
        else:
            current()
        self._base = Context()

    def clear_up(self) -> None:
        """Bring the contexts that this stage was handed on to up to date: what ended is current in none of them."""
        for each in [heir() for heir in self._heirs.valuerefs()]:  # at once: other threads may add to them
            settled = each if each is None else _settled(each)
            if each is not None and settled is not each:
                _refill(each, settled if settled is not None else Context())

    def gives_back(self, context: Context) -> Context:
        """A context as it is where this stage and its steps are current no more; else the same one."""
        span = trace.get_current_span(context)
        if not self._ended or not isinstance(span, StageSpan) or span.home is not self:
            return context
        before = self._before if span is self.span else span.before
        return before if isinstance(context, Own) else _moved(context, before)

    def new_span(self, own: trace.SpanContext, book: Book) -> StageSpan:
        """A span of the stage's own or of a step's, which others take as their parent."""
        return StageSpan(own, book, home=self, watch=self._watch)

    def adopt(self, heir: Context) -> None:
        """Clear up a context, too, that got this stage's content back when a later one ended."""
        self._heirs[id(heir)] = heir

    def hides(self, context: Context) -> Context:
        """What a stage that is opened in `context` hangs on: not on this one, unless it nests."""
        if self.nests or trace.get_current_span(context) is not self.span:
            return context
        return self._base if context is self._own else _moved(context, self._base)

    @property
    def context(self) -> Context:
        """The context in which the stage is current; after its end, what was there before it, with its span."""
        return self._own if id(self) in _open else trace.set_span_in_context(self.span, self._own)


class StageSpan(JournalSpan):
    """The span of a stage or of a step."""

    def __init__(
        self, context: trace.SpanContext, book: Book, *, home: StageTrace, watch: Callable[[], None] | None
    ) -> None:
        """Stand for `context` in the stage `home`; `watch` is called before another span takes it as its parent."""
        super().__init__(context, book, home.trouble, home=home)
        self._watch = watch
        #: Of a step's: the context around it.
        self.before = Context()

    def get_span_context(self) -> trace.SpanContext:
        """Its ids. Whoever starts a child asks for them first: the moment to see whose tracer that is."""
        if self._watch is not None:
            with self._trouble:
                self._watch()
        return self._context


class Own(Context):
    """The context that a stage or step is current in."""

    #: After its end: the one that it says the same as.
    before: Context | None = None


#: The stages that are open in this process, in the order in which they were opened.
_open: dict[int, StageTrace] = {}


def current() -> Context:
    """The current context of the calling thread or task; one that holds a stage's span after its end gives way."""
    found = contexts.get_current()
    settled = _settled(found)
    if settled is not found:
        contexts.attach(settled)
        outer = of(settled)
        if outer is not None:
            outer.adopt(settled)
    return settled


def _settled(context: Context) -> Context:
    """A context without the stages that are over. Somebody who sets a value in a stage's context makes a copy of it."""
    while True:
        stage = of(context)
        given_back = stage.gives_back(context) if stage is not None else context
        if isinstance(context, Own) and context.before is not None:
            given_back = context.before
        if given_back is context:
            return context
        context = given_back


def of(context: Context) -> StageTrace | None:
    """The stage that is in a context: that of its current span, where that is one of ours."""
    home = getattr(trace.get_current_span(context), "home", None)
    found = home if isinstance(home, StageTrace) else context.get(_KEY)
    return found if isinstance(found, StageTrace) else None


def here(context: Context | None = None) -> StageTrace | None:
    """The stage that what is done in a context belongs to: the one in it, else the newest that is open."""
    return of(contexts.get_current() if context is None else context) or newest()


def newest() -> StageTrace | None:
    """The stage that was opened last of those that are open."""
    return next(iter(_newest_first()), None)


def of_span(context: trace.SpanContext) -> StageTrace | None:
    """The open stage that a span belongs to: the one whose own it is, else the newest of its trace."""
    fitting = [each for each in _newest_first() if each.ids.trace_id == context.trace_id]
    return next((each for each in fitting if each.ids.span_id == context.span_id), next(iter(fitting), None))


def _newest_first() -> list[StageTrace]:
    return list(_open.values())[::-1]  # copied in one go: other threads open and end stages meanwhile


def base() -> Context:
    """What a stage that is opened now hangs on: the current context, without stages that are merely open."""
    context = on_record(current())
    stage = of(context)
    return stage.hides(context) if stage is not None else context


def on_record(context: Context) -> Context:
    """A context whose current span has a line somewhere.

    A span of the host's that its sampler drops has none: what is made within it hangs on our step or stage around it.
    """
    span = trace.get_current_span(context)
    ours = context.get(_SPAN)
    ids = span.get_span_context()
    dropped = not span.is_recording() and not ids.is_remote and not isinstance(span, JournalSpan)
    if not dropped or not isinstance(ours, StageSpan) or ids.trace_id != ours.get_span_context().trace_id:
        return context
    return trace.set_span_in_context(ours, context)


def with_span(span: StageSpan, context: Context) -> Context:
    """A context with a span of the stage's own as the current one."""
    return contexts.set_value(_SPAN, span, trace.set_span_in_context(span, context))


def new_context(parent: trace.SpanContext | None) -> trace.SpanContext:
    """A new span's ids and flags: in its parent's trace, else in a new one."""
    if parent is None:
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        return trace.SpanContext(_random(16), _random(8), is_remote=False, trace_flags=flags)
    return trace.SpanContext(
        parent.trace_id,
        _random(8),
        is_remote=False,
        trace_flags=trace.TraceFlags(parent.trace_flags & _KNOWN_FLAGS),
        trace_state=parent.trace_state,
    )


def _random(size: int) -> int:
    return int.from_bytes(os.urandom(size), "big") or 1


def replace(own: Own, before: Context) -> None:
    """Make a context of ours what was there before, for good: the stage that is in that clears it up in its turn."""
    _refill(own, before)
    own.before = before


def _refill(own: Context, content: Context) -> None:
    _fill(own, content)
    outer = of(content)
    if outer is not None:
        outer.adopt(own)


def _moved(context: Context, onto: Context) -> Context:
    """A context with the stage and the span of another in place of its own."""
    kept = {key: of for key, of in context.items() if key not in _OURS}
    return Context({**kept, **{key: onto[key] for key in _OURS if key in onto}})


def _fill(context: Context, content: Context) -> None:
    """Give a Context another content; its own methods refuse that, since elsewhere nobody may."""
    kept = dict(content)
    dict.update(context, kept)
    for key in list(context):
        if key not in kept:
            dict.__delitem__(context, key)
