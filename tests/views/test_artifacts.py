"""From a tracked path's event to its entry in the manifest."""

from __future__ import annotations

from otel_stageio import conventions as names
from otel_stageio.views import artifacts
from tests.views.story import SHA, Writer


def test_an_entry_has_its_keys_in_their_order():
    """What is known of a path stands in a fixed order, then the metadata as it came."""
    record = Writer().track(
        "intermediate",
        "a.bin",
        "cache",
        zeta=1,
        alpha={"b": [None]},
        ARTIFACT_REASON="speed",
        ARTIFACT_RETAINED=True,
        ARTIFACT_CHECKSUM=SHA,
        ARTIFACT_CHECKSUM_METHOD="sha256",
        FILE_MODIFIED="2025-11-27T12:00:00.000000Z",
        FILE_SIZE=5,
        ARTIFACT_KIND="file",
        ARTIFACT_PATH_BYTES=b"a",
    )
    assert list(artifacts.entry(record.attributes).items()) == [
        ("type", "cache"),
        ("path", "a.bin"),
        ("path_bytes", b"a"),
        ("size_bytes", 5),
        ("modified", "2025-11-27T12:00:00.000000Z"),
        ("checksum", SHA),
        ("checksum_method", "sha256"),
        ("retained", True),
        ("reason", "speed"),
        ("zeta", 1),
        ("alpha", {"b": [None]}),
    ]


def test_an_entry_always_tells_size_and_checksum():
    """Of a path of which nothing is known, size and checksum are null."""
    record = Writer().track("input", "gone.wav", "audio", ARTIFACT_KIND="missing")
    assert artifacts.entry(record.attributes) == {
        "type": "audio",
        "path": "gone.wav",
        "kind": "missing",
        "size_bytes": None,
        "checksum": None,
    }


def test_metadata_with_names_of_ours():
    """Metadata under every key of ours moves to the entry's metadata and hides nothing; any other stays flat."""
    given = {key: f"the user's {key}" for key in sorted(artifacts.RESERVED)}
    record = Writer().track("input", "a.wav", "audio", **given, format="wav")
    assert artifacts.entry(record.attributes) == {
        "type": "audio",
        "path": "a.wav",
        "size_bytes": None,
        "checksum": None,
        "format": "wav",
        "metadata": given,
    }


ASR = {"PRODUCER_STAGE": "asr", "PRODUCER_NUMBER": 6, "PRODUCER_ATTEMPT": 2}


def test_an_input_names_its_producer():
    """The attempt that made an input stands behind what is known of its content; its span is the links' matter."""
    w = Writer()
    record = w.track(
        "input", "a", "audio", rate=1, ARTIFACT_CHECKSUM=SHA, PRODUCER_TRACE_ID="ab", PRODUCER_SPAN_ID="cd", **ASR
    )
    assert list(artifacts.entry(record.attributes).items()) == [
        ("type", "audio"),
        ("path", "a"),
        ("checksum", SHA),
        ("size_bytes", None),
        ("producer", {"stage": "asr", "stage_number": 6, "attempt": 2}),
        ("rate", 1),
    ]


def test_a_producer_that_is_not_wholly_named_is_none():
    """An event that tells only some of stage, number and attempt names nobody."""
    for left_out in ASR:
        said = {key: of for key, of in ASR.items() if key != left_out}
        assert "producer" not in artifacts.entry(Writer().track("input", "a", **said).attributes)


def test_a_digest_brings_the_producer():
    """A producer that comes with the digest stands behind it, in place of one before; without one, that one stays."""
    w = Writer()
    before = artifacts.entry(w.track("input", "a", "audio", rate=1).attributes)
    brings = w.digest("input", "a", ARTIFACT_CHECKSUM=SHA, **ASR)
    after = artifacts.with_digest(before, brings)
    assert list(after.items()) == [
        ("type", "audio"),
        ("path", "a"),
        ("size_bytes", None),
        ("checksum", SHA),
        ("producer", {"stage": "asr", "stage_number": 6, "attempt": 2}),
        ("rate", 1),
    ]
    other = w.digest("input", "a", ARTIFACT_CHECKSUM=SHA, **{**ASR, "PRODUCER_ATTEMPT": 3})
    assert artifacts.with_digest(after, other)["producer"] == {"stage": "asr", "stage_number": 6, "attempt": 3}
    assert artifacts.with_digest(after, w.digest("input", "a", ARTIFACT_CHECKSUM=SHA)) == after


def test_tracked_again_an_input_has_the_producer_of_the_last_call():
    """The last call speaks: who made the file before it was replaced is forgotten."""
    w = Writer()
    known = artifacts.entry(w.track("input", "a", "audio", **ASR).attributes)
    unknown = artifacts.entry(w.track("input", "a", "audio", producer="mine").attributes)
    again = artifacts.updated(known, unknown)
    assert ("producer" in again, again["metadata"]) == (False, {"producer": "mine"})
    assert artifacts.updated(unknown, known)["producer"] == {"stage": "asr", "stage_number": 6, "attempt": 2}
    assert artifacts.updated(unknown, known)["metadata"] == {"producer": "mine"}


def test_roles_and_events_are_each_others_inverse():
    """Every role has one event and back."""
    assert sorted(artifacts.EVENT_OF) == sorted(names.ROLES)
    assert {event: role for role, event in artifacts.EVENT_OF.items()} == artifacts.ROLE_OF


def test_a_digest_takes_the_place_of_the_one_before():
    """The new digest stands in the old one's place; method, size and files stay where no others are told."""
    w = Writer()
    before = artifacts.entry(
        w.track(
            "output",
            "model",
            "model",
            ARTIFACT_KIND="folder",
            FILE_SIZE=5,
            ARTIFACT_FILES=1,
            ARTIFACT_CHECKSUM_METHOD="sha256-tree",
            ARTIFACT_CHECKSUM_PROBLEM="not computed yet",
            layers=3,
        ).attributes
    )
    done = w.digest(
        "output", "model", ARTIFACT_CHECKSUM=SHA, ARTIFACT_CHECKSUM_METHOD="sha256-tree", FILE_SIZE=6, ARTIFACT_FILES=2
    )
    after = artifacts.with_digest(before, done)
    assert list(after.items()) == [
        ("type", "model"),
        ("path", "model"),
        ("kind", "folder"),
        ("size_bytes", 6),
        ("files", 2),
        ("checksum", SHA),
        ("checksum_method", "sha256-tree"),
        ("layers", 3),
    ]
    refused = w.digest("output", "model", ARTIFACT_CHECKSUM_PROBLEM="the stage ended before it was computed")
    assert artifacts.with_digest(after, refused) == {
        "type": "model",
        "path": "model",
        "kind": "folder",
        "size_bytes": 6,
        "files": 2,
        "checksum": None,
        "checksum_method": "sha256-tree",
        "checksum_problem": "the stage ended before it was computed",
        "layers": 3,
    }
    assert before["size_bytes"] == 5


def test_a_digest_that_was_taken_over():
    """The id and the mark stand behind the checksum, and go with it when the file is read or tracked anew."""
    w = Writer()
    taken_over = {
        "ARTIFACT_CHECKSUM": SHA,
        "ARTIFACT_CHECKSUM_METHOD": "sha256",
        "ARTIFACT_FILE_ID": "1:2:3:4:5",
        "ARTIFACT_CHECKSUM_REUSED": True,
    }
    before = artifacts.entry(w.track("input", "a", "audio", FILE_SIZE=3, rate=1, **taken_over).attributes)
    assert list(before.items()) == [
        ("type", "audio"),
        ("path", "a"),
        ("size_bytes", 3),
        ("checksum", SHA),
        ("checksum_method", "sha256"),
        ("file_id", "1:2:3:4:5"),
        ("checksum_reused", True),
        ("rate", 1),
    ]
    again = artifacts.entry(w.track("input", "a", "audio", ARTIFACT_CHECKSUM_PROBLEM="not computed yet").attributes)
    updated = artifacts.updated(before, again)
    assert ("file_id" in updated, "checksum_reused" in updated, updated["rate"]) == (False, False, 1)
    read = artifacts.with_digest(before, w.digest("input", "a", ARTIFACT_CHECKSUM=SHA, ARTIFACT_FILE_ID="1:2:3:4:6"))
    assert (read["file_id"], "checksum_reused" in read) == ("1:2:3:4:6", False)
