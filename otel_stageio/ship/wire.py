"""Where two rooms meet: a batch goes out, and what the backend made of it comes back, whatever protocol that takes.

`http_wire` and `grpc_wire` are the two ways. Neither is imported here, so that who uses one never loads the other.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_stageio.ship.shown import ShownLogRecord, ShownSpan


class Verdict(Enum):
    """What the backend made of a batch."""

    #: It has it: the cursor may move.
    DELIVERED = "delivered"
    #: Not now, or not from us: nothing is wrong with the records, and they wait.
    LATER = "later"
    #: It refuses what is in it: a smaller part may pass.
    REFUSED = "refused"
    #: It does not take this signal at all.
    NOT_TAKEN = "not taken"


class Answer(NamedTuple):
    """The verdict with its reason, for a person."""

    verdict: Verdict
    why: str = ""
    #: Seconds to wait, where the backend named them.
    wait: float | None = None
    #: How many records of a delivered batch it rejected for good.
    rejected: int = 0
    #: Of LATER: whether it may be over in a moment. What answers in the place of a backend mostly stays.
    passing: bool = True
    #: Of LATER: a few records were refused and nothing else was sent yet. Others show whose fault it was.
    unsure: bool = False


def rejected(partial: Any) -> Answer:
    """A batch that was delivered, with what its partial success says; both protocols answer by the same message."""
    count = next((of for field, of in partial.ListFields() if field.name.startswith("rejected_")), 0)
    return Answer(Verdict.DELIVERED, partial.error_message, rejected=count)


class Wire(Protocol):
    """A signal's way to one destination. Not thread-safe: one thread sends."""

    def send(self, batch: Sequence[ShownSpan | ShownLogRecord]) -> Answer:
        """Send the batch and wait for the answer, `timeout` seconds at most; raises nothing for what a backend does."""

    def close(self) -> None:
        """Give the connection back."""
