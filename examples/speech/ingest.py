#!/usr/bin/env python3
"""Stage ingest: take a WAV recording, and the text that was read where there is one, into the job.

python ingest.py [RECORDING.wav]   (the sample in data/ without an argument)
"""

import shutil
import sys
from pathlib import Path

from otel_stageio import StageIO
from speechkit.wav import read_info

SAMPLE = Path(__file__).parent / "data" / "sense_and_sensibility.wav"


def main() -> int:
    """Copy the recording and its reference text; 0 for success, 1 for failure."""
    io = StageIO("ingest")
    logger = io.get_stage_logger()
    try:
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
        logger.info("Taking in %s", source)
        io.track_input(source, "audio")
        info = read_info(source)
        logger.debug("WAV header: %s", info)
        if info.missing_frames:
            missing = f"the file is cut off: {info.missing_frames / info.sample_rate:.2f} s of audio are missing"
            logger.warning("%s: %s", source.name, missing)
            io.add_warning(missing)

        recording = io.get_output_path("recording.wav")
        shutil.copyfile(source, recording)
        io.track_output(
            recording,
            "audio",
            sample_rate=info.sample_rate,
            channels=info.channels,
            encoding=info.encoding,
            duration_seconds=round(info.duration_seconds, 3),
        )
        io.add_metric("speech.audio_duration", round(info.duration_seconds, 3), unit="s")

        # The text that was read lies beside the recording, under the same name. An older run's must not be scored.
        reference = io.get_output_path("reference.txt")
        reference.unlink(missing_ok=True)
        beside = source.with_suffix(".txt")
        if beside.exists():
            io.track_input(beside, "reference")
            shutil.copyfile(beside, reference)
            io.track_output(reference, "reference")
        else:
            logger.info("No reference text (%s) beside the recording", beside.name)

        io.finalize(status="success")
        logger.info("Stage complete: %.1f s of audio at %d Hz", info.duration_seconds, info.sample_rate)
        return 0
    except Exception as error:
        logger.error("Failed: %s", error)
        io.finalize(status="failed")
        return 1


if __name__ == "__main__":
    sys.exit(main())
