"""An attempt read back: its records in order, and the state that they fold to."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from otel_stageio.job.layout import EVENTS, LOG_RECORDS
from otel_stageio.journal import reader
from otel_stageio.views.state import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_stageio.job.layout import StageLayout
    from otel_stageio.model import LogRecord
    from otel_stageio.views.state import StageState


def records(stage: StageLayout, attempt: int, *, live: bool = False) -> Iterator[LogRecord]:
    """The events, then the log records of an attempt, as they stand in its files, then its members'. Raises OSError."""
    folders = [stage.attempt_dir(attempt), *stage.members(attempt)]
    paths = [str(folder / name) for folder in folders for name in (EVENTS, LOG_RECORDS)]
    return chain.from_iterable(reader.log_records(path, live=live) for path in paths)


def state(stage: StageLayout, attempt: int, *, live: bool = False) -> StageState:
    """What the journal says of an attempt. Raises OSError."""
    return fold(records(stage, attempt, live=live))
