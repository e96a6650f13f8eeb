"""What the exporters put on the network, decoded by the official classes, is what the lines on disk say."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio.journal import encode
from otel_stageio.model import Line
from otel_stageio.ship.shown import Writers
from otel_stageio.ship.wire import Answer, Verdict
from tests.journal.generated import Generated
from tests.journal.official import logs_message, spans_message
from tests.ship.wires import SIDES

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS, BATCH = 1_000, 100
TYPES: dict[str, Any] = {
    "spans": ("traces", Generated.span, encode.span_line, spans_message),
    "log records": ("logs", Generated.log_record, encode.log_line, logs_message),
    "events": ("logs", Generated.event, encode.log_line, logs_message),
}


def flat(message: Any) -> Iterator[tuple[bytes, bytes, str, bytes]]:
    """Resource, scope, its schema and record of all records of a message, in its order."""
    resources = message.resource_spans if hasattr(message, "resource_spans") else message.resource_logs
    for of_resource in resources:
        for scope in of_resource.scope_spans if hasattr(of_resource, "scope_spans") else of_resource.scope_logs:
            for record in scope.spans if hasattr(scope, "spans") else scope.log_records:
                yield exact(of_resource.resource), exact(scope.scope), scope.schema_url, exact(record)


def exact(message: Any) -> bytes:
    """The bytes of a message."""
    return bytes(message.SerializeToString(deterministic=True))


@pytest.mark.oracle  # the encoder of 1.35 leaves out attributes with a null in them
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("protocol", SIDES)
def test_a_thousand_arrive_as_their_lines_say(protocol: str, kind: str) -> None:
    """Each record with its resource and scope, to the byte; equal resources and equal scopes are made one."""
    signal, generate, line, said = TYPES[kind]
    side, draw = SIDES[protocol], Generated(6)
    writers = [draw.writer() for _ in range(3)]
    writers.append((writers[0][0], writers[1][1]))  # another's scope
    with side.serve() as server:
        wire = side.wire(server.url, signal, timeout=10)
        for _ in range(RECORDS // BATCH):
            # They take turns: what is equal does not lie side by side.
            lines = [Line((generate(draw),), *writers[number % len(writers)]) for number in range(BATCH)]
            assert wire.send(list(Writers().shown(lines))) == Answer(Verdict.DELIVERED)
            arrived = list(flat(side.asked(server, signal)[-1][0]))
            tails = [said(line(each.records[0], encode.tail(each.scope, each.resource))) for each in lines]
            assert sorted(arrived) == sorted(one for each in tails for one in flat(each))
            groups = [of for of, _ in groupby(one[:3] for one in arrived)]
            assert len(groups) == len(set(groups)) == len(writers)
        wire.close()
