"""All that can make a part of a text a secret, one after the other.

Known texts and shapes come first, since what is around them can be hidden too; they are never looked for across a mark.
All functions are pure.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from otel_stageio.record.secrets import addresses, commands, pairs, shapes

if TYPE_CHECKING:
    import re
    from collections.abc import Callable


class Asked:
    """What is secret besides the shapes and names that are known, and what stands in its place."""

    # Written out: this module is loaded at any moment, and a NamedTuple is made by `eval`, which within an excepthook
    # makes Python forget that the process is to end by SIGINT.
    __slots__ = ("all_names", "hide", "kind", "literals", "mark", "texts")

    def __init__(
        self,
        *,
        literals: tuple[str, ...],
        texts: tuple[re.Pattern[str], ...],
        all_names: bool,
        kind: Callable[[str], int],
        hide: Callable[[str], str],
        mark: str,
    ) -> None:
        """Look for `literals`, longer ones first, and for the patterns of `texts`.

        `kind` is what a name says of its value, as in `names`, of all names where also such can be secret that
        have no known word in them; `hide` gives what to show for a secret: the mark, or the secret itself where it is
        an exception.
        """
        self.literals, self.texts, self.all_names = literals, texts, all_names
        self.kind, self.hide, self.mark = kind, hide, mark


def redact(text: str, asked: Asked) -> str:
    """Return the text with marks for its secrets. What a mark makes of its surroundings may take another call."""
    kind, hide = asked.kind, asked.hide
    for literal in asked.literals:
        if literal in text:
            text = _between(asked.mark, text, partial(_replaced, literal, asked.mark))
    for own in asked.texts:
        text = _between(asked.mark, text, partial(_matched, own, hide))
    text = _between(asked.mark, text, lambda part: shapes.redact(part, hide))
    text = addresses.redact(text, hide)
    text = commands.redact_logins(text, hide)
    return pairs.redact(text, kind=kind, hide=hide, all_names=asked.all_names)


def _between(mark: str, text: str, change: Callable[[str], str]) -> str:
    """Change what is between the marks, so that none is taken for a part of a secret."""
    return mark.join(change(part) for part in text.split(mark)) if mark in text else change(text)


def _replaced(secret: str, mark: str, text: str) -> str:
    return text.replace(secret, mark)


def _matched(pattern: re.Pattern[str], hide: Callable[[str], str], text: str) -> str:
    return pattern.sub(lambda found: found[0] and hide(found[0]), text)
