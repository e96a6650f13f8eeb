"""Forked children of real programs: they say what they say once, in their parent's stage, and end nothing of it."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import open_job
from otel_stageio.journal import reader
from otel_stageio.views.manifest import dump
from tests.processes import forks_are_counted_too_late

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RunScript

#: A stage in a step, in a process that has our thread beside it; `job` is what the program leaves.
BEGIN = """
import json, multiprocessing, os, signal, sys, threading, time, warnings
warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)  # of threads of the program's own
from otel_stageio import StageIO

io = StageIO("asr", "out", stage_number=6)
logger = io.get_stage_logger()

def say(text):
    logger.info(text)
    print(text, os.getpid(), flush=True)
    return text

def waited(child, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hung"
"""


def program(run_script: RunScript, source: str, **variables: str) -> tuple[list[list[str]], str]:
    """Run a program; the words of the lines that it prints, and its stderr."""
    ran = run_script(BEGIN + source, env=variables)
    assert (ran.returncode, [line for line in ran.stderr.splitlines() if not line.startswith("[")]) == (0, [])
    return [line.split() for line in ran.stdout.splitlines()], ran.stderr


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """The log records of the job."""
    return open_job(tmp_path / "out").logs()


def first(tmp_path: Path) -> Path:
    """The folder of the stage's first attempt."""
    return tmp_path / "out" / "06_asr" / ".stageio" / "001"


def is_whole(tmp_path: Path) -> None:
    """Every file of the stage has whole lines, no record comes twice, and the manifest is what the journal says."""
    stage, journal = tmp_path / "out" / "06_asr", first(tmp_path)
    assert [path.name for path in journal.glob("*.jsonl") if any(of.broken for of in reader.pieces(str(path)))] == []
    told = [*reader.log_records(str(journal / "events.jsonl")), *reader.log_records(str(journal / "logs.jsonl"))]
    uids = Counter(record.attributes["log.record.uid"] for record in told)
    assert set(uids.values()) == {1}
    names = Counter(record.event_name for record in told)
    assert (names["stageio.stage.started"], names["stageio.stage.finished"]) == (1, 1)
    assert (stage / "manifest.json").read_bytes() == dump(open_job(tmp_path / "out").manifest("asr"))


MAKERS = {
    "os.fork": """
        child = os.fork()
        if child == 0:
            say("one")
            sys.exit(0)
        assert waited(child) == 0
    """,
    "multiprocessing": """
        process = multiprocessing.get_context("fork").Process(target=say, args=("one",))
        process.start()
        process.join(30)
        assert process.exitcode == 0
    """,
    "pool": """
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(say, ["one"]) == ["one"]
            pool.close()
            pool.join()
    """,
    "executor": """
        from concurrent.futures import ProcessPoolExecutor
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
            assert pool.submit(say, "one").result(30) == "one"
    """,
    "asyncio": """
        import asyncio
        from concurrent.futures import ProcessPoolExecutor
        async def main():
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
                assert await asyncio.get_running_loop().run_in_executor(pool, say, "one") == "one"
        asyncio.run(main())
    """,
    "thread": """
        import contextvars
        def work():
            child = os.fork()
            if child == 0:
                say("one")
                os._exit(0)
            assert waited(child) == 0
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        thread.start()
        thread.join()
    """,
    "grandchild": """
        child = os.fork()
        if child == 0:
            child = os.fork()
            if child == 0:
                say("one")
                sys.exit(0)
            os._exit(waited(child))
        assert waited(child) == 0
    """,
    "fork server": """
        # A server that forks a worker for each line of what it is asked, as pre-forking servers do.
        asks, tells = os.pipe()
        server = os.fork()
        if server == 0:
            os.close(tells)
            while line := os.read(asks, 4).decode():
                worker = os.fork()
                if worker == 0:
                    say(line.strip())
                    sys.exit(0)
                assert waited(worker) == 0
            sys.exit(0)
        os.close(asks)
        os.write(tells, b"one\\n")
        os.close(tells)
        assert waited(server) == 0
    """,
}


@pytest.mark.parametrize("how", MAKERS)
def test_a_child_logs_once_with_the_forkers_step_and_its_own_pid(tmp_path: Path, run_script: RunScript, how: str):
    """Whoever makes the child: its record is in each log once, in the step that forked, with the child's pid."""
    said, stderr = program(
        run_script,
        f"""
with io.step("decode"):
    print(io.span.get_span_context().span_id, os.getpid(), flush=True)
    if True:{MAKERS[how]}
    say("two")
print([thread.name for thread in threading.enumerate()].count("otel-stageio"))
io.finalize()
""",
    )
    (stage, parent), (_, child), (_, again), threads = said
    assert (parent, threads) == (again, ["1"])
    assert child != parent
    of = {row["message"]: row for row in rows(tmp_path)}
    (span,) = [of for of in reader.spans(str(first(tmp_path) / "traces.jsonl")) if of.name == "decode"]
    assert (of["one"]["extra.process.pid"], of["two"].get("extra.process.pid")) == (int(child), None)
    for row in of.values():
        assert (row["step"], row["trace_id"]) == ("decode", span.trace_id)
    for message in ("one", "two"):
        assert of[message]["span_id"] == span.span_id != f"{int(stage):016x}"
    (pipeline,) = (tmp_path / "out" / "logs").iterdir()
    for text in ((tmp_path / "out" / "06_asr" / "stage.log").read_text(), pipeline.read_text(), stderr):
        assert (text.count("[asr/decode] [INFO] one\n"), text.count("[asr/decode] [INFO] two\n")) == (1, 1)
    is_whole(tmp_path)


ENDS = {
    "normal": ("pass", 0),
    "exception": ("raise ValueError('torn tape')", 1),
    "sys.exit": ("sys.exit(3)", 3),
    "os._exit": ("os._exit(4)", 4),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)", -15),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -9),
}


@pytest.mark.parametrize("nested", ["", "with io:", "with io.step('decode'):"])
@pytest.mark.parametrize("end", ENDS)
def test_a_childs_end_is_its_own(tmp_path: Path, run_script: RunScript, end: str, nested: str):
    """However a child ends, and wherever it was forked: the stage runs on, locked, with its thread, and ends once."""
    source = f"""
import multiprocessing.process
from otel_stageio.job import locks
class Done(SystemExit): pass
logger.info("before")
try:
    {nested or "if True:"}
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            io.add_warning("in the child")
            {ENDS[end][0]}
            raise Done
        print(waited(child), io.manifest["status"], locks.held("out/06_asr/.stageio/lock"))
        print([thread.name for thread in threading.enumerate()].count("otel-stageio"))
        logger.info("after")
except Done:
    sys.exit(0)
{"" if nested == "with io:" else "io.finalize()"}
"""
    said, _ = program(run_script, source)
    assert said == [[str(ENDS[end][1]), "running", "True"], ["1"]]
    assert [row["message"] for row in rows(tmp_path)] == ["before", "after"]
    manifest = open_job(tmp_path / "out").manifest("asr")
    assert (manifest["status"], manifest["errors"]) == ("success", [])
    assert [of["message"] for of in manifest["warnings"] if "calls" not in of] == ["in the child"]
    is_whole(tmp_path)


def test_a_child_killed_in_the_middle_of_its_lines(tmp_path: Path, run_script: RunScript):
    """Half a line in every file, left by a child that was killed, costs the child's own record and no other."""
    program(
        run_script,
        """
for number in range(5):
    child = os.fork()
    if child == 0:
        io.get_stage_logger().info("whole %d", number)
        for name in ("stage.log", ".stageio/001/logs.jsonl", ".stageio/001/events.jsonl"):
            path = "out/06_asr/" + name
            fd = os.open(path, os.O_RDWR | os.O_APPEND)
            line = os.pread(fd, 1 << 20, 0).splitlines()[-1]
            os.write(fd, line[: len(line) * (number + 1) // 6])
        os.kill(os.getpid(), signal.SIGKILL)
    assert waited(child) == -9
    logger.info("parent %d", number)
    io.add_config(f"key{number}", number)
    if number % 2:
        logger.info("parent again %d", number)
        io.add_config(f"again{number}", number)
io.finalize()
""",
    )
    told = {row["message"] for row in rows(tmp_path)}
    assert told >= {f"{who} {number}" for who in ("whole", "parent") for number in range(5)}
    assert told >= {"parent again 1", "parent again 3"}
    manifest = json.loads((tmp_path / "out" / "06_asr" / "manifest.json").read_bytes())
    assert manifest["config"] == {**{f"key{n}": n for n in range(5)}, "again1": 1, "again3": 3}
    assert manifest["status"] == "success"
    log = (tmp_path / "out" / "06_asr" / "stage.log").read_text()
    assert all(log.count(f"[asr] [INFO] parent {number}\n") == 1 for number in range(5))


@pytest.mark.timeout(120)
def test_five_hundred_forks_beside_threads_that_log(tmp_path: Path, run_script: RunScript):
    """No child hangs and no line is lost or torn, while threads log at full speed and open stages of their own."""
    said, _ = program(
        run_script,
        """
counts, going, hung = [0, 0, 0], True, 0
def talk(number):
    while going:
        logger.info("thread %d %d", number, counts[number])
        counts[number] += 1
def opens():
    while going:
        StageIO("vad", "out", stage_number=5).finalize()
        time.sleep(0.02)
threads = [threading.Thread(target=talk, args=(number,)) for number in range(3)] + [threading.Thread(target=opens)]
for thread in threads: thread.start()
for number in range(500):
    child = os.fork()
    if child == 0:
        logger.info("child %d", number)
        io.add_config(f"child{number}", number)
        os._exit(0)
    hung += waited(child, 10) != 0
    if hung: break
going = False
for thread in threads: thread.join()
io.finalize()
print(hung, sum(counts))
""",
        STAGEIO_CONSOLE="off",
    )
    ((hung, count),) = said
    assert hung == "0"
    messages = Counter(row["message"] for row in rows(tmp_path))
    assert set(messages.values()) == {1}
    assert len(messages) == int(count) + 500
    assert len(open_job(tmp_path / "out").manifest("asr")["config"]) == 500
    is_whole(tmp_path)


def test_a_child_that_outlives_the_stage(tmp_path: Path, run_script: RunScript):
    """What it says after the end of the stage and of its process is in the stage's files; the next one opens."""
    program(
        run_script,
        """
if os.fork() == 0:
    os.close(1); os.close(2)  # whoever runs the program does not wait for the child
    while not os.path.exists("go"):
        time.sleep(0.01)
    logger.info("late")
    io.add_config("late", 1)
    open("gone", "x").close()
    os._exit(0)
io.finalize()
""",
    )
    job = open_job(tmp_path / "out")
    assert [row["status"] for row in job.stages] == ["success"]
    (tmp_path / "go").touch()
    until = time.monotonic() + 30
    while not (tmp_path / "gone").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert (job.manifest("asr")["status"], job.manifest("asr")["config"]) == ("success", {"late": 1})
    ran = run_script(
        """
from otel_stageio import StageIO
with StageIO("asr", "out") as io:
    print(io.manifest["attempt"])
"""
    )
    assert (ran.returncode, ran.stdout) == (0, "2\n")
    assert [record.body for record in reader.log_records(str(first(tmp_path) / "logs.jsonl"))] == ["late"]


def test_a_child_whose_parent_is_killed(tmp_path: Path, run_script: RunScript):
    """It does not keep the stage running: that is abandoned, can be opened again, and has what the child said."""
    ran = run_script(
        BEGIN
        + """
parent = os.getpid()
child = os.fork()
if child == 0:
    os.close(1); os.close(2)
    while os.getppid() == parent:
        time.sleep(0.005)
    logger.info("alone")
    open("said", "x").close()
    time.sleep(20)
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert ran.returncode == -9
    assert [row["status"] for row in open_job(tmp_path / "out").stages] == ["abandoned"]
    again = run_script(
        f"""
import os, time
while not os.path.exists("said"):
    time.sleep(0.01)
from otel_stageio import StageIO
with StageIO("asr", "out") as io:
    print(io.manifest["attempt"])
os.kill({ran.stdout}, 9)
"""
    )
    assert (again.returncode, again.stdout) == (0, "2\n")
    assert [record.body for record in reader.log_records(str(first(tmp_path) / "logs.jsonl"))] == ["alone"]


def test_no_thread_of_ours_at_a_fork(run_script: RunScript):
    """A program without threads has none when it forks, however many stages are open; Python warns of nothing."""
    ran = run_script(
        """
import os, warnings
found = []
os.register_at_fork(before=lambda: found.append(os.listdir("/proc/self/task")))  # called after what comes later
from otel_stageio import StageIO
import threading
stages = [StageIO(name, "out") for name in ("vad", "asr")]
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(threading.active_count() - 1)
        assert os.waitpid(child, 0)[1] == 0
print([len(of) for of in found] == [1] * 20, len(told), threading.active_count())
for io in stages:
    io.finalize()
print(threading.active_count())
"""
    )
    told = 20 if forks_are_counted_too_late() else 0
    assert (ran.returncode, ran.stdout) == (0, f"True {told} 3\n1\n")


def test_children_that_set_attributes_of_the_stage(tmp_path: Path, run_script: RunScript) -> None:
    """What a child tells the stage's span is on it; what it tells the step of its parent stays in the child."""
    done = run_script(
        """
import os
from opentelemetry import trace
from otel_stageio import StageIO
io = StageIO("asr", "out", stage_number=1)
with io.step("decode"):
    if os.fork() == 0:
        io.span.set_attribute("of.the.stage", 1)
        trace.get_current_span().set_attribute("of.the.step", 1)
        with io.step("part"):
            pass
        os._exit(0)
    os.wait()
io.finalize()
""",
        env={"STAGEIO_CONSOLE": "off"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    journal = tmp_path / "out" / "01_asr" / ".stageio" / "001"
    spans = {of.name: of for of in reader.spans(str(journal / "traces.jsonl"))}
    assert spans["asr"].attributes["of.the.stage"] == 1
    assert "of.the.step" not in spans["decode"].attributes
    assert spans["part"].parent_span_id == spans["decode"].span_id


def test_the_thread_that_hashes_imports_nothing(run_script: RunScript) -> None:
    """A child that is forked while a large file is read finds no import that its parent was in the middle of."""
    imported, _ = program(
        run_script,
        """
class Imports:
    def find_spec(self, name, *_):
        if threading.current_thread().name == "stageio-hash":
            print("imported", name, flush=True)

sys.meta_path.insert(0, Imports())
with open("talk.wav", "wb") as file:
    file.truncate(9 << 20)
io.track_input("talk.wav", "audio")
io.finalize()
print("read", io.manifest["inputs"][0]["checksum_method"])
""",
    )
    assert imported == [["read", "sha256"]]


def test_a_daemon_that_closes_what_it_inherited(tmp_path: Path, run_script: RunScript) -> None:
    """What it says is on record, and no line of ours and no closing of ours gets into files that it opens itself."""
    program(
        run_script,
        """
logger.info("before")
io.track_input(__file__, "script")
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(3, 256)
    own = [open(f"own{number}", "w") for number in range(20)]
    logger.info("daemon")
    io.track_input(sys.executable, "program")
    io.add_config("daemon", True)
    with io.step("serve"):
        logger.info("serving")
    del io, logger
    for file in own:
        file.write("own data")
        file.close()
    os._exit(0)
os.wait()
until = time.monotonic() + 30
while not os.path.exists("own19") or os.stat("own19").st_size == 0:
    assert time.monotonic() < until
    time.sleep(0.01)
logger.info("after")
io.finalize()
""",
    )
    assert {(tmp_path / f"own{number}").read_text() for number in range(20)} == {"own data"}
    assert [row["message"] for row in rows(tmp_path)] == ["before", "daemon", "serving", "after"]
    manifest = open_job(tmp_path / "out").manifest("asr")
    assert (manifest["config"], len(manifest["inputs"]), manifest["degraded"]) == ({"daemon": True}, 2, [])
    is_whole(tmp_path)
