"""What the attempts of one stage made: from manifest.json of one that has ended, else from its journal.

manifest.json is a view that costs a tenth of the journal. Where that is missing, broken or behind, and for a stage that
still runs, the journal is read, and read on later from where it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job.layout import EVENTS
from otel_stageio.journal import decode, files
from otel_stageio.model import LogRecord
from otel_stageio.views.moments import rfc3339
from otel_stageio.views.summary import LIFECYCLE

if TYPE_CHECKING:
    from otel_stageio.job.layout import StageLayout
    from otel_stageio.model import Value

    _Print = tuple[int, int, int] | None

#: The digest of no content, which says nothing of where a file comes from.
_NOTHING: Final = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: In every line of a journal that has a digest for whoever sees the file again.
KNOWN_BY: Final = f'"{names.ARTIFACT_FILE_ID}"'.encode()
#: One of these is in every line that tells of begin and end, outputs and digests; others are not decoded.
_TELLING: Final = (LIFECYCLE, KNOWN_BY, *(f'"eventName":"{name}"'.encode() for name in (names.OUTPUT, names.DIGEST)))
#: What an event says of such a digest; and where a manifest has the artifacts.
DIGEST: Final = (names.ARTIFACT_FILE_ID, names.ARTIFACT_CHECKSUM, names.ARTIFACT_CHECKSUM_METHOD)
_ARTIFACTS: Final = ("inputs", "outputs", "intermediate_files")


#: Attempts of one stage that are looked at; each costs a reading of its journal.
_MOST_ATTEMPTS: Final = 20


class Producer(NamedTuple):
    """The attempt that made a file, and the span that stands for it (ids as hex text)."""

    stage: str
    number: int
    attempt: int
    trace_id: str
    span_id: str
    #: The item of the stage that it worked on; "" is none.
    item: str = ""

    def attributes(self) -> dict[str, Value]:
        """The producer as an event of the consuming stage names it."""
        return {
            names.PRODUCER_STAGE: self.stage,
            names.PRODUCER_NUMBER: self.number,
            **({names.PRODUCER_ITEM: self.item} if self.item else {}),
            names.PRODUCER_ATTEMPT: self.attempt,
            names.PRODUCER_TRACE_ID: self.trace_id,
            names.PRODUCER_SPAN_ID: self.span_id,
        }


class Outputs:
    """What one attempt tracked as output. It only grows: threads may read on and ask at the same time."""

    __slots__ = ("contents", "digests", "paths", "producer", "started")

    def __init__(self, producer: Producer | None, started: str) -> None:
        self.producer = producer
        self.started = started
        self.paths: set[str] = set()
        self.contents: set[str] = set()
        #: The sha256 of large files, in whatever role it tracked them.
        self.digests: dict[str, str] = {}

    def add(self, path: object, checksum: object, size: object) -> None:
        """Take in one output."""
        self.paths.add(str(path))
        if checksum is not None and checksum != _NOTHING and size != 0:
            self.contents.add(str(checksum))


class Journal(Outputs):
    """The same, from events.jsonl. Without producer and of no use until the started event is read."""

    __slots__ = ("_attempt", "_end", "_stage", "ended", "path")

    def __init__(self, path: str, stage: StageLayout, attempt: int) -> None:
        super().__init__(None, "")
        self.path = path
        self.ended = False
        self._stage, self._attempt = stage, attempt
        self._end = 0

    def read_on(self) -> None:
        """Take in the lines that are whole and new. Two threads that do so at once do the same twice."""
        end = self._end
        if os.stat(self.path).st_size == end:
            return
        with open(self.path, "rb", opener=files.regular) as file:
            file.seek(end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                if any(mark in line for mark in _TELLING):
                    for record in records(line):
                        self._take(record)
        self._end = end

    def _take(self, record: LogRecord) -> None:
        of = record.attributes
        note(self.digests, *map(of.get, DIGEST))
        if record.event_name == names.STARTED and self.producer is None:
            self.started = rfc3339(record.time_unix_nano)
            self.producer = Producer(
                self._stage.name, self._stage.number, self._attempt, record.trace_id, record.span_id, self._stage.item
            )
        elif record.event_name == names.FINISHED:
            self.ended = True
        elif of.get(names.ARTIFACT_ROLE) == "output" and names.FILE_PATH in of:
            self.add(of[names.FILE_PATH], of.get(names.ARTIFACT_CHECKSUM), of.get(names.FILE_SIZE))


class Made(NamedTuple):
    """A stage as it was when it was last read, and what it then had."""

    print: tuple[int, _Print, _Print]
    #: Of its attempts, the newest first; never none.
    outputs: tuple[Outputs, ...]


def look_at(stage: StageLayout, before: Made | None) -> Made | None:
    """The attempts of a stage that left a start on record. Raises OSError.

    Not the newest alone: a stage that is started again and finds its work done tracks nothing, or is skipped.
    """
    attempts = stage.attempts()
    if not attempts:
        return None
    seen = (
        attempts[-1],
        _print(str(stage.manifest)),
        _print(str(stage.attempt_dir(attempts[-1]) / EVENTS)),
    )
    if before is not None and before.print == seen:
        return before
    followed = {of.path: of for of in (before.outputs if before else ()) if isinstance(of, Journal)}
    found: list[Outputs] = []
    for attempt in reversed(attempts[-_MOST_ATTEMPTS:]):
        path = str(stage.attempt_dir(attempt) / EVENTS)
        outputs = followed.get(path) or _from_manifest(stage, attempt, path) or Journal(path, stage, attempt)
        if isinstance(outputs, Journal):
            with contextlib.suppress(FileNotFoundError):
                outputs.read_on()
        if outputs.producer is not None:
            found.append(outputs)
    return Made(seen, tuple(found)) if found else None


def _from_manifest(stage: StageLayout, attempt: int, journal: str) -> Outputs | None:
    """The outputs of an attempt that has ended; None where manifest.json does not tell, or its journal tells more."""
    try:
        with open(stage.manifest, "rb", opener=files.regular) as file:
            if os.fstat(file.fileno()).st_mtime_ns < os.stat(journal).st_mtime_ns:  # a call after the end
                return None
            document = json.load(file)
        if document["attempt"] != attempt or document["status"] not in names.FINAL_STATUSES:
            return None
        ids = document["trace_id"], document["span_id"]
        if [len(bytes.fromhex(of)) for of in ids] != [16, 8]:
            return None
        made = Outputs(Producer(stage.name, stage.number, attempt, *ids, stage.item), str(document["started_at"]))
        for entry in document["outputs"]:
            made.add(entry["path"], entry["checksum"], entry["size_bytes"])
        for entry in (each for key in _ARTIFACTS for each in document.get(key, ())):
            note(made.digests, *map(entry.get, ("file_id", "checksum", "checksum_method")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return made


def note(into: dict[str, str], file_id: object, checksum: object, method: object) -> None:
    """Keep a digest by what the file is known by, where it has both."""
    if isinstance(file_id, str) and isinstance(checksum, str) and method == "sha256":
        into[file_id] = checksum


def records(line: bytes) -> list[LogRecord]:
    """The log records of a line of the journal; none where it is torn or strange."""
    try:
        found = decode.lines(json.loads(line))
    except (ValueError, RecursionError):  # torn or strange: costs the links to what it told
        return []
    return [record for part in found for record in part.records if isinstance(record, LogRecord)]


def _print(path: str) -> _Print:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
