"""What can go wrong, and whose trouble it is.

StageIOError                what the caller can mend; raised at the call, the message says how
├── StageNameError          a stage name that cannot be a folder
├── ItemNameError           an item name that cannot be a folder in the stage's
├── StageNumberError        a stage number that cannot be a folder's prefix
├── StatusError             a status that finalize does not know
├── OutputPathError         an output or cache path that leaves its folder, or a path that no file can have
├── SettingError            an argument outside its list (mode, capture, checksum, ...)
├── CommandError            a command that `io.run` ran failed, or could not be started
├── StageRunningError       the stage is open right now, in this or another process of this host
└── JobFormatError          a folder that is no job, or one written by a newer major version

Everything else that goes wrong inside this package is our own trouble: `guard` turns it into one line on stderr and an
entry in the manifest's ``degraded`` list, and the user's program goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_T = TypeVar("_T")
#: Characters of an argument in a message.
_SHOWN = 300


class StageIOError(Exception):
    """Base of every error that this package raises at its caller."""


class StageNameError(StageIOError, ValueError):
    """The stage name cannot be honoured as a folder name."""


class ItemNameError(StageIOError, ValueError):
    """The item name cannot be honoured as the name of a folder in the stage's."""


class StageNumberError(StageIOError, ValueError):
    """The stage number is not a whole number from 0 up."""


class StatusError(StageIOError, ValueError):
    """The status is none of those that a stage can end with."""


class OutputPathError(StageIOError, ValueError):
    """The path leaves the folder that it has to stay in, or can be no file's."""


class SettingError(StageIOError, ValueError):
    """An argument has a value outside its list."""


class StageRunningError(StageIOError, RuntimeError):
    """The stage is open already, in a process of this host that is alive."""


class CommandError(StageIOError, RuntimeError):
    """A command failed, or could not be started: then `returncode`, else as subprocess has it, is a shell's 127 or 126.

    `cmd` is what was to be run, `tail` the last lines that it wrote; `stdout` and `stderr` are all of it with
    ``capture_output=True``, else None.
    """

    def __init__(  # noqa: PLR0917 - in position, so that the exception pickles
        self,
        message: str,
        cmd: object = "",
        returncode: int = 1,
        tail: str = "",
        stdout: object = None,
        stderr: object = None,
    ) -> None:
        """Keep what is known of the command."""
        super().__init__(message, cmd, returncode, tail, stdout, stderr)
        self.cmd = cmd
        self.returncode = returncode
        self.tail = tail
        self.stdout = stdout
        self.stderr = stderr

    def __str__(self) -> str:
        """The message alone."""
        return str(self.args[0])


class JobFormatError(StageIOError, ValueError):
    """The folder is no job, or its format is newer than this program reads."""


class guard:  # noqa: N801 - used as a statement: ``with guard(report):``
    """Keep our own trouble away from the user's program: hand any `Exception` to `report` and go on.

    StageIOError passes: it is meant for the caller. So do KeyboardInterrupt and SystemExit. A class rather than a
    generator because it stands around every write of every log record.
    """

    __slots__ = ("_report",)

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        """Hand what goes wrong to `report`."""
        self._report = report

    def __enter__(self) -> None:
        """Begin the guarded part."""

    def __exit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, where: TracebackType | None
    ) -> bool:
        """Swallow our own trouble, and that alone."""
        if trouble is None or isinstance(trouble, StageIOError) or not isinstance(trouble, Exception):
            return False
        self._report(trouble)
        return True


def attempt(call: Callable[[], _T], otherwise: Callable[[Exception], _T]) -> _T:
    """What `call` gives, or, where code that is not ours raises in it, what `otherwise` makes of the exception."""
    try:
        return call()
    except Exception as trouble:  # noqa: BLE001 - a __str__, a filter, a __repr__ of the user's may raise anything
        return otherwise(trouble)


def quoted(given: object) -> str:
    """An argument as a message shows it: its repr, of a long one the beginning; its type where it has none."""
    text = attempt(lambda: repr(given), lambda _: f"<{type(given).__name__}>")
    return text if len(text) <= _SHOWN else f"{text[:80]}..."
