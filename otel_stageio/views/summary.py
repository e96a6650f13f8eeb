"""What the job needs to know of an attempt: who it is, when it ran, how it ended. A fold of its lifecycle events."""

from typing import Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.model import LogRecord

#: What every lifecycle event's name begins with; lines without it need not be decoded.
LIFECYCLE: Final = b'"eventName":"stageio.stage.'


class Summary(NamedTuple):
    """One attempt in a few words. `ended` is 0 while no end is on record; times are Unix nanoseconds."""

    stage: str
    stage_number: int
    attempt: int
    run: int
    started: int
    status: str = names.RUNNING
    ended: int = 0
    #: The stage said success and something later said otherwise: a second finalize, an uncaught exception.
    contradicted: bool = False
    host: str = ""
    boot_id: str = ""
    pid: int = 0
    #: Of which item of the stage it is; "" is the stage's own.
    item: str = ""
    declared: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the work is done: the stage succeeded or was skipped, and nothing contradicted it."""
        return self.status in (names.SUCCESS, names.SKIPPED) and not self.contradicted


def add(before: Summary | None, record: LogRecord) -> Summary | None:
    """Take one lifecycle event in; other records change nothing."""
    about = record.attributes
    if before is None:
        return _started(record) if record.event_name == names.STARTED else None
    if record.event_name != names.FINISHED or names.STATUS not in about:
        return before
    status = str(about[names.STATUS])
    if before.ended:
        return before._replace(contradicted=before.contradicted or status != before.status)
    return before._replace(status=status, ended=record.time_unix_nano)


def _started(record: LogRecord) -> Summary | None:
    about = record.attributes
    declared = about.get(names.JOB_STAGES)
    try:
        return Summary(
            stage=str(about[names.STAGE_NAME]),
            stage_number=int(str(about[names.STAGE_NUMBER])),
            attempt=int(str(about[names.STAGE_ATTEMPT])),
            run=int(str(about[names.RUN])),
            started=record.time_unix_nano,
            host=str(about.get(names.HOST_NAME, "")),
            boot_id=str(about.get(names.BOOT_ID, "")),
            pid=int(str(about.get(names.PROCESS_PID, 0))),
            item=str(about.get(names.STAGE_ITEM, "")),
            declared=tuple(str(each) for each in declared) if isinstance(declared, list) else (),
        )
    except (KeyError, ValueError):  # says nothing: as if it were not there
        return None
