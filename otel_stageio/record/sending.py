"""A stage and its delivery: begun where an endpoint is configured; without one nothing of it is loaded."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from functools import partial
from typing import TYPE_CHECKING

from otel_stageio.errors import guard
from otel_stageio.record.processes import exits, forks

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.record.opened import Opened
    from otel_stageio.settings import Export, Settings
    from otel_stageio.ship.courier import Courier

#: Hints that were given in this process.
_hinted: set[str] = set()
#: The couriers of this process, by its id: a child by fork has the parent's, which are not its own to call.
_registered = False
_couriers: dict[tuple[int, Courier], Callable[[str], None]] = {}


class Sending:
    """Has what the stage records delivered, if it is to be. May be used from any thread; never raises."""

    def __init__(self, opened: Opened, settings: Settings, report: Callable[[str], None]) -> None:
        """Do nothing yet; `report` takes one line for the person at the terminal."""
        self._opened = opened
        self._report = report
        self._export = settings.export
        self._wanted = settings.mode == "auto" and opened.job is not None and _goes_somewhere(settings.export)
        self._courier: Courier | None = None

    def begin(self) -> None:
        """The stage is open."""
        if self._wanted:
            with self._troubled():
                self._begin()

    def _begin(self) -> None:
        from otel_stageio.ship.courier import courier

        opened = self._opened
        self._courier = courier(self._export)
        if self._courier is None or opened.job is None or opened.recorder.places is None:
            return
        hint = self._export.hint
        if hint and hint not in _hinted:
            _hinted.add(hint)
            self._report(hint)
        self._courier.follow(opened.job, opened.run, opened.recorder.places.folder)
        _couriers[os.getpid(), self._courier] = self._report
        forks.rests(self._courier)
        exits.at_last(_last_calls)
        _before_threads_end()

    def take_along(self, *, again: bool) -> None:
        """Have delivered, too, what earlier stages of the job could not; `again` where there is news of them."""
        if self._courier is not None and self._opened.job is not None:
            self._courier.take_along(self._opened.job, again=again)

    def end(self) -> None:
        """The stage has ended; what is left of it goes out meanwhile, and when the process ends."""
        places = self._opened.recorder.places
        if self._courier is not None and places is not None:
            with self._troubled():
                self._courier.end(places.folder)

    def _troubled(self) -> guard:
        return guard(partial(self._opened.recorder.trouble, "cannot deliver the record"))


def send_run(job: JobLayout, run: int, export: Export, report: Callable[[str], None]) -> None:
    """Deliver the records of a run itself, now, if they are to be; `report` hears what waits. Never raises."""
    if not _goes_somewhere(export):
        return
    from otel_stageio.ship.courier import courier

    made = courier(export)
    if made is not None:
        with guard(lambda why: report(f"cannot deliver the record: {type(why).__name__}: {why}")):
            made.follow_run(job, run)
            _last_call(made, report)


def _goes_somewhere(export: Export) -> bool:
    return bool(export.traces.endpoint or export.logs.endpoint)


def _before_threads_end() -> None:
    """Have a last call while threads can still begin: OpenTelemetry's SDK, which the exporters load, begins some.

    What atexit calls comes later. There is no public way to be called that early; `concurrent.futures` uses this one,
    and is loaded first since the newest is called first.
    """
    global _registered  # noqa: PLW0603 - once for the process
    import concurrent.futures.thread  # noqa: F401

    if not _registered:
        forks.first()
    register: Callable[[Callable[[], None]], None] | None = getattr(threading, "_register_atexit", None)
    if register is not None and not _registered:
        with contextlib.suppress(RuntimeError):  # the process is ending already
            register(lambda: _last_calls(tell=False))
    _registered = True


def _last_calls(*, tell: bool = True) -> None:
    for (pid, courier), report in list(_couriers.items()):
        if pid == os.getpid():
            _last_call(courier, report if tell else lambda _: None)


def _last_call(courier: Courier, report: Callable[[str], None]) -> None:
    with guard(lambda why: report(f"cannot deliver the record: {type(why).__name__}: {why}")):
        for left in courier.last_call():
            records = _counted(left.records)
            why = f" ({left.why})" if left.why else ""
            report(f"{records} for {left.to}{why}: `stageio push {shlex.quote(left.job)}` sends what waits")


def _counted(records: int) -> str:
    if not records:
        return "every record waits"
    return "1 record waits" if records == 1 else f"{records:,} records wait"
