"""The environment's values, each checked."""

from collections.abc import Mapping
from typing import TypeVar

_Choice = TypeVar("_Choice", bound=str)

#: Launchers' variables for the rank of a process: torchrun's, Slurm's, Open MPI's.
_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")
_DIGITS = 10


def listed(allowed: tuple[str, ...]) -> str:
    """The values of a list, for a person."""
    return ", ".join(allowed)


class Variables:
    """The environment's values, each checked; what cannot be honoured goes to `problems`."""

    __slots__ = ("_environ", "_problems")

    def __init__(self, environ: Mapping[str, str], problems: list[str]) -> None:
        self._environ = environ
        self._problems = problems

    def text(self, name: str) -> str | None:
        """The value as it is; None where it is empty or not there."""
        return self._environ.get(name) or None

    def word(self, name: str) -> str:
        """The value without blanks around it."""
        return (self._environ.get(name) or "").strip()

    def report(self, problem: str) -> None:
        """Keep a sentence about what could not be honoured."""
        if problem not in self._problems:  # two signals may have it from one variable
            self._problems.append(problem)

    def is_true(self, name: str) -> bool:
        """As OpenTelemetry has it: only "true" is, in any case."""
        value = self.word(name).lower()
        if value not in ("", "true", "false"):
            self.report(f"{name}={value!r} is not one of true, false; false is used.")
        return value == "true"

    def choice(self, name: str, allowed: tuple[_Choice, ...], default: _Choice) -> _Choice:
        """The one of `allowed` that is meant, in any case."""
        value = self.word(name)
        if not value:
            return default
        for one in allowed:
            if value.lower() == one:
                return one
        self.report(f"{name}={value!r} is not one of {listed(allowed)}; {default} is used.")
        return default

    def seconds(self, name: str, default: float, *, zero: bool = True) -> float:
        """A finite number from 0 up; without `zero`, above it."""
        value = self.word(name)
        if not value:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if 0 <= seconds < float("inf") and (seconds or zero):
            return seconds
        least = "from 0 up" if zero else "above 0"
        self.report(f"{name}={value!r} is not a number of seconds {least}; {default:g} is used.")
        return default

    def rank(self) -> tuple[int, str]:
        """The rank that the launcher gave this process, and where; 0 without one, or for other programs' values."""
        for name in _RANKS:
            value = self.word(name)
            if value.isascii() and value.isdigit() and len(value) < _DIGITS:
                return int(value), name
        return 0, ""

    def redact(self) -> tuple[str, ...]:
        """The patterns of STAGEIO_REDACT that can be used."""
        value = self._environ.get("STAGEIO_REDACT")
        if not value:
            return ()
        from otel_stageio.settings.patterns import separated, usable

        return usable(separated(value), "STAGEIO_REDACT", self._problems)

    def resource(self) -> tuple[str | None, tuple[tuple[str, str], ...]]:
        """The service's name, if it is there, and the other attributes."""
        text = self.word("OTEL_RESOURCE_ATTRIBUTES")
        if not text:
            return None, ()
        from otel_stageio.settings import resource

        return resource.service_name(text), resource.attributes(text, self._problems)
