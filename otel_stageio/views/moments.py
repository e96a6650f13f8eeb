"""Times as people and schemas read them."""

from __future__ import annotations

import time
from functools import lru_cache

_SECOND = 1_000_000_000
_LAST_YEAR = 9999


def rfc3339(nanoseconds: int) -> str:
    """A Unix time in nanoseconds as RFC 3339 in UTC, microseconds always shown: ``2025-11-27T13:30:01.123000Z``.

    Raises ValueError, or OverflowError or OSError, for a time outside of the years 1 to 9999.
    """
    if nanoseconds < _SECOND:
        seconds, rest = divmod(nanoseconds, _SECOND)
        return f"{_second(str(seconds))}.{rest // 1000:06d}Z"
    text = str(nanoseconds)  # cut as text: half the price of the division
    return f"{_second(text[:-9])}.{text[-9:-3]}Z"


# From memory: the files of a stage are mostly of few seconds, or at least of few minutes.


@lru_cache(maxsize=1024)
def _second(number: str) -> str:
    minute, second = divmod(int(number), 60)
    return f"{_minute(minute)}:{second:02d}"


@lru_cache(maxsize=1024)
def _minute(number: int) -> str:
    at = time.gmtime(number * 60)
    if not 0 < at.tm_year <= _LAST_YEAR:
        raise ValueError(f"RFC 3339 knows no year {at.tm_year}")
    return f"{at.tm_year:04d}-{at.tm_mon:02d}-{at.tm_mday:02d}T{at.tm_hour:02d}:{at.tm_min:02d}"


def seconds_between(start: int, end: int) -> float:
    """The distance of two Unix times in nanoseconds, in seconds to the microsecond."""
    return round((end - start) / _SECOND, 6)


def spoken(seconds: float) -> str:
    """A span of time in the largest unit of which it has two: ``4 s``, ``12 min``, ``30 h``, ``5 days``."""
    for unit, size, enough in (("days", 86400, 172800), ("h", 3600, 7200), ("min", 60, 120)):
        if seconds >= enough:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
