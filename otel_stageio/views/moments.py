"""Times as people and schemas read them."""

from __future__ import annotations

from datetime import datetime, timezone

_SECOND = 1_000_000_000


def rfc3339(nanoseconds: int) -> str:
    """A Unix time in nanoseconds as RFC 3339 in UTC, microseconds always shown: ``2025-11-27T13:30:01.123000Z``."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def seconds_between(start: int, end: int) -> float:
    """The distance of two Unix times in nanoseconds, in seconds to the microsecond."""
    return round((end - start) / _SECOND, 6)
