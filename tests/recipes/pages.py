"""The pages of docs/recipes and the files that they show. `python -m tests.recipes.pages` puts the files into them."""

from __future__ import annotations

import json
import re
from pathlib import Path

RECIPES = Path(__file__).resolve().parents[2] / "docs" / "recipes"
PAGES = sorted(RECIPES.glob("*.md"))
SHOWN = re.compile(r"<!-- file: (?P<path>\S+) -->\n(?P<fence>```\w*\n)(?P<text>.*?)```\n", re.DOTALL)
TYPED = re.compile(r"^\$ (.+)$", re.MULTILINE)


def shown(page: str) -> dict[str, str]:
    """What a page shows, by the file's path."""
    return {found["path"]: found["text"] for found in SHOWN.finditer(page)}


def typed(name: str) -> list[str]:
    """The commands that the page of that name says to type."""
    return TYPED.findall((RECIPES / f"{name}.md").read_text(encoding="utf-8"))


def filled(page: str) -> str:
    """The page with each file as it is now."""

    def put(found: re.Match[str]) -> str:
        text = held(found["path"])
        return f"<!-- file: {found['path']} -->\n{found['fence']}{text}```\n"

    return SHOWN.sub(put, page)


def held(path: str) -> str:
    """What is to be shown of a file: its text; of a notebook, which is JSON, its cells."""
    text = (RECIPES / path).read_text(encoding="utf-8")
    if not path.endswith(".ipynb"):
        return text
    return "\n\n# A new cell.\n".join(cell["source"] for cell in json.loads(text)["cells"]) + "\n"


if __name__ == "__main__":
    for each in PAGES:
        each.write_text(filled(each.read_text(encoding="utf-8")), encoding="utf-8")
