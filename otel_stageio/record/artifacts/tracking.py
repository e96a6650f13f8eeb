"""Inputs, outputs and intermediate files of a stage: on record when the call returns, judged once more at the end."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.errors import SettingError, quoted
from otel_stageio.record.artifacts import description
from otel_stageio.record.artifacts.digests import Digest
from otel_stageio.record.artifacts.small_files import SmallFiles, Told
from otel_stageio.record.exceptions import said
from otel_stageio.record.paths import written_beside
from otel_stageio.record.values import clean_text, plain
from otel_stageio.views.artifacts import EVENT_OF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeGuard

    from otel_stageio.model import Value
    from otel_stageio.record.artifacts.description import Described
    from otel_stageio.record.artifacts.hashing import Hasher

    AnyPath = str | os.PathLike[str]

_numbers = itertools.count(1)
_NOT_WAITED = "the stage ended before it was computed"


class StageTracking(SmallFiles):
    """Tracking. All methods may be called from any thread; what is found on disk never makes them raise."""

    _hasher: Hasher
    #: The digests of large files that were made here, by what the files are known by when they are seen again.
    _digests: dict[str, str]

    def track_input(self, path: AnyPath, type: str | None = None, /, **metadata: Any) -> None:  # noqa: A002 - the card's word
        """Record a file, folder or remote address that the stage reads.

        `type` says what it is (``audio``, ``transcript``), as second argument or, where there is none, by keyword;
        default ``file``. `metadata` of any shape goes into the manifest's entry. ``checksum=`` is ours where it is
        ``auto``, ``sha256``, ``stat``, ``off`` or ``sha256:<hex>``. A missing input is recorded as missing, with a
        warning that lists where `get_input_path` looked. The same path again updates its entry.
        """
        if self._quickly and self._take("input", path, type, metadata):
            return
        described = self._track("input", path, type, metadata)
        if described is not None and described.kind == "missing":
            looked = self._searched.get(described.path, ())
            places = "".join(f"\n  looked at {place}" for place in looked)
            shown = str(described.attributes[names.FILE_PATH])
            self._find(clean_text(f"input {shown} is missing{places}"))

    def track_output(self, path: AnyPath, type: str | None = None, /, **metadata: Any) -> None:  # noqa: A002 - the card's word
        """Record a file, folder or remote address that the stage makes; arguments as for `track_input`.

        It may be written after the call: at finalize it is looked at again, read anew where it changed, and recorded
        as missing, with a warning, where it is not there.
        """
        if not self._quickly or not self._take("output", path, type, metadata):
            self._track("output", path, type, metadata)

    def track_intermediate(
        self,
        path: AnyPath,
        /,
        retained: bool = False,
        reason: str = "",
        type: str = "intermediate",  # noqa: A002 - the card's word
        **metadata: Any,
    ) -> None:
        """Record a file or folder that is neither: a cache, a temporary file. `retained` says whether it is kept."""
        keeps, why = bool(plain(retained)), said(reason)
        if not self._quickly or not self._take("intermediate", path, type, metadata, keeps, why):
            about: dict[str, Value] = {names.ARTIFACT_RETAINED: keeps, names.ARTIFACT_REASON: why}
            self._track("intermediate", path, type, metadata, about)

    def track_inputs(
        self,
        paths: AnyPath | Iterable[AnyPath],
        type: str | None = None,  # noqa: A002 - the card's word
        /,
        **metadata: Any,
    ) -> list[Any]:
        """Track several inputs: paths, or a glob pattern (``**`` goes down) relative to the working directory.

        Gives the paths back: those given as they were given, those that match a pattern as sorted Paths. A pattern
        that matches nothing is a warning; a path without ``*``, ``?`` and ``[`` and an address stand for themselves.
        """
        found: list[Any] = list(paths) if _are_several(paths) else self._matches(paths)
        for path in found:
            self.track_input(path, type, **metadata)
        return found

    def _matches(self, pattern: object) -> list[Any]:
        text = description.path_text(pattern)
        if description.is_remote(text):
            return [pattern]
        import glob

        if not glob.has_magic(text) or os.path.lexists(text):
            return [Path(text)]
        matches = [] if "\0" in text else sorted(glob.glob(text, recursive=True))
        if not matches and self._tracks:
            self._find(clean_text(f"no input matches {text}"))
        return [Path(match) for match in matches]

    @contextlib.contextmanager
    def open_output(
        self,
        filename: AnyPath,
        mode: str = "w",
        *,
        type: str = "file",  # noqa: A002 - the card's word
        **metadata: Any,
    ) -> Iterator[IO[Any]]:
        """Write an output file that is there whole or not at all, and track it.

        `mode` is ``"w"`` (UTF-8 text) or ``"wb"``. The file is written beside its place and renamed when the block
        ends; where the block raises, nothing of it stays and nothing is tracked. Raises OutputPathError as
        `get_output_path`, SettingError for another mode.
        """
        if str(plain(mode)) not in ("w", "wt", "wb"):
            raise SettingError(f"open_output writes whole files: mode must be 'w' or 'wb', not {quoted(mode)}")
        path = self.get_output_path(filename)
        with written_beside(path, mode) as file:
            yield file
        self.track_output(path, type, **metadata)

    def _track(
        self,
        role: str,
        path: object,
        kind: str | None,
        metadata: dict[str, Any],
        about: dict[str, Value] | None = None,
    ) -> Described | None:
        if not self._tracks:
            return None
        with self._troubled(f"cannot track an {role}"):
            if kind is None:
                kind = metadata.pop("type", None)
            kind = "file" if kind is None else kind
            policy = self._settings.checksum
            if description.is_policy(metadata.get("checksum")):
                policy = metadata.pop("checksum")
            given: dict[str, Value] = {names.ARTIFACT_ROLE: role, names.ARTIFACT_TYPE: said(kind)}
            given.update(about or {})
            given.update({names.ARTIFACT_METADATA + clean_text(key): plain(of) for key, of in metadata.items()})
            return self._record(role, path, policy, given)
        return None

    def _record(
        self, role: str, path: object, policy: str, given: dict[str, Value], *, judging: bool = False
    ) -> Described:
        described = description.describe(
            path, job=self._job_paths, policy=policy, address=self._recorder.redactor.address
        )
        shown = str(described.attributes[names.FILE_PATH])
        known = self._known_checksum(described.file_id, shown) if described.file_id else None
        if known is not None:
            described = described.known(known)
        # From here on an earlier digest of this path is out of date.
        self._awaited.pop((role, shown), None)
        made_by = self._made_by(shown, described.attributes) if role == "input" else {}
        self._recorder.event(EVENT_OF[role], {**described.attributes, **made_by, **given}, call=f"track_{role}")
        if role == "output" and described.kind != "remote":
            self._outputs[shown] = described.print, Told(described.path, policy, given, whole=True), ""
        if described.later is not None:
            number = next(_numbers)
            self._awaited[role, shown] = number, role == "input" and not made_by
            self._digest_later(f"{role}\0{number}\0{shown}", described, judging=judging)
        return described

    def _known_checksum(self, file_id: str, path: str) -> str | None:
        """The digest of a large file that was read before and has not changed since, where the job knows of it."""
        if file_id in self._digests:
            return self._digests[file_id]
        if self._opened.job is not None:
            with self._troubled("cannot find out whether a file was read before"):
                return (self._lineage or self._look_at_job()).checksum(file_id, path)
        return None

    def _digest_later(self, key: str, described: Described, *, judging: bool) -> None:
        if self._recorder.finished or not self._recorder.owned:  # nobody will come back to it
            self._digested(key, described.later() if described.later else Digest(method="off"))
        elif described.later and (judging or described.kind != "folder" or not key.startswith("output")):
            # A folder that is being written would be read in vain: an output folder's turn comes at the end.
            self._hasher.submit(key, described.later, described.size)

    def _digested(self, key: str, digest: Digest) -> None:
        """Record a digest that was made after its call; called by the hashing thread."""
        made = description.digest_attributes(digest)
        if digest.file_id and digest.value is not None:
            self._digests[digest.file_id] = digest.value
        if digest.files is not None:
            made[names.ARTIFACT_FILES] = digest.files
        if digest.size is not None and digest.value is not None:
            made[names.FILE_SIZE] = digest.size
        self._settle(key, made)

    def _settle(self, key: str, made: dict[str, Value]) -> None:
        """Record what became of a digest, unless a later call for this path made it out of date."""
        role, number, path = key.split("\0", 2)
        awaited, telling = self._awaited.get((role, path), (0, False))
        if awaited != int(number):
            return
        self._awaited.pop((role, path), None)
        with self._troubled("cannot record a digest"):
            about: dict[str, Value] = {names.ARTIFACT_ROLE: role, names.FILE_PATH: path}
            # By the content alone: who tracked the path since the call did not make what was read.
            made_by = self._made_by(None, made) if telling else {}
            self._recorder.event(names.DIGEST, {**about, **made, **made_by}, call="digest")

    def _made_by(self, path: str | None, of: Mapping[str, Any]) -> dict[str, Value]:
        """What names the attempt that made an input of these attributes; nothing where no other stage's did."""
        if self._opened.job is not None:
            with self._troubled("cannot find out which stage made an input"):
                lineage = self._lineage or self._look_at_job()
                found = lineage.producer(path, of.get(names.ARTIFACT_CHECKSUM), of.get(names.FILE_SIZE))
                return found.attributes() if found is not None else {}
        return {}

    def _judge_outputs(self) -> None:
        """Look at every output again: a changed one is recorded anew, a vanished one as missing."""
        for shown, (before, told, words) in list(self._outputs.items()):
            with self._troubled("cannot judge an output"):
                path = told.path(shown)
                now, is_folder = _look_at(path)
                if now is None or now != before or is_folder:
                    if now is not None or before is not None:
                        self._record("output", path, told.policy, told.said(words), judging=True)
                    if now is None:
                        was = "is gone" if before is not None else "never made"
                        self._find(f"{shown} was tracked as an output and {was}")

    def _settle_digests(self, *, wait: float, progress: Callable[[int, int, float], None] | None) -> None:
        """Let the digests that are under way be made, for at most `wait` seconds; the rest is recorded as not made."""
        late = self._hasher.wait(wait, progress=progress) if wait > 0 else []
        for key in dict.fromkeys([*late, *self._hasher.abandon()]):
            self._settle(key, {names.ARTIFACT_CHECKSUM_PROBLEM: _NOT_WAITED})


def _are_several(paths: object) -> TypeGuard[Iterable[Any]]:
    return hasattr(type(paths), "__iter__") and not isinstance(paths, (str, bytes, os.PathLike))


def _look_at(path: str) -> tuple[bytes | None, bool]:
    """A path's print, None where it is not there, and whether it is a folder."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None, False
    return description.print_of(found), stat.S_ISDIR(found.st_mode)
