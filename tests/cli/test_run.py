"""`stageio run -- COMMAND`: the pipeline itself, with real commands."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import conventions as names
from otel_stageio import open_job
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import reader
from otel_stageio.rebuild.jobs import rebuild
from tests.conftest import clean_environment
from tests.ship.records import arrived, on_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ship.backend import Answers

RUN = [sys.executable, "-m", "otel_stageio", "run"]
STAGE = """
import os, signal, sys
from otel_stageio import StageIO
io = StageIO("asr", stage_number=1)
if sys.argv[1:]:
    os.kill(os.getpid(), signal.SIGKILL)
io.finalize()
"""


def run(*arguments: object, env: dict[str, str] | None = None, **about: Any) -> subprocess.CompletedProcess[bytes]:
    """Run `stageio run` in a process of its own."""
    about = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": 60, **about}
    return subprocess.run([*RUN, *map(str, arguments)], env=clean_environment(env), check=False, **about)


def start(*arguments: object, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start it, in a process group of its own."""
    return subprocess.Popen(
        [*RUN, *map(str, arguments)],
        env=clean_environment(),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def root_span(folder: Path, number: int = 1) -> Any:
    """The one span of a run itself."""
    (span,) = reader.spans(str(JobLayout(folder).run_dir(number) / "traces.jsonl"))
    return span


def test_a_pipeline(tmp_path: Path) -> None:
    """The stages that a command starts are in one run and its trace, below a span that lasts as long as the command."""
    (tmp_path / "stage.py").write_text(STAGE)
    one = f"{sys.executable} stage.py"
    ran = run("--job", "jobs/a", "--name", "nightly", "--", "sh", "-c", f"{one} && {one} && sleep 0.3")
    assert (ran.returncode, ran.stdout) == (0, b"")
    span = root_span(tmp_path / "jobs/a")
    took = span.end_time_unix_nano - span.start_time_unix_nano
    assert (span.name, span.attributes[names.PROCESS_EXIT_CODE], 300_000_000 < took < 30_000_000_000) == (
        "nightly",
        0,
        True,
    )
    attempts = open_job("jobs/a").attempts()
    assert [(each["attempt"], each["run"], each["status"]) for each in attempts] == [
        (1, 1, "success"),
        (2, 1, "success"),
    ]
    of_stages = [
        span
        for number in ("001", "002")
        for span in reader.spans(str(tmp_path / f"jobs/a/01_asr/.stageio/{number}/traces.jsonl"))
    ]
    assert {(each.trace_id, each.parent_span_id) for each in of_stages} == {(span.trace_id, span.span_id)}


def test_environment(tmp_path: Path) -> None:
    """The command is told the job as an absolute path, the run, and the trace; what else is there stands."""
    caller = f"00-{'a' * 32}-{'b' * 16}-01"
    script = "import os, json; print(json.dumps(dict(os.environ)))"
    ran = run(
        "--name", "nightly", "--", sys.executable, "-c", script, env={"TRACEPARENT": caller, "BAGGAGE": "a=b", "X": "1"}
    )
    told = json.loads(ran.stdout)
    assert {name: told.get(name) for name in ("STAGEIO_JOB_DIR", "STAGEIO_RUN", "BAGGAGE", "X")} == {
        "STAGEIO_JOB_DIR": str(tmp_path / "out"),
        "STAGEIO_RUN": "nightly",
        "BAGGAGE": "a=b",
        "X": "1",
    }
    span = root_span(tmp_path / "out")
    assert told["TRACEPARENT"] == f"00-{'a' * 32}-{span.span_id}-01"
    assert span.parent_span_id == "b" * 16


@pytest.mark.parametrize("name", ["nightly ", " a\tb", "n\udcff", "password=hunter2"])
def test_a_name_that_is_kept_otherwise(tmp_path: Path, name: str) -> None:
    """Whatever becomes of a run's name on record, the stages of the command are in that run, and so is the next one."""
    for _ in range(2):
        run("--name", name, "--", sys.executable, "-c", STAGE)
    assert {row["run"] for row in open_job(tmp_path / "out").attempts()} == {1}


@pytest.mark.parametrize(
    ("command", "code", "says", "reason"),
    [
        (["sh", "-c", "exit 3"], 3, "", "exit code 3"),
        (
            ["no-such-command"],
            127,
            "stageio: no-such-command: command not found\n",
            "no-such-command: command not found",
        ),
        (["./nothing"], 127, "stageio: ./nothing: No such file or directory\n", "./nothing: No such file or directory"),
        (["./plain"], 126, "stageio: ./plain: Permission denied\n", "./plain: Permission denied"),
        (["/"], 126, "stageio: /: Is a directory\n", "/: Is a directory"),
        (["./orphan"], 126, None, "./orphan: its interpreter, which its first line names, is not there"),
        (["sh", "-c", "kill -KILL $$"], -9, "", "killed (SIGKILL)"),
        (["sh", "-c", "kill -TERM $$"], -15, "", "killed (SIGTERM)"),
        (["sh", "-c", "kill -SEGV $$"], -11, "", "killed (SIGSEGV)"),
    ],
)
def test_ends_as_the_command(tmp_path: Path, command: list[str], code: int, says: str | None, reason: str) -> None:
    """Exit code or signal are the command's own, or what a shell exits with; both are on record."""
    (tmp_path / "plain").write_text("")
    (tmp_path / "orphan").write_text("#!/no/such/interpreter\n")
    (tmp_path / "orphan").chmod(0o755)
    ran = run("--", *command)
    assert (ran.returncode, ran.stderr.decode() if says is not None else None) == (code, says)
    span = root_span(tmp_path / "out")
    assert (span.attributes[names.REASON], span.status_code) == (reason, 2)


def test_a_script_that_names_no_shell(tmp_path: Path) -> None:
    """A script without a first line that names its shell runs as it does from a shell."""
    (tmp_path / "script").write_text("echo hello from $1\n")
    (tmp_path / "script").chmod(0o755)
    assert run("./script", "me").stdout == b"hello from me\n"


def test_a_stage_that_is_killed(tmp_path: Path) -> None:
    """Where the command itself is a stage and is killed, its record says by what, at once."""
    (tmp_path / "stage.py").write_text(STAGE)
    assert run("--", sys.executable, "stage.py", "die").returncode == -9
    (attempt,) = open_job("out").attempts()
    assert (attempt["status"], attempt["reason"]) == ("abandoned", "killed (SIGKILL)")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_us_is_passed_on(tmp_path: Path, sign: signal.Signals) -> None:
    """A signal that somebody sends to stageio reaches the command, whose end is then ours; what it does is its own."""
    script = f"trap 'echo caught; exit 7' {sign.name[3:]}; echo ready; while :; do sleep 0.05; done"
    started = start("--", "sh", "-c", script)
    assert started.stdout
    assert started.stdout.readline() == b"ready\n"
    started.send_signal(sign)
    out, _ = started.communicate(timeout=30)
    assert (started.returncode, out) == (7, b"caught\n")
    assert root_span(tmp_path / "out").attributes[names.PROCESS_EXIT_CODE] == 7


def test_we_are_killed(tmp_path: Path) -> None:
    """After kill -9 of stageio, the next stage of the job writes the run's span, as abandoned."""
    started = start("--", "sh", "-c", "echo ready; exec sleep 30")
    assert started.stdout
    started.stdout.readline()
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pid, signal.SIGTERM)
    started.communicate(timeout=30)
    (tmp_path / "stage.py").write_text(STAGE + "\nimport time; time.sleep(0.2)\n")
    deadline = time.monotonic() + 30
    while not (tmp_path / "out/.stageio/runs/001/traces.jsonl").exists() and time.monotonic() < deadline:
        subprocess.run([sys.executable, "stage.py"], env=clean_environment(), check=True, capture_output=True)
    assert root_span(tmp_path / "out").attributes[names.STATUS] == names.ABANDONED


def test_the_status_of_the_run(tmp_path: Path) -> None:
    """The job manifest says running between two stages, failed where the command then failed, and the last pass counts.

    A stage that is started later, by hand, has the word again.
    """
    (tmp_path / "stage.py").write_text(STAGE)
    one = f"{sys.executable} stage.py"

    def status() -> list[str]:
        document = json.loads((tmp_path / "out/manifest.json").read_bytes())
        shown = open_job("out").overview()
        assert shown is not None
        return [document["status"], shown["status"], document["stages"][0]["status"]]

    script = f"{one}; echo between; read _; exit 3"
    started = start("--name", "nightly", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert started.stdout
    assert started.stdout.readline() == b"between\n"
    assert status() == ["running", "running", "success"]
    started.communicate(b"\n", timeout=30)
    assert status() == ["failed", "failed", "success"]
    again = {"STAGEIO_JOB_DIR": "out", "STAGEIO_RUN": "nightly"}
    subprocess.run([sys.executable, "stage.py"], env=clean_environment(again), check=True, capture_output=True)
    assert status() == ["success", "success", "success"]
    run("--name", "nightly", "--", "sh", "-c", "kill -INT $$")
    assert status() == ["failed", "failed", "success"]
    run("--name", "nightly", "--", "true")
    assert status() == ["success", "success", "success"]


@pytest.mark.parametrize("how", ["exit 0", "kill -TERM $$"])
def test_delivered(tmp_path: Path, server: Answers, how: str) -> None:
    """With an endpoint set the run's span, and a stage's, are there when stageio has ended, however that was."""
    inner = [*RUN, "--stage", "mux", "--", "sh", "-c", how]
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url}
    assert run("--", *inner, env=env).returncode == (0 if how == "exit 0" else -15)
    sent = b"".join(body for path, _, body in server.asked if path == "/v1/traces")
    (stage,) = reader.spans(str(tmp_path / "out/01_mux/.stageio/001/traces.jsonl"))
    assert [bytes.fromhex(span.span_id) in sent for span in (root_span(tmp_path / "out"), stage)] == [True, True]
    assert run("--", "true", env={**env, "STAGEIO_MODE": "file"}).returncode == 0
    assert bytes.fromhex(root_span(tmp_path / "out", 2).span_id) not in b"".join(each[2] for each in server.asked)


def test_delivered_by_another_host(tmp_path: Path, server: Answers) -> None:
    """A run that goes on on another host arrives from there, with what both hosts recorded of it."""
    assert run("--name", "nightly", "--", "true").returncode == 0
    there = "from tests.hosts import SimulatedHost; SimulatedHost('node7').become()"
    script = f"{there}; from otel_stageio.cli.app import main; main(['run', '--name', 'nightly', '--', 'true'])"
    env = clean_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": server.url})
    subprocess.run([sys.executable, "-c", script], env=env, check=True, timeout=60)
    (theirs,) = reader.spans(str(tmp_path / "out/.stageio/runs/001/members/node7/traces.jsonl"))
    assert arrived(server) == on_disk(tmp_path / "out") == sorted([root_span(tmp_path / "out").span_id, theirs.span_id])


def test_nobody_takes_it(tmp_path: Path) -> None:
    """A dead endpoint costs a line on stderr and a fraction of a second; a push sends the span later."""
    begun = time.monotonic()
    ran = run("--", "true", env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert (ran.returncode, time.monotonic() - begun < 10) == (0, True)
    assert b"1 record waits for http://127.0.0.1:9" in ran.stderr
    assert b"`stageio push " in ran.stderr


@pytest.mark.parametrize("code", [0, 3])
def test_rebuilt(tmp_path: Path, code: int) -> None:
    """A job folder that is made anew from its journals has the run's span, and the log of a command, as they were.

    And its manifest, where the pipeline failed and no stage did.
    """
    inner = [*RUN, "--stage", "mux", "--", "sh", "-c", r"printf 'a\n\377\033[31m\nb\rc\nlast'; echo err >&2"]
    assert run("--name", "nightly", "--", "sh", "-c", f"{shlex.join(inner)}; exit {code}").returncode == code
    journals = sorted(tmp_path.glob("out/**/*.jsonl"))
    rebuild(journals, tmp_path / "again")
    assert root_span(tmp_path / "again") == root_span(tmp_path / "out")
    for name in ("01_mux/stage.log", "01_mux/manifest.json", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Where nothing can be recorded, one line says so, and the command runs all the same."""
    (tmp_path / "out").write_text("a file")
    ran = run("--", "sh", "-c", "echo hello; exit 4")
    assert (ran.returncode, ran.stdout, ran.stderr.count(b"\n")) == (4, b"hello\n", 1)
    assert b"the run is not recorded" in ran.stderr


def test_mode_off(tmp_path: Path) -> None:
    """With STAGEIO_MODE=off nothing is written."""
    assert run("--", "sh", "-c", "exit 4", env={"STAGEIO_MODE": "off"}).returncode == 4
    assert list(tmp_path.iterdir()) == []


def test_secrets(tmp_path: Path) -> None:
    """A secret on the command line is on no record."""
    assert run("--", "sh", "-c", "exit 0", "--password", "hunter2hunter2").returncode == 0
    text = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert ("hunter2hunter2" in text, "[REDACTED]" in text) == (False, True)


def test_options_end_at_the_command(tmp_path: Path) -> None:
    """From the command on every option is its own, also without the two hyphens."""
    assert run("echo", "--job", "-n", "--help").stdout == b"--job -n --help\n"


def test_no_command() -> None:
    """Without a command there is nothing to do, and that is said."""
    ran = run()
    assert (ran.returncode, ran.stderr.decode()) == (
        2,
        "stageio: Missing argument 'COMMAND...'. (stageio run --help says what there is)\n",
    )
