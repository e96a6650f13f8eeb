"""``stageio run``: the pipeline itself, or any command as a stage of it."""

from __future__ import annotations

import atexit
from typing import Final

import click

from otel_stageio.cli import output

_HELP: Final = """\
Run COMMAND as the pipeline: all stages that it starts are in one run, whose span is as long as COMMAND takes.

With --stage, COMMAND is itself a stage: its output is passed through and recorded line by line, in stage.log and in the
journal, and --in and --out are tracked.

Terminal, signals and exit code are as without stageio. COMMAND finds TRACEPARENT, STAGEIO_RUN and STAGEIO_JOB_DIR in
its environment.

\b
Examples:
  stageio run -- ./pipeline.sh
  stageio run --job out/ --name nightly -- make -j4 all
  stageio run --stage mux --in a.wav --out a.mp4 -- ffmpeg -i a.wav a.mp4
"""
_CODES: Final = """\
\b
Exit codes:
  COMMAND's own; where a signal ended it, the same signal ends stageio, and:
  1    COMMAND exited with 0 and did not make what --out names, or its output got lost
  2    asked for what cannot be done; COMMAND was not started
  126  COMMAND cannot be executed
  127  there is no COMMAND
"""


@click.command(
    name="run",
    help=_HELP,
    epilog=_CODES,
    short_help="Run a pipeline, or a command as a stage.",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--job", metavar="DIR", type=click.Path(file_okay=False), help="The job folder; else STAGEIO_JOB_DIR.")
@click.option("--name", metavar="NAME", help="The run's name: the same name is the same run.")
@click.option("--stage", metavar="STAGE", help="Run COMMAND as this stage; 06_asr has its number.")
@click.option("--number", metavar="N", type=click.IntRange(min=0), help="The stage's number.")
@click.option("--in", "inputs", metavar="FILE", multiple=True, help="What the stage reads; repeatable.")
@click.option("--out", "outputs", metavar="FILE", multiple=True, help="What it has to make; repeatable.")
@click.argument("command", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    *,
    job: str | None,
    name: str | None,
    stage: str | None,
    number: int | None,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    command: tuple[str, ...],
) -> int:
    """See above."""
    if stage is not None:
        if name is not None:
            raise click.UsageError("--name is a pipeline's: a stage takes part in the run that STAGEIO_RUN names")
        if "" in (*inputs, *outputs):
            raise click.UsageError("--in or --out is given no file: is it a variable of the shell that is not set?")
        from otel_stageio.cli import stage_command

        return ended_as(stage_command.run(stage_command.Asked(job, stage, number, inputs, outputs, command)).code)
    if number is not None or inputs or outputs:
        raise click.UsageError("--number, --in and --out are a stage's: give its name with --stage")
    return _pipeline(job, name, command)


def _pipeline(job: str | None, name: str | None, words: tuple[str, ...]) -> int:
    from otel_stageio.cli.child import CannotStart, Child
    from otel_stageio.record import pipeline
    from otel_stageio.record.outcome import Outcome

    with Child() as child:
        begun = pipeline.begin(job, name, words, output.trouble)
        try:
            child.start(words, begun.environ(), {})
        except CannotStart as why:
            output.trouble(str(why))
            outcome = Outcome(why.code, str(why))
        else:
            outcome = Outcome(child.wait(begun.beat))
        begun.end(child.pid, outcome)
    return ended_as(outcome.code)


def ended_as(code: int) -> int:
    """Our exit code for a command's; where a signal killed it, that signal ends us when all else is done."""
    if code >= 0:
        return code
    from otel_stageio.cli.child import die_of

    atexit.register(die_of, -code)
    return 128 - code
