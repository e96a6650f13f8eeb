"""Where records go by OpenTelemetry's standard variables: for each signal an endpoint, a protocol and a timeout.

What the official exporters read themselves (headers, compression, certificates, insecure) is left to them. Source:
OpenTelemetry specification, "OpenTelemetry Protocol Exporter", and the Python exporters where they differ from it: they
take timeouts in seconds, and not in milliseconds.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from otel_stageio import conventions
from otel_stageio.settings import NO_ENDPOINT, PROTOCOLS, Export, Signal

if TYPE_CHECKING:
    from otel_stageio.settings import Protocol
    from otel_stageio.settings.variables import Variables

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
_TIMEOUT: Final = "OTEL_EXPORTER_OTLP_TIMEOUT"
_SHIP_LEVEL: Final = "STAGEIO_SHIP_LEVEL"


class _Names(NamedTuple):
    """A signal's own variables, and its path below a general HTTP endpoint."""

    endpoint: str
    protocol: str
    timeout: str
    exporter: str
    path: str


_TRACES: Final = _Names(
    endpoint="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol="OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    timeout="OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    exporter="OTEL_TRACES_EXPORTER",
    path="/v1/traces",
)
_LOGS: Final = _Names(
    endpoint="OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    protocol="OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
    timeout="OTEL_EXPORTER_OTLP_LOGS_TIMEOUT",
    exporter="OTEL_LOGS_EXPORTER",
    path="/v1/logs",
)
#: The exporters that are OTLP, with the protocol where the name says it.
_OTLP: Final[dict[str, Protocol | None]] = {
    "otlp": None,
    "otlp_proto_http": "http/protobuf",
    "otlp_proto_grpc": "grpc",
}
_GRPC_PORT: Final = 4317
_PORTS: Final = {"http": 80, "https": 443}
#: What gRPC takes besides host and port; it connects to these in its own ways.
_GRPC_NAMES: Final = ("unix:", "unix-abstract:", "vsock:", "dns:", "ipv4:", "ipv6:", "xds:")
_SHOWN: Final = 100
_HINT: Final = "port 4317 is usually OTLP/gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"


def read(variables: Variables, *, endpoint: str | None, disabled: bool) -> Export:
    """What the variables say; `endpoint` stands for all endpoints in them."""
    traces, logs = (_signal(variables, names, endpoint, disabled=disabled) for names in (_TRACES, _LOGS))
    unsaid = [each for each, names in ((traces, _TRACES), (logs, _LOGS)) if not _is_protocol_said(variables, names)]
    return Export(
        traces=traces,
        logs=logs,
        ship_level=_ship_level(variables),
        disabled=disabled,
        hint=_HINT if any(each.endpoint and each.port == _GRPC_PORT for each in unsaid) else "",
    )


def _signal(variables: Variables, names: _Names, given: str | None, *, disabled: bool) -> Signal:
    name = names.endpoint if not given and variables.word(names.endpoint) else _ENDPOINT
    endpoint = given or variables.word(name)
    if disabled:
        return Signal(off="OTEL_SDK_DISABLED=true")
    if not endpoint:
        return Signal(off=NO_ENDPOINT)
    exporters = _exporters(variables, names)
    if exporters and not any(each in _OTLP for each in exporters):
        return Signal(off=f"{names.exporter}={','.join(exporters)[:_SHOWN]}")
    protocol = _protocol(variables, names, exporters)
    address = _grpc_address(endpoint) if protocol == "grpc" else _address(endpoint)
    if address is None:
        shown = endpoint.rpartition("@")[2].partition("?")[0][:_SHOWN]
        where = "the endpoint" if given else name
        off = f"{where}={shown!r} is no URL with http:// or https:// and a host"
        variables.report(f"{off}; what it is for is not sent.")
        return Signal(off=off)
    if protocol != "grpc" and name == _ENDPOINT:
        endpoint = endpoint.removesuffix("/") + names.path
    host, port = address
    return Signal(
        endpoint=endpoint, protocol=protocol, timeout=_timeout(variables, names), host=host, port=port, off=""
    )


def _exporters(variables: Variables, names: _Names) -> list[str]:
    return [each for each in map(str.strip, variables.word(names.exporter).lower().split(",")) if each]


def _is_protocol_said(variables: Variables, names: _Names) -> bool:
    named = any(_OTLP.get(each) for each in _exporters(variables, names))
    return named or bool(variables.word(names.protocol) or variables.word(_PROTOCOL))


def _protocol(variables: Variables, names: _Names, exporters: list[str]) -> Protocol:
    """As the exporter's name has it, which the SDK prefers, too; else as the variables have it."""
    for each in exporters:
        said = _OTLP.get(each)
        if said is not None:
            return said
    name = names.protocol if variables.word(names.protocol) else _PROTOCOL
    return variables.choice(name, PROTOCOLS, PROTOCOLS[0])


def _timeout(variables: Variables, names: _Names) -> float:
    name = names.timeout if variables.word(names.timeout) else _TIMEOUT
    # Zero is "not given" to some of the exporters, and refused by the others.
    return variables.seconds(name, Signal().timeout, zero=False)


def _address(endpoint: str) -> tuple[str, int] | None:
    """Host and port of a URL; None where it is none that HTTP can be spoken to."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or endpoint.split() != [endpoint]:
        return None
    return parts.hostname, port or _PORTS[parts.scheme]


def _grpc_address(endpoint: str) -> tuple[str, int] | None:
    """The same for gRPC, which also takes host and port without a scheme; ("", 0) for what is no host and port."""
    if endpoint.startswith(_GRPC_NAMES):
        return "", 0
    if "/" in endpoint:
        address = _address(endpoint)
        # The exporters hand host and port on without the scheme, and gRPC's port is then 443.
        return address and (address[0], urlsplit(endpoint).port or _PORTS["https"])
    return _address(f"https://{endpoint}")


def _ship_level(variables: Variables) -> int:
    """The severity number from which on log records are sent; 0 sends all."""
    name = variables.word(_SHIP_LEVEL).upper()
    number = int(name) if name.isascii() and name.isdigit() else logging.getLevelName(name) if name else 0
    if isinstance(number, int):
        return conventions.severity(number) if number > 0 else 0
    variables.report(
        f"{_SHIP_LEVEL}={name!r} is no level such as DEBUG, INFO, WARNING, ERROR, CRITICAL or 20; everything is sent."
    )
    return 0
