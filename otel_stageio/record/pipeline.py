"""The pipeline as `stageio run` records it: a run around a command, and what the command's stages are told."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from otel_stageio import conventions as names
from otel_stageio import settings as surroundings
from otel_stageio.errors import guard
from otel_stageio.job import host, identity, links, pipelines, recovery, registry
from otel_stageio.job.layout import JobLayout, absolute, all_stages
from otel_stageio.journal import files
from otel_stageio.record import sending
from otel_stageio.record.opening import instance
from otel_stageio.record.otel import carrier, entry
from otel_stageio.record.paths import path_text
from otel_stageio.record.secrets.redaction import Redactor
from otel_stageio.record.values import clean_text
from otel_stageio.views.span import scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_stageio.job.pipelines import Pipeline
    from otel_stageio.model import Resource, Value
    from otel_stageio.record.outcome import Outcome


class PipelineRun(NamedTuple):
    """A pipeline under way. `pipeline` is None where nothing is written. None of the methods raises."""

    job: JobLayout
    pipeline: Pipeline | None
    redactor: Redactor
    settings: surroundings.Settings
    report: Callable[[str], None]

    def environ(self) -> dict[str, str]:
        """The environment of the command: a stage that it starts is in this job, run and trace."""
        made = surroundings.environment_at_start()
        made["STAGEIO_JOB_DIR"] = str(self.job.root)
        if self.pipeline is not None:
            made["STAGEIO_RUN"] = self.pipeline.run.name or self.pipeline.run.trace_id
            made["TRACEPARENT"] = self.pipeline.traceparent
            made.pop("TRACESTATE", None)
            if self.pipeline.trace_state:
                made["TRACESTATE"] = self.pipeline.trace_state
        return made

    def beat(self) -> None:
        """Show a sign of life."""
        if self.pipeline is not None:
            with contextlib.suppress(OSError):
                self.pipeline.touch()

    def end(self, pid: int, outcome: Outcome) -> None:
        """The command, process `pid`, has ended: write the span, and have it delivered where an endpoint is set.

        Where a signal killed the command and it is itself a stage, that stage's end is written, too.
        """
        pipeline = self.pipeline
        if pipeline is None:
            return
        with guard(lambda why: self.report(f"cannot write the pipeline's end: {type(why).__name__}: {why}")):
            if outcome.signal:
                _write_end_of(self.job, pid, outcome)
            started: dict[str, Value] = {names.PROCESS_PID: pid} if pid else {}
            pipeline.end(self.redactor.attributes({**started, **outcome.attributes()}))
            with guard(lambda why: self.report(f"cannot write the job manifest: {type(why).__name__}: {why}")):
                registry.update(self.job)
            if self.settings.mode == "auto":
                sending.send_run(self.job, pipeline.run.run, self.settings.export, self.report)


def begin(folder: str | None, name: str | None, command: Sequence[str], report: Callable[[str], None]) -> PipelineRun:
    """Begin a run for `command` in the job `folder`, else the one that the environment names.

    Without a `name` it is STAGEIO_RUN's. Where nothing can be written, `report` hears why, and the command runs all the
    same. Raises JobFormatError where a newer version wrote the folder, OutputPathError where a link leads out of it.
    """
    settings = surroundings.load()
    environ = surroundings.environment()
    redactor = Redactor(settings.redact, environ)
    job = JobLayout(Path(absolute(path_text(folder or settings.job_dir or "out", "job folder"))))
    for problem in settings.problems:
        report(problem)
    begun = None
    if settings.mode != "off":
        with guard(lambda why: report(f"cannot write the job folder {job.root}: {why}; the run is not recorded")):
            begun = _begin(job, surroundings.run_name(name) or settings.run, command, settings, redactor)
    return PipelineRun(job, begun, redactor, settings, report)


def _begin(
    job: JobLayout,
    name: str | None,
    command: Sequence[str],
    settings: surroundings.Settings,
    redactor: Redactor,
) -> Pipeline:
    identity.read_job_id(job)  # before the first write: a folder of a newer format is left as it is
    links.refuse(job.root, job.inner, job.runs_dir, job.pipelines_dir, job.logs_dir)
    files.make_folders(str(job.logs_dir))
    job_id = identity.job_id(job)
    pipelines.write_ends(job)
    parent = carrier.incoming(surroundings.environment()).parent
    shown: Value = list(redactor.command([clean_text(one) for one in command]))

    def resource(run: int) -> Resource:
        return identity.resource(
            service=redactor.text(settings.service_name),
            instance=instance(),
            job=job_id,
            run=run,
            attributes=redactor.attributes(dict(settings.resource_attributes)),
        )

    return pipelines.begin(
        job,
        name=redactor.text(name) if name else None,
        parent=entry.ids_of(parent) if parent is not None else None,
        resource=resource,
        attributes={names.HOST_NAME: host.name(), names.PROCESS_COMMAND_ARGS: scalar(shown)},
    )


def _write_end_of(job: JobLayout, pid: int, outcome: Outcome) -> None:
    """Write the ends of the stages that process `pid` had open when the signal killed it."""
    for stage in all_stages(job):
        if recovery.write_ends(stage, killed=(pid, outcome.signal)):
            registry.update(job, stage.place)
