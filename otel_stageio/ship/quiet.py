"""What delivery does is nobody's record: no instrumentation traces it, and no stage takes its log records for its own.

Recorded, a request that delivers records would be delivered with the next request, and so on for ever.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from opentelemetry import context as contexts

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS: Final = contexts.create_key("stageio-delivering")
#: What OpenTelemetry's instrumentations look for; its SDK sets it in the threads that export.
_SUPPRESS: Final = "suppress_instrumentation"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Deliver within this, in this thread and those that get its context."""
    context = contexts.set_value(_OURS, True, contexts.set_value(_SUPPRESS, True))  # noqa: FBT003 - the value
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


def delivering() -> bool:
    """Whether the caller is within a delivery."""
    return contexts.get_value(_OURS) is not None
