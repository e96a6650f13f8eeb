"""One attempt being recorded: what a call says goes to the journal before the call returns, and into the live fold.

The recorder is the one place where a record gets its time, its ``log.record.uid`` and its trace context, and where the
views are refreshed from the fold. All methods may be called from any thread and from signal handlers.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.errors import guard
from otel_stageio.journal import encode
from otel_stageio.model import LogRecord
from otel_stageio.record.clock import Clock
from otel_stageio.record.drift import Drift
from otel_stageio.record.journal import StageJournal
from otel_stageio.record.manifest_file import ManifestFile
from otel_stageio.record.plain import PlainRecords
from otel_stageio.record.processes import exits, forks
from otel_stageio.record.secrets.spans import without_secrets
from otel_stageio.record.signing import Signature
from otel_stageio.record.values import clean_text
from otel_stageio.views import span, summary
from otel_stageio.views.state import StageState

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.journal import appending
    from otel_stageio.model import Resource, Scope, Span, Value
    from otel_stageio.record.places import Places
    from otel_stageio.record.secrets.redaction import Redactor
    from otel_stageio.views.summary import Summary

_LEVELS = {names.SEVERITY_INFO: "INFO", names.SEVERITY_WARN: "WARNING", names.SEVERITY_ERROR: "ERROR"}
#: What is found out beside the calls, and so is no call, when it comes after the end.
_FOUND = frozenset({names.DIGEST, names.GIT, names.STEP_FINISHED})


class Recorder(PlainRecords):
    """Writes one attempt. With `places` None nothing is written: the fold alone knows what was said."""

    def __init__(
        self,
        places: Places | None,
        *,
        trace_id: str,
        span_id: str,
        resource: Resource,
        report: Callable[[str], None],
        redactor: Redactor,
        flags: int = 1,
        reread: Callable[[], StageState] | None = None,
    ) -> None:
        """Begin with no record; the first one should be the started event.

        `resource` is on every line, `report` takes one line about trouble of our own, `flags` are those of the trace,
        `reread` folds what is on disk, for the end of a stage that others wrote to as well.
        """
        self.places = places
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        #: Hides secrets. What comes as an event, a span or trouble passes it here, log records on their way here.
        self.redactor = redactor
        self.clock = Clock()
        self.state = StageState()
        self.summary: Summary | None = None
        self.degraded: list[str] = []
        self.manifest = ManifestFile(self)
        #: Called after a record that the manifest shows; the background thread waits for it.
        self.on_change: Callable[[], None] = lambda: None
        self.owner = os.getpid()
        self._journal = StageJournal(places, resource, self._refuse, redactor) if places else None
        self._report = report
        self._reread = reread
        self.lock = threading.RLock()
        self._depth = 0
        self._drift = Drift(places.events.path, places.logs.path) if places else Drift()
        #: The disk refused a record: this process then knows more than the journal does.
        self._refused = False
        self._plain_end = encode.plain_end(
            flags=flags, trace_id=trace_id, span_id=span_id, end=self._journal.tail() if self._journal else ""
        )
        self._said: set[str] = set()
        self._signature = Signature()
        self._folding = guard(partial(self.trouble, "cannot keep a record for the manifest"))
        forks.tell(self)

    # Records.

    def event(
        self,
        name: str,
        attributes: dict[str, Value],
        *,
        call: str,
        body: Value = None,
        severity: int = names.SEVERITY_INFO,
        span_id: str = "",
        at: int | None = None,
    ) -> None:
        """Put an event of the stage on record, by the span `span_id` of its trace where it is not the stage's own.

        `call` is what the user called; it is told once the stage has ended. `at` is by default now.
        """
        # The same object where there is no secret: the caller may look for the sign in it.
        attributes = self._clean(attributes)
        body = self.redactor.value("", body)
        file = self.places.events if self.places else None
        about: dict[str, Any] = {"level": _LEVELS[severity], "severity": severity, "span_id": span_id, "at": at}
        self._put(file, attributes, "" if name in _FOUND else call, name=name, body=body, **about)

    def _clean(self, attributes: dict[str, Value]) -> dict[str, Value]:
        clean = self.redactor.attributes(attributes)
        return attributes if clean is attributes else dict(clean)

    def log(
        self,
        *,
        at: int,
        level: str,
        severity: int,
        message: Value,
        attributes: dict[str, Value],
        span_id: str = "",
        name: str = "",
        scope: Scope | None = None,
    ) -> None:
        """Put a log record on record, in the journal; the log files are the handler's, and so is hiding secrets.

        `name` is the event name that a library gave it, `scope` that library.
        """
        file = self.places.logs if self.places else None
        about: dict[str, Any] = {"level": level, "severity": severity, "span_id": span_id, "at": at, "name": name}
        self._put(file, attributes, scope=scope, body=message, **about)

    def plain_log(self, level: str, before: str, shown: str, *, pipeline: bool) -> bool:
        """Put a log record on record whose line is `before`, its sign, and what ends each plain line.

        `shown` is its line of stage.log, and with `pipeline` of the pipeline log. False, and nothing has happened,
        where it is not that simple: within a record, in a child by fork, without disk.
        """
        journal, drift, signature = self._journal, self._drift, self._signature
        with self.lock:
            if self._depth or signature.common or journal is None:
                return False
            self._depth += 1
            try:
                line = f"{before}{signature.next()}{self._plain_end}".encode("ascii")
                drift.written += len(line)
                journal.write(journal.places.logs, line)
                self.state.log_counts[level] += 1
            except BaseException:  # also what a signal handler raises
                drift.stale = True
                raise
            finally:
                self._depth -= 1
        journal.text(shown, pipeline=pipeline)
        if exits.pending:
            exits.settle()
        self.on_change()
        return True

    def span(self, span: Span, scope: Scope | None = None) -> Span:
        """Put a span on record that ended within the stage, made by the library `scope`; give it without secrets."""
        span = without_secrets(span, self.redactor)
        if self._journal:
            self._journal.span(span, scope)
        return span

    def _put(
        self,
        file: appending.AppendFile | None,
        attributes: dict[str, Value],
        call: str = "",
        scope: Scope | None = None,
        **about: Any,
    ) -> None:
        try:
            with self.lock:
                self._drift.stale |= self._depth > 0
                self._depth += 1
                done = False
                try:
                    if call and self.state.finished is not None:
                        attributes[names.LATE] = call
                    record = self._record(attributes, **about)
                    if self._journal and file is not None:
                        record, weight = self._journal.log(file, record, scope)
                        self._drift.written += weight
                    self._fold(record)
                    done = True
                finally:
                    self._depth -= 1
                    self._drift.stale |= not done
        finally:
            if exits.pending:
                exits.settle()
        self.on_change()

    def _record(
        self,
        attributes: dict[str, Value],
        *,
        severity: int,
        level: str,
        body: Value,
        at: int | None = None,
        name: str = "",
        span_id: str = "",
    ) -> LogRecord:
        """Make a record, signed: the lock is held."""
        attributes[names.LOG_RECORD_UID] = self._signature.next()
        attributes.update(self._signature.common)
        return LogRecord(
            time_unix_nano=self.clock.now() if at is None else at,
            severity_number=severity,
            severity_text=level,
            event_name=name,
            body=body,
            attributes=attributes,
            trace_id=self.trace_id,
            span_id=span_id or self.span_id,
            flags=self.flags,
        )

    def warn(self, message: str) -> None:
        """Put a finding of our own among the stage's warnings."""
        self.event(names.WARNING, {}, call="", body=message, severity=names.SEVERITY_WARN)

    def finish(self, attributes: dict[str, Value]) -> bool:
        """Write the stage's end and its span; False where it has ended already or this is a forked child."""
        with exits.undisturbed(), self.lock:
            if self.finished or not self.owned:
                return False
            self.settle()
            attributes = self._clean(attributes)
            failed = attributes[names.STATUS] == names.FAILED
            severity = names.SEVERITY_ERROR if failed else names.SEVERITY_INFO
            self.event(names.FINISHED, attributes, call="finalize", severity=severity)
            first = self.state.finished
            if first is not None and first.attributes[names.LOG_RECORD_UID] != attributes[names.LOG_RECORD_UID]:
                return False  # a signal handler was faster
            with guard(partial(self.trouble, "cannot write the stage's span")):
                made = span.span(self.state)
                if made is not None and self._journal:
                    self._journal.span(made)  # of events that have passed the redactor
        return True

    @property
    def finished(self) -> bool:
        """Whether the stage's end is on record."""
        return self.state.finished is not None

    @property
    def owned(self) -> bool:
        """Whether this process opened the stage; a child by fork and a member did not."""
        return os.getpid() == self.owner

    def join(self, member: str, started: LogRecord) -> None:
        """Be that member of an attempt that began with `started`, which is another process's to end."""
        self.owner = 0
        self._signature.join(member)
        self._fold(started)

    def _fold(self, record: LogRecord) -> None:
        with self._folding:
            self.summary = summary.add(self.summary, record)
            self.state.apply(record)

    def writes(self) -> bool:
        """Whether the calling thread, in a signal handler, has interrupted itself in the middle of a record."""
        if not self.lock.acquire(blocking=False):
            return False
        try:
            return self._depth > 0
        finally:
            self.lock.release()

    def settle(self) -> None:
        """Fold the journal anew where it may hold more than this process knows of, or in another order."""
        places = self.places
        if self._reread is None or self._refused or places is None or not (self._drift.happened() or places.shared()):
            return
        with self.lock, guard(partial(self.trouble, "cannot read the journal again")):
            self._drift.reading()
            found = self._reread()
            self.state = found if found.started is not None else self.state

    def forking(self) -> None:
        """Prepare for a child by fork, which shares the journal."""
        if self.owned and self._journal and not self._journal.closed:
            self._drift.forking(self.lock)

    def _refuse(self, what: str, why: BaseException) -> None:
        self._refused = True
        self.trouble(what, why)

    def write_line(self, line: str, *, pipeline: bool = False) -> None:
        """Append a line to stage.log, and with `pipeline` to the pipeline log; trouble is reported, never raised."""
        if self._journal:
            self._journal.text(line, pipeline=pipeline)

    def trouble(self, what: str, why: BaseException | None = None) -> None:
        """Report trouble of our own, each kind once: one line on stderr, one entry in the manifest's ``degraded``."""
        with self.lock:
            if what in self._said:
                return
            self._said.add(what)
        text = what if why is None else f"{what}: {type(why).__name__}: {why}"
        text = self.redactor.text(clean_text(text))
        self._report(text)
        with self.lock:
            record = self._record({}, name=names.DEGRADED, severity=names.SEVERITY_WARN, level="WARNING", body=text)
            refused: list[BaseException] = []
            with guard(refused.append):
                if self._journal:
                    self._journal.insist(record)
                self.state.apply(record)
            if refused:  # the disk refuses this too: then the manifest alone can tell
                self.degraded.append(text)
        self.on_change()

    def sync(self) -> None:
        """Have everything written so far put onto the disk."""
        if self.places:
            with guard(partial(self.trouble, "cannot sync the journal")):
                self.places.sync()

    def close(self) -> None:
        """Give the descriptors back; a later record opens its file for itself."""
        with self.lock:
            if self._journal:
                self._journal.close()

    def forked(self) -> None:
        """Become the recorder of a child by fork: a writer of its own, locks that no other thread holds."""
        self.lock = threading.RLock()
        self.manifest.forked()
        self._depth = 0
        self._signature.forked()
        self.on_change = lambda: None
