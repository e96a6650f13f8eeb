"""Speech to words with PocketSphinx and the US English model in its wheel: no download, no network."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A recognised word: when it was said (seconds from the start of the recording) and how sure it is (0 to 1)."""

    word: str
    start: float
    end: float
    confidence: float


class Recogniser:
    """A decoder with its model loaded (0.3 s). Not for use by several threads at a time.

    Raises ImportError, saying what to install, where PocketSphinx is missing.
    """

    def __init__(self) -> None:
        try:
            from pocketsphinx import Config, Decoder  # type: ignore[import-untyped]
        except ImportError as error:
            raise ImportError(
                'PocketSphinx is missing; install it with: pip install ".[speech]" in the repository'
            ) from error
        # The defaults of the model were the best of what was tried on read speech (beams, language weights, topn).
        self._decoder: Any = Decoder(Config(loglevel="FATAL"))
        self.engine = f"pocketsphinx {version('pocketsphinx')}"
        self.model = Path(self._decoder.config["hmm"]).name
        self._frame_rate = int(self._decoder.config["frate"])

    def recognise(self, pcm: bytes, offset_seconds: float) -> list[Word]:
        """The words in ``pcm`` (16 kHz, mono, 16 bit), which begins ``offset_seconds`` into the recording.

        The segment is decoded as a whole, so that its loudness and channel are evened out before the search begins.
        """
        if not pcm:
            return []
        decoder = self._decoder
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        if decoder.hyp() is None:
            return []
        return [
            Word(
                word=spelling(segment.word),
                start=round(offset_seconds + segment.start_frame / self._frame_rate, 2),
                end=round(offset_seconds + (segment.end_frame + 1) / self._frame_rate, 2),
                confidence=round(min(1.0, segment.prob), 3),
            )
            for segment in decoder.seg()
            if not is_filler(segment.word)
        ]


def spelling(entry: str) -> str:
    """The word of a dictionary entry: ``to(3)``, the third way to say it, is ``to``."""
    return entry.partition("(")[0]


def is_filler(entry: str) -> bool:
    """Whether an entry stands for silence, breath or noise."""
    return entry.startswith(("<", "[", "+"))
