"""Which stage made a file: found by path or content, as soon as it is on record, and read once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job import lineage, outputs
from otel_stageio.job.layout import EVENTS, JobLayout, StageLayout
from otel_stageio.job.lineage import Lineage
from otel_stageio.job.outputs import Producer
from otel_stageio.views.artifacts import EVENT_OF
from tests.processes import in_processes

if TYPE_CHECKING:
    from pathlib import Path

DATA = b"words"
SHA = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
SHA_OF_NOTHING = f"sha256:{hashlib.sha256().hexdigest()}"
LARGE = bytes((1 << 20) + 1)
SHA_OF_LARGE = f"sha256:{hashlib.sha256(LARGE).hexdigest()}"


@pytest.fixture
def job(tmp_path: Path) -> JobLayout:
    """A job folder that is not there yet."""
    return JobLayout(tmp_path / "out")


@pytest.fixture
def asks(job: JobLayout) -> Lineage:
    """The lineage that stage 07_subtitle asks."""
    return Lineage(job, StageLayout(job, 7, "subtitle"))


def opened(job: JobLayout, name: str, *outputs: str, data: bytes = DATA, **options: Any) -> StageIO:
    """A running stage that tracked these outputs in its folder."""
    io = StageIO(name, job.root, **options)
    for output in outputs:
        path = io.get_output_path(output)
        path.write_bytes(data)
        io.track_output(path)
    return io


def ended(job: JobLayout, name: str, *outputs: str, data: bytes = DATA, end: str = "success") -> StageIO:
    """A stage that tracked these outputs in its folder and ended."""
    io = opened(job, name, *outputs, data=data)
    io.finalize(end)
    return io


def of(io: StageIO, attempt: int = 1) -> Producer:
    """A stage as producer."""
    document = io.manifest
    return Producer(io.stage_name, io.stage_number, attempt, document["trace_id"], document["span_id"])


def made(lines: Lineage, path: str | None = None, checksum: str | None = None, size: int | None = 5) -> str | None:
    """Stage and attempt that made an artifact, as ``asr/1``."""
    found = lines.producer(path, checksum, size)
    return None if found is None else f"{found.stage}/{found.attempt}"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been read so far: the job folder's list, manifests by stage, lines of journals."""
    seen: list[str] = []
    real_list, real_manifest, real_line = lineage.stages, outputs._from_manifest, outputs.records

    def stages(job):
        seen.append("list")
        return real_list(job)

    def from_manifest(stage, attempt, journal):
        seen.append(f"manifest of {stage.name}")
        return real_manifest(stage, attempt, journal)

    def records(line):
        seen.append("line")
        return real_line(line)

    monkeypatch.setattr(lineage, "stages", stages)
    monkeypatch.setattr(outputs, "_from_manifest", from_manifest)
    monkeypatch.setattr(outputs, "records", records)
    return seen


# What is matched.


def test_the_same_path(job, asks):
    """An artifact of a path that a stage tracked as output was made by that stage, whatever it holds by now."""
    asr = ended(job, "06_asr", "words.json")
    assert asks.producer("06_asr/words.json", "sha256:" + "00" * 32, 7) == of(asr)
    assert made(asks, "06_asr/other.json") is None


def test_a_producer_as_attributes(job, asks):
    """A producer names itself to the event of the stage that asks, stage, attempt and span."""
    asr = ended(job, "06_asr", "words.json")
    found = asks.producer("06_asr/words.json", None, None)
    assert found is not None
    assert found.attributes() == {
        names.PRODUCER_STAGE: "asr",
        names.PRODUCER_NUMBER: 6,
        names.PRODUCER_ATTEMPT: 1,
        names.PRODUCER_TRACE_ID: asr.manifest["trace_id"],
        names.PRODUCER_SPAN_ID: asr.manifest["span_id"],
    }


def test_the_same_content(job, asks):
    """A file of the same digest was made by that stage under whatever path, also where its size is not known."""
    ended(job, "06_asr", "words.json")
    assert made(asks, "/elsewhere/copy.json", SHA) == "asr/1"
    assert made(asks, "s3://bucket/copy.json", SHA, size=None) == "asr/1"
    assert made(asks, "/elsewhere/copy.json", None) is None


def test_the_path_counts_before_the_content(job, asks):
    """Where one stage has the path and another, started later, the content, the one with the path made it."""
    ended(job, "05_vad", "a.json", data=b"other")
    ended(job, "06_asr", "b.json")
    assert made(asks, "05_vad/a.json", SHA) == "vad/1"


def test_an_empty_file_is_known_by_its_path_alone(job, asks):
    """No content is the same as any other no content: it tells nothing of who made it."""
    ended(job, "06_asr", "empty", data=b"")
    assert made(asks, "copy", SHA_OF_NOTHING, size=0) is None
    assert made(asks, "copy", SHA_OF_NOTHING, size=None) is None
    assert made(asks, "06_asr/empty", SHA_OF_NOTHING, size=0) == "asr/1"


def test_addresses_are_known_to_be_empty_by_what_is_told_of_them(job, asks):
    """Where the producer did not know the size either, the digest of nothing and a size of 0 still tell nothing."""
    io = StageIO("06_asr", job.root)
    io.track_output("s3://bucket/empty", checksum=SHA_OF_NOTHING)
    io.track_output("s3://bucket/parts", checksum="sha256:" + "ab" * 32)
    assert made(asks, "copy", SHA_OF_NOTHING, size=None) is None
    assert made(asks, "copy", "sha256:" + "ab" * 32, size=0) is None
    assert made(asks, "copy", "sha256:" + "ab" * 32, size=None) == "asr/1"


def test_a_folder_of_empty_files_is_known_by_its_path_alone(job, asks):
    """A tree digest over names alone tells nothing either."""
    io = StageIO("06_asr", job.root)
    (io.stage_dir / "parts").mkdir()
    (io.stage_dir / "parts/_SUCCESS").touch()
    io.track_output(io.stage_dir / "parts")
    io.finalize()
    (entry,) = io.manifest["outputs"]
    assert made(asks, "copy", entry["checksum"], size=0) is None
    assert made(asks, "06_asr/parts", entry["checksum"], size=0) == "asr/1"


@pytest.mark.parametrize("end", ["success", None])
def test_a_print_of_sizes_and_times_is_no_content(job, asks, end):
    """An output with a stat print is known by its path alone, whether the stage has ended or not."""
    io = StageIO("06_asr", job.root, checksum="stat")
    path = io.get_output_path("words.json")
    path.write_bytes(DATA)
    io.track_output(path)
    if end:
        io.finalize(end)
    (entry,) = io.manifest["outputs"]
    assert entry["stat_print"].startswith("stat:")
    assert made(asks, "copy", entry["stat_print"]) is None
    assert made(asks, "06_asr/words.json") == "asr/1"


@pytest.mark.parametrize("role", ["input", "intermediate"])
def test_outputs_alone_count(job, asks, role):
    """What a stage read or made for itself was not made by it, whether it has ended or not."""
    io = opened(job, "06_asr")
    path = io.get_output_path("words.json")
    path.write_bytes(LARGE)
    getattr(io, f"track_{role}")(path)
    io._settle_digests(wait=60, progress=None)
    assert made(asks, "06_asr/words.json", SHA_OF_LARGE, size=len(LARGE)) is None
    io.finalize()
    assert made(asks, "06_asr/words.json", SHA_OF_LARGE, size=len(LARGE)) is None


# Which attempt.


def test_a_stage_is_never_its_own_producer(job, asks):
    """What a former attempt of the asking stage made does not count, under its path nor by its content."""
    ended(job, "07_subtitle", "a.srt", end="failed")
    opened(job, "07_subtitle", "b.srt")
    assert made(asks, "07_subtitle/a.srt", SHA) is None
    assert made(asks, "07_subtitle/b.srt", SHA) is None


def test_a_stage_of_the_same_name_and_another_number_is_another_one(job, asks):
    """A stage is its number and its name."""
    ended(job, "03_subtitle", "a.srt")
    assert made(asks, "03_subtitle/a.srt") == "subtitle/1"


def test_a_retry_is_the_producer(job, asks):
    """The newest attempt that tracked it made the file, also where the question was answered before it."""
    ended(job, "06_asr", "words.json", "left_out.json", end="failed")
    assert made(asks, "06_asr/words.json") == "asr/1"
    retry = opened(job, "06_asr", "words.json")
    assert asks.producer("06_asr/words.json", None, None) == of(retry, attempt=2)
    retry.finalize()
    assert asks.producer("06_asr/words.json", None, None) == of(retry, attempt=2)
    assert made(asks, "06_asr/left_out.json") == "asr/1"


@pytest.mark.parametrize("end", ["skipped", "failed", "success", None])
def test_a_later_attempt_that_tracked_nothing(job, asks, end):
    """A stage that is started again and finds its work done, or dies early, leaves the file to who made it."""
    ended(job, "06_asr", "words.json")
    again = opened(job, "06_asr")
    if end:
        again.finalize(end)
    assert made(asks, "06_asr/words.json") == "asr/1"


def test_of_several_the_one_that_started_last(job, asks):
    """A path that several stages tracked was made by the one that was started last, whatever its number."""
    outside = job.root.parent / "shared.json"
    outside.write_bytes(DATA)
    for name in ("05_vad", "06_asr", "04_demux"):
        io = StageIO(name, job.root)
        io.track_output(outside)
        io.finalize()
    assert made(asks, str(outside)) == "demux/1"
    assert made(asks, "copy", SHA) == "demux/1"
    running = StageIO("03_probe", job.root)
    running.track_output(outside)
    assert made(asks, str(outside)) == "probe/1"


@pytest.mark.parametrize("end", ["failed", "skipped"])
def test_the_end_does_not_matter(job, asks, end):
    """A stage that failed or was skipped made what it tracked."""
    ended(job, "06_asr", "words.json", end=end)
    assert made(asks, "06_asr/words.json", SHA) == "asr/1"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_stage_that_was_killed(job, asks):
    """A stage without an end made what it tracked up to its last moment, though its manifest lags behind."""
    in_processes(1, lambda _: bool(opened(job, "06_asr", "a.json", "b.json")))  # leaves through os._exit
    assert json.loads((job.root / "06_asr/manifest.json").read_bytes())["outputs"] == []
    assert made(asks, "06_asr/b.json") == "asr/1"
    assert made(asks, "copy", SHA) == "asr/1"


# When.


def test_a_running_stage_is_known_at_once(job, asks):
    """What a stage tracks while the other one runs is found by the next question, by path and by content."""
    asr = StageIO("06_asr", job.root)
    for number in range(3):
        path = asr.get_output_path(f"{number}.json")
        path.write_bytes(b"%d" % number)
        assert made(asks, f"06_asr/{number}.json") is None
        asr.track_output(path)
        assert asks.producer(f"06_asr/{number}.json", None, None) == of(asr)
        assert made(asks, "copy", f"sha256:{hashlib.sha256(b'%d' % number).hexdigest()}") == "asr/1"
    asr.finalize()
    assert [made(asks, f"06_asr/{number}.json") for number in range(4)] == ["asr/1"] * 3 + [None]


def test_a_stage_that_starts_after_the_first_question(job, asks):
    """Stages that start, and end, after the first question was answered are known by the next one."""
    assert made(asks, "06_asr/words.json") is None
    ended(job, "05_vad", "speech.json", data=b"speech")
    assert made(asks, "05_vad/speech.json") == "vad/1"
    opened(job, "06_asr", "words.json")
    assert made(asks, "06_asr/words.json") == "asr/1"


def test_the_late_digest_of_a_running_stages_output(job, asks):
    """The content of a large output is known when its digest is on record, its path before."""
    asr = opened(job, "06_asr", "model.bin", data=LARGE)
    assert made(asks, "06_asr/model.bin") == "asr/1"
    asr._settle_digests(wait=60, progress=None)
    assert made(asks, "copy.bin", SHA_OF_LARGE, size=len(LARGE)) == "asr/1"
    asr.finalize()
    assert made(asks, "copy.bin", SHA_OF_LARGE, size=len(LARGE)) == "asr/1"


def test_an_output_tracked_after_the_end(job):
    """A call after the end counts, though the manifest that stands there was written before it."""
    asr = ended(job, "06_asr", "words.json")
    manifest = asr.manifest_path.read_bytes()
    os.utime(asr.manifest_path, ns=(0, 0))
    asr.track_output(job.root / "06_asr/late.json")
    assert asr.manifest_path.read_bytes() == manifest
    asks = Lineage(job, StageLayout(job, 7, "subtitle"))
    assert made(asks, "06_asr/late.json") == "asr/1"
    assert made(asks, "06_asr/words.json") == "asr/1"


def test_stages_without_a_manifest(job, asks):
    """finalize(save_manifest=False) leaves the outputs in the journal; with enable_manifest=False there are none."""
    opened(job, "06_asr", "words.json").finalize(save_manifest=False)
    assert not (job.root / "06_asr/manifest.json").exists()
    assert made(asks, "06_asr/words.json", SHA) == "asr/1"
    opened(job, "05_vad", "speech.json", data=b"speech", enable_manifest=False).finalize()
    assert made(asks, "05_vad/speech.json") is None


# What is broken or strange.

WHOLE = {"attempt": 1, "status": "success", "trace_id": "ab" * 16, "span_id": "ab" * 8, "started_at": "", "outputs": []}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[1, 2]",
        b"7",
        b"{}",
        b"[" * 100_000,
        *(
            json.dumps({**WHOLE, **change}).encode()
            for change in (
                {"attempt": 7},
                {"status": "done"},
                {"status": ["success"]},
                {"trace_id": None},
                {"trace_id": "no hex"},
                {"span_id": "ab"},
                {"outputs": None},
                {"outputs": ["words.json"]},
                {"outputs": [{"path": "words.json"}]},
            )
        ),
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
def test_a_broken_manifest_costs_nothing(job, asks, content):
    """A manifest that is torn, somebody else's or of another attempt is passed over: the journal tells the same."""
    ended(job, "05_vad", "speech.json", data=b"speech")
    asr = ended(job, "06_asr", "words.json")
    asr.manifest_path.write_bytes(content)
    assert asks.producer("06_asr/words.json", None, None) == of(asr)
    assert made(asks, "05_vad/speech.json") == "vad/1"


def test_a_manifest_that_cannot_be_read(job, asks):
    """Neither does one that is no file."""
    asr = ended(job, "06_asr", "words.json")
    asr.manifest_path.unlink()
    asr.manifest_path.mkdir()
    assert made(asks, "06_asr/words.json") == "asr/1"


def test_lines_of_a_journal_that_say_nothing(job, asks):
    """Torn and strange lines of a running stage are passed over, and one without its end is read when it is whole."""
    asr = opened(job, "06_asr", "a.json")
    journal = job.root / "06_asr/.stageio/001" / EVENTS
    whole = journal.read_bytes().splitlines(keepends=True)[-1]
    for path in (b'{"stringValue":"06_asr/b.json"}', b'{"arrayValue":{}}'):
        line = whole.replace(b'{"stringValue":"06_asr/a.json"}', path)
        assert line != whole
        with journal.open("ab") as file:
            file.write(line.replace(b'"resourceLogs"', b'"resourceLog"'))
            file.write(line[:-9] + b"\n")
            file.write(b"[" * 100_000 + b'"eventName":"stageio.output"\n')
            file.write(line[:-9])
        assert made(asks, "06_asr/b.json") == (None if b"b.json" in path else "asr/1")
        with journal.open("ab") as file:
            file.write(line[-9:])
        assert made(asks, "06_asr/b.json") == "asr/1"
    path = asr.get_output_path("c.json")
    asr.track_output(path)
    assert made(asks, "06_asr/c.json") == "asr/1"


def test_a_journal_without_a_start(job, asks):
    """A journal whose start cannot be read names nobody, and makes no trouble for the other stages."""
    ended(job, "05_vad", "speech.json", data=b"speech")
    asr = opened(job, "06_asr", "words.json")
    journal = job.root / "06_asr/.stageio/001" / EVENTS
    began = journal.read_bytes().split(b'"timeUnixNano":"', 1)[1].split(b'"', 1)[0]
    journal.write_bytes(journal.read_bytes().replace(began, b"99999999999999999999"))
    assert made(asks, "05_vad/speech.json") == "vad/1"
    assert made(asks, "06_asr/words.json") is None
    asr.finalize()


def test_the_folder_of_a_running_stage_vanishes(job, asks):
    """What was known of a stage whose folder was removed is known until the next stage starts or ends."""
    opened(job, "06_asr", "words.json")
    assert made(asks, "06_asr/words.json") == "asr/1"
    shutil.rmtree(job.root / "06_asr")
    assert made(asks, "06_asr/words.json") == "asr/1"
    ended(job, "05_vad", "speech.json", data=b"speech")
    assert made(asks, "06_asr/words.json") is None


def test_an_attempt_that_left_no_start(job, asks):
    """An attempt that was claimed and says nothing yet leaves the word to the one before it."""
    ended(job, "06_asr", "words.json")
    StageLayout(job, 6, "asr").attempt_dir(2).mkdir()
    assert made(asks, "06_asr/words.json") == "asr/1"
    StageLayout(job, 5, "vad").attempt_dir(1).mkdir(parents=True)
    assert made(Lineage(job, StageLayout(job, 7, "subtitle")), "06_asr/words.json") == "asr/1"


def test_folders_that_are_no_stages(job, asks):
    """Folders that only look like stages, files, links in a circle and names that are too long are passed over."""
    ended(job, "06_asr", "words.json")
    (job.root / "05_vad").mkdir()
    (job.root / "05_vad/manifest.json").write_text(json.dumps(WHOLE))
    (job.root / "04_file").touch()
    (job.root / "03_circle").symlink_to("03_circle")
    (job.root / ("2_" + "x" * 253)).mkdir()
    shutil.copytree(job.root / "06_asr", job.root / "6_other")
    assert made(asks, "06_asr/words.json") == "asr/1"


def test_a_job_that_is_gone(job, asks):
    """Where there is no job folder, and when it has vanished, nobody made anything."""
    assert made(asks, "06_asr/words.json") is None
    ended(job, "06_asr", "words.json")
    assert made(asks, "06_asr/words.json") == "asr/1"
    shutil.rmtree(job.root)
    assert made(asks, "06_asr/words.json") is None


def test_a_job_that_cannot_be_read(job, asks):
    """Where the job folder cannot be looked into, whoever asks is told."""
    job.root.write_bytes(b"no folder")
    with pytest.raises(NotADirectoryError):
        asks.producer("06_asr/words.json", None, None)


# At what cost.


def test_what_has_not_changed_is_not_read_again(job, asks, reads):
    """10,000 questions read each manifest once, and none where nothing was asked."""
    for name in ("04_demux", "05_vad", "06_asr"):
        ended(job, name, "a.json", data=name.encode())
    assert reads == []
    assert [made(asks, f"06_asr/{number}.json", SHA) for number in range(10_000)] == [None] * 10_000
    assert reads == ["list", "manifest of demux", "manifest of vad", "manifest of asr"]


def test_only_what_has_changed_is_read_again(job, asks, reads):
    """When a stage starts and ends, what the others have is not read again, nor is its own a second time."""
    ended(job, "05_vad", "a.json")
    assert made(asks, "05_vad/a.json") == "vad/1"
    asr = opened(job, "06_asr", "words.json")
    reads.clear()
    assert made(asks, "06_asr/words.json") == "asr/1"
    assert reads == ["list", "manifest of asr", "line", "line"]  # its manifest says running: the journal tells
    asr.finalize()
    reads.clear()
    assert made(asks, "06_asr/words.json") == "asr/1"
    assert reads == ["list", "line"]
    assert asks._running == ()  # nor looked at any more


def test_a_running_stage_is_read_on(job, asks, reads, monkeypatch):
    """The journal of a running stage is read once from end to end, however often something is added and asked."""
    opens: list[object] = []
    monkeypatch.setattr(outputs, "open", lambda *of, **how: opens.append(of) or open(*of, **how), raising=False)  # noqa: SIM115
    asr = opened(job, "06_asr")
    for number in range(100):
        asr.track_output(job.root / f"06_asr/{number}.json")
        asr.track_intermediate(job.root / f"06_asr/.cache/{number}.json")
        asr.add_metric("done", number)
        for _ in range(3):
            assert made(asks, f"06_asr/{number}.json") == "asr/1"
    assert reads.count("line") == 101  # the start and the outputs; what else was said is not decoded
    assert reads.count("list") == 1
    assert len(opens) == 101  # the manifest, and the journal where it had grown


# Who may ask.


def test_threads_that_ask_while_stages_track(job, asks):
    """What was tracked before the question is found, by any of many threads that ask while several stages track."""
    ended(job, "05_vad", "speech.json", data=b"speech")
    stages = [opened(job, f"{number:02d}_part{number}") for number in range(10, 14)]

    def work(number: int) -> list[str | None]:
        io = stages[number % 4]
        found = []
        for count in range(25):
            path = io.stage_dir / f"{number}-{count}"
            io.track_output(path)
            found.append(made(asks, f"{io.stage_dir.name}/{path.name}"))
            found.append(made(asks, "05_vad/speech.json"))
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    assert answers == [[f"part{10 + number % 4}/1", "vad/1"] * 25 for number in range(8)]


def test_many_threads_read_once(job, asks, reads):
    """Threads whose first questions come at once read the job once."""
    ended(job, "06_asr", "words.json")
    begin = threading.Barrier(8)

    def work(_: int) -> str | None:
        begin.wait()
        return made(asks, "06_asr/words.json")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == ["asr/1"] * 8
    assert reads == ["list", "manifest of asr"]


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_by_fork_asks(job, asks):
    """A child that was forked while a thread was reading waits for nobody, and knows what comes after the fork."""
    ended(job, "06_asr", "words.json")
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with asks._reading:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(20)
        assert in_processes(1, lambda _: made(asks, "06_asr/words.json")) == ["asr/1"]
    finally:
        done.set()
        thread.join()


# Large files that were read before.

ID = "1:2:3000000:4:5"


def known(w: StageIO, role: str, file_id: str = ID, checksum: str = SHA, **more: Any) -> None:
    """Have a stage say that it read a large file."""
    about = {names.FILE_PATH: f"/data/{role}", names.ARTIFACT_ROLE: role, names.ARTIFACT_TYPE: "file"}
    digest = {names.ARTIFACT_CHECKSUM_METHOD: "sha256", names.ARTIFACT_CHECKSUM: checksum}
    digest[names.ARTIFACT_FILE_ID] = file_id
    w._recorder.event(EVENT_OF[role], {**about, **digest, **more}, call="")


@pytest.mark.parametrize("end", ["success", "failed", None])
@pytest.mark.parametrize("role", ["input", "output", "intermediate"])
def test_a_digest_of_another_stage(job, asks, role, end):
    """What a stage read in whatever role is known, whether it runs or has ended; what it did not read is not."""
    io = StageIO("06_asr", job.root)
    known(io, role)
    if end:
        io.finalize(end)
    assert asks.checksum(ID) == SHA
    assert asks.checksum("1:2:3000000:4:6") is None
    assert made(asks, "/data/input") is None


def test_a_digest_that_comes_late(job, asks):
    """A digest that was made after the call is known as soon as it is on record."""
    io = StageIO("06_asr", job.root)
    known(io, "input", checksum=SHA, **{names.ARTIFACT_FILE_ID: None})
    assert asks.checksum(ID) is None
    io._recorder.event(
        names.DIGEST,
        {
            names.ARTIFACT_ROLE: "input",
            names.FILE_PATH: "/data/input",
            names.ARTIFACT_CHECKSUM_METHOD: "sha256",
            names.ARTIFACT_CHECKSUM: SHA,
            names.ARTIFACT_FILE_ID: ID,
        },
        call="",
    )
    assert asks.checksum(ID) == SHA
    io.finalize()
    assert asks.checksum(ID) == SHA


@pytest.mark.parametrize("method", ["given", "stat", "sha256-tree", None])
def test_a_digest_of_another_method(job, asks, method):
    """Only what we read ourselves, whole, counts."""
    io = StageIO("06_asr", job.root)
    known(io, "input", **{names.ARTIFACT_CHECKSUM_METHOD: method})
    assert asks.checksum(ID) is None
    io.finalize()
    assert asks.checksum(ID) is None


def test_former_attempts_of_the_stage_itself(job):
    """All of them are known, the newest first, and no more of them are read than it takes; the running one is not."""
    for number in range(4):
        io = StageIO("07_subtitle", job.root)
        known(io, "input", file_id=f"id {number}", checksum=f"sha256:{number:064d}")
        if number < 3:
            io.finalize("failed")
    asks = Lineage(job, StageLayout(job, 7, "subtitle"), before=4)
    assert asks.checksum("id 2") == f"sha256:{2:064d}"
    assert asks._unread == [1, 2]
    assert [asks.checksum(f"id {number}") for number in (0, 1, 3)] == [f"sha256:{0:064d}", f"sha256:{1:064d}", None]
    assert asks._unread == []
    assert made(asks, "/data/input") is None
    io.finalize()


def test_a_former_attempt_that_cannot_be_read(job):
    """Its lines that say nothing, and one without a journal, are passed over."""
    for _ in range(2):
        io = StageIO("07_subtitle", job.root)
        known(io, "input")
        io.finalize("failed")
    folder = StageLayout(job, 7, "subtitle").inner
    (folder / "002" / EVENTS).unlink()
    with (folder / "001" / EVENTS).open("ab") as file:
        file.write(b'torn "stageio.artifact.file_id"\n')
    asks = Lineage(job, StageLayout(job, 7, "subtitle"), before=3)
    assert asks.checksum(ID) == SHA


def test_the_stage_that_asks_first(job):
    """In a job where nobody was before nothing is known."""
    asks = Lineage(job, StageLayout(job, 7, "subtitle"), before=1)
    assert asks.checksum(ID) is None


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_by_fork_asks_for_a_digest(job):
    """It waits for no thread of its parent, though nothing has changed since the parent looked."""
    io = StageIO("07_subtitle", job.root)
    known(io, "input")
    io.finalize()
    asks = Lineage(job, StageLayout(job, 7, "subtitle"), before=2)
    assert made(asks, "x") is None
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with asks._reading:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(20)
        assert in_processes(1, lambda _: asks.checksum(ID)) == [SHA]
    finally:
        done.set()
        thread.join()


# A file that is watched.


@pytest.mark.parametrize("change", ["written", "replaced", "removed", "moved", "touched", "linked"])
def test_whatever_happens_to_a_file_that_is_watched(tmp_path, change):
    """It no longer stands; where nothing happens it does."""
    path = tmp_path / "manifest.json"
    path.write_bytes(b"{}")
    seen = lineage.Watched(str(path))
    assert seen.stands()
    path.read_bytes()
    assert seen.stands()
    time.sleep(0.01)  # the clock of a file system ticks a few times less often than ours
    if change == "written":
        path.write_bytes(b"{}")
    elif change == "replaced":
        other = tmp_path / "other"
        shutil.copy2(path, other)
        other.replace(path)
    elif change == "removed":
        path.unlink()
    elif change == "moved":
        path.rename(tmp_path / "manifest.foreign")
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    else:
        os.link(path, tmp_path / "copy")
    assert not seen.stands()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "closed"])
def test_what_cannot_be_held_open(tmp_path, kind):
    """What is no file, or was closed by somebody, is looked at by its path, or anew."""
    path = tmp_path / "manifest.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "closed":
        path.touch()
    seen = lineage.Watched(str(path))
    if kind == "closed":
        os.close(seen._descriptor)
        assert not seen.stands()
        seen._descriptor = -1  # by the end of the test it may be somebody else's
        return
    assert (seen.stands(), seen._descriptor) == (True, -1)
    if path.exists():
        path.rename(tmp_path / "other")
    else:
        path.touch()
    assert not seen.stands()


def test_a_watched_file_is_given_back(tmp_path):
    """Its descriptor is closed with it, and programs that are started do not get it."""
    (tmp_path / "a").touch()
    seen = lineage.Watched(str(tmp_path / "a"))
    number = seen._descriptor
    assert os.get_inheritable(number) is False
    del seen
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
