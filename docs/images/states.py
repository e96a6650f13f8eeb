"""A pipeline for the pictures: its stages succeed, skip, fail and are killed; the last runs on for a minute."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from otel_stageio import StageIO

STAGES = ("ingest", "denoise", "recognise", "translate", "subtitle")
AUDIO = "audio.raw"


def ingest() -> None:
    """Succeed."""
    with StageIO("ingest", stages=STAGES) as io:
        time.sleep(0.2)
        (io.stage_dir / AUDIO).write_bytes(bytes(64_000))
        io.track_output(io.stage_dir / AUDIO, "audio", seconds=2.0)


def denoise() -> None:
    """Find nothing to do."""
    with StageIO("denoise", stages=STAGES) as io:
        io.finalize(status="skipped")


def recognise() -> None:
    """Read what `ingest` wrote, warn, and fail."""
    with StageIO("recognise", stages=STAGES) as io:
        io.track_input(io.stage_dir.parent / "01_ingest" / AUDIO, "audio")
        with io.step("load model"):
            time.sleep(0.15)
        io.get_stage_logger().warning("the model is for 8 kHz, the audio has 16 kHz")
        with io.step("decode"):
            time.sleep(0.3)
            raise ValueError("no speech in 2.0 s of audio")


def translate() -> None:
    """Be killed, as by a kernel that is out of memory."""
    io = StageIO("translate", stages=STAGES)
    with io.step("load model"):
        time.sleep(1.5)
    os.kill(os.getpid(), signal.SIGKILL)


def subtitle() -> None:
    """Go on running."""
    with StageIO("subtitle", stages=STAGES) as io:
        with io.step("align"):
            time.sleep(0.5)
        time.sleep(60)


if __name__ == "__main__":
    if sys.argv[1:]:
        globals()[sys.argv[1]]()
    else:
        for stage in STAGES[:-1]:
            subprocess.run([sys.executable, __file__, stage], check=False)
        subprocess.Popen([sys.executable, __file__, STAGES[-1]])
