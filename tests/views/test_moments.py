"""Times as people and schemas read them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.views.moments import rfc3339, seconds_between, spoken


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_764_246_601_123_456_789, "2025-11-27T12:30:01.123456Z"),
        (1_764_246_601_999_999_999, "2025-11-27T12:30:01.999999Z"),
        (2**64 - 1, "2554-07-21T23:34:33.709551Z"),
    ],
)
def test_a_moment_is_rfc_3339_in_utc(nanoseconds, text):
    """Microseconds are always shown and never rounded up, up to the last time that OTLP can hold."""
    assert rfc3339(nanoseconds) == text


@given(st.integers(0, 2**64 - 1))
def test_a_moment_can_be_read_back(nanoseconds):
    """What is written is the same moment to the microsecond."""
    moment = datetime.strptime(rfc3339(nanoseconds), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    whole = int(moment.timestamp()) * 1_000_000 + moment.microsecond
    assert whole == nanoseconds // 1000


def test_the_time_between_two_moments():
    """Seconds to the microsecond, without the dust of floats."""
    assert seconds_between(1, 1) == 0.0
    assert seconds_between(1_000_000_000, 1_300_000_000) == 0.3
    assert seconds_between(0, 1_234_567_890_123) == 1234.56789


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9, "0 s"),
        (4.2, "4 s"),
        (119, "119 s"),
        (725, "12 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (432_001, "5 days"),
    ],
)
def test_a_span_of_time_in_words(seconds, text):
    """It is told in the largest unit of which it has two, never rounded up."""
    assert spoken(seconds) == text
