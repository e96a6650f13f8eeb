"""How a stage ends: by finalize, by the end of a with block, by an exception, by the end of the process."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.errors import StatusError, quoted
from otel_stageio.job import members, recovery, registry
from otel_stageio.job.layout import placed
from otel_stageio.record import ending, exceptions
from otel_stageio.record.artifacts.tracking import StageTracking
from otel_stageio.record.commands.runner import StageCommands
from otel_stageio.record.notes import StageNotes
from otel_stageio.record.otel import hosts
from otel_stageio.record.processes import exits, ranks
from otel_stageio.record.values import plain
from otel_stageio.views import span

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from otel_stageio.job.layout import JobLayout, StageLayout
    from otel_stageio.model import Value
    from otel_stageio.record.background import Background
    from otel_stageio.record.logs.capture import Capture
    from otel_stageio.record.provenance import GitProbe
    from otel_stageio.record.sending import Sending
    from otel_stageio.record.usage import UsageMeter

_GIT_PATIENCE = 0.5


class StageLifecycle(StageTracking, StageNotes, StageCommands):
    """The end of a stage. The first one decides, fixes the span and lets the stage's lock go."""

    _background: Background
    _usage: UsageMeter
    _git: GitProbe | None
    #: Held by whoever asks git: the background thread does, and the end. A signal handler may end what it interrupts.
    _asking_git: threading.RLock
    _capture: Capture | None
    #: Folders of the job's stages whose processes were found dead.
    _dead: Sequence[str] = ()
    _sending: Sending
    _folder: str
    #: Whether manifest.json is written at the end: finalize's ``save_manifest``.
    _saves: bool
    #: The process that takes part as a member, and whether it has ended its part.
    _attached = 0
    _parted = False

    def finalize(self, status: str = "success", save_manifest: bool = True, **extra: Any) -> None:
        """End the stage as ``success``, ``failed`` or ``skipped``; the first call decides.

        `reason` says why, at the top of the manifest; any other keyword goes into its ``extra``. Within an ``except``
        block ``failed`` records the exception that is being handled, once. ``save_manifest=False`` leaves no
        manifest.json, neither this one nor that of the running stage; the journal has the end. ``success`` waits for
        checksums under way, at most ``STAGEIO_CHECKSUM_WAIT`` seconds. A later call changes nothing but is on record.
        Logging goes on working.

        Raises StatusError for any other status; the stage then stays open.
        """
        asked: object = status
        known = next((each for each in names.FINAL_STATUSES if isinstance(asked, str) and each == asked), None)
        if known is None:
            raise StatusError(
                f"finalize(status={quoted(status)}): unknown status; "
                f"use one of {', '.join(map(repr, names.FINAL_STATUSES))}"
            )
        reason = extra.pop("reason", None)
        handled = sys.exc_info()[1] if known == names.FAILED else None
        self._finish(known, reason=reason, raised=handled, extra=extra, save=bool(plain(save_manifest)))

    def close_failed(self, reason: str, *, error_type: str = "", parts: bool = False) -> None:
        """End the stage as failed, where it is open, without waiting for anything; something else than it ends it.

        A member leaves without a word, or, where it `parts`, as one that has failed.
        """
        with self._troubled("cannot end the stage"):
            if self._opened.member and not parts:  # whatever it did is on record, and the end is somebody else's
                self._leave()
            elif not self._recorder.finished:
                self._finish(names.FAILED, reason=reason, error_type=error_type)

    def close_raised(self, raised: BaseException) -> None:
        """End the stage as failed by an exception that nobody caught."""
        with self._troubled("cannot end the stage"):
            self._finish(names.FAILED, raised=raised)

    def contradict(self, raised: BaseException) -> None:
        """An exception that nobody caught came after the stage's success, which then is not the last word."""
        with self._troubled("cannot record an exception"):
            if self._recorder.finished and self._recorder.owned:
                self._end_again(raised)

    @property
    def folder(self) -> str:
        """The stage's folder as an absolute path, as it was when the stage was opened."""
        return self._folder

    @property
    def label(self) -> str:
        """What people call the stage: ``asr``, with an item ``asr:ep042``."""
        return self._opened.layout.label

    def _end_again(self, raised: BaseException) -> None:
        """Put an exception on record that came after the end: it contradicts a success, and is told in any case."""
        if self._recorder.summary is not None and self._recorder.summary.succeeded:
            self._finish(names.FAILED, raised=raised, call="uncaught exception")
        elif not exceptions.marked(raised, exceptions.RECORDED, self._recorder.span_id):
            self._note_error(exceptions.summary(raised), raised, call="uncaught exception")

    def writes(self) -> bool:
        """Whether the calling thread is in the middle of a record: a signal handler then has to wait."""
        return self._recorder.writes()

    def _finish(
        self,
        status: str,
        *,
        reason: object = None,
        raised: BaseException | None = None,
        error_type: str = "",
        extra: Mapping[str, Any] | None = None,
        save: bool = True,
        call: str = "finalize",
    ) -> None:
        recorder = self._recorder
        told = raised is not None and not exceptions.marked(raised, exceptions.RECORDED, recorder.span_id)
        if raised is not None and told:
            self._note_error(exceptions.summary(raised), raised, call=call)
        about = ending.attributes(
            status, reason=reason, raised=raised, error_type=error_type, extra=extra or {}, state=recorder.state
        )
        if self._attached == os.getpid():
            self._part(about)
            return
        if recorder.owned and not recorder.finished:
            self._wind_up(waits=status == names.SUCCESS)
            hidden: dict[str, Value] = {names.REDACTED_COUNT: n} if (n := recorder.redactor.count) else {}
            unsaved: dict[str, Value] = {} if save else {names.STAGE_MANIFEST: False}
            if recorder.finish({**about, **self._measured(), **hidden, **unsaved}):
                self._saves = save
                self._leave_trace()
                self._close()
                return
        if recorder.finished:
            # Told once: the error before it is the same call.
            recorder.event(names.FINISHED, about, call="" if told else call)
            self._update_job()
        else:
            recorder.warn("finalize in a forked child was ignored")

    def _part(self, about: dict[str, Value]) -> None:
        """End the part of a member: the attempt goes on until the process that opened it ends it."""
        if self._parted:
            return
        self._parted = True
        self._recorder.event(names.MEMBER_FINISHED, about, call="finalize")
        if about[names.STATUS] == names.FAILED:
            self._recorder.warn(
                f"member {self._opened.member} ended as failed: {about.get(names.REASON, 'no reason')!s}"
            )
        ranks.part(self._folder, self._opened.attempt)
        self._leave()

    def _leave(self) -> None:
        """Let go as a member: what it recorded is to be in the manifest, also where the attempt has ended already."""
        with self._troubled("cannot settle the artifacts"):  # of what it tracked the owner knows nothing
            self._judge_outputs()
        self._recorder.sync()
        opened = self._opened
        if opened.job is not None:
            with self._troubled("cannot bring the manifest of the stage up to date"):
                members.settle(opened.layout._replace(job=opened.job), opened.attempt, opened.member)
        self._let_go()

    def _wind_up(self, *, waits: bool) -> None:
        """Bring to an end what is still under way, for as long as a success may wait."""
        with self._troubled("cannot settle the artifacts"):
            self._judge_outputs()
            self._settle_digests(wait=self._settings.checksum_wait if waits else 0, progress=self._progress)
        self._note_git(_GIT_PATIENCE if waits else 0, final=True)

    def _measured(self) -> dict[str, Value]:
        with self._troubled("cannot measure the stage's resources"):
            known = self._recorder.state.resources
            return {names.RESOURCE_KEY + key: of for key, of in self._usage.read().items() if key not in known}
        return {}

    def _leave_trace(self) -> None:
        with self._troubled("cannot leave the trace"):
            self._trace.leave()
        with self._troubled("the program's tracer provider did not take the stage's span"):
            made = span.span(self._recorder.state)
            if self._trace.host_span is not None and made is not None:
                hosts.project(made, self._trace.host_span, self._trace.limits)

    def _close(self) -> None:
        """Put everything onto the disk and let go: views, lock, hooks. SIGTERM waits until it is done."""
        with exits.undisturbed():
            try:
                self._write_views()
            except BaseException:
                exits.owe(self)  # interrupted: the end of the process writes them
                raise
            finally:
                self._let_go()

    def _write_views(self) -> None:
        self._background.close()
        exits.paid(self)
        self._recorder.sync()
        if self._saves:
            self._recorder.manifest.rewrite(sync=True)
        else:
            self._recorder.manifest.remove()
        self._update_job()

    def _let_go(self) -> None:
        with self._troubled("cannot end git"):
            if self._git is not None:
                self._git.close()
        self._trace.leave()
        if self._capture is not None:
            self._capture.stop()
        if self._opened.lock is not None:
            self._opened.lock.release()
        self._sending.end()
        self._recorder.close()
        self._lineage = None  # it holds a descriptor
        exits.unregister(self)

    def _note_git(self, patience: float, *, final: bool) -> None:
        if self._git is None or self._recorder.finished or not self._recorder.owned:
            return
        with self._asking_git, self._troubled("cannot ask git"):
            found = self._git.result(patience)
            # Until the end, the whole answer is worth waiting for: what is on record is not said again.
            whole = found is not None and (final or names.GIT_DIRTY in found)
            if found is not None and whole and not self._recorder.state.git:
                self._recorder.event(names.GIT, dict(found), call="git")

    def _progress(self, done: int, total: int, seconds: float) -> None:
        self._logger.info("%s", ending.progress(done, total, seconds))

    def _write_ends(self) -> None:
        """Write the ends of attempts whose process died, and deliver what earlier stages could not: in the thread."""
        job = self._opened.job
        if job is not None:
            found = False
            with self._troubled("cannot write the end of a dead attempt"):
                stage = self._opened.layout._replace(job=job)
                if self._opened.attempt > 1 and self._opened.lock is not None and self._opened.lock.works:
                    found = recovery.write_end_before(stage, self._opened.attempt)
                for each in recovery.write_all_ends(_stages(job, self._dead, besides=stage.place)):
                    found = True
                    registry.update(job, each.place)
            if os.path.isdir(job.pipelines_dir):
                from otel_stageio.job import pipelines

                with self._troubled("cannot write the end of a dead pipeline"):
                    found = bool(pipelines.write_ends(job)) or found
            self._sending.take_along(again=found)

    def _update_job(self) -> None:
        job = self._opened.job
        if job is not None and self._recorder.owned:
            with exits.undisturbed(), self._troubled("cannot write the job manifest"):
                self._dead = registry.update(job, self._opened.layout.place)

    # With and decorators.

    def __enter__(self) -> Self:
        """Give the stage itself; stages that are opened inside the block hang on it."""
        self._trace.nests = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, where: TracebackType | None
    ) -> None:
        """End the stage where it is still open: success, or failed by the exception, which goes on.

        ``sys.exit(0)`` is success, any other exit failed with its code. A child by fork that leaves the block ends
        nothing, and nothing of it is on record: the block is its parent's.
        """
        if not self._recorder.owned and self._attached != os.getpid():
            return
        ended = self._recorder.finished
        if raised is None or ending.is_fine(raised):
            if not ended:
                self._finish(names.SUCCESS)
        elif isinstance(raised, SystemExit):
            if not ended or (self._recorder.summary is not None and self._recorder.summary.succeeded):
                self._finish(names.FAILED, **ending.exit_code(raised))
        elif ended:
            self._end_again(raised)
        else:
            self._finish(names.FAILED, raised=raised)

    # Views.

    def refresh(self) -> None:
        """Bring manifest.json up to date now, instead of with the next interim rewrite."""
        exits.paid(self)
        if self._saves:
            self._note_git(0, final=False)
            self._recorder.manifest.rewrite()


def _stages(job: JobLayout, folders: Sequence[str], *, besides: str) -> list[StageLayout]:
    """Those of these folders but one: our own attempt may look dead to us where it goes on beside another host's."""
    found = (placed(job, each) for each in folders if each != besides)
    return [each for each in found if each is not None]
