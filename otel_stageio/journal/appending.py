"""Files that grow by whole lines, from many threads and processes at once."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

from otel_stageio.journal import files

if TYPE_CHECKING:
    from collections.abc import Callable

#: How often it is looked whether a line is torn or only not there as a whole yet.
_LOOKS: Final = 10

#: Something in it: this is a child by fork. What it inherited it may have closed since, as daemons do.
_forked: list[bool] = []
os.register_at_fork(after_in_child=partial(_forked.append, True))  # noqa: FBT003 - any value would do


class _Descriptor:
    """An open file. The last reference closes it, so never under a thread that is writing.

    A number closed by one thread may be another file by the time that a second thread writes to it.
    """

    __slots__ = ("_file", "_shown", "number", "torn")

    def __init__(self, path: str) -> None:
        self.number = files.opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        found = os.fstat(self.number)
        if not stat.S_ISREG(found.st_mode):  # a pipe that somebody planted would hold the stage up when it is full
            raise OSError(errno.EINVAL, "it is no file, and is not written to", path)
        #: Whether the file may not end in a newline.
        self.torn = all(self._is_torn() for _ in range(_LOOKS))
        self._file, self._shown = (found.st_dev, found.st_ino), self._link()

    def _is_torn(self) -> bool:
        size = os.fstat(self.number).st_size
        if size == 0 or os.pread(self.number, 1, size - 1) == b"\n":
            return False
        # Somebody may be in the middle of a line. On a local disk a change of the file's times has to wait for that.
        with contextlib.suppress(OSError):
            os.utime(self.number)
        return True

    def _link(self) -> str:
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/self/fd/{self.number}")
        return ""

    def is_lost(self) -> bool:
        """Whether somebody closed the file, as daemons do, and its number may be another file of theirs by now."""
        if self._shown and self._link() == self._shown:  # over NFS, fstat would wait for all that was written
            return False
        with contextlib.suppress(OSError):
            found = os.fstat(self.number)
            return (found.st_dev, found.st_ino) != self._file
        return True

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close, also when the interpreter ends and takes this module's names away: hence the argument."""
        try:
            if not (_forked and self.is_lost()):
                close(self.number)
        except (OSError, AttributeError):
            pass


class AppendFile:
    """A file that grows by whole lines, each by one `write` on an ``O_APPEND`` descriptor; no lock on this path.

    The file appears with its first line. Threads, signal handlers and processes of one host may append to the same
    file: the kernel keeps lines apart. A failed or short write is never continued; the next line starts with a newline
    of its own, so that a torn line costs itself alone. `close` gives the descriptor back; a later write opens the file
    again.
    """

    __slots__ = ("_before", "_descriptor", "path")

    def __init__(self, path: str, *, before: Callable[[], None] = lambda: None) -> None:
        """Name the file at `path`; nothing is opened yet. `before` is asked each time it is, and may raise OSError."""
        self.path = path
        self._before = before
        self._descriptor: _Descriptor | None = None

    def write(self, line: bytes) -> None:
        """Append `line`, which ends in a newline. Raises OSError where the disk refuses it."""
        descriptor = self._descriptor
        if descriptor is None or (_forked and descriptor.is_lost()):
            self._before()
            # Two threads may open at once: each writes through its own, and one of the two stays.
            descriptor = self._descriptor = _Descriptor(self.path)
        torn = descriptor.torn
        if torn:
            line = b"\n" + line
        try:
            written = os.write(descriptor.number, line)
        except BaseException:  # also what a signal handler raises: nobody knows then how much was written
            descriptor.torn = True
            raise
        if written != len(line):
            descriptor.torn = True
            raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes could be written", self.path)
        if torn:
            descriptor.torn = False

    def sync(self) -> None:
        """Have the kernel put everything written so far onto the disk. Raises OSError, also where the file is gone."""
        descriptor = self._descriptor
        if descriptor is not None:
            if os.fstat(descriptor.number).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "it was removed while it was written to", self.path)
            os.fsync(descriptor.number)

    def close(self) -> None:
        """Give the descriptor back. May be called twice."""
        self._descriptor = None
