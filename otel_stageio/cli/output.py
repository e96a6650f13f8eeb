"""What a command says: results on stdout as lines, tables or JSON, troubles on stderr as lines of their own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final, NoReturn

import click

from otel_stageio.views import logline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.text import Text

#: Exit codes.
DONE: Final = 0
INCOMPLETE: Final = 1
CANNOT_BEGIN: Final = 2
#: Columns of a table that is written into a file.
_WIDE: Final = 1_000
_COLORS: Final = {
    "success": "green",
    "failed": "bold red",
    "abandoned": "bold red",
    "lost": "bold red",
    "running": "cyan",
    "skipped": "yellow",
}


class CannotBegin(click.ClickException):
    """What was asked for cannot be done, and nothing was."""

    exit_code = CANNOT_BEGIN


def cannot_begin(why: str) -> NoReturn:
    """End the command before it did anything."""
    raise CannotBegin(why)


def shown(text: object) -> str:
    """Text in one line that does nothing to a terminal, whoever wrote it."""
    return logline.escape(" ".join(str(text).split()))


def say(line: str) -> None:
    """One line of the result."""
    print(shown(line))


def trouble(line: str) -> None:
    """One line about what is wrong. Where nobody can be told, what is under way goes on all the same."""
    if sys.stderr is None:  # print would take stdout in its place
        return
    try:
        print(f"stageio: {shown(line)}", file=sys.stderr, flush=True)
    except OSError:
        # What is left in it would be written again at the very end, and change the exit code.
        sys.stderr = None  # as where it was closed from the start


def document(of: object) -> None:
    """The result as JSON."""
    print(json.dumps(of, indent=2))


def counted(number: int, what: str) -> str:
    """A number with what it counts, in the plural where it is one."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def is_terminal() -> bool:
    """Whether somebody looks at stderr."""
    return sys.stderr is not None and sys.stderr.isatty()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; numbers at the right, and the words of a status in their colours."""
    if sys.stdout is None:  # closed
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    cells = [list(row) for row in rows]
    for at, name in enumerate(columns):
        made.add_column(name, justify="right" if any(isinstance(row[at], (int, float)) for row in cells) else "left")
    for row in cells:
        made.add_row(*map(_cell, row))
    # Into a file or a pipe: no line is folded for a width that nobody has.
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    console.print(made)
    console.print()


def _cell(of: object) -> Text:
    from rich.text import Text

    if isinstance(of, float):
        return Text(f"{of:,.1f}")
    text = f"{of:,}" if isinstance(of, int) else shown(of)
    return Text(text, style=_COLORS.get(text.partition(" (")[0], ""))
