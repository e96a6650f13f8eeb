"""A terminal with an interactive shell on it, to type into."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

from tests.conftest import clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

_PATIENCE = 30.0


class Terminal:
    """A pseudoterminal whose other side a bash has, with `stageio` as a function; the prompt is ``$ ``."""

    def __init__(self, *, rows: int, columns: int) -> None:
        self._shown = ""
        environment = clean_environment({"PS1": "$ ", "TERM": "dumb", "STAGEIO_TEST_PYTHON": sys.executable})
        self._master, slave = os.openpty()
        # A session's leader that opens a terminal has it as its own.
        script = 'exec bash --norc --noediting -i <>"$0" >&0 2>&1'
        command = ["sh", "-c", script, os.ttyname(slave)]
        self._shell = subprocess.Popen(command, env=environment, start_new_session=True)
        self._slave = slave
        self.resize(rows, columns)

    def __enter__(self) -> Self:
        self.type(
            'stageio() { "$STAGEIO_TEST_PYTHON" -W error -m otel_stageio "$@"; }; PS1="$ "; echo shell is rea""dy\n'
        )
        self.expect("shell is ready\r\n")
        self.expect("$ ")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._slave)
        os.close(self._master)  # the terminal hangs up
        self._shell.kill()
        self._shell.wait()

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def expect(self, text: str) -> str:
        """Wait for a text to be shown; give what was shown up to there since the last one."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self._shown:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come: {self._shown!r}"
            if select.select([self._master], [], [], min(left, 0.1))[0]:
                self._shown += os.read(self._master, 65536).decode("utf-8", "backslashreplace")
        before, found, self._shown = self._shown.partition(text)
        return before + found

    def wait_for(self, path: Path) -> None:
        """Wait for a file."""
        deadline = time.monotonic() + _PATIENCE
        while not path.exists():
            assert time.monotonic() < deadline, f"{path} did not come: {self._shown!r}"
            time.sleep(0.02)
