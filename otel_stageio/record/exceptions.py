"""What can be said of an exception, or of any object of the user's, whatever its class does when asked."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.errors import attempt
from otel_stageio.record.values import clean_text, plain

if TYPE_CHECKING:
    from types import TracebackType

    from otel_stageio.model import Value

#: Left on an exception: the stages whose stage.log has its traceback, and those that have it among their errors. One
#: exception may pass through several stages, and each of them tells it once.
LOGGED: Final = "__stageio_logged__"
RECORDED: Final = "__stageio_recorded__"


def said(of: object) -> str:
    """Any object as text without lone surrogates; a str as it is. Never raises."""
    if type(of) is str:
        return clean_text(of)
    made = plain(of)
    return made if isinstance(made, str) else repr(made)


def describe(of: BaseException, where: TracebackType | None = None) -> dict[str, Value]:
    """The ``exception.*`` attributes of an exception; `where` is its traceback, by default the one that it carries."""
    return {
        names.EXCEPTION_TYPE: type_name(of),
        names.EXCEPTION_MESSAGE: text(of),
        names.EXCEPTION_STACKTRACE: stacktrace(of, where),
    }


def type_name(of: BaseException) -> str:
    """The type as ``error.type`` has it: bare for a builtin, else with its module."""
    kind = type(of)
    bare = kind.__module__ in ("builtins", "__main__")
    return clean_text(kind.__qualname__ if bare else f"{kind.__module__}.{kind.__qualname__}")


def text(of: BaseException) -> str:
    """What the exception says."""
    return attempt(lambda: said(str(of)), lambda why: f"[no text: its __str__ raised {type(why).__name__}]")


def stacktrace(of: BaseException, where: TracebackType | None = None) -> str:
    """The traceback as Python prints it, without its last newline."""
    return printed(of, where).rstrip("\n")


def printed(of: BaseException, where: TracebackType | None = None) -> str:
    """The traceback as Python prints it."""
    lines = attempt(
        lambda: traceback.format_exception(type(of), of, where or of.__traceback__),
        lambda why: [f"{type_name(of)} [traceback not formatted: {type(why).__name__}]\n"],
    )
    return clean_text("".join(lines))


def summary(of: BaseException) -> str:
    """Type and text in one line, as Python ends a traceback."""
    first = text(of).partition("\n")[0]
    return f"{type_name(of)}: {first}" if first else type_name(of)


def mark(of: BaseException, name: str, by: str) -> None:
    """Leave the mark of the stage `by` on the exception, where it takes one."""
    # Past the class's own methods: a frozen dataclass can be an exception.
    attempt(lambda: BaseException.__setattr__(of, name, _marks(of, name) | {by}), lambda _: None)


def marked(of: BaseException, name: str, by: str) -> bool:
    """Whether `mark` left that stage's mark."""
    return by in _marks(of, name)


def _marks(of: BaseException, name: str) -> frozenset[str]:
    found: frozenset[str] = attempt(lambda: BaseException.__getattribute__(of, name), lambda _: frozenset())
    return found
