"""The user's own patterns, of `Settings.redact`: what is hidden besides the known secrets, and what is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    _Compiled = tuple[re.Pattern[str], ...]


def sorted_out(patterns: tuple[str, ...]) -> tuple[_Compiled, _Compiled, _Compiled, _Compiled]:
    """Return the patterns of texts and of names that are hidden, and those of texts and of names that stay readable.

    What is no pattern is passed over: `Settings.problems` has told it.
    """
    hidden = tuple(one for one in patterns if not one.startswith("!"))
    readable = tuple(one[1:] for one in patterns if one.startswith("!"))
    return tuple(_texts(hidden)), tuple(_names(hidden)), tuple(_texts(readable)), tuple(_names(readable))


def _texts(patterns: Iterable[str]) -> Iterator[re.Pattern[str]]:
    return _compiled(one for one in patterns if one and not one.endswith("="))


def _names(patterns: Iterable[str]) -> Iterator[re.Pattern[str]]:
    return _compiled(f"(?i:{one[:-1]})" for one in patterns if one.endswith("=") and one.strip("="))


def _compiled(patterns: Iterable[str]) -> Iterator[re.Pattern[str]]:
    for pattern in patterns:
        try:
            yield re.compile(pattern)
        except (re.error, RecursionError, OverflowError, Warning):
            continue
