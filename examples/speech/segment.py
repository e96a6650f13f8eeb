#!/usr/bin/env python3
"""Stage segment: find where somebody speaks."""

import sys
from dataclasses import asdict

from otel_stageio import StageIO
from speechkit.level import to_mono
from speechkit.segments import SegmentSettings, find_segments, frame_levels
from speechkit.wav import read_blocks, read_info


def main() -> int:
    """Write segments.json from audio.wav; 0 for success, 1 for failure."""
    io = StageIO("segment")
    logger = io.get_stage_logger()
    try:
        audio = io.get_input_path("audio.wav")
        io.track_input(audio, "audio")
        settings = SegmentSettings()
        io.set_config(settings)

        info = read_info(audio)
        logger.info("Looking for speech in %.1f s of audio", info.duration_seconds)
        levels = frame_levels((to_mono(block) for block in read_blocks(audio, info)), info.sample_rate, settings)
        segments = find_segments(levels, settings)
        for number, segment in enumerate(segments, 1):
            logger.debug("Segment %d: %.2f to %.2f s", number, segment.start, segment.end)
        if not segments:
            logger.warning("No speech found: nothing stands out from an even noise or silence")
            io.add_warning("no speech found")

        output = io.save_json([asdict(segment) for segment in segments], "segments.json")
        speech_seconds = sum(segment.end - segment.start for segment in segments)
        io.track_output(output, "segments", segments=len(segments), speech_seconds=round(speech_seconds, 3))
        io.add_metric("speech.segments", len(segments), unit="{segment}")
        io.add_metric("speech.speech_ratio", round(speech_seconds / info.duration_seconds, 4))

        io.finalize(status="success")
        logger.info("Stage complete: %d segments, %.1f s of speech", len(segments), speech_seconds)
        return 0
    except Exception as error:
        logger.error("Failed: %s", error)
        io.finalize(status="failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
