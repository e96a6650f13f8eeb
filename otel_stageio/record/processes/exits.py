"""How a process ends, and what becomes of its stages: uncaught exceptions, SIGTERM, and the end of the interpreter.

Nothing here changes the exit code, the signal that the parent sees, or what a hook of the host does: every hook calls
the one that was there before. Only the process that opened a stage ends it; a forked child leaves it alone.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

from otel_stageio.record.processes import workers

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from types import TracebackType


class OpenStage(Protocol):
    """What has to be known of a stage to end it. None of these calls raises."""

    @property
    def stage_name(self) -> str:
        """Its name without number."""
        ...

    @property
    def label(self) -> str:
        """What people call it: with its item, where it has one."""
        ...

    @property
    def stage_number(self) -> int:
        """Its number."""
        ...

    @property
    def folder(self) -> str:
        """Its folder as an absolute path."""
        ...

    def get_stage_logger(self, log_level: int | str | None = None) -> logging.Logger:
        """Its logger."""
        ...

    def writes(self) -> bool:
        """Whether the calling thread is in the middle of a record of this stage; asked by a signal handler."""
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
#: What ends each of them when the process does. Functions of atexit run in the reverse order of their registration: one
#: for each stage, so that a stage ends before what it found is shut down, and after what the program registered later.
_closers: dict[int, Callable[[], None]] = {}
#: In a forked child: the stages that are open in its parent. They are the parent's to end, the child may log to them.
_inherited: list[OpenStage] = []
#: The stage that ended last: an exception after its success is about it, if about any.
_last: list[OpenStage] = []
#: What is to be done last, when every stage has ended and all views are written.
_last_calls: list[Callable[[], None]] = []
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
    _closers[id(stage)] = functools.partial(_close, id(stage))
    atexit.register(_closers[id(stage)])
    if not getattr(sys.excepthook, "__stageio__", False):
        sys.excepthook = _chained(sys.excepthook)
    workers.at_end(_worker_ends)
    if sigterm and _in_main_thread():
        _install_sigterm()


def unregister(stage: OpenStage) -> None:
    """A stage has ended."""
    _open.pop(id(stage), None)
    closer = _closers.pop(id(stage), None)
    if closer is not None:
        atexit.unregister(closer)
    _last[:] = [stage]
    if not _open:
        _restore_sigterm()


def owe(stage: OpenStage) -> None:
    """A stage was called after its end: its manifest is brought up to date at the latest when the process ends."""
    _owed[id(stage)] = stage


def paid(stage: OpenStage) -> None:
    """The manifest is being brought up to date."""
    _owed.pop(id(stage), None)


def at_last(call: Callable[[], None]) -> None:
    """Call this when the process ends, after all stages have; once, however often it is asked for."""
    if call not in _last_calls:
        _last_calls.append(call)


def open_stages(name: str) -> list[OpenStage]:
    """The stages of that name that are open in this process, the newest first."""
    return [stage for stage in list(reversed(_open.values())) if name in (stage.stage_name, stage.label)]


def inherited() -> list[OpenStage]:
    """In a forked child: the stages that are open in its parent."""
    return _inherited


def open_stage(name: str, number: int | None = None) -> OpenStage | None:
    """The stage of that name that is open in this process, or was when it was forked; the newest of several.

    With a `number` it is the one of that number.
    """
    inherited = [stage for stage in reversed(_inherited) if name in (stage.stage_name, stage.label)]
    found = [*open_stages(name), *inherited]
    return next((stage for stage in found if number in (None, stage.stage_number)), None)


def close_all(reason: str = "not finalized", *, error_type: str = "", job: str | None = None) -> None:
    """End every stage that is open in this process as failed, the newest first; those of one job folder where given."""
    for stage in list(reversed(_open.values())):
        if job is None or os.path.realpath(stage.folder).startswith(os.path.join(os.path.realpath(job), "")):
            stage.close_failed(reason, error_type=error_type)


def _close(key: int) -> None:
    stage = _open.get(key)
    if stage is not None:
        stage.close_failed("not finalized")


def _at_exit() -> None:
    close_all()
    _settle_up()


def _worker_ends(raised: BaseException | None) -> None:
    # An interrupt at the keyboard reaches all processes at once: it is told by the one that began.
    if isinstance(raised, Exception):
        _uncaught(raised)
    if workers.ends_at_once():  # else functions of atexit come yet, the program's among them
        _at_exit()


def _settle_up() -> None:
    for stage in list(_owed.values()):
        stage.refresh()
    while _last_calls:
        _last_calls.pop()()


# Exceptions that nobody caught.


def _chained(before: Any) -> Any:
    def hook(kind: type[BaseException], raised: BaseException, where: TracebackType | None) -> None:
        try:
            _uncaught(raised)
        finally:
            before(kind, raised, where)

    hook.__stageio__ = True  # type: ignore[attr-defined] # tells our hook from any other
    return hook


def _uncaught(raised: BaseException) -> None:
    if hasattr(sys, "ps1"):  # a slip at Python's prompt, where the process goes on
        return
    if _open:
        for stage in list(reversed(_open.values())):
            stage.close_raised(raised)
    elif _last:
        _last[0].contradict(raised)


# SIGTERM. Python runs a handler between any two steps of the main thread, so also in the middle of a record, or of a
# view that is being written under a lock. Acting there would write the end before the record that it interrupts, or
# wait for itself: the signal is noted, and acted upon as soon as the main thread comes out of what it is in.

#: How many `undisturbed` blocks the main thread is in.
_holds = 0
#: A SIGTERM came and waits to be acted upon. Read by the recorder after every record.
pending = False
_acting = False


class undisturbed:  # noqa: N801 - used as a statement: ``with undisturbed():``
    """Let SIGTERM wait until the block is done. For work of bounded time; nothing changes in other threads."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Begin."""
        global _holds  # noqa: PLW0603 - of the main thread alone
        if _in_main_thread():
            _holds += 1

    def __exit__(self, *_: object) -> None:
        """Act upon a SIGTERM that came meanwhile."""
        global _holds  # noqa: PLW0603 - of the main thread alone
        if _in_main_thread():
            _holds -= 1
            settle()


def settle() -> None:
    """Act upon a SIGTERM that waits, if the main thread calls this and is not in the middle of something."""
    global _acting  # noqa: PLW0603 - so that a second SIGTERM does not begin again
    if not pending or _acting or _holds or not _in_main_thread():
        return
    if any(stage.writes() for stage in list(_open.values())):
        return
    _acting = True
    try:
        close_all("killed (SIGTERM)", error_type="SIGTERM")
        _settle_up()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def _on_sigterm(_number: int, _frame: object) -> None:
    global pending  # noqa: PLW0603 - what a signal handler can leave behind
    pending = True
    settle()


def _install_sigterm() -> None:
    # The kernel keeps SIGTERM from process 1 of a container unless it has a handler: having one would end a program
    # that goes on today.
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and os.getpid() != 1:
        with contextlib.suppress(ValueError):  # subinterpreters may not
            signal.signal(signal.SIGTERM, _on_sigterm)


def _restore_sigterm() -> None:
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _in_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


# Forked children. Until the handler is undone there, a SIGTERM to the child would be taken by Python and forgotten:
# `process.start(); process.terminate()` would not end it. So it is kept back while a fork is under way.

_forking_thread = threading.local()


def _fork_begins() -> None:
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        _forking_thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _fork_ends() -> None:
    mask = getattr(_forking_thread, "mask", None)
    if mask is not None:
        _forking_thread.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _forked() -> None:
    global pending, _acting, _holds, _registered  # noqa: PLW0603 - the parent's
    # Functions of atexit are gone in a child of multiprocessing; elsewhere a second call finds nothing to do.
    pending = _acting = _registered = False
    _holds = 0
    _inherited.extend(_open.values())
    _open.clear()
    _closers.clear()
    _owed.clear()
    _last.clear()
    _last_calls.clear()
    _restore_sigterm()
    _fork_ends()


os.register_at_fork(before=_fork_begins, after_in_parent=_fork_ends, after_in_child=_forked)
