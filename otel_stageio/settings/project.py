"""What the nearest pyproject.toml says: ``[tool.stageio]``, and the project's name."""

import os
import stat
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar

_PYPROJECT = "pyproject.toml"

_Choice = TypeVar("_Choice", bound=str)


class Project:
    """What one pyproject.toml says about this package; of wrong types it says nothing, which goes to `problems`."""

    __slots__ = ("_path", "_problems", "_project", "_tool")

    def __init__(self, path: str, content: Mapping[str, Any], problems: list[str]) -> None:
        self._path = path
        self._problems = problems
        self._tool = self._table(self._table(content, "tool", "[tool]"), "stageio", "[tool.stageio]")
        self._project = self._table(content, "project", "[project]")

    def stages(self) -> tuple[tuple[str, ...], str]:
        """The declared order, and where it is declared."""
        value = self._tool.get("stages", [])
        if isinstance(value, list) and all(isinstance(name, str) and name for name in value):
            return tuple(value), f"[tool.stageio] stages in {self._path}" if value else ""
        self._report("[tool.stageio] stages", value, "a list of stage names", "no order is declared")
        return (), ""

    def choice(self, key: str, allowed: tuple[_Choice, ...], default: _Choice) -> _Choice:
        """The one of `allowed` that ``[tool.stageio]`` has there."""
        value = self._tool.get(key)
        for one in allowed:
            if value == one:
                return one
        if value is not None:
            self._report(f"[tool.stageio] {key}", value, f"one of {', '.join(allowed)}", f"{default} is used")
        return default

    def redact(self) -> tuple[str, ...]:
        """The patterns of what is to be hidden that can be used."""
        value = self._tool.get("redact", [])
        if isinstance(value, list) and all(isinstance(pattern, str) for pattern in value):
            if not value:
                return ()
            from otel_stageio.settings.patterns import usable

            return usable(value, f"[tool.stageio] redact in {self._path}", self._problems)
        self._report("[tool.stageio] redact", value, "a list of patterns", "it is passed over")
        return ()

    def pipeline(self) -> str | None:
        """The pipeline's name."""
        return self._text(self._tool, "pipeline", "[tool.stageio] pipeline")

    def name(self) -> str | None:
        """The project's name."""
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


def nearest(main_file: str | None, cwd: str | None, problems: list[str]) -> Project:
    """The project upward from the main script's folder; where there is none, upward from the working directory.

    Where there is none either, it is one that says nothing.
    """
    path = None
    try:
        if main_file is not None:
            path = _upward(os.path.dirname(_absolute(main_file, cwd)), problems)
        if path is None:
            path = _upward(_absolute(cwd or os.getcwd(), None), problems)
    except OSError as why:
        problems.append(f"The working directory cannot be asked for ({why}); no {_PYPROJECT} is looked for there.")
    return Project(path or "", {} if path is None else _parsed(path, problems), problems)


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
