"""`rebuild`: the job folders of what OTLP/JSON files hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.errors import JobFormatError
from otel_stageio.job import identity
from otel_stageio.job.layout import EVENTS, LOG_RECORDS, TRACES, JobLayout
from otel_stageio.rebuild import attempts, folder, sources, spans_only
from otel_stageio.rebuild.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_stageio.model import Line
    from otel_stageio.rebuild.attempts import Attempt

_JOURNALS: Final = (EVENTS, LOG_RECORDS, TRACES)


class Rebuilt(NamedTuple):
    """What came of it."""

    #: The job folders, in the order of their ids.
    folders: tuple[Path, ...]
    #: How many attempts of stages are in them.
    attempts: int
    #: How many records of jobs the files held, repeats counted.
    records: int
    #: Lines that are no OTLP/JSON.
    broken: int
    #: What is not as it was where it was recorded, in sentences.
    missing: tuple[str, ...]


class _Taken(NamedTuple):
    records: int = 0
    broken: int = 0
    newer: int = 0


def rebuild(paths: Sequence[str | os.PathLike[str]], into: str | os.PathLike[str]) -> Rebuilt:
    """Make the job folders anew that the OTLP/JSON files tell of: a Collector's, journals of stages, in any order.

    One job becomes the folder `into`, several become folders below it, each named by its id. The folder has to be
    empty, or to hold the same job rebuilt before, which is then added to. Memory does not grow with the files; a
    private database in the folder for temporary files does.

    Raises JobFormatError where `into` holds something else or no file tells of a job, OutputPathError where a link
    leads out of it, OSError where a file cannot be read or written.
    """
    wanted = {trace for path in paths for trace in sources.traces(os.fspath(path))}
    missing: dict[str, None] = {}
    spool = Spool()
    try:
        taken = _Taken()
        for path in paths:
            taken = _take(spool, os.fspath(path), wanted, taken)
        found = attempts.find(spool, lambda _: None)
        jobs = sorted({each.job for each in found})
        folders = _folders(jobs, Path(into))
        if len(folders) > 1:
            folder.check_around(Path(into), jobs)
        before = [path for job, at in folders.items() if folder.check(at, job) for path in _journals(at)]
        for path in before:
            _take(spool, path, None, _Taken())

        def say(sentence: str) -> None:
            missing.setdefault(sentence)

        if taken.newer:
            say(f"{taken.newer:,} records are of a newer format than {names.FORMAT}: upgrade otel-stageio for them")
        found = attempts.numbered(attempts.find(spool, say))
        if not found:
            raise JobFormatError(
                f"{', '.join(map(str, paths)) or 'nothing'}: no record tells of a stage; "
                f"the Collector's file has to hold logs and traces of the pipeline. {' '.join(missing)}".strip()
            )
        write(spool, found, folders, say)
        return Rebuilt(tuple(at.root for at in folders.values()), len(found), taken.records, taken.broken, (*missing,))
    finally:
        spool.close()


def _take(spool: Spool, path: str, wanted: set[str] | None, taken: _Taken) -> _Taken:
    """Put the records of a file into the spool: those of jobs and of the traces `wanted`, or with None all."""
    records, broken, newer = taken
    for found in sources.lines(path):
        broken += found is None
        for line in found or ():
            if _readable(line):
                records += spool.add(line, wanted)
            else:
                newer += len(line.records)
    return _Taken(records, broken, newer)


def _readable(line: Line) -> bool:
    if line.scope.name != names.SCOPE or names.JOB_ID not in line.resource.attributes:
        return True
    try:
        identity.check_format(line.scope.version, "it")
    except JobFormatError:
        return False
    return True


def _folders(jobs: list[str], into: Path) -> dict[str, JobLayout]:
    if len(jobs) == 1:
        return {jobs[0]: JobLayout(into)}
    return {job: JobLayout(into / job) for job in jobs}


def _journals(job: JobLayout) -> list[str]:
    """The journal files of a job folder."""
    found = []
    for where, below, files in os.walk(job.root):
        below.sort()
        found += [os.path.join(where, name) for name in files if name in _JOURNALS]
    return found


def _about(job: str, say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda sentence: say(f"job {job}: {sentence}")


def write(spool: Spool, found: list[Attempt], folders: dict[str, JobLayout], say: Callable[[str], None]) -> None:
    """Write the attempts into the folders of their jobs, with everything that is made of them."""
    for each in found:
        if not each.started:
            began = min(other.began for other in found if (other.job, other.run) == (each.job, each.run))
            spans_only.complete(spool, each, {names.RUN_BEGAN: began})
    attempts.sort(spool, found)
    for job, at in folders.items():
        mine = [(place, each) for place, each in enumerate(found) if each.job == job]
        folder.begin(at, job, min(each.began for _, each in mine))
        writer = folder.Writer(at, spool, say if len(folders) == 1 else _about(job, say))
        for place, each in mine:
            writer.write(each, place)
        writer.finish(job)
    for left in spool.ask("SELECT count(*) FROM logs WHERE attempt IS NULL AND job <> ''"):
        if left:
            say(f"left out, since they belong to no stage that is there: {attempts.count(left, 'log record')}")
