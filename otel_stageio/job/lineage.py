"""Which stage made a file, and what is known of one that was read before: what a job has on record, kept in memory.

A stage that has ended is read from its manifest.json, a view that costs a tenth of the journal. Where that is missing,
broken or behind, and for a stage that still runs, the journal is read, and read on later from where it ended. Whether
anything is new costs a look at the job manifest, which is replaced whenever a stage starts or ends, and one at the
journal of each stage without an end.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.job.layout import EVENTS, StageLayout, stage_folders
from otel_stageio.journal import decode, files
from otel_stageio.model import LogRecord
from otel_stageio.views.moments import rfc3339
from otel_stageio.views.summary import LIFECYCLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.job.layout import JobLayout
    from otel_stageio.model import Value

    _Print = tuple[int, int, int] | None

#: The digest of no content, which says nothing of where a file comes from.
_NOTHING: Final = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: In every line of a journal that has a digest for whoever sees the file again.
_KNOWN_BY: Final = f'"{names.ARTIFACT_FILE_ID}"'.encode()
#: One of these is in every line that tells of begin and end, outputs and digests; others are not decoded.
_TELLING: Final = (LIFECYCLE, _KNOWN_BY, *(f'"eventName":"{name}"'.encode() for name in (names.OUTPUT, names.DIGEST)))
#: What an event says of such a digest; and where a manifest has the artifacts.
_DIGEST: Final = (names.ARTIFACT_FILE_ID, names.ARTIFACT_CHECKSUM, names.ARTIFACT_CHECKSUM_METHOD)
_STDERR: Final = 2
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

    def attributes(self) -> dict[str, Value]:
        """The producer as an event of the consuming stage names it."""
        return {
            names.PRODUCER_STAGE: self.stage,
            names.PRODUCER_NUMBER: self.number,
            names.PRODUCER_ATTEMPT: self.attempt,
            names.PRODUCER_TRACE_ID: self.trace_id,
            names.PRODUCER_SPAN_ID: self.span_id,
        }


class Lineage:
    """What all stages of a job have on record but one, the one that asks. Any thread may ask, and a child by fork."""

    def __init__(self, job: JobLayout, stage: StageLayout, *, before: int = 0) -> None:
        """Know nothing yet: the first question reads. `job` is absolute, `stage` the one that asks.

        Of its own it knows the attempts `before` that one.
        """
        self._job = job
        self._folder = stage.folder.name
        self._stage, self._before = StageLayout(job, stage.number, stage.name), before
        #: The digests of its former attempts that have been read, and the others; None while nobody has asked.
        self._former: list[dict[str, str]] = []
        self._unread: list[int] | None = None
        self._manifest = str(job.manifest)
        #: The job manifest as it was at the last reading.
        self._seen: Watched | None = None
        self._known: dict[str, _Known] = {}
        #: What of these has to be asked, the attempt that started last first.
        self._outputs: tuple[_Outputs, ...] = ()
        self._running: tuple[_Journal, ...] = ()
        self._owner, self._reading = os.getpid(), threading.RLock()

    def producer(self, path: str | None, checksum: str | None, size: int | None) -> Producer | None:
        """The attempt that tracked an artifact as output, of several the one that started last; None where none did.

        It is known by `path` as manifests show it, else by `checksum` (``sha256:<hex>``), unless it is empty: `size`
        is in bytes, None where it is not known. Of each other stage the newest attempts count, however they ended. What
        a stage tracks while this is called may be missed; what it had tracked before is found.

        Raises OSError where the job folder cannot be read; what of a stage cannot be is passed over.
        """
        if self._running or self._seen is None or not self._seen.stands():
            self._look()
        for outputs in self._outputs:
            if path in outputs.paths:
                return outputs.producer
        if checksum is not None and size != 0:
            for outputs in self._outputs:
                if checksum in outputs.contents:
                    return outputs.producer
        return None

    def checksum(self, file_id: str) -> str | None:
        """The sha256 (``sha256:<hex>``) of a large file that some stage read, a former attempt of this one, or None.

        `file_id` is as `record.digests.file_id` has it. Raises OSError as `producer`.
        """
        self._look()
        for outputs in self._outputs:
            if file_id in outputs.digests:
                return outputs.digests[file_id]
        with self._lock():
            if self._unread is None:
                self._unread = [attempt for attempt in self._stage.attempts() if attempt < self._before]
            # The newest first, and no more of them than it takes.
            while self._unread and not any(file_id in digests for digests in self._former):
                self._former.append(self._digests(self._unread.pop()))
            return next((digests[file_id] for digests in self._former if file_id in digests), None)

    def _digests(self, attempt: int) -> dict[str, str]:
        """The digests of a former attempt, from its journal: manifest.json is the newest one's."""
        found: dict[str, str] = {}
        with (
            contextlib.suppress(OSError),
            open(self._stage.attempt_dir(attempt) / EVENTS, "rb", opener=files.regular) as file,
        ):
            for line in file:
                if _KNOWN_BY in line:
                    for record in _records(line):
                        _know(found, *map(record.attributes.get, _DIGEST))
        return found

    def _lock(self) -> threading.RLock:
        if self._owner != os.getpid():  # another thread may have held the lock at the fork
            self._owner, self._reading = os.getpid(), threading.RLock()
        return self._reading

    def _look(self) -> None:
        seen = self._seen
        if seen is None or not seen.stands():
            with self._lock():
                if self._seen is None or not self._seen.stands():
                    seen = Watched(self._manifest)  # before it is read: nothing that comes meanwhile is missed
                    self._read()
                    self._seen = seen
        for journal in self._running:
            with contextlib.suppress(OSError):
                journal.read_on()

    def _read(self) -> None:
        known = {}
        for folder in stage_folders(self._job.root):
            ours = f"{folder.number:02d}_{folder.name}"
            if folder.folder != ours or ours == self._folder:  # "6_asr" is somebody else's
                continue
            with contextlib.suppress(OSError):  # a folder that vanishes or cannot be read is no stage
                found = _look_at(StageLayout(self._job, folder.number, folder.name), self._known.get(ours))
                if found is not None:
                    known[ours] = found
        outputs = [of for each in known.values() for of in each.outputs]
        self._known = known
        self._outputs = tuple(sorted(outputs, key=lambda of: of.started, reverse=True))
        newest = (each.outputs[0] for each in known.values())
        self._running = tuple(of for of in newest if isinstance(of, _Journal) and not of.ended)


class Watched:
    """A file as it is now. Held open, since it is replaced as a whole: that costs half of a look at its path."""

    __slots__ = ("_as_it_was", "_descriptor", "_path")

    def __init__(self, path: str) -> None:
        """Look at the file `path`; there may be none, or something else."""
        self._path = path
        self._descriptor = -1
        self._as_it_was = self._now()
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.stat(path).st_mode):  # nothing else may be opened
                self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._as_it_was = self._now()

    def stands(self) -> bool:
        """Whether it is the same file, unchanged."""
        return self._now() == self._as_it_was

    def _now(self) -> tuple[int, int, int] | None:
        try:
            found = os.fstat(self._descriptor) if self._descriptor > _STDERR else os.stat(self._path)
        except OSError:
            return None
        # Whatever happens to a file is a change; one that is replaced has a link less.
        return found.st_ctime_ns, found.st_nlink, found.st_ino

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close it, also when the interpreter ends and takes this module's names away: hence the argument."""
        try:
            if self._descriptor >= 0:
                close(self._descriptor)
        except OSError:  # somebody else has closed it; contextlib may be gone
            pass


class _Outputs:
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
        self.paths.add(str(path))
        if checksum is not None and checksum != _NOTHING and size != 0:
            self.contents.add(str(checksum))


class _Journal(_Outputs):
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
                    for record in _records(line):
                        self._take(record)
        self._end = end

    def _take(self, record: LogRecord) -> None:
        of = record.attributes
        _know(self.digests, *map(of.get, _DIGEST))
        if record.event_name == names.STARTED and self.producer is None:
            self.started = rfc3339(record.time_unix_nano)
            self.producer = Producer(
                self._stage.name, self._stage.number, self._attempt, record.trace_id, record.span_id
            )
        elif record.event_name == names.FINISHED:
            self.ended = True
        elif of.get(names.ARTIFACT_ROLE) == "output" and names.FILE_PATH in of:
            self.add(of[names.FILE_PATH], of.get(names.ARTIFACT_CHECKSUM), of.get(names.FILE_SIZE))


class _Known(NamedTuple):
    """A stage as it was when it was last read, and what it then had."""

    print: tuple[int, _Print, _Print]
    #: Of its attempts, the newest first; never none.
    outputs: tuple[_Outputs, ...]


def _look_at(stage: StageLayout, before: _Known | None) -> _Known | None:
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
    followed = {of.path: of for of in (before.outputs if before else ()) if isinstance(of, _Journal)}
    found: list[_Outputs] = []
    for attempt in reversed(attempts[-_MOST_ATTEMPTS:]):
        path = str(stage.attempt_dir(attempt) / EVENTS)
        outputs = followed.get(path) or _from_manifest(stage, attempt, path) or _Journal(path, stage, attempt)
        if isinstance(outputs, _Journal):
            with contextlib.suppress(FileNotFoundError):
                outputs.read_on()
        if outputs.producer is not None:
            found.append(outputs)
    return _Known(seen, tuple(found)) if found else None


def _from_manifest(stage: StageLayout, attempt: int, journal: str) -> _Outputs | None:
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
        made = _Outputs(Producer(stage.name, stage.number, attempt, *ids), str(document["started_at"]))
        for entry in document["outputs"]:
            made.add(entry["path"], entry["checksum"], entry["size_bytes"])
        for entry in (each for key in _ARTIFACTS for each in document.get(key, ())):
            _know(made.digests, *map(entry.get, ("file_id", "checksum", "checksum_method")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return made


def _know(into: dict[str, str], file_id: object, checksum: object, method: object) -> None:
    if isinstance(file_id, str) and isinstance(checksum, str) and method == "sha256":
        into[file_id] = checksum


def _records(line: bytes) -> list[LogRecord]:
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
