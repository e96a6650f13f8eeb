from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

from otel_stageio import CommandError, StageIO
from otel_stageio import conventions as names
from otel_stageio.journal import reader
from otel_stageio.model import LogRecord


@pytest.fixture
def io():
    """Give an open stage."""
    with StageIO("asr", "out", stage_number=6) as made:
        yield made


def records(stream=None):
    """The output on record: message, step and span of each line, of one stream or of both."""
    found = [
        each
        for piece in reader.pieces("out/06_asr/.stageio/001/logs.jsonl")
        for line in piece.lines
        for each in line.records
        if isinstance(each, LogRecord) and names.LOG_IOSTREAM in each.attributes
    ]
    return [each for each in found if stream in (None, each.attributes[names.LOG_IOSTREAM])]


def test_a_command(io):
    """A command is a step of its program's name; its lines are on record by that step's span, and nowhere else."""
    done = io.run(["sh", "-c", "echo out; echo err >&2; printf 'a\\rb'"])
    assert (done.args[0], done.returncode, done.stdout, done.stderr) == ("sh", 0, None, None)
    (step,) = io.manifest["steps"]
    assert (step["name"], step["status"], step["attributes"]["process.command_args"][:2]) == (
        "sh",
        "success",
        ["sh", "-c"],
    )
    (span,) = reader.spans("out/06_asr/.stageio/001/traces.jsonl")
    assert [each.body for each in records("stdout")] == ["out", "b"]
    assert [each.body for each in records("stderr")] == ["err"]
    about = {(each.span_id, each.attributes[names.STEP], each.severity_text) for each in records()}
    assert about == {(span.span_id, "sh", "DEBUG")}
    assert span.attributes[names.PROCESS_EXIT_CODE] == 0
    log = io.stage_log.read_text(encoding="utf-8")
    assert [f"[asr/sh] [DEBUG] {word}\n" in log for word in ("out", "err", "b")] == [True] * 3


def test_console(io, capfd):
    """What a command writes is not shown."""
    io.run(["sh", "-c", "echo out; echo err >&2"])
    assert [word in "".join(capfd.readouterr()) for word in ("out\n", "err\n")] == [False, False]


def test_environment(io):
    """The command is told the job, the run and the trace of its step, also where an environment is given."""
    script = 'echo "$TRACEPARENT $STAGEIO_JOB_DIR $A"'
    with io.step("outer"):
        done = io.run(["/bin/sh", "-c", script], env={"A": "1"}, name="inner", text=True, capture_output=True)
    outer, inner = sorted(
        reader.spans("out/06_asr/.stageio/001/traces.jsonl"), key=lambda span: span.start_time_unix_nano
    )
    assert (inner.name, inner.parent_span_id) == ("inner", outer.span_id)
    assert done.stdout == f"00-{inner.trace_id}-{inner.span_id}-01 {os.path.abspath('out')} 1\n"
    assert {each.attributes[names.STEP] for each in records()} == {"outer/inner"}


def test_a_failure(io):
    """A command that fails raises, with exit code, command and the last lines of stderr; the step has failed."""
    with pytest.raises(CommandError) as raised:
        io.run(["sh", "-c", "echo out; for i in $(seq 30); do echo line $i >&2; done; exit 3"], name="work")
    error = raised.value
    assert (error.returncode, error.cmd[0], error.stdout, len(error.tail.splitlines())) == (3, "sh", None, 20)
    assert str(error).startswith("sh -c 'echo out; for i in")
    assert str(error).endswith(f" failed: exit code 3; the last lines of its stderr:\n{error.tail}")
    assert error.tail.endswith("line 29\nline 30")
    (step,) = io.manifest["steps"]
    assert (step["status"], "exit code 3" in step["reason"]) == ("failed", True)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_failure_that_ends_the_stage():
    """Uncaught, the failure of a command is the stage's reason."""
    with pytest.raises(CommandError), StageIO("asr", "out", stage_number=6) as io:
        io.run(["sh", "-c", "echo no such model; exit 3"])
    assert (io.manifest["status"], "no such model" in io.manifest["reason"]) == ("failed", True)


def test_without_check(io):
    """With check=False the exit code is given back."""
    assert io.run("exit 4", shell=True, check=False).returncode == 4
    assert io.run(["sh", "-c", "kill -KILL $$"], check=False).returncode == -9


def test_killed(io):
    """A command that a signal killed says which."""
    with pytest.raises(CommandError, match=r"killed \(SIGKILL\)") as raised:
        io.run(["sh", "-c", "kill -KILL $$"])
    assert raised.value.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("command", "about", "code", "says"),
    [
        (["no-such-command"], {}, 127, "no-such-command cannot be started: No such file or directory"),
        (["/"], {}, 126, "/ cannot be started: Permission denied"),
        (["ls"], {"cwd": "nowhere"}, 126, "ls cannot be started: No such file or directory: nowhere"),
    ],
)
def test_cannot_be_started(io, command, about, code, says):
    """A command that is not there raises, whatever check says, with the exit code of a shell and the cause."""
    with pytest.raises(CommandError, match=says) as raised:
        io.run(command, check=False, **about)
    assert (raised.value.returncode, isinstance(raised.value.__cause__, OSError)) == (code, True)


def test_timeout(io):
    """A command that takes too long is killed, and what it wrote is on record."""
    begun = time.monotonic()
    with pytest.raises(CommandError, match=r"sh -c .* did not end within 0.5 s and was killed") as raised:
        io.run(["sh", "-c", "echo early; exec sleep 60"], timeout=0.5)
    assert (time.monotonic() - begun < 10, raised.value.tail) == (True, "early")
    assert isinstance(raised.value.__cause__, subprocess.TimeoutExpired)


def test_input_and_output(io):
    """Input is given, and output given back, as subprocess does; it is on record all the same."""
    text = "b\na\n" * 20_000
    done = io.run(["sort"], input=text, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("a\n" * 20_000 + "b\n" * 20_000, "")
    assert len(records()) == 40_000
    assert io.run(["cat"], input=b"\xff", stdout=subprocess.PIPE).stdout == b"\xff"
    assert io.run(["true"], input=b"x" * 1_000_000).returncode == 0


def test_redirected(io, tmp_path):
    """Output that goes into a file is the command's own business."""
    with (tmp_path / "sorted").open("wb") as file:
        io.run(["sort"], input="b\na\n", stdout=file)
    assert ((tmp_path / "sorted").read_bytes(), records()) == (b"a\nb\n", [])
    io.run(["sh", "-c", "echo both >&2"], stderr=subprocess.STDOUT)
    assert [each.body for each in records("stdout")] == ["both"]


def test_a_process_left_behind(io):
    """A command that leaves a process with its output ends when it ends, with a warning; that process lives on."""
    begun = time.monotonic()
    io.run(["sh", "-c", "(sleep 1.5; echo late; echo > alive) & echo early"])
    assert time.monotonic() - begun < 1.4
    assert "sh left a process behind that still holds its stdout and stderr" in str(io.manifest["warnings"])
    while not os.path.exists("alive"):
        assert time.monotonic() - begun < 30
        time.sleep(0.05)
    assert [each.body for each in records()] == ["early"]


def test_threads(io):
    """Commands that threads run side by side keep their lines apart."""

    def work(number):
        io.run(["sh", "-c", f"for i in 1 2 3; do echo {number}; done"], name=f"work{number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted((each.attributes[names.STEP], each.body) for each in records()) == [
        (f"work{number}", str(number)) for number in range(8) for _ in range(3)
    ]


def test_interrupted(run_script):
    """Ctrl-C while a command runs ends it, goes on to the caller, and leaves the stage failed."""
    ran = run_script("""
        import os, signal, sys, threading
        from otel_stageio import StageIO
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            with StageIO("asr", "out", stage_number=6) as io:
                io.run(["sh", "-c", "echo $$ > pid; exec sleep 60"])
        except KeyboardInterrupt:
            print(io.manifest["status"])
        try:
            os.kill(int(open("pid").read()), 0)
        except ProcessLookupError:
            print("gone")
    """)
    assert (ran.returncode, ran.stdout) == (0, "failed\ngone\n")


def test_secrets(io):
    """A secret on the command line, and in the output, is on no record; the command gets it."""
    done = io.run(["echo", "--password", "hunter2hunter2"], capture_output=True, text=True)
    with pytest.raises(CommandError) as raised:
        io.run(["sh", "-c", "exit 3", "--password", "hunter2hunter2"])
    assert (done.stdout, "hunter2hunter2" in str(raised.value)) == ("--password hunter2hunter2\n", False)
    io.finalize("failed")
    for folder, _, files in os.walk("out"):
        for name in files:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                assert "hunter2hunter2" not in file.read()


def test_nothing_is_recorded():
    """With mode="off" a command runs as ever."""
    with StageIO("asr", "out", stage_number=6, mode="off") as io:
        assert io.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout == "1\n"
    assert not os.path.exists("out")


def test_no_command(io):
    """What cannot be run is said to be what it is; nothing is on record of it."""
    with pytest.raises(ValueError, match=r"^io\.run has no command: "):
        io.run([])
    with pytest.raises(ValueError, match=r"^io\.run takes input or stdin, not both"):
        io.run(["cat"], input="a", stdin=subprocess.DEVNULL)
    assert io.manifest["steps"] == []


def test_words_that_are_made_on_the_way(io):
    """As for subprocess, the words of a command may come from a generator."""
    done = io.run(map(str, ["echo", 7]), capture_output=True, text=True)
    assert (done.args, done.stdout) == (["echo", "7"], "7\n")
