"""What the surroundings ask for: the environment and the nearest pyproject.toml, read once for each stage.

The only reader of `os.environ`. A value that cannot be honoured never stops a stage: its default is used, and one
sentence in `Settings.problems` says so. The variables, each unset where it is empty:

STAGEIO_JOB_DIR, else OUTPUT_DIR   the job folder
STAGEIO_MODE                       auto | file | off
STAGEIO_RUN                        the run's name: the same text is the same run
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
OTEL_SERVICE_NAME                  the pipeline; else service.name in OTEL_RESOURCE_ATTRIBUTES, else
                                   ``[tool.stageio] pipeline``, else ``[project] name``
NO_COLOR, TERM=dumb                a console without colours

A pattern of `redact` is a regular expression of what is hidden in texts. With ``=`` at its end it is that of a name, as
a whole and in any case, whose values are hidden: ``patient_id=``. With ``!`` before it, it is an exception, of a name
or of the whole of a text that would be hidden: ``!session_token=``, ``!demo-[0-9]+``. A pattern with a comma other than
in ``{2,4}`` has its place in pyproject.toml.
"""

import os
import stat
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from otel_stageio.errors import SettingError, quoted

Mode: TypeAlias = Literal["auto", "file", "off"]
Console: TypeAlias = Literal["auto", "stderr", "stdout", "off"]
Capture: TypeAlias = Literal["stage", "root"]
Checksum: TypeAlias = Literal["auto", "sha256", "stat", "off"]
_Switch: TypeAlias = Literal["on", "off"]

MODES: tuple[Mode, ...] = ("auto", "file", "off")
CONSOLES: tuple[Console, ...] = ("auto", "stderr", "stdout", "off")
CAPTURES: tuple[Capture, ...] = ("stage", "root")
CHECKSUMS: tuple[Checksum, ...] = ("auto", "sha256", "stat", "off")
_SWITCH: tuple[_Switch, ...] = ("on", "off")

_PYPROJECT = "pyproject.toml"
_CHECKSUM_WAIT = 300.0
_SERVICE = "stageio"

_Choice = TypeVar("_Choice", bound=str)


class Settings(NamedTuple):
    """What holds for a stage where its own arguments say nothing."""

    job_dir: str | None
    mode: Mode
    run: str | None
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
    #: Whether our tracer and logger providers may become the process's, where it has none.
    tracer: bool
    #: Patterns of what is to be hidden, and, with an exclamation mark, of what is not; each compiles.
    redact: tuple[str, ...]
    service_name: str
    #: One sentence for each value that could not be honoured.
    problems: tuple[str, ...]


class _MainFile:
    """Stands for "look at the main module yourself", which None, "there is no main script", cannot."""


_MAIN_FILE = _MainFile()


def environment() -> dict[str, str]:
    """Return a copy of this process's environment, to be handed to a child."""
    return dict(os.environ)


def choice(name: str, value: object, allowed: tuple[_Choice, ...]) -> _Choice:
    """Return the one of `allowed` that `value` is.

    Raises SettingError, which names the argument and what is allowed.
    """
    for one in allowed:
        if isinstance(value, str) and value == one:
            return one
    message = f"{name}={quoted(value)} is not one of {_listed(allowed)}"
    raise SettingError(message)


def load(
    *,
    environ: Mapping[str, str] | None = None,
    main_file: str | _MainFile | None = _MAIN_FILE,
    cwd: str | None = None,
) -> Settings:
    """Read the environment and the nearest pyproject.toml; never raises.

    `environ` stands for the process's environment, `main_file` for the path of the main script (None: there is none, as
    in a notebook), `cwd` for the working directory. The pyproject.toml is the nearest one upward from the main script's
    folder; where there is no script or none is found, upward from the working directory.
    """
    problems: list[str] = []
    variables = _Variables(os.environ if environ is None else environ, problems)
    project = _nearest_project(main_file_of_process() if isinstance(main_file, _MainFile) else main_file, cwd, problems)

    stages, stages_source = tuple((variables.text("STAGEIO_STAGES") or "").replace(",", " ").split()), "STAGEIO_STAGES"
    if not stages:
        stages, stages_source = project.stages()
    checksum_default = project.checksum() or "auto"

    return Settings(
        job_dir=variables.text("STAGEIO_JOB_DIR") or variables.text("OUTPUT_DIR"),
        mode=variables.choice("STAGEIO_MODE", MODES, "auto"),
        run=_clean((variables.text("STAGEIO_RUN") or "").strip()) or None,
        stages=stages,
        stages_source=stages_source,
        console=variables.choice("STAGEIO_CONSOLE", CONSOLES, "auto"),
        color=variables.text("NO_COLOR") is None and variables.text("TERM") != "dumb",
        capture=variables.choice("STAGEIO_CAPTURE", CAPTURES, "stage"),
        checksum=variables.choice("STAGEIO_CHECKSUM", CHECKSUMS, checksum_default),
        checksum_wait=variables.seconds("STAGEIO_CHECKSUM_WAIT", _CHECKSUM_WAIT),
        sigterm=variables.choice("STAGEIO_SIGTERM", _SWITCH, "on") == "on",
        tracer=variables.choice("STAGEIO_TRACER", _SWITCH, "on") == "on",
        redact=(*project.redact(), *variables.redact()),
        service_name=_clean(
            variables.text("OTEL_SERVICE_NAME")
            or _resource_service_name(variables.text("OTEL_RESOURCE_ATTRIBUTES"))
            or project.pipeline()
            or project.name()
            or _SERVICE
        ),
        problems=tuple(problems),
    )


def _clean(text: str) -> str:
    """Text without what is no Unicode, which a variable may hold, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _listed(allowed: tuple[str, ...]) -> str:
    return ", ".join(allowed)


class _Variables:
    """The environment's values, each checked; what cannot be honoured goes to `problems`."""

    __slots__ = ("_environ", "_problems")

    def __init__(self, environ: Mapping[str, str], problems: list[str]) -> None:
        self._environ = environ
        self._problems = problems

    def text(self, name: str) -> str | None:
        return self._environ.get(name) or None

    def choice(self, name: str, allowed: tuple[_Choice, ...], default: _Choice) -> _Choice:
        value = (self._environ.get(name) or "").strip()
        if not value:
            return default
        for one in allowed:
            if value.lower() == one:
                return one
        self._problems.append(f"{name}={value!r} is not one of {_listed(allowed)}; {default} is used.")
        return default

    def seconds(self, name: str, default: float) -> float:
        value = (self._environ.get(name) or "").strip()
        if not value:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if 0 <= seconds < float("inf"):
            return seconds
        self._problems.append(f"{name}={value!r} is not a number of seconds from 0 up; {default:g} is used.")
        return default

    def redact(self) -> tuple[str, ...]:
        value = self._environ.get("STAGEIO_REDACT")
        if not value:
            return ()
        import re

        return _usable(re.split(r"\n|,(?![0-9]*\})", value), "STAGEIO_REDACT", self._problems)


def _usable(patterns: list[str], where: str, problems: list[str]) -> tuple[str, ...]:
    """Return the patterns that can be used; what is wrong with the others goes to `problems`."""
    import re

    found = []
    for pattern in filter(None, map(str.strip, patterns)):
        hidden = pattern.removeprefix("!")
        try:
            compiled = re.compile(f"(?i:{hidden[:-1]})" if hidden.endswith("=") else hidden)
        except (re.error, RecursionError, OverflowError, Warning) as why:
            problems.append(f"{where}: {pattern!r} is no regular expression ({why}); it is passed over.")
            continue
        if not hidden.strip("=") or (hidden == pattern and compiled.search("")):
            problems.append(f"{where}: {pattern!r} matches the empty text; it is passed over.")
            continue
        found.append(pattern)
    return tuple(found)


def _resource_service_name(attributes: str | None) -> str | None:
    """Find service.name in ``key=value,key=value``, percent-encoded (OpenTelemetry specification, resource SDK)."""
    found = None
    for pair in (attributes or "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == "service.name":
            found = value.strip() or None
    if found is not None and "%" in found:
        from urllib.parse import unquote

        return unquote(found)
    return found


class _Project:
    """What one pyproject.toml says about this package; of wrong types it says nothing, which goes to `problems`."""

    __slots__ = ("_path", "_problems", "_project", "_tool")

    def __init__(self, path: str, content: Mapping[str, Any], problems: list[str]) -> None:
        self._path = path
        self._problems = problems
        self._tool = self._table(self._table(content, "tool", "[tool]"), "stageio", "[tool.stageio]")
        self._project = self._table(content, "project", "[project]")

    def stages(self) -> tuple[tuple[str, ...], str]:
        value = self._tool.get("stages", [])
        if isinstance(value, list) and all(isinstance(name, str) and name for name in value):
            return tuple(value), f"[tool.stageio] stages in {self._path}" if value else ""
        self._report("[tool.stageio] stages", value, "a list of stage names", "no order is declared")
        return (), ""

    def checksum(self) -> Checksum | None:
        value = self._tool.get("checksum")
        for one in CHECKSUMS:
            if value == one:
                return one
        if value is not None:
            self._report("[tool.stageio] checksum", value, f"one of {_listed(CHECKSUMS)}", "auto is used")
        return None

    def redact(self) -> tuple[str, ...]:
        value = self._tool.get("redact", [])
        if isinstance(value, list) and all(isinstance(pattern, str) for pattern in value):
            return _usable(value, f"[tool.stageio] redact in {self._path}", self._problems)
        self._report("[tool.stageio] redact", value, "a list of patterns", "it is passed over")
        return ()

    def pipeline(self) -> str | None:
        return self._text(self._tool, "pipeline", "[tool.stageio] pipeline")

    def name(self) -> str | None:
        return self._text(self._project, "name", "[project] name")

    def _text(self, table: Mapping[str, Any], key: str, where: str) -> str | None:
        value = table.get(key)
        if value is None or isinstance(value, str):
            return value or None
        self._report(where, value, "text", "it is passed over")
        return None

    def _table(self, content: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
        value = content.get(key, {})
        if isinstance(value, dict):
            return value
        self._report(where, value, "a table", "it is passed over")
        return {}

    def _report(self, where: str, value: object, wanted: str, instead: str) -> None:
        self._problems.append(f"{where} in {self._path} is {value!r} and not {wanted}; {instead}.")


def main_file_of_process() -> str | None:
    """Return the main script's path; None in a notebook, in a REPL and with ``python -c``."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return file if isinstance(file, str) else None


def _nearest_project(main_file: str | None, cwd: str | None, problems: list[str]) -> _Project:
    path = None
    try:
        if main_file is not None:
            path = _upward(os.path.dirname(_absolute(main_file, cwd)), problems)
        if path is None:
            path = _upward(_absolute(cwd or os.getcwd(), None), problems)
    except OSError as why:
        problems.append(f"The working directory cannot be asked for ({why}); no {_PYPROJECT} is looked for there.")
    return _Project(path or "", {} if path is None else _parsed(path, problems), problems)


def _absolute(path: str, cwd: str | None) -> str:
    return os.path.abspath(os.path.join(cwd, path) if cwd else path)


def _upward(folder: str, problems: list[str]) -> str | None:
    while True:
        path = os.path.join(folder, _PYPROJECT)
        try:
            # Only a plain file is opened: opening a pipe would wait for ever.
            if stat.S_ISREG(os.stat(path).st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as why:
            problems.append(f"{path!r} cannot be looked at ({why}); it is passed over.")
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _parsed(path: str, problems: list[str]) -> dict[str, Any]:
    try:
        # By name, because Python 3.10 has the same module from elsewhere.
        toml = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
        with open(path, "rb") as file:
            content: dict[str, Any] = toml.load(file)
    except (OSError, ValueError, RecursionError, ImportError) as why:
        problems.append(f"{path} cannot be read ({type(why).__name__}: {why}); it is passed over.")
        return {}
    return content
