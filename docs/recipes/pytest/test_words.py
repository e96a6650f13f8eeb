"""Tests of the stages: of a function that is given a stage, and of a whole script."""

import runpy
import sys
from pathlib import Path

STAGES = Path(__file__).resolve().parents[1] / "stages"


def tidy(words, io):
    """Leave out what is no word; a function such as stages have."""
    kept = [word for word in words if word.isalpha()]
    io.add_metric("words.dropped", len(words) - len(kept))
    io.track_output(io.save_json(kept, "kept.json"), "words")
    return kept


def test_tidy_drops_what_is_no_word(stage_io):
    """What the function returns, and what it recorded."""
    assert tidy(["a", "1", "b"], stage_io) == ["a", "b"]
    assert stage_io.manifest["metrics"]["words.dropped"]["value"] == 1
    assert [output["path"] for output in stage_io.manifest["outputs"]] == ["00_test/kept.json"]


def test_split_script(stage_io, tmp_path, monkeypatch):
    """A script that opens its own stage does so in the same job."""
    (tmp_path / "talk.txt").write_text("The cat and the dog", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["split.py", str(tmp_path / "talk.txt")])
    runpy.run_path(str(STAGES / "split.py"))
    assert stage_io.load_json("words.json", "split") == ["the", "cat", "and", "the", "dog"]
