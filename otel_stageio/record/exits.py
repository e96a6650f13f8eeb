"""How a process ends, and what becomes of its stages: uncaught exceptions, SIGTERM, and the end of the interpreter.

Nothing here changes the exit code, the signal that the parent sees, or what a hook of the host does: every hook calls
the one that was there before. Only the process that opened a stage ends it; a forked child leaves it alone.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import logging
    from types import TracebackType


class OpenStage(Protocol):
    """What has to be known of a stage to end it."""

    @property
    def stage_name(self) -> str:
        """Its name without number."""
        ...

    def get_stage_logger(self, log_level: int | str | None = None) -> logging.Logger:
        """Its logger."""
        ...

    def close_failed(self, reason: str, *, error_type: str = "") -> None:
        """End it as failed for a reason."""
        ...

    def close_raised(self, raised: BaseException) -> None:
        """End it as failed by an exception."""
        ...

    def contradict(self, raised: BaseException) -> None:
        """An exception came after its end."""
        ...

    def refresh(self) -> None:
        """Bring its manifest up to date."""
        ...


_open: dict[int, OpenStage] = {}
#: The stage that ended last: an exception after its success is about it, if about any.
_last: list[OpenStage] = []
#: Stages with calls after their end that manifest.json does not show yet.
_owed: dict[int, OpenStage] = {}
_registered = False


def register(stage: OpenStage, *, sigterm: bool) -> None:
    """A stage has opened: see to it that no end of the process goes unrecorded."""
    global _registered  # noqa: PLW0603 - atexit takes a function once
    _open[id(stage)] = stage
    if not _registered:
        atexit.register(_at_exit)
        _registered = True
    if not getattr(sys.excepthook, "__stageio__", False):
        sys.excepthook = _chained(sys.excepthook)
    if sigterm and threading.current_thread() is threading.main_thread():
        _install_sigterm()


def unregister(stage: OpenStage) -> None:
    """A stage has ended."""
    _open.pop(id(stage), None)
    _last[:] = [stage]
    if not _open:
        _restore_sigterm()


def owe(stage: OpenStage) -> None:
    """A stage was called after its end: its manifest is brought up to date at the latest when the process ends."""
    _owed[id(stage)] = stage


def paid(stage: OpenStage) -> None:
    """The manifest is up to date again."""
    _owed.pop(id(stage), None)


def open_stage(name: str) -> OpenStage | None:
    """The stage of that name that is open in this process; the newest of several."""
    return next((stage for stage in reversed(_open.values()) if stage.stage_name == name), None)


def close_all(reason: str = "not finalized", *, error_type: str = "") -> None:
    """End every stage that is open in this process as failed, the newest first."""
    for stage in list(reversed(_open.values())):
        stage.close_failed(reason, error_type=error_type)


def _at_exit() -> None:
    close_all()
    for stage in list(_owed.values()):
        stage.refresh()


def _chained(before: Any) -> Any:
    def hook(kind: type[BaseException], raised: BaseException, where: TracebackType | None) -> None:
        _uncaught(raised)
        before(kind, raised, where)

    hook.__stageio__ = True  # type: ignore[attr-defined] # tells our hook from any other
    return hook


def _uncaught(raised: BaseException) -> None:
    if _open:
        for stage in list(reversed(_open.values())):
            stage.close_raised(raised)
    elif _last:
        _last[0].contradict(raised)


def _install_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _restore_sigterm() -> None:
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _on_sigterm(number: int, _frame: object) -> None:
    close_all("killed (SIGTERM)", error_type="SIGTERM")
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _forked() -> None:
    _open.clear()
    _owed.clear()
    _last.clear()
    _restore_sigterm()


os.register_at_fork(after_in_child=_forked)
