"""``stageio rebuild``: job folders made anew from what a Collector wrote into files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from otel_stageio.cli import output

if TYPE_CHECKING:
    from otel_stageio.rebuild.jobs import Rebuilt

_HELP: Final = """\
Make job folders anew from OTLP/JSON files: what a Collector's file exporter wrote, or journals of stages, in any order.

Logs and manifests are as they were where the stages ran; repeats are dropped, and what is missing is said. One job
becomes DIR itself, several become folders in it, each named by its id. DIR has to be new or empty, or to hold the same
job rebuilt before: then what is new is added.

\b
Examples:
  stageio rebuild logs.jsonl traces.jsonl --into again/
  stageio rebuild /var/lib/otel/*.jsonl --into again/ --json
"""
_CODES: Final = """\
\b
Exit codes:
  0    all that the records tell of is there
  1    something is missing or cannot be read; what is said, and the rest is there
  2    no record tells of a stage, or DIR holds something else; nothing was written
  130  interrupted with Ctrl-C; the same command goes on
"""


@click.command(name="rebuild", help=_HELP, epilog=_CODES, short_help="Make job folders anew from a Collector's files.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--into", metavar="DIR", required=True, type=click.Path(file_okay=False), help="Where the job goes.")
@click.option("--json", "as_json", is_flag=True, help="The result as JSON.")
def command(files: tuple[str, ...], into: str, *, as_json: bool) -> int:
    """See above."""
    from otel_stageio.cli.progress import busy
    from otel_stageio.rebuild.jobs import rebuild

    with busy(f"reading {output.counted(len(files), 'file')}"):
        made = rebuild(files, into)
    complete = not (made.missing or made.broken)
    if as_json:
        output.document(
            {
                "complete": complete,
                "folders": [str(folder) for folder in made.folders],
                "attempts": made.attempts,
                "records": made.records,
                "unreadable": made.broken,
                "missing": list(made.missing),
            }
        )
    else:
        _tell(made)
    for sentence in made.missing:
        output.trouble(sentence)
    if made.broken:
        output.trouble(f"{output.counted(made.broken, 'line')} cannot be read: passed over")
    return output.DONE if complete else output.INCOMPLETE


def _tell(made: Rebuilt) -> None:
    attempts = output.counted(made.attempts, "attempt")
    where = output.counted(len(made.folders), "job")
    output.say(f"{attempts} of stages in {where}, from {output.counted(made.records, 'record')}:")
    for folder in made.folders:
        output.say(str(folder))
