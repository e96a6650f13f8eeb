"""The results that are kept: docs/performance.json, one entry a row, each with the machine and the day of its own."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from benchmarks import ROWS
from benchmarks.runner import read_result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.measuring import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one row gave: on which machine, when it began (UTC, to the minute), at which size."""

    machine: Mapping[str, str]
    date: str
    size: str
    results: tuple[Result, ...]


def now() -> str:
    """This minute, as an entry has it."""
    return f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"


def read(path: Path) -> dict[str, Entry]:
    """The entries by row, in the order of the rows; none where there is no file. Rows that are no more are left out."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        row: Entry(
            machine=found[row]["machine"],
            date=found[row]["date"],
            size=found[row]["size"],
            results=tuple(read_result(each) for each in found[row]["results"]),
        )
        for row in ROWS
        if row in found
    }


def write(path: Path, entries: Mapping[str, Entry]) -> None:
    """Keep the entries in place of what was kept."""
    text = json.dumps({row: dataclasses.asdict(entry) for row, entry in entries.items()}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
