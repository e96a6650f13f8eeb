"""Locks that fall with the process: one says that a stage is alive, one guards the job manifest for a moment.

Open-file-description locks, `flock` where the system has none. A POSIX record lock would fall as soon as the process
opened and closed the file once more, which copying the folder does. Locks of this kind belong to the open file, which a
forked child shares: children close it, and never unlock it, so that the lock neither outlives its owner nor ends early.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from otel_stageio.job import host
from otel_stageio.journal import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Literal

_OFD_GETLK: int | None = getattr(fcntl, "F_OFD_GETLK", None)
_OFD_SETLK: int | None = getattr(fcntl, "F_OFD_SETLK", None)

#: ``struct flock``: type, whence, start, length, pid; the last has to be 0 for locks of an open file, and so may the
#: others. (By hand: the struct module is a library of its own to load.)
_TYPE_BYTES = 2
_FLOCK_BYTES = 32

_TAKEN = frozenset({errno.EAGAIN, errno.EACCES})

_OWNER_BYTES = 65536
#: Seconds within which an owner has shown a sign of life, by one clock.
TRUSTED = 60.0
#: What an owner says who only writes the end of a dead attempt.
ENDING = "ending"
#: Seconds to wait for somebody who has just come or is about to go, and for the end of a dead attempt.
_MOMENT = 0.1
_END = 30.0
_PAUSE = 0.005
#: Seconds between two tries for the job's lock: at least, and at most so much more.
_POLL = 0.001
_JITTER = 0.004

#: Descriptors of this process whose files are, or are about to be, locked.
_ours: set[int] = set()


def _close_in_child() -> None:
    while _ours:
        with contextlib.suppress(OSError):
            os.close(_ours.pop())


os.register_at_fork(after_in_child=_close_in_child)


class Held:
    """The lock is somebody else's; `owner` is what they said of themselves, None where that cannot be read."""

    __slots__ = ("owner",)

    def __init__(self, owner: dict[str, Any] | None) -> None:
        """Keep what the holder said."""
        self.owner = owner


class StageLock:
    """Says that a stage is alive, from `acquire` to `release` or to the end of the process, whatever ends it.

    All methods may be called from any thread, and do nothing in a forked child.
    """

    __slots__ = ("_before", "_fd", "_own", "_pid", "_using", "_wrote", "former", "silent", "works")

    def __init__(
        self,
        fd: int,
        *,
        works: bool,
        wrote: bytes,
        former: dict[str, Any] | None = None,
        silent: float = 0.0,
        before: int = 0,
        own: StageLock | None = None,
    ) -> None:
        """Take over the descriptor `fd`; `wrote` is what the owner says of itself.

        `works` is False where the file is not locked: the file system has no locks, or somebody else holds it.
        `former` is what an owner said who did not release it, `silent` how many seconds ago it was last touched by one.
        `before` is when that was, by the file's time in nanoseconds. `own` is a lock that goes with it, see `beside`.
        """
        self._before = before
        self._own = own
        self.works = works
        self.former = former
        self.silent = silent
        self._wrote = wrote
        self._fd = fd
        self._pid = os.getpid()
        # Reentrant: a signal handler may release what it interrupted in `touch`.
        self._using = threading.RLock()

    @staticmethod
    def acquire(path: str, owner: Mapping[str, Any]) -> StageLock | Held:
        """Take the lock file `path` and write `owner` into it, as JSON; Held where it is held.

        Waits only where a holder does not say who he is, and so has just come or is about to go, or writes the end of a
        dead attempt. Raises OSError where the file cannot be opened.
        """
        fd = _open(path)
        wrote = json.dumps(dict(owner)).encode()
        try:
            taken, former = _take(fd), _owner(fd)
            since = time.monotonic()
            while taken is False and time.monotonic() < since + _patience(former):
                time.sleep(_PAUSE)
                taken, (said, former) = _take(fd), (former, _owner(fd))
                if former is None and said is not None:  # it is about to go: patience begins anew
                    since = time.monotonic()
            if taken is False:
                _close(fd)
                return Held(former)
            before = os.fstat(fd).st_mtime_ns
            # The lock is what counts; on a full disk its owner stays unnamed.
            with contextlib.suppress(OSError):
                files.write_lock(fd, wrote)
            # Both times are the file system's: no clock of a host comes in.
            silent = max(os.fstat(fd).st_mtime_ns - before, 0) / 1e9
        except BaseException:
            _close(fd)
            raise
        return StageLock(fd, works=taken is True, wrote=wrote, former=former, silent=silent, before=before)

    @staticmethod
    def beside(path: str, owner: Mapping[str, Any]) -> StageLock | Held:
        """Show signs of life in a lock file that another host holds, and hold it from the first one after that ended.

        Until then nothing there tells the processes of this host that the owner lives: this does a lock on a file of
        the host's own. Held where that one is held. Raises OSError where a file cannot be opened.
        """
        own = StageLock.acquire(of_host(path), owner)
        if isinstance(own, Held):
            return own
        try:
            return StageLock(_open(path), works=False, wrote=json.dumps(dict(owner)).encode(), own=own)
        except BaseException:
            own.release()
            raise

    def touch(self) -> None:
        """Show a sign of life: set the lock file's times to now. Raises OSError."""
        if os.getpid() != self._pid:
            return
        with self._using:
            if self._fd < 0:
                return
            os.utime(self._fd)
            if not self.works and _take(self._fd):
                self.works = True
                files.write_lock(self._fd, self._wrote)

    def release(self) -> None:
        """Give the lock back, its file empty unless another owner stands in it; once more does nothing."""
        if os.getpid() != self._pid:
            return
        with self._using:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            # Empty before it is free: whoever takes it next must not be shown as us for a moment.
            with contextlib.suppress(OSError):
                if self.works:
                    files.write_lock(fd, b"")
                elif os.pread(fd, _OWNER_BYTES, 0) == self._wrote:
                    self._put_back(fd)
            _give_back(fd)
            if self._own is not None:
                self._own.release()

    def _put_back(self, fd: int) -> None:
        """Leave the file as it was found, where there are no locks: whom we began beside may run on, and is not silent.

        Else the next one would begin beside him without a warning.
        """
        if self.former is None or self.silent > TRUSTED:
            files.write_lock(fd, b"")
            return
        files.write_lock(fd, json.dumps(self.former).encode())
        os.utime(fd, ns=(self._before, self._before))


def held(path: str) -> bool | None:
    """Tell whether somebody holds the lock file `path`, without taking it; None where that cannot be known.

    This process's own locks count. A lock on another host is seen only where the file system carries it.
    """
    if _OFD_GETLK is None:
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        answer = fcntl.fcntl(fd, _OFD_GETLK, _flock(fcntl.F_WRLCK))
    except OSError:
        return None
    finally:
        os.close(fd)
    return int.from_bytes(answer[:_TYPE_BYTES], sys.byteorder) != fcntl.F_UNLCK


def is_kept(path: str) -> bool:
    """Whether the last owner of the lock file `path` has not released it: it runs, or died without doing so."""
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def of_host(path: str) -> str:
    """The lock file of an attempt of this host that began beside another host's, which held the lock file `path`."""
    return f"{path}.{host.name()}"


def held_here(path: str) -> Held | Literal[False] | None:
    """Who of this host has the stage with the lock file `path`: its holder, or who runs beside another host's.

    False where nobody has, or only to write the end of a dead attempt; None where that cannot be known. Asks as `held`
    does.
    """
    found = held(path)
    if found is None:
        return None
    owner = (read_owner(path) if found else None) or {}
    if found and ENDING not in owner and owner.get("host", host.name()) == host.name():
        return Held(owner)
    return Held(read_owner(of_host(path))) if held(of_host(path)) else False


def read_owner(path: str) -> dict[str, Any] | None:
    """Return what the holder of the lock file `path` wrote, or its last one; None where there is nothing to be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _owner(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def job_lock(path: str, timeout: float = 5.0) -> Iterator[bool]:
    """Hold the lock file `path` alone among threads and processes; yields False where it could not be had.

    Waits up to `timeout` seconds; a file system without locks is answered at once. Raises OSError where the file cannot
    be opened.
    """
    pid = os.getpid()
    fd = _open(path)
    try:
        yield _wait(fd, timeout)
    finally:
        # A child forked meanwhile has closed its copy, and the number may be another file there.
        if os.getpid() == pid:
            _give_back(fd)


def _wait(fd: int, timeout: float) -> bool:
    until = time.monotonic() + timeout
    while True:
        taken = _take(fd)
        if taken is not False or time.monotonic() >= until:
            return taken is True
        # At random, or processes that were refused together are refused together again.
        time.sleep(_POLL + _JITTER * os.urandom(1)[0] / 255)


def _flock(kind: int) -> bytes:
    return kind.to_bytes(_TYPE_BYTES, sys.byteorder).ljust(_FLOCK_BYTES, b"\0")


def _open(path: str) -> int:
    fd = files.open_lock(path)
    _ours.add(fd)
    return fd


def _take(fd: int) -> bool | None:
    """Lock the file without waiting: True; False, somebody has it; None, there are no locks here.

    ENOLCK and ENOSYS say that, and whatever else a mount answers whose lock server is away: EIO, ESTALE, 524.
    """
    try:
        if _OFD_SETLK is None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            fcntl.fcntl(fd, _OFD_SETLK, _flock(fcntl.F_WRLCK))
    except OSError as why:
        return False if why.errno in _TAKEN else None
    return True


def _give_back(fd: int) -> None:
    # Said aloud and not left to the closing: a child that C code forked may have the file open still.
    with contextlib.suppress(OSError):
        if _OFD_SETLK is None:
            fcntl.flock(fd, fcntl.LOCK_UN)
        else:
            fcntl.fcntl(fd, _OFD_SETLK, _flock(fcntl.F_UNLCK))
    _close(fd)


def _close(fd: int) -> None:
    _ours.discard(fd)
    os.close(fd)


def _patience(holder: dict[str, Any] | None) -> float:
    if holder is None:  # it is being taken, or given back
        return _MOMENT
    return _END if ENDING in holder else 0.0


def _owner(fd: int) -> dict[str, Any] | None:
    try:
        owner = json.loads(os.pread(fd, _OWNER_BYTES, 0))
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None
