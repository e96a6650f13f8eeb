"""Passes of `stageio run` without its command: one begins, and one is killed at the moment that a test asks for."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.job import identity, pipelines, runs
from tests.processes import killed_after

if TYPE_CHECKING:
    from otel_stageio.job.layout import JobLayout
    from otel_stageio.model import Resource


def begin(job: JobLayout, name: str | None = None, parent: runs.Ids | None = None) -> pipelines.Pipeline:
    """Begin a pipeline."""

    def resource(run: int) -> Resource:
        return identity.resource(service="speech", instance="1", job="f00d", run=run)

    return pipelines.begin(job, name=name, parent=parent, resource=resource, attributes={"a": 1})


def killed(job: JobLayout, at: str, *, name: str | None = None) -> None:
    """Kill a process that runs a pipeline: at its beginning, while it runs, or when its span is written."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        if at == "no run":
            runs.join = die
        pipeline = begin(job, name)
        if at == "span written":
            pipelines.files.remove = die
            pipeline.end({names.STATUS: names.SUCCESS})

    killed_after(work)
