"""What every test stands on: a clean process to start from, the same process afterwards, and scripts of their own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from opentelemetry import context, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

REPO = Path(__file__).resolve().parents[1]

pytest_plugins = ["tests.backends.plugin"]

#: What of the environment a stage or OpenTelemetry would listen to.
_PREFIXES = ("STAGEIO_", "OTEL_")
_NAMES = frozenset(
    {
        *("OUTPUT_DIR", "TRACEPARENT", "TRACESTATE", "BAGGAGE", "NO_COLOR", "FORCE_COLOR"),
        *("PYTHONPATH", "PYTHONWARNINGS", "PYTHONUNBUFFERED"),
    }
)

#: Signals that a stage or a test may handle. (SIGALRM belongs to pytest-timeout.)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


# A shell's background job and nohup ignore these, and programs started from here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


class RunScript(Protocol):
    """Runs a Python script in a fresh process; see `run_script`."""

    def __call__(
        self,
        source_or_path: str | Path,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> subprocess.CompletedProcess[str]: ...


def _heard(name: str) -> bool:
    return name.startswith(_PREFIXES) or name in _NAMES


@pytest.fixture(autouse=True)
def process_as_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Start each test in an empty working directory and a silent environment; put the process back after it.

    Stages that the test left open are closed first, while the test's own environment and folder still hold.
    """
    for name in [name for name in os.environ if _heard(name)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    restore = [_logging_as_found(), _hooks_as_found(), _opentelemetry_as_found()]
    yield
    exits = sys.modules.get("otel_stageio.record.processes.exits")
    try:
        if exits is not None:
            exits.close_all()
    finally:
        for put_back in restore:
            put_back()


def _logging_as_found() -> Callable[[], None]:
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    factory, logger_class = logging.getLogRecordFactory(), logging.getLoggerClass()
    switched_off = {name for name, logger in root.manager.loggerDict.items() if getattr(logger, "disabled", False)}

    def put_back() -> None:
        for handler in root.handlers[:]:
            if handler not in handlers:
                root.removeHandler(handler)
                handler.close()
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
        logging.disable(disabled)
        logging.setLogRecordFactory(factory)
        logging.setLoggerClass(logger_class)
        logging.captureWarnings(False)  # noqa: FBT003 - the standard library's signature
        for name, logger in root.manager.loggerDict.items():
            if isinstance(logger, logging.Logger):
                logger.disabled = name in switched_off

    return put_back


def _hooks_as_found() -> Callable[[], None]:
    excepthook, thread_hook = sys.excepthook, threading.excepthook
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def put_back() -> None:
        sys.excepthook, threading.excepthook = excepthook, thread_hook
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

    return put_back


def _opentelemetry_as_found() -> Callable[[], None]:
    # A provider can be set once in a process, and no public call takes it back.
    provider, was_set, current = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE._done, context.get_current()
    logs = sys.modules.get("opentelemetry._logs._internal")  # not all tests need it loaded
    of_logs = (logs._LOGGER_PROVIDER, logs._LOGGER_PROVIDER_SET_ONCE._done) if logs else (None, False)

    def put_back() -> None:
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE._done = provider, was_set
        context.attach(current)
        logs = sys.modules.get("opentelemetry._logs._internal")
        if logs:
            logs._LOGGER_PROVIDER, logs._LOGGER_PROVIDER_SET_ONCE._done = of_logs

    return put_back


def clean_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment for a script: nothing that a stage listens to, and the package importable."""
    environment = {name: value for name, value in os.environ.items() if not _heard(name)}
    environment["PYTHONPATH"] = str(REPO)
    environment.update(changes or {})
    return environment


@pytest.fixture
def run_script(tmp_path: Path) -> RunScript:
    """Give a function that runs a script, its source or its path, in a fresh process; warnings are errors in it.

    It waits for at most 60 seconds. The script runs in `cwd`, else in the test's folder, with `env` added to a clean
    environment. What it returns has its exit status (not checked), stdout and stderr as text.
    """

    def run(
        source_or_path: str | Path,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        if isinstance(source_or_path, Path):
            path = source_or_path
        else:
            path = tmp_path / "script.py"
            path.write_text(textwrap.dedent(source_or_path), encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-W", "error", str(path), *map(str, args)],
            env=clean_environment(env),
            cwd=cwd or tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=60,
            check=False,
        )

    return run
