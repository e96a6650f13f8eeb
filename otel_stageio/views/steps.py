"""The steps of a stage, from their events to their entries in the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.views.moments import rfc3339
from otel_stageio.views.span_calls import under

if TYPE_CHECKING:
    from otel_stageio.model import LogRecord, Value

_Entry = dict[str, "Value"]


class Steps:
    """The steps of an attempt as they come, in the order of their beginnings."""

    def __init__(self) -> None:
        """Start with none."""
        self._known: dict[str, _Entry] = {}

    def apply(self, record: LogRecord) -> None:
        """Take the beginning or the end of a step in; its span's id tells which step it is."""
        of = record.attributes
        if record.event_name == names.STEP_STARTED:
            entry: _Entry = {
                "name": of.get(names.STEP),
                "status": names.RUNNING,
                "started_at": rfc3339(record.time_unix_nano),
                "duration_seconds": None,
            }
            attributes = under(of, names.STEP_ATTRIBUTE)
            if attributes:
                entry["attributes"] = attributes
            if names.MEMBER in of:
                entry["member"] = of[names.MEMBER]
            self._known[record.span_id] = entry
        elif record.span_id in self._known:
            ended = {"status": of.get(names.STATUS), "duration_seconds": of.get(names.STEP_DURATION)}
            if names.REASON in of:
                ended["reason"] = of[names.REASON]
            self._known[record.span_id] = {**self._known[record.span_id], **ended}

    def entries(self, *, running: bool) -> list[_Entry]:
        """The manifest's list. Where the stage is not `running` any more, a step without an end was abandoned."""
        return [
            {**each, "status": names.ABANDONED} if each["status"] == names.RUNNING and not running else each
            for each in self._known.values()
        ]
