"""ship.shown: what an official exporter makes of a record is what its line says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_stageio.journal import encode
from otel_stageio.model import Line, LogRecord, Resource, Scope, Span
from otel_stageio.ship.shown import Writers
from tests.journal import samples
from tests.journal.official import logs_message, spans_message
from tests.journal.samples import unhurried


@pytest.mark.oracle  # the encoder of 1.35 leaves out attributes with a null in them
@unhurried
@given(record=samples.spans(), scope=samples.scopes, resource=samples.resources)
def test_a_span_is_sent_as_its_line_says(record: Any, scope: Scope, resource: Resource) -> None:
    """The official encoder's bytes of a shown span are those of its line as the official decoder reads it."""
    shown = list(Writers().shown([Line((record,), scope, resource)]))
    assert encode_spans(shown) == spans_message(encode.span_line(record, encode.tail(scope, resource)))


@pytest.mark.oracle
@unhurried
@given(record=samples.log_records, scope=samples.scopes, resource=samples.resources)
def test_a_log_record_is_sent_as_its_line_says(record: Any, scope: Scope, resource: Resource) -> None:
    """The same for log records and events."""
    shown = list(Writers().shown([Line((record,), scope, resource)]))
    assert encode_logs(shown) == logs_message(encode.log_line(record, encode.tail(scope, resource)))


@unhurried
@given(st.lists(samples.log_records, min_size=2, max_size=5))
def test_equal_writers_are_sent_once(records: list[LogRecord]) -> None:
    """Lines that repeat one resource and one scope are one group of records in their order."""
    lines = [Line((each,), Scope("a"), Resource({"service.name": "speech"})) for each in records]
    message = encode_logs(list(Writers().shown(lines)))
    (of_resource,) = message.resource_logs
    (of_scope,) = of_resource.scope_logs
    assert [each.time_unix_nano for each in of_scope.log_records] == [each.time_unix_nano for each in records]


def test_writers_that_differ_in_type_only_are_two() -> None:
    """1, True and 1.0 are equal in Python and three resources for a backend."""
    lines = [Line((samples.log(),), Scope("a"), Resource({"n": value})) for value in (1, True, 1.0)]
    assert len(encode_logs(list(Writers().shown(lines))).resource_logs) == 3


@unhurried
@given(record=samples.spans(), kind=st.sampled_from([0, 6, 99]))
def test_a_span_of_a_kind_unknown_is_internal(record: Span, kind: int) -> None:
    """A stranger's journal with a kind that OTLP does not have is sent all the same."""
    shown = list(Writers().shown([Line((record._replace(kind=kind),), Scope("a"), Resource())]))
    assert encode_spans(shown).resource_spans[0].scope_spans[0].spans[0].kind == 1
