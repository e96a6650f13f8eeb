"""SIGKILL after any call: every record of the calls that returned is readable, and nothing that is there is broken."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_stageio import StageIO, open_job
from otel_stageio.journal import reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_stageio.model import Span
    from otel_stageio.read.job import Job


@dataclass(frozen=True)
class Step:
    """A call of the story, and whether what it said is there: in the stage's manifest, or told by the job."""

    call: Callable[[dict[str, Any]], object]
    told: Callable[[dict[str, Any], Job], bool] = lambda manifest, job: True


def open_stage(at: dict[str, Any]) -> None:
    """Open the stage."""
    at["io"] = StageIO("asr", at["out"], stages=["ingest", "asr"])


def log(level: str) -> Step:
    """Log one record at a level."""
    return Step(
        lambda at: getattr(at["io"].get_stage_logger(), level.lower())("a %s record", level),
        lambda _, job: f"a {level} record" in [row["message"] for row in job.logs(level=level)],
    )


def failing(at: dict[str, Any]) -> None:
    """Look for a file that is not there, and note the error."""
    try:
        at["io"].load_json("nothing.json")
    except FileNotFoundError as why:
        at["io"].add_error("not found", why)


def write_output(at: dict[str, Any]) -> None:
    """Write a file through open_output."""
    with at["io"].open_output("text.srt", type="subtitle", language="en") as file:
        file.write("1\n")


def track_big(at: dict[str, Any]) -> None:
    """Track a file that is hashed beside the stage."""
    path = at["io"].get_output_path("big.bin")
    path.write_bytes(bytes(3 << 20))
    at["io"].track_output(path, "binary")


def begin_step(at: dict[str, Any]) -> None:
    """Begin a step that goes on for some calls."""
    at["step"] = at["io"].step("decode", file="a.wav")
    at["span"] = at["step"].__enter__()


def library_span(at: dict[str, Any]) -> None:
    """Make a span as a library does that knows nothing of stages."""
    with trace.get_tracer("decoder").start_as_current_span("beam"):
        pass


def steps(*expected: tuple[str, str]) -> Callable[[dict[str, Any], Job], bool]:
    """Whether the manifest has these steps; one that is running was abandoned when the process is dead."""

    def told(manifest: dict[str, Any], _: Job) -> bool:
        found = {each["name"]: each["status"] for each in manifest["steps"]}
        return all(found.get(name) in (status, "success") for name, status in expected)

    return told


def spans(job: Job) -> list[Span]:
    """The spans of the stage that are on disk."""
    return [each for path in job.path.glob("*/.stageio/001/traces.jsonl") for each in reader.spans(str(path))]


def span_events(*expected: str) -> Callable[[dict[str, Any], Job], bool]:
    """Whether the journal has these events of what the stage's span was told."""

    def told(_: dict[str, Any], job: Job) -> bool:
        path = next(job.path.glob("02_asr/.stageio/001/events.jsonl"))
        return set(expected) <= {each.event_name for each in reader.log_records(str(path))}

    return told


def has(role: str, name: str, **expected: object) -> Callable[[dict[str, Any], Job], bool]:
    """Whether an artifact is there with these entries."""

    def told(manifest: dict[str, Any], _: Job) -> bool:
        entry = next((of for of in manifest[role] if of["path"].endswith(name)), {})
        return {key: entry.get(key) for key in expected} == expected

    return told


def late(number: int) -> Callable[[dict[str, Any], Job], bool]:
    """Whether so many calls after the end are told."""
    return lambda manifest, _: manifest["warnings"][-1]["message"].startswith(f"{number} call")


STORY = [
    Step(open_stage, lambda manifest, _: manifest["stage_number"] == 2),
    log("DEBUG"),
    log("INFO"),
    log("WARNING"),
    log("ERROR"),
    log("CRITICAL"),
    Step(
        lambda at: at["io"].get_stage_logger().info("with", extra={"key": [1, {"a": None}]}),
        lambda _, job: [row["extra.key"] for row in job.logs() if row["message"] == "with"] == [[1, {"a": None}]],
    ),
    Step(lambda at: at["io"].track_input(at["file"], "text", lines=3), has("inputs", "in.txt", type="text", lines=3)),
    Step(lambda at: at["io"].track_inputs(str(at["file"].parent / "*.md"), "doc"), has("inputs", "a.md", type="doc")),
    Step(lambda at: at["io"].track_input("missing.wav", "audio"), has("inputs", "missing.wav", kind="missing")),
    Step(lambda at: at["io"].track_input("s3://bucket/key"), has("inputs", "s3://bucket/key", kind="remote")),
    Step(lambda at: at["io"].save_json({"a": 1}, "a.json")),
    Step(
        lambda at: at["io"].track_output(at["io"].stage_dir / "a.json", "json"), has("outputs", "a.json", size_bytes=12)
    ),
    Step(write_output, has("outputs", "text.srt", type="subtitle", language="en")),
    Step(
        lambda at: at["io"].run(["sh", "-c", "echo said by a command"], name="command"),
        lambda manifest, job: (
            steps(("command", "success"))(manifest, job)
            and "said by a command" in [row["message"] for row in job.logs(level="DEBUG")]
        ),
    ),
    Step(track_big, has("outputs", "big.bin", type="binary", size_bytes=3 << 20)),
    Step(
        lambda at: at["io"].track_intermediate(at["io"].get_cache_path("x"), retained=True, reason="cache"),
        has("intermediate_files", ".cache/x", retained=True, reason="cache"),
    ),
    Step(
        lambda at: at["io"].set_config({"model": "m", "beam": 5}),
        lambda manifest, _: (manifest["config"]["model"], manifest["config"]["beam"]) == ("m", 5),
    ),
    Step(lambda at: at["io"].add_config("lang", "de"), lambda manifest, _: manifest["config"]["lang"] == "de"),
    Step(
        lambda at: at["io"].add_metric("wer", 0.25),
        lambda manifest, _: manifest["metrics"]["wer"] == {"value": 0.25, "unit": "1"},
    ),
    Step(
        lambda at: at["io"].add_warning("careful"),
        lambda manifest, _: "careful" in [of["message"] for of in manifest["warnings"]],
    ),
    Step(failing, lambda manifest, _: manifest["errors"][0]["exception_type"] == "FileNotFoundError"),
    Step(
        lambda at: at["io"].add_error("by itself"), lambda manifest, _: manifest["errors"][1]["message"] == "by itself"
    ),
    Step(begin_step, steps(("decode", "abandoned"))),
    Step(
        lambda at: at["io"].get_stage_logger().info("inside"),
        lambda _, job: [row["step"] for row in job.logs() if row["message"] == "inside"] == ["decode"],
    ),
    Step(library_span, lambda _, job: "beam" in [each.name for each in spans(job)]),
    Step(lambda at: at["span"].set_attribute("words", 3)),
    Step(
        lambda at: at["step"].__exit__(None, None, None),
        lambda _, job: (
            [each.attributes for each in spans(job) if each.name == "decode"] == [{"file": "a.wav", "words": 3}]
        ),
    ),
    Step(lambda at: at["io"].span.set_attribute("beams", 5), span_events("stageio.span.attributes")),
    Step(lambda at: at["io"].span.add_event("first word"), span_events("stageio.span.event")),
    Step(lambda at: at["io"].span.add_link(trace.SpanContext(1, 2, is_remote=True)), span_events("stageio.span.link")),
    Step(lambda at: at["io"].span.set_status(trace.StatusCode.OK), span_events("stageio.span.status")),
    Step(lambda at: at["io"].span.update_name("words"), span_events("stageio.span.name")),
    Step(lambda at: at["io"].set_resources(gpu="none"), lambda manifest, _: manifest["resources"]["gpu"] == "none"),
    Step(lambda at: at["io"].save_metadata({"a": 1})),
    Step(lambda at: at["io"].copy_to_base("a.json")),
    Step(
        lambda at: at["io"].finalize("success", reason="done", segments=3),
        lambda manifest, _: (
            (manifest["status"], manifest["reason"], manifest["extra"]) == ("success", "done", {"segments": 3})
        ),
    ),
    Step(
        lambda at: at["io"].span.set_attribute("late", 1),
        lambda manifest, _: manifest["warnings"][-1]["calls"][0]["call"] == "set_attribute",
    ),
    Step(lambda at: at["io"].add_config("late", 1), lambda manifest, _: manifest["config"]["late"] == 1),
    Step(lambda at: at["io"].track_output(at["file"], "late"), has("outputs", "in.txt", type="late")),
    Step(
        lambda at: at["io"].get_stage_logger().info("Stage complete"),
        lambda _, job: job.logs()[-1]["message"] == "Stage complete",
    ),
    Step(lambda at: at["io"].finalize("failed"), late(4)),
]
#: The place of the first finalize.
END = 36


def tell(out: Path, last: int) -> None:
    """Tell the story up to the call `last` in a child, and kill it."""
    child = os.fork()
    if child == 0:
        try:
            os.environ["STAGEIO_CONSOLE"] = "off"
            at = {"out": out, "file": out.parent / "in.txt"}
            for step in STORY[: last + 1]:
                step.call(at)
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("last", range(len(STORY)))
def test_killed_after_call(tmp_path, last):
    """Killed after any call of the API, a stage has told all that was said until then."""
    (tmp_path / "in.txt").write_text("input\n")
    (tmp_path / "a.md").write_text("# doc\n")
    out = tmp_path / "out"
    tell(out, last)
    job = open_job(out)
    manifest = job.manifest("asr")
    untold = [place for place, step in enumerate(STORY[: last + 1]) if not step.told(manifest, job)]
    assert untold == []
    assert manifest["status"] == ("abandoned" if last < END else "success")
    files = sorted(out.rglob("*.jsonl"))
    assert [path.name for path in files if any(piece.broken for piece in reader.pieces(str(path)))] == []
    assert all(path.read_bytes().endswith(b"\n") for path in [*files, *out.rglob("*.log")])
    for path in out.rglob("manifest.json"):
        assert json.loads(path.read_bytes())["schema_version"] == "1.0"
    # The next attempt is not bothered by what is left.
    with StageIO("asr", out) as again:
        pass
    assert again.manifest["attempt"] == 2
    assert [row["status"] for row in job.stages] == ["success"]


def test_story_has_every_call():
    """The story has all that a stage can be told: a new method of StageIO has to find its place in it."""
    import inspect

    told = inspect.getsource(inspect.getmodule(Step))
    quiet = {"close_failed", "close_raised", "contradict", "writes", "refresh", "load_metadata", "get_all_inputs"}
    quiet |= {"get_log_path", "get_input_path", "environ", "headers"}  # what only looks
    public = {name for name in dir(StageIO) if not name.startswith("_") and callable(getattr(StageIO, name))}
    assert [name for name in sorted(public - quiet) if f".{name}(" not in told] == []
