#!/usr/bin/env python3
"""Stage score: how much of what was said was recognised; skipped where nobody knows what was said."""

import sys
from dataclasses import asdict

from otel_stageio import StageIO
from speechkit.scoring import word_errors


def main() -> int:
    """Write score.json from transcript.json and reference.txt; 0 for success or skipped, 1 for failure."""
    io = StageIO("score")
    logger = io.get_stage_logger()
    try:
        reference = io.get_input_path("reference.txt", from_stage="ingest")
        if not reference.exists():
            logger.info("Nothing to compare with")
            io.get_output_path("score.json").unlink(missing_ok=True)  # of another recording, scored before
            io.finalize(status="skipped", reason="there is no reference text beside the recording")
            return 0
        io.track_input(reference, "reference")
        transcript = io.get_input_path("transcript.json")
        io.track_input(transcript, "transcript")

        errors = word_errors(reference.read_text(encoding="utf-8-sig"), io.load_json("transcript.json")["text"])
        for difference in errors.differences:
            logger.debug("Said %r, recognised %r", difference.reference, difference.hypothesis)
        output = io.save_json({"word_error_rate": errors.rate, **asdict(errors)}, "score.json")
        io.track_output(output, "score")
        io.add_metric("speech.word_error_rate", round(errors.rate, 4), unit="1")
        io.add_metric("speech.reference_words", errors.reference_words, unit="{word}")

        io.finalize(status="success")
        logger.info("Stage complete: word error rate %.1f %%", 100 * errors.rate)
        return 0
    except Exception as error:
        logger.error("Failed: %s", error)
        io.finalize(status="failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
