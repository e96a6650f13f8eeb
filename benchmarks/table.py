"""The results as a table: for a terminal, and as Markdown for the page docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.book import Entry
    from benchmarks.measuring import Result

BEGIN: Final = "<!-- results: written by make bench -->"
END: Final = "<!-- end of results -->"
_COLUMNS: Final = ("What", "Compared with", "Budget", "Measured", "Spread", "Verdict", "Numbers")
_DIGITS: Final = {"x": "{:.2f}x", "B": "{:.0f} B", "KB": "{:.2f} KB", "%": "{:.1f} %", "s": "{:.3g} s"}
_VERDICTS: Final = {True: "met", False: "missed", None: ""}


def number(value: float, unit: str) -> str:
    """A measured number with its unit."""
    return _DIGITS[unit].format(value)


def budget(result: Result) -> str:
    """The budget in words; empty where there is none."""
    if result.limit is None:
        return ""
    limit = f"{result.limit:g}" + ("x" if result.unit == "x" else f" {result.unit}")
    return f"{'>=' if result.at_least else '<='} {limit}"


def cells(result: Result) -> tuple[str, ...]:
    """A result's texts, one for each column."""
    low, high = (number(value, result.unit) for value in (min(result.values), max(result.values)))
    return (
        result.what,
        result.against,
        budget(result),
        number(result.median, result.unit),
        f"{low} - {high}" if len(result.values) > 1 else "",
        _VERDICTS[result.met],
        result.detail,
    )


def terminal(results: Iterable[Result]) -> Table:
    """The table for a terminal: what is compared with what, and the numbers, below the name of each."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in _COLUMNS[:1] + _COLUMNS[2:6]:
        table.add_column(column, no_wrap=column != "What")
    for result in results:
        what, against, *figures, detail = cells(result)
        about = Text("; ".join(text for text in (against, detail) if text), style="dim")
        style = {False: "red", True: "green", None: ""}[result.met]
        table.add_row(Group(what, Padding(about, (0, 0, 0, 2))), *figures, style=style)
    return table


def markdown(entries: Mapping[str, Entry]) -> str:
    """The part of the page between the markers."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "| " + " | ".join("---" for _ in _COLUMNS) + " |"]
    for entry in entries.values():
        for result in entry.results:
            texts = [text.replace("|", "\\|") for text in cells(result)]
            if result.met is False:
                texts[5] = f"**{texts[5]}**"
            lines.append("| " + " | ".join(texts) + " |")
    lines += ["", "Measured:", ""]
    for rows, entry in _occasions(entries):
        machine = "; ".join(entry.machine.values())
        lines.append(f"- {', '.join(rows)}: {entry.date}, size {entry.size}. {machine}.")
    return "\n".join(lines)


def _occasions(entries: Mapping[str, Entry]) -> list[tuple[list[str], Entry]]:
    """Rows that were measured on one machine, on one occasion, together."""
    found: list[tuple[list[str], Entry]] = []
    for row, entry in entries.items():
        for rows, first in found:
            if (first.machine, first.date, first.size) == (entry.machine, entry.date, entry.size):
                rows.append(row)
                break
        else:
            found.append(([row], entry))
    return found


def fill(page: str, entries: Mapping[str, Entry]) -> str:
    """The page with its results in place of those that stood between the markers.

    Raises ValueError where the page has not both markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{begin}\n\n{markdown(entries)}\n\n{end}{after}"
