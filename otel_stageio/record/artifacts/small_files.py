"""The quick way of tracking: a small regular file, its event put together from parts that are encoded already.

A stage may track a hundred thousand of them. What is unusual in any way (a folder, a large file, one that is missing or
changes, a name that is not UTF-8, a secret, metadata under a key of ours) is left to the general way of `tracking`.
Both write the same, byte for byte.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.errors import guard
from otel_stageio.job import layout
from otel_stageio.journal import encode
from otel_stageio.record.artifacts import description, digests
from otel_stageio.record.paths import StagePaths
from otel_stageio.record.values import clean_text, plain
from otel_stageio.views.artifacts import EVENT_OF, RESERVED
from otel_stageio.views.entries import FileKind, heard, said
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from otel_stageio.job.lineage import Lineage
    from otel_stageio.job.outputs import Producer
    from otel_stageio.model import Value
    from otel_stageio.record.artifacts.description import JobPaths
    from otel_stageio.record.plain import Frame
    from otel_stageio.record.secrets.redaction import Redactor

_Path: Final = type(pathlib.Path())
#: Types of metadata, besides text, that stand on the span as they are.
_SCALARS: Final = (int, float, bool)
#: Characters of a text that the span shows whole, and of all encoded attributes together.
_LONGEST_TEXT: Final = 4096
_LONGEST: Final = 32 * 1024
#: So many manners of calls are remembered; a stage has a handful.
_MOST: Final = 1000


class Told(NamedTuple):
    """What the end of the stage needs to know of an output to judge it again; many small files share one."""

    #: What the path has before the part that is shown; the whole path where that is not its end.
    prefix: str
    policy: str
    #: The attributes that came with the call, to be said again with a new size and checksum; of a small file without
    #: the metadata, which is kept beside it.
    given: dict[str, Value]
    whole: bool = False

    def path(self, shown: str) -> str:
        """The path that is shown so."""
        return self.prefix if self.whole else self.prefix + shown

    def said(self, words: str) -> dict[str, Value]:
        """All that came with the call, `words` being the metadata beside it as text."""
        return {**self.given, **{names.ARTIFACT_METADATA + key: of for key, of in heard(words).items()}}


class _Manner:
    """What many calls have in common: everything but the file, who made it, and the metadata."""

    __slots__ = ("_known", "_told", "frame", "given", "role")

    def __init__(self, role: str, given: dict[str, Value], frame: Frame) -> None:
        self.role = role
        self.given = given
        self.frame = frame
        self._known: dict[Producer | None, tuple[str, FileKind]] = {}
        self._told: Told | None = None

    def made(self, by: Producer | None, redactor: Redactor) -> tuple[str, FileKind] | None:
        """What the events of files say that a stage made, or nobody known: as text, and as the fold takes it.

        None where there is a secret in it.
        """
        found = self._known.get(by)
        if found is None:
            attributes = {**(by.attributes() if by is not None else {}), **self.given}
            if redactor.attributes(attributes) is attributes:
                found = self._known[by] = (f",{encode.pairs(attributes)}", FileKind(self.role, attributes))
        return found

    def told(self, prefix: str, policy: str) -> Told:
        """What is kept of many calls."""
        told = self._told
        if told is None or told.prefix != prefix:
            told = self._told = Told(prefix, policy, self.given)
        return told


class SmallFiles(StagePaths):
    """Tracking of small files. All methods may be called from any thread and never raise."""

    _job_paths: JobPaths
    #: By path as it is shown: the file when it was tracked, None where it was not there, and what the call said.
    _outputs: dict[str, tuple[bytes | None, Told, str]]
    #: The digests that are to come, by role and path: the number of the latest call, whose digest alone counts, and
    #: whether it is still to tell who made the file.
    _awaited: dict[tuple[str, str], tuple[int, bool]]
    #: What the other stages of the job made; there from the first input on.
    _lineage: Lineage | None = None
    #: Tells whether there is a secret; the recorder's own counts those that it hides.
    _asked: Redactor | None = None
    #: Whether small files are hashed and on disk at all.
    _quickly: bool
    _manners: dict[tuple[str, object, tuple[Any, ...]], _Manner]

    def _take(self, role: str, path: object, kind: object, metadata: Mapping[str, Any], *about: Any) -> bool:
        """Track a small file; False where it is not that simple, or we have trouble, and the general way has to do it.

        `about` is what there is to say of an intermediate file: whether it is retained, and the reason.
        """
        with _nothing_lost:
            text = _absolute(path)
            if kind is None and not metadata:
                kind = "file"
            elif metadata or type(kind) is not str:
                kind, metadata = _call(kind, metadata)
            manner = self._manners.get((role, kind, about)) or self._manner(role, kind, about)
            if text and manner is not None:
                try:
                    found = digests.hash_small(text)
                    if found is not None:
                        return self._put(manner, text, *found, metadata)
                except (OSError, ValueError, OverflowError):  # also of a time that no calendar knows
                    return False
        return False

    def _put(
        self, manner: _Manner, text: str, file: os.stat_result, digest: bytes, metadata: Mapping[str, Value]
    ) -> bool:
        paths, role = self._job_paths, manner.role
        shown = paths.shown(text) if text.startswith(paths.roots) else text
        size, sha256, modified = file.st_size, digest.hex(), rfc3339(file.st_mtime_ns)
        checksum, redactor, by = f"sha256:{sha256}", self._asked or self._ask(), None
        # What the user's own patterns are of, nobody knows; ours are of no time and no digest.
        own = redactor.own and (redactor.text(modified) is not modified or redactor.text(checksum) is not checksum)
        if own or redactor.text(shown) is not shown or not _as_given(shown):
            return False
        if role == "input":
            by = (self._lineage or self._look_at_job()).producer(shown, checksum, size)
        made = manner.made(by, redactor)
        more = _encoded(metadata, redactor) if metadata else ("", "")
        if made is None or more is None:
            return False
        if self._awaited:  # from here on an earlier digest of this path is out of date
            self._awaited.pop((role, shown), None)
        entry = (shown, size, file.st_mtime_ns, digest, more[1], made[1], metadata)
        if not self._recorder.file_event(manner.frame, modified, sha256, made[0] + more[0], entry):
            return False
        if role == "output":
            told = manner.told(text[: len(text) - len(shown)], self._settings.checksum)
            self._outputs[shown] = description.print_of(file), told, more[1]
        return True

    def _ask(self) -> Redactor:
        self._asked = self._recorder.redactor.apart()
        return self._asked

    def _manner(self, role: str, kind: object, about: tuple[Any, ...]) -> _Manner | None:
        if type(kind) is not str:
            return None
        given: dict[str, Value] = {names.ARTIFACT_ROLE: role, names.ARTIFACT_TYPE: kind}
        given.update(zip((names.ARTIFACT_RETAINED, names.ARTIFACT_REASON), about, strict=False))
        if not all(map(_is_simple, given.items())):
            return None
        if len(self._manners) >= _MOST:
            self._manners.clear()
        frame = self._recorder.plain_frame(EVENT_OF[role])
        made = self._manners[role, kind, about] = _Manner(role, given, frame)
        return made

    def _look_at_job(self) -> Lineage:
        """What the other stages made, where the job is on disk."""
        from otel_stageio.job.lineage import Lineage

        opened = self._opened
        self._lineage = Lineage(opened.job or opened.layout.job, opened.layout, before=opened.attempt)
        return self._lineage


#: The general way comes after it, does the same and tells of its own trouble.
_nothing_lost = guard(lambda _: None)


def _encoded(metadata: Mapping[str, Value], redactor: Redactor) -> tuple[str, str] | None:
    """Metadata as it goes on in the line and in the entry; None where it is too long or there is a secret in it."""
    attributes = {names.ARTIFACT_METADATA + key: of for key, of in metadata.items()}
    pairs = f",{encode.pairs(attributes)}"
    if len(pairs) > _LONGEST or redactor.attributes(attributes) is not attributes:
        return None
    return pairs, said(metadata)


def _as_given(text: str) -> bool:
    """Whether a text is one that UTF-8 can hold; else the general way has to see to it."""
    return clean_text(text) == text


def _is_simple(pair: tuple[str, Any]) -> bool:
    """Whether metadata is written as it is given, and stands on the span and in the manifest as it is."""
    key, of = pair
    if key in RESERVED or not _as_given(key):
        return False
    if type(of) is str:
        return len(of) <= _LONGEST_TEXT and _as_given(of)
    return type(of) in _SCALARS and plain(of) is of


def _absolute(path: object) -> str:
    """A path as it is looked up now; "" where it is of an odd type, or an address."""
    if type(path) is str:
        text = path
    elif type(path) is _Path:
        text = str(path)
    else:
        return ""
    if text[:1] != "/" or "//" in text or "/." in text:
        return "" if description.is_remote(text) else layout.absolute(text)
    return text


def _call(kind: object, metadata: Mapping[str, Any]) -> tuple[object, Mapping[str, Value]]:
    """The type and the metadata of a call; no type where the general way has to look at them."""
    if kind is None:
        kind = "file" if metadata.get("type") is None else metadata["type"]
        metadata = {key: of for key, of in metadata.items() if key != "type"}
    simple = type(kind) is str and all(map(_is_simple, metadata.items()))
    return kind if simple else None, metadata
