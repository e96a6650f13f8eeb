"""cli.since: what a person writes for a point in time."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import click
import pytest

from otel_stageio.cli.since import since

CONTEXT, OPTION = click.Context(click.Command("push")), click.Option(["--since"])


def read(given: str | None) -> int:
    """What the option makes of it."""
    return since(CONTEXT, OPTION, given)


def test_nothing_given_is_the_beginning() -> None:
    """Without the option everything is chosen."""
    assert read(None) == 0


@pytest.mark.parametrize(
    ("given", "seconds"), [("90s", 90), ("30m", 1_800), (" 2h ", 7_200), ("3d", 259_200), ("1w", 604_800)]
)
def test_how_long_ago(given: str, seconds: int) -> None:
    """A number with a unit counts back from now."""
    assert abs(time.time_ns() - seconds * 10**9 - read(given)) < 10**9


def test_before_all_time() -> None:
    """Longer ago than the epoch is its beginning."""
    assert read("999999999w") == read("1900-01-01T00:00Z") == 0


@pytest.mark.parametrize("given", ["2026-11-20T18:30:00Z", "2026-11-20T19:30+01:00", "2026-11-20 18:30+00:00"])
def test_with_a_zone(given: str) -> None:
    """A time with a zone is that moment anywhere."""
    assert read(given) == int(datetime(2026, 11, 20, 18, 30, tzinfo=timezone.utc).timestamp()) * 10**9


@pytest.mark.parametrize("given", ["2026-11-20", "2026-11-20T18:30"])
def test_without_a_zone(given: str) -> None:
    """One without is local, a date is its midnight."""
    assert read(given) == int(datetime.fromisoformat(given).timestamp()) * 10**9


@pytest.mark.parametrize("given", ["", "soon", "3", "3y", "-2h", "2026-13-01", "\u0663d", "9999999999999h"])
def test_what_is_no_time(given: str) -> None:
    """Anything else is said to be none."""
    with pytest.raises(click.BadParameter, match="is no time; give a date"):
        read(given)
