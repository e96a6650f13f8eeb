"""Where records wait until it is known whose they are: a private database on disk, so that no file is too large.

SQLite puts it into its folder for temporary files (``SQLITE_TMPDIR``, else /var/tmp or /tmp) and removes it at the end.
A record is there once, however often it came: log records by their job and ``log.record.uid``, or, without one, by what
they say; spans by their ids. Which of two that differ stays does not depend on the order in which they came.
"""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from otel_stageio import conventions as names
from otel_stageio.journal import encode, limits
from otel_stageio.model import LogRecord, Resource, Span
from otel_stageio.rebuild.sources import is_stage
from otel_stageio.views.state import order

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from otel_stageio.model import Attributes, Line, Scope

#: Bytes of a resource's attributes that go beside a record into a line.
_MOST_RESOURCE: Final = 16 * 1024
#: KiB of the database that are held in memory.
_CACHE: Final = 16 * 1024
#: SQLite's integers have 64 bits, one of which is the sign.
_MOST: Final = (1 << 63) - 1
_TABLES: Final = """
    CREATE TABLE logs (
        job TEXT, key TEXT, writer TEXT, count INTEGER, time INTEGER, trace TEXT, span TEXT, event TEXT,
        instance TEXT, severity INTEGER, level TEXT, attempt INTEGER, line BLOB, PRIMARY KEY (job, key));
    CREATE TABLE spans (
        trace TEXT, span TEXT, parent TEXT, job TEXT, began INTEGER, ended INTEGER, instance TEXT, ours INTEGER,
        stage INTEGER, attempt INTEGER, line BLOB, PRIMARY KEY (trace, span));
    CREATE TABLE homes (trace TEXT, span TEXT, attempt INTEGER, PRIMARY KEY (trace, span)) WITHOUT ROWID;
"""
#: The level of each four severity numbers, from 1 up, and what others call a level otherwise.
_LEVELS: Final = ("DEBUG", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SPELLED: Final = {"WARN": "WARNING", "FATAL": "CRITICAL"}
#: Of two that say they are the same the one that StageIO sent, then any, but always the same.
_LOG: Final = """
    INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)
    ON CONFLICT DO UPDATE SET line = excluded.line, time = excluded.time, trace = excluded.trace, span = excluded.span,
    event = excluded.event, instance = excluded.instance, severity = excluded.severity, level = excluded.level
    WHERE excluded.line < line
"""
_SPAN: Final = """
    INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)
    ON CONFLICT DO UPDATE SET line = excluded.line, parent = excluded.parent, job = excluded.job,
    began = excluded.began, ended = excluded.ended, instance = excluded.instance, ours = excluded.ours,
    stage = excluded.stage WHERE (excluded.ours, line) > (ours, excluded.line)
"""


class Spool:
    """Records by the thousand million, on disk. Not thread-safe: who shares it locks."""

    def __init__(self) -> None:
        """Begin with none."""
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        for pragma in ("synchronous = OFF", "journal_mode = OFF", f"cache_size = -{_CACHE}"):
            self._base.execute(f"PRAGMA {pragma}")
        self._base.executescript(_TABLES)
        self._tails: dict[str, str] = {}

    def close(self) -> None:
        """Let go of everything."""
        self._base.close()

    def ask(self, question: str, *values: Any) -> Iterator[Any]:
        """Each row of the answer, or the one value that each has. Nothing else may be asked to change meanwhile."""
        cursor = self._base.execute(question, values)
        one = len(cursor.description or ()) == 1
        return (row[0] if one else row for row in cursor)

    def tell(self, change: str, *values: Any) -> int:
        """Change rows; how many."""
        return self._base.execute(change, values).rowcount

    def add(self, line: Line, wanted: Collection[str] | None = ()) -> int:
        """Take the records that are a job's, or of a trace that is `wanted`; with None all. How many there were."""
        of = line.resource.attributes
        of_job, instance = text(of, names.JOB_ID), text(of, names.SERVICE_INSTANCE_ID)
        ours, end, taken = of.get(names.TELEMETRY_SDK_NAME) == names.SCOPE, "", 0
        self._base.execute("BEGIN")
        for record in line.records:
            job = of_job or text(record.attributes, names.JOB_ID)
            if (job or wanted is None or record.trace_id in wanted) and self._fits(record):
                end = end or self._tail(line.scope, line.resource)
                if isinstance(record, Span):
                    self._put_span(record, (job, instance), of_job != "", end)
                else:
                    self._put_log(record if ours else _spelled(record), (job, instance), end)
                taken += 1
        self._base.execute("COMMIT")
        return taken

    @staticmethod
    def _fits(record: LogRecord | Span) -> bool:
        last = record.end_time_unix_nano if isinstance(record, Span) else record.time_unix_nano
        first = record.start_time_unix_nano if isinstance(record, Span) else last
        marker = isinstance(record, Span) and names.MARK in record.attributes
        return max(first, last) <= _MOST and not (marker and names.STAGE_NAME in record.attributes)

    def _put_span(self, span: Span, by: tuple[str, str], ours: bool, end: str) -> None:
        job, instance = by
        data = encode.span_line(limits.fit_span(span), end)
        about = (span.trace_id, span.span_id, span.parent_span_id, job)
        times = (span.start_time_unix_nano, span.end_time_unix_nano)
        self._base.execute(_SPAN, (*about, *times, instance, ours, is_stage(span), data))

    def _put_log(self, record: LogRecord, by: tuple[str, str], end: str) -> None:
        job, instance = by
        data = encode.log_line(record, end)
        if len(data) > limits.RECORD_LIMIT:
            data = encode.log_line(limits.fit(record), end)
        signed = names.LOG_RECORD_UID in record.attributes
        writer, count = order(record) if signed else ("", 0)
        key = f"{writer}-{count}" if signed else f"={sha256(data).hexdigest()}"
        where = (record.time_unix_nano, record.trace_id, record.span_id, record.event_name, instance)
        kind = (record.severity_number, record.severity_text)
        self._base.execute(_LOG, (job, key, writer, max(-_MOST, min(count, _MOST)), *where, *kind, data))

    def _tail(self, scope: Scope, resource: Resource) -> str:
        key = repr((scope, resource))
        known = self._tails.get(key)
        if known is None:
            if len(self._tails) > 1000:  # noqa: PLR2004 - of strangers there may be no end
                self._tails.clear()
            small = Resource(attributes=limits.bounded(resource.attributes, _MOST_RESOURCE)[0])
            known = self._tails[key] = encode.tail(limits.fit_scope(scope), small)
        return known


def _spelled(record: LogRecord) -> LogRecord:
    """A record of another program with its level as the journal spells it, by its number where it has no name."""
    number = record.severity_number
    level = record.severity_text or (_LEVELS[(number - 1) // 4] if 0 < number <= 24 else "INFO")  # noqa: PLR2004
    return record._replace(
        severity_text=_SPELLED.get(level.upper(), level), severity_number=number or names.SEVERITY_INFO
    )


def text(of: Attributes, name: str) -> str:
    """An attribute as text, empty where it is not there."""
    found = of.get(name)
    return "" if found is None else str(found)
