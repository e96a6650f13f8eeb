"""Words to subtitles: cues that can be read in their time, and the SRT format."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from speechkit.recognition import Word

LINE_CHARACTERS, LINES = 42, 2
LONGEST_SECONDS = 6.0
PAUSE_SECONDS = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One subtitle: its text, shown from ``start`` to ``end`` (seconds)."""

    start: float
    end: float
    text: str


def cues(segments: Iterable[list[Word]]) -> list[Cue]:
    """Subtitles for the words of each segment; a pause, a full box or a long time begins a new one."""
    return [
        Cue(start=group[0].start, end=group[-1].end, text=" ".join(word.word for word in group))
        for words in segments
        for group in _groups(words)
    ]


def to_srt(shown: Iterable[Cue]) -> str:
    """The cues as the text of a .srt file; empty for none."""
    blocks = (
        f"{number}\n{timecode(cue.start)} --> {timecode(cue.end)}\n{_wrapped(cue.text)}\n"
        for number, cue in enumerate(shown, 1)
    )
    return "\n".join(blocks)


def timecode(seconds: float) -> str:
    """``HH:MM:SS,mmm``, as SRT has it."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{milliseconds // 1000:02d},{milliseconds % 1000:03d}"


def _groups(words: list[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in words:
        if group and _is_full(group, word):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _is_full(group: list[Word], following: Word) -> bool:
    text = " ".join(word.word for word in [*group, following])
    return (
        following.start - group[-1].end >= PAUSE_SECONDS
        or following.end - group[0].start > LONGEST_SECONDS
        or len(textwrap.wrap(text, LINE_CHARACTERS)) > LINES
    )


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, LINE_CHARACTERS))
