#!/usr/bin/env python3
"""Stage normalise: any recording to 16 kHz, mono, 16 bit, with its peak at -1 dB."""

import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from otel_stageio import StageIO
from speechkit.level import LARGEST_GAIN, TARGET_PEAK, gain_for, to_mono, to_pcm16
from speechkit.recognition import SAMPLE_RATE
from speechkit.resample import resample
from speechkit.wav import BLOCK_FRAMES, Samples, read_blocks, read_info


def main() -> int:
    """Write audio.wav from recording.wav; 0 for success, 1 for failure."""
    io = StageIO("normalise")
    logger = io.get_stage_logger()
    try:
        recording = io.get_input_path("recording.wav")
        io.track_input(recording, "audio")
        info = read_info(recording)
        io.set_config({"sample_rate": SAMPLE_RATE, "channels": 1, "target_peak": TARGET_PEAK, "max_gain": LARGEST_GAIN})
        logger.info("From %d Hz and %d channel(s) to %d Hz mono", info.sample_rate, info.channels, SAMPLE_RATE)

        # The gain is known only when the last sample has been seen, and an hour of audio shall not lie in memory.
        cache = io.get_cache_path("resampled.f32")
        with io.step("resample"):
            mono = (to_mono(block) for block in read_blocks(recording, info))
            peak = write_floats(cache, resample(mono, info.sample_rate, SAMPLE_RATE))
        gain = gain_for(peak)
        logger.debug("Peak %.4f, gain %.3f", peak, gain)
        if gain == 1.0 or peak * gain < TARGET_PEAK / 2:
            logger.warning("The recording is very quiet (peak %.5f of full scale)", peak)
            io.add_warning(f"very quiet recording: peak {peak:.5f} of full scale")

        with (
            io.step("amplify", gain=gain),
            io.open_output("audio.wav", "wb", type="audio", sample_rate=SAMPLE_RATE, channels=1) as file,
        ):
            seconds = write_wav(file, read_floats(cache), gain)
        why = "resampled audio before the gain was known"
        io.track_intermediate(cache, retained=False, reason=why, checksum="off")  # it is gone before anyone can compare
        cache.unlink()
        io.add_metric("speech.gain", round(gain, 4))

        io.finalize(status="success")
        logger.info("Stage complete: %.1f s, gain %.2f", seconds, gain)
        return 0
    except Exception as error:
        logger.error("Failed: %s", error)
        io.finalize(status="failed")
        return 1


def write_floats(path: Path, blocks: Iterator[Samples]) -> float:
    """Write the samples as they are to ``path``; the largest magnitude among them."""
    peak = 0.0
    with path.open("wb") as file:
        for block in blocks:
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            file.write(block.tobytes())
    return peak


def read_floats(path: Path) -> Iterator[Samples]:
    """Read back what write_floats wrote."""
    with path.open("rb") as file:
        while data := file.read(BLOCK_FRAMES * 4):
            yield np.frombuffer(data, np.float32)


def write_wav(file: IO[bytes], blocks: Iterator[Samples], gain: float) -> float:
    """Write a 16 bit mono WAV file; its length in seconds."""
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(SAMPLE_RATE)
        for block in blocks:
            output.writeframes(to_pcm16(block, gain).tobytes())
        return output.tell() / SAMPLE_RATE


if __name__ == "__main__":
    sys.exit(main())
