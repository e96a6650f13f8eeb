"""One story, told three times: what the journal says, what a Collector was sent, and what Jaeger answers, are equal."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from otel_stageio import conventions as names
from otel_stageio import settings
from otel_stageio.job import attempts
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.journal import decode, reader
from otel_stageio.model import LogRecord, Resource, Scope, Span
from otel_stageio.ship import ways
from otel_stageio.ship.cursor import SHIPPED
from otel_stageio.ship.push import Pushed, push
from otel_stageio.ship.sources import sources, stages
from otel_stageio.views.manifest import dump, manifest
from otel_stageio.views.state import fold
from tests.backends.programs import Collector, Jaeger, ask, eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.backends.plugin import StartBackend
    from tests.conftest import RunScript

STORY = Path(__file__).with_name("story.py")
FILES = "2000"
#: Over 1 KB, which pushes what tells files apart beyond the beginning of a line.
RESOURCE = {
    "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name=test,note={'x' * 1_200}",
    "STAGEIO_CONSOLE": "off",
}
PROTOCOLS = ("http/protobuf", "grpc")


class Said(NamedTuple):
    """A record with who said it: all that a backend can be asked to keep."""

    record: LogRecord | Span
    scope: Scope
    resource: Resource


def records(lines: Iterable[Any]) -> Iterator[Said]:
    """The records of decoded lines."""
    for line in lines:
        for record in line.records:
            yield Said(record, line.scope, line.resource)


def key(of: LogRecord | Span) -> str:
    """What tells a record from any other: a span's id, a log record's uid."""
    return of.span_id if isinstance(of, Span) else str(of.attributes[names.LOG_RECORD_UID])


def by_key(found: Iterable[Said]) -> dict[str, Said]:
    """The records by what tells them apart; repeats have to be equal."""
    made: dict[str, Said] = {}
    for said in found:
        if isinstance(said.record, Span) and said.record.attributes.get(names.STATUS) == names.RUNNING:
            continue  # a marker, which is in no file
        assert made.setdefault(key(said.record), said) == said
    return made


def on_disk(job: JobLayout) -> dict[str, Said]:
    """What the journal says."""
    return by_key(
        said
        for source in sources(job)
        for name, _ in source.files()
        for piece in reader.pieces(os.path.join(source.folder, name))
        for said in records(piece.lines)
    )


def at_collector(collector: Collector, job: JobLayout) -> dict[str, Said]:
    """What the Collector wrote of this job."""
    job_id = json.loads(job.job_json.read_bytes())["job_id"]
    found = (said for each in collector.written() for said in records(decode.lines(each)))
    return by_key(said for said in found if said.resource.attributes.get(names.JOB_ID) == job_id)


def at_jaeger(jaeger: Jaeger, trace_id: str) -> dict[str, Said]:
    """What Jaeger answers of a trace."""
    status, answer = ask(f"{jaeger.query}/api/v3/traces/{trace_id}")
    if status != 200:
        return {}
    return by_key(records(decode.lines(json.loads(answer)["result"])))


def in_time(said: Said) -> Said:
    """A span with its events in the order of time: Jaeger sorts them by their names."""
    assert isinstance(said.record, Span)
    events = sorted(said.record.events, key=lambda of: (of.time_unix_nano, of.name, str(sorted(of.attributes))))
    return said._replace(record=said.record._replace(events=tuple(events)))


def pushed(job: JobLayout, endpoint: str, protocol: str = "http/protobuf") -> Pushed:
    """Push a job as a process of its own would."""
    surroundings = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    made = ways.ways(settings.load(environ=surroundings, endpoint=endpoint).export)
    try:
        return push(job, made)
    finally:
        for way in made.values():
            way.close()


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The story, told without a backend."""
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("story") / "out"
    known = {name: of for name, of in os.environ.items() if not name.startswith(("STAGEIO_", "OTEL_"))}
    environment = {**known, **RESOURCE, "STAGEIO_MODE": "file", "PYTHONPATH": str(STORY.parents[2])}
    done = subprocess.run([sys.executable, str(STORY), str(folder), FILES], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    return folder


@pytest.fixture
def job(offline: Path, tmp_path: Path) -> JobLayout:
    """A copy of it, for one test."""
    return JobLayout(Path(shutil.copytree(offline, tmp_path / "out")))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_pushed_is_what_the_collector_has(job: JobLayout, collector: Collector, protocol: str) -> None:
    """Every record of every type, field by field, over both protocols; once more sends nothing."""
    endpoint = collector.otlp_grpc if protocol == "grpc" else collector.otlp_http
    done = pushed(job, endpoint, protocol)
    journal = on_disk(job)
    assert (done.complete, done.total.passed, done.delivered) == (True, len(journal), len(journal))
    assert at_collector(collector, job) == journal
    assert pushed(job, endpoint, protocol) == Pushed()


def test_the_fold_of_what_the_collector_has_is_the_manifest(job: JobLayout, collector: Collector) -> None:
    """Each attempt's manifest, made of the Collector's records in any order, is that of the journal to the byte."""
    pushed(job, collector.otlp_http)
    there = at_collector(collector, job)
    found: list[tuple[str, str]] = []
    for stage in stages(job):
        for number in stage.attempts():
            ours, uids = attempts.state(stage, number), uids_of(stage, number)
            of_this = (said.record for uid, said in reversed(there.items()) if uid in uids)
            theirs = fold(record for record in of_this if isinstance(record, LogRecord))
            assert dump(manifest(theirs)) == dump(manifest(ours))
            found.append((stage.name, theirs.status))
    assert found == [
        ("ingest", "success"),
        ("asr", "failed"),
        ("asr", "success"),
        ("diarise", "skipped"),
        ("score", "success"),
        ("upload", "abandoned"),
    ]


def uids_of(stage: StageLayout, number: int) -> set[str]:
    """The records of an attempt."""
    return {key(record) for record in attempts.records(stage, number)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_jaeger_answers_is_what_the_journal_says(job: JobLayout, jaeger: Jaeger, protocol: str) -> None:
    """All spans with their events, links, status, flags, scope and resource; sent again, none is there twice."""
    endpoint = jaeger.otlp_grpc if protocol == "grpc" else jaeger.otlp_http
    assert pushed(job, endpoint, protocol).complete
    spans = {name: said for name, said in on_disk(job).items() if isinstance(said.record, Span)}
    (trace_id,) = {said.record.trace_id for said in spans.values()}
    there = eventually(lambda: len(found := at_jaeger(jaeger, trace_id)) == len(spans) and found)
    assert {name: in_time(said) for name, said in there.items()} == {
        name: in_time(said) for name, said in spans.items()
    }
    for shipped in job.root.rglob(SHIPPED):
        shipped.unlink()
    assert pushed(job, endpoint, protocol).delivered == len(spans)
    assert sorted(span["spanId"] for span in jaeger.spans(trace_id)) == sorted(spans)


def test_live_is_as_pushed_later(collector: Collector, run_script: RunScript, tmp_path: Path) -> None:
    """Recorded with the backend there, and finished by a push since the last stage was killed, it is all the same."""
    variables = {**RESOURCE, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_http}
    assert run_script(STORY, str(tmp_path / "out"), FILES, env=variables).returncode == -signal.SIGKILL
    job = JobLayout(tmp_path / "out")
    assert pushed(job, collector.otlp_http).complete
    assert at_collector(collector, job) == on_disk(job)


def test_with_compression_and_headers(job: JobLayout, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exporters read themselves holds: gzip, over both protocols."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=speech")
    assert pushed(job, collector.otlp_http).complete
    assert at_collector(collector, job) == on_disk(job)
    assert pushed(job, collector.otlp_grpc, "grpc").complete


def test_all_arrives_though_the_collector_is_killed(start_backend: StartBackend, tmp_path: Path) -> None:
    """Ten stages in ten processes log while it is killed and started again: in the end every record is there."""
    import random
    import subprocess
    import sys
    import time

    collector = start_backend(Collector(tmp_path))
    script = """
import sys, time
from otel_stageio import StageIO
io = StageIO(f"stage{sys.argv[1]}", "out", stage_number=int(sys.argv[1]))
logger = io.get_stage_logger()
for number in range(1_200):
    logger.info("record %d", number)
    time.sleep(0.008)
io.finalize()
"""
    known = {name: of for name, of in os.environ.items() if not name.startswith(("STAGEIO_", "OTEL_"))}
    environment = {
        **known,
        "PYTHONPATH": str(STORY.parents[2]),
        "STAGEIO_CONSOLE": "off",
        "STAGEIO_RUN": "one",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_http,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(number)], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
        )
        for number in range(1, 11)
    ]
    chance = random.Random(6)  # the same moments each time
    while any(process.poll() is None for process in processes):
        time.sleep(chance.uniform(0.3, 1.5))
        collector.kill()
        time.sleep(chance.uniform(0.0, 1.0))
        collector.start()
    assert [process.returncode for process in processes] == [0] * 10
    job = JobLayout(tmp_path / "out")
    assert pushed(job, collector.otlp_http).complete
    journal = on_disk(job)
    assert len(journal) > 12_000
    assert at_collector(collector, job) == journal
