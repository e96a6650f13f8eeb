"""Inputs, outputs and intermediate files: what the manifest says of them, and when."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job import lineage
from otel_stageio.job.lineage import Lineage
from otel_stageio.record.artifacts import description, tracking

if TYPE_CHECKING:
    from otel_stageio.model import LogRecord
    from otel_stageio.record.artifacts.digests import Digest

LARGE = description.SMALL_FILE + 1
NOT_YET = "not computed yet"
NOT_WAITED = "the stage ended before it was computed"


def sha256(data: bytes) -> str:
    """The checksum of a content as we write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture
def io() -> StageIO:
    """An open stage, number 6, in `out`."""
    return StageIO("asr", stage_number=6)


@pytest.fixture
def audio(tmp_path) -> Path:
    """A small file outside of the job."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    return path


# The call.


def test_type_is_the_second_argument_before_the_keyword(io, audio, told):
    """The type is the second argument; a `type` beside it is metadata; alone it is the type; else there is `file`."""
    output = io.get_output_path("b.wav")
    output.write_bytes(b"RIFF")
    io.track_output(output, "audio", format="wav", type="vocals")
    io.track_input(audio, type="vocals")
    io.track_input("b")
    io.finalize()
    entry = told(io).entry("outputs")
    assert (entry["type"], entry["format"], entry["metadata"]) == ("audio", "wav", {"type": "vocals"})
    assert [entry["type"] for entry in told(io).manifest["inputs"]] == ["vocals", "file"]


def test_entry_has_path_size_time_checksum_and_metadata(io, audio, told):
    """An entry holds what the file is and what the call said of it, flat; inside the job its path is relative."""
    os.utime(audio, (0, 0))
    output = io.get_output_path("words.json")
    output.write_text("{}")
    io.track_input(audio, "audio", language="de", speakers=[1, 2])
    io.track_output(output, "words")
    io.finalize()
    document = told(io).manifest
    assert document["inputs"] == [
        {
            "type": "audio",
            "path": str(audio),
            "size_bytes": 4,
            "modified": "1970-01-01T00:00:00.000000Z",
            "checksum": sha256(b"RIFF"),
            "checksum_method": "sha256",
            "language": "de",
            "speakers": [1, 2],
        }
    ]
    assert document["outputs"][0]["path"] == "06_asr/words.json"


def test_metadata_with_keys_of_ours_is_kept_beside_them(io, audio, told):
    """A keyword that is also a key of ours stands under the entry's `metadata` and replaces nothing."""
    keys = ("path", "size_bytes", "kind", "modified", "checksum_method", "retained", "reason", "files", "metadata")
    mine = {key: f"my {key}" for key in (*keys, "self", "stat_print", "path_bytes", "producer")}
    io.track_input(audio, "audio", **mine)
    io.track_intermediate(audio, path="my path", checksum="md5:1")
    io.finalize()
    document = told(io).manifest
    (entry,) = document["inputs"]
    assert entry["path"] == str(audio)
    assert entry["metadata"] == {key: of for key, of in mine.items() if key != "self"}
    assert entry["self"] == "my self"
    assert document["intermediate_files"][0]["metadata"] == {"path": "my path", "checksum": "md5:1"}


class Color(Enum):
    RED = "red"


@dataclass
class Model:
    name: str
    beams: int


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        (float("nan"), "NaN"),
        (2**70, str(2**70)),
        ("caf\udce9", "caf\\udce9"),
        (b"\0\xff", "AP8="),
        (Path("a/b"), "a/b"),
        (Decimal("1.10"), "1.10"),
        (Color.RED, "red"),
        (Model("m", 5), {"name": "m", "beams": 5}),
        ({"a": {1: [(), {"b": None}]}}, {"a": {"1": [[], {"b": None}]}}),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        ({3, 1}, [1, 3]),
    ],
)
def test_metadata_of_any_kind(io, audio, told, value, shown):
    """Metadata of any Python type is recorded faithfully, and is the same in the journal."""
    io.track_input(audio, value=value, nested=[value])
    io.finalize()
    entry = told(io).entry()
    assert (entry["value"], entry["nested"]) == (shown, [shown])


def test_arguments_that_break_when_asked(io, audio, told):
    """Nothing that is handed in makes the call raise: not a path, a type, a reason nor metadata."""
    odd = Odd()
    io.track_input(odd, odd, odd=odd)
    io.track_output(object())
    io.track_intermediate(audio, odd, odd, odd, odd=odd)
    io.track_input(np.array([1, 2]))
    io.finalize()
    document = told(io).manifest
    assert [entry["kind"] for entry in document["inputs"]] == ["missing", "missing"]
    (entry,) = document["intermediate_files"]
    assert (entry["retained"], entry["checksum"]) == (True, sha256(b"RIFF"))
    assert "Odd" in entry["reason"]


def test_trouble_of_our_own_never_reaches_the_stage(io, audio, monkeypatch, capsys):
    """A bug of ours in a call costs the entry: one line on stderr, one entry in `degraded`, and the stage goes on."""
    monkeypatch.setattr(tracking.description, "describe", lambda *_, **__: 1 / 0)
    io.track_input(audio.parent)
    io.track_input(audio.parent)
    assert io.manifest["degraded"] == ["cannot track an input: ZeroDivisionError: division by zero"]
    assert capsys.readouterr().err.count("cannot track an input") == 1


# Which entry.


def test_the_same_file_twice_is_one_entry_updated(io, audio, told):
    """A file tracked again, by whatever spelling of its path, is updated where it stands; no metadata goes."""
    io.track_input(audio, "audio", first=1)
    io.track_input("b.wav")
    audio.write_bytes(b"RIFFRIFF")
    io.track_input("./x/../a.wav", "sound", second=2)
    io.finalize()
    first, second = told(io).manifest["inputs"]
    assert (first["type"], first["size_bytes"], first["second"], first["first"]) == ("sound", 8, 2, 1)
    assert second["path"].endswith("b.wav")


def test_a_link_to_a_tracked_file_is_an_entry_of_its_own(io, audio, told):
    """A symlink to a tracked file has its own entry with the same content."""
    Path("latest.wav").symlink_to(audio)
    io.track_input(audio)
    io.track_input("latest.wav")
    io.finalize()
    first, second = told(io).manifest["inputs"]
    assert [Path(entry["path"]).name for entry in (first, second)] == ["a.wav", "latest.wav"]
    assert first["checksum"] == second["checksum"]


def test_the_same_file_in_several_roles(io, audio, told):
    """A file may be input, output and intermediate at once: each role has its entry."""
    io.track_input(audio, "audio")
    io.track_output(audio, "audio")
    io.track_intermediate(audio)
    io.finalize()
    document = told(io).manifest
    assert {len(document[role]) for role in ("inputs", "outputs", "intermediate_files")} == {1}


def test_entries_stand_in_the_order_of_first_tracking(io, tmp_path, told):
    """Entries keep the order in which they were first tracked, whatever is told of them later."""
    for name in ("c", "a", "b"):
        (tmp_path / name).write_bytes(bytes(LARGE if name == "c" else 1))
        io.track_input(name)
    io.track_input("c", note="again")
    io.finalize()
    assert [Path(entry["path"]).name for entry in told(io).manifest["inputs"]] == ["c", "a", "b"]


def test_intermediate_files_have_retained_and_reason(io, told):
    """An intermediate entry says whether it is kept and why; by default it is not, of the type intermediate."""
    kept, gone = io.get_cache_path("kept"), io.get_cache_path("gone")
    kept.touch()
    io.track_intermediate(kept, retained=True, reason="for the next run", type="cache", model="m")
    io.track_intermediate(gone)
    io.finalize()
    first, second = told(io).manifest["intermediate_files"]
    assert {key: first[key] for key in ("path", "retained", "reason", "type", "model")} == {
        "path": "06_asr/.cache/kept",
        "retained": True,
        "reason": "for the next run",
        "type": "cache",
        "model": "m",
    }
    assert (second["retained"], second["reason"], second["type"], second["kind"]) == (
        False,
        "",
        "intermediate",
        "missing",
    )
    assert told(io).warnings == []  # an intermediate file may be gone already


def test_names_of_every_kind(io, tmp_path, told):
    """Unicode, newlines and bytes that are not UTF-8 in names are kept; the latter have their bytes beside them."""
    given = ["gr\u00fc\u00df \U0001f3b5.wav", "two\nlines", "tab\t\x1b[31m", "caf\udce9", "-rf *", " "]
    for name in given:
        Path(name).touch()
        io.track_input(name)
    io.finalize()
    entries = told(io).manifest["inputs"]
    shown = [name.encode("utf-8", "backslashreplace").decode() for name in given]
    assert [entry["path"] for entry in entries] == [f"{tmp_path}/{name}" for name in shown]
    assert ["path_bytes" in entry for entry in entries] == [False, False, False, True, False, False]
    assert {entry["checksum"] for entry in entries} == {sha256(b"")}


def test_folders(io, told):
    """A folder is one entry with the digest over all in it, its number of files and their bytes."""
    folder = io.get_output_path("model")
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_bytes(b"123")
    io.track_output(folder, "model")
    io.finalize()
    entry = told(io).entry("outputs")
    assert (entry["kind"], entry["files"], entry["size_bytes"]) == ("folder", 2, 6)
    assert (entry["checksum_method"], entry["path"]) == ("sha256-tree", "06_asr/model")
    assert entry["checksum"].startswith("sha256:")


def test_the_stage_folder_itself(io, told):
    """The stage's own folder can be an output: our records in it are not part of it."""
    io.track_output(io.stage_dir / "parts")
    (io.stage_dir / "parts").mkdir()
    (io.stage_dir / "parts/.stageio").mkdir()
    (io.stage_dir / "parts/.stageio/x").write_bytes(b"not counted")
    io.finalize()
    assert told(io).entry("outputs")["files"] == 0


@pytest.mark.timeout(20)
def test_inputs_that_are_no_files_do_not_block(io, told):
    """A FIFO and a device are recorded for what they are at once."""
    os.mkfifo("fifo")
    for path in ("fifo", "/dev/zero"):
        io.track_input(path)
        io.track_output(path)
    io.finalize()
    kinds = [(entry["kind"], entry["checksum"], entry["checksum_problem"]) for entry in told(io).manifest["inputs"]]
    assert kinds == [("fifo", None, "is a fifo"), ("device", None, "is a device")]


class Remote(os.PathLike):
    """A path as universal-pathlib has them."""

    def __str__(self) -> str:
        return "s3://key:secret@bucket/a.wav"

    def __fspath__(self) -> str:
        raise AssertionError("this would go to the network")


def test_remote_artifacts(io, told):
    """An address is recorded without its credentials, text or path object, is not looked at, and not judged."""
    io.track_input("https://me:pw@host/a.wav?sig=abc&n=1", "audio", language="de")
    io.track_input(Remote(), "audio")
    io.track_output("s3://bucket/out.json", "words")
    io.finalize()
    document = told(io).manifest
    assert document["inputs"] == [
        {
            "type": "audio",
            "path": "https://host/a.wav?sig=[REDACTED]&n=1",
            "kind": "remote",
            "size_bytes": None,
            "checksum": None,
            "language": "de",
        },
        {"type": "audio", "path": "s3://bucket/a.wav", "kind": "remote", "size_bytes": None, "checksum": None},
    ]
    assert document["outputs"][0]["path"] == "s3://bucket/out.json"
    assert document["warnings"] == []
    assert "pw" not in io.manifest_path.read_text()
    assert all(b"secret" not in path.read_bytes() for path in Path("out").rglob("*.jsonl"))


# Several inputs.


def test_inputs_of_a_pattern(io, tmp_path, told):
    """A pattern tracks what it matches, sorted, with ** going down; type and metadata hold for each."""
    for name in ("b.wav", "a.wav", "deep/er/c.wav", "d.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert io.track_inputs("in/**/*.wav", "audio", language="de") == [
        Path("in/a.wav"),
        Path("in/b.wav"),
        Path("in/deep/er/c.wav"),
    ]
    io.finalize()
    entries = told(io).manifest["inputs"]
    assert [Path(entry["path"]).name for entry in entries] == ["a.wav", "b.wav", "c.wav"]
    assert {(entry["type"], entry["language"]) for entry in entries} == {("audio", "de")}


def test_inputs_of_a_list(io, audio, told):
    """Paths of any iterable are tracked in their order and given back as they were given; addresses too."""
    given = [str(audio), Path("missing"), "s3://b/*.wav"]
    assert io.track_inputs(iter(given), type="audio") == given
    io.finalize()
    entries = told(io).manifest["inputs"]
    assert [entry.get("kind") for entry in entries] == [None, "missing", "remote"]
    assert {entry["type"] for entry in entries} == {"audio"}


def test_inputs_of_one_path(io, tmp_path, told):
    """A path alone stands for itself: one with brackets in its name, one that is not there, an address."""
    Path("take [1].wav").touch()
    assert io.track_inputs("take [1].wav") == [Path("take [1].wav")]
    assert io.track_inputs(Path("missing.wav")) == [Path("missing.wav")]
    assert io.track_inputs("s3://b/*.wav") == ["s3://b/*.wav"]
    assert io.track_inputs([]) == []
    io.finalize()
    entries = told(io).manifest["inputs"]
    assert [entry.get("kind") for entry in entries] == [None, "missing", "remote"]


def test_a_pattern_that_matches_nothing_is_a_warning(io, told):
    """A pattern without a match tracks nothing and warns."""
    assert io.track_inputs("in/*.wav", "audio") == []
    io.finalize()
    assert told(io).warnings == ["no input matches in/*.wav"]


# What is not there, and what changes.


def test_a_missing_input_is_recorded_with_a_warning(io, told):
    """An input that is not there is recorded as missing, and the warning is in the manifest and in the log."""
    io.track_input("a.wav", "audio")
    io.finalize()
    entry = told(io).entry()
    assert (entry["kind"], entry["size_bytes"], entry["checksum"]) == ("missing", None, None)
    (warning,) = told(io).warnings
    assert warning == f"input {entry['path']} is missing"
    assert told(io).lines == [("WARNING", warning)]


def test_a_finding_that_the_hosts_handler_chokes_on(io, told):
    """A handler of the host that raises does not make a tracking call raise; the finding is on record."""

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("host")

    logging.getLogger().addHandler(Raising())
    io.track_input("a.wav")
    assert [warning["message"].endswith("a.wav is missing") for warning in io.manifest["warnings"]] == [True]
    assert io.manifest["degraded"] == ["cannot tell a finding: RuntimeError: host"]


def test_an_output_tracked_before_it_is_written(io, told):
    """An output may be tracked first and written later: at the end it is looked at again, and nothing is missing."""
    path = io.get_output_path("a.json")
    io.track_output(path, "words", language="de")
    path.write_text("{}")
    io.finalize()
    entry = told(io).entry("outputs")
    assert (entry["checksum"], entry["size_bytes"]) == (sha256(b"{}"), 2)
    assert (entry["type"], entry["language"]) == ("words", "de")
    assert told(io).warnings == []


def test_an_output_that_was_never_made_is_missing_at_the_end(io, told):
    """Whether an output is missing is judged at finalize, with a warning; before there is none."""
    io.track_output(io.get_output_path("a.json"))
    assert io.manifest["warnings"] == []
    io.finalize()
    assert told(io).entry("outputs")["kind"] == "missing"
    assert told(io).warnings == ["06_asr/a.json was tracked as an output and never made"]


@pytest.mark.parametrize("status", ["success", "failed"])
def test_a_changed_output_is_read_again(io, told, status):
    """An output that changed after it was tracked has at the end what it then holds, also its metadata."""
    path = io.get_output_path("a.json")
    path.write_text("{}")
    io.track_output(path, "words", language="de")
    path.write_text("[1]")
    io.finalize(status)
    entry = told(io).entry("outputs")
    assert (entry["size_bytes"], entry["checksum"], entry["language"]) == (3, sha256(b"[1]"), "de")
    assert len(told(io).named(names.OUTPUT)) == 2


def test_an_unchanged_output_is_not_read_again(io, told):
    """An output that stayed as it was is told once."""
    path = io.get_output_path("a.json")
    path.write_text("{}")
    io.track_output(path)
    io.finalize()
    assert len(told(io).named(names.OUTPUT)) == 1


def test_a_vanished_output_is_recorded_as_such(io, told):
    """An output that was there and is gone is missing, with a warning that says so."""
    path = io.get_output_path("a.json")
    path.write_text("{}")
    io.track_output(path, "words")
    path.unlink()
    io.finalize()
    entry = told(io).entry("outputs")
    assert (entry["kind"], entry["type"], entry["checksum"]) == ("missing", "words", None)
    assert told(io).warnings == ["06_asr/a.json was tracked as an output and is gone"]


def test_one_output_that_cannot_be_judged_leaves_the_others(io, monkeypatch):
    """Trouble of ours with one output at the end does not keep the next one from being judged."""
    for name in ("a", "b"):
        io.track_output(io.get_output_path(name))
        (io.stage_dir / name).touch()
    real = description.describe

    def describe(path: str, **options: object) -> description.Described:
        return real(path, **options) if path.endswith("b") else 1 / 0

    monkeypatch.setattr(tracking.description, "describe", describe)
    io.finalize()
    assert [entry.get("kind") for entry in io.manifest["outputs"]] == ["missing", None]
    assert io.manifest["degraded"] == ["cannot judge an output: ZeroDivisionError: division by zero"]


def test_an_output_folder_is_read_again_at_the_end(io, told):
    """What changes deep in an output folder, where its own time tells nothing, is in the digest at the end."""
    folder = io.get_output_path("model/deep")
    folder.mkdir()
    io.track_output(folder.parent)
    (folder / "a").write_bytes(b"12")
    io.finalize()
    entry = told(io).entry("outputs")
    assert (entry["files"], entry["size_bytes"]) == (1, 2)


# Checksums.


@pytest.mark.parametrize(
    ("checksum", "method", "shown"),
    [
        ("auto", "sha256", sha256(b"RIFF")),
        ("sha256", "sha256", sha256(b"RIFF")),
        ("stat", "stat", None),
        ("off", "off", None),
        ("sha256:" + "AB" * 32, "given", "sha256:" + "ab" * 32),
    ],
)
def test_values_of_checksum(audio, told, checksum, method, shown):
    """Each value of `checksum` that is ours says how; each entry says which digest it has."""
    io = StageIO("asr", stage_number=6)
    io.track_input(audio, checksum=checksum)
    io.finalize()
    entry = told(io).entry()
    assert (entry["checksum_method"], entry["checksum"]) == (method, shown)
    assert ("stat_print" in entry) == (method == "stat")
    assert "metadata" not in entry


@pytest.mark.parametrize("value", ["md5:abc", None, 7, "sha256:short"])
def test_other_values_of_checksum_are_metadata(io, audio, told, value):
    """A `checksum` that is none of ours is the user's metadata, and the file is hashed as ever."""
    io.track_input(audio, checksum=value)
    io.finalize()
    entry = told(io).entry()
    assert (entry["checksum"], entry["metadata"]) == (sha256(b"RIFF"), {"checksum": value})


def test_checksum_for_the_whole_job(audio, monkeypatch, tmp_path, told):
    """The argument wins over STAGEIO_CHECKSUM, that over pyproject.toml; a call's own keyword wins over all."""
    (tmp_path / "pyproject.toml").write_text('[tool.stageio]\nchecksum = "off"\n')
    monkeypatch.setattr("__main__.__file__", str(tmp_path / "main.py"), raising=False)
    found = []
    for variable, argument in ((None, None), ("stat", None), ("stat", "sha256")):
        if variable:
            monkeypatch.setenv("STAGEIO_CHECKSUM", variable)
        io = StageIO("asr", checksum=argument)
        io.track_input(audio)
        io.track_output(audio, checksum="sha256:" + "ab" * 32)
        io.finalize()
        document = told(io).manifest
        found.append((document["inputs"][0]["checksum_method"], document["outputs"][0]["checksum_method"]))
    assert found == [("off", "given"), ("stat", "given"), ("sha256", "given")]


def test_the_digest_of_a_large_file_is_an_event_of_its_own(io, tmp_path, told):
    """A file of more than 1 MiB is on record at once, its digest comes as an event of its own."""
    (tmp_path / "a").write_bytes(bytes(LARGE))
    io.track_input("a", "audio")
    io.finalize()
    (digest,) = told(io).named(names.DIGEST)
    (tracked,) = told(io).named(names.INPUT)
    assert tracked.attributes[names.ARTIFACT_CHECKSUM_PROBLEM] == NOT_YET
    assert digest.attributes[names.ARTIFACT_CHECKSUM] == sha256(bytes(LARGE))
    entry = told(io).entry()
    assert (entry["checksum"], entry["size_bytes"], entry["type"]) == (sha256(bytes(LARGE)), LARGE, "audio")
    assert "checksum_problem" not in entry


@pytest.fixture
def slow(monkeypatch):
    """Digests of large files wait for `go`; gives the event."""
    go = threading.Event()
    real = description.digests.hash_file

    def hash_file(path: str) -> Digest:
        if os.path.getsize(path) > description.SMALL_FILE:
            # As a real one does while it reads: it looks whether anybody still wants it.
            while not go.wait(0.01):
                if description.digests.watch.tick is not None:
                    description.digests.watch.tick(0)
        return real(path)

    monkeypatch.setattr(description.digests, "hash_file", hash_file)
    yield go
    go.set()


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_digests_that_are_pending_at_a_failure_are_null_with_the_reason(io, tmp_path, told, slow, status):
    """A stage that does not succeed waits for no digest: the checksum is null, and the entry says why."""
    (tmp_path / "a").write_bytes(bytes(LARGE))
    output = io.get_output_path("b")
    output.write_bytes(bytes(LARGE))
    io.track_input("a")
    io.track_output(output)
    begun = time.monotonic()
    io.finalize(status)
    assert time.monotonic() - begun < 5
    document = told(io).manifest
    for entry in (*document["inputs"], *document["outputs"]):
        assert (entry["checksum"], entry["checksum_problem"]) == (None, NOT_WAITED)
        assert entry["size_bytes"] == LARGE


def test_a_success_waits_no_longer_than_it_may(tmp_path, told, slow, monkeypatch):
    """STAGEIO_CHECKSUM_WAIT bounds how long a success waits; what is not done by then is null with the reason."""
    monkeypatch.setenv("STAGEIO_CHECKSUM_WAIT", "0.05")
    io = StageIO("asr", stage_number=1)
    (tmp_path / "a").write_bytes(bytes(LARGE))
    io.track_input("a")
    io.finalize()
    assert told(io).entry()["checksum_problem"] == NOT_WAITED
    assert told(io).manifest["status"] == "success"


def test_a_late_digest_does_not_replace_what_was_said_since(io, tmp_path, told, slow):
    """A file tracked again while it is hashed has the digest of the last call alone."""
    for name in ("off", "given", "changed"):
        (tmp_path / name).write_bytes(bytes(LARGE))
        io.track_input(name)
    io.track_input("off", checksum="off")
    io.track_input("given", checksum="sha256:" + "ab" * 32)
    (tmp_path / "changed").write_bytes(b"small")
    io.track_input("changed")
    slow.set()
    io.finalize()
    assert [entry["checksum"] for entry in told(io).manifest["inputs"]] == [
        None,
        "sha256:" + "ab" * 32,
        sha256(b"small"),
    ]
    assert told(io).named(names.DIGEST) == []


def test_a_large_output_that_changes_while_it_is_hashed(io, told, slow):
    """The digest of an output is that of its content at the end, though it was being hashed when it changed."""
    path = io.get_output_path("a")
    path.write_bytes(bytes(LARGE))
    io.track_output(path)
    path.write_bytes(b"1" * LARGE)
    slow.set()
    io.finalize()
    assert told(io).entry("outputs")["checksum"] == sha256(b"1" * LARGE)


def test_a_large_file_after_the_end_is_hashed_in_the_call(io, tmp_path, told):
    """What is tracked after finalize is on record whole when the call returns."""
    (tmp_path / "a").write_bytes(bytes(LARGE))
    io.finalize()
    io.track_input("a")
    assert told(io).entry()["checksum"] == sha256(bytes(LARGE))
    (warning,) = told(io).manifest["warnings"]
    assert [each["call"] for each in warning["calls"]] == ["track_input"]


# Large files that were read before.


@pytest.fixture
def settled(monkeypatch) -> None:
    """Files need no two seconds to be trusted."""
    monkeypatch.setattr(description.digests, "_SETTLED", 0)


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The large files that were read."""
    seen: list[str] = []
    real = description.digests.hash_file
    monkeypatch.setattr(description.digests, "hash_file", lambda path: seen.append(Path(path).name) or real(path))
    return seen


def large(name: str = "large", byte: bytes = b"1") -> Path:
    """Make a large file."""
    Path(name).write_bytes(byte * LARGE)
    return Path(name)


def once(name: str, path: str | Path = "large", role: str = "input", **options: object) -> dict[str, object]:
    """What a stage that tracks a file and ends says of it."""
    io = StageIO(name, **options)
    getattr(io, f"track_{role}")(path)
    io.finalize()
    (entry,) = io.manifest[role + "s" if role != "intermediate" else "intermediate_files"]
    return entry


@pytest.mark.parametrize("role", ["input", "output", "intermediate"])
def test_a_large_file_is_read_once_in_a_job(settled, reads, role, told):
    """A file that another stage read, and that has not changed, is not read again, in whatever role; both say so."""
    found = os.stat(large())
    first = once("06_asr", role=role)
    second = once("07_subtitle")
    third = once("08_tts", role="output")
    known_by = f"{found.st_dev}:{found.st_ino}:{LARGE}:{found.st_mtime_ns}:{found.st_ctime_ns}"
    assert reads == ["large"]
    for entry in (first, second, third):
        assert (entry["checksum"], entry["checksum_method"]) == (sha256(b"1" * LARGE), "sha256")
        assert (entry["file_id"], entry.get("checksum_problem")) == (known_by, None)
    assert ["checksum_reused" in entry for entry in (first, second, third)] == [False, True, True]
    assert second["checksum_reused"] is True


def test_a_digest_that_is_known_is_in_the_event_of_the_call(settled, reads, told):
    """No digest comes late then, and the entry is whole before finalize."""
    large()
    once("06_asr")
    io = StageIO("subtitle", stage_number=7)
    io.track_input("large", n=1)
    assert told(io).entry()["checksum_reused"] is True
    io.finalize()
    found = told(io)
    (event,) = found.named(names.INPUT)
    assert event.attributes[names.ARTIFACT_CHECKSUM_REUSED] is True
    assert names.ARTIFACT_CHECKSUM_PROBLEM not in event.attributes
    assert (found.named(names.DIGEST), found.entry()["n"]) == ([], 1)


def test_a_retry_reads_nothing_again(settled, reads):
    """The stage's own former attempts count, also those that failed, and those before them."""
    large()
    large("other")
    io = StageIO("asr", stage_number=6)
    io.track_input("large")
    io._settle_digests(wait=60, progress=None)
    io.finalize("failed")
    for _ in range(2):
        once("06_asr", "other")
    assert once("06_asr")["checksum_reused"] is True
    assert reads == ["large", "other"]


def test_the_same_large_file_twice_in_a_stage(settled, reads, io, told):
    """What the stage itself has read is known to it, by any of its names."""
    large()
    os.link("large", "link")
    Path("symlink").symlink_to("large")
    io.track_input("large")
    io._hasher.wait(60)
    found = os.stat("large")
    for name in ("large", "link", "symlink"):
        io.track_output(name)
    io.finalize()
    assert found.st_nlink == 2
    assert reads == ["large"]
    assert {entry["checksum"] for entry in told(io).manifest["outputs"]} == {sha256(b"1" * LARGE)}


def test_replaced_content_of_the_same_size_and_time(settled, reads):
    """A file that was written anew, its time put back, is read: the time of its change tells it."""
    path = large()
    before = os.stat(path)
    first = once("06_asr")
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.write(b"2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = once("07_subtitle")
    assert (os.stat(path).st_mtime_ns, os.stat(path).st_size) == (before.st_mtime_ns, before.st_size)
    assert second["checksum"] == sha256(b"2" + b"1" * (LARGE - 1))
    assert ("checksum_reused" in second, second["file_id"] == first["file_id"]) == (False, False)
    assert reads == ["large", "large"]


def test_a_copy_is_read(settled, reads):
    """Another file with the same content, size and time has another inode."""
    path = large()
    once("06_asr")
    shutil.copy2(path, "copy")
    assert "checksum_reused" not in once("07_subtitle", "copy")
    assert reads == ["large", "copy"]


def test_a_young_file_is_read_each_time(reads):
    """Until its times are two seconds old nothing tells whether it is still the same."""
    large()
    assert "file_id" not in once("06_asr")
    assert "file_id" not in once("07_subtitle")
    assert reads == ["large", "large"]


@pytest.mark.parametrize("checksum", ["stat", "off", "sha256:" + "ab" * 32])
def test_digests_that_nobody_made(settled, reads, io, checksum):
    """A print, none, or a digest that was given are not taken over, and nothing is taken over for them."""
    large()
    io.track_input("large", checksum=checksum)
    io.finalize()
    assert "file_id" not in io.manifest["inputs"][0]
    assert once("07_subtitle")["checksum"] == sha256(b"1" * LARGE)
    last = StageIO("tts", stage_number=8)
    last.track_input("large", checksum=checksum)
    last.finalize()
    assert "file_id" not in last.manifest["inputs"][0]
    assert reads == ["large"]


def test_a_small_file_is_read_each_time(settled, audio):
    """Reading it costs less than knowing it."""
    first, second = once("06_asr", audio), once("07_subtitle", audio)
    assert [key in entry for entry in (first, second) for key in ("file_id", "checksum_reused")] == [False] * 4


def test_an_output_that_changed_is_read_again_at_the_end(settled, reads, told):
    """A digest that was taken over stands as long as the file does; what is told of a changed one is new."""
    path = large()
    once("06_asr")
    io = StageIO("subtitle", stage_number=7)
    io.track_output(path, "model")
    assert told(io).entry("outputs")["checksum_reused"] is True
    time.sleep(0.02)
    large(byte=b"2")
    io.finalize()
    entry = told(io).entry("outputs")
    assert (entry["checksum"], "checksum_reused" in entry) == (sha256(b"2" * LARGE), False)
    assert reads == ["large", "large"]


def test_who_made_a_copy_whose_digest_is_known(settled, reads, io, told):
    """A digest that is taken over names the producer at once."""
    path = io.get_output_path("model.bin")
    path.write_bytes(b"1" * LARGE)
    io.track_output(path)
    io.finalize()
    shutil.copy2(path, "copy")
    once("07_subtitle", "copy")
    tts = StageIO("tts", stage_number=8)
    tts.track_input("copy")
    assert told(tts).entry()["producer"] == BY_ASR
    assert reads == ["model.bin", "copy"]


def test_nothing_is_looked_up_where_nothing_is_written(settled, reads, monkeypatch):
    """mode="off" looks into no job folder."""
    large()
    once("06_asr")
    monkeypatch.setattr(Lineage, "checksum", lambda *_: 1 / 0)
    silent = StageIO("subtitle", stage_number=7, mode="off")
    silent.track_input("large")
    silent.finalize()
    (entry,) = silent.manifest["inputs"]
    assert (entry["checksum"], silent.manifest["degraded"]) == (sha256(b"1" * LARGE), [])


def test_trouble_with_what_is_known_costs_the_reading_alone(settled, reads, monkeypatch):
    """A bug of ours in looking for a digest leaves the file to be read, and is told once."""
    large()
    monkeypatch.setattr(Lineage, "checksum", lambda *_: 1 / 0)
    io = StageIO("asr", stage_number=6)
    io.track_intermediate("large")
    io.finalize()
    (entry,) = io.manifest["intermediate_files"]
    assert entry["checksum"] == sha256(b"1" * LARGE)
    (told_once,) = io.manifest["degraded"]
    assert told_once.startswith("cannot find out whether a file was read before: ZeroDivisionError")


# Large files at the end.


def hashing() -> int:
    """Count the threads that hash."""
    return sum(each.name == "stageio-hash" for each in threading.enumerate())


@pytest.mark.parametrize("cores", [1, 4])
def test_threads_that_hash(slow, monkeypatch, cores):
    """One beside the stage, none where only one core is allowed; at a success as many as there are cores."""
    monkeypatch.setattr("otel_stageio.record.artifacts.hashing.allowed_cores", lambda: cores)
    io = StageIO("asr", stage_number=6)
    for number in range(6):
        large(f"{number}", b"%d" % number)
        io.track_input(f"{number}")
    time.sleep(0.05)
    assert hashing() == (0 if cores == 1 else 1)
    seen: list[int] = []

    def let_go() -> None:
        time.sleep(0.3)
        seen.append(hashing())
        slow.set()

    helper = threading.Thread(target=let_go)
    helper.start()
    io.finalize()
    helper.join()
    assert seen == [cores]
    assert [entry["checksum"] for entry in io.manifest["inputs"]] == [sha256(b"%d" % n * LARGE) for n in range(6)]


def test_progress_of_the_digests_is_on_the_console(slow, monkeypatch, capsys, io):
    """While a success waits for digests the console says how far they are."""
    monkeypatch.setattr("otel_stageio.record.artifacts.hashing._QUIET", 0.05)
    large()
    io.track_input("large")
    threading.Timer(0.5, slow.set).start()
    io.finalize()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "checksums: " in line]
    assert "checksums: 0 of 1 MB, 0 MB/s" in line


UNFINISHED = """
    import os, signal, sys
    from otel_stageio import StageIO
    with open("huge", "wb") as file:
        file.truncate(1 << 40)
    io = StageIO("asr", stage_number=6)
    io.track_input("huge", checksum="sha256")
    io.track_input(__file__)
    if sys.argv[1] == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    elif sys.argv[1] == "exception":
        raise KeyError(1)
    elif sys.argv[1] == "exit":
        sys.exit(3)
"""


@pytest.mark.timeout(30)
@pytest.mark.parametrize("end", ["signal", "exception", "exit", "nothing"])
def test_an_end_that_is_no_success_waits_for_no_digest(run_script, tmp_path, end):
    """A signal, an exception, an exit and the end of the program leave a file of a TiB unread, with the reason."""
    run_script(UNFINISHED, end)
    document = json.loads((tmp_path / "out/06_asr/manifest.json").read_bytes())
    assert document["status"] == "failed"
    huge, script = document["inputs"]
    assert (huge["checksum"], huge["checksum_problem"], huge["size_bytes"]) == (None, NOT_WAITED, 1 << 40)
    assert script["checksum"] is not None


# Who made an input.

PRODUCER = (
    names.PRODUCER_STAGE,
    names.PRODUCER_NUMBER,
    names.PRODUCER_ATTEMPT,
    names.PRODUCER_TRACE_ID,
    names.PRODUCER_SPAN_ID,
)
BY_ASR = {"stage": "asr", "stage_number": 6, "attempt": 1}


def named(record: LogRecord) -> list[object]:
    """What an event says of the attempt that made the input."""
    return [record.attributes[name] for name in PRODUCER if name in record.attributes]


def as_named(io: StageIO) -> list[object]:
    """What it says where this stage's first attempt made it."""
    document = io.manifest
    return [io.stage_name, io.stage_number, 1, document["trace_id"], document["span_id"]]


@pytest.fixture
def words(io) -> Path:
    """An output of stage 06_asr, which has ended."""
    path = io.get_output_path("words.json")
    path.write_bytes(b"words")
    io.track_output(path, "words")
    io.finalize()
    return path


def test_an_input_that_another_stage_made_names_it(io, words, audio, told):
    """The manifest names stage and attempt, the event its span as well; an input from elsewhere has no producer."""
    subtitle = StageIO("subtitle", stage_number=7)
    subtitle.track_input(words, "words", lang="de")
    subtitle.track_input(audio)
    subtitle.finalize()
    found = told(subtitle)
    assert [entry.get("producer") for entry in found.manifest["inputs"]] == [BY_ASR, None]
    assert [named(event) for event in found.named(names.INPUT)] == [as_named(io), []]


def test_a_renamed_copy_of_an_output_names_who_made_it(io, words, told):
    """Another path with the same content was made by the same stage; an empty file by nobody."""
    Path("copy.json").write_bytes(words.read_bytes())
    Path("empty").touch()
    subtitle = StageIO("subtitle", stage_number=7)
    subtitle.track_input("copy.json")
    subtitle.track_input("empty")
    subtitle.finalize()
    assert [entry.get("producer") for entry in told(subtitle).manifest["inputs"]] == [BY_ASR, None]


def test_inputs_alone_have_a_producer(io, words, told):
    """A file of another stage that is tracked as output or intermediate file names nobody."""
    subtitle = StageIO("subtitle", stage_number=7)
    subtitle.track_output(words)
    subtitle.track_intermediate(words)
    subtitle.finalize()
    found = told(subtitle)
    assert [named(event) for name in (names.OUTPUT, names.INTERMEDIATE) for event in found.named(name)] == [[], []]


def test_what_the_stage_made_itself_has_no_producer(io, words, told):
    """A retry that reads what its former attempt made, and a stage that reads its own output, name nobody."""
    retry = StageIO("asr", stage_number=6)
    retry.track_input(words)
    retry.track_output(retry.get_output_path("more.json"))
    retry.track_input(retry.get_output_path("more.json"))
    retry.finalize()
    assert [entry.get("producer") for entry in told(retry).manifest["inputs"]] == [None, None]


def test_a_retry_that_made_the_input_anew(io, words, told):
    """Of a stage that was retried the newest attempt is named."""
    retry = StageIO("asr", stage_number=6)
    retry.track_output(words)
    retry.finalize()
    subtitle = StageIO("subtitle", stage_number=7)
    subtitle.track_input(words)
    subtitle.finalize()
    assert told(subtitle).entry()["producer"] == {**BY_ASR, "attempt": 2}


def test_the_producer_of_a_large_copy_comes_with_its_digest(io, told):
    """A large file of a path that nobody made is known by its content as soon as that is, not before."""
    path = io.get_output_path("model.bin")
    path.write_bytes(bytes(LARGE))
    io.track_output(path)
    io.finalize()
    Path("copy.bin").write_bytes(bytes(LARGE))
    Path("other.bin").write_bytes(b"1" * LARGE)
    tts = StageIO("tts", stage_number=8)
    tts.track_input("copy.bin", rate=1)
    tts.track_input("other.bin")
    assert [entry.get("producer") for entry in tts.manifest["inputs"]][1:] == [None]
    tts.finalize()
    found = told(tts)
    assert [entry.get("producer") for entry in found.manifest["inputs"]] == [BY_ASR, None]
    assert [named(event) for event in found.named(names.INPUT)] == [[], []]
    digests = {Path(event.attributes[names.FILE_PATH]).name: named(event) for event in found.named(names.DIGEST)}
    assert digests == {"copy.bin": as_named(io), "other.bin": []}


def test_the_producer_of_a_large_file_is_named_once(io, told):
    """Where the path tells who made a large file, the event of its digest says nothing more of it."""
    path = io.get_output_path("model.bin")
    path.write_bytes(bytes(LARGE))
    io.track_output(path)
    io.finalize()
    tts = StageIO("tts", stage_number=8)
    tts.track_input(path)
    tts.finalize()
    found = told(tts)
    assert (found.entry()["producer"], found.entry()["checksum"]) == (BY_ASR, sha256(bytes(LARGE)))
    assert [named(event) for event in found.named(names.INPUT)] == [as_named(io)]
    assert [named(event) for event in found.named(names.DIGEST)] == [[]]


def test_who_writes_an_input_later_did_not_make_it(io, tmp_path, told, slow):
    """A stage that tracks the path of a large input after it was read is not named, though its digest comes later."""
    (tmp_path / "a").write_bytes(bytes(LARGE))
    io.track_input("a")
    later = StageIO("tts", stage_number=8)
    later.track_output("a", checksum="off")
    slow.set()
    io.finalize()
    assert told(io).entry()["checksum"] == sha256(bytes(LARGE))
    assert "producer" not in told(io).entry()


def test_stages_that_overlap_in_one_process(io, told):
    """What a stage tracks is known to another one that is open, at once and in turns."""
    subtitle = StageIO("subtitle", stage_number=7)
    for number in range(20):
        path = io.get_output_path(f"{number}.json")
        path.write_bytes(b"%d" % number)
        subtitle.track_input(path, "before")
        io.track_output(path)
        subtitle.track_input(path, "after")
    subtitle.finalize()
    found = told(subtitle)
    assert [named(event) for event in found.named(names.INPUT)] == [[], as_named(io)] * 20
    assert [entry["producer"] for entry in found.manifest["inputs"]] == [BY_ASR] * 20


def test_an_input_that_is_missing_names_who_was_to_make_it(io, words, told):
    """An output that is gone when it is to be read is still that stage's."""
    words.unlink()
    subtitle = StageIO("subtitle", stage_number=7)
    subtitle.track_input(words)
    subtitle.finalize()
    assert (told(subtitle).entry()["kind"], told(subtitle).entry()["producer"]) == ("missing", BY_ASR)


def test_outputs_outside_of_the_job_and_remote_ones(io, audio, told):
    """A file outside of the job and an address are known by their paths, the address without its credentials."""
    io.track_output(audio, checksum="off")
    io.track_output("s3://bucket/model.bin?token=one")
    io.finalize()
    tts = StageIO("tts", stage_number=8)
    tts.track_input(os.path.relpath(audio))
    tts.track_input("s3://me:pw@bucket/model.bin?token=two")
    tts.track_input("s3://bucket/other.bin")
    tts.finalize()
    assert [entry.get("producer") for entry in told(tts).manifest["inputs"]] == [BY_ASR, BY_ASR, None]


def test_an_address_with_a_given_checksum(io, words, told):
    """What was uploaded is known by the checksum that the call gives, though nobody knows its size."""
    tts = StageIO("tts", stage_number=8)
    tts.track_input("s3://bucket/words.json", checksum=sha256(b"words"))
    tts.finalize()
    assert told(tts).entry()["producer"] == BY_ASR


def test_folders_that_another_stage_made(io, told):
    """A folder is known by its path, a copy of it by its tree digest, and a file in it by neither."""
    folder = io.get_output_path("model")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/a").write_bytes(b"a")
    io.track_output(folder)
    io.finalize()
    shutil.copytree(folder, "copy")
    tts = StageIO("tts", stage_number=8)
    for path in (folder, "copy", folder / "deep/a"):
        tts.track_input(path)
    tts.finalize()
    assert [entry.get("producer") for entry in told(tts).manifest["inputs"]] == [BY_ASR, BY_ASR, None]


def test_tracked_again_an_input_has_who_made_it_last(io, words, told):
    """A file that was replaced by another stage since it was tracked has that stage as producer."""
    subtitle = StageIO("subtitle", stage_number=7)
    subtitle.track_input(words)
    polish = StageIO("polish", stage_number=9)
    polish.track_output(words)
    polish.finalize()
    subtitle.track_input(words)
    subtitle.finalize()
    assert told(subtitle).entry()["producer"] == {"stage": "polish", "stage_number": 9, "attempt": 1}


def test_lineage_in_a_relative_job_after_a_change_of_folder(io, words, tmp_path, monkeypatch):
    """The job is looked through where it was when the stage was opened."""
    words = words.absolute()
    subtitle = StageIO("subtitle", stage_number=7)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    subtitle.track_input(words)
    assert subtitle.manifest["inputs"][0]["producer"] == BY_ASR


def test_a_broken_manifest_of_another_stage(io, words, told):
    """A manifest that somebody broke keeps no input from being tracked, nor its producer from being known."""
    (Path("out") / "06_asr" / "manifest.json").write_bytes(b"{")
    subtitle = StageIO("subtitle", stage_number=7)
    subtitle.track_input(words)
    subtitle.finalize()
    assert told(subtitle).entry()["producer"] == BY_ASR
    assert told(subtitle).manifest["degraded"] == []


@pytest.mark.parametrize("large", [False, True])
def test_trouble_with_lineage_costs_the_producer_alone(io, tmp_path, monkeypatch, told, large):
    """A bug of ours in looking for the producer leaves entry and digest on record, and is told once."""
    monkeypatch.setattr(Lineage, "producer", lambda *_: 1 / 0)
    (tmp_path / "a").write_bytes(bytes(LARGE if large else 1))
    io.track_input("a", rate=1)
    io.finalize()
    (entry,) = io.manifest["inputs"]
    assert (entry["checksum"], entry["rate"]) == (sha256(bytes(LARGE if large else 1)), 1)
    (told_once,) = io.manifest["degraded"]
    assert told_once == "cannot find out which stage made an input: ZeroDivisionError: division by zero"


def test_with_nothing_written_nobody_is_looked_for(words, monkeypatch):
    """mode="off" reads no job folder, and a stage without a manifest none either."""
    monkeypatch.setattr(Lineage, "producer", lambda *_: 1 / 0)
    silent = StageIO("subtitle", stage_number=7, mode="off")
    silent.track_input(words)
    StageIO("tts", stage_number=8, enable_manifest=False).track_input(words)
    (entry,) = silent.manifest["inputs"]
    assert (entry["checksum"], "producer" in entry) == (sha256(b"words"), False)
    assert silent.manifest["degraded"] == []


def test_many_inputs_read_the_other_stages_once(io, tmp_path, monkeypatch):
    """A thousand inputs, tracked by several threads, read the job once, and each knows who made it."""
    for number in range(1000):
        io.track_output(tmp_path / f"{number}", checksum="off")
    io.finalize()
    lists: list[object] = []
    real = lineage.stages
    monkeypatch.setattr(lineage, "stages", lambda folder: lists.append(folder) or real(folder))
    tts = StageIO("tts", stage_number=8)
    tts.track_input(tmp_path / "0")
    with ThreadPoolExecutor(4) as pool:
        for number in range(1000):
            pool.submit(tts.track_input, tmp_path / f"{number}", checksum="off")
    assert [entry["producer"] for entry in tts.manifest["inputs"]] == [BY_ASR] * 1000
    assert len(lists) == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_lineage_in_a_forked_child(io, words, told):
    """What a child by fork reads has its producer."""
    subtitle = StageIO("subtitle", stage_number=7)
    child = os.fork()
    if child == 0:
        subtitle.track_input(words)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    subtitle.finalize()
    assert told(subtitle).entry()["producer"] == BY_ASR


# Many at once, and what the span tells.


def test_tracking_from_many_threads(io, tmp_path, told):
    """Threads that track at once lose nothing, and the journal says the same as the manifest."""
    for number in range(80):
        (tmp_path / f"{number:02d}").write_bytes(bytes([number]))
    with ThreadPoolExecutor(8) as pool:
        for number in range(80):
            pool.submit(io.track_input, f"{number:02d}", "part", number=number)
            pool.submit(io.track_output, f"{number:02d}", "part")
            pool.submit(io.track_input, "00", "part", number=number)
    io.finalize()
    document = told(io).manifest
    assert len(document["inputs"]) == len(document["outputs"]) == 80
    by_path = {entry["path"]: entry["checksum"] for entry in document["inputs"]}
    assert by_path == {str(tmp_path / f"{number:02d}"): sha256(bytes([number])) for number in range(80)}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # a stage has a thread, which Python 3.12 minds
def test_tracking_in_a_forked_child(io, tmp_path, told):
    """What a child by fork tracks is whole when its call returns, digests of large files included."""
    (tmp_path / "a").write_bytes(bytes(LARGE))
    child = os.fork()
    if child == 0:
        io.track_input("a", "part")
        io.track_output("a", "part")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    io.finalize()
    assert told(io).entry("inputs")["checksum"] == told(io).entry("outputs")["checksum"] == sha256(bytes(LARGE))


def test_metadata_too_long_for_a_line(io, audio, told):
    """Metadata of megabytes is cut in the journal, which says so, and the manifest shows what the journal has."""
    io.track_input(audio, text="x" * 2_000_000, kept="whole")
    io.finalize()
    (event,) = told(io).named(names.INPUT)
    assert event.attributes[names.CUT] == {names.ARTIFACT_METADATA + "text": 2_000_000}
    entry = told(io).entry()
    assert 400_000 < len(entry["text"]) < 2_000_000
    assert (entry["kept"], entry["checksum"]) == ("whole", sha256(b"RIFF"))
    (cut,) = told(io).manifest["degraded"]
    assert "metadata.text (2000000)" in cut


def test_every_call_is_on_disk_when_it_returns(io, audio, told):
    """Each call is in the journal and in `io.manifest` before it returns, the stage still running."""
    io.track_input(audio)
    io.track_output("b")
    io.track_intermediate("c")
    found = told(io)
    assert [event.event_name for event in found.events if event.event_name in (names.INPUT, names.OUTPUT)] == [
        names.INPUT,
        names.OUTPUT,
    ]
    assert [len(io.manifest[role]) for role in ("inputs", "outputs", "intermediate_files")] == [1, 1, 1]


def test_artifacts_on_the_span(io, audio, told):
    """Each artifact is one event of the span with its metadata, scalars as they are; totals are attributes."""
    io.track_input(audio, "audio", rate=16000, tags=["a"])
    io.track_intermediate(audio)
    io.finalize()
    span = told(io).span
    (event,) = [event for event in span.events if event.name == names.INPUT]
    assert event.attributes[names.ARTIFACT_METADATA + "rate"] == 16000
    assert event.attributes[names.ARTIFACT_METADATA + "tags"] == '["a"]'
    assert len(span.events) == 2
    assert (span.attributes["stageio.inputs.count"], span.attributes["stageio.inputs.size"]) == (1, 4)
