"""What is said of exceptions, whatever their classes do."""

from __future__ import annotations

import builtins
import sys
from dataclasses import dataclass

import pytest

from otel_stageio import StageIOError
from otel_stageio import conventions as names
from otel_stageio.record import exceptions


def raised(of: BaseException) -> BaseException:
    """The exception with a traceback."""
    with pytest.raises(type(of)) as caught:
        raise of
    return caught.value


class MuteError(Exception):
    def __str__(self) -> str:
        raise StageIOError


class NotTextError(Exception):
    def __str__(self) -> str:
        return 7  # noqa: PLE0307 - what is tested


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return self


class OfTextError(Exception):
    def __str__(self) -> str:
        return Text("of its own class")


class SlottedError(Exception):
    __slots__ = ()


class GuardedError(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError

    def __getattribute__(self, name: str) -> object:
        if name.startswith("__stageio"):
            raise RuntimeError
        return super().__getattribute__(name)


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int = 1


def test_describe_says_type_message_and_traceback():
    """An exception is told by its type, its text and the traceback as Python prints it, causes included."""
    try:
        try:
            int("x")
        except ValueError as cause:
            raise KeyError("k") from cause
    except KeyError as error:
        found = exceptions.describe(error)
    assert (found[names.EXCEPTION_TYPE], found[names.EXCEPTION_MESSAGE]) == ("KeyError", "'k'")
    lines = found[names.EXCEPTION_STACKTRACE].splitlines()
    assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", "KeyError: 'k'")
    assert "ValueError: invalid literal" in found[names.EXCEPTION_STACKTRACE]
    assert "direct cause" in found[names.EXCEPTION_STACKTRACE]


@pytest.mark.parametrize(
    ("of", "type_name", "text"),
    [
        (ValueError("bad"), "ValueError", "bad"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (StageIOError("no"), "otel_stageio.errors.StageIOError", "no"),
        (MuteError(), f"{__name__}.MuteError", "[no text: its __str__ raised StageIOError]"),
        (NotTextError(), f"{__name__}.NotTextError", "[no text: its __str__ raised TypeError]"),
        (OfTextError(), f"{__name__}.OfTextError", "of its own class"),
        (ValueError("caf\udce9"), "ValueError", "caf\\udce9"),
    ],
)
def test_type_and_text(of, type_name, text):
    """The type is bare for builtins, else with its module; the text is clean text, whatever __str__ does."""
    assert (exceptions.type_name(of), exceptions.text(of)) == (type_name, text)
    assert type(exceptions.text(of)) is str
    assert exceptions.stacktrace(raised(of)).startswith("Traceback")


def test_summary_is_one_line():
    """The summary is what Python ends a traceback with, cut at the first line."""
    assert exceptions.summary(ValueError("a\nb")) == "ValueError: a"
    assert exceptions.summary(ValueError()) == "ValueError"


def test_traceback_of_another_place():
    """A traceback that is handed in beside the exception is the one that is told."""
    error = raised(ValueError("bad"))
    where = error.__traceback__
    bare = error.with_traceback(None)
    assert exceptions.stacktrace(bare) == "ValueError: bad"
    assert "test_exceptions.py" in exceptions.stacktrace(bare, where)


if sys.version_info >= (3, 11):

    def test_groups_and_notes():
        """The members of a group and the notes of an exception are in its traceback."""
        error = builtins.ExceptionGroup("both", [ValueError("a"), KeyError("b")])
        error.add_note("a note")
        told = exceptions.stacktrace(error)
        assert [text in told for text in ("ValueError: a", "KeyError: 'b'", "a note")] == [True] * 3


@pytest.mark.parametrize("of", [ValueError(), SlottedError(), FrozenError(), MuteError(), KeyboardInterrupt()])
def test_marks_are_of_one_stage(of):
    """A mark is left by a stage and seen by it alone: the next stage that the exception passes has to tell it too."""
    assert not exceptions.marked(of, exceptions.LOGGED, "a")
    exceptions.mark(of, exceptions.LOGGED, "a")
    exceptions.mark(of, exceptions.RECORDED, "b")
    assert exceptions.marked(of, exceptions.LOGGED, "a")
    assert not exceptions.marked(of, exceptions.LOGGED, "b")
    exceptions.mark(of, exceptions.LOGGED, "b")
    assert exceptions.marked(of, exceptions.LOGGED, "a")
    assert exceptions.marked(of, exceptions.LOGGED, "b")


def test_marks_do_not_ask_the_exception():
    """A class whose attributes cannot be read or set keeps no mark, or keeps it; it never raises."""
    of = GuardedError()
    exceptions.mark(of, exceptions.LOGGED, "a")
    assert exceptions.marked(of, exceptions.LOGGED, "a")


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("of", "text"),
    [
        ("a", "a"),
        ("caf\udce9", "caf\\udce9"),
        (None, "None"),
        (1.5, "1.5"),
        (b"\0", "b'\\x00'"),
        ([1, "a"], "[1, 'a']"),
    ],
)
def test_said(of, text):
    """Any object can be said as text."""
    assert exceptions.said(of) == text


def test_said_of_what_cannot_be_printed():
    """An object that breaks when printed is said by its type."""
    assert "Odd" in exceptions.said(Odd())
    assert type(exceptions.said(Text("a"))) is str
