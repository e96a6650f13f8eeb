"""A Collector behind TLS that asks its clients for a certificate, and what the exporters read for themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_stageio.job.layout import JobLayout
from otel_stageio.ship import cursor
from otel_stageio.ship.sources import sources
from tests.backends.programs import Collector
from tests.backends.said import by_key, on_disk, sent
from tests.backends.telling import PROTOCOLS, pushed
from tests.ship.test_wires import issued

if TYPE_CHECKING:
    from tests.backends.plugin import StartBackend
    from tests.conftest import RunScript
    from tests.ship.wires import Certificates

STAGE = """
from otel_stageio import StageIO
with StageIO("asr", "out") as io:
    io.get_stage_logger().info("hello")
"""


class Secured(Collector):
    """Takes what comes from clients with a certificate of its own signer."""

    def __init__(self, folder: Path, of: Certificates) -> None:
        """Have it present this certificate."""
        super().__init__(folder)
        self.otlp_http = self.otlp_http.replace("http:", "https:")
        self.otlp_grpc = self.otlp_grpc.replace("http:", "https:")
        path = folder / "config.json"
        config = json.loads(path.read_bytes())
        for protocol in config["receivers"]["otlp"]["protocols"].values():
            protocol["tls"] = {"cert_file": str(of.chain), "key_file": str(of.key), "client_ca_file": str(of.signer)}
        path.write_text(json.dumps(config))


def trusting(of: Certificates, signer: Certificates) -> dict[str, str]:
    """The variables of a client with this certificate that believes this signer."""
    return {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(signer.signer),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(of.chain),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(of.key),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wrong_certificate_loses_nothing(
    start_backend: StartBackend,
    run_script: RunScript,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
) -> None:
    """Ours or theirs: the stage ends well, with one line; all waits, nothing is refused, and the right one delivers."""
    right, wrong = issued(tmp_path / "right"), issued(tmp_path / "wrong")
    collector = start_backend(Secured(tmp_path, right))
    url = collector.otlp_grpc if protocol == "grpc" else collector.otlp_http
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "STAGEIO_CONSOLE": "off"}
    job = JobLayout(tmp_path / "out")
    for of, signer in ((right, wrong), (wrong, right)):
        done = run_script(STAGE, env={**variables, **trusting(of, signer)})
        assert (done.returncode, done.stderr.count("\n")) == (0, 1)
        assert f"records wait for {url.replace('https', 'grpc') if protocol == 'grpc' else url}" in done.stderr
        assert sent(collector, job) == []
    for source in sources(job):
        assert [(of.files, of.not_taken) for of in cursor.load(source.folder).values()] == [({}, {})]
    for name, of_it in trusting(right, right).items():
        monkeypatch.setenv(name, of_it)
    assert pushed(job, url, protocol).complete
    assert by_key(sent(collector, job)) == on_disk(job)
    done = run_script(STAGE, env={**variables, **trusting(right, right)})
    assert (done.returncode, done.stderr) == (0, "")
    assert by_key(sent(collector, job)) == on_disk(job)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_compressed_with_headers_is_the_same(
    story: JobLayout, collector: Collector, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """What arrives compressed and with headers is what the journal says, and is a fifth of the bytes at most."""
    url = collector.otlp_grpc if protocol == "grpc" else collector.otlp_http
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=speech,x-more=a%20b")
    took = []
    for compression in ("none", "gzip"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        for shipped in story.root.rglob(cursor.SHIPPED):
            shipped.unlink()
        before = bytes_read(collector)
        assert pushed(story, url, protocol).complete
        took.append(bytes_read(collector) - before)
    plain, compressed = took
    assert plain > 5 * compressed > 0
    assert by_key(sent(collector, story)) == on_disk(story)


def bytes_read(collector: Collector) -> int:
    """What the process has read so far, of files and from connections."""
    assert collector.process is not None
    said = Path(f"/proc/{collector.process.pid}/io").read_text(encoding="ascii")
    return int(said.split("rchar: ")[1].split()[0])
