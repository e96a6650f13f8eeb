"""The commands as somebody sees them who sits at a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.conftest import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ship.backend import Answers


def at_terminal(*arguments: object) -> tuple[int, str]:
    """Run the command with all of its output on a terminal of 100 columns; its exit code, and what was drawn."""
    ours, theirs = pty.openpty()
    environment = clean_environment({"TERM": "xterm", "COLUMNS": "100", "LINES": "40"})
    command = [sys.executable, "-m", "otel_stageio", *map(str, arguments)]
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    drawn = b""
    try:
        while data := os.read(ours, 65536):
            drawn += data
    except OSError:  # the last one to have it open closed it
        pass
    finally:
        os.close(ours)
    return process.wait(timeout=30), drawn.decode()


def test_push_shows_a_bar_and_takes_it_away(job: Path, server: Answers) -> None:
    """While it sends there is a bar with the records, and in the end only the lines that a pipe gets, too."""
    code, drawn = at_terminal("push", job, "--endpoint", server.url)
    assert (code, "of 9 records" in drawn) == (0, True)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn).replace("\r\n", "\n")
    assert plain.rpartition("\r")[2].splitlines()[-2:] == [
        f"{job}: sent 3 spans and 6 log records",
        f"{server.url} has everything that it takes",
    ]
    assert "\x1b[?25h" in drawn


def test_status_has_colours(job: Path) -> None:
    """The words of a status are told apart at a glance."""
    code, drawn = at_terminal("status", job)
    assert (code, "\x1b[32msuccess" in drawn) == (0, True)


def test_rebuild_shows_that_it_is_at_work(job: Path, tmp_path: Path) -> None:
    """Reading many files takes its time."""
    files = sorted(job.rglob("*.jsonl"))
    code, drawn = at_terminal("rebuild", *files, "--into", tmp_path / "again")
    assert (code, "reading 7 files" in drawn) == (0, True)
