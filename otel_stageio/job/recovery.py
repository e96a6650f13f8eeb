"""The missing end of an attempt whose process died: written by whoever comes next, once the lock proves the death.

What is written is what the attempt's own process would have: the finished event, the spans of its open steps and of the
stage, manifest.json. All of it is derived from the journal, so that it can be repeated where it was cut short.
"""

from __future__ import annotations

import contextlib
import os
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from otel_stageio import conventions as names
from otel_stageio.job import attempts, host, links, locks, status
from otel_stageio.job.identity import SCOPE
from otel_stageio.job.layout import EVENTS, TRACES
from otel_stageio.journal import appending, encode, files, limits, reader
from otel_stageio.model import FLAGS_LOCAL, LogRecord, Span
from otel_stageio.views import manifest
from otel_stageio.views import span as spans
from otel_stageio.views.moments import rfc3339
from otel_stageio.views.span_calls import under

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.job.layout import StageLayout
    from otel_stageio.model import Resource
    from otel_stageio.views.state import StageState

_ERROR: Final = 2


def write_ends(stage: StageLayout, *, killed: tuple[int, str] | None = None) -> list[int]:
    """Write the ends of the stage's attempts that are proved dead, and give back their numbers.

    With `killed`, the id of a process and the signal that its parent saw it die of, only those of that process, and
    they say so.

    Nothing happens while the stage is open, on a file system without locks, and for attempts of another host or an
    earlier boot, of which nobody here can know. The stage's lock is held meanwhile. Raises OSError.
    """
    kept = locks.is_kept(str(stage.lock))
    if not _dead(stage, kept=kept, killed=killed):
        return []
    links.avoid(stage.job.root, stage.folder, stage.inner)
    last_sign = status.last_sign(str(stage.lock))
    lock = locks.StageLock.acquire(str(stage.lock), {"pid": os.getpid(), "host": host.name(), locks.ENDING: True})
    if isinstance(lock, locks.Held):
        return []
    try:
        # Looked at again: somebody may have been faster, or have begun a new attempt.
        dead = _dead(stage, locked=True, kept=lock.former is not None, killed=killed) if lock.works else []
        newest = max(stage.attempts(), default=0)
        for number in dead:
            _Attempt(stage, number).end(
                last_sign if number == newest else 0, with_manifest=number == newest, signal=killed[1] if killed else ""
            )
    finally:
        lock.release()
    return dead


def write_end_before(stage: StageLayout, attempt: int) -> bool:
    """The same for the attempt before one whose owner calls this: he holds the lock. Raises OSError."""
    before = [number for number in stage.attempts() if number < attempt]
    if before and _is_dead(stage, before[-1], newest=False, locked=True):
        _Attempt(stage, before[-1]).end(0, with_manifest=False)
        return True
    return False


def _dead(stage: StageLayout, *, kept: bool, locked: bool = False, killed: tuple[int, str] | None = None) -> list[int]:
    """The attempts of this host that have begun, have no whole end, and are run by nobody.

    The newest one's end is not whole either where its process `kept` the lock: it may not have written manifest.json.
    """
    known = stage.attempts()
    pid = killed[0] if killed else None
    newest = known[-1] if known else 0
    return [
        number
        for number in known
        if _is_dead(stage, number, newest=number == newest, kept=kept and number == newest, locked=locked, pid=pid)
    ]


def _is_dead(
    stage: StageLayout, number: int, *, newest: bool, locked: bool, kept: bool = False, pid: int | None = None
) -> bool:
    summary = status.read_summary(stage, number)
    if summary is None or summary.host != host.name():
        return False
    held = locks.held_here(str(stage.lock))
    if held and status.is_holder(summary, held):
        return False  # also where it began beside another host's, and has not taken the lock yet
    if pid is not None and (summary.pid, summary.boot_id, summary.status) != (pid, host.boot_id(), names.RUNNING):
        return False
    if summary.status != names.RUNNING:
        whole = not kept and _Attempt(stage, number).has_span()
        return not whole and (locked or not newest or held is False)
    if locked:
        return not newest or summary.boot_id == host.boot_id()
    return status.alive(summary, str(stage.lock), newest=newest).status == names.ABANDONED


class _Attempt:
    """An attempt that nobody writes to any more."""

    def __init__(self, stage: StageLayout, number: int) -> None:
        self._stage = stage
        self._number = number
        folder = str(stage.attempt_dir(number))
        self._events = os.path.join(folder, EVENTS)
        self._traces = os.path.join(folder, TRACES)

    def has_span(self) -> bool:
        """Whether the stage's span is on record."""
        started = self._started()
        if started is None:
            return True  # nothing that a span could be made of
        return any(each.span_id == started[0].span_id for each in reader.spans(self._traces))

    def end(self, last_sign: int, *, with_manifest: bool, signal: str = "") -> None:
        """Write what is missing of its end, which was no earlier than `last_sign`, by the `signal` if known."""
        started = self._started()
        if started is None:
            return
        end = encode.tail(SCOPE, started[1])
        records = list(attempts.records(self._stage, self._number))
        state = attempts.state(self._stage, self._number)
        if state.finished is None:
            finished = _finished(records, started[0], last_sign, signal)
            _append(self._events, [encode.log_line(finished, end)])
            state = attempts.state(self._stage, self._number)
        made = spans.span(state)
        if made is not None and not self.has_span():
            known = {each.span_id for each in reader.spans(self._traces)}
            open_steps = [each for each in _open_steps(records, made) if each.span_id not in known]
            _append(self._traces, [encode.span_line(limits.fit_span(each), end) for each in (*open_steps, made)])
        if with_manifest:
            self._write_manifest(state)

    def _started(self) -> tuple[LogRecord, Resource] | None:
        for piece in reader.pieces(self._events, only=names.STARTED.encode()):
            for line in piece.lines:
                for record in line.records:
                    if isinstance(record, LogRecord) and record.event_name == names.STARTED:
                        return record, line.resource
        return None

    def _write_manifest(self, state: StageState) -> None:
        about = state.started.attributes if state.started else {}
        if about.get(names.STAGE_MANIFEST, True):
            files.replace(str(self._stage.manifest), manifest.dump(manifest.manifest(state)))


def _append(path: str, lines: list[bytes]) -> None:
    file = appending.AppendFile(path)
    try:
        for line in lines:
            file.write(line)
        file.sync()
    finally:
        file.close()


def _finished(records: Iterable[LogRecord], started: LogRecord, last_sign: int, signal: str) -> LogRecord:
    at = max((record.time_unix_nano for record in records), default=started.time_unix_nano) + 1000
    at = max(at, last_sign)
    reason = f"killed ({signal})" if signal else f"the process ended without a word; last sign of it at {rfc3339(at)}"
    return LogRecord(
        time_unix_nano=at,
        severity_number=names.SEVERITY_ERROR,
        severity_text="ERROR",
        event_name=names.FINISHED,
        attributes={
            names.STATUS: names.ABANDONED,
            names.ERROR_TYPE: signal or names.ABANDONED,
            names.REASON: reason,
            # A writer of its own, the same for whoever writes this: two that do say it once.
            names.LOG_RECORD_UID: f"{started.span_id}-1",
        },
        trace_id=started.trace_id,
        span_id=started.span_id,
        flags=started.flags,
    )


def _open_steps(records: list[LogRecord], stage: Span) -> list[Span]:
    """The spans of steps that began and did not end, as long as the stage."""
    ended = {each.span_id for each in records if each.event_name == names.STEP_FINISHED}
    begun = [each for each in records if each.event_name == names.STEP_STARTED and names.STEP in each.attributes]
    latest: dict[str, str] = {}
    made = []
    for record in sorted(begun, key=attrgetter("time_unix_nano")):
        path = str(record.attributes[names.STEP])
        around, _, name = path.rpartition("/")
        if record.span_id not in ended:
            made.append(_step(record, name, latest.get(around, stage.span_id), stage.end_time_unix_nano))
        latest[path] = record.span_id
    return made


def _step(record: LogRecord, name: str, parent: str, end: int) -> Span:
    about: dict[str, Any] = dict(under(record.attributes, names.STEP_ATTRIBUTE))
    return Span(
        trace_id=record.trace_id,
        span_id=record.span_id,
        parent_span_id=parent,
        name=name,
        start_time_unix_nano=record.time_unix_nano,
        end_time_unix_nano=max(end, record.time_unix_nano + 1000),
        attributes={**{key: spans.scalar(of) for key, of in about.items()}, names.ERROR_TYPE: names.ABANDONED},
        status_code=_ERROR,
        status_message=names.ABANDONED,
        flags=FLAGS_LOCAL,
    )


def write_all_ends(stages: Iterable[StageLayout]) -> list[StageLayout]:
    """Write the ends of all these stages' dead attempts; gives back those that had any. What cannot be is left."""
    changed = []
    for stage in stages:
        with contextlib.suppress(OSError):
            if write_ends(stage):
                changed.append(stage)
    return changed
