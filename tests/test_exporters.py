"""otel_stageio/exporters.py, in programs that know nothing else of this package."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult

from otel_stageio import open_job
from otel_stageio.exporters import JobFolderLogExporter, JobFolderSpanExporter
from otel_stageio.rebuild.jobs import rebuild
from otel_stageio.views import logline

HOST = Path(__file__).parent / "rebuild" / "host.py"
JOB = Resource({"stageio.job.id": "job-1"})


def views(job: Path) -> dict[str, bytes]:
    """The views of a job by their paths."""
    found = [*job.rglob("manifest.json"), *job.rglob("*.log")]
    return {str(path.relative_to(job)): path.read_bytes() for path in found}


def stage(provider: TracerProvider, name: str, number: int) -> None:
    """Make a stage that is a span."""
    about = {"stageio.stage.name": name, "stageio.stage.number": number}
    provider.get_tracer("test").start_span(name, attributes=about).end()


@pytest.mark.parametrize("when", ["at once", "late"])
def test_a_program_with_the_sdk_alone_gets_the_job_folder(run_script, tmp_path, when):
    """Stages that are spans have stage.log, manifest.json and a job manifest, logs coming before or after the spans."""
    done = run_script(HOST, tmp_path / "out", tmp_path / "sent.jsonl", when)
    assert done.returncode == 0, done.stderr
    job = open_job(tmp_path / "out")
    assert job.job_id == "job-1"
    told = [(row["folder"], row["attempt"], row["status"], row["reason"]) for row in job.attempts()]
    assert told == [
        ("01_ingest", 1, "success", None),
        ("02_asr", 1, "failed", "ValueError: no audio"),
        ("02_asr", 2, "failed", "ValueError: no audio"),
        ("03_mix", 1, "skipped", "nothing to do"),
    ]
    ingest = json.loads((tmp_path / "out" / "01_ingest" / "manifest.json").read_text())
    assert ingest["config"] == {"lang": "de"}
    assert ingest["metrics"] == {"wer": {"value": 0.25, "unit": "1"}}
    assert [of["path"] for of in ingest["outputs"]] == ["01_ingest/a.txt"]
    assert [(of["name"], of["status"], of["attributes"]) for of in ingest["steps"]] == [
        ("decode", "success", {"beams": 4})
    ]
    with (tmp_path / "out" / "01_ingest" / "stage.log").open(encoding="utf-8", newline="\n") as file:
        shown = [(of.stage, of.level, of.message) for of in logline.parse(file)]
    assert shown == [
        ("ingest", "INFO", "hällo 1"),
        ("ingest", "DEBUG", "quiet"),
        ("ingest", "WARNING", "within\nit"),
    ]
    assert "outside of any stage" not in "".join(path.read_text() for path in (tmp_path / "out").rglob("*.log"))


def test_the_same_comes_of_what_a_collector_kept(run_script, tmp_path):
    """`rebuild` makes of the program's OTLP, byte for byte, what its exporters wrote."""
    assert run_script(HOST, tmp_path / "out", tmp_path / "sent.jsonl", "at once").returncode == 0
    made = rebuild([tmp_path / "sent.jsonl"], tmp_path / "again")
    assert made.missing == ("left out, since they belong to no stage that is there: 1 log record",)
    assert views(tmp_path / "again") == views(tmp_path / "out")


def test_stages_of_several_processes_share_a_folder(run_script, tmp_path):
    """A second process goes on in the folder with the next run and attempts, and leaves what is there."""
    for _ in range(2):
        assert run_script(HOST, tmp_path / "out", tmp_path / "sent.jsonl", "at once").returncode == 0
    told = [(row["folder"], row["attempt"], row["run"]) for row in open_job(tmp_path / "out").attempts()]
    assert told == [
        *(("01_ingest", 1, 1), ("01_ingest", 2, 2)),
        *(("02_asr", 1, 1), ("02_asr", 2, 1), ("02_asr", 3, 2), ("02_asr", 4, 2)),
        *(("03_mix", 1, 1), ("03_mix", 2, 2)),
    ]
    made = rebuild([tmp_path / "sent.jsonl"], tmp_path / "again")
    assert made.attempts == 8
    assert views(tmp_path / "again") == views(tmp_path / "out")


def test_a_job_without_an_id_gets_that_of_its_folder(tmp_path):
    """Spans that name no job are of the folder's, which gets an id with the first stage."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(JobFolderSpanExporter(tmp_path / "out")))
    stage(provider, "asr", 6)
    provider.shutdown()
    (row,) = open_job(tmp_path / "out").stages
    assert (row["folder"], row["status"]) == ("06_asr", "success")


def test_another_job_is_refused(tmp_path):
    """Spans of a second job are not mixed into the folder: that export fails and raises nothing."""
    results = []
    exporter = JobFolderSpanExporter(tmp_path / "out")

    class Heard(SimpleSpanProcessor):
        def on_end(self, span):
            results.append(exporter.export([span]))

    for job in ("job-1", "job-2"):
        provider = TracerProvider(resource=Resource({"stageio.job.id": job}))
        provider.add_span_processor(Heard(exporter))
        stage(provider, "asr", 6)
    assert results == [SpanExportResult.SUCCESS, SpanExportResult.FAILURE]
    assert len(open_job(tmp_path / "out").attempts()) == 1


def test_nothing_is_raised_where_the_folder_cannot_be_written(tmp_path, caplog):
    """Without a place to write `export` and `force_flush` say that they failed, and why is logged."""
    (tmp_path / "file").write_text("")
    exporter = JobFolderSpanExporter(tmp_path / "file" / "out")
    provider = TracerProvider(resource=JOB)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with caplog.at_level(logging.WARNING):
        stage(provider, "asr", 6)
    assert "was not written: NotADirectoryError" in caplog.text
    assert exporter.force_flush() is False


def test_after_shutdown_nothing_is_taken(tmp_path):
    """A shut exporter says FAILURE and False; shutting it twice is fine."""
    for exporter in (JobFolderSpanExporter(tmp_path / "out"), JobFolderLogExporter(tmp_path / "out")):
        exporter.shutdown()
        exporter.shutdown()
        assert exporter.export([]).name == "FAILURE"
        assert exporter.force_flush() is False
    assert not (tmp_path / "out").exists()


def test_hostile_names_leave_the_folder_alone(tmp_path):
    """A stage whose name is a path, or whose number is none, makes no folder anywhere."""
    provider = TracerProvider(resource=JOB)
    provider.add_span_processor(SimpleSpanProcessor(JobFolderSpanExporter(tmp_path / "a" / "out")))
    stage(provider, "../../evil", 6)
    stage(provider, "asr", -1)
    assert list(tmp_path.iterdir()) == []


def test_many_threads_end_stages_at_once(tmp_path):
    """Stages that end in eight threads at once are all there, each with a folder of its own."""
    provider = TracerProvider(resource=JOB)
    provider.add_span_processor(SimpleSpanProcessor(JobFolderSpanExporter(tmp_path / "out")))
    threads = [threading.Thread(target=stage, args=(provider, f"stage{n}", n)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [row["stage"] for row in open_job(tmp_path / "out").stages] == [f"stage{n}" for n in range(8)]
