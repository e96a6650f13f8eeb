#!/usr/bin/env python3
"""Run the speech pipeline, a process a stage, and show what is on disk afterwards.

python run.py [--wav RECORDING.wav] [--job FOLDER]
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from otel_stageio.demo import tree

SCRIPTS = Path(__file__).resolve().parent
STAGES = ("ingest", "normalise", "segment", "recognise", "subtitle", "score")
LOG_LINES = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all stages, then show the job; the exit code of the first stage that failed, which is the last to run."""
    parser = argparse.ArgumentParser(description="Recognise the speech in a WAV file, a process a stage.")
    parser.add_argument("--wav", type=Path, help="the recording; a text of the same name beside it (.txt) is scored")
    parser.add_argument("--job", type=Path, default=Path("out/speech"), help="the job folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    environment = {**os.environ, "STAGEIO_JOB_DIR": str(options.job)}
    for stage in STAGES:
        recording = [str(options.wav)] if stage == "ingest" and options.wav else []
        command = [sys.executable, str(SCRIPTS / f"{stage}.py"), *recording]
        code = subprocess.run(command, env=environment, check=False).returncode
        if code:
            print(f"\nThe stage {stage} failed (exit code {code}); its log is in {options.job}", file=sys.stderr)
            return code if code > 0 else 128 - code
    show(options.job)
    return 0


def show(job: Path) -> None:
    """Print the tree of the job, the transcript, the head of a stage.log and a manifest."""
    if not (job / "manifest.json").exists():
        print("\nNothing was recorded (STAGEIO_MODE=off, or a job folder that cannot be written): nothing to show.")
        return
    log = stage_folder(job, "recognise") / "stage.log"
    manifest = stage_folder(job, "score") / "manifest.json"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    # Every attempt opens with a header line: the newest is the one of this run.
    newest = max(at for at, line in enumerate(lines) if line.startswith("# "))
    head = "".join(lines[newest : newest + LOG_LINES])
    for title, text in (
        (f"The job: {job}", tree(job)),
        ("The transcript", (stage_folder(job, "subtitle") / "transcript.srt").read_text(encoding="utf-8")),
        (f"The first lines of this run in {log}", head),
        (f"The manifest {manifest}", manifest.read_text(encoding="utf-8")),
    ):
        print(f"\n== {title} ==\n\n{text.rstrip()}")


def stage_folder(job: Path, stage: str) -> Path:
    """The folder of a stage of this pipeline, whose number is its place in the order."""
    return job / f"{STAGES.index(stage) + 1:02d}_{stage}"


if __name__ == "__main__":
    sys.exit(main())
