"""Sending a journal of log records, against the official exporter fed from memory.

Ours: `ship.push` of a stage's logs.jsonl from the disk, cursor and all, over OTLP/HTTP. Baseline: the same number of
records of the same size in memory as the SDK makes them, given to the official exporter in batches of the same number
of records. Both send to the same Collector, which writes to /dev/null; where it is not built (`make backends`), to a
server of this process's own that reads and acknowledges. The memory is what the process has grown by at its highest,
after a journal of ten records was sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor

from benchmarks.exit_delay import backend
from benchmarks.measuring import Result, Steps, alternate, compared, ratios, timed
from otel_stageio import StageIO, settings
from otel_stageio.job.layout import LOG_RECORDS, JobLayout, StageLayout
from otel_stageio.ship import ways
from otel_stageio.ship.batches import MOST_BYTES
from otel_stageio.ship.cursor import SHIPPED
from otel_stageio.ship.push import push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.measuring import Size, Tell
    from otel_stageio.ship.push import Pushed

_MESSAGE: Final = "frame %d of ep042.wav decoded in 0.123 s, score -1234.5"
_MB: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Amount:
    """How many records are sent, how often, and how many MB the journal has that memory is measured with."""

    records: int
    rounds: int
    large: int


AMOUNTS: Final = {"tiny": Amount(200, 1, 1), "small": Amount(20_000, 5, 100), "full": Amount(50_000, 7, 1_000)}


def run(size: Size, folder: str, tell: Tell) -> list[Result]:
    """Measure the row, with the journals below `folder`."""
    amount = AMOUNTS[size]
    steps = Steps(tell, amount.rounds + 2)
    with _collector() as (endpoint, name):
        job, path = _journal(Path(folder) / "job", amount.records)
        per_batch = max(int(MOST_BYTES / (path.stat().st_size / amount.records)), 1)
        mine, theirs = alternate(
            _pushing(job, endpoint),
            _exporting(_in_memory(amount.records), per_batch, endpoint),
            rounds=amount.rounds,
            steps=steps,
            what="journals",
        )
        grown = _growth(job, path, amount.large * _MB, endpoint)
        steps.step("memory")
    rate = amount.records / sorted(mine)[len(mine) // 2]
    return [
        Result(
            what="Sending log records from the journal",
            against="the official exporter, from memory",
            values=ratios(mine, theirs),
            detail=f"{compared(mine, theirs, amount.records)} a record, {rate:,.0f} a second; to {name}",
        ),
        Result(
            what=f"Memory while a journal of {amount.large} MB is sent",
            against="the same process after ten records",
            values=(grown / 1000,),
            unit="KB",
            limit=100_000.0,
            detail=f"{grown / _MB:.0f} MB at most; a batch has 2 MiB of lines",
        ),
    ]


def _journal(root: Path, records: int) -> tuple[JobLayout, Path]:
    io = StageIO("asr", root, stage_number=1, mode="file")
    logger = io.get_stage_logger()
    for number in range(records):
        logger.debug(_MESSAGE, number)
    io.finalize()
    job = JobLayout(root)
    return job, StageLayout(job, 1, "asr").attempt_dir(1) / LOG_RECORDS


def _pushing(job: JobLayout, endpoint: str) -> Callable[[], float]:
    """Measure a push of the whole job to a destination that has nothing of it."""

    def measure() -> float:
        for shipped in job.root.rglob(SHIPPED):
            shipped.unlink()
        made = ways.ways(settings.load(environ={"OTEL_TRACES_EXPORTER": "none"}, endpoint=endpoint).export)
        done: list[Pushed] = []
        seconds = timed(lambda: done.append(push(job, made)))
        for way in made.values():
            way.close()
        if not done[0].complete or done[0].total.passed != done[0].delivered:
            raise RuntimeError(f"not all was delivered: {done[0]}")
        return seconds

    return measure


class _Kept(LogRecordExporter):
    """Keeps what the SDK made."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        self.records += batch
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to give back."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Nothing waits."""
        return timeout_millis >= 0


def _in_memory(records: int) -> list[Any]:
    kept = _Kept()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logger = provider.get_logger("otel_stageio", "1.0")
    for number in range(records):
        logger.emit(
            LogRecord(
                timestamp=1_795_400_000_000_000_000 + number,
                trace_id=0xA1,
                span_id=0xB2,
                severity_number=SeverityNumber.DEBUG,
                severity_text="DEBUG",
                body=_MESSAGE % number,
                attributes={
                    "code.file.path": "/work/asr/recognise.py",
                    "code.line.number": 42,
                    "code.function.name": "main",
                    "log.record.uid": f"0123456789abcdef-{number}",
                },
            )
        )
    return kept.records


def _exporting(records: list[Any], per_batch: int, endpoint: str) -> Callable[[], float]:
    """Measure sending them in batches of so many."""

    def send(exporter: OTLPLogExporter) -> None:
        for start in range(0, len(records), per_batch):
            exporter.export(records[start : start + per_batch])

    def measure() -> float:
        exporter = OTLPLogExporter(endpoint=f"{endpoint}/v1/logs")
        seconds = timed(partial(send, exporter))
        exporter.shutdown()  # type: ignore[no-untyped-call] # theirs
        return seconds

    return measure


def _growth(job: JobLayout, path: Path, size: int, endpoint: str) -> float:
    """Bytes by which a process grows that sends a journal of `size` bytes, after it has sent a small one."""
    lines = path.read_bytes()
    with open(path, "ab") as file:
        while file.tell() < size:
            file.write(lines)
    script = f"""
from benchmarks.delivery import large
large({str(job.root)!r}, {endpoint!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    return float(done.stdout)


def large(root: str, endpoint: str) -> None:
    """Push the job and print by how many bytes the process has grown meanwhile; in a process of its own."""
    job = JobLayout(Path(root))
    with tempfile.TemporaryDirectory() as folder:
        _pushing(_journal(Path(folder) / "job", 10)[0], endpoint)()
    before = _highest()
    _pushing(job, endpoint)()
    sys.stdout.write(f"{_highest() - before}\n")


def _highest() -> int:
    """The most bytes that this process has held so far; getrusage would count those of the one it came from."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def _collector() -> Iterator[tuple[str, str]]:
    """A Collector that throws away what it gets, and its name; a server of our own where it is not built."""
    from tests.backends import pins, programs

    if not pins.are_built(programs.FOLDER):
        with backend(0.0) as endpoint:
            yield endpoint, "a server of the benchmark's own, since the Collector is not built"
        return
    with tempfile.TemporaryDirectory() as folder:
        collector = programs.Collector(Path(folder))
        config = Path(folder) / "config.json"
        config.write_text(config.read_text(encoding="utf-8").replace(json.dumps(str(collector.output)), '"/dev/null"'))
        collector.start()
        try:
            yield collector.otlp_http, "the Collector"
        finally:
            collector.stop()
