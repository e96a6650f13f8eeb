"""How far a push is: a bar where somebody looks at the terminal, else nothing but the lines that matter."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from otel_stageio.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


class Progress:
    """Says how many records are done, and why it does not go on."""

    def __init__(self, moved: Callable[[int], None] = lambda _: None) -> None:
        """Tell `moved` how many are done."""
        self._moved = moved
        self._waiting = ""

    def at(self, done: int) -> None:
        """So many are done by now."""
        self._moved(done)

    def waits(self, why: str) -> None:
        """It goes on in a while; a reason that was told is not told again."""
        if why != self._waiting:
            self._waiting = why
            output.trouble(f"{why}: trying again")


def busy(doing: str) -> AbstractContextManager[object]:
    """Show that something is done whose end cannot be told."""
    if not output.is_terminal():
        return contextlib.nullcontext()
    from rich.console import Console

    return Console(stderr=True, highlight=False).status(doing)


@contextlib.contextmanager
def progress(total: Callable[[], int]) -> Iterator[Progress]:
    """Show how far it is, of `total`, until the end of the block. `total` is not asked where nobody looks."""
    if not output.is_terminal():
        yield Progress()
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("sending"),
        bars.BarColumn(),
        bars.TextColumn("{task.completed:,.0f} of {task.total:,.0f} records"),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True, highlight=False)
    with bars.Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=total())
        yield Progress(lambda done: bar.update(task, completed=done))
