"""The "onlys" of the design: who may do what in the package, each read from its source."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import otel_stageio

REPO = Path(__file__).resolve().parents[1]
PACKAGE = REPO / "otel_stageio"

Found = Iterator[tuple[int, str]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What `find` finds in a module is allowed in those that match `allowed`: patterns, each with its reason."""

    says: str
    find: Callable[[ast.Module], Found]
    allowed: Mapping[str, str] = field(default_factory=dict)

    def broken(self, path: str, source: str) -> list[str]:
        """List where the module `path` (below the package) breaks this rule, each as file:line: rule: what."""
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in self.allowed):
            return []
        return [f"{path}:{line}: {self.says}: {what}" for line, what in sorted(self.find(ast.parse(source)))]


def _imports(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Every import, lazy ones too: its line, the name it binds ("" for none) and what it names in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                bound = one.asname or one.name.partition(".")[0]
                yield node.lineno, bound, one.name
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                yield node.lineno, one.asname or one.name, f"{'.' * node.level}{node.module or ''}.{one.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield node.lineno, "", str(getattr(node.args[0], "value", ""))


class _Names:
    """What the names of a module stand for: ``o.environ`` is os.environ after ``import os as o``."""

    def __init__(self, tree: ast.Module) -> None:
        self._bound: dict[str, str] = {}
        for _, bound, full in _imports(tree):
            # `import a.b` binds a, `import a.b as c` binds c to a.b.
            self._bound[bound] = bound if full.startswith(bound + ".") else full

    def full(self, node: ast.AST) -> str:
        """Return the dotted name of a Name or a chain of attributes upon one; "" for anything else."""
        if isinstance(node, ast.Name):
            return self._bound.get(node.id, node.id)
        if isinstance(node, ast.Attribute) and (base := self.full(node.value)):
            return f"{base}.{node.attr}"
        return ""

    def imported(self, node: ast.AST) -> bool:
        """Tell whether the chain of attributes starts at something that was imported."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self._bound


def _mentions(tree: ast.Module, wanted: frozenset[str]) -> Found:
    names = _Names(tree)
    for node in ast.walk(tree):
        if isinstance(getattr(node, "ctx", None), ast.Load) and names.full(node) in wanted:
            yield node.lineno, names.full(node)
    for line, _, full in _imports(tree):
        if full in wanted:
            yield line, full


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    names = _Names(tree)
    return ((node, names.full(node.func)) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _os(*names: str) -> frozenset[str]:
    return frozenset(f"os.{name}" for name in names)


ENVIRONMENT = _os("environ", "environb", "getenv", "getenvb", "putenv", "unsetenv")


def reads_environment(tree: ast.Module) -> Found:
    """Find what reads or changes the environment."""
    return _mentions(tree, ENVIRONMENT)


WRITES = _os(
    "O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC", "mkdir", "makedirs", "rename", "renames", "replace"
) | _os("unlink", "remove", "removedirs", "rmdir", "link", "symlink", "truncate", "ftruncate", "mkfifo")
#: Of a Path, with the number of positional arguments that it takes there: str.replace takes two, a datetime's none.
WRITING_METHODS = {"mkdir": 0, "rmdir": 0, "unlink": 0, "rename": 1, "replace": 1, "write_bytes": 1, "write_text": 1}
WRITING_MODULES = ("shutil", "tempfile")
OPENERS = {"open": 1, "io.open": 1, "codecs.open": 1, "os.fdopen": 1}


def writes_files(tree: ast.Module) -> Found:
    """Find what opens a file for writing, or makes, moves or removes one."""
    yield from _mentions(tree, WRITES)
    for line, _, full in _imports(tree):
        if full.partition(".")[0] in WRITING_MODULES:
            yield line, full
    names = _Names(tree)
    for call, full in _calls(tree):
        method = call.func.attr if isinstance(call.func, ast.Attribute) and not names.imported(call.func) else ""
        if full in OPENERS or method == "open":
            mode = _argument(call, "mode", OPENERS.get(full, 0))
            if mode is not None and not (isinstance(mode, ast.Constant) and not set(str(mode.value)) & set("wax+")):
                yield call.lineno, f"{full or method} with mode {ast.unparse(mode)}"
        elif WRITING_METHODS.get(method) == len(call.args) and not (method == "replace" and call.keywords):
            yield call.lineno, f".{method}()"


def _argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


PRINTS = frozenset({"print", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"})


def prints(tree: ast.Module) -> Found:
    """Find what writes to the console."""
    yield from _mentions(tree, PRINTS)
    for call, full in _calls(tree):
        if full == "os.write" and isinstance(call.args[0], ast.Constant):
            yield call.lineno, ast.unparse(call)


EXITS = frozenset({"sys.exit", "os._exit", "os.abort", "exit", "quit", "signal.raise_signal", "os.killpg"})


def exits(tree: ast.Module) -> Found:
    """Find what ends the process, by exit or by signal; signal 0 only asks whether a process is there."""
    yield from _mentions(tree, EXITS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.unparse(node.exc):
            yield node.lineno, ast.unparse(node)
    for call, full in _calls(tree):
        if full == "os.kill" and ast.unparse(call.args[1]) != "0":
            yield call.lineno, ast.unparse(call)


BROAD = frozenset({"Exception", "BaseException"})


def swallows(tree: ast.Module) -> Found:
    """Find broad excepts that do not raise again at their end, and broad calls of suppress."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and _broad(node.type):
            last = node.body[-1]
            if not (isinstance(last, ast.Raise) and last.exc is None):
                yield node.lineno, f"except {ast.unparse(node.type) if node.type else ''}".rstrip()
    for call, full in _calls(tree):
        if full == "contextlib.suppress" and any(_broad(one) for one in call.args):
            yield call.lineno, ast.unparse(call)


def _broad(kind: ast.expr | None) -> bool:
    return kind is None or any(ast.unparse(one) in BROAD for one in getattr(kind, "elts", [kind]))


NETWORK = ("aiohttp", "ftplib", "grpc", "http", "httpx", "requests", "smtplib", "socket", "socketserver", "ssl")
NETWORK += ("urllib.request", "urllib.error", "urllib3", "xmlrpc")


def talks(tree: ast.Module) -> Found:
    """Find imports of what talks to the network, which urllib.parse does not."""
    return _imports_of(tree, *NETWORK)


def knows_opentelemetry(tree: ast.Module) -> Found:
    """Find imports of OpenTelemetry."""
    return _imports_of(tree, "opentelemetry")


def knows_sdk(tree: ast.Module) -> Found:
    """Find imports of OpenTelemetry's SDK, exporters and protobuf classes."""
    return _imports_of(tree, "opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")


def _imports_of(tree: ast.Module, *modules: str) -> Found:
    return ((line, full) for line, _, full in _imports(tree) if f"{full}.".startswith(tuple(f"{m}." for m in modules)))


PUBLIC = frozenset(f"otel_stageio.{name}" for name in otel_stageio.__all__) - {"otel_stageio.__version__"}


def goes_through_the_root(tree: ast.Module) -> Found:
    """Find public names taken from the package's root, where import-linter cannot see which room they are of."""
    return _mentions(tree, PUBLIC)


SHIP = {"ship/*": "delivers to backends"}
OTEL = {**SHIP, "exporters.py": "is exporters for the SDK"}
RULES = {
    "environment": Rule(
        says="only settings reads the environment",
        find=reads_environment,
        allowed={"settings/__init__.py": "the one reader"},
    ),
    "files": Rule(
        says="only journal/files.py and appending.py make, write, move and remove files",
        find=writes_files,
        allowed={
            "journal/files.py": "the one writer",
            "journal/appending.py": "the one that appends",
            "record/paths.py": "open_output, copy_to_base, folders of paths asked for: the user's files",
            "demo.py": "has files as a user's pipeline has them",
        },
    ),
    "console": Rule(
        says="only cli, demo and the console sink print",
        find=prints,
        allowed={"cli/*": "talks to a person", "demo.py": "the same", "record/logs/console.py": "the console sink"},
    ),
    "exit": Rule(
        says="only cli exits",
        find=exits,
        allowed={
            "cli/*": "programs",
            "demo.py": "a program",
            "record/processes/exits.py": "hands a signal on to its default",
        },
    ),
    "swallow": Rule(
        says="only errors.guard swallows",
        find=swallows,
        allowed={
            "errors.py": "the one place",
            "record/logs/handler.py": "what a filter or a __str__ of the user's raises becomes text in the record",
        },
    ),
    "root": Rule(
        says="rooms import each other, not the package's root",
        find=goes_through_the_root,
        allowed={"cli/*": "uses the package as users do", "demo.py": "the same"},
    ),
    "network": Rule(
        says="only ship talks to the network",
        find=talks,
        allowed={**SHIP, "settings/proxies.py": "asks urllib.request for the proxies in the environment"},
    ),
    "opentelemetry": Rule(
        says="only record and ship know OpenTelemetry",
        find=knows_opentelemetry,
        allowed={**OTEL, "record/*": "makes the stage's span"},
    ),
    "sdk": Rule(
        says="only ship, exporters and record's host adapter know OpenTelemetry's SDK and exporters",
        find=knows_sdk,
        allowed={**OTEL, "record/otel/sdk.py": "the one host-adapter module: copies what the host's SDK makes"},
    ),
}

BAD = {
    "environment": ["import os as o\no.environ['A']", "from os import getenv", "import os\nos.putenv('A', 'b')"],
    "files": [
        "open('a', 'w')",
        "open('a', mode=m)",
        "p.open('xb')",
        "p.write_text('')",
        "p.replace(q)",
        "import os\nos.open('a', os.O_WRONLY)",
        "from os import makedirs as make",
        "import os.path\nos.unlink('a')",
        "import shutil",
        "def f():\n    from tempfile import mkstemp",
    ],
    "console": [
        "print(1)",
        "import sys\nsys.stderr.write('')",
        "from sys import stdout",
        "import os\nos.write(2, b'')",
    ],
    "exit": ["import sys\nsys.exit(1)", "raise SystemExit(2)", "import os\nos.kill(p, 15)", "quit()"],
    "swallow": [
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    g()",
        "try:\n    f()\nexcept (OSError, BaseException) as e:\n    if e:\n        raise",
        "import contextlib as c\nwith c.suppress(Exception):\n    f()",
    ],
    "root": ["from otel_stageio import StageIO", "import otel_stageio as o\no.open_job('a')"],
    "network": ["import socket", "from urllib import request", "def f():\n    import http.client"],
    "opentelemetry": [
        "from opentelemetry import trace",
        "import importlib\nimportlib.import_module('opentelemetry.trace')",
    ],
    "sdk": ["import opentelemetry.sdk.trace", "from opentelemetry import sdk", "from opentelemetry.proto import logs"],
}
GOOD = {
    "environment": "def f(environ): return environ['A'] + self.environ",
    "files": "open('a')\nopen('a', 'rb')\nopen('a', encoding='u')\n'a'.replace('b', 'c')\nt.replace(tzinfo=None)\n"
    "from otel_stageio.journal import files\nfiles.touch('a')\nfiles.replace(a)\nimport os\nos.open('a', os.O_RDONLY)",
    "console": "log.info('print')\nimport os\nos.write(fd, b'')\nself.print()\nclass A:\n    print: int",
    "exit": "import os\nos.kill(p, 0)\nexcept_ = SystemExit",
    "swallow": "try:\n    f()\nexcept OSError:\n    pass\nexcept BaseException:\n    g()\n    raise",
    "root": "from otel_stageio import __version__, model\nfrom otel_stageio.record.stage import StageIO",
    "network": "from urllib.parse import urlsplit\nimport httpcore_like",
    "opentelemetry": "import opentelemetry_like",
    "sdk": "from opentelemetry import trace",
}


def modules() -> list[Path]:
    """List the package's modules."""
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", RULES)
def test_package_keeps_the_rule(name: str):
    """Only the modules that the rule names do what it reserves for them."""
    broken = [
        line
        for path in modules()
        for line in RULES[name].broken(path.relative_to(PACKAGE).as_posix(), path.read_text(encoding="utf-8"))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(("name", "source"), [(name, source) for name in RULES for source in BAD[name]])
def test_rule_bites(name: str, source: str):
    """Each rule finds each way around it, and says the file, a line and itself."""
    broken = RULES[name].broken("views/bad.py", source)
    assert broken
    assert all(line.startswith("views/bad.py:") and RULES[name].says in line for line in broken)


@pytest.mark.parametrize("name", RULES)
def test_rule_lets_pass(name: str):
    """What looks alike but is none of the rule's business passes."""
    assert RULES[name].broken("views/good.py", GOOD[name]) == []
