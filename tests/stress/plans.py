"""What a process of a stress run is to do: a stage, what it says there, and how that ends. Drawn by dice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random

#: These have items. The stages without a number are given the next free one when they first come.
STAGES = ("91_cut", "92_clean", "93_asr", "94_mix")
_ITEMS = 40
#: Part of the attempts at an item that are at one of a few, which are opened again as soon as they are dead.
_HOT = 0.3
_FEW = 3
#: Part of the attempts that are of a stage without items, and how many processes come upon each new one.
_WHOLE = 0.3
_SHARED = 4
#: Which part of the processes is killed at any time, besides those that kill themselves between two calls.
_KILLED = 0.15
_ENDS = {"success": 60, "failed": 8, "skipped": 5, "raise": 8, "exit": 4, "nothing": 4, "kill": 6, "term": 5}
_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING)


class Say(NamedTuple):
    """A message, at a level of `logging`."""

    level: int
    text: str


class Plan(NamedTuple):
    """One attempt: what is said before and after the work, by a child by fork, and after the end."""

    stage: str
    item: str = ""
    how: str = "success"
    first: tuple[Say, ...] = ()
    child: tuple[Say, ...] = ()
    last: tuple[Say, ...] = ()
    after: tuple[Say, ...] = ()
    #: Seconds of work.
    pause: float = 0.0


def draw(dice: random.Random, turn: int) -> Plan:
    """Draw what is next for the process that is started as number `turn`."""
    item = "" if dice.random() < _WHOLE else f"ep{dice.randrange(_FEW if dice.random() < _HOT else _ITEMS):03d}"
    newest = turn // _SHARED
    return Plan(
        stage=dice.choice(STAGES) if item else f"new{dice.choice((newest, dice.randint(0, newest)))}",
        item=item,
        how=dice.choices([*_ENDS], [*_ENDS.values()])[0],
        first=_says(dice, dice.randint(0, 10)),
        child=_says(dice, 3) if dice.random() < 0.2 else (),
        last=_says(dice, dice.randint(0, 5)),
        after=_says(dice, 1) if dice.random() < 0.3 else (),
        pause=dice.random() / 50,
    )


def draw_alarm(dice: random.Random) -> float:
    """Draw the seconds after which a process is killed wherever it is; 0 is never."""
    return dice.uniform(0.001, 0.5) if dice.random() < _KILLED else 0


def _says(dice: random.Random, count: int) -> tuple[Say, ...]:
    """Draw messages of which no two, and no two pieces, are alike: a mixture of two is seen to be one."""
    found = []
    for _ in range(count):
        word = f"{dice.getrandbits(64):016x}"
        lines = [word * length for length in dice.choice(((1,), (6,), (300,), (1, 6, 1)))]
        found.append(Say(dice.choice(_LEVELS), "word " + "\n".join(lines)))
    return tuple(found)
