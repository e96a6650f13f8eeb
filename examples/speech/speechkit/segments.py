"""Finding the stretches of a recording in which somebody speaks, by their energy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from speechkit.wav import Samples

QUIETEST_DB = -100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSettings:
    """How speech is told from what is between; times in seconds, levels in dB.

    Only the band of the voice counts, so that hum, rumble and hiss weigh little. Speech begins where the level rises
    by ``enter`` of the way from the noise floor to the loud parts, and ends where it stays below ``leave`` of that way
    for ``min_silence_seconds``. In a recording without noise the floor is taken to be no more than ``max_range_db``
    below the loud parts: soft consonants are speech, too. With less than ``min_range_db`` between floor and loud parts
    there is only an even noise.
    """

    lowest_hz: float = 150.0
    highest_hz: float = 4000.0
    frame_seconds: float = 0.01
    smooth_frames: int = 9
    enter: float = 0.35
    leave: float = 0.25
    min_range_db: float = 6.0
    max_range_db: float = 45.0
    min_silence_seconds: float = 0.3
    min_speech_seconds: float = 0.12
    pad_seconds: float = 0.15
    max_seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech, in seconds from the start of the recording."""

    start: float
    end: float


def frame_levels(blocks: Iterable[Samples], sample_rate: int, settings: SegmentSettings) -> NDArray[np.float64]:
    """The level of a mono signal in the band of the voice, in dB, a value a frame.

    Frame ``n`` looks at the two frame lengths that begin at ``n * frame_seconds``; what is left at the end is dropped.
    """
    hop = round(settings.frame_seconds * sample_rate)
    window = np.hanning(2 * hop)
    frequencies = np.fft.rfftfreq(2 * hop, 1 / sample_rate)
    band = (frequencies >= settings.lowest_hz) & (frequencies <= settings.highest_hz)
    scale = 2 / (np.square(window).sum() * 2 * hop)  # the power of a sine is half its amplitude squared
    powers = [np.zeros(0)]
    for frames in _frames(blocks, hop):
        spectrum = np.abs(np.fft.rfft(frames * window, axis=1))
        powers.append(scale * np.square(spectrum[:, band]).sum(axis=1))
    levels: NDArray[np.float64] = np.maximum(10 * np.log10(np.concatenate(powers) + 1e-20), QUIETEST_DB)
    return levels


def thresholds(levels: NDArray[np.float64], settings: SegmentSettings) -> tuple[float, float] | None:
    """The levels in dB at which speech begins and ends, or None where nothing stands out from an even noise."""
    if len(levels) == 0:
        return None
    floor, loud = np.percentile(levels, [10, 95])
    floor = max(floor, loud - settings.max_range_db)
    # A recording that is speech nearly throughout has its floor between words: judge the range by its quietest, too.
    if (
        loud - min(floor, np.percentile(levels, 1)) < settings.min_range_db
        or loud <= QUIETEST_DB + settings.min_range_db
    ):
        return None
    reach = loud - floor
    return float(floor + settings.enter * reach), float(floor + settings.leave * reach)


def find_segments(levels: NDArray[np.float64], settings: SegmentSettings) -> list[Segment]:
    """The stretches of speech in order, padded, never overlapping, none longer than ``max_seconds`` plus its pads.

    ``levels`` is what frame_levels gives for the whole recording. An empty list means that no speech stands out.
    """
    smooth = _smoothed(levels, settings.smooth_frames)
    limits = thresholds(smooth, settings)
    if limits is None:
        return []
    min_silence = round(settings.min_silence_seconds / settings.frame_seconds)
    min_speech = round(settings.min_speech_seconds / settings.frame_seconds)
    max_frames = round(settings.max_seconds / settings.frame_seconds)
    stretches = [
        part
        for start, end in _joined(_above(smooth, *limits), min_silence)
        if end - start >= min_speech
        for part in _cut(smooth, start, end, max_frames)
    ]
    return _padded(stretches, len(levels), settings)


def _frames(blocks: Iterable[Samples], hop: int) -> Iterator[Samples]:
    rest: Samples = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        count = len(rest) // hop - 1
        if count > 0:
            yield sliding_window_view(rest, 2 * hop)[: count * hop : hop]
            rest = rest[count * hop :]


def _smoothed(levels: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    if len(levels) < width:
        return levels
    edge = width // 2
    return np.convolve(np.pad(levels, (edge, width - 1 - edge), mode="edge"), np.full(width, 1 / width), mode="valid")


def _above(levels: NDArray[np.float64], enter: float, leave: float) -> Iterator[tuple[int, int]]:
    """Runs of frames that rise over ``enter``, each taken from and to where the level is below ``leave``."""
    quiet = np.concatenate([[True], levels < leave, [True]])
    starts = np.flatnonzero(quiet[:-1] & ~quiet[1:])
    ends = np.flatnonzero(~quiet[:-1] & quiet[1:])
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if np.max(levels[start:end]) >= enter:
            yield start, end


def _joined(runs: Iterable[tuple[int, int]], min_silence: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and start - joined[-1][1] < min_silence:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _cut(levels: NDArray[np.float64], start: int, end: int, max_frames: int) -> Iterator[tuple[int, int]]:
    """Cut a stretch that is too long at its quietest places; no part is shorter than a quarter of what is allowed."""
    while end - start > max_frames:
        earliest = start + max_frames // 2
        latest = min(start + max_frames, end - max_frames // 4)
        at = earliest + int(np.argmin(levels[earliest:latest]))
        yield start, at
        start = at
    yield start, end


def _padded(stretches: list[tuple[int, int]], frames: int, settings: SegmentSettings) -> list[Segment]:
    pad = round(settings.pad_seconds / settings.frame_seconds)
    segments = []
    for index, (start, end) in enumerate(stretches):
        room_before = start if index == 0 else (start - stretches[index - 1][1]) // 2
        room_after = frames - end if index == len(stretches) - 1 else (stretches[index + 1][0] - end) // 2
        segments.append(
            Segment(
                start=round((start - min(pad, room_before)) * settings.frame_seconds, 3),
                end=round((end + min(pad, room_after)) * settings.frame_seconds, 3),
            )
        )
    return segments
