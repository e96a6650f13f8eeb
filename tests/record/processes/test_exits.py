"""Every way in which a process ends, and what its stages say of it: the table of exits in the docs.

Each case is a script that runs in a process of its own, forked from one that has the package loaded already.
"""

from __future__ import annotations

import json
import signal
import sys
import textwrap
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from otel_stageio import open_job
from otel_stageio.journal import reader
from otel_stageio.record.processes import exits
from otel_stageio.views.manifest import dump

if TYPE_CHECKING:
    from pathlib import Path

#: Runs each case in a child of its own: its exit status is the child's, and one that hangs dies of SIGALRM (-14).
DRIVER = """
import json, os, signal, warnings
import otel_stageio.record.stage
warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what some cases are about
statuses, source = {}, None
for name, text in json.load(open("cases.json")).items():
    os.mkdir(name)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os.chdir(name)
        os.dup2(os.open("stderr", os.O_CREAT | os.O_WRONLY), 2)
        source = text
        break
    statuses[name] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if source is None:
    with open("statuses.json", "w") as file:
        json.dump(statuses, file)
else:
    exec(compile(source, "case.py", "exec"))
"""

OPENED = """
import os, signal, sys, threading, time
from otel_stageio import StageIO
{before}
io = StageIO("asr", "out", stage_number=6)
logger = io.get_stage_logger()
"""

KILL = "os.kill(os.getpid(), signal.SIGTERM); time.sleep(20)"

#: Sends SIGTERM to itself before the n-th line that is written, for whatever is being written then.
STRIKE = """
from otel_stageio.journal import appending
plain_write, count = appending.AppendFile.write, 0
def write(file, line):
    global count
    count += 1
    if count == {nth}:
        os.kill(os.getpid(), signal.SIGTERM)
    plain_write(file, line)
    if count == {nth}:
        os.kill(os.getpid(), signal.SIGTERM)
appending.AppendFile.write = write
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a process ends (`body`, after `before` and the opening of a stage), and what is to be seen then."""

    body: str
    exits: int
    status: str
    reason: str | None = None
    #: Summaries of the manifest's errors.
    errors: tuple[str, ...] = ()
    job: str = ""
    before: str = ""

    @property
    def source(self) -> str:
        return OPENED.format(before=self.before) + textwrap.dedent(self.body)


def failed(body: str, code: int, reason: str, *errors: str, before: str = "") -> Case:
    """Make a case in which the stage fails, and the job with it."""
    return Case(body=body, exits=code, status="failed", reason=reason, errors=errors, job="failed", before=before)


def succeeded(
    body: str, code: int = 0, *, job: str = "success", errors: tuple[str, ...] = (), before: str = ""
) -> Case:
    """Make a case in which the stage succeeds; `job` and `errors` are what comes after that."""
    return Case(body=body, exits=code, status="success", job=job, before=before, errors=errors)


def abandoned(body: str, code: int, before: str = "") -> Case:
    """Make a case in which nobody is left to write the end: the job manifest is the one of the start."""
    return Case(body=body, exits=code, status="abandoned", job="running", before=before)


CASES = {
    # The end of the script.
    "end": failed("logger.info('done')", 0, "not finalized"),
    "finalized": succeeded("io.finalize()"),
    "exit-0": failed("sys.exit(0)", 0, "not finalized"),
    "exit-3": failed("sys.exit(3)", 3, "not finalized"),
    "exit-text": failed("sys.exit('no input')", 1, "not finalized"),
    "finalized-then-exit-3": succeeded("io.finalize(); sys.exit(3)", 3),
    # Exceptions.
    "exception": failed("raise ValueError('boom')", 1, "ValueError: boom", "ValueError: boom"),
    "interrupted": failed("raise KeyboardInterrupt", -2, "KeyboardInterrupt", "KeyboardInterrupt"),
    "sigint": failed(
        "os.kill(os.getpid(), signal.SIGINT); time.sleep(20)", -2, "KeyboardInterrupt", "KeyboardInterrupt"
    ),
    "finalized-then-exception": succeeded(
        "io.finalize(); raise ValueError('late')", 1, job="failed", errors=("ValueError: late",)
    ),
    "skipped-then-exception": Case(
        body="io.finalize('skipped', reason='off'); raise ValueError('late')",
        exits=1,
        status="skipped",
        reason="off",
        errors=("ValueError: late",),
        job="failed",
    ),
    "failed-then-exception": failed(
        "io.finalize('failed', reason='known'); raise ValueError('late')", 1, "known", "ValueError: late"
    ),
    "thread-exception": succeeded(
        """
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        io.finalize()
        """
    ),
    "two-stages": failed(
        """
        other = StageIO("vad", "out", stage_number=5)
        other.finalize()
        raise ValueError("boom")
        """,
        1,
        "ValueError: boom",
        "ValueError: boom",
    ),
    "prompt": succeeded(
        """
        import code
        sys.ps1 = ">>> "
        code.InteractiveConsole().push("1 / 0")
        assert io.manifest["status"] == "running"
        io.finalize()
        """
    ),
    # With.
    "with": succeeded("with io: pass"),
    "with-exit": succeeded("with io: sys.exit()"),
    "with-exit-0": succeeded("with io: sys.exit(0)"),
    "with-exit-3": failed("with io: sys.exit(3)", 3, "exit code 3"),
    "with-exit-text": failed("with io: sys.exit('no input')", 1, "no input"),
    "with-exit-float": failed("with io: sys.exit(0.0)", 1, "exit code 0.0"),
    "with-exception": failed("with io: raise ValueError('boom')", 1, "ValueError: boom", "ValueError: boom"),
    "with-caught": failed(
        """
        try:
            with io: raise ValueError('boom')
        except ValueError: pass
        """,
        0,
        "ValueError: boom",
        "ValueError: boom",
    ),
    "with-finalized-exit-3": Case(body="with io: io.finalize(); sys.exit(3)", exits=3, status="success", job="failed"),
    "with-finalized-exception": succeeded(
        "with io: io.finalize(); raise ValueError('late')", 1, job="failed", errors=("ValueError: late",)
    ),
    "with-failed-exception": failed(
        """
        with io:
            try: raise ValueError('boom')
            except ValueError: io.finalize('failed', reason='known'); raise
        """,
        1,
        "known",
        "ValueError: boom",
    ),
    "with-in-with": failed(
        """
        with io, StageIO("vad", "out", stage_number=5): raise ValueError("boom")
        """,
        1,
        "ValueError: boom",
        "ValueError: boom",
    ),
    "with-interrupted": failed("with io: raise KeyboardInterrupt", -2, "KeyboardInterrupt", "KeyboardInterrupt"),
    # SIGTERM.
    "sigterm": failed(KILL, -15, "killed (SIGTERM)"),
    "sigterm-with": failed(f"with io: {KILL}", -15, "killed (SIGTERM)"),
    "sigterm-twice": failed(f"os.kill(os.getpid(), signal.SIGTERM); {KILL}", -15, "killed (SIGTERM)"),
    "sigterm-from-outside-twice": failed(
        """
        parent = os.getpid()
        if os.fork() == 0:
            for _ in range(50): os.kill(parent, signal.SIGTERM)
            os._exit(0)
        time.sleep(20)
        """,
        -15,
        "killed (SIGTERM)",
    ),
    "sigterm-after-finalize": succeeded(f"io.finalize(); {KILL}", -15),
    "sigterm-off": abandoned(KILL, -15, before="os.environ['STAGEIO_SIGTERM'] = 'off'"),
    "sigterm-ignored": succeeded(
        "os.kill(os.getpid(), signal.SIGTERM); io.finalize()", before="signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    ),
    "sigterm-hosts": failed(KILL, 7, "not finalized", before="signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"),
    "sigterm-hosts-later": failed(f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); {KILL}", 7, "not finalized"),
    "sigterm-hosts-with": failed(
        f"with io: {KILL}", 7, "exit code 7", before="signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    ),
    "sigterm-hosts-finalizes": failed(
        f"""
        def stop(*_):
            logger.warning("stopping")
            io.finalize("failed", reason="stopped")
            sys.exit(143)
        signal.signal(signal.SIGTERM, stop)
        {KILL}
        """,
        143,
        "stopped",
    ),
    "sigterm-opened-in-thread": Case(
        body=KILL,
        exits=-15,
        status="abandoned",
        job="running",
        before="""
StageIO_ = StageIO
def StageIO(*args, **options):
    made = []
    thread = threading.Thread(target=lambda: made.append(StageIO_(*args, **options)))
    thread.start()
    thread.join()
    return made[0]
""",
    ),
    "sigterm-while-others-log": failed(
        """
        def talk():
            while True: logger.info("x" * 100); io.add_config("key", 1)
        for _ in range(4): threading.Thread(target=talk, daemon=True).start()
        time.sleep(0.3)
        """
        + KILL,
        -15,
        "killed (SIGTERM)",
    ),
    "sigterm-while-waiting-for-checksums": failed(
        """
        from otel_stageio.record.artifacts import description, digests
        def hash_file(path):
            time.sleep(20)
        digests.hash_file = hash_file
        description.digests.hash_file = hash_file
        big = io.get_output_path("big")
        big.write_bytes(bytes(2 << 20))
        io.track_output(big, "audio")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        io.finalize()
        """,
        -15,
        "killed (SIGTERM)",
    ),
    "sigterm-while-ending": succeeded(
        """
        sync = io._recorder.sync
        def interrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            sync()
        io._recorder.sync = interrupted
        io.finalize()
        time.sleep(20)
        """,
        -15,
    ),
    "sigterm-to-child": succeeded(
        """
        child = os.fork()
        if child == 0: time.sleep(20); os._exit(9)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -15
        io.finalize()
        """
    ),
    # Ends that nobody can see coming.
    "os-exit": abandoned("os._exit(4)", 4),
    "sigkill": abandoned("os.kill(os.getpid(), signal.SIGKILL)", -9),
    "abort": abandoned("os.abort()", -6),
    "segfault": abandoned("os.kill(os.getpid(), signal.SIGSEGV)", -11),
    "sighup": abandoned("os.kill(os.getpid(), signal.SIGHUP)", -1),
    "exec": abandoned("os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", 5),
    # Children.
    "fork-falls-through": succeeded(
        """
        child = os.fork()
        if child == 0: sys.exit(0)
        os.waitpid(child, 0)
        io.finalize()
        """
    ),
    "fork-in-with": succeeded(
        """
        with io:
            child = os.fork()
            if child == 0: sys.exit(3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        """
    ),
    "fork-finalizes": failed(
        """
        child = os.fork()
        if child == 0:
            io.finalize("success")
            os._exit(0)
        os.waitpid(child, 0)
        io.finalize("failed", reason="the parent's word")
        """,
        0,
        "the parent's word",
    ),
    "multiprocessing": succeeded(
        """
        import multiprocessing
        def work(): logger.info("from the child")
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
        assert process.exitcode == 0
        io.finalize()
        """
    ),
    "fork-logs-by-name": succeeded(
        """
        from otel_stageio import get_stage_logger
        child = os.fork()
        if child == 0:
            get_stage_logger("asr").info("by name")
            sys.exit(0)
        os.waitpid(child, 0)
        io.finalize()
        """
    ),
    "orphan": succeeded(
        """
        child = os.fork()
        if child == 0:
            time.sleep(0.3)
            logger.info("late")
            os._exit(0)
        io.finalize()
        os.waitpid(child, 0)
        """
    ),
    # Hooks of the host.
    "hook-before": failed(
        "raise ValueError('boom')",
        1,
        "ValueError: boom",
        "ValueError: boom",
        before="sys.excepthook = lambda *_: print('the hook of the host', file=sys.stderr)",
    ),
    "hook-after": failed(
        """
        ours = sys.excepthook
        def hook(*of):
            print('the hook of the host', file=sys.stderr)
            ours(*of)
        sys.excepthook = hook
        StageIO("vad", "out", stage_number=5).finalize()
        raise ValueError('boom')
        """,
        1,
        "ValueError: boom",
        "ValueError: boom",
    ),
    "hook-instead": failed(
        """
        sys.excepthook = lambda *_: print('the hook of the host', file=sys.stderr)
        raise ValueError('boom')
        """,
        1,
        "not finalized",
    ),
    "hook-raises": failed(
        "raise ValueError('boom')",
        1,
        "ValueError: boom",
        "ValueError: boom",
        before="sys.excepthook = lambda *_: 1 / 0",
    ),
}

#: Where the handler is struck while a stage with a log record, an event and a warning goes on: lines 1 to STRIKES.
STRIKES = 9
for nth in range(1, STRIKES + 1):
    CASES[f"sigterm-in-line-{nth}"] = failed(
        STRIKE.format(nth=nth)
        + "for n in range(20): logger.info('record %d', n); io.add_warning(str(n))\n"
        + "raise SystemExit('nobody was struck')",
        -15,
        "killed (SIGTERM)",
    )


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """Each case by name: its folder and its exit status."""
    import subprocess

    from tests.conftest import clean_environment

    root = tmp_path_factory.mktemp("exits")
    (root / "cases.json").write_text(json.dumps({name: case.source for name, case in CASES.items()}))
    subprocess.run([sys.executable, "-c", DRIVER], cwd=root, env=clean_environment(), check=True, timeout=110)
    statuses = json.loads((root / "statuses.json").read_text())
    return {name: (root / name, status) for name, status in statuses.items()}


@pytest.mark.parametrize("name", CASES)
def test_exit(ended, name):
    """The exit status is what it would be without us, and stage and job say how the stage ended."""
    folder, code = ended[name]
    case = CASES[name]
    said = (folder / "stderr").read_text()
    job = open_job(folder / "out")
    row = next(row for row in job.stages if row["stage"] == "asr")
    manifest = job.manifest("asr")
    errors = tuple(of["message"] for of in manifest["errors"])
    job_status = json.loads((folder / "out" / "manifest.json").read_text())["status"]
    actual = (code, row["status"], row["reason"], errors, job_status, manifest["degraded"])
    assert actual == (case.exits, case.status, case.reason, case.errors, case.job, []), said


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.status != "abandoned"])
def test_manifest_is_the_journal(ended, name):
    """However the process ended, manifest.json is byte for byte what the journal says, and so is the one span."""
    out = ended[name][0] / "out"
    if name == "orphan":  # a child that goes on alone tells the journal, which is what readers read
        assert [row["message"] for row in open_job(out).logs()] == ["late"]
        return
    if name == "sigterm-while-others-log":  # they do so until the process is gone
        counts = json.loads((out / "06_asr" / "manifest.json").read_bytes())["log_counts"]
        assert 0 < counts["INFO"] <= len(open_job(out).logs())
        return
    assert (out / "06_asr" / "manifest.json").read_bytes() == dump(open_job(out).manifest("asr"))
    spans = list(reader.spans(str(out / "06_asr" / ".stageio" / "001" / "traces.jsonl")))
    assert [span.name for span in spans] == ["asr"]


def test_error_type(ended):
    """The span of a failed stage says what kind of error it was: the exception's type, the signal, or _OTHER."""
    actual = {}
    for name in ("exception", "interrupted", "sigterm", "end", "with-exit-3"):
        (span,) = reader.spans(str(ended[name][0] / "out" / "06_asr" / ".stageio" / "001" / "traces.jsonl"))
        actual[name] = (span.attributes["error.type"], span.status_code)
    assert actual == {
        "exception": ("ValueError", 2),
        "interrupted": ("KeyboardInterrupt", 2),
        "sigterm": ("SIGTERM", 2),
        "end": ("_OTHER", 2),
        "with-exit-3": ("_OTHER", 2),
    }


@pytest.mark.parametrize("name", ["exception", "with-exception"])
def test_traceback_is_in_the_stage_log_and_on_stderr_once(ended, name):
    """An exception that nobody caught is in stage.log once, at DEBUG, and Python prints it as ever."""
    folder = ended[name][0]
    log = (folder / "out" / "06_asr" / "stage.log").read_text()
    assert log.count("Traceback (most recent call last)") == 1
    assert log.count("[DEBUG] ValueError: boom") == 1
    said = (folder / "stderr").read_text()
    assert said.count("Traceback (most recent call last)") == 1
    assert said.rstrip().endswith("ValueError: boom")


def test_both_stages_of_an_exception_record_it(ended):
    """An exception that goes through two with blocks is recorded by the stage of each."""
    job = open_job(ended["with-in-with"][0] / "out")
    actual = [(row["stage"], row["status"], row["errors"]) for row in job.stages]
    assert actual == [("vad", "failed", 1), ("asr", "failed", 1)]


@pytest.mark.parametrize("name", ["hook-before", "hook-after", "hook-instead"])
def test_hosts_hook_is_called_once(ended, name):
    """The hook that the host had, or puts there later, prints what it prints, once."""
    assert (ended[name][0] / "stderr").read_text().count("the hook of the host\n") == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [("exit-text", "no input\n"), ("with-exit-text", "no input\n"), ("sigterm", ""), ("os-exit", ""), ("end", None)],
)
def test_nothing_else_is_said(ended, name, said):
    """Ending a stage says nothing on stderr; what the program says is there."""
    text = (ended[name][0] / "stderr").read_text()
    if said is None:
        assert text.count("\n") == 1
        assert text.endswith("[asr] [INFO] done\n")
    else:
        assert text == said


def test_children_are_part_of_the_record(ended):
    """What forked children said is in the journal, marked with their pid, and counted in the parent's manifest."""
    job = open_job(ended["multiprocessing"][0] / "out")
    (record,) = job.logs(level="INFO")
    assert record["message"] == "from the child"
    assert record["extra.process.pid"] != job.stages[0]["pid"]
    assert job.manifest("asr")["log_counts"]["INFO"] == 1


def test_child_finds_the_stage_by_its_name(ended):
    """In a forked child the stage's logger is found by name, and records in the parent's journal."""
    job = open_job(ended["fork-logs-by-name"][0] / "out")
    assert [row["message"] for row in job.logs(level="INFO")] == ["by name"]


def test_child_that_finalizes_is_told(ended):
    """A finalize in a forked child changes nothing and is on record as a warning."""
    job = open_job(ended["fork-finalizes"][0] / "out")
    assert [of["message"] for of in job.manifest("asr")["warnings"]] == ["finalize in a forked child was ignored"]


@pytest.mark.parametrize("nth", range(1, STRIKES + 1))
def test_struck_record_is_whole(ended, nth):
    """SIGTERM in the middle of a record lets it be written whole first; then the end, and the end is the last."""
    job = open_job(ended[f"sigterm-in-line-{nth}"][0] / "out")
    events = list(reader.log_records(str(job.path / "06_asr" / ".stageio" / "001" / "events.jsonl")))
    assert events[-1].event_name == "stageio.stage.finished"
    numbers = [int(record["message"].split()[-1]) for record in job.logs(level="INFO")]
    warnings = [int(of["message"]) for of in job.manifest("asr")["warnings"]]
    assert numbers == list(range(len(numbers)))
    assert warnings == list(range(len(warnings)))
    assert len(numbers) - len(warnings) in (0, 1)


# In this process.


class Stage:
    """A double of an open stage."""

    stage_number = 1
    folder = "/out/01_asr"

    def __init__(self, name="asr"):
        self.stage_name = self.label = name
        self.ended = []
        self.writing = False

    def get_stage_logger(self, log_level=None):
        raise NotImplementedError

    def writes(self):
        return self.writing

    def close_failed(self, reason, *, error_type=""):
        self.ended.append((reason, error_type))
        exits.unregister(self)

    def close_raised(self, raised):
        self.ended.append(raised)
        exits.unregister(self)

    def contradict(self, raised):
        self.ended.append(raised)

    def refresh(self):
        self.ended.append("refresh")


def test_handler_is_there_while_a_stage_is_open():
    """SIGTERM is handled while any stage is open, and by default again when the last one has ended."""
    first, second = Stage(), Stage()
    exits.register(first, sigterm=True)
    exits.register(second, sigterm=True)
    assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    exits.unregister(first)
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    exits.unregister(second)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda *_: None])
def test_hosts_handler_stays(theirs):
    """A disposition that the host chose before or after us stays, also when the stage ends."""
    stage = Stage()
    signal.signal(signal.SIGTERM, theirs)
    exits.register(stage, sigterm=True)
    assert signal.getsignal(signal.SIGTERM) is theirs
    exits.unregister(stage)
    assert signal.getsignal(signal.SIGTERM) is theirs
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    exits.register(stage, sigterm=True)
    signal.signal(signal.SIGTERM, theirs)
    exits.unregister(stage)
    assert signal.getsignal(signal.SIGTERM) is theirs


def test_no_handler_when_declined_or_in_a_thread_or_as_process_1(monkeypatch):
    """STAGEIO_SIGTERM=off, a stage opened in a thread, and process 1 (which SIGTERM does not end) get no handler."""
    stage = Stage()
    exits.register(stage, sigterm=False)
    thread = threading.Thread(target=exits.register, args=(stage,), kwargs={"sigterm": True})
    thread.start()
    thread.join()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: 1)
        exits.register(stage, sigterm=True)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    exits.unregister(stage)


def test_sigterm_waits_for_undisturbed_blocks(monkeypatch):
    """SIGTERM within an `undisturbed` block, or in the middle of a record, is acted upon right after it, once."""
    killed = []
    monkeypatch.setattr("os.kill", lambda *what: killed.append(what))
    monkeypatch.setattr(exits, "_acting", False)
    monkeypatch.setattr(exits, "pending", False)
    stage = Stage()
    exits.register(stage, sigterm=True)
    with exits.undisturbed():
        with exits.undisturbed():
            signal.raise_signal(signal.SIGTERM)
        assert (stage.ended, killed) == ([], [])
        stage.writing = True
    assert (stage.ended, killed) == ([], [])
    stage.writing = False
    exits.settle()
    assert stage.ended == [("killed (SIGTERM)", "SIGTERM")]
    assert len(killed) == 1
    exits.settle()
    assert len(killed) == 1


def test_hook_is_put_once():
    """Many stages of one process chain one hook."""
    before = sys.excepthook
    stages = [Stage() for _ in range(5)]
    for stage in stages:
        exits.register(stage, sigterm=False)
    hook = sys.excepthook
    assert hook is not before
    for stage in stages:
        exits.register(stage, sigterm=False)
        exits.unregister(stage)
    assert sys.excepthook is hook


def test_stages_are_found_by_name_the_newest_first():
    """Open stages are found by their name; with several the newest is the one that is meant."""
    first, second, other = Stage(), Stage(), Stage("vad")
    for stage in (first, second, other):
        exits.register(stage, sigterm=False)
    assert exits.open_stages("asr") == [second, first]
    assert exits.open_stage("asr") is second
    assert exits.open_stage("tts") is None
    exits.close_all()
    assert exits.open_stage("asr") is None
    assert [stage.ended for stage in (first, second, other)] == [[("not finalized", "")]] * 3


def test_owed_manifests_are_written_at_the_end():
    """A stage that was called after its end is refreshed when the process ends, unless it was meanwhile."""
    owing, paid = Stage(), Stage()
    exits.owe(owing)
    exits.owe(paid)
    exits.paid(paid)
    exits._at_exit()
    assert (owing.ended, paid.ended) == (["refresh"], [])
    exits.paid(owing)
