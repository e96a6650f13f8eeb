"""``log.record.uid``: who wrote a record, and as his how-manieth."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from otel_stageio import conventions as names

if TYPE_CHECKING:
    from otel_stageio.model import Value


class Signature:
    """A writer of records: random, counting, another one in a child by fork. Not thread-safe: the recorder locks."""

    __slots__ = ("_count", "_writer", "common")

    def __init__(self) -> None:
        """Be a new writer."""
        self._writer, self._count = os.urandom(6).hex(), 0
        #: Attributes of every record; in a child by fork the process that made it.
        self.common: dict[str, Value] = {}

    def next(self) -> str:
        """The sign of the next record."""
        self._count += 1
        return f"{self._writer}-{self._count}"

    def join(self, member: str) -> None:
        """Be that member of somebody else's attempt."""
        self.common = {names.PROCESS_PID: os.getpid(), names.MEMBER: member}

    def forked(self) -> None:
        """Be the writer of a child by fork."""
        self._writer, self._count = os.urandom(6).hex(), 0
        self.common = {**self.common, names.PROCESS_PID: os.getpid()}
