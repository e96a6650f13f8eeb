"""What a backend takes a part of only: the rest is noted with the reason, and nothing else is held up by it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job.layout import LOG_RECORDS, JobLayout
from otel_stageio.journal import reader
from otel_stageio.ship import cursor
from otel_stageio.ship.cursor import Refused
from otel_stageio.ship.delivery import Way
from otel_stageio.ship.push import Pushed, push
from otel_stageio.ship.sources import LOGS, SPANS, Source, sources
from tests.ship.records import on_disk
from tests.ship.wires import SIDES, Side

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TO = "http://backend:4318"
#: So many records that they are several halves of halves.
RECORDS = 500
REASONS = {"http": "HTTP 400 Bad Request", "grpc": "gRPC INVALID_ARGUMENT: poison"}


@pytest.fixture(params=SIDES)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol."""
    return str(request.param)


@pytest.fixture
def side(protocol: str) -> Side:
    """Both of its ends."""
    return SIDES[protocol]


@pytest.fixture
def server(side: Side) -> Iterator[Any]:
    """A backend of that protocol."""
    with side.serve() as answers:
        yield answers


@pytest.fixture
def job(tmp_path: Path) -> JobLayout:
    """A stage with many records, one of which somebody may not like."""
    with StageIO("asr", tmp_path) as io:
        logger = io.get_stage_logger()
        for number in range(RECORDS):
            logger.info("poison" if number == 123 else f"record {number}")
    return JobLayout(tmp_path)


def attempt(job: JobLayout) -> Source:
    """The stage's attempt."""
    return list(sources(job))[-1]


def pushed(side: Side, url: str, job: JobLayout, *signals: str) -> Pushed:
    """Push these signals of the job."""
    ways = {signal: Way(side.wire(url, signal, timeout=5), TO) for signal in signals}
    try:
        return push(job, ways)
    finally:
        for way in ways.values():
            way.close()


def test_one_that_is_refused_is_set_aside_alone(side: Side, server: Any, protocol: str, job: JobLayout) -> None:
    """All others arrive, once each; which it was and why is on disk and told, and it is not sent again."""
    server.poison = b"poison"
    done = pushed(side, server.url, job, SPANS, LOGS)
    assert (done.complete, done.delivered, done.total.refused) == (True, len(on_disk(job)) - 1, 1)
    assert done.total.why == (REASONS[protocol],)
    (set_aside,) = cursor.load(attempt(job).folder)[TO].files[LOG_RECORDS].refused
    found = reader.log_records(os.path.join(attempt(job).folder, LOG_RECORDS))
    (poison,) = [record.attributes[names.LOG_RECORD_UID] for record in found if record.body == "poison"]
    assert set_aside == Refused(str(poison), REASONS[protocol])
    asked = len(server.asked)
    assert (pushed(side, server.url, job, SPANS, LOGS), len(server.asked)) == (Pushed(), asked)


@pytest.mark.parametrize(("signal", "count"), [(SPANS, "rejected_spans"), (LOGS, "rejected_log_records")])
def test_a_part_that_is_rejected_is_noted(side: Side, server: Any, job: JobLayout, signal: str, count: str) -> None:
    """One of a batch, by each batch: counted with the message, on disk too, and not sent again."""
    side.partly(server, signal, error_message="too old", **{count: 1})
    done = pushed(side, server.url, job, signal)
    batches = len(server.asked)
    assert (done.complete, done.total.rejected, done.total.why) == (True, batches, ("too old",))
    known = cursor.load(attempt(job).folder)[TO].files.values()
    assert {(each.rejected, each.rejected_why) for each in known} == {(1, "too old")}
    assert (pushed(side, server.url, job, signal), len(server.asked)) == (Pushed(), batches)
