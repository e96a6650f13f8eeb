"""What can be said of a path the moment it is tracked: the attributes of its event, and the work that is left."""

import functools
import os
import re
import stat
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.errors import attempt
from otel_stageio.job import layout
from otel_stageio.model import Value
from otel_stageio.record.artifacts import digests
from otel_stageio.record.artifacts.digests import Digest
from otel_stageio.record.exceptions import said
from otel_stageio.record.values import clean_text
from otel_stageio.views.moments import rfc3339

#: Up to here a file is hashed in the call.
SMALL_FILE: Final = 1 << 20
#: Up to here a folder is: so many entries, so many bytes.
SMALL_FOLDER: Final = 1000
#: What "auto" hashes in full: a file of so many bytes, a folder of so many files. Beyond, it takes a stat print.
AUTO_BYTES: Final = 10 << 30
AUTO_FILES: Final = 100_000

#: The values that ``checksum=`` takes; any other is the user's metadata.
POLICIES: Final = ("auto", "sha256", "stat", "off")
_GIVEN: Final = r"(?i)sha256:[0-9a-f]{64}"
_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]*"
#: Also in the chains of fsspec: ``simplecache::s3://bucket/file``.
_REMOTE: Final = rf"(?:{_SCHEME}::)*{_SCHEME}://"
_KINDS: Final = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}

_WORD: Final = (1 << 64) - 1


class Described(NamedTuple):
    """A path as it is now. `print` is what a change would change; `later` is the digest that is still to be made.

    `file_id` is by what that digest may be known already, "" where it cannot be.
    """

    attributes: dict[str, Value]
    path: str
    kind: str
    print: bytes | None = None
    later: Callable[[], Digest] | None = None
    size: int = 0
    file_id: str = ""

    def known(self, checksum: str) -> "Described":
        """The same with the digest that the file had when it was read before."""
        digest = digest_attributes(Digest(method="sha256", value=checksum, file_id=self.file_id))
        attributes = {**self.attributes, **digest, names.ARTIFACT_CHECKSUM_REUSED: True}
        del attributes[names.ARTIFACT_CHECKSUM_PROBLEM]
        return self._replace(attributes=attributes, later=None)


class JobPaths(NamedTuple):
    """Turns paths into what the manifest says: inside the job relative to it, others absolute."""

    roots: tuple[str, ...]

    @classmethod
    def of(cls, root: str) -> "JobPaths":
        """Know the job folder by the name it was given and by its real one."""
        absolute = layout.absolute(root)
        return cls(tuple({absolute: None, layout.real(absolute): None}))

    def shown(self, absolute: str) -> str:
        """An absolute path as the manifest shows it; the job folder itself is ``.``."""
        for root in self.roots:
            if absolute.startswith(root):
                if len(absolute) == len(root):
                    return "."
                if absolute[len(root)] == os.sep or root == os.sep:
                    return absolute[len(root) :].lstrip(os.sep)
        return absolute


def is_policy(value: object) -> bool:
    """Whether a ``checksum=`` keyword is meant for us."""
    return isinstance(value, str) and (value in POLICIES or re.fullmatch(_GIVEN, value) is not None)


def print_of(found: os.stat_result) -> bytes:
    """What changes when a file does; packed, since a stage keeps it of every output."""
    return _packing()(found.st_ino, found.st_size, found.st_mtime_ns & _WORD, found.st_ctime_ns & _WORD)


@functools.cache
def _packing() -> Callable[..., bytes]:
    import struct  # a library of its own to load, which a stage that tracks nothing does without

    return struct.Struct("=4Q").pack


def describe(path: object, *, job: JobPaths, policy: str, address: Callable[[str], str]) -> Described:
    """Describe a file, a folder, a missing path or a remote address. Never raises for what is found on disk.

    `path` is text, bytes or a path object; `policy` one of `POLICIES` or ``sha256:<hex>``; `address` takes the secrets
    out of a remote address.
    """
    text = path_text(path)
    if is_remote(text):
        return _remote(address(text), policy)
    absolute = layout.absolute(text)
    shown = job.shown(absolute)
    attributes: dict[str, Value] = {names.FILE_PATH: clean_text(shown)}
    if attributes[names.FILE_PATH] != shown:
        as_bytes = attempt(lambda: os.fsencode(shown), lambda _: None)  # no file can be named so
        if as_bytes is not None:
            attributes[names.ARTIFACT_PATH_BYTES] = as_bytes
    try:
        found = os.stat(absolute)
    except (OSError, ValueError) as why:
        attributes[names.ARTIFACT_KIND] = "missing"
        if not isinstance(why, FileNotFoundError):
            attributes[names.ARTIFACT_CHECKSUM_PROBLEM] = clean_text(f"{type(why).__name__}: {why}")
        return Described(attributes=attributes, path=absolute, kind="missing")
    modified = attempt(lambda: rfc3339(found.st_mtime_ns), lambda _: "")
    if modified:  # file systems know times that no calendar does
        attributes[names.FILE_MODIFIED] = modified
    state = print_of(found)
    if stat.S_ISREG(found.st_mode):
        return _file(attributes, absolute, found, policy)
    if stat.S_ISDIR(found.st_mode):
        return _folder(attributes, absolute, state, policy)
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "other")
    attributes[names.ARTIFACT_KIND] = kind
    attributes[names.ARTIFACT_CHECKSUM_PROBLEM] = f"is a {kind}"
    return Described(attributes=attributes, path=absolute, kind=kind, print=state)


def is_remote(text: str) -> bool:
    """Whether a path is an address, ``scheme://...``."""
    return "://" in text and re.match(_REMOTE, text) is not None


def path_text(path: object) -> str:
    """A path as text; a UPath and its kin give their address. Never raises."""
    if type(path) is str:
        return path
    if isinstance(path, str):
        return str.__str__(path)
    if isinstance(path, bytes):
        return os.fsdecode(path)
    address = attempt(lambda: str.__str__(str(path)), lambda _: "")
    # Asked for its address first: to some classes __fspath__ means to fetch the file.
    if is_remote(address) or not isinstance(path, os.PathLike):
        return address or said(path)
    return attempt(lambda: os.fsdecode(os.fspath(path)), lambda _: address or said(path))


def _remote(address: str, policy: str) -> Described:
    attributes: dict[str, Value] = {names.FILE_PATH: clean_text(address), names.ARTIFACT_KIND: "remote"}
    if re.fullmatch(_GIVEN, policy):
        attributes.update(digest_attributes(Digest(method="given", value=policy.lower())))
    return Described(attributes=attributes, path=address, kind="remote")


def _file(attributes: dict[str, Value], path: str, found: os.stat_result, policy: str) -> Described:
    size = found.st_size
    attributes[names.ARTIFACT_KIND] = "file"
    attributes[names.FILE_SIZE] = size
    if policy == "auto":
        policy = "sha256" if size <= AUTO_BYTES else "stat"
    later, file_id = None, ""
    if policy == "sha256" and size > SMALL_FILE:
        attributes.update(_pending("sha256"))
        later = _work(digests.hash_file, path)
        file_id = digests.file_id(found, time.time_ns())
    else:
        digest = _digest_now(path, policy)
        attributes.update(digest_attributes(digest))
        if digest.value is not None and digest.size is not None:  # it may have grown since it was looked at
            attributes[names.FILE_SIZE] = digest.size
    state = print_of(found)
    return Described(
        attributes=attributes, path=path, kind="file", print=state, later=later, size=size, file_id=file_id
    )


def _digest_now(path: str, policy: str) -> Digest:
    if policy == "sha256":
        return digests.hash_file(path)
    if policy == "stat":
        return digests.print_stat(path)
    if policy == "off":
        return Digest(method="off")
    return Digest(method="given", value=policy.lower())


def _folder(attributes: dict[str, Value], path: str, state: bytes, policy: str) -> Described:
    attributes[names.ARTIFACT_KIND] = "folder"
    measured = digests.measure_tree(path, limit=SMALL_FOLDER)
    if measured is not None:
        attributes[names.ARTIFACT_FILES], attributes[names.FILE_SIZE] = measured
    later = None
    small = measured is not None and measured[1] <= SMALL_FILE
    if policy in ("auto", "sha256", "stat") and not small:
        attributes.update(_pending("stat" if policy == "stat" else "sha256-tree"))
        later = _work(_tree_digest, path, policy)
    elif policy in ("auto", "sha256"):
        attributes.update(digest_attributes(digests.hash_tree(path)))
    else:
        attributes.update(digest_attributes(_digest_now(path, policy)))
    size = measured[1] if measured else 0
    return Described(attributes=attributes, path=path, kind="folder", print=state, later=later, size=size)


def _tree_digest(path: str, policy: str) -> Digest:
    if policy == "auto":
        policy = "sha256" if digests.measure_tree(path, limit=AUTO_FILES) is not None else "stat"
    return digests.print_stat(path) if policy == "stat" else digests.hash_tree(path)


def _work(call: Callable[..., Digest], *arguments: str) -> Callable[[], Digest]:
    return lambda: call(*arguments)


def _pending(method: str) -> dict[str, Value]:
    return {names.ARTIFACT_CHECKSUM_METHOD: method, names.ARTIFACT_CHECKSUM_PROBLEM: "not computed yet"}


def digest_attributes(of: Digest) -> dict[str, Value]:
    """A digest as attributes: a stat print is never called a checksum."""
    made: dict[str, Value] = {names.ARTIFACT_CHECKSUM_METHOD: of.method}
    if of.value is not None:
        made[names.ARTIFACT_STAT_PRINT if of.method == "stat" else names.ARTIFACT_CHECKSUM] = of.value
    if of.file_id:
        made[names.ARTIFACT_FILE_ID] = of.file_id
    if of.problem:
        made[names.ARTIFACT_CHECKSUM_PROBLEM] = clean_text(of.problem)
    return made
