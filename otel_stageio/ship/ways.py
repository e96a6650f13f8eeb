"""The ways of the signals to where the settings say; what carries a protocol is loaded when it is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_stageio.ship.cursor import destination
from otel_stageio.ship.delivery import Way
from otel_stageio.ship.sources import LOGS, SPANS

if TYPE_CHECKING:
    from otel_stageio.settings import Export, Signal
    from otel_stageio.ship.wire import Wire


def signals(export: Export) -> dict[str, Signal]:
    """The signals that are sent."""
    found = {SPANS: export.traces, LOGS: export.logs}
    return {name: signal for name, signal in found.items() if signal.endpoint}


def destinations(export: Export) -> dict[str, str]:
    """Where each of them goes, as shipped.json names it."""
    return {name: destination(signal) for name, signal in signals(export).items()}


def ways(export: Export) -> dict[str, Way]:
    """A way for each signal that is sent. Raises as `way`."""
    return {name: way(name, export) for name in signals(export)}


def way(name: str, export: Export) -> Way:
    """The way of one signal. Raises ValueError, OSError and ImportError for settings that its exporter cannot use."""
    signal = signals(export)[name]
    return Way(_wire(name, signal), destination(signal), least=export.ship_level)


def _wire(name: str, signal: Signal) -> Wire:
    if signal.protocol == "grpc":
        from otel_stageio.ship.grpc_wire import GrpcWire

        return GrpcWire(name, endpoint=signal.endpoint, timeout=signal.timeout)
    from otel_stageio.ship.http_wire import HttpWire

    return HttpWire(name, endpoint=signal.endpoint, timeout=signal.timeout)
