"""Changing the sample rate: a polyphase windowed-sinc filter over a stream of blocks."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from speechkit.wav import Samples

# 24 zero crossings a side under a Kaiser window of beta 9 put aliases more than 80 dB down, and 0.92 of the lower
# Nyquist frequency keeps the transition band inside what is cut off.
ZERO_CROSSINGS = 24
KAISER_BETA = 9.0
ROLL_OFF = 0.92
OUTPUTS_AT_ONCE = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A low-pass filter for a change of the rate by ``up/down``: ``bank`` has a row for each of the ``up`` phases."""

    up: int
    down: int
    bank: Samples

    @property
    def taps(self) -> int:
        """How many input samples an output is made of; half of them minus one lie before its position."""
        return int(self.bank.shape[1])

    @property
    def before(self) -> int:
        """How many input samples an output needs before its position."""
        return self.taps // 2 - 1


def resample(blocks: Iterable[Samples], source_rate: int, target_rate: int) -> Iterator[Samples]:
    """Yield the mono signal ``blocks`` (one-dimensional, ``source_rate`` Hz) at ``target_rate`` Hz, without delay.

    ``n`` samples become ``ceil(n * target_rate / source_rate)``; amplitudes are kept. How the input was cut into
    blocks does not matter.
    """
    if source_rate == target_rate:
        yield from blocks
        return
    low_pass = design(source_rate, target_rate)
    up, down = low_pass.up, low_pass.down
    # Output n lies at input position n * down / up. `start` is the position of buffer[0]: the first outputs look at
    # the silence before the signal.
    buffer: Samples = np.zeros(low_pass.before, np.float32)
    start = -low_pass.before
    produced = received = 0
    for block in blocks:
        received += len(block)
        buffer = np.concatenate([buffer, block])
        ready = max(produced, -(-(received - low_pass.taps // 2) * up // down))
        yield from _filtered(buffer, start, range(produced, ready), low_pass)
        produced = ready
        keep_from = produced * down // up - low_pass.before - start
        buffer, start = buffer[keep_from:], start + keep_from
    buffer = np.concatenate([buffer, np.zeros(low_pass.taps, np.float32)])
    yield from _filtered(buffer, start, range(produced, -(-received * up // down)), low_pass)


def design(source_rate: int, target_rate: int) -> Filter:
    """The filter between two rates in Hz; each row of its bank adds up to 1, so that a constant stays what it is."""
    common = math.gcd(source_rate, target_rate)
    up, down = target_rate // common, source_rate // common
    cutoff = ROLL_OFF * min(1.0, up / down)  # as a share of the input's Nyquist frequency
    half = math.ceil(ZERO_CROSSINGS / cutoff)
    phases = np.arange(up)[:, np.newaxis] / up
    offsets = phases - np.arange(-half + 1, half + 1)[np.newaxis, :]
    window = np.i0(KAISER_BETA * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, None))) / np.i0(KAISER_BETA)
    rows = np.sinc(cutoff * offsets) * window
    return Filter(up=up, down=down, bank=(rows / rows.sum(axis=1, keepdims=True)).astype(np.float32))


def _filtered(buffer: Samples, start: int, outputs: range, low_pass: Filter) -> Iterator[Samples]:
    for first in range(outputs.start, outputs.stop, OUTPUTS_AT_ONCE):
        last = min(first + OUTPUTS_AT_ONCE, outputs.stop)
        positions = np.arange(first, last, dtype=np.int64) * low_pass.down
        taken = positions // low_pass.up - low_pass.before - start
        windows = sliding_window_view(buffer, low_pass.taps)[taken]
        yield np.einsum("ij,ij->i", windows, low_pass.bank[positions % low_pass.up])
