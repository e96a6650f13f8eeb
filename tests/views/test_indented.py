"""JSON with an indent, made by the encoder that knows none: byte for byte what `json.dumps` makes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.journal.encode import base64_text
from otel_stageio.views.indented import Ready, indented, ready
from tests.journal import samples
from tests.journal.samples import unhurried

#: Text that looks like JSON, so that a boundary between items cannot be told from what stands in one.
odd = st.sampled_from(['},\n      {"', "{", "}", "[", "]", ":\n{", ": {", ",", '"', "\\", "\n", "\udcff", "\u2028", ""])
texts = samples.texts | odd
flat = st.dictionaries(texts, samples.scalars | odd | st.just(float("nan")), max_size=4)
values = samples.values | odd | flat
items = st.lists(flat, max_size=5) | st.lists(values, max_size=5)
documents = st.dictionaries(texts, values | items | st.lists(st.lists(flat, max_size=2), max_size=2), max_size=5)


def plain(document: dict[str, Any]) -> str:
    """What the standard library makes."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=base64_text)


@unhurried
@given(documents)
def test_any_document_is_as_json_dumps_has_it(document):
    """Documents with lists of flat, nested and empty objects, and text that looks like JSON, are the same text."""
    assert indented(document) == plain(document)


@unhurried
@given(st.lists(flat | values, max_size=5))
def test_ready_items_stand_as_they_would_without(entries):
    """Items whose text was made before stand in the list as items that were not, and beside such ones."""
    made = [ready(each) if isinstance(each, dict) and number % 3 else each for number, each in enumerate(entries)]
    assert indented({"stages": made, "after": 1}) == plain({"stages": entries, "after": 1})


def test_long_lists():
    """A list of more entries than one call takes is the same text, where a few of them are nested as well."""
    entries: list[dict[str, Any]] = [{"path": f"/data/{number}", "size_bytes": number} for number in range(1000)]
    assert indented({"inputs": entries}) == plain({"inputs": entries})
    entries[500]["producer"] = {"stage": "vad", "attempt": 1}
    entries[700] = {}
    assert indented({"inputs": entries}) == plain({"inputs": entries})


def test_a_ready_item_is_text():
    """A ready item keeps its text, indented for its place."""
    assert ready({"a": 1}) == Ready('{\n      "a": 1\n    }')
    assert ready({}) == Ready("{}")
