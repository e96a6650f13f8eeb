"""StageIO: what a stage imports."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_stageio import settings as surroundings
from otel_stageio.errors import ItemNameError, SettingError, guard, quoted
from otel_stageio.job import numbers
from otel_stageio.job.layout import StageLayout, absolute
from otel_stageio.job.naming import check_item, check_name
from otel_stageio.record import ending
from otel_stageio.record.artifacts.description import JobPaths
from otel_stageio.record.artifacts.hashing import Hasher
from otel_stageio.record.background import Background
from otel_stageio.record.lifecycle import StageLifecycle
from otel_stageio.record.logs.console import Console
from otel_stageio.record.logs.handler import StageHandler
from otel_stageio.record.logs.logger import make_logger
from otel_stageio.record.logs.quick import QuickWay
from otel_stageio.record.opened import Opened, Request
from otel_stageio.record.opening import open_silent, open_stage
from otel_stageio.record.otel import awaiting, carrier, hosts, tracer
from otel_stageio.record.otel.context import StageTrace
from otel_stageio.record.otel.limits import SpanLimits
from otel_stageio.record.paths import path_text
from otel_stageio.record.processes import exits, membership
from otel_stageio.record.provenance import GitProbe
from otel_stageio.record.secrets.redaction import Redactor
from otel_stageio.record.sending import Sending
from otel_stageio.record.usage import UsageMeter
from otel_stageio.record.values import clean_text, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.trace import TracerProvider

    from otel_stageio.record.otel.hosts import Host


class StageIO(StageLifecycle):
    """One execution of a stage: its paths, its log, its manifest, its record.

    Open it at the start of the stage, end it with `finalize`, or use it as a context manager. Every call is on disk
    when it returns. All methods may be called from any thread; those of the tracking and noting kind never raise for
    what they are given, and trouble of our own never reaches the caller.

    Attributes (paths as the caller gave the job folder): ``stage_name``, ``stage_number``, ``item`` (``""``: none),
    ``stage_dir``, ``output_base`` and ``job_dir`` (the same), ``stage_log``, ``manifest_path``, ``logs_dir``.
    """

    def __init__(
        self,
        stage_name: str,
        output_base: str | os.PathLike[str] | None = None,
        enable_manifest: bool = True,
        *,
        stage_number: int | None = None,
        stages: Iterable[str] | None = None,
        item: str | int | None = None,
        mode: str | None = None,
        capture: str | None = None,
        checksum: str | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        """Open a new attempt of a stage.

        Args:
            stage_name: ``asr``, or ``06_asr`` with its number.
            output_base: the job folder; else ``STAGEIO_JOB_DIR``, else ``OUTPUT_DIR``, else ``out``.
            enable_manifest: False leaves out manifest.json and all artifacts; logs and journal are as ever.
            stage_number: from 0 up; else from the name, the declared order, an existing folder, or the next free one.
            stages: the declared order; else ``STAGEIO_STAGES``, else ``[tool.stageio] stages`` in pyproject.toml.
            item: the unit of work of an array task or a loop, ``ep042``: it has a folder, a log, a manifest, attempts
                and a lock of its own, ``06_asr/ep042/``. Default ``STAGEIO_ITEM``; ``""`` is none, whatever that says.
            mode: ``auto``; ``file`` stays offline; ``off`` writes nothing. Default ``STAGEIO_MODE``.
            capture: ``root`` also records what other loggers and Python warnings say. Default ``STAGEIO_CAPTURE``.
            checksum: the default for tracked files, ``auto``, ``sha256``, ``stat`` or ``off``.
            tracer_provider: OpenTelemetry's, to make the stage's span with; else the process's. With it, or with
                ``STAGEIO_TRACER=off``, the process's provider is left to the program.

        Raises StageNameError, StageNumberError, ItemNameError, OutputPathError and SettingError for arguments that
        cannot be honoured, StageRunningError where the stage is open in a living process of this host, JobFormatError
        where the folder was written by a newer version. A job folder that cannot be written degrades to
        ``mode="off"``, with one line on stderr.

        """
        found = surroundings.load()
        self._settings = _with_arguments(found, mode=mode, capture=capture, checksum=checksum)
        self._console = Console(self._settings.console, no_color=not self._settings.color)
        self._usage = UsageMeter.start()
        self._searched = {}
        self._outputs, self._awaited, self._digests = {}, {}, {}
        enable_manifest = bool(plain(enable_manifest))
        self._tracks = enable_manifest
        self._saves = True
        given = output_base if output_base is not None else self._settings.job_dir or "out"
        root = Path(path_text(given, "job folder"))
        if tracer_provider is not None and not callable(getattr(tracer_provider, "get_tracer", None)):
            raise SettingError(f"tracer_provider={quoted(tracer_provider)} is no OpenTelemetry TracerProvider")
        environ = surroundings.environment()
        incoming = carrier.incoming(environ)
        declared = _order(stages) if stages is not None else self._settings.stages
        self._opened = self._open(
            Request(
                text=stage_name,
                root=root,
                number=stage_number,
                item=_item(item, self._settings.item),
                declared=declared,
                manifest=enable_manifest,
                settings=self._settings,
                report=self._console.report,
                incoming=incoming,
                redactor=Redactor(self._settings.redact, environ),
                host=self._host(tracer_provider),
            )
        )
        placed = self._opened.entry
        layout = self._opened.layout
        self.stage_name = layout.name
        self.stage_number = layout.number
        self.item = layout.item
        self.output_base = self.job_dir = layout.job.root
        self._folder = absolute(str(layout.folder))
        self.stage_dir = layout.folder
        self.stage_log = self._opened.log
        self.manifest_path = layout.manifest
        self.logs_dir = layout.job.logs_dir
        self._recorder = self._opened.recorder
        handler = StageHandler(self._recorder, stage=layout.label, console=self._console)
        self._trace = StageTrace(
            self._recorder,
            placed.own,
            limits=SpanLimits.of(environ),
            handler=handler,
            host=placed.host,
            host_span=placed.host_span,
            watch=hosts.watch(),
        )
        self._job_paths = JobPaths.of(str(root))
        self._manners = {}
        self._quickly = self._tracks and self._opened.job is not None and self._settings.checksum in ("auto", "sha256")
        self._hasher = Hasher(self._digested)
        self._logger = make_logger(layout.label, handler, weakref.ref(self))
        self._git = self._probe_git()
        self._asking_git = threading.RLock()
        self._sending = Sending(self._opened, self._settings, self._console.report)
        self._background = Background(
            beat=self._beat, refresh=self.refresh, size=self._recorder.manifest.size, begin=self._write_ends
        )
        self._capture = None
        try:
            self._begin(incoming.problems)
            self._trace.enter(placed.context)
            self._logger.quick = QuickWay(self._logger, handler, self._trace.context)
        except BaseException:  # interrupted: the stage can be opened again
            self._background.close()
            self._let_go()
            raise

    # Opening.

    def _host(self, provider: TracerProvider | None) -> Host | None:
        """The program's own tracer provider; where it has none, of tracers or loggers, ours becomes the process's."""

        def tell(what: str, why: BaseException) -> None:
            self._console.report(f"cannot {what}: {type(why).__name__}: {why}")

        with guard(partial(tell, "take in OpenTelemetry's log records")):
            awaiting.install(ours=provider is None and self._settings.tracer)
        with guard(partial(tell, "use the program's tracer provider")):
            found = hosts.find(provider)
            if found is None and provider is None and self._settings.tracer:
                tracer.install()
            return found
        return None

    def _open(self, request: Request) -> Opened:
        if self._settings.mode == "off":
            return open_silent(request)
        if not membership.joins():
            self._supersede(request)

        def tell(why: BaseException) -> None:
            self._console.report(
                f"cannot write the job folder {request.root}: {why}; stage {request.text!r} runs without a record"
            )

        with guard(tell):
            return open_stage(request)
        return open_silent(request)

    @staticmethod
    def _supersede(request: Request) -> None:
        """In a notebook the cell that opens a stage is run again and again: the former attempt ends, no error."""
        shell = sys.modules.get("IPython")
        if shell is None or shell.get_ipython() is None:
            return
        job = request.job
        with guard(lambda _: None):  # what is wrong with the request is said when it is opened
            resolved = numbers.resolve(job, request.text, number=request.number, declared=request.declared, claim=False)
            folder = os.path.realpath(StageLayout(job, resolved.number, resolved.name, request.item).folder)
            for former in exits.open_stages(resolved.name):
                if os.path.realpath(former.folder) == folder:
                    former.close_failed("superseded")

    def _probe_git(self) -> GitProbe | None:
        if self._opened.job is None or self._opened.member:
            return None
        with self._troubled("cannot ask git"):
            main = surroundings.main_file_of_process()
            folder = os.path.dirname(absolute(main)) if main else os.curdir
            return GitProbe.start(folder, environ=surroundings.environment())
        return None

    def _begin(self, ignored: tuple[str, ...]) -> None:
        opened = self._opened
        _by_folder[self._attempt_folder()] = self
        if opened.member:
            self._attached = os.getpid()
            self._sending.begin()
        elif opened.job is not None:
            self._recorder.write_line(ending.header(opened))
            self._recorder.manifest.rewrite()
            if not self._tracks:  # nor one of an attempt before, which would pass for this one's
                self._recorder.manifest.remove()
            self._update_job()
            self._sending.begin()
            self._background.start()
            self._recorder.on_change = self._changed
            self._recorder.poke = self._background.poke
        exits.register(self, sigterm=self._settings.sigterm and opened.job is not None and not opened.member)
        if self._settings.capture == "root":
            from otel_stageio.record.logs.capture import Capture

            self._capture = Capture.start(self._recorder, opened.layout.label)
        if opened.member:
            return
        if opened.resolved.how == "claimed":
            self._logger.info(
                "Stage number %d is the next free one. To declare the order of the stages: StageIO(..., stages=[...]), "
                "STAGEIO_STAGES, or [tool.stageio] stages in pyproject.toml.",
                self.stage_number,
            )
        for finding in (*opened.warnings, *self._settings.problems):
            self._find(clean_text(finding))
        for problem in ignored:
            self._logger.debug("%s", clean_text(problem))

    # Other processes.

    def _attempt_folder(self) -> str:
        places = self._recorder.places
        return places.attempt_folder if places is not None else f"\0{id(self)}"

    def __reduce__(self) -> tuple[Any, tuple[str, tuple[Any, ...], dict[str, Any]]]:
        """Pickle to this stage: in another process it takes part in the same attempt, as a member."""
        options = {"stage_number": self.stage_number, "item": self.item, "mode": self._settings.mode}
        options.update(capture=self._settings.capture, checksum=self._settings.checksum)
        root = str(self.output_base) if self._opened.job is None else str(self._opened.job.root)
        return _unpickled, (self._attempt_folder(), (self.stage_name, root, self._tracks), options)

    # While it runs.

    @property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest of this moment, a copy that may be kept; None with ``enable_manifest=False``."""
        if not self._tracks:
            return None
        import json

        document: dict[str, Any] = json.loads(self._recorder.manifest.dump())
        return document

    def __repr__(self) -> str:
        """What a person wants to know: which stage, where, how it stands."""
        where = self.stage_dir if self._opened.job is not None else f"{self.stage_dir}, nothing written"
        return (
            f"<StageIO {self.stage_number:02d} {self._opened.layout.label!r}: {self._recorder.state.status}, "
            f"attempt {self._opened.attempt}, run {self._opened.run}, {where}>"
        )

    def _changed(self) -> None:
        if self._recorder.finished:
            exits.owe(self)
        self._background.poke()

    def _beat(self) -> None:
        if self._opened.lock is not None:
            with self._troubled("cannot touch the lock"):
                self._opened.lock.touch()


#: The stages of this process by the folder of their attempt; those that nobody holds any more are gone.
_by_folder: weakref.WeakValueDictionary[str, StageIO] = weakref.WeakValueDictionary()


def _unpickled(folder: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> StageIO:
    known = _by_folder.get(folder)
    if known is not None:
        return known
    with membership.wanting(folder):
        return StageIO(*arguments, **options)


def _order(stages: Iterable[str]) -> tuple[str, ...]:
    """The order of stages that was given, once it is known to be one."""
    if isinstance(stages, (str, bytes)) or not hasattr(type(stages), "__iter__"):
        raise SettingError(f"stages={quoted(stages)} is no list: give one of stage names, such as ['ingest', 'asr']")
    declared = tuple(stages)
    for _, name in numbers.declared_stages(declared):
        check_name(name)
    return declared


def _item(given: object, in_environment: str) -> str:
    """The item that was asked for; "" where none was."""
    if given is not None:
        return check_item(given) if given != "" else ""
    try:
        return check_item(in_environment) if in_environment else ""
    except ItemNameError as why:
        raise ItemNameError(f"STAGEIO_ITEM: {why}") from None


def _with_arguments(
    found: surroundings.Settings, *, mode: str | None, capture: str | None, checksum: str | None
) -> surroundings.Settings:
    """The settings with the caller's arguments over them. Raises SettingError for one outside its list."""
    given: dict[str, Any] = {}
    if mode is not None:
        given["mode"] = surroundings.choice("mode", mode, surroundings.MODES)
    if capture is not None:
        given["capture"] = surroundings.choice("capture", capture, surroundings.CAPTURES)
    if checksum is not None:
        given["checksum"] = surroundings.choice("checksum", checksum, surroundings.CHECKSUMS)
    return found._replace(**given) if given else found
