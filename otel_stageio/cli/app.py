"""`main`: the verbs together, and how each of them ends.

Exit codes: 0 done; 1 something could not be done, what it was is said; 2 asked for what cannot be done, nothing was
begun; 130 interrupted. Errors are one line each, on stderr.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

from otel_stageio import __version__
from otel_stageio.cli import output, push, rebuild, run, show, status
from otel_stageio.errors import StageIOError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED: Final = 130
_HELP: Final = """\
Look at jobs that otel-stageio recorded, send their records to OpenTelemetry backends, and get them back.

\b
Examples:
  stageio show out/
  stageio status out/
  stageio push out/ --endpoint http://localhost:4318

Exit codes: 0 done; 1 something could not be done; 2 asked for what cannot be done; 130 interrupted.
"""


@click.group(
    name="stageio", help=_HELP, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, "--version", message="stageio %(version)s")
def stageio() -> None:
    """See above."""


for verb in (push.command, rebuild.command, run.command, show.command, status.command):
    stageio.add_command(verb)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with these arguments, by default the program's, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # file names may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # `stageio status | head`; the interpreter would complain while it ends
        os._exit(output.INCOMPLETE)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        return int(stageio.main(arguments, prog_name="stageio", standalone_mode=False) or 0)
    except click.UsageError as why:
        path = why.ctx.command_path if why.ctx else "stageio"
        output.trouble(f"{why.format_message()} ({path} --help says what there is)")
        return why.exit_code
    except click.ClickException as why:
        output.trouble(why.format_message())
        return why.exit_code
    except StageIOError as why:
        output.trouble(str(why))
        return output.CANNOT_BEGIN
    except BrokenPipeError:
        raise
    except OSError as why:
        output.trouble(str(why))
        return output.INCOMPLETE
    except (click.Abort, KeyboardInterrupt):
        output.trouble("interrupted")
        return INTERRUPTED
