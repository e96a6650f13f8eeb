"""How a log record of the journal stands in stage.log and the pipeline log."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.views import logline

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, LogRecord, Resource, Scope, Value
    from otel_stageio.views.logline import LineClock


class Told(NamedTuple):
    """A record's line, and whether the pipeline log has it, too."""

    line: str
    pipeline: bool


def raised(attributes: Attributes) -> str:
    """The exception that a record tells of, as Python ends a traceback."""
    told = [attributes[name] for name in (names.EXCEPTION_TYPE, names.EXCEPTION_MESSAGE) if attributes.get(name)]
    return ": ".join(map(encode.readable, told))


def stack(attributes: Attributes) -> str:
    """The traceback of a record that a library made."""
    return encode.readable(attributes.get(names.EXCEPTION_STACKTRACE) or "").rstrip("\n")


def shown(body: Value, name: str, attributes: Attributes) -> tuple[str, str]:
    """The message and the exception of a record that a library made, and called `name`."""
    told = raised(attributes)
    message = encode.readable(body) if body is not None else name or told
    return message, stack(attributes) or (told if told != message else "")


def told(record: LogRecord, scope: Scope, resource: Resource, *, stage: str, clock: LineClock) -> Told:
    """The line of a record that the library `scope` made in the stage.

    Of a record that was cut the line says so: what was logged is in the stage.log where it was logged.
    """
    of = record.attributes
    ours = resource.attributes.get(names.TELEMETRY_SDK_NAME) == names.SCOPE
    captured = names.CAPTURED in of
    if scope.name == names.SCOPE and ours:
        message = encode.readable(record.body)
        exception = encode.readable(of.get(names.EXCEPTION_STACKTRACE) or "")
        before = encode.readable(of.get(names.LOGGER) or "") if captured else ""
    else:
        name = record.event_name or encode.readable(of.get(names.OTEL_EVENT_NAME) or "")
        message, exception = shown(record.body, name, of)
        before = scope.name if ours else ""
    if isinstance(cut := of.get(names.CUT), dict) and "body" in cut:
        message += f" [cut from {encode.readable(cut['body'])} characters]"
    step = encode.readable(of.get(names.STEP) or "")
    line = logline.render(
        clock.text(record.time_unix_nano),
        logline.tag(f"{stage}/{step}" if step else stage),
        logline.tag(record.severity_text),
        f"{before}: {message}" if before else message,
        exception,
    )
    mine = not before and (not ours or scope.name == names.SCOPE)
    return Told(line, pipeline=mine and record.severity_number >= names.SEVERITY_INFO)
