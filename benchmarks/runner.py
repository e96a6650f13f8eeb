"""Runs a row in a process and a folder of its own, and hands on how far it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import Result

if TYPE_CHECKING:
    from benchmarks.measuring import Size, Tell

REPO = Path(__file__).resolve().parents[1]
#: Given as text and not as a script: a stage looks for pyproject.toml and git around the main script.
_WORKER = "from benchmarks.worker import main; main()"
#: What a stage, OpenTelemetry or Python would listen to.
_HEARD = ("STAGEIO_", "OTEL_", "PYTHON")
_NAMES = frozenset({"OUTPUT_DIR", "TRACEPARENT", "TRACESTATE", "BAGGAGE", "NO_COLOR", "FORCE_COLOR"})


class RowFailedError(Exception):
    """A row ended without results; the text is what it said."""


def run_row(row: str, *, size: Size, folder: str | None, tell: Tell) -> list[Result]:
    """Measure a row and return its results.

    Its files lie in a new folder below `folder` (default: the system's for temporary files), which is removed
    afterwards. `tell` is called as the row goes on. Raises RowFailedError.
    """
    with tempfile.TemporaryDirectory(prefix="stageio-bench-", dir=folder) as own:
        said = os.path.join(own, "stderr")
        with open(said, "w", encoding="utf-8") as errors:
            worker = subprocess.Popen(
                [sys.executable, "-c", _WORKER, row, size, own],
                cwd=own,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
            )
        found: list[Result] | None = None
        try:
            for line in worker.stdout or ():
                message = json.loads(line)
                if "results" in message:
                    found = [read_result(each) for each in message["results"]]
                else:
                    tell(message["done"], message["total"], message["what"])
        finally:
            if found is None:
                worker.terminate()
            worker.wait()
            if worker.stdout:
                worker.stdout.close()
        if found is None or worker.returncode:
            text = Path(said).read_text(encoding="utf-8", errors="replace")
            raise RowFailedError(f"{row} ended with status {worker.returncode}:\n{text}")
        return found


def environment(**changes: str) -> dict[str, str]:
    """The environment of a process that is measured: this one's without what it would listen to, and this package."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_HEARD) and name not in _NAMES}
    return {**kept, "PYTHONPATH": str(REPO), "STAGEIO_MODE": "file", "STAGEIO_CONSOLE": "off", **changes}


def read_result(fields: dict[str, object]) -> Result:
    """A result from its JSON."""
    values = fields["values"]
    return Result(**{**fields, "values": tuple(values)})  # type: ignore[arg-type]  # written by ourselves
