"""Programs that a test runs in its folder, several at once."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import clean_environment


def start(script: str, *args: str) -> subprocess.Popen[str]:
    """Start a script in this test's folder; `finish` waits for it."""
    command = [sys.executable, "-W", "error", "-c", script, *args]
    return subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True)


def finish(*running: subprocess.Popen[str]) -> list[str]:
    """What the scripts printed; each must have ended well."""
    said = [each.communicate(timeout=60)[0] for each in running]
    assert [each.returncode for each in running] == [0] * len(running)
    return said
