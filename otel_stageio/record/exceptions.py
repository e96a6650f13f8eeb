"""What can be said of an exception, whatever its class does when asked."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.errors import attempt
from otel_stageio.record.values import clean_text

if TYPE_CHECKING:
    from otel_stageio.model import Value

#: Left on an exception whose traceback is in stage.log already, and on one that is among the stage's errors already.
LOGGED: Final = "__stageio_logged__"
RECORDED: Final = "__stageio_recorded__"


def describe(of: BaseException) -> dict[str, Value]:
    """The ``exception.*`` attributes of an exception."""
    return {
        names.EXCEPTION_TYPE: type_name(of),
        names.EXCEPTION_MESSAGE: text(of),
        names.EXCEPTION_STACKTRACE: stacktrace(of),
    }


def type_name(of: BaseException) -> str:
    """The type as ``error.type`` has it: bare for a builtin, else with its module."""
    kind = type(of)
    plain = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def text(of: BaseException) -> str:
    """What the exception says."""
    return clean_text(attempt(lambda: str(of), lambda why: f"[no text: its __str__ raised {type(why).__name__}]"))


def stacktrace(of: BaseException) -> str:
    """The traceback as Python prints it, without its last newline."""
    return clean_text(
        attempt(
            lambda: "".join(traceback.format_exception(type(of), of, of.__traceback__)).rstrip("\n"),
            lambda why: f"{type_name(of)} [traceback not formatted: {type(why).__name__}]",
        )
    )


def summary(of: BaseException) -> str:
    """Type and text in one line, as Python ends a traceback."""
    said = text(of).partition("\n")[0]
    return f"{type_name(of)}: {said}" if said else type_name(of)


def mark(of: BaseException, name: str) -> None:
    """Leave a mark on the exception, where it takes one."""
    attempt(lambda: setattr(of, name, True), lambda _: None)


def marked(of: BaseException, name: str) -> bool:
    """Whether `mark` left that mark."""
    return bool(attempt(lambda: getattr(of, name, False), lambda _: False))
