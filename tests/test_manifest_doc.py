"""docs/manifest.md names every key of the manifests and the limits of the code, and its examples are manifests."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema

import otel_stageio

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parents[1]
PAGE = (REPO / "docs" / "manifest.md").read_text(encoding="utf-8")
SCHEMAS = REPO / "otel_stageio" / "views" / "schemas"
CODE = re.compile(r"`([^`]*)`")
UNITS = {"": 1, " KiB": 1 << 10, " MiB": 1 << 20, " GiB": 1 << 30}


def table(head: str) -> list[list[str]]:
    """The lines of all tables of the page whose first column is called `head`, as cells."""
    found: list[list[str]] = []
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and inside and not cells[0].startswith("---"):
            found.append(cells)
        inside = bool(cells) and (inside or cells[0] == head)
    return found


def schemas() -> list[dict[str, Any]]:
    """The JSON Schemas that the package ships."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SCHEMAS.glob("*.json"))]


def keys(schema: object) -> Iterator[str]:
    """Every property that a schema names, at any depth."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for below in schema.values():
            yield from keys(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from keys(below)


def test_page_names_every_key_of_the_schemas():
    """Each property of the schemas is a line of one of the page's tables of keys, and each such line is a property."""
    documented = {CODE.findall(cells[0])[0] for cells in table("Key")}
    assert {key for schema in schemas() for key in keys(schema)} == documented


def test_every_key_has_a_type_and_a_meaning():
    """No line of the tables of keys is left half empty."""
    assert all(len(cells) == 3 and all(cells) for cells in table("Key"))


def test_limits_are_those_of_the_code():
    """Each limit of the page is the value of the constant that it names."""
    said = {}
    for _, limit, _, where in table("What"):
        number, unit = re.fullmatch(r"([\d,]+)( [KMG]iB)?(?: bytes| characters)?", limit).groups()
        said[where.strip("`")] = int(number.replace(",", "")) * UNITS[unit or ""]
    found = {}
    for where in said:
        module, _, name = where.rpartition(".")
        found[where] = getattr(import_module(f"{otel_stageio.__name__}.{module}"), name)
    assert said == found


def test_manifest_of_the_readme_is_one():
    """The manifest that README.md shows is valid by the stage manifest's schema."""
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    (shown,) = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", readme, re.DOTALL)]
    (schema,) = [one for one in schemas() if "inputs" in one["properties"]]
    jsonschema.validate(shown, schema)
