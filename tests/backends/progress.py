"""How far a run of Go has come, for a person who waits."""

from __future__ import annotations

import sys
import time


def say(text: str) -> None:
    """Print a line, at once."""
    print(f"   {text}", flush=True)  # noqa: T201 - a script that talks to a person


def duration(seconds: float) -> str:
    """Write seconds as a person reads them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Progress:
    """A line that changes on a terminal; elsewhere a line now and then."""

    #: Seconds between two lines where they are kept.
    EVERY = 15

    def __init__(self, what: str, packages: frozenset[str] = frozenset()) -> None:
        """Begin `what`; `packages` are those that Go names when it compiles them."""
        #: What Go said besides progress: when it failed, why.
        self.said: list[str] = []
        self._what = what
        self._packages = packages
        self._compiled = 0
        self._fetched = 0
        self._began = time.monotonic()
        self._shown = self._began

    def heard(self, line: str) -> None:
        """Take a line of what Go says."""
        if line in self._packages:
            self._compiled += 1
        elif line.startswith("go: downloading "):
            self._fetched += 1
        elif line.strip():
            self.said.append(line)

    def text(self) -> str:
        """Say how far it has come."""
        parts = [self._what]
        if self._fetched:
            parts.append(f"{self._fetched} modules fetched")
        if self._compiled:
            # Those that an earlier run compiled are not named.
            parts.append(f"{self._compiled:,} of at most {len(self._packages):,} packages compiled")
        return f"{', '.join(parts)}, {duration(time.monotonic() - self._began)}"

    def show(self, *, last: bool = False) -> None:
        """Show it, if it is time."""
        if sys.stdout.isatty():
            sys.stdout.write(f"\r\x1b[K   {self.text()}" + ("\n" if last else ""))
            sys.stdout.flush()
        elif last or time.monotonic() - self._shown >= self.EVERY:
            self._shown = time.monotonic()
            say(self.text())
