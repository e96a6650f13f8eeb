"""The quick way of tracking small files: it writes what the general way writes, byte for byte, or leaves it to that."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job.layout import EVENTS, TRACES
from otel_stageio.journal import appending, reader
from otel_stageio.record.artifacts import digests, small_files
from otel_stageio.record.artifacts.small_files import SmallFiles
from otel_stageio.record.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_stageio.model import Span

#: 2025-11-27 12:30:00.5 UTC.
MODIFIED = 1_764_246_600_500_000_000


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a stage left on disk, the ids and names that differ from stage to stage taken out, and what was quick."""

    events: list[bytes]
    manifest: bytes
    span: Span
    quick: int


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """What the quick way answered, call by call: whether it did it."""
    answers: list[bool] = []
    real = SmallFiles._take

    def take(self: SmallFiles, *arguments: Any) -> bool:
        answers.append(real(self, *arguments))
        return answers[-1]

    monkeypatch.setattr(SmallFiles, "_take", take)
    return answers


@pytest.fixture
def recorded(tmp_path: Path, quick: list[bool], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Record]:
    """Give a function that makes calls in stage 06_asr of a job that was made ready, in one way or the other."""

    def record(calls: Any, *, quickly: bool, ready: Any = None, **options: Any) -> Record:
        job = tmp_path / "job"
        if ready is not None:
            ready(job)
        with monkeypatch.context() as patch:
            moments = itertools.count(1_764_246_601_123_456_789, 1_000_003)
            patch.setattr(Clock, "now", lambda _: next(moments))
            io = StageIO("asr", job, stage_number=6, **options)
            io._background.close()
            io._quickly &= quickly
            io._hasher._background = io._hasher._allowed = 0  # digests come in their order, at the end
            quick.clear()
            calls(io)
            io.finalize()
        made = _record(io, sum(quick))
        job.rename(tmp_path / f"{job.name} {'quick' if quickly else 'general'} {os.urandom(4).hex()}")
        return made

    return record


def _record(io: StageIO, quick: int) -> Record:
    folder = io.manifest_path.parent / ".stageio" / "001"
    document = json.loads(io.manifest_path.read_bytes())
    ids = {document["job_id"]: "JOB", document["trace_id"]: "TRACE", document["span_id"]: "SPAN"}
    ids[io._recorder._signature._writer] = "WRITER"

    def same(text: bytes) -> bytes:
        for each, shown in ids.items():
            text = text.replace(each.encode(), shown.encode())
        return text

    events = (folder / EVENTS).read_bytes().splitlines()
    measured = {"resources", "git", "trace_id", "span_id", "job_id", "started_at", "duration_seconds"}
    told = {key: of for key, of in document.items() if key not in measured}
    (span,) = reader.spans(str(folder / TRACES))
    return Record(
        events=[same(line) for line in events if b'"eventName":"stageio.stage.' not in line],
        manifest=same(json.dumps(told).encode()),
        span=span,
        quick=quick,
    )


def same(recorded: Callable[..., Record], calls: Any, *, ready: Any = None, **options: Any) -> int:
    """Hold both ways together, and tell how many calls were quick."""
    general = recorded(calls, quickly=False, ready=ready, **options)
    found = recorded(calls, quickly=True, ready=ready, **options)
    assert found.events == general.events
    assert found.manifest == general.manifest
    assert found.span.events == general.span.events
    assert _shown(found.span) == _shown(general.span)
    assert general.quick == 0
    return found.quick


def _shown(span: Span) -> object:
    attributes = {key: of for key, of in span.attributes.items() if key.startswith(("stageio.inputs", "stageio.out"))}
    return attributes, [link.attributes for link in span.links], span.dropped_events_count, span.dropped_links_count


def make(*files: str | Path, data: bytes | None = None) -> None:
    """Make files, by default with their names in them, always of the same time."""
    for each in files:
        Path(each).parent.mkdir(parents=True, exist_ok=True)
        Path(each).write_bytes(os.fsencode(Path(each).name) if data is None else data)
        os.utime(each, ns=(MODIFIED, MODIFIED))


# Both ways say the same.


def test_roles_and_kinds_of_paths(recorded, tmp_path):
    """Input, output and intermediate file; text and path, absolute, relative and roundabout."""
    make("a.wav", "deep/b.wav")

    def calls(io: StageIO) -> None:
        for role in ("input", "output", "intermediate"):
            track = getattr(io, f"track_{role}")
            for path in (tmp_path / "a.wav", str(tmp_path / "deep/b.wav"), "deep/b.wav", Path("a.wav")):
                track(path, "audio") if role != "intermediate" else track(path)
            track(f"{tmp_path}//deep/../a.wav")
            track("./deep/./b.wav")
            track(f"{tmp_path}/deep/.././a.wav")

    assert same(recorded, calls) == 21


def test_names_of_files(recorded):
    """Names in other scripts, with quotes, newlines, controls and blanks; one that is not UTF-8 has its bytes."""
    given = ["grüß \U0001f3b5.wav", 'two\n"lines"\\', "tab\t\x1b[31m", "-rf *", " ", "a", "%s {} {0}", "caf\udce9"]
    make(*given)

    def calls(io: StageIO) -> None:
        for name in given:
            io.track_input(name)
            io.track_output(name)

    assert same(recorded, calls) == 14


def test_files_of_the_job(recorded, tmp_path):
    """Paths in the job are relative to it, by its name and by its real one."""

    def ready(job: Path) -> None:
        shutil.rmtree(tmp_path / "real", ignore_errors=True)
        (tmp_path / "real").mkdir()
        job.symlink_to("real")

    def calls(io: StageIO) -> None:
        for path in (io.get_output_path("a.json"), io.get_cache_path("b"), tmp_path / "real" / "06_asr" / "a.json"):
            make(path)
            io.track_output(path, "words")
            io.track_intermediate(path, True, "kept")  # noqa: FBT003 - the card's signature

    assert same(recorded, calls, ready=ready) == 6


def test_types(recorded):
    """The type as second argument, by keyword, beside a keyword, empty, of another type, and none."""
    make("a")

    def calls(io: StageIO) -> None:
        io.track_input("a", "audio")
        io.track_input("a", type="audio")
        io.track_input("a", "audio", type="other")
        io.track_input("a", "")
        io.track_input("a", type="")
        io.track_output("a", type=None, n=1)
        io.track_output("a", 7)
        io.track_output("a", ["audio"])
        io.track_output("a", type={"a": 1})
        io.track_output("a", "grüß\n")
        io.track_output("a", "\udce9")
        io.track_output("a", "x" * 5000)
        io.track_intermediate("a", type="cache")

    assert same(recorded, calls) == 7


METADATA = [
    {"language": "de", "rate": 16000, "gain": -1.5, "mono": True},
    {"text": 'grüß "x"\n\\ \u2028', "größe": 1, "key with blanks": 2, 'quote"d': 3},
    {"zero": 0, "minus": -0.0, "one": 1.0, "no": False, "large": 2**63 - 1, "small": -(2**63), "tiny": 5e-324},
    {"x": "x" * 4096},
]
ODD = [
    {"none": None},
    {"nan": float("nan")},
    {"huge": 2**63},
    {"nested": {"a": [1]}},
    {"path": "collides"},
    {"checksum": "mine"},
    {"checksum": "off"},
    {"file_id": "mine"},
    {"text": "\udce9"},
    {"\udce9": 1},
    {"x": "x" * 4097},
    {"scalar": np.float32(0.5)},
    {"bytes": b"\0"},
    {f"key{number}": "x" * 4000 for number in range(20)},
]


@pytest.mark.parametrize("metadata", [*METADATA, *ODD], ids=lambda of: repr(of)[:30])
def test_metadata(recorded, metadata):
    """Plain metadata goes the quick way, any other the general one; what they write is the same."""
    make("a")

    def calls(io: StageIO) -> None:
        io.track_input("a", "audio", **metadata)
        io.track_output("a", **metadata)
        if not {"checksum"} & metadata.keys():
            io.track_intermediate("a", **metadata)

    assert same(recorded, calls) == (3 if metadata in METADATA else 0)


def test_values_that_are_equal_but_not_the_same(recorded):
    """1, 1.0 and True, as metadata and as what is remembered of a call, are each written as what they are."""
    make("a", "b", "c")

    def calls(io: StageIO) -> None:
        for of in (1, True, 1.0, 0, False, -0.0, 0.0):
            for path in ("a", "b"):
                io.track_output(path, n=of)
            io.track_intermediate("c", of, n=of)

    assert same(recorded, calls) == 21


def test_tracked_again(recorded):
    """A file that is tracked again, quickly or not, keeps its place and what metadata is not repeated."""
    make("a", "b")

    def calls(io: StageIO) -> None:
        io.track_output("a", "audio", first=1, second="x")
        io.track_output("b")
        io.track_output("a", "sound", second="y")
        io.track_output("a", third=[1])
        io.track_output("a", fourth=True)
        io.track_output("b", path="collides")
        io.track_output("b", fifth=1)

    assert same(recorded, calls) == 5


def test_outputs_are_judged_at_the_end(recorded):
    """An output that changes, vanishes or is made after the call is recorded anew with all that the call said."""

    def calls(io: StageIO) -> None:
        make("changes", "vanishes", "stays")
        Path("comes").unlink(missing_ok=True)
        for name in ("changes", "vanishes", "stays", "comes"):
            io.track_output(name, "words", language="de", n=1)
        path = io.get_output_path("inside.json")
        make(path)
        io.track_output(path)
        make(path, data=b"22")
        make("changes", data=b"changed")
        Path("vanishes").unlink()
        make("comes")

    assert same(recorded, calls) == 4


def test_what_is_no_small_file(recorded, tmp_path):
    """A folder, a large file, one that is missing, a FIFO, a link to nowhere and an address go the general way."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    (tmp_path / "just").write_bytes(bytes(1 << 20))
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "good link").symlink_to("empty")
    os.mkfifo("fifo")

    def calls(io: StageIO) -> None:
        for name in ("folder", "large", "missing", "fifo", "link", "s3://bucket/a", "", "just", "empty", "good link"):
            io.track_input(name)
        io.track_input(b"empty")
        io.track_input(np.str_("empty"))
        io.track_input(f"{tmp_path}/empty/")
        io.track_input("empty\0")

    assert same(recorded, calls) == 3


def test_times_that_are_unusual(recorded):
    """Before 1970, at its beginning, and of the year 2413."""
    times = (-1, 0, 999_999_999, 14_000_000_000 * 10**9)
    make("a")

    def calls(io: StageIO) -> None:
        for at in times:
            os.utime("a", ns=(at, at))
            io.track_input("a", at=str(at))
            io.track_output("a")

    assert same(recorded, calls) == 8


def test_a_time_that_no_calendar_knows(quick, monkeypatch, told, tmp_path):
    """A time beyond the year 9999 is left to the general way."""
    make("a")
    real = os.stat("a")
    far = os.stat_result(tuple(real), {"st_mtime_ns": 10**21, "st_ctime_ns": real.st_ctime_ns})
    monkeypatch.setattr(digests, "hash_small", lambda _: (far, b"x" * 32))
    io = StageIO("asr", tmp_path / "out")
    io.track_input("a")
    io.finalize()
    assert quick == [False]
    assert "modified" in told(io).entry()  # the general way looked for itself


def test_inputs_that_other_stages_made(recorded, tmp_path):
    """The producer is in the event, the entry and the links of the span, by path and by content, up to the limits."""

    def ready(job: Path) -> None:
        for number, name in ((4, "demux"), (5, "vad")):
            with StageIO(name, job, stage_number=number) as io:
                for each in range(100):
                    path = io.get_output_path(f"{each}")
                    make(path, data=b"%d" % each if number == 5 else b"")
                    io.track_output(path)
        make("copy", data=b"7")

    def calls(io: StageIO) -> None:
        for each in range(100):
            io.track_input(io.job_dir / "05_vad" / f"{each}", "part", n=each)
            io.track_input(io.job_dir / "04_demux" / f"{each}")
        io.track_input("copy")
        io.track_output("copy")

    assert same(recorded, calls, ready=_once(ready, tmp_path / "ready")) == 202
    span = recorded(calls, quickly=True, ready=_once(ready, tmp_path / "ready")).span
    assert (len(span.links), span.dropped_links_count) == (100, 101)


def _once(ready: Any, kept: Path) -> Any:
    """A job that is made ready once and copied, so that the ids of its stages are the same each time."""

    def again(job: Path) -> None:
        if not kept.exists():
            ready(job)
            job.rename(kept)
        shutil.copytree(kept, job)

    return again


def test_more_than_the_span_can_hold(recorded):
    """What the span has room for, and the count of the others, are the same; between them stand others' events."""
    make(*(f"{number}" for number in range(100)))

    def calls(io: StageIO) -> None:
        for each in range(1100):
            io.track_input(f"{each % 100}", n=each, filler="x" * (each % 7))
            if each % 50 == 0:
                io.add_metric("each", each)
                io.add_warning("w")

    assert same(recorded, calls) == 1100


def test_many_small_events_fill_the_span_by_number(recorded, monkeypatch):
    """The limit of the number holds as well as that of the bytes."""
    monkeypatch.setattr("otel_stageio.views.span._MOST_PLAIN", 80.0)
    monkeypatch.setattr("otel_stageio.views.span.MOST_EVENTS", 100)
    make("a")

    def calls(io: StageIO) -> None:
        for each in range(120):
            io.track_input("a", n=each)

    assert same(recorded, calls) == 120


TOKEN = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cF0hL3nR6"


def test_secrets(recorded):
    """A secret in a path, a type, a reason or metadata, by name or by value, is hidden in either way, and counted."""
    make(f"{TOKEN}.wav", "a")

    def calls(io: StageIO) -> None:
        io.track_input(f"{TOKEN}.wav")
        io.track_output("a", TOKEN)
        io.track_output("a", note=f"by {TOKEN}")
        io.track_output("a", password="hunter2-Canary")
        io.track_output("a", **{TOKEN: 1})
        io.track_intermediate("a", reason=f"for {TOKEN}")
        io.track_output("a", tokens=512)

    assert same(recorded, calls) == 1
    found = recorded(calls, quickly=True)
    assert all(TOKEN.encode() not in line and b"hunter2" not in line for line in (*found.events, found.manifest))
    assert json.loads(found.manifest)["redacted"] == json.loads(recorded(calls, quickly=False).manifest)["redacted"]


@pytest.mark.parametrize("pattern", ["sha256:[0-9a-f]{8}", "2025-11-2[0-9]", "kept", "a.wav", "nothing"])
def test_patterns_of_the_users_own(recorded, monkeypatch, pattern):
    """They are looked for in every text of the event, also in those that nobody else would take for a secret."""
    monkeypatch.setenv("STAGEIO_REDACT", pattern)
    make("a.wav", "b")

    def calls(io: StageIO) -> None:
        io.track_input("a.wav", "audio", note="kept")
        io.track_output("b", "kept")
        io.track_output("b")

    quick = {"kept": 1, "a.wav": 2, "nothing": 3}.get(pattern, 0)
    assert same(recorded, calls) == quick


@pytest.mark.parametrize("checksum", ["auto", "sha256", "stat", "off"])
def test_the_stages_own_checksum(recorded, checksum):
    """Only where files are hashed in full there is a quick way; a judged output is read by the same rule."""

    def calls(io: StageIO) -> None:
        make("a", "b")
        io.track_input("a")
        io.track_output("b")
        make("b", data=b"changed")

    assert same(recorded, calls, checksum=checksum) == (2 if checksum in ("auto", "sha256") else 0)


def test_many_manners(recorded, monkeypatch):
    """What is remembered of calls does not grow without end, nor what kinds of files are told apart."""
    monkeypatch.setattr(small_files, "_MOST", 3)
    monkeypatch.setattr("otel_stageio.views.entries._MOST_KINDS", 4)
    make(*(f"{number}" for number in range(10)))
    held = []

    def calls(io: StageIO) -> None:
        for each in range(20):
            io.track_output(f"{each % 10}", f"type {each % 7}", n=each)
        held.append(len(io._manners))

    assert same(recorded, calls) == 20
    assert max(held) <= 3


# What is left to the general way.


def test_nothing_is_quick_where_nothing_is_hashed_or_written(tmp_path, quick):
    """mode="off" and enable_manifest=False have no quick way."""
    make("a")
    for options in ({"mode": "off"}, {"enable_manifest": False}):
        io = StageIO("asr", tmp_path / "out", **options)
        io.track_input("a")
        io.finalize()
    assert quick == []


def test_a_call_after_the_end(tmp_path, quick, told):
    """It is on record as what it is: late."""
    make("a")
    io = StageIO("asr", tmp_path / "out")
    io.finalize()
    io.track_input("a")
    found = told(io)
    assert quick == [False]
    assert found.entry()["checksum"] == f"sha256:{hashlib.sha256(b'a').hexdigest()}"
    assert [each["call"] for each in found.manifest["warnings"][0]["calls"]] == ["track_input"]


def test_a_call_within_a_record(tmp_path, quick, told, monkeypatch):
    """A call that comes in the middle of a record, as from a signal handler, is written too, and in its order."""
    make("a", "b")
    io = StageIO("asr", tmp_path / "out")
    real = appending.AppendFile.write
    inside = []

    def write(self: appending.AppendFile, line: bytes) -> None:
        if b'"a"' in line.replace(b"/", b'"') and not inside:
            inside.append(1)
            io.track_input("b")
        real(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(appending.AppendFile, "write", write)
        io.track_input("a")
    io.finalize()
    assert [Path(entry["path"]).name for entry in told(io).manifest["inputs"]] == ["a", "b"]


def test_a_file_that_changes_while_it_is_read(tmp_path, quick, told, monkeypatch):
    """It is read anew by the general way, and has the digest of what it holds in the end."""
    make("a")
    real = os.read

    def read(descriptor: int, length: int) -> bytes:
        found = real(descriptor, length)
        if found == b"a":
            Path("a").write_bytes(b"changed")
        return found

    io = StageIO("asr", tmp_path / "out")
    monkeypatch.setattr(os, "read", read)
    io.track_input("a")
    io.finalize()
    assert quick == [False]
    assert told(io).entry()["checksum"] == f"sha256:{hashlib.sha256(b'changed').hexdigest()}"


def test_a_bug_of_ours_costs_nothing(tmp_path, quick, told, monkeypatch):
    """Where the quick way fails the general one does it, and nobody hears of it."""
    make("a")
    io = StageIO("asr", tmp_path / "out")
    monkeypatch.setattr(digests, "hash_small", lambda _: 1 / 0)
    io.track_input("a", n=1)
    io.finalize()
    found = told(io)
    assert (found.entry()["n"], found.manifest["degraded"], quick) == (1, [], [False])


def test_a_bug_of_ours_after_the_line_was_written(tmp_path, told, monkeypatch):
    """The record stands twice in the journal then, and once in the manifest."""
    make("a")
    io = StageIO("asr", tmp_path / "out")
    monkeypatch.setattr("otel_stageio.views.state.StageState.add_file", lambda *_: 1 / 0)
    io.track_input("a", n=1)
    io.finalize()
    found = told(io)
    assert (found.entry()["n"], len(found.named(names.INPUT)), found.manifest["degraded"]) == (1, 2, [])


def test_a_disk_that_refuses(tmp_path, monkeypatch, capsys):
    """The stage goes on, the manifest knows the file, and says once that the disk refused its record."""
    make("a", "b")
    io = StageIO("asr", tmp_path / "out")
    real = appending.AppendFile.write

    def write(self: appending.AppendFile, line: bytes) -> None:
        if b'"stageio.input"' in line:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, line)

    monkeypatch.setattr(appending.AppendFile, "write", write)
    io.track_input("a")
    io.track_input("b")
    document = io.manifest
    assert [Path(entry["path"]).name for entry in document["inputs"]] == ["a", "b"]
    (told_once,) = document["degraded"]
    assert "events.jsonl: OSError: [Errno 28] No space left on device" in told_once
    assert capsys.readouterr().err.count("cannot write") == 1


def test_an_earlier_digest_is_out_of_date(tmp_path, told, monkeypatch):
    """A large file that became a small one while its digest was awaited has the small one's alone."""
    Path("a").write_bytes(bytes((1 << 20) + 1))
    io = StageIO("asr", tmp_path / "out")
    monkeypatch.setattr(io._hasher, "submit", lambda *_: None)
    io.track_input("a")
    assert len(io._awaited) == 1
    make("a")
    io.track_input("a")
    assert io._awaited == {}
    io.finalize()
    assert told(io).entry()["checksum"] == f"sha256:{hashlib.sha256(b'a').hexdigest()}"


# What it costs.


def test_no_more_than_it_takes(tmp_path, monkeypatch):
    """A small file costs one look, one opening, one reading, one more look and one line: no realpath, no json."""
    make("a", "b")
    io = StageIO("asr", tmp_path / "out")
    io.track_intermediate(tmp_path / "a")
    seen: list[str] = []

    def counted(name: str, real: Any) -> Any:
        return lambda *of, **more: seen.append(name) or real(*of, **more)

    io._background.close()
    with monkeypatch.context() as patch:
        for name in ("stat", "lstat", "fstat", "open", "read", "close", "write", "getcwd", "readlink"):
            patch.setattr(os, name, counted(name, getattr(os, name)))
        patch.setattr(json, "dumps", counted("dumps", json.dumps))
        io.track_intermediate(tmp_path / "b")
    assert seen == ["stat", "open", "read", "fstat", "close", "write"]


@pytest.mark.parametrize(("role", "limit"), [("input", 400), ("output", 500), ("intermediate", 400)])
def test_memory_of_a_tracked_file(tmp_path, role, limit):
    """A tracked file leaves less than half a kilobyte in memory, its path and its metadata included."""
    io = StageIO("asr", tmp_path / "out")
    paths = [io.job_dir / "parts" / f"segment_{number:06d}.bin" for number in range(1300)]
    make(*paths)
    io._background.close()
    io._recorder.state.span_events._bytes = 1 << 20  # the span is full
    track = getattr(io, f"track_{role}")

    for path in paths[:100]:
        track(str(path), language="de")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for path in paths[100:]:
            track(str(path), language="de")
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert (after - before) / 1200 < limit
