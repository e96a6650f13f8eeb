"""One tracked file, folder or address: from its event to its entry in the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_stageio import conventions as names

if TYPE_CHECKING:
    from otel_stageio.model import Attributes, LogRecord, Value

#: An entry's key, the attribute that it comes from. Metadata under one of these keys moves to the entry's ``metadata``.
_KEYS: Final = {
    "type": names.ARTIFACT_TYPE,
    "path": names.FILE_PATH,
    "path_bytes": names.ARTIFACT_PATH_BYTES,
    "kind": names.ARTIFACT_KIND,
    "size_bytes": names.FILE_SIZE,
    "files": names.ARTIFACT_FILES,
    "modified": names.FILE_MODIFIED,
    "checksum": names.ARTIFACT_CHECKSUM,
    "checksum_method": names.ARTIFACT_CHECKSUM_METHOD,
    "checksum_problem": names.ARTIFACT_CHECKSUM_PROBLEM,
    "file_id": names.ARTIFACT_FILE_ID,
    "checksum_reused": names.ARTIFACT_CHECKSUM_REUSED,
    "stat_print": names.ARTIFACT_STAT_PRINT,
    "retained": names.ARTIFACT_RETAINED,
    "reason": names.ARTIFACT_REASON,
    "member": names.MEMBER,
}
RESERVED: Final = frozenset({*_KEYS, "producer", "metadata"})
#: Keys that a digest event brings, all of them at once: what it does not name is gone, but for the method.
_DIGEST_KEYS: Final = (
    *("checksum", "checksum_method", "checksum_problem"),
    *("file_id", "checksum_reused", "stat_print"),
)
#: What an entry says of the attempt that made an input.
_PRODUCER_KEYS: Final = {
    "stage": names.PRODUCER_STAGE,
    "stage_number": names.PRODUCER_NUMBER,
    "attempt": names.PRODUCER_ATTEMPT,
}

ROLE_OF: Final = {names.INPUT: "input", names.OUTPUT: "output", names.INTERMEDIATE: "intermediate"}
EVENT_OF: Final = {role: event for event, role in ROLE_OF.items()}


def entry(attributes: Attributes) -> dict[str, Value]:
    """The manifest's entry of an input, output or intermediate event."""
    made: dict[str, Value] = {key: attributes[name] for key, name in _KEYS.items() if name in attributes}
    if made.get("kind") == "file":
        del made["kind"]
    made.setdefault("size_bytes", None)
    made.setdefault("checksum", None)
    made.update(_producer(attributes))
    collided: dict[str, Value] = {}
    start = len(names.ARTIFACT_METADATA)
    for name, of in attributes.items():
        if name.startswith(names.ARTIFACT_METADATA):
            key = name[start:]
            (collided if key in RESERVED else made)[key] = of
    if collided:
        made["metadata"] = collided
    return made


def _producer(attributes: Attributes) -> dict[str, Value]:
    """The part of an entry that says which attempt made an input; of an event that does not name one, nothing."""
    if not all(name in attributes for name in _PRODUCER_KEYS.values()):
        return {}
    made = {key: attributes[name] for key, name in _PRODUCER_KEYS.items()}
    if names.PRODUCER_ITEM in attributes:
        made["item"] = attributes[names.PRODUCER_ITEM]
    return {"producer": made}


def updated(before: dict[str, Value], made: dict[str, Value]) -> dict[str, Value]:
    """The entry of an artifact that was tracked again: as the last call says, with what metadata it left out."""
    kept = {key: of for key, of in before.items() if key not in RESERVED and key not in made}
    collided, earlier = made.get("metadata"), before.get("metadata")
    if isinstance(earlier, dict):
        collided = {**earlier, **(collided if isinstance(collided, dict) else {})}
    return {**made, **kept, **({"metadata": collided} if collided else {})}


def with_digest(before: dict[str, Value], record: LogRecord) -> dict[str, Value]:
    """The entry after a digest event: the new digest in the old one's place, size, files and producer where told."""
    digest = {key: record.attributes[_KEYS[key]] for key in _DIGEST_KEYS if _KEYS[key] in record.attributes}
    digest.setdefault("checksum", None)
    if "checksum_method" in before:  # also where there is no digest in the end: each artifact says what it was to have
        digest.setdefault("checksum_method", before["checksum_method"])
    digest.update(_producer(record.attributes))
    made: dict[str, Value] = {}
    for key, of in before.items():
        if key == "checksum":
            made.update(digest)
        elif key not in _DIGEST_KEYS and key not in digest:
            made[key] = of
    for key in ("size_bytes", "files"):
        if _KEYS[key] in record.attributes:
            made[key] = record.attributes[_KEYS[key]]
    return made
