"""Members: further processes of one attempt, which log and track into folders of their own and never end it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_stageio import StageIO, StageRunningError, open_job
from otel_stageio.job.members import settle
from otel_stageio.journal import reader
from tests.conftest import clean_environment

#: The card's script: the stage is opened at the module's level, so that spawned children open it again.
SCRIPT = """
import multiprocessing as mp, sys
from otel_stageio import StageIO

io = StageIO("asr", sys.argv[2], stage_number=6)
logger = io.get_stage_logger()

def work(n):
    logger.info("work %d", n)
    path = io.get_output_path(f"part{n}.txt")
    path.write_text(str(n))
    io.track_output(path, "part")
    with io.step("inner"):
        logger.info("step %d", n)
    return io.stage_number

def given(stage, log, n):
    log.info("given %d", n)
    stage.add_warning(f"careful {n}")
    stage.finalize()

if __name__ == "__main__":
    context = mp.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        assert pool.map(work, range(4)) == [6] * 4
    process = context.Process(target=given, args=(io, logger.getChild("net"), 7))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert io._recorder.finished is False
    io.finalize()
    logger.info("Stage complete")
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The job folder."""
    return tmp_path / "out"


def start(source: str, *args: object, **env: str) -> subprocess.Popen[bytes]:
    """Start a script that nobody waits for here."""
    return subprocess.Popen([sys.executable, "-c", source, *map(str, args)], env=clean_environment(env))


def run(source: str, *args: object, **env: str) -> None:
    """Run a script to its end."""
    assert start(source, *args, **env).wait(60) == 0


def manifest(out: Path, stage: str = "06_asr") -> dict:
    """The stage's manifest."""
    return json.loads((out / stage / "manifest.json").read_text())


def members(out: Path, stage: str = "06_asr") -> list[str]:
    """The members of its first attempt."""
    folder = out / stage / ".stageio/001/members"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_a_module_level_stage(way, out, run_script):
    """A stage at the module's level works in children of every kind: all log and track, one attempt, ended once."""
    done = run_script(SCRIPT, way, out)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    document = manifest(out)
    assert (document["status"], document["attempt"], document["degraded"]) == ("success", 1, [])
    assert {entry["path"] for entry in document["outputs"]} == {f"06_asr/part{n}.txt" for n in range(4)}
    assert [entry["message"] for entry in document["warnings"] if "careful" in entry["message"]] == ["careful 7"]
    assert [step["name"] for step in document["steps"]] == ["inner"] * 4
    lines = [line.split("] ", 3)[-1] for line in (out / "06_asr/stage.log").read_text().splitlines()[1:]]
    assert sorted(line for line in lines if line[0] in "ws") == sorted(
        f"{word} {n}" for word in ("step", "work") for n in range(4)
    )
    assert lines[-1] == "Stage complete"
    rows = open_job(out).logs()
    assert {row["message"] for row in rows} >= {"work 0", "step 3", "given 7"}
    assert len({row["trace_id"] for row in rows}) == 1
    assert bool(members(out)) == (way != "fork")
    if way != "fork":
        for entries in (document["outputs"], document["steps"]):
            assert {entry["member"] for entry in entries} <= set(members(out))
    assert not (out / "06_asr/.stageio/002").exists()


OPENED = """
import sys
from otel_stageio import StageIO
with StageIO("06_asr", sys.argv[1]) as io:
    io.get_stage_logger().info("%s", sys.argv[2])
    print(io._opened.member, io._opened.attempt)
    if sys.argv[2] == "bad":
        raise ValueError("in the child")
"""


def test_a_child_with_the_stages_environment(out):
    """A process that `io.environ()` was given to takes part; its failure is told and ends nothing."""
    with StageIO("06_asr", out) as io:
        for word, code in (("good", 0), ("bad", 1)):
            command = [sys.executable, "-c", OPENED, out, word]
            environment = {**io.environ(), **clean_environment({"STAGEIO_ATTEMPT": io.environ()["STAGEIO_ATTEMPT"]})}
            assert subprocess.run(command, env=environment, check=False, capture_output=True).returncode == code
        assert not io._recorder.finished
    document = manifest(out)
    assert (document["status"], len(members(out))) == ("success", 2)
    (error,) = document["errors"]
    assert (error["message"], error["member"] in members(out)) == ("ValueError: in the child", True)
    assert any("ended as failed: ValueError: in the child" in each["message"] for each in document["warnings"])
    assert {row["message"] for row in open_job(out).logs()} >= {"good", "bad"}


@pytest.mark.parametrize(("item", "around"), [("ep1", ""), ("ep1", "ep2"), ("", "ep2")])
def test_a_child_of_an_item(monkeypatch, out, item, around):
    """It takes part in the item's attempt without naming the item again, whatever item its parent's parents are of."""
    monkeypatch.setenv("STAGEIO_ITEM", around)
    with StageIO("06_asr", out, item=item) as io:
        subprocess.run([sys.executable, "-c", OPENED, out, "hello"], env=io.environ(), check=True, timeout=60)
    (row,) = open_job(out).attempts()
    assert (row["item"] or "", row["attempt"], io.manifest["log_counts"]["INFO"]) == (item, 1, 1)


AFTERWARDS = """
import multiprocessing as mp, sys
from otel_stageio import StageIO

with StageIO("prepare", sys.argv[2], stage_number=5) as before:
    before.get_stage_logger().info("prepared")
io = StageIO("asr", sys.argv[2], stage_number=6)

def work():
    io.get_stage_logger().info("late")
    StageIO("05_prepare", sys.argv[2]).finalize("skipped")

if __name__ == "__main__":
    io.finalize()
    process = mp.get_context(sys.argv[1]).Process(target=work)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_that_starts_when_the_stage_has_ended(method, out, tmp_path):
    """Where it reads the script again it opens nothing anew; what its task then opens is an attempt of its own."""
    script = tmp_path / "script.py"
    script.write_text(AFTERWARDS)
    subprocess.run([sys.executable, script, method, out], env=clean_environment(), check=True, timeout=60)
    rows = [(row["stage"], row["attempt"], row["status"]) for row in open_job(out).attempts()]
    assert sorted(rows) == [("asr", 1, "success"), ("prepare", 1, "success"), ("prepare", 2, "skipped")]
    assert manifest(out)["log_counts"]["INFO"] == 1


def test_an_attempt_that_is_over(out):
    """A process that still has the environment of an attempt that ended opens an attempt of its own."""
    with StageIO("06_asr", out) as io:
        attempt = io.environ()["STAGEIO_ATTEMPT"]
    run(OPENED, out, "late", STAGEIO_ATTEMPT=attempt)
    assert [row["attempt"] for row in open_job(out).attempts()] == [1, 2]


def test_another_stage_is_no_member(out):
    """What a stage's child opens besides is a stage of its own, and another job's of the same name, too."""
    with StageIO("05_cut", out) as io:
        attempt = io.environ()["STAGEIO_ATTEMPT"]
        run(OPENED, out, "other stage", STAGEIO_ATTEMPT=attempt)
        run(OPENED.replace("06_asr", "05_cut"), out.parent / "elsewhere", "other job", STAGEIO_ATTEMPT=attempt)
    assert [row["stage"] for row in open_job(out).stages] == ["cut", "asr"]
    assert len(open_job(out.parent / "elsewhere").stages) == 1
    assert not members(out, "05_cut")


def test_a_stranger_is_refused(out):
    """A process that does not come from the stage's is told that it is running, as before."""
    with StageIO("06_asr", out):
        code = OPENED.replace("with StageIO", "import os; from otel_stageio import StageRunningError\nwith StageIO")
        refused = subprocess.run(
            [sys.executable, "-c", code, out, "x"], env=clean_environment(), check=False, capture_output=True
        )
    assert b"StageRunningError" in refused.stderr
    with StageIO("06_asr", out), pytest.raises(StageRunningError):
        StageIO("06_asr", out)


# Ends.

OUTLIVES = """
import os, sys, time
from otel_stageio import StageIO
io = StageIO("06_asr", sys.argv[1])
child = os.fork()
if child == 0:
    os.setsid()
    os.environ["STAGEIO_ATTEMPT"] = io.environ()["STAGEIO_ATTEMPT"]
    code = '''
import sys, time
from otel_stageio import StageIO
io = StageIO("06_asr", sys.argv[1])
io.get_stage_logger().info("joined")
open(sys.argv[2], "w").close()
while not __import__("os").path.exists(sys.argv[3]):
    time.sleep(0.02)
io.get_stage_logger().info("still here")
io.add_warning("late")
io.finalize()
'''
    os.execv(sys.executable, [sys.executable, "-c", code, *sys.argv[1:]])
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
if sys.argv[4] == "kill":
    os.kill(os.getpid(), 9)
io.finalize()
"""


@pytest.mark.parametrize("end", ["finalize", "kill"])
def test_a_member_that_outlives_the_stage(end, out, tmp_path):
    """What a member says after the stage ended, or was killed, is on record; the next attempt is not disturbed."""
    joined, go = tmp_path / "joined", tmp_path / "go"
    status = start(OUTLIVES, out, joined, go, end).wait(60)
    assert status == (-signal.SIGKILL if end == "kill" else 0)
    with StageIO("06_asr", out) as io:
        assert io.manifest["attempt"] == 2
        go.touch()
        until = time.monotonic() + 20
        while not any(row["message"] == "still here" for row in open_job(out).logs()) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
    rows = {row["message"]: row["attempt"] for row in open_job(out).logs()}
    assert (rows["joined"], rows["still here"]) == (1, 1)
    assert [row["status"] for row in open_job(out).attempts()] == [
        "success" if end == "finalize" else "abandoned",
        "success",
    ]


LATE = """
import os, sys, time
from otel_stageio import StageIO
io = StageIO("06_asr", sys.argv[1])
name = sys.argv[2]
open(f"{sys.argv[1]}.{name}", "w").close()
while not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.001)
io.get_output_path(name).write_text(name)
io.track_output(io.get_output_path(name), "shard")
if sys.argv[3] == "finalize":
    io.finalize()
elif sys.argv[3] == "with":
    with io:
        pass
"""


def test_members_that_end_after_the_stage(out):
    """What ranks track when the first one has ended is in manifest.json, whoever is last and however it ends."""
    with StageIO("06_asr", out) as io:
        io._recorder.trouble("of the disk")
        names = [f"shard{n}" for n in range(6)]
        ends = ("finalize", "with", "") * 2
        started = [start(LATE, out, name, end, **io.environ()) for name, end in zip(names, ends, strict=True)]
        while not all(Path(f"{out}.{name}").exists() for name in names):
            time.sleep(0.01)
    assert len(members(out)) == len(names)
    Path(f"{out}.go").touch()
    assert [process.wait(60) for process in started] == [0] * len(names)
    document = manifest(out)
    assert sorted(entry["path"] for entry in document["outputs"]) == [f"06_asr/{name}" for name in names]
    assert document["degraded"] == ["of the disk"]
    assert {**open_job(out).manifest("asr"), "degraded": ["of the disk"]} == document


def test_a_member_leaves_a_with_block(out):
    """Its part has an end with a status of its own; an exception is an error of the stage, and goes on."""
    source = """
import sys
from otel_stageio import StageIO
with StageIO("06_asr", sys.argv[1]) as io:
    child = __import__("os").fork()
    if child == 0:
        io.finalize("failed")
        sys.exit(4)
    __import__("os").waitpid(child, 0)
    if sys.argv[2] == "raise":
        raise ValueError("rank 1 broke")
"""
    with StageIO("06_asr", out) as io:
        assert start(source, out, "pass", **io.environ()).wait(60) == 0
        assert start(source, out, "raise", **io.environ()).wait(60) == 1
    ends = {
        folder.name: [
            record.attributes["stageio.status"]
            for record in reader.log_records(str(folder / "events.jsonl"))
            if record.event_name == "stageio.member.finished"
        ]
        for folder in (out / "06_asr/.stageio/001/members").iterdir()
    }
    assert sorted(ends.values()) == [["failed"], ["success"]]
    document = manifest(out)
    assert [entry["message"] for entry in document["errors"]] == ["ValueError: rank 1 broke"]
    assert document["status"] == "success"


def test_a_manifest_is_made_again_once(out):
    """A member whose records are in the manifest already leaves it as it is, and so does one of an earlier attempt."""
    io = StageIO("06_asr", out)
    at_once = LATE.replace('while not os.path.exists(sys.argv[1] + ".go"):', "while False:")
    done = start(at_once, out, "x", "finalize", **io.environ())
    assert done.wait(60) == 0
    io.finalize()
    stage, path = io._opened.layout, out / "06_asr/manifest.json"
    (member,) = members(out)
    made = []
    for _ in range(2):
        path.write_text("{}")
        settle(stage, 1, member)
        made.append(path.read_text() != "{}")
    StageIO("06_asr", out).finalize()
    newest = path.read_bytes()
    (out / "06_asr/.stageio/001/settled").unlink()
    settle(stage, 1, member)
    assert (made, path.read_bytes()) == ([True, False], newest)


def test_a_copy_in_this_process_is_the_stage(out):
    """Pickled and unpickled where it is open, a stage is itself, and so is its logger."""
    import copy
    import pickle

    with StageIO("06_asr", out) as io:
        assert pickle.loads(pickle.dumps(io)) is io
        assert copy.deepcopy({"io": io})["io"] is io
        logger = io.get_stage_logger()
        assert pickle.loads(pickle.dumps(logger)) is logger
        assert copy.copy(logger.getChild("a")) is logger.getChild("a")


def test_records_of_members_are_the_stages(out):
    """Each record of a member is in the stage's trace, below its span, and says which process made it."""
    with StageIO("06_asr", out) as io:
        run(OPENED, out, "hello", STAGEIO_ATTEMPT=io.environ()["STAGEIO_ATTEMPT"])
        span = io._recorder.span_id
    (member,) = members(out)
    (record,) = reader.log_records(str(out / f"06_asr/.stageio/001/members/{member}/logs.jsonl"))
    assert (record.span_id, record.attributes["stageio.member"]) == (span, member)
    assert f"-{record.attributes['process.pid']}-1" in member


WRITES_LATER = """
import sys
from otel_stageio import StageIO
io = StageIO("asr", sys.argv[1], stage_number=6)
for name in ("later.txt", "never.txt"):
    io.track_output(io.get_output_path(name), "text")
io.get_output_path("later.txt").write_text("three words here")
if sys.argv[2:]:
    io.finalize()
"""


@pytest.mark.parametrize("ends", [[], ["by finalize"]])
def test_what_a_member_tracked_before_it_wrote_it(out, ends):
    """Outputs of a member are looked at again when its part ends: sizes and checksums are those of what it left."""
    with StageIO("asr", out, stage_number=6) as io:
        run(WRITES_LATER, out, *ends, **io.environ())
    later, never = manifest(out)["outputs"]
    assert (later["size_bytes"], later["checksum_method"], never["checksum"]) == (16, "sha256", None)
    assert [entry["message"] for entry in manifest(out)["warnings"]] == [
        "06_asr/never.txt was tracked as an output and never made"
    ]
