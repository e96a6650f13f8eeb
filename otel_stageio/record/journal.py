"""The journal of one attempt as its recorder writes it: records and spans become lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_stageio.job.identity import SCOPE
from otel_stageio.journal import encode, limits
from otel_stageio.record.secrets.spans import scope_without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.journal import appending
    from otel_stageio.model import LogRecord, Resource, Scope, Span
    from otel_stageio.record.places import Places
    from otel_stageio.record.secrets.redaction import Redactor


class StageJournal:
    """The files of one attempt. May be used from any thread: a line is one write, and that needs no lock."""

    def __init__(
        self,
        places: Places,
        resource: Resource,
        refused: Callable[[str, BaseException], None],
        redactor: Redactor,
    ) -> None:
        """Write to `places`, every line with `resource`; `refused` hears what could not be written, and why.

        `redactor` sees each scope once; what else is in a record has been before it already.
        """
        self._redactor = redactor
        self.places = places
        self._resource = resource
        self._tails: dict[str, str] = {}
        self._own = encode.tail(SCOPE, resource)
        self._refused = refused
        self.closed = False

    def log(self, file: appending.AppendFile, record: LogRecord, scope: Scope | None) -> tuple[LogRecord, int]:
        """Write a log record, by `scope` where it is not ours; give it back as it stands there, and its bytes."""
        end = self.tail(scope)
        line = encode.log_line(record, end)
        if len(line) > limits.RECORD_LIMIT:
            record = limits.fit(record)
            line = encode.log_line(record, end)
        self.write(file, line)
        return record, len(line)

    def span(self, span: Span, scope: Scope | None = None) -> None:
        """Write a span that ended."""
        self.write(self.places.traces, encode.span_line(limits.fit_span(span), self.tail(scope)))

    def text(self, line: str, *, pipeline: bool) -> None:
        """Append a line to stage.log, and with `pipeline` to the pipeline log."""
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        self.write(self.places.stage_log, data)
        if pipeline:
            self.write(self.places.pipeline_log, data)

    def insist(self, record: LogRecord) -> None:
        """Write an event of our own trouble. Raises OSError: the manifest alone can tell it then."""
        self.places.events.write(encode.log_line(record, self._own))
        if self.closed:
            self.places.events.close()

    def write(self, file: appending.AppendFile, line: bytes) -> None:
        """Append a line to a file."""
        try:
            file.write(line)
        except OSError as why:
            self.refused(file, why)
        if self.closed:  # after the end each record opens its file for itself: stages of one process may be many
            file.close()

    def tail(self, scope: Scope | None = None) -> str:
        """What ends a line."""
        if scope is None:
            return self._own
        # By its text, since its attributes make a scope unhashable; a program has few of them.
        key = repr(scope)
        known = self._tails.get(key)
        if known is None:
            known = self._tails.setdefault(
                key, encode.tail(limits.fit_scope(scope_without_secrets(scope, self._redactor)), self._resource)
            )
        return known

    def refused(self, file: appending.AppendFile, why: OSError) -> None:
        """Tell that a line could not be written to a file."""
        self._refused(f"cannot write {file.path}", why)

    def close(self) -> None:
        """Give the descriptors back; a later line opens its file for itself."""
        self.closed = True
        self.places.close()
