"""Which stage made a file, and what is known of one that was read before: what a job has on record, kept in memory.

Whether anything is new costs a look at the job manifest, which is replaced whenever a stage starts or ends, and one at
the journal of each stage without an end. Of a stage with items, which may be many, those are looked at that a path
leads into, and the one of the same name as the item that asks.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from typing import TYPE_CHECKING, Final

from otel_stageio.job.layout import EVENTS, StageLayout, placed, stages
from otel_stageio.job.outputs import DIGEST, KNOWN_BY, Journal, Made, Outputs, Producer, look_at, note, records
from otel_stageio.journal import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.job.layout import JobLayout

_STDERR: Final = 2
#: Folders that a path leads through into an item.
_IN_ITEM: Final = 2


class Lineage:
    """What all stages of a job have on record but one, the one that asks. Any thread may ask, and a child by fork."""

    def __init__(self, job: JobLayout, stage: StageLayout, *, before: int = 0) -> None:
        """Know nothing yet: the first question reads. `job` is absolute, `stage` the one that asks.

        Of its own it knows the attempts `before` that one.
        """
        self._job = job
        self._stage, self._before = stage._replace(job=job), before
        #: The digests of its former attempts that have been read, and the others; None while nobody has asked.
        self._former: list[dict[str, str]] = []
        self._unread: list[int] | None = None
        self._manifest = str(job.manifest)
        #: The job manifest as it was at the last reading.
        self._seen: Watched | None = None
        self._known: dict[str, Made] = {}
        #: Of items that a path led into.
        self._items: dict[str, Made] = {}
        #: What of these has to be asked, the attempt that started last first.
        self._outputs: tuple[Outputs, ...] = ()
        self._running: tuple[Journal, ...] = ()
        self._owner, self._reading = os.getpid(), threading.RLock()

    def producer(self, path: str | None, checksum: str | None, size: int | None) -> Producer | None:
        """The attempt that tracked an artifact as output, of several the one that started last; None where none did.

        It is known by `path` as manifests show it, else by `checksum` (``sha256:<hex>``), unless it is empty: `size`
        is in bytes, None where it is not known. Of each other stage the newest attempts count, however they ended. What
        a stage tracks while this is called may be missed; what it had tracked before is found.

        Raises OSError where the job folder cannot be read; what of a stage cannot be is passed over.
        """
        for outputs in self._of_item(path):
            if path in outputs.paths:
                return outputs.producer
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

    def _of_item(self, path: str | None) -> tuple[Outputs, ...]:
        """What the item has made whose folder the path leads into; nothing where it leads into none."""
        parts = path.split("/", 2) if path else ()
        stage = placed(self._job, "/".join(parts[:2])) if len(parts) > _IN_ITEM else None
        if stage is None or stage == self._stage or not os.path.lexists(stage.items_dir / stage.item):
            return ()
        with self._lock(), contextlib.suppress(OSError):  # one that cannot be read has made nothing
            made = look_at(stage, self._items.get(stage.place))
            if made is not None:
                self._items[stage.place] = made
                return made.outputs
        return ()

    def checksum(self, file_id: str, path: str = "") -> str | None:
        """The sha256 (``sha256:<hex>``) of a large file that some stage read, a former attempt of this one, or None.

        `file_id` is as `record.artifacts.digests.file_id` has it, `path` as manifests show it. Raises OSError as
        `producer`.
        """
        self._look()
        for outputs in (*self._of_item(path), *self._outputs):
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
                if KNOWN_BY in line:
                    for record in records(line):
                        note(found, *map(record.attributes.get, DIGEST))
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
        for whole in stages(self._job):
            for stage in (whole, whole._replace(item=self._stage.item)) if self._stage.item else (whole,):
                if stage == self._stage:
                    continue
                with contextlib.suppress(OSError):  # a folder that vanishes or cannot be read is no stage
                    found = look_at(stage, self._known.get(stage.place))
                    if found is not None:
                        known[stage.place] = found
        outputs = [of for each in known.values() for of in each.outputs]
        self._known = known
        self._outputs = tuple(sorted(outputs, key=lambda of: of.started, reverse=True))
        newest = (each.outputs[0] for each in known.values())
        self._running = tuple(of for of in newest if isinstance(of, Journal) and not of.ended)


class Watched:
    """A file as it is now. Held open, since it is replaced as a whole: that costs half of a look at its path."""

    __slots__ = ("_as_it_was", "_descriptor", "_path", "_pid")

    def __init__(self, path: str) -> None:
        """Look at the file `path`; there may be none, or something else."""
        self._path = path
        self._pid = os.getpid()
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

    def __del__(self, close: Callable[[int], None] = os.close, getpid: Callable[[], int] = os.getpid) -> None:
        """Close it, also when the interpreter ends and takes this module's names away: hence the arguments.

        A child by fork does not: where it closed what it inherited, as daemons do, the number may be a file of its own.
        """
        try:
            if self._descriptor >= 0 and self._pid == getpid():
                close(self._descriptor)
        except OSError:  # somebody else has closed it; contextlib may be gone
            pass
