"""What the surroundings ask for: the environment and the nearest pyproject.toml, read once for each stage.

The only reader of `os.environ`. A value that cannot be honoured never stops a stage: its default is used, and one
sentence in `Settings.problems` says so. The variables, each unset where it is empty:

STAGEIO_JOB_DIR, else OUTPUT_DIR   the job folder
STAGEIO_MODE                       auto | file | off
STAGEIO_RUN                        the run's name: the same text is the same run
STAGEIO_ITEM                       the item of the stage that this process works on
STAGEIO_ATTEMPT                    the folder of the attempt that this process belongs to: set by `io.environ()`
RANK, SLURM_PROCID,                which of several processes of one launch this is: those above 0 take part in
OMPI_COMM_WORLD_RANK               the stage that 0 opens
STAGEIO_STAGES                     the declared order, separated by commas or blanks; else ``[tool.stageio] stages``
STAGEIO_CONSOLE                    auto | stderr | stdout | off
STAGEIO_CAPTURE                    stage | root
STAGEIO_CHECKSUM                   auto | sha256 | stat | off; else ``[tool.stageio] checksum``
STAGEIO_CHECKSUM_WAIT              how long the end of a stage waits for digests, in seconds
STAGEIO_SIGTERM                    on | off
STAGEIO_TRACER                     on | off: whether OpenTelemetry's API gets our tracer where the program set none
TRACEPARENT, TRACESTATE, BAGGAGE   the trace that the stage is called in; read by `record.otel.carrier`
STAGEIO_REDACT                     patterns of what is hidden besides the secrets that are known as such, separated by
                                   commas or line ends; they hold together with those of ``[tool.stageio] redact``
STAGEIO_SHIP_LEVEL                 the level from which on log records are sent; on disk are all
OTEL_SERVICE_NAME                  the pipeline; else service.name in OTEL_RESOURCE_ATTRIBUTES, else
                                   ``[tool.stageio] pipeline``, else ``[project] name``
OTEL_RESOURCE_ATTRIBUTES           what every line says besides of the program and where it runs
OTEL_SDK_DISABLED                  true: nothing is sent, and our tracer is nobody's
OTEL_EXPORTER_OTLP_*               where records are sent: `settings.export`
NO_COLOR, TERM=dumb                a console without colours

A pattern of `redact` is a regular expression of what is hidden in texts. With ``=`` at its end it is that of a name, as
a whole and in any case, whose values are hidden: ``patient_id=``. With ``!`` before it, it is an exception, of a name
or of the whole of a text that would be hidden: ``!session_token=``, ``!demo-[0-9]+``. A pattern with a comma other than
in ``{2,4}`` has its place in pyproject.toml.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from otel_stageio.errors import SettingError, quoted
from otel_stageio.settings import project as projects
from otel_stageio.settings.variables import Variables, listed

Mode: TypeAlias = Literal["auto", "file", "off"]
Console: TypeAlias = Literal["auto", "stderr", "stdout", "off"]
Capture: TypeAlias = Literal["stage", "root"]
Checksum: TypeAlias = Literal["auto", "sha256", "stat", "off"]
Protocol: TypeAlias = Literal["http/protobuf", "grpc"]
_Switch: TypeAlias = Literal["on", "off"]

MODES: tuple[Mode, ...] = ("auto", "file", "off")
CONSOLES: tuple[Console, ...] = ("auto", "stderr", "stdout", "off")
CAPTURES: tuple[Capture, ...] = ("stage", "root")
CHECKSUMS: tuple[Checksum, ...] = ("auto", "sha256", "stat", "off")
PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
_SWITCH: tuple[_Switch, ...] = ("on", "off")

#: Why nothing of a signal is sent, mostly.
NO_ENDPOINT = "no endpoint is set"

_CHECKSUM_WAIT = 300.0
_SERVICE = "stageio"
#: What Python sets LC_CTYPE to where the locale is C.
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
#: Without all of these there is nothing more to be read of what is sent.
_SHIPPING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "STAGEIO_SHIP_LEVEL",
)

_Choice = TypeVar("_Choice", bound=str)


class Signal(NamedTuple):
    """Where traces or logs are sent. The exporters read headers, compression, certificates and insecure themselves."""

    #: As the exporters take it, for HTTP with the signal's path; None where this signal is not sent.
    endpoint: str | None = None
    protocol: Protocol = "http/protobuf"
    #: Seconds for a request, above 0.
    timeout: float = 10.0
    #: Where the endpoint is; "" and 0 where it is no host and port, such as a socket for gRPC.
    host: str = ""
    port: int = 0
    #: Why it is not sent; "" where it is.
    off: str = NO_ENDPOINT


class Export(NamedTuple):
    """What the environment says of sending, whatever `Settings.mode` is: a stage of mode file or off sends nothing."""

    traces: Signal = Signal()
    logs: Signal = Signal()
    #: The severity number from which on log records are sent; 0 sends all. Events are sent whatever it is, and so are
    #: records without a severity.
    ship_level: int = 0
    #: OTEL_SDK_DISABLED: neither signal is sent.
    disabled: bool = False
    #: One sentence about an endpoint that is probably meant otherwise, else "".
    hint: str = ""


class Settings(NamedTuple):
    """What holds for a stage where its own arguments say nothing."""

    job_dir: str | None
    mode: Mode
    run: str | None
    #: As it stands there; whether it can be an item's name is the stage's to say, since there is no default for it.
    item: str
    #: The folder of the attempt that an ancestor of this process holds, "" without one.
    attempt: str
    #: Which of several processes of one launch this is, from 0 up, and the variable that says so.
    rank: int
    rank_source: str
    #: The declared order of the stages, and where it was declared ("" where it was not).
    stages: tuple[str, ...]
    stages_source: str
    console: Console
    #: False where colours were declined; whether the console is a terminal is asked elsewhere.
    color: bool
    capture: Capture
    checksum: Checksum
    #: Seconds, finite, from 0 up.
    checksum_wait: float
    #: Whether a handler for SIGTERM may be installed.
    sigterm: bool
    #: Whether our tracer and logger providers may become the process's, where it has none; not with OTEL_SDK_DISABLED.
    tracer: bool
    #: Patterns of what is to be hidden, and, with an exclamation mark, of what is not; each compiles.
    redact: tuple[str, ...]
    service_name: str
    #: What OTEL_RESOURCE_ATTRIBUTES says besides, none of it ours, 4 KiB at most.
    resource_attributes: tuple[tuple[str, str], ...]
    export: Export
    #: One sentence for each value that could not be honoured.
    problems: tuple[str, ...]


class _MainFile:
    """Stands for "look at the main module yourself", which None, "there is no main script", cannot."""


_MAIN_FILE = _MainFile()


def environment() -> dict[str, str]:
    """Return a copy of this process's environment, to be handed to a child."""
    return dict(os.environ)


def environment_at_start() -> dict[str, str]:
    """The same for a child that stands for this process: as it was before Python set LC_CTYPE itself (PEP 538)."""
    made = environment()
    try:
        with open("/proc/self/environ", "rb") as file:
            at_start = file.read()
    except OSError:
        return made
    if made.get("LC_CTYPE") in _COERCED and b"\0LC_CTYPE=" not in b"\0" + at_start:
        del made["LC_CTYPE"]
    return made


@contextmanager
def lent(name: str, value: str) -> Iterator[None]:
    """Set a variable for the block, for a library that can be told in no other way; the user's own value stands."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)


def choice(name: str, value: object, allowed: tuple[_Choice, ...]) -> _Choice:
    """Return the one of `allowed` that `value` is.

    Raises SettingError, which names the argument and what is allowed.
    """
    for one in allowed:
        if isinstance(value, str) and value == one:
            return one
    message = f"{name}={quoted(value)} is not one of {listed(allowed)}"
    raise SettingError(message)


def load(
    *,
    environ: Mapping[str, str] | None = None,
    main_file: str | _MainFile | None = _MAIN_FILE,
    cwd: str | None = None,
    endpoint: str | None = None,
) -> Settings:
    """Read the environment and the nearest pyproject.toml; never raises.

    `environ` stands for the process's environment, `main_file` for the path of the main script (None: there is none, as
    in a notebook), `cwd` for the working directory. The pyproject.toml is the nearest one upward from the main script's
    folder; where there is no script or none is found, upward from the working directory. `endpoint` stands for all OTLP
    endpoints of the environment.
    """
    problems: list[str] = []
    variables = Variables(os.environ if environ is None else environ, problems)
    project = projects.nearest(main_file_of_process() if isinstance(main_file, _MainFile) else main_file, cwd, problems)

    stages, stages_source = tuple((variables.text("STAGEIO_STAGES") or "").replace(",", " ").split()), "STAGEIO_STAGES"
    if not stages:
        stages, stages_source = project.stages()
    checksum_default = project.choice("checksum", CHECKSUMS, "auto")
    disabled = variables.is_true("OTEL_SDK_DISABLED")
    resource_service, resource_attributes = variables.resource()
    rank, rank_source = variables.rank()

    return Settings(
        job_dir=variables.text("STAGEIO_JOB_DIR") or variables.text("OUTPUT_DIR"),
        mode=variables.choice("STAGEIO_MODE", MODES, "auto"),
        run=run_name(variables.text("STAGEIO_RUN")),
        item=variables.word("STAGEIO_ITEM"),
        attempt=variables.text("STAGEIO_ATTEMPT") or "",
        rank=rank,
        rank_source=rank_source,
        stages=stages,
        stages_source=stages_source,
        console=variables.choice("STAGEIO_CONSOLE", CONSOLES, "auto"),
        color=variables.text("NO_COLOR") is None and variables.text("TERM") != "dumb",
        capture=variables.choice("STAGEIO_CAPTURE", CAPTURES, "stage"),
        checksum=variables.choice("STAGEIO_CHECKSUM", CHECKSUMS, checksum_default),
        checksum_wait=variables.seconds("STAGEIO_CHECKSUM_WAIT", _CHECKSUM_WAIT),
        sigterm=variables.choice("STAGEIO_SIGTERM", _SWITCH, "on") == "on",
        tracer=variables.choice("STAGEIO_TRACER", _SWITCH, "on") == "on" and not disabled,
        redact=(*project.redact(), *variables.redact()),
        service_name=_clean(
            variables.text("OTEL_SERVICE_NAME") or resource_service or project.pipeline() or project.name() or _SERVICE
        ),
        resource_attributes=resource_attributes,
        export=_export(variables, endpoint, disabled=disabled),
        problems=tuple(problems),
    )


def proxy_for(endpoint: str, protocol: Protocol = "http/protobuf") -> str | None:
    """Return the URL of the proxy that an exporter goes through to this endpoint; None where it goes straight there."""
    from otel_stageio.settings import proxies

    return (proxies.of_grpc if protocol == "grpc" else proxies.of_http)(endpoint, os.environ)


def _export(variables: Variables, endpoint: str | None, *, disabled: bool) -> Export:
    if not endpoint and not any(map(variables.word, _SHIPPING)):
        return Export(disabled=disabled)
    from otel_stageio.settings import export

    return export.read(variables, endpoint=endpoint, disabled=disabled)


def run_name(text: str | None) -> str | None:
    """The name that a text gives a run, wherever it is given: without blanks around it, and None where that is all."""
    return _clean((text or "").strip()) or None


def _clean(text: str) -> str:
    """Text without what is no Unicode, which a variable may hold, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def main_file_of_process() -> str | None:
    """Return the main script's path; None in a notebook, in a REPL and with ``python -c``."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return file if isinstance(file, str) else None
