"""The benchmarks work: each row runs at a tiny size, and what it gives can be shown. No time is judged here."""

from __future__ import annotations

import io
import logging
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks import ROWS, __main__, book, log_record, machine, plot, table
from benchmarks.measuring import Result, Steps, alternate, shown
from benchmarks.runner import RowFailedError, run_row
from otel_stageio.views import logline

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = f"before\n\n{table.BEGIN}\nold\n{table.END}\n\nafter\n"


def entry(*results: Result, date: str = "2025-11-27 13:30 UTC") -> book.Entry:
    """Make an entry of the book."""
    return book.Entry(machine={"processor": "two cores", "load": "0.1"}, date=date, size="tiny", results=results)


#: The official exporter that is measured beside ours is fed by the names that it has by now.
NEWEST = {"delivery": pytest.mark.oracle}


@pytest.mark.parametrize("row", [pytest.param(row, marks=NEWEST.get(row, ())) for row in ROWS])
def test_row_runs_at_a_tiny_size(row: str, tmp_path: Path):
    """A row ends with finite results, at least one against a budget, told of every step, and leaves nothing behind."""
    told: list[tuple[int, int]] = []
    results = run_row(row, size="tiny", folder=str(tmp_path), tell=lambda done, total, _: told.append((done, total)))
    assert [each for each in results if not each.what or not all(map(math.isfinite, each.values))] == []
    assert [each.limit for each in results if each.limit is not None] != []
    assert [len(table.cells(each)) for each in results] == [7] * len(results)
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    assert list(tmp_path.iterdir()) == []


def test_row_that_fails_says_why(tmp_path: Path):
    """A row that ends without results is an error with what its process said, and leaves nothing behind either."""
    with pytest.raises(RowFailedError, match=r"No module named 'benchmarks\.nothing'"):
        run_row("nothing", size="tiny", folder=str(tmp_path), tell=lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_contenders_take_turns():
    """Each round asks every contender once, in order; the first round is not counted, and every one is told."""
    asked: list[str] = []
    told: list[tuple[int, int, str]] = []

    def contender(name: str) -> float:
        asked.append(name)
        return len(asked)

    steps = Steps(lambda *step: told.append(step), 3)
    found = alternate(lambda: contender("a"), lambda: contender("b"), rounds=2, steps=steps, what="turns")
    assert ("".join(asked), found) == ("ababab", ((3, 5), (4, 6)))
    assert told == [(1, 3, "turns"), (2, 3, "turns"), (3, 3, "turns")]


@pytest.mark.parametrize(
    ("values", "limit", "at_least", "met"),
    [
        ((0.4, 0.5, 9.0), 0.5, False, True),
        ((0.51,), 0.5, False, False),
        ((0.95,), 0.95, True, True),
        ((0.9, 1.0), 0.96, True, False),
        ((1.0,), None, False, None),
    ],
)
def test_median_is_held_against_the_budget(values: tuple[float, ...], limit: float | None, at_least: bool, met: bool):
    """The median decides whether a budget is met, from below or from above; without one there is no verdict."""
    assert Result(what="", against="", values=values, limit=limit, at_least=at_least).met is met


def test_durations_read_well():
    """A duration is shown in the unit that suits it."""
    assert [shown(seconds) for seconds in (2.34e-6, 0.0456, 7.0)] == ["2.34 µs", "45.6 ms", "7 s"]


def test_both_loggers_write_the_same_line(tmp_path: Path):
    """The baseline's line is one that ours could be: same parts in the same places, a message of 60 characters."""
    stream = io.StringIO()
    logger = log_record._plain(tmp_path / "plain", stream)
    try:
        log_record._log(logger, "INFO", log_record._arguments(1))
        log_record._log(logger, "DEBUG", log_record._arguments(1))
    finally:
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()
    (record,) = logline.parse(stream.getvalue().splitlines())
    assert (record.stage, record.level, len(record.message)) == ("plain", "INFO", log_record.LENGTH)
    lines = [len((tmp_path / "plain" / name).read_text().splitlines()) for name in ("stage.log", "pipeline.log")]
    assert (lines, logging.getLogger("plain").level) == ([2, 1], logging.DEBUG)


def test_table_is_put_between_the_markers():
    """The page keeps what stands around the markers; a missed budget stands out, and each occasion is told once."""
    good = Result(what="a | b", against="c", values=(0.25, 0.5, 1.0), limit=0.5, detail="d")
    bad = Result(what="e", against="", values=(701.0,), unit="B", limit=700)
    page = table.fill(PAGE, {"one": entry(good), "two": entry(bad), "three": entry(date="2025-11-28 09:00 UTC")})
    assert page.startswith(f"before\n\n{table.BEGIN}\n\n| What |")
    assert page.endswith(f"{table.END}\n\nafter\n")
    assert page.splitlines()[6:14] == [
        "| a \\| b | c | <= 0.5x | 0.50x | 0.25x - 1.00x | met | d |",
        "| e |  | <= 700 B | 701 B |  | **missed** |  |",
        "",
        "Measured:",
        "",
        "- one, two: 2025-11-27 13:30 UTC, size tiny. two cores; 0.1.",
        "- three: 2025-11-28 09:00 UTC, size tiny. two cores; 0.1.",
        "",
    ]


def test_page_without_markers_is_refused():
    """A page that has no place for the table is not written over."""
    with pytest.raises(ValueError, match="the page has no <!-- results"):
        table.fill("a page", {})


def test_plot_has_a_bar_for_each_budget():
    """The plot is well-formed, whatever a name holds: a bar for each result with a budget, broken off in time."""
    results = [
        Result(what="<a & b>" * 20, against="", values=(1.0, 9.0, 99.0), limit=0.5),
        Result(what="rate", against="", values=(1.9,), limit=0.95, at_least=True),
        Result(what="for comparison", against="", values=(1.0,)),
    ]
    picture = ET.fromstring(plot.svg(results))
    bars = [each for each in picture.iter() if each.get("class") in ("met", "missed") and each.get("height")]
    assert [each.get("class") for each in bars] == ["missed", "met"]
    assert [plot.share(each, each.median) for each in results[:2]] == [18.0, 0.5]
    assert float(bars[0].get("width", 0)) == 4 * float(bars[1].get("width", 0))


def test_main_keeps_the_rows_that_it_did_not_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Rows measured anew take the place of their former results; the others stay, in the order of the rows."""
    kept = entry(Result(what="kept", against="", values=(1.0,), limit=2.0))
    lost = entry(Result(what="lost", against="", values=(1.0,)))
    book.write(tmp_path / "performance.json", {"growth": kept, "log_record": lost})
    (tmp_path / "performance.md").write_text(PAGE)
    arguments = ["--rows", "log_record", "--size", "tiny", "--write", "--docs", str(tmp_path)]
    assert __main__.main([*arguments, "--folder", str(tmp_path)]) == 0
    assert "INFO record" in capsys.readouterr().out
    found = book.read(tmp_path / "performance.json")
    assert (list(found), found["growth"]) == (["log_record", "growth"], kept)
    page = (tmp_path / "performance.md").read_text()
    assert [word in page for word in ("INFO record", "kept", "lost", "old")] == [True, True, False, False]
    assert "kept" in (tmp_path / "performance.svg").read_text()


def test_page_and_plot_are_drawn_anew_without_measuring(tmp_path: Path):
    """What is kept can be shown again without measuring anything: the page and the plot are made of it alone."""
    book.write(
        tmp_path / "performance.json", {"growth": entry(Result(what="kept", against="", values=(1.0,), limit=2))}
    )
    (tmp_path / "performance.md").write_text(PAGE)
    assert __main__.main(["--draw", "--docs", str(tmp_path)]) == 0
    drawn = [(tmp_path / name).read_text().count("kept") for name in ("performance.md", "performance.svg")]
    assert drawn == [1, 1]


def test_page_shows_the_kept_results():
    """docs/performance.md and its plot are what docs/performance.json makes of them."""
    entries = book.read(DOCS / "performance.json")
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    drawn = plot.svg(result for each in entries.values() for result in each.results)
    assert list(entries) == list(ROWS)
    assert table.fill(page, entries) == page
    assert (DOCS / "performance.svg").read_text(encoding="utf-8") == drawn


def test_machine_is_told_without_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is said of the machine holds processor, system and versions, and never the name of the host."""
    monkeypatch.setattr("platform.node", lambda: pytest.fail("asked for the host's name"))
    found = machine.describe(str(tmp_path))
    assert list(found) == ["processor", "system", "python", "packages", "load"]
    assert [text for text in found.values() if not text] == []
