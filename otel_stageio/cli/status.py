"""``stageio status``: how the stages of a job stand, and what of their records is where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from otel_stageio.cli import endpoints, jobs, output

if TYPE_CHECKING:
    from otel_stageio.read.job import Job
    from otel_stageio.settings import Export
    from otel_stageio.ship.waiting import Standing

_HELP: Final = """\
Show the stages of jobs, every attempt with its status, and what of their records is delivered where and what waits.

DIR is a job folder, or one that holds jobs at any depth. Nothing is written, and stages that run are not disturbed.

\b
Examples:
  stageio status out/
  stageio status /data/jobs --json
"""
_CODES: Final = """\
\b
Exit codes:
  0  the jobs could be read, whatever became of their stages
  1  some of them could not be read; which and why is said
  2  no job that can be read
"""
#: Seconds after which a sign of life is missed.
_BEATS: Final = 60
_ATTEMPT: Final = ("Stage", "Attempt", "Status", "Started (UTC)", "Seconds", "Warnings", "Errors", "Reason")
_DELIVERY: Final = ("Signal", "Destination", "Delivered", "Waiting", "Refused", "")


@click.command(name="status", help=_HELP, epilog=_CODES, short_help="Show stages, and what is delivered where.")
@jobs.argument
@endpoints.option
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def command(folders: tuple[str, ...], endpoint: str | None, *, as_json: bool) -> int:
    """See above."""
    from otel_stageio.cli import deliveries

    export = endpoints.configured(endpoint)
    found = jobs.find(folders)
    documents = []
    unread = found.others
    for job in found.jobs:
        try:
            attempts, standings = job.attempts(), _standings(job, export)
        except OSError as why:
            output.trouble(f"{job.path}: {why}")
            unread = True
            continue
        if as_json:
            rows = map(deliveries.standing, standings)
            documents.append(deliveries.of_job(job, rows, attempts=attempts))
        else:
            _show(job, attempts, standings)
    if as_json:
        output.document({"jobs": documents})
    return output.INCOMPLETE if unread else output.DONE


def _standings(job: Job, export: Export) -> list[Standing]:
    """How the job stands wherever something of it went, was meant to go, or would go now."""
    from otel_stageio.job.layout import JobLayout
    from otel_stageio.ship import sources, waiting, ways

    chosen = list(sources.sources(JobLayout(job.path)))
    to = waiting.destinations(chosen)
    for signal, where in ways.destinations(export).items():
        to.setdefault(where, set()).add(signal)
    return [
        standing
        for where, signals in to.items()
        for standing in waiting.of_job(
            chosen, {signal: where for signal in sources.SIGNALS if signal in signals}, export.ship_level
        ).values()
    ]


def _show(job: Job, attempts: list[dict[str, Any]], standings: list[Standing]) -> None:
    output.say(f"{job.path} (job {job.job_id})")
    if attempts:
        output.table(_ATTEMPT, [_attempt(each) for each in _together(attempts)])
    else:
        output.say("no stage has begun")
    if standings:
        output.table(_DELIVERY, [_delivery(each) for each in standings])
    else:
        output.say("nothing is delivered, and no endpoint is set")


def _together(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The attempts, where the items of a stage that did well at once are one row: there may be thousands."""
    rows: list[dict[str, Any]] = []
    quiet: dict[str, dict[str, Any]] = {}
    for each in attempts:
        stage = each["folder"].removesuffix(f"/{each['item']}")
        told = each["attempt"] > 1 or each["status"] != "success" or each["warnings"] or each["errors"]
        if each["item"] is None or told:
            rows.append(each)
        elif stage not in quiet:
            quiet[stage] = {**each, "items": 1}
            rows.append(quiet[stage])
        else:
            row = quiet[stage]
            row["items"] += 1
            row["folder"] = f"{stage}/ ({row['items']:,} items)"
            row["started_at"] = min(row["started_at"] or "", each["started_at"] or "")
            row["duration_seconds"] = (row["duration_seconds"] or 0.0) + (each["duration_seconds"] or 0.0)
    return rows


def _attempt(of: dict[str, Any]) -> tuple[object, ...]:
    began = str(of["started_at"] or "").partition(".")[0].removesuffix("Z")
    seconds = "" if of["duration_seconds"] is None else float(of["duration_seconds"])
    counts = of["warnings"], of["errors"]
    return (of["folder"], of["attempt"], _status(of), began, seconds, *counts, of["reason"] or "")


def _status(of: dict[str, Any]) -> str:
    """The status; where only signs of life tell, with the last one: a stage beats every ten seconds."""
    silent = of["silent_seconds"]
    if silent is None:
        return str(of["status"])
    from otel_stageio.views.moments import spoken

    span = spoken(silent)
    return f"{of['status']} (last sign {span} ago)" if silent <= _BEATS else f"{of['status']} (silent for {span})"


def _delivery(of: Standing) -> tuple[object, ...]:
    note = f"not taken: {of.not_taken}" if of.not_taken else ""
    return of.signal, of.to, of.delivered, of.waiting, of.refused + of.rejected, note
