"""Which proxy stands before an endpoint: the one that requests, or gRPC, would go through."""

from __future__ import annotations

import os

import pytest
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy

from otel_stageio import settings

HTTP = "http://collector.lan:4318/v1/traces"
HTTPS = "https://collector.lan/v1/traces"


@pytest.fixture
def environ(monkeypatch):
    """Set the environment to these variables, of those that say something of proxies."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return lambda variables: [monkeypatch.setenv(name, value) for name, value in variables.items()]


@pytest.mark.parametrize("endpoint", [HTTP, HTTPS, "http://10.1.2.3:4318", "http://[::1]:4318", "http://LOCALHOST:1"])
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"http_proxy": "http://p:1"},
        {"HTTP_PROXY": "p.lan:1", "https_proxy": "https://q:2"},
        {"all_proxy": "http://p:1"},
        {"all_proxy": "http://p:1", "http_proxy": "", "HTTPS_PROXY": "http://q"},
        *(
            {"http_proxy": "http://p:1", "https_proxy": "http://p:1", "no_proxy": no_proxy}
            for no_proxy in (
                "*",
                "lan",
                ".lan",
                "collector.lan",
                "collector.lan:4318",
                "or.lan",
                "a, localhost ,10.0.0.0/8",
                "10.1.2.3",
                "10.1.2.3:4318",
                "10.1.2",
                "2.3",
                "0.0.0.0/0",
                "10.0.0.0/255.0.0.0",
                "::/1",
                "::1",
            )
        ),
        {"http_proxy": "http://p:1", "NO_PROXY": "Collector.LAN"},
    ],
)
def test_http_goes_the_way_of_requests(environ, variables, endpoint):
    """For each form of the variables the proxy is the one that requests itself selects."""
    environ(variables)
    expected = select_proxy(endpoint, get_environ_proxies(endpoint))
    assert settings.proxy_for(endpoint) == (expected and prepend_scheme_if_needed(expected, "http"))


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"http_proxy": "http://p:1"}, "http://p:1"),
        ({"http_proxy": "http://p:1", "https_proxy": "http://q:2"}, "http://q:2"),
        ({"http_proxy": "http://p:1", "grpc_proxy": "http://g:3"}, "http://g:3"),
        ({"http_proxy": "http://p:1", "grpc_proxy": ""}, None),
        ({"HTTP_PROXY": "http://p:1", "all_proxy": "http://p:1"}, None),
        ({"http_proxy": "https://p:1"}, None),
        ({"http_proxy": "p:1"}, None),
        ({"http_proxy": "http://[p"}, None),
        ({"http_proxy": "http://p:1", "no_proxy": "x, LAN"}, None),
        ({"http_proxy": "http://p:1", "no_proxy": ".lan"}, None),
        ({"http_proxy": "http://p:1", "no_proxy": "or.lan,*"}, "http://p:1"),
        ({"http_proxy": "http://p:1", "no_proxy": "collector.lan:4317,,"}, "http://p:1"),
        ({"http_proxy": "http://p:1", "no_proxy": "lan", "no_grpc_proxy": "other"}, "http://p:1"),
    ],
)
@pytest.mark.parametrize("endpoint", ["collector.lan:4317", "http://collector.lan:4317", "dns:///collector.lan:4317"])
def test_grpc_has_variables_of_its_own(environ, variables, proxy, endpoint):
    """GRPC asks in its order, in lower case only, and takes no proxy but one of HTTP."""
    environ(variables)
    assert settings.proxy_for(endpoint, "grpc") == proxy


def test_grpc_networks_and_sockets(environ):
    """An address in a network of no_proxy, and a socket, are gone to straight; another address is not."""
    environ({"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8,nonsense/8"})
    found = [settings.proxy_for(each, "grpc") for each in ("10.1.2.3:4317", "unix:///run/x", "11.1.2.3:4317")]
    assert found == [None, None, "http://p:1"]
