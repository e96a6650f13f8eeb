"""`stageio run --stage`: any command as a stage, with real commands, pipes and terminals."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio import conventions as names
from otel_stageio.journal import reader
from otel_stageio.model import LogRecord
from otel_stageio.views import logline
from tests.cli.terminal import Terminal
from tests.cli.test_run import RUN, run, start
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator


def records(folder: str = "out/01_mux", attempt: int = 1) -> list[LogRecord]:
    """The log records of a command's output."""
    pieces = reader.pieces(f"{folder}/.stageio/{attempt:03d}/logs.jsonl")
    found = [each for piece in pieces for line in piece.lines for each in line.records]
    return [each for each in found if isinstance(each, LogRecord) and names.LOG_IOSTREAM in each.attributes]


def said(stream: str) -> list[Any]:
    """What the stage mux has on record of a stream."""
    return [each.body for each in records() if each.attributes[names.LOG_IOSTREAM] == stream]


def manifest(folder: str = "out/01_mux") -> Any:
    """A stage's manifest."""
    return json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))


def test_output() -> None:
    """Output goes through byte for byte, and is recorded by line, stdout and stderr told apart, at DEBUG."""
    ran = run("--stage", "mux", "--", "sh", "-c", r"printf 'a\nb\r\nc\rd\n\377\n\tlast'; printf 'no\033[31m!\n' >&2")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"a\nb\r\nc\rd\n\xff\n\tlast", b"no\x1b[31m!\n")
    assert (said("stdout"), said("stderr")) == (["a", "b", "d", "\\xff", "\tlast"], ["no\x1b[31m!"])
    assert {(each.severity_text, each.severity_number) for each in records()} == {("DEBUG", 5)}
    with open("out/01_mux/stage.log", encoding="utf-8", newline="\n") as file:
        shown = [(each.stage, each.message) for each in logline.parse(file) if each.level == "DEBUG"]
    assert sorted(shown) == sorted(("mux", each.body) for each in records())


def test_interrupted_while_outputs_are_read() -> None:
    """Ctrl-C after the command's end, while checksums are computed, is the reason on record; the exit code is 130."""
    with start("--stage", "mux", "--out", "big", "--", "truncate", "-s", "10G", "big") as process:
        while process.poll() is None:  # until it comes after the command's end: before it is the command's
            time.sleep(0.3)
            if Path("big").exists():
                process.send_signal(signal.SIGINT)
        assert process.returncode == 130, process.communicate()
    known = manifest()
    assert (known["status"], known["reason"]) == ("failed", "interrupted (SIGINT) after the command had ended")
    assert known["outputs"][0]["checksum_problem"] == "the stage ended before it was computed"


def test_working_directory_that_is_gone(tmp_path: Path) -> None:
    """The command runs all the same; in a job folder that is given it is on record, and a relative one is told of."""
    gone = tmp_path / "gone"
    for given, words in ((str(tmp_path / "out"), b""), ("out", b"runs without a record")):
        gone.mkdir()
        script = 'rmdir "$PWD"; exec "$@"'
        wanted = [*RUN, "--job", given, "--stage", "mux", "--", "sh", "-c", "echo ran; exit 3"]
        ran = subprocess.run(
            ["sh", "-c", script, "sh", *wanted], cwd=gone, env=clean_environment(), capture_output=True, check=False
        )
        assert (ran.returncode, ran.stdout) == (3, b"ran\n"), ran.stderr
        assert words in ran.stderr
    assert manifest()["reason"] == "exit code 3"


def test_both_in_one() -> None:
    """Where stdout and stderr go into one pipe, the order in it is the command's."""
    script = "for i in $(seq 200); do echo $i; echo e$i >&2; done"
    ran = run("--stage", "mux", "--", "sh", "-c", script, capture_output=False, stdout=-1, stderr=subprocess.STDOUT)
    expected = [word for number in range(1, 201) for word in (str(number), f"e{number}")]
    assert (ran.stdout.decode().split(), said("stdout")) == (expected, expected)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str) -> None:
    """A stream that is closed for us is closed for the command, and nothing else is there in its place."""
    look = "seen = [n for n in range(3) if os.path.lexists(f'/proc/self/fd/{n}')]"
    Path("look.py").write_text(f"import os\n{look}\nopen('seen', 'w').write(' '.join(map(str, seen)))\n")
    script = f"{sys.executable} -m otel_stageio run --stage mux -- {sys.executable} look.py {closed}"
    ran = subprocess.run(["bash", "-c", f"({script})"], env=clean_environment(), capture_output=True, check=False)
    gone = {"<&-": "0", ">&-": "1", "2>&-": "2"}
    expected = [number for sign, number in gone.items() if sign not in closed.split()]
    assert (ran.returncode, Path("seen").read_text().split()) == (0, expected)


def test_in_time(tmp_path: Path) -> None:
    """What the command writes is there at once, also without a newline, and is on record while the command runs."""
    started = start("--stage", "mux", "--", "sh", "-c", "printf 'line\\nprompt> '; read answer; exit 0")
    assert started.stdout
    read = b""
    while read != b"line\nprompt> ":
        read += os.read(started.stdout.fileno(), 100)
    started.communicate(timeout=30)
    assert said("stdout") == ["line", "prompt> "]


def test_files(tmp_path: Path) -> None:
    """--in and --out are tracked with their checksums, and an input that another stage made is linked to it."""
    with StageIO("decode", "out", stage_number=1) as io:
        Path(io.get_output_path("a.wav")).write_text("audio")
        io.track_output(io.get_output_path("a.wav"))
    Path("cover.png").write_text("cover")
    made = "cat out/01_decode/a.wav cover.png > video.mp4"
    files = ["--in", "out/01_decode/a.wav", "--in", "cover.png", "--out", "video.mp4"]
    ran = run("--stage", "mux", "--number", "12", *files, "--", "sh", "-c", made)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")
    found = manifest("out/12_mux")
    assert [Path(each["path"]).name for each in found["inputs"]] == ["a.wav", "cover.png"]
    assert found["inputs"][0]["producer"]["stage"] == "decode"
    (output,) = found["outputs"]
    assert (Path(output["path"]).name, output["size_bytes"], output["checksum"][:7]) == ("video.mp4", 10, "sha256:")


def test_an_output_that_was_not_made() -> None:
    """A command that exits with 0 without having made its outputs has failed: exit code 1, and a line that says so."""
    Path("there").write_text("")
    ran = run("--stage", "mux", "--out", "there", "--out", "video.mp4", "--", "true")
    why = "the command exited with 0 and did not make video.mp4"
    assert (ran.returncode, ran.stderr.decode()) == (1, f"stageio: {why}\n")
    found = manifest()
    assert (found["status"], found["reason"]) == ("failed", why)
    assert "video.mp4 was tracked as an output and never made" in str(found["warnings"])


def test_a_link_to_nothing() -> None:
    """A link that leads nowhere is no file: as an output it was not made, as an input it is missing."""
    Path("link").symlink_to("nowhere")
    ran = run("--stage", "mux", "--in", "link", "--out", "link", "--", "true")
    told = b"stageio: input link is missing\nstageio: the command exited with 0 and did not make link\n"
    assert (ran.returncode, ran.stderr) == (1, told)


def test_an_input_that_is_missing() -> None:
    """A missing input is told and on record; whether that matters is the command's to say."""
    ran = run("--stage", "mux", "--in", "a.wav", "--", "true")
    assert (ran.returncode, ran.stderr) == (0, b"stageio: input a.wav is missing\n")
    assert "a.wav is missing" in str(manifest()["warnings"])


@pytest.mark.parametrize(
    ("command", "code", "status", "reason", "kind"),
    [
        (["sh", "-c", "exit 0"], 0, "success", None, None),
        (["sh", "-c", "exit 3"], 3, "failed", "exit code 3", "_OTHER"),
        (["sh", "-c", "kill -KILL $$"], -9, "failed", "killed (SIGKILL)", "SIGKILL"),
        (["sh", "-c", "kill -TERM $$"], -15, "failed", "killed (SIGTERM)", "SIGTERM"),
        (["no-such-command"], 127, "failed", "no-such-command: command not found", "_OTHER"),
        (["/"], 126, "failed", "/: Is a directory", "_OTHER"),
    ],
)
def test_ends(command: list[str], code: int, status: str, reason: str | None, kind: str | None) -> None:
    """The stage ends as its command did: exit code, signal, or that there is no such command."""
    ran = run("--stage", "mux", "--out", "x", "--", *command) if code else run("--stage", "mux", "--", *command)
    found = manifest()
    assert (ran.returncode, found["status"], found.get("reason")) == (code, status, reason)
    (span,) = [each for each in reader.spans("out/01_mux/.stageio/001/traces.jsonl") if each.name == "mux"]
    assert span.attributes.get(names.ERROR_TYPE) == kind
    assert span.attributes.get(names.PROCESS_EXIT_CODE) == (code if code >= 0 else None)
    assert (open_job("out").attempts()[0]["status"], span.attributes[names.STATUS]) == (status, status)


def test_environment() -> None:
    """The command is told the job, the run and the trace of its stage; within a pipeline all of them are its own."""
    inner = [sys.executable, "-m", "otel_stageio", "run", "--stage", "mux", "--", "sh", "-c", "echo $TRACEPARENT"]
    ran = run("--job", "jobs/a", "--name", "nightly", "--", *inner)
    (span,) = reader.spans("jobs/a/01_mux/.stageio/001/traces.jsonl")
    (root,) = reader.spans("jobs/a/.stageio/runs/001/traces.jsonl")
    assert ran.stdout.decode() == f"00-{span.trace_id}-{span.span_id}-01\n"
    assert (span.parent_span_id, span.trace_id, root.name) == (root.span_id, root.trace_id, "nightly")


def test_without_a_newline() -> None:
    """A gigabyte without a newline goes through whole; its beginning is recorded with its size, in little memory."""
    size = 1_000_000_000
    script = (
        f"ulimit -v 2000000; exec {sys.executable} -m otel_stageio run --stage mux -- head -c {size} /dev/zero | wc -c"
    )
    ran = subprocess.run(["bash", "-c", script], env=clean_environment(), capture_output=True, check=True)
    assert int(ran.stdout) == size
    record = records()[0]
    kept = record.attributes[names.CUT]
    assert isinstance(kept, dict)
    left_out = sum(
        int(each) for each in re.findall(r"[(\d,)]+(?= bytes of output left out)", str(said("stdout")).replace(",", ""))
    )
    assert kept["body"] + left_out <= size + 1
    assert kept["body"] > 1 << 20
    assert os.stat("out/01_mux/.stageio/001/logs.jsonl").st_size < 4 << 20


def test_more_than_can_be_written() -> None:
    """Output that comes faster than it is recorded goes through whole; what is left out is counted, and a warning."""
    script = f"yes {'0123456789' * 100} | head -c 100000000"
    ran = run("--stage", "mux", "--", "sh", "-c", script)
    assert len(ran.stdout) == 100_000_000
    told = said("stdout")
    gaps = [
        int(each.replace(",", ""))
        for line in told
        for each in re.findall(r"^\[([\d,]+) bytes of output left out", str(line))
    ]
    kept = sum(len(line) + 1 for line in map(str, told) if not line.startswith("["))
    assert abs(100_000_000 - kept - sum(gaps)) <= len(gaps) + 1  # lines that a gap cut have no newline
    assert (f"{sum(gaps):,} bytes of the output are not on record" in str(manifest()["warnings"])) == bool(gaps)


def test_nobody_reads() -> None:
    """Where nobody reads the output any more the command dies of it, as it does without us."""
    script = f"{sys.executable} -m otel_stageio run --stage mux -- yes | head -1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", script], env=clean_environment(), capture_output=True, check=True, timeout=60)
    assert ran.stdout == b"y\n141\n"
    assert manifest()["reason"] == "killed (SIGPIPE)"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no device that is always full")
def test_a_full_disk() -> None:
    """Where its output cannot be written the command has not succeeded, and why is on record also if nobody is told."""
    for to_stderr in (subprocess.PIPE, subprocess.STDOUT):
        with open("/dev/full", "wb") as full:
            to = {"capture_output": False, "stdout": full, "stderr": to_stderr}
            ran = run("--stage", "mux", "--", "echo", "lost", **to)
        why = f"output of the command is lost: stdout cannot be written ({os.strerror(errno.ENOSPC)})"
        told = f"stageio: {why}\n".encode() if to_stderr == subprocess.PIPE else None
        assert (ran.returncode, ran.stderr, manifest()["reason"]) == (1, told, why)
    with open("/dev/full", "wb") as full:
        ran = run("--stage", "mux", "--", "yes", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    known = manifest()
    assert (ran.returncode, known["reason"], why in str(known["warnings"])) == (
        -signal.SIGPIPE,
        "killed (SIGPIPE)",
        True,
    )


def test_nobody_to_tell() -> None:
    """What is wrong is told on stderr or not at all: it is no part of the command's output, and changes no record."""
    for stderr in ("2>&-", "2>/dev/full"):
        script = f"{sys.executable} -m otel_stageio run --stage mux --out missing -- echo all {stderr}"
        ran = subprocess.run(["sh", "-c", script], env=clean_environment(), stdout=subprocess.PIPE, check=False)
        assert (ran.returncode, ran.stdout) == (1, b"all\n")
        assert manifest()["reason"] == "the command exited with 0 and did not make missing"


def test_a_process_left_behind() -> None:
    """A command that leaves a process with its output ends when it ends; that process's output still goes through."""
    begun = time.monotonic()
    started = start("--stage", "mux", "--", "sh", "-c", "echo early; (sleep 5; echo late) & exit 5")
    assert started.wait(timeout=30) == 5
    assert time.monotonic() - begun < 4.8
    out, err = started.communicate(timeout=30)
    told = "the command left a process behind that still holds its stdout and stderr"
    assert (out, err.decode()) == (
        b"early\nlate\n",
        f"stageio: {told}: what that writes is passed on, and not recorded\n",
    )
    assert (said("stdout"), told in str(manifest()["warnings"])) == (["early"], True)


def test_the_signals_of_a_stage() -> None:
    """SIGTERM to stageio reaches the command, which may end as it likes; the stage is as it ended."""
    script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    started = start("--stage", "mux", "--", "sh", "-c", script)
    assert started.stdout
    assert started.stdout.readline() == b"ready\n"
    started.send_signal(signal.SIGTERM)
    out, _ = started.communicate(timeout=30)
    assert (started.returncode, out, manifest()["reason"]) == (7, b"caught\n", "exit code 7")


@pytest.mark.parametrize(("end", "reason"), [("kill -9 $$", "killed (SIGKILL)"), ("exit 3", "exit code 3")])
def test_the_end_of_a_member(end: str, reason: str) -> None:
    """A command that takes part in a stage, as a rank does, is told of where it fails, also by a signal."""
    member = f"{sys.executable} -m otel_stageio run --stage mux -- sh -c '{end}'; echo went on"
    ran = run("--stage", "mux", "--", "sh", "-c", member)
    known = manifest()
    (told,) = [each["message"] for each in known["warnings"]]
    assert (ran.returncode, ran.stdout, known["status"]) == (0, b"went on\n", "success")
    assert told.startswith("member ")
    assert told.endswith(f" ended as failed: {reason}")


def test_a_stage_that_runs() -> None:
    """A stage that is open elsewhere is refused before anything is started, with exit code 2."""
    with StageIO("mux", "out", stage_number=1):
        ran = run("--stage", "mux", "--", "sh", "-c", "echo started")
    assert (ran.returncode, ran.stdout, b"is running" in ran.stderr) == (2, b"", True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--number", "3"], "--number, --in and --out are a stage's"),
        (["--stage", "a", "--name", "b"], "--name is a pip"),
        (["--stage", "a", "--out", ""], "--in or --out is given no file"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], says: str) -> None:
    """Options of a stage without one, and of a pipeline with one, are told, and nothing is started."""
    ran = run(*options, "--", "echo", "started")
    assert (ran.returncode, ran.stdout, says in ran.stderr.decode()) == (2, b"", True)


# Terminals.


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Give a shell on a terminal of 30 lines and 100 columns."""
    with Terminal(rows=30, columns=100) as made:
        yield made


LOOK = """
import os, sys
print([os.isatty(number) for number in (0, 1, 2)], [tuple(os.get_terminal_size(number)) for number in (1, 2)])
print(os.getpgrp() == os.tcgetpgrp(0))
"""


def test_a_terminal(terminal: Terminal) -> None:
    """On a terminal the command has terminals of the same size, and is in the foreground."""
    Path("look.py").write_text(LOOK)
    terminal.type(f"stageio run --stage mux -- {sys.executable} look.py\n")
    terminal.expect("[True, True, True] [(100, 30), (100, 30)]\r\nTrue\r\n")
    terminal.type("stageio run --stage mux -- python3 look.py 2>err.txt | cat\n")
    terminal.wait_for(Path("out/01_mux/.stageio/002/traces.jsonl"))
    assert "Inappropriate ioctl" in Path("err.txt").read_text()


def test_bytes_on_a_terminal(terminal: Terminal) -> None:
    """The terminal gets the same bytes as without us, and ends lines itself, once."""
    shown = []
    for before in ("", "stageio run --stage mux -- "):
        terminal.type(f"echo be''gin; {before}printf '1\\n2\\r\\n\\0333\\t\\377'; echo e''nd\n")
        terminal.expect("begin\r\n")
        shown.append(terminal.expect("end\r\n"))
    assert shown == ["1\r\n2\r\r\n\x1b3\t\\xffend\r\n"] * 2


def test_window_size(terminal: Terminal) -> None:
    """A command that looks at its window's size when it hears of a change sees the new one."""
    Path("winch.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b'now %d %d\\n' % os.get_terminal_size(1)))\n"
        "print('ready', flush=True)\n"
        "for _ in range(100): time.sleep(0.1)\n"
    )
    terminal.type(f"stageio run --stage mux -- {sys.executable} winch.py\n")
    terminal.expect("ready\r\n")
    terminal.resize(40, 120)
    terminal.expect("now 120 40\r\n")
    terminal.type("\x03")


def test_window_size_within_stages(terminal: Terminal) -> None:
    """Of stages within each other the innermost sees the new size, and hears of it a few times and not for ever."""
    Path("winch.py").write_text(
        "import os, signal, time\n"
        "heard = []\n"
        "signal.signal(signal.SIGWINCH, lambda *_: heard.append(os.get_terminal_size(1)))\n"
        "print('ready', flush=True)\n"
        "while not heard or heard[-1][0] != 120: time.sleep(0.01)\n"
        "for _ in range(100): time.sleep(0.01)\n"
        "print('heard', len(heard) < 20, flush=True)\n"
    )
    around = " ".join(f"{sys.executable} -m otel_stageio run --stage {name} --" for name in ("a", "b", "c"))
    terminal.type(f"stageio run --stage mux -- {around} {sys.executable} winch.py\n")
    terminal.expect("\nready\r\n")
    terminal.resize(40, 120)
    terminal.expect("heard True\r\n")


#: A stage, and one within it.
WAYS = (
    "stageio run --stage mux --",
    f"stageio run --stage mux -- {sys.executable} -m otel_stageio run --stage inner --",
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_keys(terminal: Terminal, number: int, way: str) -> None:
    """A command that wants each key at once gets it, by whichever of its terminals it says so; it is put back after."""
    Path("keys.py").write_text(
        "import os, sys, termios, tty\n"
        f"before = termios.tcgetattr({number})\n"
        f"tty.setcbreak({number})\n"
        "print('ready', flush=True)\n"
        "print('key', os.read(0, 1), flush=True)\n"
        f"termios.tcsetattr({number}, termios.TCSADRAIN, before)\n"
    )
    terminal.type(f"{way} {sys.executable} keys.py\n")
    terminal.expect("\nready\r\n")
    time.sleep(0.2)
    terminal.type("x")
    assert terminal.expect("\n$ ") == "key b'x'\r\n$ "
    terminal.type("stty -a\n")
    assert {"icanon", "echo", "opost", "onlcr"} <= set(re.findall("-?[a-z]+", terminal.expect("\n$ ")))


@pytest.mark.parametrize("way", WAYS)
def test_keys_of_a_pager(terminal: Terminal, way: str) -> None:
    """A pager that reads its keys from stderr gets them; what is typed when it has left is the shell's."""
    Path("pager.py").write_text(
        "import os, sys, termios, tty\n"
        "before = termios.tcgetattr(2)\n"
        "tty.setcbreak(2)\n"
        "print('ready', flush=True)\n"
        "while (key := os.read(2, 1)) != b'q':\n"
        "    print('key', key, flush=True)\n"
        "termios.tcsetattr(2, termios.TCSADRAIN, before)\n"
    )
    for _ in range(2):
        terminal.type(f"echo one | {way} {sys.executable} pager.py\n")
        terminal.expect("ready\r\n")
        terminal.type("a")
        terminal.expect("key b'a'\r\n")
        terminal.type("q")
        terminal.expect("$ ")
        terminal.type("echo code=$?\n")
        terminal.expect("code=0\r\n")


def test_a_process_left_behind_in_a_terminal(terminal: Terminal) -> None:
    """It writes to the terminal as long as it lives, and nothing is said of its end."""
    terminal.type("stageio run --stage mux -- sh -c '(sleep 1.5; echo late; sleep 0.2) &'\n")
    terminal.expect("not recorded\r\n")
    terminal.expect("late\r\n")
    time.sleep(0.5)
    terminal.type("echo done; echo code=$?\n")
    assert "cat: " not in terminal.expect("code=0\r\n")


def test_ctrl_c(terminal: Terminal) -> None:
    """Ctrl-C ends the command, once, and the shell sees it: a script ends, and an exit code is 130."""
    terminal.type("stageio run --stage mux -- sh -c 'echo ready; exec sleep 60'; echo code=$?\n")
    terminal.expect("\nready\r\n")
    terminal.type("\x03")
    terminal.expect("\n$ ")
    terminal.type("echo code=$?\n")
    terminal.expect("code=130\r\n")
    assert manifest()["reason"] == "killed (SIGINT)"


def test_ctrl_c_before_the_command_is_there(terminal: Terminal) -> None:
    """Ctrl-C while the stage is opened, or waits for its first rank, is not lost: the command ends of it at once."""
    Path("early.py").write_text(
        "import os, time\n"
        "from otel_stageio.cli.child import Child\n"
        "with Child() as child:\n"
        "    print('open', 'ing', flush=True)\n"
        "    time.sleep(0.5)\n"
        "    child.start(['sleep', '60'], os.environ, {})\n"
        "    print('ended', child.wait(lambda: None))\n"
    )
    terminal.type(f"{sys.executable} early.py\n")
    terminal.expect("open ing\r\n")
    terminal.type("\x03")
    terminal.expect("ended -2\r\n")


def test_ctrl_c_that_is_caught(terminal: Terminal) -> None:
    """A command that catches Ctrl-C catches one, and goes on as it likes."""
    script = "trap 'echo caught' INT; echo ready; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; done; echo end"
    terminal.type(f'stageio run --stage mux -- sh -c "{script}"; echo code=$?\n')
    terminal.expect("\nready\r\n")
    terminal.type("\x03")
    assert terminal.expect("code=0\r\n").count("caught\r\n") == 1
    assert manifest()["status"] == "success"


def test_ctrl_z_and_fg(terminal: Terminal) -> None:
    """Ctrl-Z stops stageio and its command as one job, and fg goes on with both."""
    Path("slow.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(1)\nprint('woke')\ninput()\n")
    terminal.type(f"stageio run --stage mux -- {sys.executable} slow.py\n")
    terminal.expect("ready\r\n")
    terminal.type("\x1a")
    terminal.expect("Stopped")
    terminal.type("jobs -l; fg\n")
    terminal.expect("woke\r\n")
    terminal.type("an answer\n")
    terminal.expect("\n$ ")
    terminal.type("echo code=$?\n")
    terminal.expect("code=0\r\n")


def test_what_a_command_says_on_ctrl_z(terminal: Terminal) -> None:
    """What a command writes when it hears of Ctrl-Z is shown before the shell's prompt; one that goes on goes on."""
    Path("tstp.py").write_text(
        "import os, signal, time\n"
        "def stop(*_):\n"
        "    os.write(1, b'put away\\n')\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    signal.signal(signal.SIGTSTP, lambda *_: os.write(1, b'not now\\n'))\n"
        "    os.write(1, b'back\\n')\n"
        "signal.signal(signal.SIGTSTP, stop)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    terminal.type(f"stageio run --stage mux -- {sys.executable} tstp.py\n")
    terminal.expect("ready\r\n")
    terminal.type("\x1a")
    assert "put away\r\n" in terminal.expect("Stopped")
    terminal.type("fg\n")
    terminal.expect("back\r\n")
    terminal.type("\x1a")
    terminal.expect("not now\r\n")
    terminal.type("\x03")
    assert "Stopped" not in terminal.expect("\n$ ")


def test_a_command_that_stops_itself(terminal: Terminal) -> None:
    """A command that stops without the terminal's doing is a stopped job for the shell, too."""
    terminal.type("stageio run --stage mux -- sh -c 'echo ready; kill -STOP $$; echo woke'\n")
    terminal.expect("\nready\r\n")
    terminal.expect("Stopped")
    terminal.type("fg\n")
    terminal.expect("woke\r\n")
