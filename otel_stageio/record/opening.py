"""Opening an attempt: from the caller's arguments and the surroundings to a recorder that is ready to write.

The order matters: the number is settled before the folder is made, the lock is held before the attempt is claimed, and
the started event is the first line of the journal.
"""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_stageio import conventions as names
from otel_stageio.errors import StageRunningError
from otel_stageio.job import attempts, changes, host, identity, items, links, locks, members, numbers, runs, status
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.job.numbers import Resolved
from otel_stageio.job.runs import Run
from otel_stageio.journal import files
from otel_stageio.model import Resource, Value
from otel_stageio.record import holding, provenance
from otel_stageio.record.opened import Opened, Request
from otel_stageio.record.otel import entry
from otel_stageio.record.otel.entry import Entry
from otel_stageio.record.places import Places
from otel_stageio.record.processes import membership, ranks
from otel_stageio.record.recorder import Recorder

#: One for each process: tells the records of two processes of one service apart.
_instance = (os.getpid(), os.urandom(8).hex())
#: Jobs, by id, and runs that this process takes part in: within one process a pipeline is not started again.
_joined: set[tuple[str, int]] = set()


def open_silent(request: Request) -> Opened:
    """Open a stage of which nothing is written: paths, console, and a manifest in memory."""
    resolved = _resolved_unseen(request)
    placed = entry.enter(request.incoming, request.host, name=resolved.name, run=None, start=time.time_ns())
    recorder = _recorder(None, placed, Resource(), request)
    layout = StageLayout(JobLayout(request.root), resolved.number, resolved.name, request.item)
    opened = Opened(layout=layout, log=layout.log, recorder=recorder, resolved=resolved, entry=placed)
    _start(opened, request, job_id="", run=None)
    return opened


def _recorder(
    places: Places | None, placed: Entry, resource: Resource, request: Request, reread: Callable[[], Any] | None = None
) -> Recorder:
    return Recorder(
        places,
        trace_id=placed.trace_id,
        span_id=placed.span_id,
        flags=int(placed.own.trace_flags),
        resource=resource,
        report=request.report,
        redactor=request.redactor,
        reread=reread,
    )


def _resolved_unseen(request: Request) -> Resolved:
    """The stage's number without a claim; where the job folder cannot even be read, the one that is next by order."""
    job = JobLayout(request.root)
    try:
        return numbers.resolve(job, request.text, number=request.number, declared=request.declared, claim=False)
    except OSError:
        places = [place for place, _ in numbers.declared_stages(request.declared)]
        return numbers.Resolved(number=1 + max(places, default=0), name=request.text, how="claimed")


def open_stage(request: Request) -> Opened:
    """Take part in the attempt that this process belongs to, or open a new one. Raises what `open_attempt` does."""
    found = membership.find(request)
    if found.attempt is not None:
        return open_member(request, found.attempt)
    try:
        opened = open_attempt(request)
    except StageRunningError:
        fellow = ranks.of_fellow(request)
        if fellow is None:
            raise
        return open_member(request, fellow)
    return opened._replace(warnings=(*found.warnings, *opened.warnings))


def open_attempt(request: Request) -> Opened:
    """Open a new attempt of a stage in its job folder.

    Raises StageRunningError where the stage is open in a living process of this host, StageNameError and
    StageNumberError as `numbers.resolve`, ItemNameError where the item's name is an output's, JobFormatError where a
    newer version wrote the folder, OutputPathError where a link leads out of it, and OSError where the folder cannot be
    written.
    """
    job = request.job
    # Before the first write: a folder of a newer format is left as it is, and no link leads elsewhere.
    identity.read_job_id(job)
    links.refuse(job.root, job.inner, job.runs_dir, job.numbers_dir, job.logs_dir)
    resolved = numbers.resolve(job, request.text, number=request.number, declared=request.declared)
    job_id = identity.job_id(job)
    stage = StageLayout(job, resolved.number, resolved.name, request.item)
    links.refuse(job.root, *stage.folders, stage.inner)
    if request.item:
        items.claim(stage)
    files.make_folders(str(stage.inner))
    files.make_folders(str(job.logs_dir))
    lock, warnings = holding.hold(stage)
    try:
        return _open_locked(request, stage, resolved, job_id, lock=lock, warnings=warnings)
    except BaseException:
        lock.release()
        raise


def open_member(request: Request, of: members.Attempt) -> Opened:
    """Take part in an attempt that another process opened. Raises OSError where the folder cannot be written."""
    stage, started = of.stage, of.started
    about = started.attributes
    number = int(str(about[names.RUN]))
    job_id = str(about[names.JOB_ID])
    run = runs.read(stage.job, number)
    links.refuse(stage.job.root, *stage.folders, stage.inner, stage.members_dir(of.number))
    member = members.claim(of)
    log = _member_log(stage)
    places = Places(
        stage,
        of.number,
        stage_log=str(stage.folder / log),
        pipeline_log=str(_pipeline_log(stage.job, run)) if run is not None else os.devnull,
        with_manifest=request.manifest,
        member=member,
    )
    own = entry.known(started.trace_id, started.span_id, started.flags)
    placed = entry.Entry(own=own, start=time.time_ns(), parent=None, context=request.incoming.context)
    recorder = _recorder(places, placed, _resource(request, job_id, number), request)
    recorder.join(member, started)
    layout = stage._replace(job=JobLayout(request.root))
    return Opened(
        layout=layout,
        log=layout.folder / log,
        recorder=recorder,
        resolved=Resolved(stage.number, stage.name, "folder"),
        entry=placed,
        job=stage.job,
        attempt=of.number,
        run=number,
        run_name=str(about.get(names.RUN_NAME) or started.trace_id),
        member=member,
    )


def _open_locked(
    request: Request,
    stage: StageLayout,
    resolved: Resolved,
    job_id: str,
    *,
    lock: locks.StageLock,
    warnings: list[str],
) -> Opened:
    parent = request.incoming.parent
    roots = entry.RootSpans(request.host)
    run = runs.join(
        stage.job,
        name=request.redactor.text(request.settings.run) if request.settings.run else None,
        done=lambda number: (job_id, number) not in _joined and _done(stage, number),
        host=host.name(),
        resource=lambda number: _resource(request, job_id, number),
        incoming=entry.ids_of(parent) if parent is not None else None,
        ids=roots.ids,
    )
    roots.settle(run, job_id)
    _joined.add((job_id, run.run))
    attempt = _claim_attempt(stage)
    with contextlib.suppress(OSError):  # told of once more with the job manifest: this is for those who die until then
        if stage.item:
            changes.tell_opened(stage.job, stage.place, attempt)
        else:
            changes.tell(stage.job, stage.place)
    log = _stage_log(stage, attempt, lock)
    places = Places(
        stage,
        attempt,
        stage_log=str(stage.folder / log),
        pipeline_log=str(_pipeline_log(stage.job, run)),
        with_manifest=request.manifest,
    )
    placed = entry.enter(request.incoming, request.host, name=stage.name, run=run, start=time.time_ns())
    resource = _resource(request, job_id, run.run)
    recorder = _recorder(places, placed, resource, request, lambda: attempts.state(stage, attempt, live=True))
    layout = stage._replace(job=JobLayout(request.root))
    opened = Opened(
        layout=layout,
        log=layout.folder / log,
        recorder=recorder,
        resolved=resolved,
        entry=placed,
        job=stage.job,
        lock=lock,
        attempt=attempt,
        run=run.run,
        run_name=run.name or run.trace_id,
        warnings=tuple(warnings),
    )
    _start(opened, request, job_id=job_id, run=run)
    return opened


def _done(stage: StageLayout, run: int) -> bool:
    """Whether the stage did its work in that run already, so that starting it again begins a new pass.

    Called with the stage's lock held: an attempt without an end is dead.
    """
    for attempt in reversed(stage.attempts()):
        known = status.read_summary(stage, attempt)
        if known is not None and known.run == run:
            return known.succeeded
    return False


def _claim_attempt(stage: StageLayout) -> int:
    number = max(stage.attempts(), default=0) + 1
    while not files.claim_folder(str(stage.attempt_dir(number))):
        number += 1
    return number


def _stage_log(stage: StageLayout, attempt: int, lock: locks.StageLock) -> str:
    """The name of the stage's log; a host that did not make the first attempt has one of its own there, too."""
    here = host.name()
    own = f"{stage.log.stem}.{here}{stage.log.suffix}"
    if attempt == 1:
        return stage.log.name
    first = status.first_host(stage)
    if not first and lock.works:
        # Its attempts died before their first record, or begin in this moment on a host whose locks are not seen here.
        first = str((lock.former or {}).get("host", ""))
    return stage.log.name if first == here and not os.path.exists(stage.folder / own) else own


def _member_log(stage: StageLayout) -> str:
    """The stage's log on this host, which the attempt writes, too, if it is on this host."""
    here = host.name()
    own = f"{stage.log.stem}.{here}{stage.log.suffix}"
    first = status.first_host(stage) in ("", here) and not os.path.exists(stage.folder / own)
    return stage.log.name if first else own


def _pipeline_log(job: JobLayout, run: Run) -> Path:
    """The run's log; a host that did not begin the run writes one of its own, since one host writes a file."""
    path = job.root / run.pipeline_log
    here = host.name()
    return path if run.host == here else path.with_suffix(f".{here}.log")


def instance() -> str:
    """The id of this process among those of its service."""
    global _instance  # noqa: PLW0603 - a forked child is an instance of its own
    if _instance[0] != os.getpid():
        _instance = (os.getpid(), os.urandom(8).hex())
    return _instance[1]


def _resource(request: Request, job_id: str, run: int) -> Resource:
    service = request.redactor.text(request.settings.service_name)
    attributes = request.redactor.attributes(dict(request.settings.resource_attributes))
    return identity.resource(service=service, instance=instance(), job=job_id, run=run, attributes=attributes)


def _start(opened: Opened, request: Request, *, job_id: str, run: Run | None) -> None:
    stage = opened.layout
    about: dict[str, Value] = {
        names.STAGE_NAME: stage.name,
        names.STAGE_NUMBER: stage.number,
        **({names.STAGE_ITEM: stage.item} if stage.item else {}),
        **({names.RANK: request.settings.rank} if request.settings.rank and not stage.item else {}),
        names.STAGE_ATTEMPT: opened.attempt,
        names.STAGE_MANIFEST: request.manifest,
        names.JOB_ID: job_id,
        names.RUN: opened.run,
    }
    if run is not None:
        if run.name is not None:
            about[names.RUN_NAME] = run.name
        # By these a job folder can be made anew: they are in no other record, where the run began in a caller's trace.
        about.update(
            {names.RUN_BEGAN: run.created_unix_nano, names.RUN_HOST: run.host, names.RUN_LOG: run.pipeline_log}
        )
    about.update(opened.entry.told(run))
    if request.declared:
        about[names.JOB_STAGES] = [name for _, name in numbers.declared_stages(request.declared)]
    about.update(provenance.describe_process())
    about[names.BOOT_ID] = host.boot_id()
    about[names.UTC_OFFSET] = time.localtime(opened.entry.start // 1_000_000_000).tm_gmtoff
    opened.recorder.event(names.STARTED, about, call="StageIO", at=opened.entry.start)
