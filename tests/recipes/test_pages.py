"""docs/recipes: pages and files say the same, and nothing is there that no page shows or no test runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.recipes.pages import PAGES, RECIPES, filled, held, shown

INDEX = RECIPES / "README.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_shows_the_files_as_they_are(page):
    """What stands below a `file:` mark is what the file holds; `python -m tests.recipes.pages` brings it up to date."""
    text = page.read_text(encoding="utf-8")
    assert shown(text)
    assert text == filled(text)
    assert len(shown(text)) == text.count("<!-- file:")


def test_every_file_is_shown():
    """Each file in the folders of docs/recipes is on a page."""
    on_pages = {path for page in PAGES for path in shown(page.read_text(encoding="utf-8"))}
    files = {path.relative_to(RECIPES).as_posix() for path in RECIPES.glob("*/*") if path.is_file()}
    assert on_pages == files


def test_index_names_every_page():
    """The table of README.md links to every recipe."""
    linked = re.findall(r"^\|.*\]\((\w+\.md)\)", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(linked) == sorted(page.name for page in PAGES if page != INDEX)


def test_every_recipe_is_run():
    """Each folder of files is named in the tests of this folder."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    folders = {path.name for path in RECIPES.iterdir() if path.is_dir()} - {"stages"}
    assert {folder for folder in folders if f'RECIPES / "{folder}"' not in tests} == set()


def test_filling_a_page(tmp_path, monkeypatch):
    """A page is filled with the file's text, or with the cells of a notebook, and the rest of it stays."""
    monkeypatch.setattr("tests.recipes.pages.RECIPES", tmp_path)
    (tmp_path / "a.sh").write_text("true\n")
    (tmp_path / "b.ipynb").write_text('{"cells": [{"source": "a = 1"}, {"source": "a"}]}')
    page = "Above\n<!-- file: a.sh -->\n```sh\nold\n```\nbelow\n"
    assert filled(page) == page.replace("old", "true")
    assert held("b.ipynb") == "a = 1\n\n# A new cell.\na\n"
