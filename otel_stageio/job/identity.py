"""Which job a folder is: job.json, and the resource that every record of the job carries."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.errors import JobFormatError
from otel_stageio.job import copies
from otel_stageio.journal import files
from otel_stageio.model import Resource, Scope
from otel_stageio.views.moments import rfc3339

if TYPE_CHECKING:
    from otel_stageio.job.layout import JobLayout
    from otel_stageio.model import Attributes

#: What names the writer of a line, and with its version the journal's format.
SCOPE = Scope(name=names.SCOPE, version=names.FORMAT)


def read_job_id(job: JobLayout) -> str | None:
    """The id of the job; None where the folder is no job yet, or its job.json says nothing.

    Raises JobFormatError where a newer major version wrote the folder.
    """
    try:
        document = json.loads(files.small(str(job.job_json)))
        check_format(str(document["format"]), str(job.root))
        return str(document["job_id"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as why:
        if isinstance(why, JobFormatError):
            raise
        return None


def job_id(job: JobLayout) -> str:
    """The id of the job, given to it now where it has none or is a copy. Processes that ask at once get the same one.

    Raises JobFormatError as `read_job_id`, OSError where nothing can be written.
    """
    # The place before the id: whoever gives a copy its id notes the place afterwards.
    at_home = copies.is_known(job)
    known = read_job_id(job)
    if known is None:
        known = _begin(job)
    elif not at_home and copies.is_copy(job, known):
        known = copies.give_id(job, known)
    elif not at_home:
        known = read_job_id(job) or known  # somebody may have given it, and then noted the place
    if not at_home:
        copies.note(job)
    return known


def _begin(job: JobLayout) -> str:
    made = {"format": names.FORMAT, "job_id": os.urandom(8).hex(), "created_at": rfc3339(time.time_ns())}
    data = f"{json.dumps(made, indent=2)}\n".encode()
    if not files.claim_file(str(job.job_json), data):
        known = read_job_id(job)
        if known is not None:
            return known
        files.replace(str(job.job_json), data)  # it is there and says nothing: better a new id than none
    return str(made["job_id"])


def check_format(version: str, where: str) -> None:
    """Raise JobFormatError where `version` has a newer major than this program reads."""
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) > int(names.FORMAT.partition(".")[0]):
        raise JobFormatError(
            f"{where} was written in format {version}, and this otel-stageio reads up to {names.FORMAT}: "
            f"upgrade otel-stageio (pip install -U otel-stageio), or choose another job folder"
        )


def resource(*, service: str, instance: str, job: str, run: int, attributes: Attributes | None = None) -> Resource:
    """What every line of a writer repeats, and therefore small: everything else is in the started event.

    `attributes` are those that the writer's surroundings add, which may name the instance otherwise.
    """
    return Resource(
        attributes={
            names.SERVICE_NAME: service,
            names.SERVICE_INSTANCE_ID: instance,
            names.JOB_ID: job,
            names.RUN: run,
            names.TELEMETRY_SDK_NAME: names.SCOPE,
            **(attributes or {}),
        }
    )
