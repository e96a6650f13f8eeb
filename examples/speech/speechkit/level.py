"""Channels and loudness: one channel, brought to a common peak, as 16 bit samples."""

import numpy as np
from numpy.typing import NDArray

from speechkit.wav import Samples

TARGET_PEAK = 10 ** (-1 / 20)  # 1 dB below full scale
LARGEST_GAIN = 10 ** (30 / 20)  # beyond 30 dB only noise is left to bring up
SILENCE_PEAK = 1e-4  # -80 dB


def to_mono(block: Samples) -> Samples:
    """The mean of the channels of ``block`` (frames, channels)."""
    mono: Samples = block.mean(axis=1, dtype=np.float32)
    return mono


def gain_for(peak: float) -> float:
    """The factor that brings a signal with this ``peak`` (1 is full scale) to the target peak; 1 for silence."""
    return 1.0 if peak < SILENCE_PEAK else min(TARGET_PEAK / peak, LARGEST_GAIN)


def to_pcm16(samples: Samples, gain: float = 1.0) -> NDArray[np.int16]:
    """Little-endian 16 bit samples; what exceeds full scale is clipped."""
    clipped: NDArray[np.int16] = np.clip(np.rint(samples * (gain * 32768)), -32768, 32767).astype("<i2")
    return clipped
