"""Artifacts by path, small files packed: held against a plain dict of entries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from otel_stageio import conventions as names
from otel_stageio.views import artifacts, entries
from otel_stageio.views.entries import Entries, FileKind, attributes_of, heard, said
from otel_stageio.views.manifest import dump
from tests.views.story import SHA

if TYPE_CHECKING:
    import pytest

    from otel_stageio.views.entries import SmallFile

ASR = {
    names.PRODUCER_STAGE: "asr",
    names.PRODUCER_NUMBER: 6,
    names.PRODUCER_ATTEMPT: 2,
    names.PRODUCER_TRACE_ID: "ab" * 16,
    names.PRODUCER_SPAN_ID: "cd" * 8,
}
KINDS = (
    FileKind("input", {names.ARTIFACT_ROLE: "input", names.ARTIFACT_TYPE: "audio"}),
    FileKind("input", {**ASR, names.ARTIFACT_ROLE: "input", names.ARTIFACT_TYPE: 'grüß "x"\n'}),
    FileKind(
        "intermediate",
        {
            names.ARTIFACT_ROLE: "intermediate",
            names.ARTIFACT_TYPE: "cache",
            names.ARTIFACT_RETAINED: True,
            names.ARTIFACT_REASON: "speed",
        },
    ),
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
METADATA = st.dictionaries(
    TEXT.filter(lambda key: key not in artifacts.RESERVED),
    st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False)),
    max_size=3,
)


def file(path: str, kind: FileKind, metadata: dict[str, Any], size: int = 4, modified: int = 1) -> SmallFile:
    """A small file as the quick way of tracking makes it."""
    return path, size, modified, bytes.fromhex("ab" * 32), said(metadata), kind, metadata


SMALL = st.builds(
    file,
    TEXT,
    st.sampled_from(KINDS),
    METADATA,
    st.integers(0, 1 << 20),
    st.integers(-(10**9), 2**64),
)
OTHER = st.builds(
    lambda path, metadata: {
        names.FILE_PATH: path,
        names.ARTIFACT_TYPE: "folder",
        names.ARTIFACT_KIND: "folder",
        names.ARTIFACT_CHECKSUM: SHA,
        **{names.ARTIFACT_METADATA + key: [of, b"\0", {"a": None}] for key, of in metadata.items()},
    },
    TEXT,
    METADATA,
)


@given(st.lists(st.one_of(SMALL, OTHER)))
def test_packed_or_not_the_entries_are_the_same(events):
    """Whatever comes in which order, each path has the entry that the general fold makes of its events."""
    packed, plain = Entries(), {}
    for each in events:
        attributes = attributes_of(each) if isinstance(each, tuple) else each
        made = artifacts.entry(attributes)
        path = str(attributes[names.FILE_PATH])
        plain[path] = artifacts.updated(plain[path], made) if path in plain else made
        if isinstance(each, tuple):
            packed.add_file(each)
        else:
            packed.add(path, made)
    assert [list(entry.items()) for entry in packed.values()] == [list(entry.items()) for entry in plain.values()]
    assert {path: packed[path] for path in plain} == plain
    assert list(packed.sizes()) == [entry["size_bytes"] for entry in plain.values()]
    assert (len(packed), all(path in packed for path in plain)) == (len(plain), True)
    assert dump({"first": 1, "inputs": packed, "outputs": Entries(), "last": []}) == dump(
        {"first": 1, "inputs": list(plain.values()), "outputs": [], "last": []}
    )


@given(METADATA)
def test_what_is_said_is_heard(metadata):
    """Metadata as text can be read back, each value of its type."""
    found = heard(said(metadata))
    assert repr(found) == repr(metadata)


@given(METADATA)
def test_said_as_json_says_it(metadata):
    """The text is the one that an indented document has of these keys."""
    whole = json.dumps({"a": 1, **metadata}, indent=6, ensure_ascii=False)
    assert "a" in metadata or '{\n      "a": 1' + said(metadata) + "\n}" == whole


def test_small_files_take_little():
    """A small file is held as bytes: no entry of it is made before it is asked for."""
    held = Entries()
    held.add_file(file("a", KINDS[0], {}))
    held.add_file(file("b", KINDS[1], {"n": 1}))
    assert [type(each) for each in held._held.values()] == [bytes, bytes]
    assert len(held._held["a"]) == 52


def test_a_copy_stays_as_it_is():
    """What is told later, of known paths or new ones and of new kinds, does not reach a copy."""
    held = Entries()
    held.add_file(file("a", KINDS[0], {}))
    copy = held.copy()
    before = list(copy.values()), list(copy.texts())
    held.add_file(file("a", KINDS[1], {"n": 1}))
    held.add_file(file("b", KINDS[2], {}))
    held["c"] = {"type": "x", "path": "c"}
    assert (list(copy.values()), list(copy.texts())) == before
    assert len(held) == 3


def test_too_many_kinds(monkeypatch: pytest.MonkeyPatch):
    """Kinds beyond a limit are held as entries, and say the same."""
    few, many = Entries(), Entries()
    with monkeypatch.context() as patch:
        patch.setattr(entries, "_MOST_KINDS", 1)
        for number, kind in enumerate(KINDS):
            many.add_file(file(str(number), kind, {"n": number}))
    for number, kind in enumerate(KINDS):
        few.add_file(file(str(number), kind, {"n": number}))
    assert list(many.values()) == list(few.values())
    assert [type(each) for each in many._held.values()] == [bytes, dict, dict]


def test_whether_another_stage_made_it():
    """A kind knows whether its files have a producer, and its event."""
    assert [kind.producer for kind in KINDS] == [False, True, False]
    assert [kind.event for kind in KINDS] == [names.INPUT, names.INPUT, names.INTERMEDIATE]
