"""Where records are sent by the standard variables, and what the official exporters make of the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from otel_stageio import settings
from otel_stageio.settings import NO_ENDPOINT, Export, Signal

ROOT = Path(__file__).parents[1]
GENERAL = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
LOGS = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TIMEOUT = "OTEL_EXPORTER_OTLP_TIMEOUT"
HINT = "port 4317 is usually OTLP/gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"
URL = "http://collector:4318"


@pytest.fixture
def load(tmp_path):
    """Load from these variables alone."""
    return lambda endpoint=None, **environ: settings.load(
        environ=environ, main_file=None, cwd=str(tmp_path), endpoint=endpoint
    )


def test_nothing_is_sent_without_an_endpoint(load):
    """No endpoint, or an empty one: neither signal is sent, whatever else is set."""
    for environ in ({}, {GENERAL: " "}, {"OTEL_TRACES_EXPORTER": "otlp"}, {PROTOCOL: "nonesuch", TIMEOUT: "x"}):
        loaded = load(**environ)
        assert (loaded.export, loaded.problems) == (Export(), ())
    assert (Export().traces.endpoint, Export().logs.off) == (None, NO_ENDPOINT)


def test_a_general_endpoint_is_both_signals(load):
    """Over HTTP each signal has its path below the general endpoint; host, port, protocol and timeout are told."""
    assert load(**{GENERAL: f"{URL}/base"}).export == Export(
        traces=Signal(endpoint=f"{URL}/base/v1/traces", host="collector", port=4318, off=""),
        logs=Signal(endpoint=f"{URL}/base/v1/logs", host="collector", port=4318, off=""),
    )


@pytest.mark.parametrize(
    "environ",
    [
        {GENERAL: "http://localhost:4318"},
        {GENERAL: "https://localhost/"},
        {GENERAL: "http://localhost:4318/base/"},
        {GENERAL: "http://user:pass@localhost:4318"},
        {GENERAL: "http://[::1]:4318", TRACES: "http://localhost:9/x/", TIMEOUT: "2.5"},
        {GENERAL: "http://localhost", LOGS: "https://localhost:9/x", "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "7"},
        {GENERAL: "http://localhost", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "3", TIMEOUT: "1000"},
    ],
)
def test_endpoints_and_timeouts_are_the_exporters(load, monkeypatch, environ):
    """The official exporters, left alone with the same variables, send to the same URL with the same timeout."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    export = load(**environ).export
    for signal, exporter in ((export.traces, OTLPSpanExporter()), (export.logs, OTLPLogExporter())):
        timeout = getattr(exporter, "_timeout", None) or exporter._client._timeout
        assert (signal.endpoint, signal.timeout) == (exporter._endpoint, timeout)
        exporter.shutdown()


def test_one_signal_alone(load):
    """A signal's own endpoint is taken as it is, and the other is not sent."""
    export = load(**{LOGS: "https://logs/path"}).export
    assert export == Export(logs=Signal(endpoint="https://logs/path", host="logs", port=443, off=""))


@pytest.mark.parametrize(
    ("environ", "protocols"),
    [
        ({}, ("http/protobuf", "http/protobuf")),
        ({PROTOCOL: "GRPC"}, ("grpc", "grpc")),
        ({PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf"}, ("grpc", "http/protobuf")),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, ("grpc", "http/protobuf")),
        ({PROTOCOL: "grpc", "OTEL_TRACES_EXPORTER": "otlp_proto_http"}, ("http/protobuf", "grpc")),
        ({"OTEL_LOGS_EXPORTER": "console,otlp_proto_grpc"}, ("http/protobuf", "grpc")),
    ],
)
def test_protocols(load, environ, protocols):
    """A signal's protocol is that of its exporter's name, its own variable, the general one, else HTTP."""
    loaded = load(**{GENERAL: URL}, **environ)
    assert ((loaded.export.traces.protocol, loaded.export.logs.protocol), loaded.problems) == (protocols, ())
    paths = [signal.endpoint.removeprefix(URL) for signal in (loaded.export.traces, loaded.export.logs)]
    assert [bool(path) for path in paths] == [protocol != "grpc" for protocol in protocols]


@pytest.mark.parametrize("protocol", ["http/json", "nonesuch"])
def test_a_protocol_that_is_not_spoken_becomes_a_problem(load, protocol):
    """OTLP/JSON and anything unknown cost one sentence for both signals, and HTTP with protobuf is used."""
    loaded = load(**{GENERAL: URL, PROTOCOL: protocol})
    assert loaded.export == load(**{GENERAL: URL}).export
    assert loaded.problems == (f"{PROTOCOL}={protocol!r} is not one of http/protobuf, grpc; http/protobuf is used.",)


@pytest.mark.parametrize("timeout", ["soon", "0", "-1", "inf", "nan"])
def test_a_timeout_that_is_none_becomes_a_problem(load, timeout):
    """A timeout that is no number above 0 costs one sentence, and the exporters' ten seconds are used."""
    loaded = load(**{GENERAL: URL, TIMEOUT: timeout})
    assert loaded.export == load(**{GENERAL: URL}).export
    assert loaded.problems == (f"{TIMEOUT}={timeout!r} is not a number of seconds above 0; 10 is used.",)


@pytest.mark.parametrize(
    ("exporters", "off"),
    [
        ("none", "OTEL_TRACES_EXPORTER=none"),
        ("None ", "OTEL_TRACES_EXPORTER=none"),
        ("console, zipkin", "OTEL_TRACES_EXPORTER=console,zipkin"),
        ("console,OTLP", ""),
        (" , ", ""),
        ("", ""),
    ],
)
def test_a_signal_can_be_switched_off(load, exporters, off):
    """A list of exporters without OTLP among them switches its signal off, says why, and leaves the other alone."""
    loaded = load(**{GENERAL: URL, "OTEL_TRACES_EXPORTER": exporters})
    assert (loaded.export.traces.off, loaded.export.traces.endpoint is None) == (off, bool(off))
    assert (loaded.export.logs, loaded.problems) == (load(**{GENERAL: URL}).export.logs, ())


def test_the_sdk_can_be_disabled(load):
    """OTEL_SDK_DISABLED=true sends nothing and keeps our providers out of the process; nothing else of it is "true"."""
    loaded = load(**{GENERAL: "nonsense", PROTOCOL: "nonsense"}, OTEL_SDK_DISABLED=" True ")
    off = Signal(off="OTEL_SDK_DISABLED=true")
    assert loaded.export == Export(traces=off, logs=off, disabled=True)
    assert (loaded.tracer, loaded.mode, loaded.problems) == (False, "auto", ())
    assert load(OTEL_SDK_DISABLED="true").export == Export(disabled=True)
    assert load(OTEL_SDK_DISABLED="false") == load()
    loaded = load(OTEL_SDK_DISABLED="1")
    assert (loaded.tracer, loaded.export) == (True, Export())
    assert loaded.problems == ("OTEL_SDK_DISABLED='1' is not one of true, false; false is used.",)


def test_a_disabled_sdk_leaves_the_files_and_the_provider(run_script, tmp_path):
    """With OTEL_SDK_DISABLED=true a stage writes its files, and the process's tracer provider is not ours."""
    source = """
        from opentelemetry import trace
        from otel_stageio import StageIO
        with StageIO("asr", "job", stage_number=6):
            print(type(trace.get_tracer_provider()).__module__.partition(".")[0])
    """
    assert run_script(source).stdout == "otel_stageio\n"
    assert run_script(source, env={"OTEL_SDK_DISABLED": "true"}).stdout == "opentelemetry\n"
    assert (tmp_path / "job" / "06_asr" / ".stageio" / "002" / "traces.jsonl").exists()


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({GENERAL: "http://h:4317"}, HINT),
        ({LOGS: "http://h:4317", TRACES: "http://h:4318/v1/traces"}, HINT),
        ({GENERAL: "http://h:4317", PROTOCOL: "grpc"}, ""),
        ({GENERAL: "http://h:4317", PROTOCOL: "http/protobuf"}, ""),
        ({GENERAL: "http://h:4317", "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp_proto_http"}, ""),
        ({GENERAL: "http://h:4318"}, ""),
    ],
)
def test_the_port_of_grpc_is_hinted_at(load, environ, hint):
    """Port 4317 where no protocol is told for a signal that is sent there: one hint, which is no problem."""
    loaded = load(**environ)
    assert (loaded.export.hint, loaded.problems) == (hint, ())


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("localhost:4318", "localhost:4318"),
        ("ftp://user:secret@host", "host"),
        ("user:secret@host:4318", "host:4318"),
        ("http://", "http://"),
        ("http:///v1/traces", "http:///v1/traces"),
        ("http://host:port", "http://host:port"),
        ("http://host:99999", "http://host:99999"),
        ("http://[::1", "http://[::1"),
        ("http://two hosts?key=secret", "http://two hosts"),
        ("x" * 1000, "x" * 100),
    ],
)
def test_an_endpoint_that_is_no_url_becomes_a_problem(load, endpoint, shown):
    """It costs one sentence without credentials, and nothing is sent there."""
    loaded = load(**{GENERAL: endpoint})
    off = f"{GENERAL}={shown!r} is no URL with http:// or https:// and a host"
    assert loaded.export == Export(traces=Signal(off=off), logs=Signal(off=off))
    assert loaded.problems == (f"{off}; what it is for is not sent.",)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("localhost:4317", ("localhost", 4317)),
        ("collector", ("collector", 443)),
        ("[::1]:4317", ("::1", 4317)),
        ("http://h:4317/ignored", ("h", 4317)),
        ("http://h", ("h", 443)),
        ("https://h", ("h", 443)),
        ("unix:///run/otel.sock", ("", 0)),
        ("dns:///h:4317", ("", 0)),
    ],
)
def test_grpc_takes_what_its_exporters_take(load, endpoint, address):
    """Host and port without a scheme, URLs and gRPC's own names are endpoints as they are, for both signals."""
    loaded = load(**{GENERAL: endpoint, PROTOCOL: "grpc"})
    assert loaded.problems == ()
    for signal in (loaded.export.traces, loaded.export.logs):
        assert (signal.endpoint, signal.host, signal.port, signal.off) == (endpoint, *address, "")


@pytest.mark.parametrize("endpoint", ["h:4317/path", "ftp://h:1", "h:port", "two hosts", "http://:4317"])
def test_what_grpc_cannot_take_becomes_a_problem(load, endpoint):
    """Neither host and port nor a URL: not sent."""
    loaded = load(**{GENERAL: endpoint, PROTOCOL: "grpc"})
    assert (loaded.export.logs.endpoint, len(loaded.problems)) == (None, 1)


def test_a_given_endpoint_stands_for_all(load):
    """An endpoint by argument goes before all of the environment's; the rest of the environment holds."""
    told = {GENERAL: "http://a", TRACES: "http://b", TIMEOUT: "3", "OTEL_LOGS_EXPORTER": "none"}
    export = load(endpoint=URL, **told).export
    assert export.traces == Signal(endpoint=f"{URL}/v1/traces", timeout=3.0, host="collector", port=4318, off="")
    assert export.logs == Signal(off="OTEL_LOGS_EXPORTER=none")
    assert load(endpoint="x@nonsense").problems == (
        "the endpoint='nonsense' is no URL with http:// or https:// and a host; what it is for is not sent.",
    )


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        *(("0", 0), ("notset", 0), (" Info ", 9), ("WARN", 13), ("warning", 13)),
        *(("30", 13), ("25", 10), ("1", 1), ("CRITICAL", 21)),
    ],
)
def test_levels_of_what_is_sent(load, level, severity):
    """STAGEIO_SHIP_LEVEL is a level's name in any case, or its number, and becomes a severity number."""
    loaded = load(STAGEIO_SHIP_LEVEL=level)
    assert (loaded.export, loaded.problems) == (Export(ship_level=severity), ())


@pytest.mark.parametrize("level", ["LOUD", "-1", "1.5", "²"])
def test_a_level_that_is_none_becomes_a_problem(load, level):
    """A level that is not known costs one sentence, and everything is sent."""
    loaded = load(STAGEIO_SHIP_LEVEL=level)
    assert loaded.export.ship_level == 0
    levels = "DEBUG, INFO, WARNING, ERROR, CRITICAL or 20"
    assert loaded.problems == (f"STAGEIO_SHIP_LEVEL={level!r} is no level such as {levels}; everything is sent.",)


def test_the_file_only_path_loads_nothing_of_it():
    """Without an endpoint no module of sending, proxies, patterns and resources is loaded; with one no exporter is."""
    code = (
        "import sys; from otel_stageio import settings; settings.load(environ={%s}, main_file=None);"
        "settings.proxy_for('http://h') if %r else None;"
        "few = ('otel_stageio.settings.', 'urllib.', 'opentelemetry');"
        "print(sorted(name for name in sys.modules if name.startswith(few)))"
    )
    for environ, expected in (
        ("'PATH': '/bin'", ["otel_stageio.settings.project", "otel_stageio.settings.variables"]),
        (
            f"{GENERAL!r}: {URL!r}",
            [
                *(f"otel_stageio.settings.{name}" for name in ("export", "project", "proxies", "variables")),
                "urllib.parse",
            ],
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code % (environ, GENERAL in environ)],
            cwd=ROOT,
            env={"PATH": "/bin"},
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout == f"{expected}\n"
