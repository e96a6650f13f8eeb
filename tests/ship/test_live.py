"""Live delivery as a program sees it: what stages record arrives while they run and when their process ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from otel_stageio import conventions as names
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import reader
from otel_stageio.ship.cursor import SHIPPED
from tests.conftest import REPO
from tests.ship.backend import Answers, backend
from tests.ship.records import arrived, is_marker, on_disk, spans, uids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import RunScript

SHORT = """
from otel_stageio import StageIO
io = StageIO("asr", "out")
logger = io.get_stage_logger()
logger.debug("one")
with io.step("decode"):
    logger.warning("two")
io.finalize()
logger.info("after the end")
"""
#: Runs until the file `go` is there.
LONG = """
import os, time
from otel_stageio import StageIO
io = StageIO("asr", "out")
io.get_stage_logger().info("at work")
while not os.path.exists("go"):
    time.sleep(0.02)
io.finalize()
"""


#: Has a member that ends without a word, as workers of a pool do.
WITH_MEMBER = """
import os, subprocess, sys
from otel_stageio import StageIO
if sys.argv[1:] == ["member"]:
    StageIO("asr", "out").get_stage_logger().info("of a member")
    os.kill(os.getpid(), 9)
with StageIO("asr", "out") as io:
    subprocess.run([sys.executable, __file__, "member"], env={**os.environ, **io.environ(), **SET})
"""


@pytest.fixture
def server() -> Iterator[Answers]:
    """A backend to answer."""
    with backend() as answers:
        yield answers


def to(server: Answers, **more: str) -> dict[str, str]:
    """The variables that have a process deliver to the backend."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "STAGEIO_CONSOLE": "off", **more}


def begun(script: str, folder: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    """Start a script that a test ends."""
    known = {name: of for name, of in os.environ.items() if not name.startswith(("STAGEIO_", "OTEL_"))}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**known, "PYTHONPATH": str(REPO), **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


def eventually(true: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something; an error where it does not come."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_short_process_delivers_all_at_its_end(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """Spans, events and log records, the one after finalize too, once each; nothing is said."""
    done = run_script(SHORT, env=to(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert arrived(server) == on_disk(tmp_path / "out")


def test_records_arrive_while_the_stage_runs(tmp_path: Path, server: Answers) -> None:
    """Its records and a marker of it, below its span; the marker comes once, and is in no file."""
    process = begun(LONG, tmp_path, to(server))
    try:
        eventually(lambda: uids(server) and any(map(is_marker, spans(server))))
        time.sleep(2.2)
    finally:
        (tmp_path / "go").touch()
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")
    (marker,) = [span for span in spans(server) if is_marker(span)]
    (stage,) = [span for span in spans(server) if span.name == "asr" and not is_marker(span)]
    assert (marker.name, marker.trace_id) == ("asr (running)", stage.trace_id)
    assert marker.parent_span_id == stage.span_id
    assert marker.end_time_unix_nano - marker.start_time_unix_nano == 1_000
    assert arrived(server) == on_disk(tmp_path / "out")


ENDS = {
    "an exception": ("raise ValueError('no audio')", 1),
    "sys.exit": ("import sys; sys.exit(3)", 3),
    "not finalized": ("", 0),
    "SIGTERM": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_the_process(run_script: RunScript, tmp_path: Path, server: Answers, end: str) -> None:
    """The end of the stage arrives, too, and the exit status is what it is without us."""
    last, code = ENDS[end]
    done = run_script(f"from otel_stageio import StageIO\nio = StageIO('asr', 'out')\n{last}\n", env=to(server))
    assert done.returncode == code
    if sys.version_info[:2] == (3, 12) and end in {"sys.exit", "not finalized"}:
        # Nothing told of the end before Python 3.12 lets no thread begin: decision 0028.
        assert f"{len(on_disk(tmp_path / 'out'))} records wait for {server.url}" in done.stderr
        return
    assert arrived(server) == on_disk(tmp_path / "out")
    assert "wait" not in done.stderr


def test_nobody_listens(run_script: RunScript, tmp_path: Path) -> None:
    """One line says how many records wait and what sends them; the stage is as without an endpoint."""
    with backend() as gone:
        pass
    done = run_script(SHORT, env=to(gone))
    waiting = len(on_disk(tmp_path / "out"))
    why = "ConnectionRefusedError: [Errno 111] Connection refused"
    what = f"{waiting} records wait for {gone.url} ({why}): `stageio push {tmp_path / 'out'}` sends what waits"
    assert done.stderr == f"otel-stageio: {what}\n"
    assert json.loads((tmp_path / "out" / "01_asr" / "manifest.json").read_bytes())["status"] == "success"


def test_what_a_killed_member_left_is_delivered(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """The stage delivers it at its end, without a next stage or a push."""
    done = run_script(f"SET = {{}}\n{WITH_MEMBER}", env=to(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.glob("out/01_asr/.stageio/001/members/*/logs.jsonl"))
    assert arrived(server) == on_disk(tmp_path / "out")


@pytest.mark.parametrize("mode", ["auto", "file"])
def test_what_a_killed_member_left_is_told(run_script: RunScript, tmp_path: Path, mode: str) -> None:
    """Where nobody takes it, the line counts it among what waits, unless that member was to stay offline."""
    with backend() as gone:
        pass
    done = run_script(f"SET = {{'STAGEIO_MODE': {mode!r}}}\n{WITH_MEMBER}", env=to(gone))
    lines = [path.read_bytes().splitlines() for path in tmp_path.glob("out/01_asr/.stageio/001/members/*/*.jsonl")]
    waiting = len(on_disk(tmp_path / "out")) - (sum(map(len, lines)) if mode == "file" else 0)
    assert lines
    assert f" {waiting} records wait for {gone.url}" in done.stderr


def test_what_is_not_to_be_sent_does_not_wait(run_script: RunScript, tmp_path: Path) -> None:
    """With STAGEIO_SHIP_LEVEL the line counts what a push sends: all events, the WARNING, the spans."""
    with backend() as gone:
        pass
    done = run_script(SHORT, env=to(gone, STAGEIO_SHIP_LEVEL="warning"))
    (events,) = tmp_path.glob("out/01_asr/.stageio/001/events.jsonl")
    waiting = 3 + len(events.read_bytes().splitlines()) + 1
    assert f"{waiting} records wait for {gone.url}" in done.stderr


def test_a_later_stage_takes_along_what_waits(tmp_path: Path, run_script: RunScript, server: Answers) -> None:
    """What an earlier stage could not deliver arrives with the next one that lasts; of a stage of mode file nothing."""
    run_script(SHORT, env={"STAGEIO_MODE": "file"})
    offline = set(on_disk(tmp_path / "out"))
    with backend() as gone:
        pass
    port = gone.url.rpartition(":")[2]
    run_script(SHORT.replace('"asr"', '"mux"'), env=to(gone))
    with backend(port=int(port)) as back:
        process = begun(LONG.replace('"asr"', '"upload"'), tmp_path, to(back))
        try:
            eventually(lambda: set(on_disk(tmp_path / "out")) - offline <= set(arrived(back)))
        finally:
            (tmp_path / "go").touch()
            process.communicate(timeout=30)
        there = arrived(back)
    run_span = {span.hex() for span in (each.span_id for each in spans(back)) if span.hex() in offline}
    assert set(there) == set(on_disk(tmp_path / "out")) - (offline - run_span)
    assert len(there) == len(set(there))


def test_an_earlier_stage_that_cannot_be_read_holds_up_no_other(tmp_path: Path, run_script: RunScript) -> None:
    """What is no file where its log records should be stays behind; the stage after it is taken along."""
    with backend() as gone:
        pass
    for name in ("asr", "mux"):
        run_script(SHORT.replace('"asr"', f'"{name}"'), env=to(gone))
    (unreadable,) = (tmp_path / "out").glob("*asr/.stageio/001/logs.jsonl")
    unreadable.unlink()
    unreadable.mkdir()
    (behind,) = (tmp_path / "out").glob("*mux/.stageio/001/traces.jsonl")
    wanted = {span.span_id for span in reader.spans(str(behind))}
    with backend(port=int(gone.url.rpartition(":")[2])) as back:
        process = begun(LONG.replace('"asr"', '"upload"'), tmp_path, to(back))
        try:
            eventually(lambda: wanted <= set(arrived(back)))
        finally:
            (tmp_path / "go").touch()
            process.communicate(timeout=30)


def test_a_backend_that_comes_back_gets_all(tmp_path: Path) -> None:
    """Down when the stage begins and up while it runs: nothing is lost, nothing comes twice."""
    with backend() as gone:
        pass
    process = begun(LONG, tmp_path, to(gone))
    time.sleep(2)
    with backend(port=int(gone.url.rpartition(":")[2])) as back:
        try:
            eventually(lambda: arrived(back))
        finally:
            (tmp_path / "go").touch()
            _, said = process.communicate(timeout=30)
        assert (said, arrived(back)) == ("", on_disk(tmp_path / "out"))


def test_retry_after_is_honoured(tmp_path: Path, server: Answers) -> None:
    """A throttling backend is left alone for as long as it says."""
    server.status, server.headers = 503, {"Retry-After": "3"}
    process = begun(LONG, tmp_path, to(server, OTEL_LOGS_EXPORTER="none"))
    try:
        eventually(lambda: server.asked)
        time.sleep(2.5)
        asked = len(server.asked)
        server.status, server.headers = 200, {"Content-Type": "application/x-protobuf"}
    finally:
        (tmp_path / "go").touch()
        process.communicate(timeout=30)
    assert asked == 1


def test_a_signal_that_was_not_meant_to_go_is_not_taken_along(tmp_path: Path, run_script: RunScript) -> None:
    """Of a stage that sends no traces a later one, which does, takes its log records along, and not its span."""
    with backend() as gone:
        pass
    run_script(SHORT.replace('"asr"', '"mux"'), env=to(gone, OTEL_TRACES_EXPORTER="none"))
    (path,) = tmp_path.glob("out/*_mux/.stageio/001/traces.jsonl")
    kept = {each.span_id for each in reader.spans(str(path))}
    with backend(port=int(gone.url.rpartition(":")[2])) as back:
        process = begun(LONG, tmp_path, to(back))
        try:
            eventually(lambda: set(on_disk(tmp_path / "out")) - set(arrived(back)) <= kept)
        finally:
            (tmp_path / "go").touch()
            process.communicate(timeout=30)
        there = set(arrived(back))
    assert kept
    assert not kept & there


def test_a_signal_that_is_not_taken_is_noted_once(tmp_path: Path, run_script: RunScript) -> None:
    """As with Jaeger, which has no logs: they do not wait, nothing is said, and shipped.json has what was answered."""
    with backend() as jaeger, backend() as other:
        other.status = 404
        variables = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{jaeger.url}/v1/traces",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{other.url}/v1/logs",
            "STAGEIO_CONSOLE": "off",
        }
        done = run_script(SHORT, env=variables)
        assert (done.stderr, len(other.asked), len(spans(jaeger))) == ("", 1, 3)
        attempt = tmp_path / "out" / "01_asr" / ".stageio" / "001"
        shipped = json.loads((attempt / SHIPPED).read_bytes())["destinations"]
    assert shipped[other.url] == {"files": {}, "not_taken": {"logs": "HTTP 404 Not Found"}, "meant": ["logs"]}


def test_a_wrong_address_is_told(run_script: RunScript, server: Answers) -> None:
    """Where neither signal is taken, it is most likely no OTLP endpoint."""
    server.status = 404
    done = run_script(SHORT, env=to(server))
    assert "every record waits" in done.stderr
    assert "(it takes neither of our signals (HTTP 404 Not Found): is it an OTLP endpoint?)" in done.stderr


OFFLINE = {
    "STAGEIO_MODE=file": ({"STAGEIO_MODE": "file"}, SHORT),
    "mode='file'": ({}, SHORT.replace('"out")', '"out", mode="file")')),
    "OTEL_SDK_DISABLED": ({"OTEL_SDK_DISABLED": "true"}, SHORT),
    "both exporters none": ({"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}, SHORT),
}


@pytest.mark.parametrize("how", OFFLINE)
def test_kept_offline(run_script: RunScript, tmp_path: Path, server: Answers, how: str) -> None:
    """Nothing is asked of the backend, and the files are as ever."""
    more, script = OFFLINE[how]
    done = run_script(script, env=to(server, **more))
    assert (done.returncode, done.stderr, server.asked) == (0, "", [])
    assert len(on_disk(tmp_path / "out")) > 5
    assert list(tmp_path.rglob(SHIPPED)) == []


def test_records_below_the_level_stay_on_disk(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """STAGEIO_SHIP_LEVEL keeps DEBUG from the backend; events and spans all arrive, and nothing waits."""
    done = run_script(SHORT, env=to(server, STAGEIO_SHIP_LEVEL="INFO"))
    assert (done.stderr, len(on_disk(tmp_path / "out")) - len(arrived(server))) == ("", 1)


def test_stages_of_one_process_share_a_thread(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """Twenty stages one after the other, and two at once: all arrives, over one thread."""
    script = """
import threading
from otel_stageio import StageIO
for number in range(20):
    with StageIO(f"stage{number}", "out") as io:
        io.get_stage_logger().info("hello")
one, two = StageIO("one", "out"), StageIO("two", "out")
print([thread.name for thread in threading.enumerate()].count("otel-stageio-ship"))
two.finalize()
one.finalize()
"""
    done = run_script(script, env=to(server))
    assert (done.stderr, done.stdout) == ("", "1\n")
    assert arrived(server) == on_disk(tmp_path / "out")


def test_a_child_by_fork_delivers_its_own(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """A stage that a forked child opens is delivered by the child; the parent's go on as they were."""
    script = """
import os, sys
from otel_stageio import StageIO
io = StageIO("parent", "out")
io.get_stage_logger().info("before")
pid = os.fork()
if pid == 0:
    child = StageIO("child", "out")
    child.get_stage_logger().info("in the child")
    child.finalize()
    sys.exit(0)
os.waitpid(pid, 0)
io.get_stage_logger().info("afterwards")
io.finalize()
"""
    done = run_script(script, env=to(server))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(set(arrived(server))) == on_disk(tmp_path / "out")


def test_a_killed_stage_arrives_with_the_next(tmp_path: Path, server: Answers) -> None:
    """Its end is written and delivered by a stage that follows, as abandoned and red."""
    process = begun(LONG, tmp_path, to(server))
    eventually(lambda: uids(server))
    process.kill()
    process.communicate()
    process = begun(LONG.replace('"asr"', '"mux"'), tmp_path, to(server))
    try:
        eventually(lambda: [span for span in spans(server) if span.name == "asr" and not is_marker(span)])
    finally:
        (tmp_path / "go").touch()
        process.communicate(timeout=30)
    (dead,) = [span for span in spans(server) if span.name == "asr" and not is_marker(span)]
    about = {of.key: of.value.string_value for of in dead.attributes}
    assert (about[names.STATUS], about[names.ERROR_TYPE], dead.status.code) == ("abandoned", "abandoned", 2)
    assert set(arrived(server)) == set(on_disk(JobLayout(tmp_path / "out")))
    assert json.loads((tmp_path / "out" / "01_asr" / "manifest.json").read_bytes())["status"] == "abandoned"


def test_captured_records_are_not_those_of_delivery(run_script: RunScript, tmp_path: Path, server: Answers) -> None:
    """What the exporters log while they deliver is in no journal: it would be delivered in its turn."""
    script = "import logging\nlogging.getLogger().setLevel(logging.DEBUG)\n" + SHORT.replace(
        '"out")', '"out", capture="root")\nimport time\ntime.sleep(2.5)'
    )
    done = run_script(script, env=to(server))
    assert done.returncode == 0
    logs = (tmp_path / "out" / "01_asr" / "stage.log").read_text(encoding="utf-8")
    assert "urllib3" not in logs
    assert arrived(server) == on_disk(tmp_path / "out")


def test_without_an_endpoint_nothing_of_it_is_loaded(run_script: RunScript) -> None:
    """A file-only stage pays for neither the exporters nor the network."""
    loaded = ("requests", "grpc", "opentelemetry.sdk", "otel_stageio.ship.courier", "otel_stageio.ship.probe")
    script = f"{SHORT}import sys\nprint([name for name in {loaded} if name in sys.modules])"
    assert run_script(script, env={"STAGEIO_CONSOLE": "off"}).stdout == "[]\n"


def test_a_likely_mistake_is_told_once(run_script: RunScript, server: Answers) -> None:
    """Port 4317 without a protocol: one line says what to set, however many stages there are."""
    script = SHORT + SHORT.replace('"asr"', '"mux"')
    done = run_script(script, env=to(server, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317"))
    assert done.stderr.count("set OTEL_EXPORTER_OTLP_PROTOCOL=grpc") == 1
