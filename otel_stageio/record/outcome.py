"""How a command ended, in the words of the record: its exit code, or the signal that killed it."""

from __future__ import annotations

import signal as signals
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names

if TYPE_CHECKING:
    from otel_stageio.model import Value

#: What shells add to a signal's number where they show it as an exit code.
_BY_SIGNAL: Final = 128
#: What shells exit with where a command is not there, or is but cannot be run.
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126


class Outcome(NamedTuple):
    """The end of a command. `code` is as subprocess has it: below 0, the signal. `why` says more than that can."""

    code: int
    why: str = ""

    @property
    def signal(self) -> str:
        """The name of the signal that killed it, such as SIGKILL; "" where none did."""
        if self.code >= 0:
            return ""
        try:
            return signals.Signals(-self.code).name
        except ValueError:  # a real-time signal
            return f"SIG{-self.code}"

    @property
    def exit_code(self) -> int:
        """The exit code that a shell shows."""
        return self.code if self.code >= 0 else _BY_SIGNAL - self.code

    @property
    def status(self) -> str:
        """The status of whatever was this command."""
        return names.SUCCESS if self.code == 0 and not self.why else names.FAILED

    @property
    def reason(self) -> str:
        """Why it failed, in a few words; "" where it did not."""
        if self.why or self.status == names.SUCCESS:
            return self.why
        return f"killed ({self.signal})" if self.signal else f"exit code {self.code}"

    @property
    def error_type(self) -> str:
        """What OpenTelemetry's error.type is then."""
        return self.signal or "_OTHER"

    def attributes(self) -> dict[str, Value]:
        """The same as attributes of a span. A command that a signal killed has no exit code."""
        made: dict[str, Value] = {names.STATUS: self.status}
        if not self.signal:
            made[names.PROCESS_EXIT_CODE] = self.code
        if self.status != names.SUCCESS:
            made.update({names.REASON: self.reason, names.ERROR_TYPE: self.error_type})
        return made
