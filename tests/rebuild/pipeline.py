"""A pipeline that meets everything: each status, retry, steps, items, library spans, files, odd text, big values."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry import trace

from otel_stageio import StageIO

if TYPE_CHECKING:
    from pathlib import Path

STAGES = ["ingest", "asr", "skip", "mix"]


def tell(job: Path) -> None:
    """Run it into the folder `job`, in two runs."""
    _ingest(job)
    _asr(job, fails=True)
    _asr(job, fails=False)
    StageIO("skip", job, stages=STAGES).finalize("skipped", reason="nothing to do")
    StageIO("mix", job, stages=STAGES, enable_manifest=False).finalize()
    for item in ("ep 音", "ep2"):
        with StageIO("clip", job, stage_number=7, item=item) as clip:
            clip.get_stage_logger().info("cut")
    io = StageIO("other", job, stage_number=9)
    io.finalize(save_manifest=False)
    io.get_stage_logger().info("after the end")
    io.add_warning("too late")


def _ingest(job: Path) -> None:
    with StageIO("ingest", job, stages=STAGES, capture="root") as io:
        log = io.get_stage_logger()
        log.info("söme tëxt \x1b[1m, \u2028 and\nlines")
        log.debug("quiet %s", {"a": 1})
        logging.getLogger("ingest.library").warning("from elsewhere")
        log.getChild("part").info("in a part")
        for number in range(200):
            path = io.get_output_path(f"file{number:03d}.txt")
            path.write_text(str(number))
            io.track_output(path, "text", zeta=number, alpha={"z": 1, "a": [1, 2.5, None]})
        io.set_config({"zoo": 1, "apple": {"y": "x"}, "big": "b" * 300_000, "nan": float("nan"), "bytes": b"\x00\xff"})
        io.add_config("more", list(range(10)))
        io.set_resources(gpu_used=True, cores=2)
        io.add_metric("wer", 0.25, unit="1")


def _asr(job: Path, *, fails: bool) -> None:
    tracer = trace.get_tracer("a.library", "1.0")
    with suppress(ValueError), StageIO("asr", job, stages=STAGES) as io:
        io.track_input(job / "01_ingest" / "file001.txt", "text", lang="de")
        log = io.get_stage_logger()
        with io.step("decode", beams=4, alpha=1):
            log.warning("within a step")
            with tracer.start_as_current_span("call", attributes={"b": 1, "a": 2}) as span:
                span.add_event("tick", {"n": 1})
                log.info("within a span")
                with tracer.start_as_current_span("inner"):
                    pass
        try:
            int("no number")
        except ValueError as error:
            log.exception("broken")
            io.add_error("could not", error)
        io.add_warning("odd: \U0001f600")
        io.span.set_attribute("words", 7)
        log.info("a long one: %s", "x" * 300_000)
        if fails:
            raise ValueError("no audio")
        io.finalize(segments=3, alpha="last")
