"""docs/commands.md: every verb, option, exit code and JSON key is there, and nothing that is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from otel_stageio.cli.app import stageio
from otel_stageio.cli.deliveries import sent
from otel_stageio.ship.push import Pushed
from otel_stageio.ship.waiting import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "commands.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def names(verb: str, kind: type[click.Parameter]) -> Iterator[str]:
    """The options of a verb as they are written, without --help."""
    for each in stageio.commands[verb].params:
        if isinstance(each, kind):
            yield from each.opts


def rows(section: str) -> set[str]:
    """What the first columns of a section's tables name."""
    first = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
    return {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}


def test_each_verb_has_its_section():
    """The sections that are verbs are the verbs there are."""
    assert {title for title in SECTIONS if title.startswith("stageio ")} == {
        f"stageio {verb}" for verb in stageio.commands
    }


@pytest.mark.parametrize("verb", sorted(stageio.commands))
def test_each_option_is_documented(verb: str):
    """The table of a verb has exactly its options, and an example is above it."""
    section = SECTIONS[f"stageio {verb}"]
    documented = {name.split()[0] for name in rows(section) if name.startswith("-")}
    assert documented == set(names(verb, click.Option))
    assert f"$ stageio {verb} " in section


@pytest.mark.parametrize("verb", sorted(stageio.commands))
def test_each_exit_code_is_documented(verb: str):
    """The codes that --help lists are in the tables of the page."""
    codes = re.findall(r"^  (\d+) ", stageio.commands[verb].epilog or "", re.MULTILINE)
    assert codes
    assert [code for code in codes if f"| {code} |" not in PAGE] == []


def test_each_key_is_documented():
    """The keys of a delivery are in the tables, those of a push in its own."""
    row = sent(Pushed(), Standing("", "logs", "http://a"))
    assert json.dumps(row)
    assert set(row) <= rows(SECTIONS["stageio status"]) | rows(SECTIONS["stageio push"])
    assert {"path", "job_id", "attempts", "deliveries"} <= rows(SECTIONS["stageio status"])
    assert {"complete", "jobs", "taken", "failed", "deliveries"} <= rows(SECTIONS["stageio push"])
