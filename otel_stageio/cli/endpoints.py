"""Where records go: by ``--endpoint``, or as the standard variables have it for a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from otel_stageio.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_stageio.settings import Export, Settings

SIGNALS: Final = ("traces", "logs")


def option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have a command take an endpoint."""
    says = "OTLP endpoint of the backend; else OTEL_EXPORTER_OTLP_ENDPOINT and its like say where."
    return click.option("--endpoint", metavar="URL", help=says)(command)


def configured(endpoint: str | None) -> Export:
    """What the surroundings say of sending; what of it cannot be honoured is told. Nowhere is an answer."""
    found = _settings(endpoint)
    _tell(found)
    return found.export


def wanted(endpoint: str | None, signals: Sequence[str]) -> Export:
    """The same of those signals, by default of all. Raises CannotBegin where they go nowhere, or to what is no URL."""
    from otel_stageio.settings import NO_ENDPOINT, Signal

    found = _settings(endpoint)
    export = found.export
    if signals and "traces" not in signals:
        export = export._replace(traces=Signal(off=""))
    if signals and "logs" not in signals:
        export = export._replace(logs=Signal(off=""))
    off = {name: of.off for name, of in zip(SIGNALS, (export.traces, export.logs), strict=True) if of.off}
    for why in off.values():
        if any(problem.startswith(why) for problem in found.problems):  # no URL: not what the person meant
            output.cannot_begin(why)
    if not (export.traces.endpoint or export.logs.endpoint):
        why = ", ".join(dict.fromkeys(off.values()))
        hint = "give --endpoint URL, or set OTEL_EXPORTER_OTLP_ENDPOINT"
        output.cannot_begin(f"{why}: {hint}" if why == NO_ENDPOINT else f"nothing is to be sent: {why}")
    _tell(found)
    for name, why in off.items():
        output.trouble(f"{name} are not sent: {why}")
    return export


def _settings(endpoint: str | None) -> Settings:
    from otel_stageio import settings

    return settings.load(main_file=None, endpoint=endpoint)


def _tell(found: Settings) -> None:
    for line in filter(None, (*found.problems, found.export.hint)):
        output.trouble(line)
