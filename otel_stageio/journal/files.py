"""Every write into a job folder but the appending of lines: replacing files, claiming names, opening locks.

Nothing else but `appending` opens a job file for writing, so what a crash can do to a job folder is decided in these
two: an appended line is there whole or torn at its end, a replaced file is the old or the new one, and a claimed name
belongs to exactly one process. What is read there is opened by `regular`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EACCES})


def opened(path: str, flags: int) -> int:
    """Open a file of ours: a descriptor above 2, closed in programs started from here. Raises OSError.

    A link is not followed: whoever planted it would choose the file that we write to.
    """
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as why:
        if os.path.islink(path):
            raise OSError(why.errno, "it is a link, which is not followed: remove it", path) from None
        raise
    if fd > 2:  # noqa: PLR2004 - stdin, stdout and stderr: a program started without them would print into our file
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def regular(path: str, flags: int) -> int:
    """Open a file of ours for reading: the `opener` of `open`. What is no file is as one that is not there.

    A pipe that somebody planted would never end. Raises FileNotFoundError, OSError.
    """
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    if kind in (stat.S_IFREG, stat.S_IFDIR):  # `open` itself says what is wrong with a folder
        return fd
    os.close(fd)
    raise FileNotFoundError(errno.ENOENT, "it is no file", path)


def small(path: str, most: int = 1 << 20) -> bytes:
    """What is in a file of ours that is never large. Raises ValueError where this one is, OSError as `open`."""
    with open(path, "rb", opener=regular) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path} has more than {most:,} bytes")
    return data


def _beside(path: str) -> str:
    """A name in the same folder that no other process, host or container comes upon."""
    return os.path.join(os.path.dirname(path), f".{os.urandom(6).hex()}.tmp")


def _write_new(path: str, data: bytes, *, sync: bool = False, rights: int | None = None) -> None:
    """Make the file, which must not be there; where it cannot be written whole nothing of it stays."""
    fd = opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        if rights is not None:
            with contextlib.suppress(OSError):
                os.fchmod(fd, rights)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if sync:
            os.fsync(fd)
    except BaseException:
        _discard(path)
        raise
    finally:
        os.close(fd)


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _rights(path: str) -> int | None:
    """The rights that a file gives to what takes its place: a user's own file alone, or others could widen them."""
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
            return stat.S_IMODE(found.st_mode)
    return None


def replace(path: str, data: bytes, *, sync: bool = False) -> None:
    """Make `data` the content of `path`; a reader, and a crash, sees the old content or the new, never a mixture.

    With `sync` the content is on the disk before the name is. A file of this user's that stands there hands its rights
    on; a link is replaced itself. Raises OSError; what was there then stands.
    """
    beside = _beside(path)
    _write_new(beside, data, sync=sync, rights=_rights(path))
    try:
        os.replace(beside, path)
    except BaseException:
        _discard(beside)
        raise


def replace_by(path: str, chunks: Iterable[bytes]) -> None:
    """The same for content that comes in pieces and is not held in memory; what they raise leaves the old content."""
    beside = _beside(path)
    fd = opened(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(fd, "wb") as file:
            file.writelines(chunks)
        os.replace(beside, path)
    except BaseException:
        _discard(beside)
        raise


def remove(path: str) -> None:
    """Remove the file `path`; one that is not there is fine. Raises OSError where it cannot be removed."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def make_folders(path: str) -> None:
    """Make the folder and its parents; one that is there already is fine, and so is none (a bare name's parent)."""
    os.makedirs(path or os.curdir, exist_ok=True)


def claim_folder(path: str) -> bool:
    """Make the folder `path` (and its parents); False where somebody made it before."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return False
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
        return claim_folder(path)
    return True


def claim_filled_folder(path: str, files: Mapping[str, bytes]) -> bool:
    """Let the folder `path` appear with `files` in it, or not at all; False where somebody's is there.

    A rename onto a folder that holds something fails on every POSIX file system, so nobody ever reads a half-made one.
    """
    beside = _beside(path)
    make_folders(beside)
    try:
        for name, data in files.items():
            _write_new(os.path.join(beside, name), data)
        try:
            os.rename(beside, path)
        except OSError as why:
            if why.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True
    finally:
        if os.path.isdir(beside):
            for name in files:
                _discard(os.path.join(beside, name))
            with contextlib.suppress(OSError):
                os.rmdir(beside)


def claim_file(path: str, data: bytes) -> bool:
    """Let the file `path` appear with `data` in it, or not at all; False where one is there. Parents are made."""
    make_folders(os.path.dirname(path))
    beside = _beside(path)
    _write_new(beside, data)
    try:
        os.link(beside, path)
    except FileExistsError:
        # Over NFS the answer to a link that was made may be lost, and the one to its repetition is this.
        return os.stat(beside).st_nlink > 1
    except OSError as why:
        if why.errno not in _NO_LINKS:
            raise
        # No hard links here: exclusive creation claims just as well, only its content comes a moment later.
        try:
            _write_new(path, data)
        except FileExistsError:
            return False
    finally:
        _discard(beside)
    return True


def open_lock(path: str) -> int:
    """Open (and make) a lock file."""
    return opened(path, os.O_RDWR | os.O_CREAT)


def is_same_folder(one: str, other: str) -> bool:
    """Whether two paths lead to one folder, however it is mounted: what is made in the one is there in the other.

    Raises OSError where nothing can be made.
    """
    path = _beside(os.path.join(one, ""))
    _write_new(path, b"")
    try:
        return os.path.lexists(os.path.join(other, os.path.basename(path)))
    finally:
        _discard(path)


def time_there(folder: str) -> int:
    """What time it is in nanoseconds by whatever clock gives the files in `folder` their times: mostly not ours.

    Asked of a file without a name, so that nothing in the folder changes; where there are none (NFS) of one that is
    there for a moment. Raises OSError where neither can be made.
    """
    flags = os.O_WRONLY | os.O_CLOEXEC
    path = ""
    try:
        fd = os.open(folder, flags | os.O_TMPFILE, 0o600)
    except (OSError, AttributeError):
        path = _beside(os.path.join(folder, ""))
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.utime(fd)  # just as a heartbeat does
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)
        if path:
            _discard(path)


def write_lock(fd: int, data: bytes) -> None:
    """Make `data` the content of the lock file that this process holds."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)


def sync_folder(path: str) -> None:
    """Have the kernel put the names in a folder onto the disk; a file system that cannot is fine."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)
