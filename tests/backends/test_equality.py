"""One story, told three times: what the journal says, what a Collector was sent, and what Jaeger answers, are equal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from otel_stageio.job import attempts
from otel_stageio.job.layout import JobLayout, StageLayout, all_stages
from otel_stageio.model import LogRecord, Span
from otel_stageio.ship import cursor
from otel_stageio.ship.cursor import SHIPPED
from otel_stageio.ship.push import Pushed
from otel_stageio.ship.sources import sources
from otel_stageio.views.manifest import dump, manifest
from otel_stageio.views.state import fold
from tests.backends.programs import Collector, Jaeger, eventually
from tests.backends.said import at_collector, at_jaeger, by_key, in_no_order, kept_by_jaeger, on_disk, sent
from tests.backends.telling import FILES, PROTOCOLS, pushed, telling


def at(program: Collector | Jaeger, protocol: str) -> str:
    """Where a program takes this protocol."""
    return program.otlp_grpc if protocol == "grpc" else program.otlp_http


#: The ends that have marks, which are in no file.
MARKED = {"diarise (skipped)", "upload (killed)"}


def forget(job: JobLayout) -> None:
    """Delete what is known of its delivery."""
    for shipped in job.root.rglob(SHIPPED):
        shipped.unlink()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_pushed_is_what_the_collector_has(story: JobLayout, collector: Collector, protocol: str) -> None:
    """Every record of every type once, each field the same; once more sends nothing, and all anew sends the same."""
    done = pushed(story, at(collector, protocol), protocol)
    journal = on_disk(story)
    assert len(journal) > FILES
    assert (done.complete, done.total.passed, done.delivered) == (True, len(journal), len(journal))
    there = sent(collector, story)
    assert (len(there), by_key(there)) == (len(journal) + len(MARKED), journal)
    assert {str(said.record.name) for said in there if isinstance(said.record, Span)} >= MARKED
    assert pushed(story, at(collector, protocol), protocol) == Pushed()
    forget(story)
    assert pushed(story, at(collector, protocol), protocol).delivered == len(journal)
    twice = sent(collector, story)
    assert set(Counter(said.key for said in twice).values()) == {2}
    assert by_key(twice) == journal


def test_the_fold_of_what_the_collector_has_is_the_manifest(story: JobLayout, collector: Collector) -> None:
    """Each attempt's manifest, made of the Collector's records in any order, is that of the journal to the byte."""
    pushed(story, collector.otlp_http)
    there = at_collector(collector, story)
    found: list[tuple[str, str]] = []
    for stage in all_stages(story):
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
        ("clip", "success"),
        ("clip", "failed"),
        ("upload", "abandoned"),
    ]


def uids_of(stage: StageLayout, number: int) -> set[str]:
    """The records of an attempt."""
    return {str(record.attributes["log.record.uid"]) for record in attempts.records(stage, number)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_jaeger_answers_is_what_the_journal_says(story: JobLayout, jaeger: Jaeger, protocol: str) -> None:
    """All spans with all that docs/opentelemetry.md says it keeps; sent again, none is there twice."""
    done = pushed(story, at(jaeger, protocol), protocol)
    journal = kept_by_jaeger(on_disk(story))
    assert (done.complete, done.delivered, list(done.stopped)) == (True, len(journal), ["logs"])
    (trace_id,) = {said.record.trace_id for said in on_disk(story).values() if isinstance(said.record, Span)}
    there = eventually(lambda: len(found := at_jaeger(jaeger, trace_id)) == len(journal) and found)
    assert {key: in_no_order(said.tree) for key, said in there.items()} == journal
    forget(story)
    assert pushed(story, at(jaeger, protocol), protocol).delivered == len(journal)
    marks = {span["name"]: span["spanId"] for span in jaeger.spans(trace_id) if span["name"] in MARKED}
    assert set(marks) == MARKED
    assert sorted(span["spanId"] for span in jaeger.spans(trace_id)) == sorted([*journal, *marks.values()])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_live_is_as_pushed_later(collector: Collector, tmp_path: Path, protocol: str) -> None:
    """Recorded with the backend there, and finished by a push since the last stage was killed, it is all the same."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": at(collector, protocol), "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    job = JobLayout(tmp_path / "out")
    with telling(job.root, "stay", **variables):
        eventually(lambda: is_waiting(job) and delivered(job))
    live = by_key(sent(collector, job))
    assert live.items() <= on_disk(job).items()
    assert pushed(job, at(collector, protocol), protocol).complete
    there = sent(collector, job)
    assert by_key(there) == on_disk(job)
    assert FILES < len(live) < len(on_disk(job))
    assert {key for key, times in Counter(said.key for said in there).items() if times > 1} == set()


def is_waiting(job: JobLayout) -> bool:
    """Whether the story's last stage waits to be killed."""
    return any(b'"on the way"' in path.read_bytes() for path in job.root.glob("06_upload/.stageio/001/logs.jsonl"))


def delivered(job: JobLayout) -> bool:
    """Whether all that is on disk is known to be delivered."""
    for source in sources(job):
        (known,) = cursor.load(source.folder).values()
        for name, _ in source.files():
            if name not in known.files or known.files[name].offset < (Path(source.folder) / name).stat().st_size:
                return False
    return True
