"""What the house style asks of every file and no linter checks."""

from __future__ import annotations

import ast
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
#: Lines of a module.
LONGEST = 350


def test_modules_are_short_and_say_what_they_are():
    """No module is longer than the house style allows, and each opens with a docstring."""
    broken = []
    for path in sorted((REPO / "otel_stageio").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if (length := len(source.splitlines())) > LONGEST:
            broken.append(f"{path.relative_to(REPO)}:{length}: {length} lines, {LONGEST} are allowed: split it by noun")
        if not ast.get_docstring(ast.parse(source)):
            broken.append(f"{path.relative_to(REPO)}:1: no docstring")
    assert not broken, "\n".join(broken)


def undocumented_tests(source: str) -> list[int]:
    """List the lines of test functions without a docstring."""
    functions = (one for one in ast.walk(ast.parse(source)) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return [one.lineno for one in functions if one.name.startswith("test") and not ast.get_docstring(one)]


def test_every_test_says_what_it_proves():
    """Every test function has a docstring, and the check finds one that has none."""
    assert undocumented_tests("class T:\n    def test_a(self):\n        '''Proof.'''\n    def test_b(self): ...") == [4]
    broken = [
        f"{path.relative_to(REPO)}:{line}: a test without a docstring"
        for path in sorted((REPO / "tests").rglob("test_*.py"))
        for line in undocumented_tests(path.read_text(encoding="utf-8"))
    ]
    assert not broken, "\n".join(broken)
