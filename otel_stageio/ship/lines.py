"""How a destination behaves towards one signal: when it is tried again, and how long an answer of it may take."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from otel_stageio.ship import probe
from otel_stageio.ship.wire import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.settings import Signal
    from otel_stageio.ship.delivery import Way
    from otel_stageio.ship.wire import Answer

#: Seconds until the next try: after the first failure, and at most.
_BACKOFF: Final = 1.0
_LONGEST: Final = 60.0
#: Seconds that a backend has for a first sign: while stages run, and when the process ends.
_PROBE: Final = 5.0
_LAST_PROBE: Final = 0.15
#: Seconds for which an answer says that the next one will come.
_TRUSTED: Final = 30.0
_AT_MOST: Final = 1.0


def pause(tries: int, wait: float) -> float:
    """Seconds until the next try after so many that failed: `wait` at least, which the destination asked for."""
    doubled = min(_BACKOFF * 2.0 ** min(tries - 1, 10), _LONGEST)
    # Not all processes of a pipeline at the same moment.
    return max(doubled * (0.8 + 0.4 * os.urandom(1)[0] / 255), wait)


class Line:
    """One signal's line to its destination, through good and bad times. One thread uses it; others may look."""

    def __init__(self, signal: Signal, make: Callable[[], Way]) -> None:
        """Reach `signal` over what `make` gives, which is asked when somebody answers there."""
        self._signal = signal
        self._make = make
        self._way: Way | None = None
        #: How often in a row it failed since somebody last answered there, and since something was last taken.
        self._tries = self._failures = 0
        self._due = 0.0
        self._asked = 0.0
        self._slowest = 0.0
        #: When the destination last gave a sign, by the monotonic clock; 0 before.
        self.sign = 0.0
        #: Why the last thing could not be sent.
        self.why = ""
        #: What the destination said where it does not take the signal.
        self.not_taken = ""

    @property
    def settled(self) -> bool:
        """Whether it is known how things stand: the exporter is loaded, or there is no use for it."""
        return self._way is not None or not self.usable

    @property
    def usable(self) -> bool:
        """Whether something may be sent right now."""
        return not self._tries and not self.not_taken

    def way_now(self, now: float, *, ending: bool) -> Way | None:
        """The way, where something can be sent now; at the end of the process it need not be due."""
        if self.not_taken or (now < self._due and not ending):
            return None
        if self._way is None or self._tries:
            silent = probe.answers(self._signal, _LAST_PROBE if ending else _PROBE)
            if silent:
                self.fail(silent)
                return None
            self.sign = time.monotonic()
            self._tries = 0
        try:
            self._way = self._way or self._make()
        except (
            ValueError,
            OSError,
            ImportError,
        ) as why:  # what the exporter cannot use: a certificate that is not there
            self.fail(f"{type(why).__name__}: {why}", wait=_LONGEST)
            return None
        self._asked = time.monotonic()
        return self._way

    def heard(self) -> None:
        """A batch was acknowledged."""
        now = time.monotonic()
        self._slowest = max(self._slowest * 0.9, now - self._asked)
        self.sign = self._asked = now

    def took(self) -> None:
        """The destination has something of this signal: the next failure is the first."""
        self._failures = 0

    def judge(self, answer: Answer) -> None:
        """Take in what came of something that was sent."""
        if answer.verdict is Verdict.DELIVERED:
            self.heard()
            self.took()
        else:
            self.stopped(answer)

    def stopped(self, answer: Answer) -> None:
        """The rest could not be sent."""
        if answer.verdict is Verdict.NOT_TAKEN:
            self.not_taken = answer.why or "it does not take this signal"
        elif answer.verdict is Verdict.LATER:
            self.fail(answer.why, wait=answer.wait)

    def fail(self, why: str, *, wait: float | None = None) -> None:
        """Try again later: after `wait` seconds where the destination named them."""
        self.why = why
        self._tries += 1
        # Who answers the probe and takes nothing is not asked every second.
        self._failures += 1
        self._due = time.monotonic() + pause(self._failures, min(wait or 0.0, 10 * _LONGEST))

    def patience(self, now: float, least: float) -> float:
        """Seconds that an answer may take, asked at `now`: longer where they came lately, and were slow."""
        trusted = self.sign and not self._tries and now - self.sign < _TRUSTED
        return max(least, min(3 * self._slowest, _AT_MOST)) if trusted else least
