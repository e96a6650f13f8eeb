#!/usr/bin/env python3
"""The working example of the reference card: a success, a failure and a skip, checked and printed.

python test_stage_logging.py [FOLDER]   (or with pytest; the stages themselves are in otel_stageio/demo.py)
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from otel_stageio import demo

if TYPE_CHECKING:
    from pathlib import Path


def test_stages_exit_as_scripts_would(tmp_path: Path) -> None:
    """A success and a skip give 0 to the shell, a failure gives 1."""
    assert demo.record(tmp_path) == [0, 1, 0]


def test_everything_is_on_disk(tmp_path: Path) -> None:
    """The working example prints ok for all that it checks, and exits with 0."""
    assert demo.main([str(tmp_path / "job")]) == 0


if __name__ == "__main__":
    sys.exit(demo.main())
