"""What opening a stage is asked for, and what it gives."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from otel_stageio.job import locks
from otel_stageio.job.layout import JobLayout, StageLayout, absolute
from otel_stageio.job.numbers import Resolved
from otel_stageio.record.otel.carrier import Incoming
from otel_stageio.record.otel.entry import Entry
from otel_stageio.record.otel.hosts import Host
from otel_stageio.record.recorder import Recorder
from otel_stageio.record.secrets.redaction import Redactor
from otel_stageio.settings import Settings


class Request(NamedTuple):
    """What is asked for: a stage of a job, with what its arguments and the surroundings say."""

    text: str
    root: Path
    number: int | None
    item: str
    declared: tuple[str, ...]
    manifest: bool
    settings: Settings
    report: Callable[[str], None]
    incoming: Incoming
    redactor: Redactor
    host: Host | None = None

    @property
    def job(self) -> JobLayout:
        """The job folder, absolute as of now."""
        return JobLayout(Path(absolute(str(self.root))))


class Opened(NamedTuple):
    """A stage that is open. `layout` and `log` give paths as the caller gave the job folder; `job` is absolute.

    Where nothing is written, `job` and `lock` are None.
    """

    layout: StageLayout
    log: Path
    recorder: Recorder
    resolved: Resolved
    entry: Entry
    job: JobLayout | None = None
    lock: locks.StageLock | None = None
    attempt: int = 1
    run: int = 1
    #: By which other processes join the run: its name, or its trace id.
    run_name: str = ""
    #: What came to pass while opening and belongs among the stage's warnings.
    warnings: tuple[str, ...] = ()
    #: As which member this process takes part in an attempt that another one opened; "" in that one.
    member: str = ""
