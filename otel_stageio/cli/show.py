"""``stageio show``: how a job stands at a glance, its stages, its items and what did not succeed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

import click

from otel_stageio.cli import output

if TYPE_CHECKING:
    from otel_stageio.read.job import Job

_HELP: Final = """\
Show how a job stands: each stage with its state, how many of its items came to what, and what did not succeed and why;
and what `stageio run` ran last.

JOB is a job folder; by default STAGEIO_JOB_DIR, else OUTPUT_DIR, else out. Nothing is written, and stages that run are
not disturbed.

\b
Examples:
  stageio show out/
  stageio show out/ --attempts
  stageio show out/ --json | jq .status
"""
_CODES: Final = """\
\b
Exit codes:
  0  the job could be read, whatever became of its stages
  1  some of its stages could not be read: which and why is on stderr
  2  no job that can be read
"""
_STAGE: Final = ("Stage", "Status", "Items", "Run", "Attempt", "Seconds")
_FAILED: Final = ("Stage or item", "Status", "Run", "Attempt", "Seconds", "Reason")
_PIPELINE: Final = ("Pipeline", "Status", "Run", "Seconds", "Reason")
_ATTEMPT: Final = ("Stage or item", "Attempt", "Run", "Status", "Started (UTC)", "Seconds", "Reason")
#: Characters of a pipeline's command.
_COMMAND: Final = 60
#: Of so many that did not succeed the reason is read; the rest is listed without.
_MOST: Final = 200


@click.command(name="show", help=_HELP, epilog=_CODES, short_help="Show how a job stands, stage by stage.")
@click.argument("folder", metavar="[JOB]", required=False, type=click.Path())
@click.option("--attempts", "every", is_flag=True, help="Every attempt of every stage and item, every pipeline, too.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def command(folder: str | None, *, every: bool, as_json: bool) -> int:
    """See above."""
    from otel_stageio import settings
    from otel_stageio.read.job import open_job

    try:
        job = open_job(folder or settings.load().job_dir or "out")
        known = job.overview()
        pipelines = _pipelines(job.pipelines(), every=every)
        unread = job.unreadable({each["folder"] for each in known["stages"]} if known is not None else ())
    except OSError as why:
        output.cannot_begin(f"the job cannot be read: {why}")
    for line in unread:
        output.trouble(line)
    code = output.INCOMPLETE if unread else output.DONE
    troubled = _troubled(job, known) if known is not None else []
    if as_json:
        document = {"job": str(job.path), **(known or {"job_id": job.job_id, "stages": []})}
        document.update(pipelines=pipelines, not_succeeded=troubled)
        output.document({**document, **({"attempts": job.attempts()} if every else {})})
        return code
    if known is None:
        output.say(f"{job.path} (job {job.job_id}): no stage has begun")
    else:
        name = f" ({known['run_name']})" if "run_name" in known else ""
        output.say(f"{job.path} (job {job.job_id}): run {known['run']}{name}, {known['status']}")
    if pipelines:
        output.table(_PIPELINE, [_pipeline(each) for each in pipelines])
    if known is None:
        return code
    output.table(_STAGE, [_stage(each) for each in known["stages"]])
    if troubled:
        output.table(_FAILED, [_row(each, ("status", "run", "attempt")) for each in troubled])
    if every:
        output.table(_ATTEMPT, [_row(each, ("attempt", "run", "status"), began=True) for each in job.attempts()])
    return code


def _pipelines(known: list[dict[str, Any]], *, every: bool) -> list[dict[str, Any]]:
    """The newest `stageio run` of the job, and those before it that still run."""
    return known if every else [*(of for of in known[:-1] if of["status"] == "running"), *known[-1:]]


def _pipeline(of: dict[str, Any]) -> tuple[object, ...]:
    command = of["command"] if isinstance(of["command"], str) else shlex.join(of["command"])
    shown = f"{command[:_COMMAND]}…" if len(command) > _COMMAND else command
    return shown, of["status"], of["run"], _seconds(of), of["reason"] or ""


def _stage(of: dict[str, Any]) -> tuple[object, ...]:
    counts = of.get("items", {})
    words = [f"{n:,} {status}" for status, n in counts.items() if status not in ("total", "not_succeeded")]
    return of["folder"], of["status"], ", ".join(words), of["run"], of["attempt"] or "", _seconds(of)


def _troubled(job: Job, known: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages and items that neither succeeded nor were skipped, with their reasons."""
    found: list[dict[str, Any]] = []
    for stage in known["stages"]:
        of_stage = _own(job, stage) if "items" in stage else [{**stage, "item": None}]
        for each in [*of_stage, *stage.get("items", {}).get("not_succeeded", ())]:
            if each["item"] is None and each["status"] in ("success", "skipped", "running"):
                continue
            row = {key: each[key] for key in ("folder", "item", "status", "run", "attempt", "duration_seconds")}
            reason = job.manifest(stage["folder"], each["item"]).get("reason") if len(found) < _MOST else None
            found.append({"stage": stage["stage"], **row, "reason": reason})
    return found


def _own(job: Job, stage: dict[str, Any]) -> list[dict[str, Any]]:
    """What a stage with items came to without an item, in the same run."""
    if stage["attempt"] is None:
        return []
    own = {**job.manifest(stage["folder"]), "folder": stage["folder"], "item": None}
    return [own] if own["run"] == stage["run"] else []


def _row(of: dict[str, Any], middle: tuple[str, ...], *, began: bool = False) -> tuple[object, ...]:
    at = [str(of["started_at"] or "").partition(".")[0].removesuffix("Z")] if began else []
    return (of["folder"], *(of[key] for key in middle), *at, _seconds(of), of["reason"] or "")


def _seconds(of: dict[str, Any]) -> object:
    return "" if of["duration_seconds"] is None else float(of["duration_seconds"])
