"""Items: units of work of one stage, each with a folder, a log, a manifest, attempts and a lock of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from otel_stageio import ItemNameError, OutputPathError, StageIO, StageRunningError, open_job, views
from otel_stageio.job import changes, registry
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import reader
from tests.conftest import clean_environment
from tests.processes import in_new_process


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The job folder."""
    return tmp_path / "out"


def job_manifest(out: Path) -> dict:
    """The job manifest."""
    return json.loads((out / "manifest.json").read_text())


def items(out: Path, stage: str = "asr") -> dict:
    """What the job manifest says of the items of a stage."""
    return next(of["items"] for of in job_manifest(out)["stages"] if of["stage"] == stage)


def ran(out: Path, item: str, status: str = "success", stage: str = "06_asr") -> StageIO:
    """Run an item of a stage."""
    io = StageIO(stage, out, item=item)
    io.finalize(status)
    return io


@pytest.mark.parametrize("before", [1, 0])
@pytest.mark.parametrize("remembers", [True, False])
def test_who_looks_while_an_attempt_is_opened(out, monkeypatch, remembers, before):
    """Who looks between an attempt's folder and its start sees the one before, and the new one as soon as it is there.

    Whether that process remembers or is a new one, and also where it then tells of what it saw.
    """
    ran(out, "b")
    for _ in range(before):
        ran(out, "a")
    monkeypatch.setattr(registry, "_memory", [])
    job, told = JobLayout(out), changes.tell_opened
    looks, goes_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:

        def wait(*of: object) -> None:
            told(*of)
            os.write(looks[1], b"x")
            os.read(goes_on[0], 1)

        changes.tell_opened = wait
        StageIO("06_asr", out, item="a")
        os.kill(os.getpid(), signal.SIGKILL)
    os.read(looks[0], 1)
    for path in job.inner.glob("changes.*"):  # and nobody told of the end of the one before
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "\t1 " not in line))
    registry.update(job)
    assert (items(out)["total"], items(out)["success"]) == (1 + before, 1 + before)
    os.write(goes_on[1], b"x")
    os.waitpid(child, 0)
    if not remembers:
        monkeypatch.setattr(registry, "_memory", [])
    registry.update(job, "06_asr")
    assert {key: n for key, n in items(out).items() if key != "not_succeeded"} == {
        "total": 2,
        "success": 1,
        "abandoned": 1,
    }
    assert registry.overview(job) == job_manifest(out)


# Where an item is.


def test_an_item_has_all_of_its_own(out):
    """Folder, log, manifest, attempts and lock are the item's; name, number and span are the stage's."""
    with StageIO("asr", out, stage_number=6, item="ep042") as io:
        logger = io.get_stage_logger()
        logger.info("half way")
        io.save_json({}, "words.json")
        assert (io.stage_name, io.stage_number, io.item) == ("asr", 6, "ep042")
        assert (io.stage_dir, io.stage_log) == (out / "06_asr/ep042", out / "06_asr/ep042/stage.log")
        assert repr(io).startswith("<StageIO 06 'asr:ep042': running, attempt 1")
    folder = out / "06_asr/ep042"
    assert sorted(os.listdir(folder)) == [".stageio", "manifest.json", "stage.log", "words.json"]
    assert sorted(os.listdir(folder / ".stageio")) == ["001", "lock"]
    assert sorted(os.listdir(out / "06_asr")) == [".stageio", "ep042"]
    document = json.loads((folder / "manifest.json").read_text())
    assert (document["stage"], document["stage_number"], document["item"]) == ("asr", 6, "ep042")
    header, line = (folder / "stage.log").read_text().splitlines()
    assert "stage asr:ep042 (06), attempt 1, run 1" in header
    assert line.endswith("[asr:ep042] [INFO] half way")
    (span,) = reader.spans(str(folder / ".stageio/001/traces.jsonl"))
    assert (span.name, span.attributes["stageio.stage.item"]) == ("asr", "ep042")


def test_the_pipeline_log_names_the_item(out):
    """In the log of all stages each line says which item it is of."""
    for item in ("a", "b"):
        with StageIO("06_asr", out, item=item) as io:
            io.get_stage_logger().info("done")
    (log,) = (out / "logs").iterdir()
    assert [line.split("] ")[1] for line in log.read_text().splitlines()] == ["[asr:a", "[asr:b"]


def test_the_environment_names_the_item(out, monkeypatch):
    """STAGEIO_ITEM is the item of a process that says nothing; an empty text says that there is none."""
    monkeypatch.setenv("STAGEIO_ITEM", "ep7")
    named, given, none = StageIO("a", out), StageIO("b", out, item=8), StageIO("c", out, item="")
    assert [io.item for io in (named, given, none)] == ["ep7", "8", ""]
    monkeypatch.setenv("STAGEIO_ITEM", "s1/ep7")
    with pytest.raises(ItemNameError, match=r"STAGEIO_ITEM: the item name 's1/ep7' holds a '/'"):
        StageIO("a", out)


@pytest.mark.parametrize("item", ["s1/ep7", "..", ".stageio", "stage.log", " a"])
def test_bad_names(out, item):
    """A name that cannot be a folder beside others is refused before anything is written."""
    with pytest.raises(ItemNameError):
        StageIO("asr", out, item=item)
    assert not out.exists()


def test_a_name_that_an_output_has(out):
    """What the stage itself made is not taken for an item, and an item's folder is no output of the stage."""
    with StageIO("06_asr", out) as io:
        io.save_json({}, "words.json")
        (io.get_output_path("parts/1.txt")).write_text("1")
        io.track_output(out / "06_asr/parts", "parts")
        with pytest.raises(ItemNameError, match="is an output of the stage"):  # manifest.json does not have it yet
            StageIO("06_asr", out, item="parts")
    for item, why in (("words.json", "is a file"), ("parts", "is an output of the stage")):
        with pytest.raises(ItemNameError, match=rf"{why}; give the item another name"):
            StageIO("06_asr", out, item=item)
    ran(out, "ep1")
    with StageIO("06_asr", out) as io, pytest.raises(OutputPathError, match="for otel-stageio alone"):
        io.get_output_path("ep1")
    with StageIO("06_asr", out) as io:
        assert io.get_output_path("ep1/words.json") == out / "06_asr/ep1/words.json"


def test_a_folder_that_is_there_already(out):
    """A folder in the stage's that nobody tracked becomes the item's: existing layouts go on."""
    (out / "06_asr/ep1").mkdir(parents=True)
    assert ran(out, "ep1").stage_dir == out / "06_asr/ep1"


# Attempts, runs, locks.


def test_each_item_has_attempts_of_its_own(out):
    """A retry of one item is its second attempt and goes on in the run; an item that is done begins a new one."""
    ran(out, "a")
    ran(out, "b", "failed")
    again = ran(out, "b")
    assert again.manifest["attempt"] == 2
    assert again.manifest["run"] == 1
    in_new_process(lambda: ran(out, "a").item)
    rows = [(row["item"], row["attempt"], row["run"]) for row in open_job(out).attempts()]
    assert rows == [("a", 1, 1), ("a", 2, 2), ("b", 1, 1), ("b", 2, 1)]


def test_items_are_open_side_by_side(out):
    """Several items of one stage run at once, and beside the stage itself; the same one does not."""
    first, second, whole = StageIO("06_asr", out, item="a"), StageIO("06_asr", out, item="b"), StageIO("06_asr", out)
    with pytest.raises(StageRunningError, match=r"stage 'asr:a' is running"):
        StageIO("06_asr", out, item="a")
    for io in (first, second, whole):
        io.finalize()
    assert [row["status"] for row in open_job(out).stages] == ["success"] * 3


# Inputs.


def test_an_input_of_the_same_item_comes_first(out):
    """The same item of earlier stages is looked into before what lies beside it, the nearest stage first."""
    for stage, item in (("01_cut", "a"), ("01_cut", "b"), ("02_mix", "a"), ("02_mix", "")):
        with StageIO(stage, out, item=item) as io:
            for name in ("own.wav", "all.wav") if not item else ("own.wav",):
                io.get_output_path(name).write_text(f"{stage}{item}")
    paths = {}
    for item in ("a", "b", "c"):
        with StageIO("03_asr", out, item=item) as io:
            paths[item] = [
                io.get_input_path("own.wav"),
                io.get_input_path("all.wav"),
                io.get_input_path("own.wav", "cut"),
                io.get_input_path("none.wav"),
            ]
    assert paths["a"] == [
        *(out / "02_mix/a/own.wav", out / "02_mix/all.wav", out / "01_cut/a/own.wav", out / "02_mix/a/none.wav")
    ]
    assert paths["b"] == [
        *(out / "01_cut/b/own.wav", out / "02_mix/all.wav", out / "01_cut/b/own.wav", out / "02_mix/b/none.wav")
    ]
    assert paths["c"][0] == out / "02_mix/own.wav"


def test_a_skipped_item_is_passed_over(out):
    """What an item left behind in a stage that it was then skipped in is no input."""
    for stage in ("01_cut", "02_mix"):
        for item in ("a", "b"):
            with StageIO(stage, out, item=item) as io:
                io.get_output_path("own.wav").write_text("x")
    ran(out, "a", "skipped", "02_mix")
    for item, stage in (("a", "01_cut"), ("b", "02_mix")):
        with StageIO("03_asr", out, item=item) as io:
            assert io.get_input_path("own.wav") == out / stage / item / "own.wav"
            assert io.get_all_inputs() == [out / stage / item / "own.wav"]


def test_who_made_an_input(out):
    """An input names the item that made it: of the same name, of any other by its path, and of none."""
    for item in ("a", "b"):
        with StageIO("01_cut", out, item=item) as io:
            io.get_output_path("own.wav").write_text(item)
            io.track_output(io.get_output_path("own.wav"), "audio")
    with StageIO("02_asr", out, item="a") as io:
        io.track_input(io.get_input_path("own.wav"), "audio")
        (own,) = io.manifest["inputs"]
    with StageIO("03_join", out) as io:
        for item in ("a", "b"):
            io.track_input(out / f"01_cut/{item}/own.wav", "audio")
        joined = io.manifest["inputs"]
    assert own["producer"] == {"stage": "cut", "stage_number": 1, "attempt": 1, "item": "a"}
    assert [entry["producer"]["item"] for entry in joined] == ["a", "b"]
    (span,) = reader.spans(str(out / "03_join/.stageio/001/traces.jsonl"))
    assert [link.attributes["stageio.producer.stage.item"] for link in span.links] == ["a", "b"]


# The job manifest.


def test_the_job_manifest_counts(out):
    """Of a stage with items it says how many came to what, and lists those that did not succeed."""
    for number in range(5):
        ran(out, f"ep{number}")
    ran(out, "bad", "failed")
    ran(out, "off", "skipped")
    running = StageIO("06_asr", out, item="now")
    known = items(out)
    assert {key: of for key, of in known.items() if key != "not_succeeded"} == {
        "total": 8,
        "success": 5,
        "skipped": 1,
        "failed": 1,
        "running": 1,
    }
    assert [(of["item"], of["status"], of["attempt"], of["folder"]) for of in known["not_succeeded"]] == [
        ("bad", "failed", 1, "06_asr/bad"),
        ("now", "running", 1, "06_asr/now"),
    ]
    assert job_manifest(out)["status"] == "running"
    running.finalize()
    assert (job_manifest(out)["status"], job_manifest(out)["failed_stages"]) == ("failed", ["asr"])
    ran(out, "bad")
    assert (job_manifest(out)["status"], job_manifest(out)["completed_stages"]) == ("success", ["asr"])
    assert items(out) == {"total": 8, "success": 7, "skipped": 1, "not_succeeded": []}


def test_a_killed_item_is_found(out):
    """An item whose process was killed is listed as abandoned, and its end is written by the next one."""
    for item in ("a", "c"):
        ran(out, item)
    child = os.fork()
    if child == 0:
        StageIO("06_asr", out, item="b")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with StageIO("07_next", out) as io:
        assert [(of["item"], of["status"]) for of in items(out)["not_succeeded"]] == [("b", "abandoned")]
        io._background._begin()  # at once, what the stage's thread does in a moment
    assert json.loads((out / "06_asr/b/manifest.json").read_text())["status"] == "abandoned"


def made_anew(out: Path) -> dict:
    """The job manifest as somebody writes it who looks at everything."""
    (out / "manifest.json").unlink()
    for name in ("changes", "stages.json"):
        (out / ".stageio" / name).unlink(missing_ok=True)
    registry._memory.clear()
    registry.update(JobLayout(out))
    return job_manifest(out)


WORK = """
import os, random, sys
from otel_stageio import StageIO
out, seed, *items = sys.argv[1:]
dice = random.Random(int(seed))
for item in items:
    for stage in ("01_cut", "02_clean", "03_asr"):
        for attempt in range(3):
            with StageIO(stage, out, item=item) as io:
                io.get_stage_logger().info("at work")
                if stage != "01_cut":
                    io.track_input(io.get_input_path("part.txt"), "part")
                io.get_output_path("part.txt").write_text(f"{stage} {item}")
                io.track_output(io.get_output_path("part.txt"), "part")
                if dice.random() < 0.3 and attempt < 2:
                    io.finalize("failed")
                    continue
            break
"""


def test_many_processes(out):
    """Items of several stages from many processes, some failing and retried: everything right in the end."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, out, str(seed), *[f"ep{seed}-{n}" for n in range(6)]],
            env=clean_environment(),
        )
        for seed in range(8)
    ]
    assert [process.wait() for process in processes] == [0] * 8
    known = job_manifest(out)
    assert [(of["stage"], of["items"]) for of in known["stages"]] == [
        (stage, {"total": 48, "success": 48, "not_succeeded": []}) for stage in ("cut", "clean", "asr")
    ]
    assert known["status"] == "success"
    assert made_anew(out) == known
    rows = open_job(out).stages
    assert len(rows) == 3 * 48
    assert len({row["trace_id"] for row in rows}) == 1
    inputs = [row for row in open_job(out).artifacts() if row["role"] == "input"]
    assert len(inputs) == 2 * 48
    assert all(row["producer"]["item"] == row["item"] for row in inputs)
    for row in rows:
        log = (out / row["folder"] / "stage.log").read_text().splitlines()
        assert sum(line.startswith("#") for line in log) == row["attempt"]
        assert sum(line.endswith("at work") for line in log) == row["attempt"]


def test_a_deleted_item_is_gone(out):
    """An item whose folder somebody removed is counted no more by a process that looks for the first time."""
    ran(out, "a")
    ran(out, "b")
    shutil.rmtree(out / "06_asr/a")
    registry._memory.clear()
    ran(out, "c")
    assert items(out)["total"] == 2


def test_the_documents_have_their_form(out):
    """Manifests and job manifests of items are what the shipped schemas say, dead and failed ones among them."""
    with StageIO("01_cut", out, item="a") as io:
        io.get_output_path("x").write_text("x")
        io.track_output(io.get_output_path("x"), "audio")
    with StageIO("02_asr", out, item="a") as io:
        io.track_input(out / "01_cut/a/x", "audio")
    ran(out, "b", "failed", "02_asr")
    child = os.fork()
    if child == 0:
        StageIO("03_dead", out, item="b")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    running = StageIO("04_now", out, item="b")
    expected = ["success", "failed", "failed", "running"]
    # While it writes the end of the dead one it holds that one's lock, and for a moment has not said what for.
    until = time.monotonic() + 20
    while [of["status"] for of in job_manifest(out)["stages"]] != expected and time.monotonic() < until:
        registry.update(JobLayout(out))
    for name, document in (
        ("job_manifest", job_manifest(out)),
        ("manifest", json.loads((out / "02_asr/a/manifest.json").read_text())),
        ("manifest", running.manifest),
    ):
        schema = json.loads((Path(views.__file__).parent / f"schemas/{name}.schema.json").read_text())
        jsonschema.validate(document, schema)
    assert [of["status"] for of in job_manifest(out)["stages"]] == expected
