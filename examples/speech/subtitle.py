#!/usr/bin/env python3
"""Stage subtitle: the recognised words as subtitles (SRT) and as a transcript (JSON)."""

import sys
from dataclasses import asdict

from otel_stageio import StageIO
from speechkit.recognition import Word
from speechkit.subtitles import cues, to_srt


def main() -> int:
    """Write transcript.srt and transcript.json from words.json; 0 for success, 1 for failure."""
    io = StageIO("subtitle")
    logger = io.get_stage_logger()
    try:
        words_file = io.get_input_path("words.json")
        io.track_input(words_file, "words")
        segments = [[Word(**word) for word in segment["words"]] for segment in io.load_json("words.json")]
        logger.info("Writing subtitles for %d segments", len(segments))

        shown = cues(segments)
        srt_file = io.get_output_path("transcript.srt")
        srt_file.write_text(to_srt(shown), encoding="utf-8")
        io.track_output(srt_file, "subtitles", format="srt", cues=len(shown))

        text = "\n".join(" ".join(word.word for word in words) for words in segments)
        json_file = io.save_json({"text": text, "cues": [asdict(cue) for cue in shown]}, "transcript.json")
        io.track_output(json_file, "transcript", format="json", cues=len(shown))

        io.finalize(status="success")
        logger.info("Stage complete: %d subtitles", len(shown))
        return 0
    except Exception as error:
        logger.error("Failed: %s", error)
        io.finalize(status="failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
