"""The process that one row is measured in: no display, no host handlers, no settings but those of the row.

Speaks JSON lines on stdout: ``{"done": 3, "total": 20, "what": "INFO"}`` while it works, ``{"results": [...]}`` at the
end.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Measure the row named by the arguments: row, size, folder for its files."""
    row, size, folder = sys.argv[1:]
    results = import_module(f"benchmarks.{row}").run(size, folder, _tell)
    _say({"results": [dataclasses.asdict(result) for result in results]})


def _tell(done: int, total: int, what: str) -> None:
    _say({"done": done, "total": total, "what": what})


def _say(message: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(message) + "\n")  # type: ignore[union-attr]  # there is one: a pipe
    sys.__stdout__.flush()  # type: ignore[union-attr]  # the same
