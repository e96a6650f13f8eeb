"""``stageio push``: what stages recorded goes to a backend, as far as that does not have it yet."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from otel_stageio.cli import endpoints, jobs, output
from otel_stageio.cli.since import since as time_given

if TYPE_CHECKING:
    from otel_stageio.cli.deliveries import Row
    from otel_stageio.cli.jobs import Found
    from otel_stageio.read.job import Job
    from otel_stageio.settings import Export
    from otel_stageio.ship.delivery import Way
    from otel_stageio.ship.sources import Choice
    from otel_stageio.ship.waiting import Standing

_INTERRUPTED: Final = 130
_HELP: Final = """\
Send what stages recorded to an OpenTelemetry backend, as far as it does not have it yet.

DIR is a job folder, or one that holds jobs at any depth. A push may be stopped at any time: the same command goes on
where it was.

\b
Examples:
  stageio push out/
  stageio push out/ --endpoint http://localhost:4318 --signal traces
  stageio push /data/jobs --since 3d --dry-run
"""
_CODES: Final = """\
\b
Exit codes:
  0    the backend has everything that it takes, also when there was nothing to send
  1    something waits, or the backend refused records; what and why is said
  2    no job, no endpoint, or an option that cannot be used; nothing was sent
  130  interrupted with Ctrl-C; the same command goes on
"""


class Asked(NamedTuple):
    """What to do besides the jobs and the destinations."""

    choice: Choice
    #: Seconds.
    wait: int
    dry_run: bool
    as_json: bool


@click.command(name="push", help=_HELP, epilog=_CODES, short_help="Send what stages recorded to a backend.")
@jobs.argument
@endpoints.option
@click.option(
    "--signal", "signals", multiple=True, type=click.Choice(endpoints.SIGNALS), help="Only these; repeatable."
)
@click.option(
    "--since",
    metavar="TIME",
    callback=time_given,
    help="Only runs and attempts that began then or later: 2026-11-20, 2026-11-20T18:30, 2h, 3d.",
)
@click.option("--again", is_flag=True, help="Spans, too, that the program's own tracer provider has delivered.")
@click.option("--unsampled", is_flag=True, help="Spans, too, of traces that their caller chose not to sample.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="How long to go on trying a backend that takes nothing right now.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def command(
    folders: tuple[str, ...],
    endpoint: str | None,
    signals: tuple[str, ...],
    since: int,
    wait: int,
    *,
    again: bool,
    unsampled: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """See above."""
    from otel_stageio.ship.sources import Choice

    export = endpoints.wanted(endpoint, signals)
    found = jobs.find(folders)
    asked = Asked(Choice(again=again, unsampled=unsampled, since=since), wait, dry_run, as_json)
    return _plan(found, export, asked) if dry_run else _push(found, export, asked)


def _plan(found: Found, export: Export, asked: Asked) -> int:
    from otel_stageio.cli import deliveries

    documents: list[Row] = []
    rows: list[tuple[object, ...]] = []
    for job in found.jobs:
        standings = _standings(job, export, asked).values()
        documents.append(deliveries.of_job(job, map(deliveries.standing, standings)))
        for of in standings:
            note = f"it did not take {of.signal}: {of.not_taken}" if of.not_taken else ""
            rows.append((job.path, of.signal, of.to, of.waiting, note))
    if asked.as_json:
        output.document({"dry_run": True, "jobs": documents})
    else:
        output.table(("Job", "Signal", "Destination", "To send", ""), rows)
    return output.INCOMPLETE if found.others else output.DONE


def _standings(job: Job, export: Export, asked: Asked) -> dict[str, Standing]:
    from otel_stageio.job.layout import JobLayout
    from otel_stageio.ship import sources, waiting, ways

    chosen = sources.sources(JobLayout(job.path), asked.choice)
    return waiting.of_job(chosen, ways.destinations(export), export.ship_level)


def _push(found: Found, export: Export, asked: Asked) -> int:
    from otel_stageio.cli.account import Account
    from otel_stageio.cli.progress import progress
    from otel_stageio.cli.rounds import Rounds
    from otel_stageio.job.layout import JobLayout

    with ExitStack() as until_sent:
        rounds = Rounds([JobLayout(job.path) for job in found.jobs], _ways(export, until_sent), asked.choice)
        try:
            with progress(lambda: _waiting(found, export, asked)) as shown:
                rounds.go(asked.wait, shown.at, shown.waits)
        except KeyboardInterrupt:
            sent = output.counted(sum(each.delivered for each in rounds.pushed.values()), "record")
            left = f"{_waiting(found, export, asked):,}"
            output.trouble(f"interrupted: {sent} sent, {left} to go; the same command goes on from there")
            return _INTERRUPTED
    account = Account(found, rounds, {job.path: _standings(job, export, asked) for job in found.jobs})
    if asked.as_json:
        output.document(account.document())
    else:
        account.tell()
    account.tell_troubles()
    return output.DONE if account.is_complete else output.INCOMPLETE


def _waiting(found: Found, export: Export, asked: Asked) -> int:
    """How many records are still to be sent."""
    return sum(of.waiting for job in found.jobs for of in _standings(job, export, asked).values())


def _ways(export: Export, until_sent: ExitStack) -> dict[str, Way]:
    from otel_stageio.ship import ways

    try:
        made = ways.ways(export)
    except (ValueError, OSError, ImportError) as why:  # a certificate that is not there, a header that cannot be sent
        output.cannot_begin(f"the exporter cannot be made: {type(why).__name__}: {why}")
    for way in made.values():
        until_sent.callback(way.close)
    return made
