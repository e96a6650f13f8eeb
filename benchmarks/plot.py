"""The results as a picture: how much of its budget each uses, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from benchmarks.table import budget, number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.measuring import Result

_TITLE: Final = "Share of its budget that each measurement uses"
_LEGEND: Final = "bar: median of the rounds; thin line: best to worst; left of the dashed line is within the budget"
_WIDTH: Final = 960
_LEFT: Final = 430
_RIGHT: Final = 170
_TOP: Final = 64
_STEP: Final = 30
_BAR: Final = 14
#: The axis ends here, in budgets; a longer bar is broken off.
_END: Final = 2.0
_TICKS: Final = (0.0, 0.5, 1.0, 1.5, 2.0)
_STYLE: Final = """
  text { font-family: system-ui, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #57606a; font-size: 12px }
  rect.met { fill: #8fd3a4 } rect.missed { fill: #f0a0a0 } text.met { fill: #1a7f37 } text.missed { fill: #cf222e }
  .grid { stroke: #d0d7de } .budget { stroke: #24292f; stroke-width: 1.5; stroke-dasharray: 4 3 }
  .spread { stroke: #24292f; stroke-width: 1.2 }
"""


def svg(results: Iterable[Result]) -> str:
    """Bars of the results that have a budget: the median as a share of it, and a line from the best to the worst."""
    shown = [result for result in results if result.limit is not None]
    height = _TOP + _STEP * len(shown) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{_TITLE}">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text class="title" x="16" y="26">{_TITLE}</text>',
        f'<text class="quiet" x="16" y="46">{_LEGEND}</text>',
        *(_tick(tick, height) for tick in _TICKS),
    ]
    for place, result in enumerate(shown):
        parts += _row(result, _TOP + _STEP * place)
    return "\n".join([*parts, _line("budget", 1.0, height), "</svg>", ""])


def share(result: Result, value: float) -> float:
    """How much of its budget a measured number uses: 1 is all of it."""
    limit = result.limit or 1.0
    return max(limit / value if result.at_least else value / limit, 0.0)


def _x(used: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * min(used, _END) / _END, 1)


def _line(kind: str, at: float, height: int) -> str:
    return f'<line class="{kind}" x1="{_x(at)}" y1="{_TOP - 6}" x2="{_x(at)}" y2="{height - 30}"/>'


def _tick(at: float, height: int) -> str:
    text = f'<text class="quiet" x="{_x(at)}" y="{height - 12}" text-anchor="middle">{at:.0%}</text>'
    return _line("grid", at, height) + text


def _row(result: Result, top: int) -> list[str]:
    middle = top + _STEP / 2
    used = share(result, result.median)
    shares = [share(result, value) for value in result.values]
    kind = "met" if result.met else "missed"
    said = f"{number(result.median, result.unit)} ({budget(result)})"
    parts = [
        f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(_short(result.what))}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{middle - _BAR / 2}" width="{_x(used) - _LEFT:.1f}" height="{_BAR}"/>',
        f'<text class="{kind}" x="{_WIDTH - _RIGHT + 12}" y="{middle + 4}">{escape(said)}</text>',
    ]
    if used > _END:  # broken off: a white cut near the end says that it goes on
        x = _x(_END) - 14
        cut = f"M{x} {middle - _BAR} l6 0 l-4 {2 * _BAR} l-6 0 z"
        parts.append(f'<path d="{cut}" fill="#ffffff"/>')
    if len(shares) > 1 and min(shares) < _END:
        parts.append(
            f'<line class="spread" x1="{_x(min(shares))}" y1="{middle}" x2="{_x(max(shares))}" y2="{middle}"/>'
        )
    return parts


def _short(text: str) -> str:
    most = 60
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
