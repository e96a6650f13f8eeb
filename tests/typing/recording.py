"""How a pipeline's own code uses a stage. Never run: mypy, in its strict mode, is the test."""

from __future__ import annotations

import argparse
import logging
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from typing_extensions import assert_type

from otel_stageio import (
    OutputPathError,
    StageIO,
    StageIOError,
    StageNameError,
    StageRunningError,
    get_stage_logger,
    stage,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class Beam:
    """A user's configuration."""

    width: int = 8


def opened() -> None:
    assert_type(StageIO("asr"), StageIO)
    StageIO("asr", "out/job", False)  # noqa: FBT003 - the card's signature takes it in position
    StageIO("06_asr", Path("out"), enable_manifest=True, stage_number=6, stages=["ingest", "asr"])
    StageIO("asr", mode="off", capture="root", checksum="stat")


async def traced(provider: trace.TracerProvider) -> None:
    io = StageIO("asr", tracer_provider=provider)
    assert_type(io.span, trace.Span)
    with io.step("decode", file=Path("a.wav"), beams=[1, 2]) as span:
        assert_type(span, trace.Span)

    @io.step("write")
    def write(words: int) -> str:
        return str(words)

    @io.step("fetch")
    async def fetch() -> int:
        return 5

    assert_type(write(5), str)
    assert_type(await fetch(), int)
    assert_type(io.environ(), "dict[str, str]")
    assert_type(io.run(["sort", Path("a")], input="b", text=True), subprocess.CompletedProcess[Any])
    io.run("exit 1", shell=True, check=False, cwd="out", env={"A": "1"}, timeout=1.5)
    assert_type(io.headers(), "dict[str, str]")


def quick_start(audio: str) -> int:
    io = StageIO("asr", stage_number=6)
    logger = io.get_stage_logger("INFO")
    assert_type(logger, logging.Logger)
    try:
        source = io.get_input_path(audio, from_stage="normalise")
        io.track_input(source, "audio", format="wav", sample_rate=16000)
        io.set_config({"model": "en-us", "beams": [1, 2.5, None]})
        io.set_config(Beam())
        io.set_config(argparse.Namespace(language="en"))
        io.add_config("language", "en")
        target = io.get_output_path("words.json")
        io.track_output(target, "words", format="json", type="transcript", languages={"en": 0.9})
        io.track_intermediate(io.get_cache_path("lattice.bin"), retained=True, reason="for the next run")
        io.add_metric("word_error_rate", 0.31)
        io.add_metric("audio_seconds", 29.5, unit="s")
        io.set_resources(gpu="none", threads=4)
        io.finalize("success", segments_count=5)
    except (OSError, StageIOError) as error:
        logger.exception("failed")
        io.add_error("recognition failed", exception=error)
        io.add_warning("nothing was written")
        io.finalize(status="failed", save_manifest=True, error=str(error), exit_code=1)
        return 1
    return 0


def paths(io: StageIO) -> None:
    assert_type(io.stage_name, str)
    assert_type(io.stage_number, int)
    for path in (io.stage_dir, io.output_base, io.job_dir, io.stage_log, io.manifest_path, io.logs_dir):
        assert_type(path, Path)
    assert_type(io.get_input_path("a.wav"), Path)
    assert_type(io.get_output_path("a.wav"), Path)
    assert_type(io.get_cache_path("a.wav"), Path)
    assert_type(io.get_log_path(), Path)
    assert_type(io.get_all_inputs(), list[Path])
    assert_type(io.copy_to_base("a.wav"), Path)


def state(io: StageIO) -> Mapping[str, Any] | None:
    return io.manifest


def files(io: StageIO) -> None:
    assert_type(io.save_json({"words": []}, "words.json"), Path)
    assert_type(io.save_metadata({"model": "en-us"}), Path)
    io.load_json("words.json", from_stage="asr")
    io.load_metadata(from_stage="asr").get("model")
    io.track_inputs("*.wav", "audio")
    io.track_inputs([Path("a.wav"), "b.wav"], "audio", language="en")
    io.track_input("s3://bucket/a.wav", checksum="off")
    with io.open_output("words.txt", "w", type="text", language="en") as text:
        text.write("words")
    with io.open_output("words.bin", "wb", type="binary") as binary:
        binary.write(b"words")


def in_a_with() -> None:
    with StageIO("asr") as io:
        assert_type(io, StageIO)
        io.finalize("skipped", reason="nothing to do")


@stage("asr")
def recognise(io: StageIO) -> int:
    return len(io.get_all_inputs())


def decorated() -> None:
    assert_type(recognise(), int)


def loggers(io: StageIO) -> None:
    assert_type(get_stage_logger("asr"), logging.Logger)
    get_stage_logger("asr", "DEBUG", io)
    get_stage_logger("asr", log_level=logging.WARNING, stage_io=io)


def mistakes() -> StageIO | None:
    try:
        return StageIO("")
    except StageNameError as error:
        assert_type(str(error), str)
    except (StageRunningError, OutputPathError):
        return None
    return None
