"""Whose trouble it is: what is raised at the caller, and what is kept from him."""

from __future__ import annotations

import pytest

import otel_stageio
from otel_stageio import errors
from otel_stageio.errors import StageIOError, attempt, guard

KINDS = [
    errors.StageNameError,
    errors.ItemNameError,
    errors.StageNumberError,
    errors.StatusError,
    errors.OutputPathError,
    errors.SettingError,
    errors.CommandError,
    errors.StageRunningError,
    errors.JobFormatError,
]


def test_tree():
    """Every error of ours is a StageIOError, and drawn in the module's docstring, and public."""
    made = [of for of in vars(errors).values() if isinstance(of, type) and issubclass(of, StageIOError)]
    assert set(made) == {StageIOError, *KINDS}
    for kind in made:
        assert kind.__name__ in errors.__doc__
        assert getattr(otel_stageio, kind.__name__) is kind


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_what_python_calls_such_errors(kind):
    """An error of the caller's is a ValueError, what depends on processes a RuntimeError, for those who catch these."""
    expected = RuntimeError if kind in (errors.StageRunningError, errors.CommandError) else ValueError
    assert issubclass(kind, expected)


@pytest.mark.parametrize("trouble", [OSError("full"), ValueError(), RecursionError(), MemoryError(), AssertionError()])
def test_guard_keeps_our_trouble(trouble):
    """Trouble of our own is handed to the reporter and goes no further."""
    told = []
    with guard(told.append):
        raise trouble
    assert told == [trouble]


@pytest.mark.parametrize(
    "meant", [StageIOError("x"), *(kind("x") for kind in KINDS), KeyboardInterrupt(), SystemExit(3)]
)
def test_guard_lets_pass_what_is_meant_for_the_caller(meant):
    """The caller's own mistakes, Ctrl-C and exits pass."""
    told = []
    with pytest.raises(type(meant)) as raised, guard(told.append):
        raise meant
    assert (raised.value, told) == (meant, [])


def test_guard_says_nothing_where_nothing_is_wrong():
    """A part that goes well is not reported, and a guard may be used again and within itself."""
    told = []
    kept = guard(told.append)
    with kept, kept:
        pass
    with kept:
        raise OSError
    assert len(told) == 1


def test_attempt():
    """Foreign code gives its value, or what stands for it; Ctrl-C passes."""
    assert attempt(lambda: 1, lambda _: 2) == 1
    assert attempt(lambda: 1 / 0, lambda why: type(why).__name__) == "ZeroDivisionError"

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupt, lambda _: None)
