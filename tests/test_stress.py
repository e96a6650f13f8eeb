"""The short form of `make stress`: many processes on one job folder, whose work ends at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.stress import stress

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_torn_lost_doubled_or_wrong(tmp_path: Path) -> None:
    """What any of the processes logged is on record once, numbers are distinct, and the job manifest is right."""
    found = stress(tmp_path, processes=12, seconds=5)
    assert found.wrong == []
    assert found.attempts > 100
    assert found.records > 500
