"""The fold: records of one attempt, one after the other, to the state that every view is made of.

The same code serves a live stage, a crashed one and one rebuilt elsewhere. Records are applied in the order in which
their writer made them; `fold` brings any other order into that one first.
"""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.views import artifacts
from otel_stageio.views.moments import rfc3339
from otel_stageio.views.span import SpanEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_stageio.model import LogRecord, Value

_Entry = dict[str, "Value"]
#: How many calls after finalize are listed one by one; the rest is counted.
LATE_LISTED: Final = 100
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class StageState:
    """What is known of one attempt after the records applied so far. Not thread-safe: the owner locks."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self.started: LogRecord | None = None
        self.finished: LogRecord | None = None
        self.contradicted = False
        self.artifacts: dict[str, dict[str, _Entry]] = {role: {} for role in names.ROLES}
        self.config: _Entry = {}
        self.resources: _Entry = {}
        self.metrics: _Entry = {}
        self.extra: _Entry = {}
        self.warnings: list[_Entry] = []
        self.errors: list[_Entry] = []
        self.degraded: list[str] = []
        self.git: _Entry = {}
        self.log_counts: dict[str, int] = dict.fromkeys(_LEVELS, 0)
        self.late_count = 0
        self.late_calls: list[_Entry] = []
        self.span_events = SpanEvents()
        self._steps: dict[str, Callable[[LogRecord], None]] = {
            names.STARTED: self._start,
            names.FINISHED: self._finish,
            names.INPUT: self._track,
            names.OUTPUT: self._track,
            names.INTERMEDIATE: self._track,
            names.DIGEST: self._digest,
            names.CONFIG: self._configure,
            names.RESOURCES: self._use,
            names.METRIC: self._metric,
            names.WARNING: self._warn,
            names.ERROR: self._err,
            names.GIT: self._vcs,
            names.DEGRADED: self._degrade,
        }

    @property
    def status(self) -> str:
        """What the first finalize said, or running."""
        return str(self.finished.attributes[names.STATUS]) if self.finished else names.RUNNING

    def count_log(self, level: str) -> None:
        """Take note of a log record that no view shows."""
        self.log_counts[level] = self.log_counts.get(level, 0) + 1

    def apply(self, record: LogRecord) -> None:
        """Take one record in: an event of the stage, or a log record. Unknown events change nothing."""
        if not record.event_name:
            self.count_log(record.severity_text)
        else:
            late = record.attributes.get(names.LATE)
            if late:
                self._note_late(record, str(late))
            step = self._steps.get(record.event_name)
            if step is not None:
                step(record)
        if self.finished is None:
            self.span_events.apply(record)

    def _start(self, record: LogRecord) -> None:
        self.started = self.started or record

    def _finish(self, record: LogRecord) -> None:
        if self.finished is not None:
            self.contradicted |= record.attributes.get(names.STATUS) != self.status
            return
        self.finished = record
        self._take(record, names.EXTRA_KEY, self.extra)
        self._take(record, names.RESOURCE_KEY, self.resources)

    def _track(self, record: LogRecord) -> None:
        made = artifacts.entry(record.attributes)
        self.artifacts[artifacts.ROLE_OF[record.event_name]][str(made["path"])] = made

    def _digest(self, record: LogRecord) -> None:
        entries = self.artifacts.get(str(record.attributes.get(names.ARTIFACT_ROLE)), {})
        path = str(record.attributes.get(names.FILE_PATH))
        if path in entries:
            entries[path] = artifacts.with_digest(entries[path], record)

    def _configure(self, record: LogRecord) -> None:
        self._take(record, names.CONFIG_KEY, self.config)

    def _use(self, record: LogRecord) -> None:
        self._take(record, names.RESOURCE_KEY, self.resources)

    def _degrade(self, record: LogRecord) -> None:
        self.degraded.append(str(record.body))

    @staticmethod
    def _take(record: LogRecord, prefix: str, into: _Entry) -> None:
        start = len(prefix)
        for key, of in record.attributes.items():
            if key.startswith(prefix):
                into[key[start:]] = of

    def _metric(self, record: LogRecord) -> None:
        self.metrics[str(record.attributes[names.METRIC_NAME])] = {
            "value": record.attributes.get(names.METRIC_VALUE),
            "unit": record.attributes.get(names.METRIC_UNIT, "1"),
        }

    def _warn(self, record: LogRecord) -> None:
        self.warnings.append({"timestamp": rfc3339(record.time_unix_nano), "message": record.body})

    def _err(self, record: LogRecord) -> None:
        made: _Entry = {"timestamp": rfc3339(record.time_unix_nano), "message": record.body}
        for key, name in (
            ("exception_type", names.EXCEPTION_TYPE),
            ("exception_message", names.EXCEPTION_MESSAGE),
            ("stacktrace", names.EXCEPTION_STACKTRACE),
        ):
            if name in record.attributes:
                made[key] = record.attributes[name]
        self.errors.append(made)

    def _vcs(self, record: LogRecord) -> None:
        for key, name in (("commit", names.VCS_REVISION), ("branch", names.VCS_BRANCH), ("dirty", names.GIT_DIRTY)):
            if name in record.attributes:
                self.git[key] = record.attributes[name]

    def _note_late(self, record: LogRecord, call: str) -> None:
        self.late_count += 1
        if len(self.late_calls) < LATE_LISTED:
            self.late_calls.append({"timestamp": rfc3339(record.time_unix_nano), "call": call})


def order(record: LogRecord) -> tuple[str, int]:
    """Who wrote the record, and as his how-manieth: the two parts of ``log.record.uid``."""
    writer, _, count = str(record.attributes.get(names.LOG_RECORD_UID, "")).rpartition("-")
    return (writer, int(count)) if count.isdigit() else (writer + count, 0)


def fold(records: Iterable[LogRecord]) -> StageState:
    """Bring the records of one attempt into order, drop repeats, and apply them.

    A writer's records keep the order in which he made them; those of several writers are merged by time.
    """
    by_writer: dict[str, dict[int, LogRecord]] = {}
    for record in records:
        writer, count = order(record)
        by_writer.setdefault(writer, {}).setdefault(count, record)
    state = StageState()
    for _, record in heapq.merge(*map(_timed, by_writer.values()), key=itemgetter(0)):
        state.apply(record)
    return state


def _timed(of: dict[int, LogRecord]) -> Iterable[tuple[int, LogRecord]]:
    """A writer's records in his order, each with a time that never runs back."""
    latest = 0
    for count in sorted(of):
        latest = max(latest, of[count].time_unix_nano)
        yield latest, of[count]
