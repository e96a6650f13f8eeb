"""Comparing what was recognised with what was said: the word error rate."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The dictionary of the recogniser abbreviates these, a reference may not (or the other way round).
SAME_WORDS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint"}
CURLY_APOSTROPHE = "\u2019"
KEEP, SUBSTITUTE, DELETE, INSERT = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A place where the two texts differ; ``reference`` is empty for an inserted word, ``hypothesis`` for a deleted."""

    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WordErrors:
    """The errors of the best alignment of two texts."""

    reference_words: int
    substitutions: int
    deletions: int
    insertions: int
    differences: tuple[Difference, ...]

    @property
    def rate(self) -> float:
        """Word error rate: errors per word of the reference (above 1 where much was inserted)."""
        return (self.substitutions + self.deletions + self.insertions) / self.reference_words


def words(text: str) -> list[str]:
    """The words of a text without case and punctuation, in one spelling; apostrophes inside a word stay."""
    found = re.findall(r"\w+(?:'\w+)*", text.casefold().replace(CURLY_APOSTROPHE, "'"))
    return [SAME_WORDS.get(word, word) for word in found]


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Compare two texts word by word. Raises ValueError where the reference has no word."""
    expected, actual = words(reference), words(hypothesis)
    if not expected:
        raise ValueError("the reference text has no words to compare with")
    steps = _alignment(expected, actual)
    kinds = [kind for kind, _ in steps]
    return WordErrors(
        reference_words=len(expected),
        substitutions=kinds.count(SUBSTITUTE),
        deletions=kinds.count(DELETE),
        insertions=kinds.count(INSERT),
        differences=tuple(difference for kind, difference in steps if kind != KEEP),
    )


def _alignment(expected: list[str], actual: list[str]) -> list[tuple[int, Difference]]:
    """The steps of the cheapest way from ``expected`` to ``actual`` (Levenshtein), in order."""
    moves = _moves(expected, actual)
    steps = []
    row, column = len(expected), len(actual)
    while row or column:
        kind = int(moves[row, column])
        row -= kind != INSERT
        column -= kind != DELETE
        said = "" if kind == INSERT else expected[row]
        heard = "" if kind == DELETE else actual[column]
        steps.append((kind, Difference(reference=said, hypothesis=heard)))
    return steps[::-1]


def _moves(expected: list[str], actual: list[str]) -> NDArray[np.uint8]:
    """The last step on the cheapest way to each pair of prefixes; a row at a time, one byte a pair."""
    numbers = {word: number for number, word in enumerate({*expected, *actual})}
    heard = np.array([numbers[word] for word in actual], np.int64)
    columns = np.arange(len(actual) + 1)
    moves = np.full((len(expected) + 1, len(actual) + 1), INSERT, np.uint8)
    moves[1:, 0] = DELETE
    costs = columns.copy()
    for row, word in enumerate(expected, 1):
        differs = heard != numbers[word]
        diagonal, down = costs[:-1] + differs, costs[1:] + 1
        cheapest = np.concatenate([[row], np.minimum(diagonal, down)])
        # A run of insertions costs one a column: the running minimum of (cost - column) finds them all at once.
        costs = np.minimum.accumulate(cheapest - columns) + columns
        moves[row, 1:] = np.select(
            [costs[1:] == diagonal, costs[1:] == down], [np.where(differs, SUBSTITUTE, KEEP), DELETE], INSERT
        )
    return moves
