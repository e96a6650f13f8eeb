"""The examples of README.md and docs/, run as they stand.

A ```python block runs as a script of its own, in an empty folder and with warnings as errors. It is left alone where
the line before it is ``<!-- not run: why -->``; the reason has to be given. A block below ``<!-- file: path -->`` is
what that file holds, and tests/recipes runs the file. A ```console block is for reading, unless the line before it is
``<!-- run -->``: then what follows each ``$ `` runs in a shell, has to succeed, and has to print the lines below it,
where ``...`` stands for anything.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from tests.conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import RunScript

REPO = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"(?P<indent>[ ]*)(?P<ticks>`{3,})(?P<language>[\w-]*)")
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
FILE = re.compile(r"<!-- file: (?P<path>\S+) -->")
RUN = "<!-- run -->"
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: where it opens, its language, the line before it, and its text without the indentation."""

    line: int
    language: str
    before: str
    text: str


def blocks(markdown: str) -> Iterator[Block]:
    """Find the fenced blocks of a page; one that is never closed reaches to the page's end."""
    lines = markdown.splitlines()
    at = 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if opened is None:
            at += 1
            continue
        start = at
        at += 1
        while at < len(lines) and lines[at].strip() != opened["ticks"]:
            at += 1
        text = textwrap.dedent("\n".join(lines[start + 1 : at])) + "\n"
        before = lines[start - 1].strip() if start else ""
        yield Block(line=start + 1, language=opened["language"], before=before, text=text)
        at += 1


def examples(language: str) -> list[object]:
    """List the blocks of a language that are to be run, each known by its file and line."""
    pages = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
    return [
        pytest.param(block, id=f"{page.relative_to(REPO)}:{block.line}")
        for page in pages
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language == language and runs(block)
    ]


def runs(block: Block) -> bool:
    """Tell whether a block is to be run."""
    if block.language == "console":
        return block.before == RUN
    return not NOT_RUN.fullmatch(block.before) and not FILE.fullmatch(block.before)


def commands(text: str) -> list[tuple[str, str]]:
    """Split a console block into its commands, each with the output shown below it."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, shown) for command, _, shown in (part.partition("\n") for part in parts)]


@pytest.mark.parametrize("block", examples("python"))
def test_python_example_runs(block: Block, run_script: RunScript):
    """A Python example works as it is printed, in a folder of its own and without a warning."""
    ran = run_script(block.text)
    assert ran.returncode == 0, ran.stderr


def test_console_examples_do_what_they_show(tmp_path: Path):
    """The commands of console blocks marked to be run succeed and print what is shown below them."""
    for number, example in enumerate(examples("console")):
        (block,) = example.values
        folder = tmp_path / str(number)
        folder.mkdir()
        for command, shown in commands(block.text):
            ran = shell(command, folder)
            assert ran.returncode == 0, f"{example.id}: {command}\n{ran.stdout}"
            assert doctest.OutputChecker().check_output(shown, ran.stdout, LENIENT), f"{example.id}:\n{ran.stdout}"


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell that finds this environment's programs; stderr is in stdout, as a person would see it."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        ["bash", "-c", command],
        env=clean_environment({"PATH": path}),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("page", ["viewing-in-jaeger.md", "opentelemetry.md"])
@pytest.mark.parametrize("job", ["out", "out/speech"])
def test_all_spans_are_joined_wherever_below_out_the_job_is(tmp_path: Path, page: str, job: str):
    """The command that the pages give for Jaeger's upload finds the spans of `out`, and of the demo's `out/speech`."""
    StageIO("count", tmp_path / job, stages=["count"]).finalize()
    (command,) = re.findall(r"^.* > \w+\.jsonl$", (REPO / "docs" / page).read_text(), re.MULTILINE)
    ran = shell(command, tmp_path)
    assert (ran.returncode, ran.stdout) == (0, "")
    (joined,) = tmp_path.glob("*.jsonl")
    spans = sum(len(path.read_text().splitlines()) for path in (tmp_path / "out").rglob("traces.jsonl"))
    assert len(joined.read_text().splitlines()) == spans >= 2


def test_blocks_are_found_where_they_are():
    """Blocks are found in lists and at the end of a page, with the line before them, and not inside of others."""
    page = (
        "<!-- not run: why -->\n```python\na\n```\n"
        "- b\n  ```console\n  $ c\n    d\n  ```\n"
        "````\n```python\n````\n"
        "```python\ne"
    )
    assert list(blocks(page)) == [
        Block(line=2, language="python", before="<!-- not run: why -->", text="a\n"),
        Block(line=6, language="console", before="- b", text="$ c\n  d\n"),
        Block(line=10, language="", before="```", text="```python\n"),
        Block(line=13, language="python", before="````", text="e\n"),
    ]


def test_a_block_is_left_alone_only_for_a_reason():
    """The mark without a reason, or with an empty one, does not keep a Python block from running."""
    marks = ["<!-- not run: needs a server -->", "<!-- not run -->", "<!-- not run:  -->", ""]
    assert [runs(Block(line=1, language="python", before=mark, text="")) for mark in marks] == [False, True, True, True]


def test_console_block_is_split_at_its_prompts(tmp_path: Path):
    """A command is what follows a prompt, its output what stands below, and the shell really runs it."""
    assert commands("$ echo a $ b\na $ b\n$ true\n") == [("echo a $ b", "a $ b\n"), ("true", "")]
    assert shell("echo a; exit 3", tmp_path).returncode == 3
