"""A point in time on the command line: a date, a time, or how long ago."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click import Context, Parameter

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SECOND: Final = 1_000_000_000


def since(_context: Context, _option: Parameter, given: str | None) -> int:
    """``2026-11-20``, ``2026-11-20T18:30``, ``2026-11-20T18:30+01:00``, ``2h``, ``3d``: nanoseconds since the epoch.

    What names no zone is local time; nothing given is 0. Raises click.BadParameter. The `callback` of an option.
    """
    if given is None:
        return 0
    ago = re.fullmatch(r"(\d{1,9})([smhdw])", given.strip(), re.ASCII)
    if ago:
        return max(time.time_ns() - int(ago[1]) * _SECONDS[ago[2]] * _SECOND, 0)
    try:
        found = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", given.strip()))
        return max(int(found.timestamp() * _SECOND), 0)
    except (ValueError, OverflowError, OSError):
        wanted = "a date (2026-11-20), a time (2026-11-20T18:30), or how long ago (2h, 3d)"
        raise click.BadParameter(f"{given!r} is no time; give {wanted}") from None
