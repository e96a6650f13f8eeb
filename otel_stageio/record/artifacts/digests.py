"""What a file or folder held when it was read: sha256 of its content, or a print of its sizes and times.

None of these raises for what it meets on disk: where there is no digest, `Digest.problem` says why. They open nothing
but regular files, so that a FIFO, a socket or a device is never waited for, drained or set off.
"""

from __future__ import annotations

import functools
import io
import os
import stat
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio.record.values import clean_text

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Callable, Iterator

#: Files up to this size are read at once; larger ones in pieces. Small pieces starve behind the GIL in a busy process.
_SMALL = 1 << 20
_PIECE = 8 << 20
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
#: Nanoseconds after which a file's times are trusted to tell a change.
_SETTLED = 2_000_000_000
#: The part of a mode that says what it is.
_TYPE = stat.S_IFMT(0o777777)
#: Our own folder inside a stage's, which is never part of what the stage made.
_OWN = b".stageio"
_CHANGED = "changed while it was read"
_STOPPED = "stopped"
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}
_SAID = {"fifo": "a FIFO", "char": "a character device", "block": "a block device"}


class Digest(NamedTuple):
    """What is known of a content, and by which method.

    method   "sha256" (a file), "sha256-tree" (a folder, see `hash_tree`), "stat" (sizes and times, see `print_stat`),
             "given" (the caller's own), "off"
    value    "sha256:<hex>" or "stat:<hex>"; None where there is none
    size     bytes that were read, or of all files of a folder; None where nothing is known
    files    number of files of a folder; None for a file
    problem  why `value` is None, in words
    file_id  of a file of more than 1 MiB: what it is known by when it is seen again, see `file_id`; "" where its times
             were too young for that
    """

    method: str
    value: str | None = None
    size: int | None = None
    files: int | None = None
    problem: str = ""
    file_id: str = ""


class _Watch(threading.local):
    """Who wants to know how far this thread's reading got: called with the bytes of each piece, may raise to end it."""

    tick: Callable[[int], None] | None = None


watch = _Watch()


def hash_file(path: str, *, attempts: int = 2) -> Digest:
    """Return the sha256 of a regular file's content; symlinks are followed.

    The file's identity, size and times are compared before and after: one that changed while it was read is read anew,
    up to `attempts` times, and then has no value. Any thread may call this.
    """
    digest = _read(path, opened=False)
    while digest.problem == _CHANGED and (attempts := attempts - 1) > 0:
        digest = _read(path, opened=True)
    return digest


def file_id(found: os.stat_result, now: int) -> str:
    """What a change of a file would change: ``device:inode:size:mtime:ctime``, the times in nanoseconds.

    "" where one of them is not two seconds older than `now`: a file system that counts in whole seconds, or by another
    clock, may then let the file change once more without a sign.
    """
    if max(found.st_mtime_ns, found.st_ctime_ns) > now - _SETTLED:
        return ""
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def hash_small(path: str) -> tuple[os.stat_result, bytes] | None:
    """The sha256 of a file of up to 1 MiB and how it was found; None where `hash_file` has more to do.

    Raises OSError and ValueError. It is as short as it can be: this is the path of ten thousand files.
    """
    before = os.stat(path)
    size = before.st_size
    if size > _SMALL or before.st_mode & _TYPE != stat.S_IFREG:
        return None
    descriptor = os.open(path, _FLAGS)
    try:
        content = os.read(descriptor, size + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(content) != size or _differ(before, after):
        return None
    return before, sha256()(content).digest()


def _differ(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        after.st_mtime_ns != before.st_mtime_ns
        or after.st_ctime_ns != before.st_ctime_ns
        or after.st_size != before.st_size
        or after.st_ino != before.st_ino
        or after.st_dev != before.st_dev
    )


def _read(path: str | bytes, *, opened: bool) -> Digest:
    try:
        began = time.time_ns()
        # Asked before it is opened: opening a FIFO lets its writer go, opening a device may set it off.
        before = os.stat(path)
        if not stat.S_ISREG(before.st_mode):
            return Digest(method="sha256", problem=f"is {_kind_in_words(before.st_mode)}")
        descriptor = os.open(path, _FLAGS)
        try:
            if opened:  # file systems exist whose inode numbers differ from one look at the path to the next
                before = os.fstat(descriptor)
            size = before.st_size
            if size <= _SMALL:
                content = os.read(descriptor, size + 1)
                digest = sha256()(content)
                read = len(content)
                if watch.tick is not None:
                    watch.tick(read)
            else:
                digest, read = sha256()(), 0
            if read != size:  # large, or not as stat said: files of /proc have size 0
                read += _read_pieces(descriptor, digest, size)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        return Digest(method="sha256", problem=_in_words(error))
    if _differ(before, after):
        return Digest(method="sha256", size=read, problem=_CHANGED)
    known_by = file_id(before, began) if read > _SMALL else ""
    return Digest(method="sha256", value="sha256:" + digest.hexdigest(), size=read, file_id=known_by)


def _read_pieces(descriptor: int, digest: HASH, expected: int) -> int:
    """Feed the rest of an open file, of about `expected` bytes, to `digest` and return its number of bytes."""
    total = 0
    tick = watch.tick
    length = min(max(expected, 1 << 16), _PIECE)
    with io.FileIO(descriptor, closefd=False) as file, memoryview(bytearray(length)) as piece:
        while count := file.readinto(piece) or 0:
            digest.update(piece[:count])
            total += count
            if tick is not None:
                tick(count)
            if os.fstat(descriptor).st_size > expected:  # it has changed, and its writer may never end
                break
    return total


@functools.cache
def sha256() -> Callable[..., HASH]:
    """What makes a digest; the first call loads it."""
    import hashlib  # loads OpenSSL: some milliseconds that a stage without files need not spend

    return hashlib.sha256


def hash_tree(folder: str, *, stop: Callable[[], bool] | None = None) -> Digest:
    r"""Return one sha256 over the names and contents of a folder.

    It does not depend on times, owners, permissions, or the order in which the file system lists. It is the sha256 of
    these entries, joined without anything between them, in the byte order of their paths:

        file <sha256 of the content in lower-case hex> <path>\0
        folder <path>/\0
        link <path>\0<target>\0
        fifo <path>\0   (likewise: socket, char, block)

    Paths are relative to the folder, in the bytes that the file system has, parts joined by "/"; a folder's ends in
    "/" (also where it is sorted); \0 is a zero byte, which no name can hold. Symlinks are recorded, not followed,
    except `folder` itself. Folders named ".stageio" and all in them are left out. An empty tree is the sha256 of no
    bytes.

    The first file or folder that cannot be read leaves the digest without value and is named in `problem`; `files`
    (all but folders) and `size` (bytes of regular files) are then of what could be listed. `stop` is asked at each
    entry; once true, the result is a digest with the problem "stopped". Memory grows with the largest single folder,
    not with the tree. Any thread may call this.
    """

    def content(path: bytes, entry: os.DirEntry[bytes]) -> tuple[bytes, int, str]:
        found = _read(entry.path, opened=False)
        if found.problem == _CHANGED:
            found = _read(entry.path, opened=True)
        if found.value is None:
            return b"", entry.stat(follow_symlinks=False).st_size, found.problem
        return b"file %b %b\0" % (found.value.removeprefix("sha256:").encode(), path), found.size or 0, ""

    return _fold(folder, "sha256-tree", "sha256:", content, stop)


def print_stat(path: str) -> Digest:
    r"""Return a print of a file's or folder's sizes and modification times: equal where probably nothing changed.

    It is the sha256 of the entries of `hash_tree`, with ``file <size> <mtime in ns> <path>\0`` for files; for a single
    file it is that one entry with an empty path. No content is read. Not a checksum, and never to be called one.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        return Digest(method="stat", problem=_in_words(error))
    if stat.S_ISDIR(found.st_mode):
        return _fold(path, "stat", "stat:", _stat_entry, None)
    if not stat.S_ISREG(found.st_mode):
        return Digest(method="stat", problem=f"is {_kind_in_words(found.st_mode)}")
    entry = b"file %d %d \0" % (found.st_size, found.st_mtime_ns)
    return Digest(method="stat", value="stat:" + sha256()(entry).hexdigest(), size=found.st_size)


def _stat_entry(path: bytes, entry: os.DirEntry[bytes]) -> tuple[bytes, int, str]:
    found = entry.stat(follow_symlinks=False)
    return b"file %d %d %b\0" % (found.st_size, found.st_mtime_ns, path), found.st_size, ""


def measure_tree(folder: str, *, limit: int) -> tuple[int, int] | None:
    """Return the number of files (all but folders) and the bytes of regular files of a folder, as `hash_tree` counts.

    None when there are more than `limit` entries, folders included: then the walk ends at once. What cannot be listed
    counts nothing; `hash_tree` names it.
    """
    files = size = entries = 0
    pending: list[str | bytes] = [folder]
    while pending:
        try:
            with os.scandir(os.fsencode(pending.pop())) as listing:
                for entry in listing:
                    entries += 1
                    if entries > limit:
                        return None
                    if entry.is_dir(follow_symlinks=False):
                        if entry.name != _OWN:
                            pending.append(entry.path)
                        continue
                    files += 1
                    if entry.is_file(follow_symlinks=False):
                        size += entry.stat(follow_symlinks=False).st_size
        except (OSError, ValueError):
            continue
    return files, size


def _fold(
    folder: str,
    method: str,
    prefix: str,
    of_file: Callable[[bytes, os.DirEntry[bytes]], tuple[bytes, int, str]],
    stop: Callable[[], bool] | None,
) -> Digest:
    """Hash the entries of a folder; `of_file` gives a regular file's entry, its bytes and what is wrong with it."""
    digest = sha256()()
    files = size = 0
    problem = ""
    try:
        stack = _listing(os.fsencode(folder), b"")
    except (OSError, ValueError) as error:
        return Digest(method=method, problem=_in_words(error))
    while stack:
        where, kind, entry = stack.pop()
        if watch.tick is not None:
            watch.tick(0)
        if stop is not None and stop():
            return Digest(method=method, problem=_STOPPED)
        files += kind != "folder"
        trouble = ""
        try:
            if kind == "file":
                # After the first problem there will be no digest: what is left is only counted.
                line, count, trouble = (_stat_entry if problem else of_file)(where, entry)
                size += count
            elif kind == "folder":
                line = b"folder %b\0" % where
                stack += _listing(entry.path, where)
            elif kind == "link":
                line = b"link %b\0%b\0" % (where, os.readlink(entry.path))
            else:
                line = b"%b %b\0" % (kind.encode(), where)
            digest.update(line)
        except OSError as error:
            trouble = _in_words(error)
        if trouble and not problem:
            problem = f"{clean_text(os.fsdecode(where))}: {trouble}"
    value = None if problem else prefix + digest.hexdigest()
    return Digest(method=method, value=value, size=size, files=files, problem=problem)


def _listing(folder: bytes, prefix: bytes) -> list[tuple[bytes, str, os.DirEntry[bytes]]]:
    """Return a folder's entries as (path, kind, entry), the last path first, as a stack wants them."""
    with os.scandir(folder) as listing:
        return sorted(_named(listing, prefix), key=_path, reverse=True)


def _named(listing: Iterator[os.DirEntry[bytes]], prefix: bytes) -> Iterator[tuple[bytes, str, os.DirEntry[bytes]]]:
    for entry in listing:
        if entry.is_dir(follow_symlinks=False):
            if entry.name != _OWN:
                yield b"%b%b/" % (prefix, entry.name), "folder", entry
        elif entry.is_file(follow_symlinks=False):
            yield prefix + entry.name, "file", entry
        else:
            kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
            yield prefix + entry.name, _KINDS.get(kind, "other"), entry


def _path(entry: tuple[bytes, str, os.DirEntry[bytes]]) -> bytes:
    return entry[0]


def _kind_in_words(mode: int) -> str:
    kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
    return _SAID.get(kind, f"a {kind}" if kind in ("folder", "socket") else kind)


def _in_words(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission"
    if isinstance(error, FileNotFoundError):
        return "not found"
    if isinstance(error, NotADirectoryError):
        return "is not a folder"
    if isinstance(error, ValueError):  # a zero byte, or text that the file system's encoding does not have
        return "no possible file name"
    return getattr(error, "strerror", None) or clean_text(str(error))
