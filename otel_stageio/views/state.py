"""The fold: records of one attempt, one after the other, to the state that every view is made of.

The same code serves a live stage, a crashed one and one rebuilt elsewhere. Records are applied in the order in which
their writer made them; `fold` brings any other order into that one first.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, ClassVar, Final

from otel_stageio import conventions as names
from otel_stageio.views import artifacts
from otel_stageio.views.entries import Entries
from otel_stageio.views.moments import rfc3339
from otel_stageio.views.span import SpanEvents, attributes_at_end
from otel_stageio.views.span_calls import SpanCalls
from otel_stageio.views.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_stageio.model import LogRecord, Value
    from otel_stageio.views.entries import SmallFile

_Entry = dict[str, "Value"]
#: How many calls after finalize are listed one by one; the rest is counted.
LATE_LISTED: Final = 100
#: How many values that were cut are named.
_CUT_LISTED: Final = 5
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: Without these attributes an event says nothing, and is passed over.
_NEEDED: Final = {
    names.STARTED: (names.STAGE_NAME, names.STAGE_NUMBER, names.STAGE_ATTEMPT, names.RUN, names.JOB_ID),
    names.FINISHED: (names.STATUS,),
    names.INPUT: (names.FILE_PATH,),
    names.OUTPUT: (names.FILE_PATH,),
    names.INTERMEDIATE: (names.FILE_PATH,),
    names.METRIC: (names.METRIC_NAME,),
    names.STEP_STARTED: (names.STEP,),
    names.STEP_FINISHED: (names.STATUS,),
}


class StageState:
    """What is known of one attempt after the records applied so far. Not thread-safe: the owner locks."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self.started: LogRecord | None = None
        self.finished: LogRecord | None = None
        self.contradicted = False
        self.artifacts = {role: Entries() for role in names.ROLES}
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
        self.span_calls = SpanCalls()
        self.steps = Steps()
        #: What the span says of the attempt, fixed by its end.
        self.span_attributes: _Entry = {}

    @property
    def status(self) -> str:
        """What the first finalize said, or running."""
        return str(self.finished.attributes[names.STATUS]) if self.finished else names.RUNNING

    def apply(self, record: LogRecord) -> None:
        """Take one record in: an event of the stage, or a log record. Unknown events of ours change nothing."""
        if not record.event_name.startswith(names.OWN):  # a library may give its log record an event name
            self.log_counts[record.severity_text] = self.log_counts.get(record.severity_text, 0) + 1
        elif not all(name in record.attributes for name in _NEEDED.get(record.event_name, ())):
            return
        else:
            self._note(record)
            step = self._STEPS.get(record.event_name)
            if step is not None:
                step(self, record)
        if self.finished is None:
            self.span_events.apply(record)
            self.span_calls.apply(record)

    def _note(self, record: LogRecord) -> None:
        """What any event may carry: that it came after the end, that it was cut to fit in a line."""
        late, cut = record.attributes.get(names.LATE), record.attributes.get(names.CUT)
        if late:
            self.late_count += 1
            if len(self.late_calls) < LATE_LISTED:
                told = {"status": names.STATUS, "reason": names.REASON}
                said = {key: str(record.attributes[name]) for key, name in told.items() if name in record.attributes}
                self.late_calls.append({"timestamp": rfc3339(record.time_unix_nano), "call": str(late), **said})
        if isinstance(cut, dict):
            what = [f"{key} ({length!s})" for key, length in cut.items()]
            listed = ", ".join(what[:_CUT_LISTED]) + (", ..." if len(what) > _CUT_LISTED else "")
            self.degraded.append(f"{record.event_name} was cut to fit in a line; lengths before: {listed}")

    def _start(self, record: LogRecord) -> None:
        self.started = self.started or record

    def _finish(self, record: LogRecord) -> None:
        if self.finished is not None:
            self.contradicted |= record.attributes.get(names.STATUS) != self.status
            return
        self.finished = record
        self._take(record, names.EXTRA_KEY, self.extra)
        self._take(record, names.RESOURCE_KEY, self.resources)
        self.span_attributes = attributes_at_end(self)

    def _track(self, record: LogRecord) -> None:
        made = artifacts.entry(record.attributes)
        self.artifacts[artifacts.ROLE_OF[record.event_name]].add(str(made["path"]), made)

    def add_file(self, at: int, weight: int, file: SmallFile) -> None:
        """Take in what `apply` would of the event of a small file, while the stage runs.

        `weight` is how many characters its time and its encoded attributes have.
        """
        kind = file[5]
        self.artifacts[kind.role].add_file(file)
        self.span_events.add(at, kind.event, weight, file)
        if kind.producer:
            self.span_calls.have(kind.attributes, file[0])

    def _digest(self, record: LogRecord) -> None:
        entries = self.artifacts.get(str(record.attributes.get(names.ARTIFACT_ROLE)))
        path = str(record.attributes.get(names.FILE_PATH))
        if entries is not None and path in entries:
            entries[path] = artifacts.with_digest(entries[path], record)

    def _configure(self, record: LogRecord) -> None:
        self._take(record, names.CONFIG_KEY, self.config)

    def _use(self, record: LogRecord) -> None:
        self._take(record, names.RESOURCE_KEY, self.resources)

    def _step(self, record: LogRecord) -> None:
        self.steps.apply(record)

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
        self.warnings.append({"timestamp": rfc3339(record.time_unix_nano), "message": record.body, **_by(record)})

    def _err(self, record: LogRecord) -> None:
        made: _Entry = {"timestamp": rfc3339(record.time_unix_nano), "message": record.body, **_by(record)}
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

    _STEPS: ClassVar[dict[str, Callable[[StageState, LogRecord], None]]] = {
        names.STARTED: _start,
        names.FINISHED: _finish,
        names.INPUT: _track,
        names.OUTPUT: _track,
        names.INTERMEDIATE: _track,
        names.DIGEST: _digest,
        names.CONFIG: _configure,
        names.RESOURCES: _use,
        names.METRIC: _metric,
        names.WARNING: _warn,
        names.ERROR: _err,
        names.GIT: _vcs,
        names.DEGRADED: _degrade,
        names.STEP_STARTED: _step,
        names.STEP_FINISHED: _step,
    }


def _by(record: LogRecord) -> _Entry:
    """Which member of the attempt said it, where it was not the process that opened it."""
    return {"member": record.attributes[names.MEMBER]} if names.MEMBER in record.attributes else {}


def order(record: LogRecord) -> tuple[str, int]:
    """Who wrote the record, and as his how-manieth: the two parts of ``log.record.uid``."""
    uid = str(record.attributes.get(names.LOG_RECORD_UID, ""))
    writer, _, count = uid.rpartition("-")
    try:
        return writer, int(count)
    except ValueError:  # somebody else's: an order of one
        return uid, 0


def fold(records: Iterable[LogRecord]) -> StageState:
    """Bring the records of one attempt into order, drop repeats, and apply them.

    A writer's records keep the order in which he made them; those of several writers are merged by time. Records
    without ``log.record.uid`` have only their times.
    """
    by_writer: dict[str, dict[int, LogRecord]] = {}
    unsigned: list[LogRecord] = []
    for record in records:
        if names.LOG_RECORD_UID not in record.attributes:
            unsigned.append(record)
            continue
        writer, count = order(record)
        by_writer.setdefault(writer, {}).setdefault(count, record)
    in_order = [_timed(of) for _, of in sorted(by_writer.items())]
    in_order.append((of.time_unix_nano, of) for of in sorted(unsigned, key=lambda of: of.time_unix_nano))
    import heapq

    state = StageState()
    for _, record in heapq.merge(*in_order, key=itemgetter(0)):
        state.apply(record)
    return state


def _timed(of: dict[int, LogRecord]) -> Iterable[tuple[int, LogRecord]]:
    """A writer's records in his order, each with a time that never runs back."""
    latest = 0
    for count in sorted(of):
        latest = max(latest, of[count].time_unix_nano)
        yield latest, of[count]
