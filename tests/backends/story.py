"""One job with all that a job can have: its folder and the number of files are the arguments.

Success, failure, a retry, a skip, steps, spans of a library, two thousand files, text in many scripts, values that do
not fit in a line, items, members. The last stage is killed, and with it this program: by itself, or with the argument
"stay" by whoever started it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

from opentelemetry import trace

from otel_stageio import StageIO

HOSTILE = "naïve 音声 🎧 \u202ertl \x1b[31m \ud800 'quote' \"double\" \\ \t end"
MEMBER = "member"
LARGE = "0123456789abcdef" * 19_200


def main(job: str, files: int, *stay: str) -> None:
    """Run the stages in their order."""
    ingest(job, files)
    failing(job)
    with StageIO("asr", job, stage_number=2) as io:  # the retry
        io.get_stage_logger().info("second try")
    StageIO("diarise", job, stage_number=3).finalize(status="skipped", reason="one speaker")
    large(job)
    clips(job)
    killed(job, stay=bool(stay))


def ingest(job: str, files: int) -> None:
    """Many files, steps in steps, a library's spans with events and links."""
    with StageIO("ingest", job, stage_number=1) as io:
        logger = io.get_stage_logger()
        io.set_config({"model": "large-v2", "beams": 5, "rate": 0.25, "nested": {"a": [1, None, True]}})
        folder = io.get_output_path("parts")
        Path(folder).mkdir()
        for number in range(files):
            path = Path(folder) / f"{number:04d}.bin"
            path.write_bytes(number.to_bytes(4, "big") * 256)
            io.track_output(path, "part", number=number)
        with io.step("decode", codec="flac"):
            logger.debug("decoding %s", HOSTILE)
            tracer = trace.get_tracer("a.library", "1.2")
            with tracer.start_as_current_span("GET", kind=trace.SpanKind.CLIENT, attributes={"bytes": 17}) as span:
                span.add_event("retry", {"after": 0.5})
                span.add_link(trace.SpanContext(0xA1, 0xB2, is_remote=True), {"why": "shared"})
            with io.step("inner"):
                logger.warning("low volume", extra={"speaker": HOSTILE, "levels": [1.5, -2.0]})
        io.span.set_attribute("user.attribute", HOSTILE)
        io.add_warning(HOSTILE)


def failing(job: str) -> None:
    """An exception with a traceback, after an input that the stage before made."""
    try:
        with StageIO("asr", job, stage_number=2) as io:
            io.track_input(Path(job) / "01_ingest" / "parts" / "0000.bin", "part")
            raise ValueError(HOSTILE)  # noqa: TRY301 - as people write it
    except ValueError:
        pass


def large(job: str) -> None:
    """Values of 300 KB in configuration, metadata and a log record."""
    with StageIO("score", job, stage_number=4) as io:
        io.set_config({"prompt": LARGE})
        out = io.get_output_path("scores.json")
        Path(out).write_text("[]", encoding="utf-8")
        io.track_output(out, "scores", notes=LARGE)
        io.get_stage_logger().error("%s", LARGE)


def clips(job: str) -> None:
    """An item that a forked child and a program started with its environment take part in, and one that fails."""
    with StageIO("clip", job, item="ep 音", stage_number=5) as io, io.step("cut"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while something is being sent
            child = os.fork()
        if not child:
            part(io, "forked")
            os._exit(0)
        os.waitpid(child, 0)
        subprocess.run([sys.executable, __file__, job, MEMBER], env={**os.environ, **io.environ()}, check=True)
    try:
        with StageIO("clip", job, item="ep043", stage_number=5) as io:
            io.track_input(Path(job) / "05_clip" / "ep 音" / "forked.txt", "clip")
            raise ValueError(HOSTILE)  # noqa: TRY301 - as people write it
    except ValueError:
        pass


def part(io: StageIO, name: str) -> None:
    """What a member does: files, log lines, a step, and words for the manifest."""
    with io.step(name):
        out = io.get_output_path(f"{name}.txt")
        Path(out).write_text(name, encoding="utf-8")
        io.track_output(out, "clip", speaker=HOSTILE)
        io.get_stage_logger().warning("of %s: %s", name, HOSTILE)
        io.add_metric("clips", 1)


def killed(job: str, *, stay: bool) -> None:
    """No word at the end."""
    io = StageIO("upload", job, stage_number=6)
    with io.step("send"):
        io.get_stage_logger().info("on the way")
        while stay:
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__" and sys.argv[2] == MEMBER:
    with StageIO("clip", sys.argv[1], item="ep 音", stage_number=5) as member:
        part(member, "spawned")
elif __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
