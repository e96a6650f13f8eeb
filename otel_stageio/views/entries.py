"""The artifacts of one role by their paths, small files packed: a manifest's entry as a dict takes a kilobyte.

Most of a hundred thousand artifacts are files of which nothing but a path, a size, a time and a digest differs. Such a
file is held as some fifty bytes beside its path and becomes an entry when it is asked for; any other artifact is held
as its entry. Which of the two is seen by nobody.
"""

from __future__ import annotations

import functools
import json
from json.encoder import encode_basestring as _text
from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names
from otel_stageio.journal.encode import base64_text
from otel_stageio.views import artifacts
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    import struct
    from collections.abc import Iterator, Mapping

    from otel_stageio.model import Value

    _Entry = dict[str, Value]
    #: A small file as its event has it: path, size, time of modification (ns since the epoch), sha256, metadata as the
    #: text that `said` makes of it, what it shares with others, and the metadata.
    SmallFile = tuple[str, int, int, bytes, str, "FileKind", Mapping[str, Value]]

#: Bytes of `_packing`; what the call said follows as text.
_HEAD: Final = 52
#: So many kinds are told apart; what is of another one is held as its entry.
_MOST_KINDS: Final = 10_000
#: What is before an entry's key in manifest.json, and before its end.
_KEY: Final = ",\n      "
_END: Final = "\n    "


class FileKind:
    """What many small files share: everything that their events and entries say but path, size, time and digest."""

    __slots__ = ("after", "attributes", "before", "event", "producer", "role", "shared", "type")

    def __init__(self, role: str, attributes: dict[str, Value]) -> None:
        """Take it from the attributes of an event, those beside path, size, time and digest."""
        made = artifacts.entry({names.FILE_PATH: "", names.ARTIFACT_CHECKSUM_METHOD: "sha256", **attributes})
        self.role = role
        self.event = artifacts.EVENT_OF[role]
        self.attributes = attributes
        #: Whether another stage made them.
        self.producer = names.PRODUCER_SPAN_ID in attributes
        self.type = made["type"]
        self.shared = {key: of for key, of in made.items() if key not in ("type", "path", "size_bytes", "checksum")}
        #: The text of an entry before its path, and that after its checksum.
        self.before = f'{{\n      "type": {_text(str(self.type))},\n      "path": '
        self.after = said(self.shared)


def attributes_of(file: SmallFile) -> dict[str, Value]:
    """The attributes of a small file's event."""
    path, size, modified, digest, _, kind, metadata = file
    return {
        names.FILE_PATH: path,
        names.FILE_MODIFIED: rfc3339(modified),
        names.ARTIFACT_KIND: "file",
        names.FILE_SIZE: size,
        names.ARTIFACT_CHECKSUM_METHOD: "sha256",
        names.ARTIFACT_CHECKSUM: f"sha256:{digest.hex()}",
        **kind.attributes,
        **{names.ARTIFACT_METADATA + key: of for key, of in metadata.items()},
    }


def said(of: Mapping[str, Value]) -> str:
    """Keys and values as the text of an entry goes on with them."""
    return "".join([f"{_KEY}{_text(key)}: {_value(each)}" for key, each in of.items()])


def heard(words: str) -> dict[str, Value]:
    """The keys and values that `said` made a text of."""
    made: dict[str, Value] = json.loads(f"{{{words[1:]}}}")
    return made


def _value(of: Value) -> str:
    if type(of) is str:
        return _text(of)
    return json.dumps(of, indent=2, ensure_ascii=False, default=base64_text).replace("\n", "\n      ")


@functools.cache
def _packing() -> struct.Struct:
    """Which kind, bytes, time of modification in microseconds since the epoch, sha256."""
    import struct  # a library of its own to load, which a stage without small files does without

    return struct.Struct("=Iqq32s")


class Entries:
    """Artifacts by their paths, in the order of their first tracking. Not thread-safe: the owner locks."""

    __slots__ = ("_held", "_kinds", "_numbers")

    def __init__(self) -> None:
        """Begin with none."""
        self._held: dict[str, bytes | _Entry] = {}
        self._kinds: list[FileKind] = []
        self._numbers: dict[FileKind, int] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._held)

    def __contains__(self, path: str) -> bool:
        """Whether there is one of this path."""
        return path in self._held

    def __getitem__(self, path: str) -> _Entry:
        """The entry of this path."""
        return self._entry(path, self._held[path])

    def __setitem__(self, path: str, entry: _Entry) -> None:
        """Replace the entry of this path, or add it."""
        self._held[path] = entry

    def values(self) -> Iterator[_Entry]:
        """Every entry."""
        return (self._entry(path, held) for path, held in self._held.items())

    def sizes(self) -> Iterator[Value]:
        """The size of every one."""
        return (self._size(held) for held in self._held.values())

    @staticmethod
    def _size(held: bytes | _Entry) -> Value:
        size: Value = _packing().unpack_from(held)[1] if isinstance(held, bytes) else held["size_bytes"]
        return size

    def copy(self) -> Entries:
        """The same entries, whatever comes to the others."""
        made = Entries()
        made._held, made._kinds, made._numbers = self._held.copy(), self._kinds, self._numbers
        return made

    def add(self, path: str, entry: _Entry) -> None:
        """Add the entry of an event; one of this path is brought up to date."""
        self._held[path] = artifacts.updated(self[path], entry) if path in self._held else entry

    def add_file(self, file: SmallFile) -> None:
        """The same for a small file."""
        path, size, modified, digest, words, kind, _ = file
        number = self._numbers.get(kind)
        if number is None:
            number = self._number(kind)
        held = _packing().pack(number, size, modified // 1000, digest)
        if words:
            held += words.encode()
        if path in self._held or number >= _MOST_KINDS:
            self.add(path, self._entry(path, held))
        else:
            self._held[path] = held

    def _number(self, kind: FileKind) -> int:
        self._kinds.append(kind)
        return self._numbers.setdefault(kind, len(self._kinds) - 1)

    def texts(self) -> Iterator[str]:
        """Every entry as it stands in manifest.json."""
        for path, held in self._held.items():
            if isinstance(held, bytes):
                number, size, micros, digest = _packing().unpack_from(held)
                kind = self._kinds[number]
                yield (
                    f'{kind.before}{_text(path)},\n      "size_bytes": {size},\n      "modified": '
                    f'"{rfc3339(micros * 1000)}",\n      "checksum": "sha256:{digest.hex()}"'
                    f"{kind.after}{held[_HEAD:].decode()}\n    }}"
                )
            else:
                yield json.dumps(held, indent=2, ensure_ascii=False, default=base64_text).replace("\n", _END)

    def _entry(self, path: str, held: bytes | _Entry) -> _Entry:
        if not isinstance(held, bytes):
            return held
        number, size, micros, digest = _packing().unpack_from(held)
        kind = self._kinds[number]
        made: _Entry = {
            "type": kind.type,
            "path": path,
            "size_bytes": size,
            "modified": rfc3339(micros * 1000),
            "checksum": f"sha256:{digest.hex()}",
            **kind.shared,
        }
        made.update(heard(held[_HEAD:].decode()))
        return made
