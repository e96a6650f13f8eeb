"""Which proxy stands before an endpoint, as the exporters' libraries find it: requests for HTTP, and gRPC's own way."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUFFIX: Final = "_proxy"
#: In the order in which gRPC asks for them, in lower case only; one that is set and empty says "none".
_GRPC: Final = ("grpc_proxy", "https_proxy", "http_proxy")
#: How gRPC's own names of hosts begin, and those of what is no host.
_NAMES: Final = ("dns:", "ipv4:", "ipv6:")
_SOCKETS: Final = ("unix:", "unix-abstract:", "vsock:")
_NO_GRPC: Final = ("no_grpc_proxy", "no_proxy")


def of_http(endpoint: str, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy that requests goes through; None where it goes straight there."""
    # What finds proxies brings all of http.client along. Only macOS knows proxies that are in no variable.
    if sys.platform != "darwin" and not any(name.lower().endswith(_SUFFIX) for name in environ):
        return None
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(endpoint)
    host = parts.hostname
    if host is None:
        return None
    listed = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(" ", "").split(",")
    # A port counts beside a name, and not beside an address.
    names = (host,) if host.replace(".", "").isdecimal() else (host, f"{host}:{parts.port}")
    # requests knows networks of IPv4 only, and none that is all of it.
    networks = [each for each in listed if ":" not in each and not each.endswith("/0")]
    if any(_is_within(host, each) for each in networks) or any(_ends(names, each) for each in listed):
        return None
    if proxy_bypass(host):
        return None
    known = getproxies()
    for key in (f"{parts.scheme}://{host}", parts.scheme, f"all://{host}", "all"):
        if key in known:
            return known[key] if "://" in known[key] else f"http://{known[key]}"
    return None


def of_grpc(endpoint: str, environ: Mapping[str, str]) -> str | None:
    """The URL of the proxy that gRPC goes through; None where it goes straight there."""
    proxy = next((environ[name] for name in _GRPC if name in environ), "")
    if not proxy or endpoint.startswith(_SOCKETS):
        return None
    if endpoint.startswith(_NAMES):
        endpoint = endpoint.partition(":")[2].lstrip("/")
    try:
        parts = urlsplit(proxy)
        host = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or ""
    except ValueError:
        return None
    if parts.scheme != "http" or not parts.hostname:  # gRPC speaks no other way with a proxy
        return None
    listed = next((environ[name] for name in _NO_GRPC if name in environ), "").split(",")
    if any(_is_within(host, each) or _ends((host,), each) for each in map(str.strip, listed)):
        return None
    return proxy


def _ends(names: tuple[str, ...], domain: str) -> bool:
    """Whether one of the names is this domain or below it; a dot before the domain is none of it."""
    suffix = domain.lstrip(".").lower()
    return bool(suffix) and any(name == suffix or name.endswith(f".{suffix}") for name in names)


def _is_within(host: str, network: str) -> bool:
    """Whether the host is an address of this network, as in ``10.0.0.0/8``."""
    if not network.partition("/")[2].isdecimal():
        return False
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
