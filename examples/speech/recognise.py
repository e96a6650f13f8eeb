#!/usr/bin/env python3
"""Stage recognise: what is said in each segment, word by word."""

import sys
import time
import wave
from dataclasses import asdict

from otel_stageio import StageIO
from speechkit.recognition import SAMPLE_RATE, Recogniser

UNSURE = 0.3  # a confidence below this is named in the log


def main() -> int:
    """Write words.json from audio.wav and segments.json; 0 for success, 1 for failure."""
    io = StageIO("recognise")
    logger = io.get_stage_logger()
    try:
        audio_file = io.get_input_path("audio.wav")
        io.track_input(audio_file, "audio")
        segments_file = io.get_input_path("segments.json")
        io.track_input(segments_file, "segments")
        segments = io.load_json("segments.json")

        with io.step("load"):
            recogniser = Recogniser()
        io.set_config({"engine": recogniser.engine, "model": recogniser.model, "sample_rate": SAMPLE_RATE})
        logger.info("Recognising %d segments with %s", len(segments), recogniser.engine)
        began = time.monotonic()
        recognised = []
        with wave.open(str(audio_file), "rb") as audio:
            for number, segment in enumerate(segments, 1):
                with io.step("segment", number=number, **segment):
                    first, last = (round(segment[key] * SAMPLE_RATE) for key in ("start", "end"))
                    audio.setpos(first)
                    words = recogniser.recognise(audio.readframes(last - first), segment["start"])
                    recognised.append({**segment, "words": [asdict(word) for word in words]})
                    logger.info("%d of %d: %s", number, len(segments), " ".join(word.word for word in words))
                    unsure = [f"{word.word} ({word.confidence:.2f})" for word in words if word.confidence < UNSURE]
                    logger.debug("Not sure of: %s", ", ".join(unsure) or "nothing")
        seconds = time.monotonic() - began

        word_count = sum(len(segment["words"]) for segment in recognised)
        speech_seconds = sum(segment["end"] - segment["start"] for segment in segments)
        if not word_count:
            logger.warning("No word was recognised")
            io.add_warning("no word was recognised")
        output = io.save_json(recognised, "words.json")
        io.track_output(output, "words", segments=len(recognised), words=word_count, language="en-US")
        io.add_metric("speech.words", word_count, unit="{word}")
        if speech_seconds:
            io.add_metric("speech.real_time_factor", round(seconds / speech_seconds, 3))

        io.finalize(status="success")
        logger.info("Stage complete: %d words in %.1f s", word_count, seconds)
        return 0
    except Exception as error:
        logger.error("Failed: %s", error)
        io.finalize(status="failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
