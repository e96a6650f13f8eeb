"""How a job stands at a destination, as rows of JSON; `push` and `status` have the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stageio.ship.push import Pushed, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_stageio.read.job import Job
    from otel_stageio.ship.waiting import Standing

Row = dict[str, Any]
#: What the records of a signal are called.
RECORDS = {"traces": "span", "logs": "log record"}


def standing(of: Standing) -> Row:
    """What a destination has of a signal, and what waits."""
    return {
        "signal": of.signal,
        "destination": of.to,
        "delivered": of.delivered,
        "rejected": of.rejected,
        "refused": of.refused,
        "waiting": of.waiting,
        "not_taken": of.not_taken or None,
    }


def sent(pushed: Pushed, of: Standing) -> Row:
    """The same of what one push sent; `of` is how it stands afterwards."""
    tally = pushed.tallies.get(of.signal, Tally())
    waits = pushed.waits.get(of.signal)
    return {
        **standing(of),
        "delivered": tally.delivered,
        "rejected": tally.rejected,
        "refused": tally.refused,
        "refused_why": list(tally.why),
        "below_level": tally.kept,
        "unreadable": tally.broken,
        "waiting_why": waits.why if waits else None,
    }


def of_job(job: Job, deliveries: Iterable[Row], **more: object) -> Row:
    """A job with how it stands."""
    return {"path": str(job.path), "job_id": job.job_id, **more, "deliveries": list(deliveries)}
