"""Hosts as processes of their own: how they end, what they fork, and OpenTelemetry's launcher."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import clean_environment
from tests.record.otel.hosted import journal, tree

if TYPE_CHECKING:
    from tests.conftest import RunScript

#: A host that says on stdout what it exports, and when it is shut down.
HOST = """
import atexit, os, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from otel_stageio import StageIO

STARTED_BY = os.getpid()


class Backend(SpanExporter):
    def export(self, spans):
        for span in spans:
            who = "" if os.getpid() == STARTED_BY else "child "
            print(who + span.name, span.status.status_code.name, flush=True)
        return SpanExportResult.SUCCESS

    def shutdown(self):
        print("shutdown", flush=True)


def host(processor=BatchSpanProcessor):
    made = TracerProvider()
    made.add_span_processor(processor(Backend()))
    trace.set_tracer_provider(made)


tracer = trace.get_tracer("a.library")
"""
NAMED = {"OTEL_SERVICE_NAME": "tapes"}


def heads(text: str) -> list[str]:
    """The lines of stderr, without what stages log."""
    return [line for line in text.splitlines() if not line.startswith("[")]


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError('torn')", 1)], ids=["end", "exit", "raise"]
)
def test_a_stage_left_open_is_exported_before_the_hosts_shutdown(
    tmp_path: Path, run_script: RunScript, end: str, status: int
):
    """However the process ends, the host gets the failed stage, then its own shutdown, and no word from OTel."""
    ran = run_script(HOST + f"host()\nio = StageIO('ingest', 'job', stage_number=1)\n{end}\n", env=NAMED)
    assert (ran.returncode, ran.stdout.splitlines()) == (status, ["tapes UNSET", "ingest ERROR", "shutdown"])
    assert [line for line in heads(ran.stderr) if "opentelemetry" in line] == []
    assert tree(journal(tmp_path / "job")) == {"tapes": {"ingest": {}}}


def test_sigterm_ends_the_hosts_spans(tmp_path: Path, run_script: RunScript):
    """A stage that is ended by SIGTERM is exported as failed; the process still dies of the signal."""
    source = "host(SimpleSpanProcessor)\nio = StageIO('ingest', 'job', stage_number=1)\nos.kill(os.getpid(), 15)\n"
    ran = run_script(HOST + source, env=NAMED)
    assert (ran.returncode, ran.stdout.splitlines(), heads(ran.stderr)) == (-15, ["tapes UNSET", "ingest ERROR"], [])
    assert tree(journal(tmp_path / "job")) == {"tapes": {"ingest": {}}}


@pytest.mark.parametrize(
    "how", ["host()", "trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(Backend()))"]
)
def test_a_provider_younger_than_the_first_stage_is_shut_down_after_the_second(
    tmp_path: Path, run_script: RunScript, how: str
):
    """A stage ends before the provider that it found, also where an earlier stage is older than that."""
    ran = run_script(
        HOST
        + f"""
with StageIO('ingest', 'job', stage_number=1) as first:
    {how}
    io = StageIO('asr', 'job', stage_number=2)
    with tracer.start_as_current_span('model'):
        pass
        """,
        env={**NAMED, "STAGEIO_TRACER": "off" if how == "host()" else "on"},
    )
    assert (ran.returncode, ran.stdout.splitlines()) == (0, ["model UNSET", "asr ERROR", "shutdown"])
    assert heads(ran.stderr) == []
    assert tree(journal(tmp_path / "job")) == {"tapes": {"ingest": {"asr": {"model": {}}}}}


def test_what_the_program_registered_after_a_stage_comes_before_its_end(run_script: RunScript):
    """Each stage can be finalized by an atexit function that was registered after it was opened."""
    ran = run_script(
        """
        import atexit, json
        from otel_stageio import StageIO
        for number, name in enumerate(["ingest", "asr"]):
            io = StageIO(name, "job", stage_number=number)
            atexit.register(io.finalize, reason="by atexit")
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    for folder in ("00_ingest", "01_asr"):
        manifest = json.loads(Path("job", folder, "manifest.json").read_bytes())
        assert (manifest["status"], manifest["reason"]) == ("success", "by atexit")


@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)", "pass"])
def test_a_fork_in_a_stage(tmp_path: Path, run_script: RunScript, leave: str):
    """Stage, step and open spans of the parent are told once, by the parent; a child's own span hangs on them."""
    ran = run_script(
        HOST
        + f"""
host(SimpleSpanProcessor)
with StageIO('ingest', 'job', stage_number=1) as io:
    with io.step('decode'), tracer.start_as_current_span('request'):
        child = os.fork()
        if child == 0:
            with tracer.start_as_current_span('in the child'):
                pass
            {leave}
        else:
            print('status', os.waitpid(child, 0)[1], flush=True)
        """,
        env=NAMED,
    )
    assert (ran.returncode, heads(ran.stderr)) == (0, [])
    # A span of the host's that is open in both is exported by both: that is the SDK's own doing.
    told = [line for line in ran.stdout.splitlines() if line not in {"shutdown", "child request UNSET"}]
    assert told == [
        "tapes UNSET",
        "child in the child UNSET",
        "status 0",
        "request UNSET",
        "decode UNSET",
        "ingest UNSET",
    ]
    assert tree(journal(tmp_path / "job")) == {
        "tapes": {"ingest": {"decode": {"request": {"in the child": {}}}}},
    }


STAGE = """
import logging, sqlite3
from opentelemetry import trace
from otel_stageio import StageIO

with StageIO("asr", "job", stage_number=1) as io:
    logging.getLogger("a.library").warning("said by a library")
    io.get_stage_logger().info("said by the stage")
    db = sqlite3.connect(":memory:")
    db.cursor().execute("select 1")
    db.close()
    with io.step("decode"), trace.get_tracer("a.library").start_as_current_span("request"):
        pass
for handler in logging.getLogger().handlers:
    handler.flushOnClose = False  # else the SDK flushes in a new thread, which Python 3.12 refuses at exit
"""


def documents(text: str) -> list[dict[str, Any]]:
    """What the console exporters wrote: one JSON document after the other."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_a_stage_under_opentelemetry_instrument(tmp_path: Path):
    """`opentelemetry-instrument python stage.py` exports run, stage, step and what it instruments, each once.

    The files have the same tree. The launcher exports the log records too, with the stage's ids; they are in the
    stage's log once.
    """
    (tmp_path / "stage.py").write_text(STAGE, encoding="utf-8")
    launcher = [Path(sys.executable).with_name("opentelemetry-instrument"), "--metrics_exporter", "none"]
    ran = subprocess.run(
        [*launcher, "--traces_exporter", "console", "--logs_exporter", "console", sys.executable, "stage.py"],
        env=clean_environment({**NAMED, "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, heads(ran.stderr)) == (0, [])
    told = documents(ran.stdout)
    files = journal(tmp_path / "job")
    assert tree(files) == {"tapes": {"asr": {"select": {}, "decode": {"request": {}}}}}
    spans = [(each["context"]["span_id"], each["parent_id"]) for each in told if "context" in each]
    assert sorted(spans) == sorted(
        (f"0x{key}", f"0x{span['parentSpanId']}" if "parentSpanId" in span else None) for key, span in files.items()
    )
    (stage,) = [key for key, span in files.items() if span["name"] == "asr"]
    assert [(each["body"], each["span_id"]) for each in told if "body" in each] == [
        ("said by a library", f"0x{stage}"),
        ("said by the stage", f"0x{stage}"),
    ]
    log = (tmp_path / "job" / "01_asr" / "stage.log").read_text(encoding="utf-8")
    assert (log.count("said by the stage"), log.count("said by a library")) == (1, 0)
