"""One attempt being recorded: what a call says goes to the journal before the call returns, and into the live fold.

The recorder is the one place where a record gets its time, its ``log.record.uid`` and its trace context, and where the
views are refreshed from the fold. All methods may be called from any thread and from signal handlers.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.errors import guard
from otel_stageio.journal import encode, files, limits
from otel_stageio.model import LogRecord
from otel_stageio.record.clock import Clock
from otel_stageio.record.values import clean_text
from otel_stageio.views import manifest, span, summary
from otel_stageio.views.state import StageState

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.model import Value
    from otel_stageio.record.places import Places
    from otel_stageio.views.summary import Summary

_SEVERITY_TEXT = {
    names.SEVERITY_DEBUG: "DEBUG",
    names.SEVERITY_INFO: "INFO",
    names.SEVERITY_WARN: "WARNING",
    names.SEVERITY_ERROR: "ERROR",
    names.SEVERITY_FATAL: "CRITICAL",
}
_living: weakref.WeakSet[Recorder] = weakref.WeakSet()


class Recorder:
    """Writes one attempt. With `places` None nothing is written: the fold alone knows what was said."""

    def __init__(
        self,
        places: Places | None,
        *,
        trace_id: str,
        span_id: str,
        tail: str,
        report: Callable[[str], None],
    ) -> None:
        """Begin with no record; the first one should be the started event.

        `tail` ends every line (scope and resource), `report` takes one line about trouble of our own.
        """
        self.places = places
        self.trace_id = trace_id
        self.span_id = span_id
        self.clock = Clock()
        self.state = StageState()
        self.summary: Summary | None = None
        self.degraded: list[str] = []
        #: Called after a record that the manifest shows; the background thread waits for it.
        self.on_change: Callable[[], None] = _nothing
        self.owner = os.getpid()
        self._tail = tail
        self._report = report
        self._lock = threading.RLock()
        self._rewriting = threading.Lock()
        self._said: set[str] = set()
        self._common: dict[str, Value] = {}
        self._writer = os.urandom(6).hex()
        self._count = 0
        _living.add(self)

    # Records.

    def event(  # noqa: PLR0913 - the parts of an event; all but the name by keyword
        self,
        name: str,
        attributes: dict[str, Value],
        *,
        call: str,
        body: Value = None,
        severity: int = names.SEVERITY_INFO,
    ) -> None:
        """Put an event of the stage on record. `call` is what the user called; it is told once the stage has ended."""
        with self._lock:
            if self.state.finished is not None:
                attributes[names.LATE] = call
            self._take(self._event(name, attributes, body, severity), self.places.events if self.places else None)
        self.on_change()

    def _event(self, name: str, attributes: dict[str, Value], body: Value, severity: int) -> LogRecord:
        return LogRecord(
            time_unix_nano=self.clock.now(),
            severity_number=severity,
            severity_text=_SEVERITY_TEXT[severity],
            event_name=name,
            body=body,
            attributes=self._signed(attributes),
            trace_id=self.trace_id,
            span_id=self.span_id,
            flags=1,
        )

    def log(  # noqa: PLR0913 - the parts of a log record
        self,
        *,
        at: int,
        level: str,
        severity: int,
        message: str,
        attributes: dict[str, Value],
        span_id: str = "",
    ) -> None:
        """Put a log record on record, in the journal; the log files are the handler's."""
        with self._lock:
            self._take(
                LogRecord(
                    time_unix_nano=at,
                    severity_number=severity,
                    severity_text=level,
                    body=message,
                    attributes=self._signed(attributes),
                    trace_id=self.trace_id,
                    span_id=span_id or self.span_id,
                    flags=1,
                ),
                self.places.logs if self.places else None,
            )
        self.on_change()

    def warn(self, message: str) -> None:
        """Put a finding of our own among the stage's warnings."""
        self.event(names.WARNING, {}, call="warning", body=message, severity=names.SEVERITY_WARN)

    def finish(self, attributes: dict[str, Value]) -> bool:
        """Write the stage's end and its span; False where it has ended already or this is a forked child."""
        with self._lock:
            if self.finished or not self.owned:
                return False
            failed = attributes[names.STATUS] == names.FAILED
            severity = names.SEVERITY_ERROR if failed else names.SEVERITY_INFO
            self.event(names.FINISHED, attributes, call="finalize", severity=severity)
            made = span.span(self.state)
            if made is not None and self.places:
                self._write(self.places.traces, encode.span_line(made, self._tail))
        return True

    @property
    def finished(self) -> bool:
        """Whether the stage's end is on record."""
        return self.state.finished is not None

    @property
    def owned(self) -> bool:
        """Whether this process opened the stage; a child by fork did not."""
        return os.getpid() == self.owner

    def _signed(self, attributes: dict[str, Value]) -> dict[str, Value]:
        self._count += 1
        attributes[names.LOG_RECORD_UID] = f"{self._writer}-{self._count}"
        attributes.update(self._common)
        return attributes

    def _take(self, record: LogRecord, file: files.AppendFile | None) -> None:
        if file is not None:
            line = encode.log_line(record, self._tail)
            if len(line) > limits.RECORD_LIMIT:
                record = limits.fit(record)
                line = encode.log_line(record, self._tail)
            self._write(file, line)
        self.summary = summary.add(self.summary, record)
        self.state.apply(record)

    # Trouble.

    def _write(self, file: files.AppendFile, line: bytes) -> None:
        with guard(lambda why: self.trouble(f"cannot write {file.path}", why)):
            file.write(line)

    def write_text(self, file: files.AppendFile, text: str) -> None:
        """Append a line to a log file; trouble is reported once and never raised."""
        self._write(file, text.encode("utf-8", "backslashreplace"))

    def write_header(self, line: str) -> None:
        """Open the attempt in stage.log, the one line there that is no record."""
        if self.places:
            self.write_text(self.places.stage_log, f"{line}\n")

    def trouble(self, what: str, why: BaseException | None = None) -> None:
        """Report trouble of our own, each kind once: one line on stderr, one entry in the manifest's ``degraded``."""
        if what in self._said:
            return
        self._said.add(what)
        text = what if why is None else f"{what}: {type(why).__name__}: {why}"
        self._report(text)
        with self._lock:
            record = self._event(names.DEGRADED, {}, clean_text(text), names.SEVERITY_WARN)
            try:
                if self.places:
                    self.places.events.write(encode.log_line(record, self._tail))
                self.state.apply(record)
            except OSError:  # the disk refuses this too: then the manifest alone can tell
                self.degraded.append(clean_text(text))

    # Views.

    def manifest(self) -> dict[str, Any]:
        """The manifest of this moment. Its parts are the fold's own: read, do not change."""
        with self._lock:
            return manifest.manifest(self.state, degraded=self.degraded)

    def dump_manifest(self) -> bytes:
        """The manifest of this moment as the bytes of its file."""
        with self._lock:
            return manifest.dump(manifest.manifest(self.state, degraded=self.degraded))

    def rewrite_manifest(self, *, sync: bool = False) -> None:
        """Bring manifest.json up to date, if there is one and this process may write it."""
        if self.places is None or self.places.manifest is None or not self.owned:
            return
        with self._rewriting, guard(lambda why: self.trouble("cannot write the manifest", why)):
            if self.places.superseded():
                return
            files.replace(self.places.manifest, self.dump_manifest(), sync=sync)

    def sync(self) -> None:
        """Have everything written so far put onto the disk."""
        if self.places:
            with guard(lambda why: self.trouble("cannot sync the journal", why)):
                self.places.sync()

    def close(self) -> None:
        """Give the descriptors back; a later record opens the files again."""
        if self.places:
            with self._lock:
                self.places.close()

    def forked(self) -> None:
        """Become the recorder of a child by fork: a writer of its own, locks that no other thread holds."""
        self._lock = threading.RLock()
        self._rewriting = threading.Lock()
        self._writer = os.urandom(6).hex()
        self._count = 0
        self._common = {names.PROCESS_PID: os.getpid()}
        self.on_change = _nothing


def _nothing() -> None:
    """Stand for a background thread that there is not."""


def _forked() -> None:
    for recorder in list(_living):
        recorder.forked()


os.register_at_fork(after_in_child=_forked)
