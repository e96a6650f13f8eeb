"""``python -m benchmarks``: measure all rows, or some, and show the table; ``--write`` puts it into docs/."""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import ROWS, book, machine, plot, table
from benchmarks.book import Entry
from benchmarks.measuring import SIZES
from benchmarks.runner import REPO, RowFailedError, run_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.progress import TaskID

    from benchmarks.measuring import Result, Size


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 where a row ended without results, and nothing is then written of it."""
    asked = _parser().parse_args(arguments)
    if asked.draw:
        _write(asked.docs, {})
        return 0
    rows = [row for row in ROWS if row in (asked.rows or ROWS)]
    console = Console()
    where = asked.folder or tempfile.gettempdir()
    described, date = machine.describe(where), book.now()
    console.print(*(f"{name}: {text}" for name, text in described.items()), sep="\n", highlight=False)
    if machine.in_memory(where):
        console.print(f"{where} is in memory: --folder names one on a disk, which is what a job folder lies on")
    found: dict[str, Entry] = {}
    failed = False
    for row, results in _measured(rows, asked.size, asked.folder, console):
        failed |= results is None
        if results is not None:
            found[row] = Entry(machine=described, date=date, size=asked.size, results=results)
    console.print(table.terminal(result for entry in found.values() for result in entry.results))
    if asked.write and found:
        _write(asked.docs, found)
        console.print(f"written: {asked.docs / 'performance.md'}, performance.svg, performance.json")
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what otel-stageio costs.")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--size", choices=SIZES, default="full", help="full is what the budgets are for (minutes)")
    parser.add_argument("--folder", help="where the files of a measurement lie; on a disk, with 5 GB to spare")
    parser.add_argument("--write", action="store_true", help="keep the results in docs/performance.*")
    parser.add_argument("--draw", action="store_true", help="measure nothing: write docs/ anew from what is kept")
    parser.add_argument("--docs", type=Path, default=REPO / "docs", help="the folder of performance.md")
    return parser


def _measured(
    rows: Sequence[str], size: Size, folder: str | None, console: Console
) -> Iterable[tuple[str, tuple[Result, ...] | None]]:
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[what]}"), console=console) as progress:
        tasks = {row: progress.add_task(row, start=False, total=None, what="") for row in rows}
        for row in rows:
            progress.start_task(tasks[row])
            tell = partial(_tell, progress, tasks[row])
            try:
                yield row, tuple(run_row(row, size=size, folder=folder, tell=tell))
            except RowFailedError as why:
                console.print(str(why), style="red", markup=False)
                yield row, None
            progress.stop_task(tasks[row])


def _tell(progress: Progress, task: TaskID, done: int, total: int, what: str) -> None:
    progress.update(task, completed=done, total=total, what=what)


def _write(docs: Path, found: dict[str, Entry]) -> None:
    kept = {**book.read(docs / "performance.json"), **found}
    entries = {row: kept[row] for row in ROWS if row in kept}
    book.write(docs / "performance.json", entries)
    page = docs / "performance.md"
    page.write_text(table.fill(page.read_text(encoding="utf-8"), entries), encoding="utf-8")
    drawn = plot.svg(result for entry in entries.values() for result in entry.results)
    (docs / "performance.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
