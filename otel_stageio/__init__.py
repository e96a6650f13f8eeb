"""Stages of a batch pipeline, recorded once: a log, a manifest and an OTLP/JSON journal for each, written at once.

The public names, each loaded when it is first asked for, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_stageio.errors import (
        CommandError,
        ItemNameError,
        JobFormatError,
        OutputPathError,
        SettingError,
        StageIOError,
        StageNameError,
        StageNumberError,
        StageRunningError,
        StatusError,
    )
    from otel_stageio.read.job import open_job, open_jobs
    from otel_stageio.record.decorator import stage
    from otel_stageio.record.logs.logger import get_stage_logger
    from otel_stageio.record.stage import StageIO

__version__ = "0.1.0"

__all__ = [
    "CommandError",
    "ItemNameError",
    "JobFormatError",
    "OutputPathError",
    "SettingError",
    "StageIO",
    "StageIOError",
    "StageNameError",
    "StageNumberError",
    "StageRunningError",
    "StatusError",
    "__version__",
    "get_stage_logger",
    "open_job",
    "open_jobs",
    "stage",
]

_HOMES = {
    "CommandError": "otel_stageio.errors",
    "ItemNameError": "otel_stageio.errors",
    "JobFormatError": "otel_stageio.errors",
    "OutputPathError": "otel_stageio.errors",
    "SettingError": "otel_stageio.errors",
    "StageIO": "otel_stageio.record.stage",
    "StageIOError": "otel_stageio.errors",
    "StageNameError": "otel_stageio.errors",
    "StageNumberError": "otel_stageio.errors",
    "StageRunningError": "otel_stageio.errors",
    "StatusError": "otel_stageio.errors",
    "get_stage_logger": "otel_stageio.record.logs.logger",
    "open_job": "otel_stageio.read.job",
    "open_jobs": "otel_stageio.read.job",
    "stage": "otel_stageio.record.decorator",
}


def __getattr__(name: str) -> object:
    """Load a public name from its module and keep it here (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import importlib

    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List what is here and what can be had."""
    return sorted({*globals(), *__all__})
