"""Bad input, end to end: what a stage refuses, what it records instead of refusing it, and what it leaves on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import socket
import threading
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opentelemetry import trace

from otel_stageio import (
    OutputPathError,
    SettingError,
    StageIO,
    StageIOError,
    StageNameError,
    StageNumberError,
    StatusError,
    stage,
)
from otel_stageio.journal import reader
from otel_stageio.record.artifacts import description, hashing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Odd:
    """It breaks at every question."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __bool__ = __len__ = __index__ = __eq__ = __hash__ = __repr__


ODD = f"<{__name__}.Odd: repr failed with RuntimeError>"


def kind_of(given: object) -> str:
    """What a case is called: pytest would ask the odd ones for more."""
    return repr(given[:20]) if isinstance(given, str) else type(given).__name__


@pytest.fixture
def io() -> StageIO:
    """An open stage, number 6, in `out`."""
    return StageIO("asr", stage_number=6)


# Names, numbers, statuses and other arguments.


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("a/b", "holds a '/'"),
        ("..", "step through folders"),
        ("a\0b", "control character"),
        ("a\nb", "line break"),
        ("x" * 300, "303 bytes"),
        ("\u8a9e" * 100, "303 bytes"),
        (b"asr", "is bytes"),
        (Odd(), "is Odd"),
        (10**5000, "is int"),
    ],
    ids=kind_of,
)
def test_a_name_that_can_be_no_folders(name: Any, why: str):
    """A stage's name that is none raises where it is given, says what is wrong with it, and leaves nothing on disk."""
    for refused in (lambda: StageIO(name), lambda: stage(name), lambda: StageIO("asr", stages=["ingest", name])):
        with pytest.raises(StageNameError, match=why) as raised:
            refused()
        assert isinstance(raised.value, StageIOError)
        assert len(str(raised.value)) < 500
    assert os.listdir() == []


@pytest.mark.parametrize(
    "name",
    [
        "\u8bed\u97f3",
        "\u0639\u0631\u0628\u064a",
        "\u0939\u093f\u0928",
        "\U0001f3a4",
        "gr\u00fc\u00df",
        "gru\u0308\u00df",
    ],
)
def test_a_name_in_another_script(name: str, told):
    """A name in any script is the folder's and stands in the logs and manifests; the stage is found again by it."""
    for attempt in (1, 2):
        with StageIO(name) as io:
            io.get_stage_logger().info("said")
        assert (io.stage_dir.name, told(io).manifest["attempt"]) == (f"01_{name}", attempt)
    assert (told(io).manifest["stage"], told(io).log[-1].stage) == (name, name)
    (entry,) = json.loads(Path("out/manifest.json").read_bytes())["stages"]
    assert entry["stage"] == name


@pytest.mark.parametrize(("number", "folder"), [(0, "00_asr"), (100, "100_asr"), (1000, "1000_asr")])
def test_a_number_of_another_length(number: int, folder: str, told):
    """The numbers 0, 100 and 1000 are honoured, found again by the name, and in order with others."""
    StageIO("vad", stage_number=99).finalize()
    StageIO("asr", stage_number=number).finalize()
    with StageIO("asr") as io:
        pass
    assert (io.stage_number, io.stage_dir.name, told(io).manifest["attempt"]) == (number, folder, 2)
    stages = json.loads(Path("out/manifest.json").read_bytes())["stages"]
    assert [each["stage_number"] for each in stages] == sorted([99, number])


@pytest.mark.parametrize(
    "number", [-1, 10**18, 10**5000, -(10**5000), math.nan, "6", np.array([1, 2]), Odd()], ids=kind_of
)
def test_a_number_that_is_none(number: Any):
    """A stage's number that is none, however odd the object, raises an error that names the number, and no other."""
    with pytest.raises(StageNumberError, match=r"stage number .* is not a whole number from 0 up"):
        StageIO("asr", stage_number=number)
    assert os.listdir() == []


@pytest.mark.parametrize("given", [Odd(), 10**5000, 7, b"success", np.array([1, 2])], ids=kind_of)
def test_an_argument_outside_its_list(io: StageIO, given: Any):
    """A status or option that is none raises an error of ours, whatever happens when it is shown; the stage goes on."""
    with pytest.raises(StatusError, match="use one of 'success', 'failed', 'skipped'"):
        io.finalize(given)
    for option in ("mode", "capture", "checksum", "tracer_provider"):
        with pytest.raises(SettingError, match=option):
            StageIO("vad", **{option: given})
    if not isinstance(given, np.ndarray):
        with pytest.raises(SettingError, match="give one of stage names"):
            StageIO("vad", stages=given)
    with pytest.raises(SettingError, match="mode must be"), io.open_output("a", given):
        pass
    io.finalize("success", save_manifest=given)
    assert io.manifest["status"] == "success"


@pytest.mark.parametrize("folder", [7, "a\0b", "\ud800", Odd()], ids=kind_of)
def test_a_job_folder_that_is_no_path(folder: Any):
    """A job folder that no folder can be raises where it is given."""
    with pytest.raises(OutputPathError, match="job folder"):
        StageIO("asr", folder)


# Outputs that leave the stage folder.


WRITERS: dict[str, Callable[[StageIO, Any], Any]] = {
    "get_output_path": lambda io, path: io.get_output_path(path),
    "get_cache_path": lambda io, path: io.get_cache_path(path),
    "open_output": lambda io, path: io.open_output(path).__enter__(),
    "save_json": lambda io, path: io.save_json({}, path),
    "copy_to_base": lambda io, path: io.copy_to_base(path),
}


@pytest.mark.parametrize(
    "path", ["../a", "a/../../../b", "{tmp}/a", "link/a", "a\0", "x" * 256, "a/" * 2048, None, 7, Odd()]
)
@pytest.mark.parametrize("writer", WRITERS)
def test_an_output_that_leaves_its_folder(io: StageIO, tmp_path: Path, told, writer: str, path: Any):
    """By dots, a root, a link, too long or no path at all: an output that cannot be there raises, nothing is lost."""
    (tmp_path / "elsewhere").mkdir()
    for folder in (io.stage_dir, io.get_cache_path("x").parent):
        (folder / "link").symlink_to(tmp_path / "elsewhere")
    io.add_warning("before")
    given = path.replace("{tmp}", str(tmp_path)) if isinstance(path, str) else path
    with pytest.raises(OutputPathError, match=r"(output|cache) path"):
        WRITERS[writer](io, given)
    assert os.listdir(tmp_path / "elsewhere") == []
    assert sorted(os.listdir()) == ["elsewhere", "out"]
    io.finalize()
    assert told(io).warnings == ["before"]


def test_the_error_of_an_output_says_what_to_do(io: StageIO, tmp_path: Path):
    """The error names the path, where it leads, the folder that it has to stay in, and what to give instead."""
    with pytest.raises(OutputPathError) as raised:
        io.get_output_path("../a")
    assert str(raised.value) == (
        f"output path '../a' leads to {tmp_path}/out/a, which is not inside out/06_asr: "
        "give a file name, or a relative path below the stage's folder"
    )
    with pytest.raises(OutputPathError, match=r"events.jsonl, which is for otel-stageio alone: "):
        io.get_output_path(".stageio/001/events.jsonl")


def test_a_log_path_stays_in_its_folder(io: StageIO):
    """The text in a log file's name leads nowhere else."""
    with pytest.raises(OutputPathError, match="log path"):
        io.get_log_path("/../../../a")
    assert io.get_log_path("a b") == Path("out/logs/06_asr_a b.log")


# Inputs that are no plain files.


@pytest.mark.timeout(30)
def test_inputs_that_are_no_files(io: StageIO, told):
    """A FIFO, a socket, a device and a symlink loop are recorded for what they are in every role, and none is read."""
    os.mkfifo("fifo")
    os.symlink("fifo", "to-fifo")
    os.symlink("loop", "loop")
    os.symlink("there", "here")
    os.symlink("here", "there")
    paths = ["fifo", "to-fifo", "socket", "/dev/zero", "loop", "here"]
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for path in paths:
            io.track_input(path)
            io.track_output(path)
            io.track_intermediate(path)
        io.finalize()
    document = told(io).manifest
    kinds = ["fifo", "fifo", "socket", "device", "missing", "missing"]
    for role in ("inputs", "outputs", "intermediate_files"):
        assert [entry["kind"] for entry in document[role]] == kinds
        assert {entry["checksum"] for entry in document[role]} == {None}
        assert [entry["checksum_problem"] for entry in document[role]][:4] == [f"is a {kind}" for kind in kinds[:4]]
        assert all("symbolic links" in entry["checksum_problem"] for entry in document[role][4:])
    assert document["status"] == "success"


@pytest.mark.parametrize("paths", [None, 7, Odd(), "a\0/*", "\ud800*", "[", b"\xff", ["a\0b", None, Odd()]])
def test_inputs_that_are_no_paths(io: StageIO, told, paths: Any):
    """What can be no path is no error: it is a missing input, or a pattern that matches nothing, and a warning."""
    found = io.track_inputs(paths)
    io.finalize()
    assert [entry["kind"] for entry in told(io).manifest["inputs"]] == ["missing"] * len(found)
    assert len(told(io).warnings) == max(len(found), 1)


def test_a_folder_of_very_many_entries(io: StageIO, tmp_path: Path, told, monkeypatch: pytest.MonkeyPatch):
    """A call and a failure look at no more entries of a folder than the limit; a success counts them all."""
    monkeypatch.setattr(description, "SMALL_FOLDER", 10)
    monkeypatch.setattr(description, "AUTO_FILES", 100)
    monkeypatch.setattr(hashing, "allowed_cores", lambda: 1)  # no thread beside: what is looked at is the call's
    many = tmp_path / "many"
    many.mkdir()
    for number in range(1000):
        (many / str(number)).touch()
    looked: list[str] = []
    scandir = os.scandir

    @contextlib.contextmanager
    def watched() -> Iterator[Iterator[os.DirEntry[bytes]]]:
        with scandir(os.fsencode(many)) as listing:
            yield (looked.append(entry.name) or entry for entry in listing)

    monkeypatch.setattr(os, "scandir", lambda of=".": watched() if os.fsdecode(of) == str(many) else scandir(of))
    for end, at_end, counted in (("failed", 11, None), ("success", 5000, 1000)):
        with StageIO("many") as stage:
            looked.clear()
            stage.track_input(many)
            stage.track_output(many)
            assert len(looked) == 2 * 11
            looked.clear()
            stage.finalize(end)
            assert len(looked) <= at_end
        assert told(stage).entry().get("files") == counted


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_a_file_that_grows_while_it_is_read(io: StageIO, tmp_path: Path, told, size: int):
    """A file that somebody goes on writing to has the digest of what was read, or none and the reason."""
    growing = tmp_path / "growing"
    growing.write_bytes(b"x" * size)
    ended = threading.Event()

    def grow() -> None:
        with open(growing, "ab", buffering=0) as file:
            while not ended.is_set():
                file.write(b"y" * 100)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        io.track_input(growing)
        io.finalize()
    finally:
        ended.set()
        writer.join()
    entry = told(io).entry()
    read = growing.read_bytes()[: entry["size_bytes"]]
    known = {f"sha256:{hashlib.sha256(read).hexdigest()}": None, None: "changed while it was read"}
    assert entry.get("checksum_problem") == known[entry["checksum"]]


AS_NOBODY = """
import os, sys
from pathlib import Path
from otel_stageio import StageIO

with StageIO("before", "before") as io:  # with all rights: imports everything
    io.track_input(__file__)
    io.track_input(Path(__file__).parent)

def nobody(*closed):
    for folder in (Path.cwd(), *Path.cwd().parents):  # pytest's own are closed to others, who have to come through
        if os.getuid() == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    os.chmod(".", 0o777)
    for path in closed:
        os.chmod(path, 0)
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
"""


def test_an_input_without_read_permission(run_script, tmp_path: Path):
    """Files and folders that may not be read are entries with what could be known, and why there is no more."""
    done = run_script(
        AS_NOBODY
        + """
Path("small").write_bytes(b"12345")
Path("large").write_bytes(b"x" * (2 << 20))
Path("dark").mkdir()
Path("dark/file").touch()
nobody("small", "large", "dark")
io = StageIO("asr", "job", stage_number=6)
for name in ("small", "large", "dark", "dark/file"):
    io.track_input(name)
io.finalize()
os.chmod("job", 0o755)
"""
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    document = json.loads((tmp_path / "job/06_asr/manifest.json").read_bytes())
    entries = [
        (entry.get("kind"), entry["size_bytes"], entry["checksum"], entry["checksum_problem"][:15])
        for entry in document["inputs"]
    ]
    assert entries == [
        (None, 5, None, "no permission"),
        (None, 2 << 20, None, "no permission"),
        ("folder", 0, None, "no permission"),
        ("missing", None, None, "PermissionError"),
    ]
    assert document["status"] == "success"


# Values that are not JSON.


class Color(Enum):
    RED = "red"


@dataclasses.dataclass
class Model:
    name: str
    path: Path


def nested(levels: int, inside: object) -> Any:
    """`inside` within so many lists."""
    for _ in range(levels):
        inside = [inside]
    return inside


LOOP: list[object] = [1]
LOOP.append(LOOP)

VALUES = {
    "path": (Path("a/b"), "a/b"),
    "datetime": (datetime(2025, 11, 27, 13, 30, tzinfo=timezone.utc), "2025-11-27T13:30:00+00:00"),
    "decimal": (Decimal("1.10"), "1.10"),
    "enum": (Color.RED, "red"),
    "dataclass": (Model("m", Path("p")), {"name": "m", "path": "p"}),
    "numpy scalar": (np.float32(0.5), 0.5),
    "numpy array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "empty array": (np.array([]), []),
    "large array": (np.zeros(20_000), {"type": "numpy.ndarray", "shape": [20_000], "dtype": "float64"}),
    "set": ({3, 1, 2}, [1, 2, 3]),
    "bytes": (b"\0\xff", "AP8="),
    "NaN": (math.nan, "NaN"),
    "infinity": (math.inf, "Infinity"),
    "minus infinity": (-math.inf, "-Infinity"),
    "more than 64 bit": (2**64, str(2**64)),
    "thousands of digits": (10**5000, hex(10**5000)),
    "cycle": (LOOP, [1, "<cycle>"]),
    "odd": (Odd(), ODD),
    "keys": ({1: "a", "1": "b", None: "c", (1, 2): "d"}, {"1": "a", "1 (2)": "b", "None": "c", "(1, 2)": "d"}),
    "odd key": ({Odd: 1}, {f"<class '{__name__}.Odd'>": 1}),
    "surrogate": ("\ud800", "\\ud800"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_is_not_json(kind: str, told, capsys: pytest.CaptureFixture[str]):
    """Metadata, configuration, metrics, resources and extras say the same of a value of any kind; no call complains."""
    value, shown = VALUES[kind]
    Path("in").write_bytes(b"x")
    io = StageIO("asr", stage_number=6)
    logger = io.get_stage_logger()
    io.track_input("in", value=value, within=[value])
    io.track_output("in", type=value, value=value)
    io.track_intermediate("in", value, value, value, value=value)
    io.set_config({"value": value})
    io.add_config("key", value)
    io.add_metric("metric", value)
    io.set_resources(value=value)
    io.add_warning(value)
    io.add_error(value, value)
    with io.step("step", value=value):
        trace.get_current_span().set_attribute("value", "of the span")
        logger.info("said", extra={"value": value})
    io.finalize("failed", reason=value, value=value)
    document = told(io).manifest
    (taken,), (made,), (between,) = (document[role] for role in ("inputs", "outputs", "intermediate_files"))
    assert (taken["value"], made["value"], between["value"]) == (shown, shown, shown)
    assert taken["within"] == [shown]
    assert document["config"] == {"value": shown, "key": shown}
    assert document["metrics"]["metric"]["value"] == shown
    assert document["resources"]["value"] == shown
    assert document["extra"] == {"value": shown}
    assert [type(of) for of in (made["type"], between["type"], between["reason"], document["reason"])] == [str] * 4
    assert (len(document["warnings"]), len(document["errors"])) == (1, 1)
    assert document["degraded"] == []
    assert [record.attributes.get("value") for record in told(io).records if record.body == "said"] != [None]
    assert "otel-stageio: " not in capsys.readouterr().err


@pytest.mark.parametrize("levels", [30, 1000, 100_000])
def test_a_value_that_is_nested_deep(io: StageIO, told, levels: int):
    """What is nested deeper than readers of JSON take it ends in a short text; the stage has nothing to complain of."""
    value = nested(levels, "x")
    Path("in").write_bytes(b"x")
    io.track_input("in", value=value)
    io.set_config({"value": value})
    with io.step("step", value=value):
        pass
    io.finalize("failed", value=value)
    document = told(io).manifest
    for found in (told(io).entry()["value"], document["config"]["value"], document["extra"]["value"]):
        text = json.dumps(found)
        assert text.startswith("[" * 20)
        assert ('"[[[[' in text, len(text) < 1000) == (True, True)
    assert document["degraded"] == []


def test_keys_that_collide_with_the_manifests(io: StageIO, told):
    """Keys of the user's that are also the manifest's are kept in their place, and change nothing above it."""
    Path("in").write_bytes(b"x")
    theirs = {"path": "p", "kind": "k", "type": "t", "size_bytes": -1, "checksum": "c", "metadata": 1, "status": "s"}
    io.track_input("in", **theirs)
    tops = ["stage", "stage_number", "attempt", "inputs", "config", "errors", "degraded", "schema_version", "trace_id"]
    io.set_config(dict.fromkeys(tops, "mine"))
    for top in tops:
        io.add_metric(top, 1)
    io.set_resources(**dict.fromkeys(tops, "mine"))
    io.finalize("skipped", **dict.fromkeys(tops, "mine"))
    document = told(io).manifest
    assert (document["stage"], document["attempt"], document["status"]) == ("asr", 1, "skipped")
    assert document["config"] == document["extra"] == dict.fromkeys(tops, "mine")
    assert {key: document["resources"][key] for key in tops} == dict.fromkeys(tops, "mine")
    assert list(document["metrics"]) == tops
    entry = told(io).entry()
    assert (entry["size_bytes"], entry["checksum"][:7], entry["type"], entry["status"]) == (1, "sha256:", "t", "s")
    assert entry["metadata"] == {key: theirs[key] for key in ("path", "kind", "size_bytes", "checksum", "metadata")}


def test_a_text_of_ten_megabytes(io: StageIO, told):
    """A text too long for a line is cut, and `degraded` says which and how long it was; the rest is whole."""
    text = "x" * 10_000_000
    Path("in").write_bytes(b"x")
    io.track_input("in", text=text, after=1)
    io.set_config({"before": 1, "text": text, "after": 2})
    io.finalize("failed", text=text, after=3)
    document = told(io).manifest
    entry = told(io).entry()
    assert (entry["after"], document["config"]["before"], document["config"]["after"]) == (1, 1, 2)
    assert document["extra"]["after"] == 3
    for cut in (entry["text"], document["config"]["text"], document["extra"]["text"]):
        assert (cut[:1000], len(cut) < len(text)) == ("x" * 1000, True)
    told_of = ["stageio.input", "stageio.config", "stageio.stage.finished"]
    assert [line.partition(" was cut to fit in a line; ")[0] for line in document["degraded"]] == told_of
    assert all(line.endswith(".text (10000000)") for line in document["degraded"])


# Job folders.


JOB = (
    AS_NOBODY
    + """
import shutil

def removed(job): shutil.rmtree(job)
def moved(job): os.rename(job, "moved")
def replaced(job): shutil.rmtree(job); Path(job).write_text("a file")
def closed(job): [os.chmod(folder, 0o555) for folder, _, _ in os.walk(job)]
def nothing(job): pass

job, between = sys.argv[1], globals()[sys.argv[2]]
Path("file").write_text("I am a file")
Path("closed").mkdir(mode=0o555)
Path("dangling").symlink_to("/nowhere/x")
Path("circle").symlink_to("circle")
nobody()
io = StageIO("asr", job, stage_number=6)
logger = io.get_stage_logger()
logger.info("first")
io.track_input("file", "text")
between(job)
logger.info("second")
io.add_warning("after")
io.set_config({"a": 1})
io.track_input("file", "text", again=True)
path = io.get_output_path("parts/a.txt")
try:
    path.write_text("x")
except OSError as why:
    print("not written")
io.track_output(path)
io.finalize()
told = io.manifest
print(told["status"], told["config"], told["inputs"][0]["again"], told["warnings"][0]["message"])
for folder, _, _ in os.walk("."):
    if os.stat(folder).st_uid == os.getuid():
        os.chmod(folder, 0o755)
sys.exit(3)
"""
)
#: A stage that goes on as ever says this at its end.
WENT_ON = "success {'a': 1} True after\n"


def ours(stderr: str) -> list[str]:
    """The lines that otel-stageio says of its own trouble."""
    return [line for line in stderr.splitlines() if line.startswith("otel-stageio: ")]


@pytest.mark.parametrize(
    "job", ["closed", "closed/deep/job", "file", "file/job", "dangling", "circle", "/proc/job", "/dev/null"]
)
def test_a_job_folder_that_cannot_be(run_script, tmp_path: Path, job: str):
    """Read-only, a file, below one, a link to nowhere: one line names folder and reason, and the stage goes on."""
    done = run_script(JOB, job, "nothing")
    assert (done.returncode, done.stdout) == (3, "not written\n" + WENT_ON), done.stderr
    (line,) = ours(done.stderr)
    assert line.startswith(f"otel-stageio: cannot write the job folder {job}: ")
    assert line.endswith("; stage 'asr' runs without a record")
    assert all(word in done.stderr for word in ("[INFO] first", "[INFO] second"))
    assert (os.listdir(tmp_path / "closed"), (tmp_path / "file").read_text()) == ([], "I am a file")


def whole(stage: Path) -> dict[str, Any]:
    """The manifest of a stage, once its journal has been found without a broken line."""
    for path in stage.glob(".stageio/001/*.jsonl"):
        assert not [piece for piece in reader.pieces(str(path)) if piece.broken]
    return json.loads((stage / "manifest.json").read_bytes())


@pytest.mark.parametrize("job", ["a/b/c/job", "new\nline", "j\u00f6b \U0001f3a4", "{other}/job"])
def test_a_job_folder_somewhere_else(run_script, tmp_path: Path, other_file_system: Path, job: str):
    """Missing parents are made, and a job on another file system than its inputs is as any."""
    job = job.replace("{other}", str(other_file_system))
    done = run_script(JOB, job, "nothing")
    assert (done.returncode, done.stdout, ours(done.stderr)) == (3, WENT_ON, []), done.stderr
    document = whole(tmp_path / job / "06_asr")
    assert (document["status"], document["outputs"][0]["path"]) == ("success", "06_asr/parts/a.txt")
    assert document["degraded"] == []


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the test's."""
    import shutil

    assert os.stat("/dev/shm").st_dev != tmp_path.stat().st_dev
    folder = Path("/dev/shm", f"stageio-{os.getpid()}-{os.urandom(4).hex()}")
    folder.mkdir()
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("between", ["removed", "moved", "replaced", "closed"])
def test_a_job_folder_that_goes_while_the_stage_runs(run_script, tmp_path: Path, between: str):
    """Removed, moved, replaced or closed: the stage ends as ever, each trouble is told once, and what was stays."""
    done = run_script(JOB, "job", between)
    written = "" if between in ("removed", "moved") else "not written\n"  # there the output's folder is made anew
    assert (done.returncode, done.stdout) == (3, written + WENT_ON), done.stderr
    lines = ours(done.stderr)
    assert 1 <= len(lines) == len(set(lines)) <= 6
    assert "Traceback" not in done.stderr
    kept = {"moved": tmp_path / "moved/06_asr", "closed": tmp_path / "job/06_asr"}.get(between)
    if kept is not None:
        assert whole(kept)["stage"] == "asr"
        for name, words in {"stage.log": ("first", "second"), ".stageio/001/events.jsonl": ("text", "after")}.items():
            assert all(word in (kept / name).read_text() for word in words)


IN_NO_FOLDER = """
    import os, sys
    os.rmdir(os.getcwd())
    from otel_stageio import StageIO
    io = StageIO("asr", *sys.argv[1:])
    io.track_input(io.get_input_path("in.txt"))
    io.track_output(io.get_output_path("out.txt"))
    io.run(["true"])
    io.finalize("failed")
    print(io.stage_dir)
"""


def test_a_working_directory_that_is_gone(run_script, tmp_path: Path):
    """A job folder given whole is written as ever; without one the stage says so, and goes on without a record."""
    for given, words in (["job"], "runs without a record"), ([str(tmp_path / "job")], ""):
        (tmp_path / "gone").mkdir()
        done = run_script(IN_NO_FOLDER, *given, cwd=tmp_path / "gone")
        assert (done.returncode, done.stdout) == (0, f"{given[0]}/01_asr\n"), done.stderr
        assert "Traceback" not in done.stderr
        assert words in done.stderr
    assert whole(tmp_path / "job/01_asr")["status"] == "failed"


@pytest.mark.parametrize("given", [None, 5, "a\0b"])
def test_an_input_that_can_be_no_files_name(io: StageIO, given: object):
    """Looking for what is no path is an error that says so."""
    for look in (io.get_input_path, io.load_json):
        with pytest.raises(OutputPathError, match="can be no file's name"):
            look(given)


def test_a_json_file_whose_name_is_too_long(io: StageIO):
    """It is not there, like any other that is not there."""
    assert io.load_metadata("a" * 300) == {}
    with pytest.raises(FileNotFoundError):
        io.load_json("a" * 300)
