"""The stageio command as a whole: its help, its start, its ways to fail, and completion."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import otel_stageio
from otel_stageio.cli import app, push
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from tests.cli.conftest import Command
    from tests.conftest import RunScript

VERBS = sorted(app.stageio.commands)


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_and_the_exit_codes(stageio: Command, verb: str) -> None:
    """--help of each verb shows how it is used and how it ends, and describes each of its options."""
    ran = stageio(verb, "--help")
    assert (ran.code, f"  stageio {verb} " in ran.out, "Exit codes:" in ran.out) == (0, True, True)
    options = [each for each in app.stageio.commands[verb].params if isinstance(each, click.Option)]
    assert [each.name for each in options if not each.help] == []
    assert max(map(len, ran.out.splitlines())) <= 90


def test_help_of_the_command(stageio: Command) -> None:
    """It lists the verbs, each in a line, and has examples; -h is the same."""
    ran = stageio("--help")
    assert (ran.code, [verb for verb in VERBS if f"\n  {verb} " not in ran.out], "Examples:" in ran.out) == (
        0,
        [],
        True,
    )
    assert stageio("-h") == ran


def test_version(stageio: Command) -> None:
    """--version says the package's."""
    assert stageio("--version") == (0, f"stageio {otel_stageio.__version__}\n", "")


@pytest.mark.parametrize(("arguments", "says"), [([], "Missing command."), (["ship"], "No such command 'ship'.")])
def test_no_such_verb(stageio: Command, arguments: list[str], says: str) -> None:
    """What is no verb is one line, with where to look."""
    assert stageio(*arguments) == (2, "", f"stageio: {says} (stageio --help says what there is)\n")


@pytest.mark.parametrize(
    ("raised", "ended"),
    [
        (OSError(5, "Input/output error", "a\nb"), (1, "[Errno 5] Input/output error: 'a\\nb'")),
        (otel_stageio.JobFormatError("too new"), (2, "too new")),
        (KeyboardInterrupt(), (130, "interrupted")),
    ],
)
def test_troubles_are_one_line(
    stageio: Command, job: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, ended: tuple[int, str]
) -> None:
    """What goes wrong anywhere in a verb is a line on stderr and an exit code, never a traceback."""

    def fail(*_: object) -> int:
        raise raised

    monkeypatch.setattr(push, "_push", fail)
    ran = stageio("push", job, "--endpoint", "http://a")
    assert (ran.code, ran.out, ran.err.splitlines()[-1]) == (ended[0], "", f"stageio: {ended[1]}")


def test_help_loads_little(run_script: RunScript) -> None:
    """--help loads neither rich, nor what sends, nor OpenTelemetry; importing the package does not load the command."""
    ran = run_script("""
        import sys
        import otel_stageio
        assert not {"click", "rich"} & set(sys.modules)
        from otel_stageio import StageIO
        StageIO("asr", "out", stage_number=1).finalize()
        assert not {"click", "rich", "otel_stageio.cli"} & set(sys.modules)
        for name in [name for name in sys.modules if name.startswith(("opentelemetry", "otel_stageio."))]:
            del sys.modules[name]
        from otel_stageio.cli import app
        try:
            app.main(["push", "--help"])
        except SystemExit:
            heavy = ("rich", "opentelemetry", "otel_stageio.ship", "otel_stageio.read", "otel_stageio.settings")
            print([name for name in sys.modules if name.startswith(heavy)], file=sys.stderr)
    """)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (0, "[]")


def program() -> Path:
    """The script that installing the package makes."""
    return Path(sys.executable).parent / "stageio"


def test_the_command_is_installed() -> None:
    """`stageio` is the package's script, and `python -m otel_stageio` is the same."""
    (script,) = [each for each in importlib.metadata.entry_points(group="console_scripts") if each.name == "stageio"]
    assert script.value == "otel_stageio.cli.app:main"
    for command in ([str(program())], [sys.executable, "-W", "error", "-m", "otel_stageio"]):
        ran = subprocess.run(
            [*command, "--version"], env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"stageio {otel_stageio.__version__}\n", "")


def test_completion() -> None:
    """A shell that was told of it completes verbs and options, and is told by the line in docs/commands.md."""
    path = os.pathsep.join([str(program().parent), os.environ.get("PATH", os.defpath)])

    def complete(words: str, at: int) -> list[str]:
        asked = {"PATH": path, "_STAGEIO_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        ran = subprocess.run([str(program())], env=clean_environment(asked), capture_output=True, text=True, check=True)
        return [line.partition(",")[2] for line in ran.stdout.splitlines()]

    assert complete("stageio p", 1) == ["push"]
    assert complete("stageio push --s", 2) == ["--signal", "--since"]
    assert complete("stageio push --signal ", 3) == ["traces", "logs"]
    told = 'eval "$(_STAGEIO_COMPLETE=bash_source stageio)" && complete -p stageio'
    ran = subprocess.run(
        ["bash", "-c", told], env=clean_environment({"PATH": path}), capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "stageio" in ran.stdout) == (0, True)
