"""The working example: a stage that succeeds, one that fails and one that is skipped, and a check of what is on disk.

``python -m otel_stageio.demo [FOLDER]`` records them in FOLDER (by default in a new temporary one, which is kept),
prints a line for each thing that was checked and the tree of the job, and exits with 0 if all of it holds.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_stageio import StageIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STAGES = ("count", "report", "publish")
TEXT = """\
Every stage of a pipeline leaves three things behind.
A log says what it did, and a manifest says what went in and what came out.
The journal says both, line by line, and is whole after the worst of ends.
"""
CARD_KEYS = frozenset(
    {
        *("stage", "stage_number", "status", "duration_seconds", "inputs", "outputs", "intermediate_files"),
        *("config", "resources", "warnings", "errors"),
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the example and check it; 0 if all checks hold, else 1 (2 for a call that is not understood)."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) > 1 or (given and given[0].startswith("-")):
        print(f"{__doc__}\nusage: python -m otel_stageio.demo [FOLDER]")
        return 0 if given in (["-h"], ["--help"]) else 2
    job = Path(given[0]) if given else Path(tempfile.mkdtemp(prefix="stageio-demo-"))
    print(f"Recording three stages in {job}\n", flush=True)
    record(job)
    print()
    results = check(job)
    for says, holds in results.items():
        print(f"{'ok    ' if holds else 'FAILED'} {says}")
    print(f"\n{tree(job)}\n")
    failed = list(results.values()).count(False)
    print(f"{failed} of {len(results)} checks FAILED" if failed else f"All {len(results)} checks hold.", f"See {job}")
    return 1 if failed else 0


def record(job: Path) -> list[int]:
    """Run the three stages in ``job``; the exit codes that scripts of their own would have."""
    job.mkdir(parents=True, exist_ok=True)
    (job / "text.txt").write_text(TEXT, encoding="utf-8")
    return [count(job), report(job), publish(job)]


def count(job: Path) -> int:
    """Succeed: count the words of a text, with one of everything a stage can record."""
    io = StageIO("count", job, stages=STAGES)
    logger = io.get_stage_logger()
    try:
        logger.info("Counting words")
        source = io.get_input_path("text.txt")
        io.track_input(source, "text", language="en")
        io.set_config({"lower_case": True, "top": 3})

        words = source.read_text(encoding="utf-8").lower().split()
        cache = io.get_cache_path("words.txt")
        cache.write_text("\n".join(words), encoding="utf-8")
        io.track_intermediate(cache, retained=True, reason="the words, one a line")
        logger.debug("The first words: %s", words[:3])

        counts = Counter(words)
        io.track_output(io.save_json(dict(counts.most_common(3)), "counts.json"), "counts", words=len(words))
        io.add_metric("demo.words", len(words), unit="{word}")
        glued = sum(not word.isalpha() for word in words)
        logger.warning("%d words have punctuation on them", glued)
        io.add_warning(f"{glued} words have punctuation on them")

        io.finalize(status="success")
        logger.info("Stage complete")
    except (OSError, ValueError) as error:
        logger.error("Failed: %s", error)  # noqa: TRY400 - finalize records the traceback
        io.finalize(status="failed")
        return 1
    return 0


def report(job: Path) -> int:
    """Fail, as a stage does that is given a broken file; finalize finds the exception and its traceback by itself."""
    io = StageIO("report", job, stages=STAGES)
    logger = io.get_stage_logger()
    try:
        logger.info("Reading a report that broke off")
        draft = io.get_output_path("draft.json")
        draft.write_text('{"title": "Words", "counts": [', encoding="utf-8")
        io.track_output(draft, "report")
        json.loads(draft.read_text(encoding="utf-8"))
        io.finalize(status="success")
    except (OSError, ValueError) as error:
        logger.error("Failed: %s", error)  # noqa: TRY400 - finalize records the traceback
        io.finalize(status="failed")
        return 1
    return 0


def publish(job: Path) -> int:
    """Be skipped, with a reason."""
    io = StageIO("publish", job, stages=STAGES)
    io.get_stage_logger().info("Nothing to publish")
    io.finalize(status="skipped", reason="there is no report")
    return 0


class Recorded:
    """The files of the example, read when they are asked for."""

    def __init__(self, job: Path) -> None:
        self.job = job

    def folder(self, stage: str) -> Path:
        """Where a stage lies: its number is its place in the declared order."""
        return self.job / f"{STAGES.index(stage) + 1:02d}_{stage}"

    def manifest(self, stage: str = "") -> dict[str, Any]:
        """The manifest of a stage, or without one that of the job."""
        path = (self.folder(stage) if stage else self.job) / "manifest.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    def manifests(self) -> list[dict[str, Any]]:
        """The manifests of all stages, in their order."""
        return [self.manifest(stage) for stage in STAGES]

    def log(self, stage: str) -> str:
        """The stage.log of a stage."""
        return (self.folder(stage) / "stage.log").read_text(encoding="utf-8")

    def pipeline_log(self) -> str:
        """The pipeline log of the newest run."""
        return max((self.job / "logs").glob("99_pipeline_*.log")).read_text(encoding="utf-8")

    def sha256(self, stage: str, filename: str) -> str:
        """The digest of a file of a stage as it is now."""
        return hashlib.sha256((self.folder(stage) / filename).read_bytes()).hexdigest()

    def journal(self) -> list[str]:
        """All lines of all journals."""
        files = self.job.glob("*/.stageio/**/*.jsonl")
        return [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]


CHECKS: dict[str, Callable[[Recorded], bool]] = {
    "every manifest has the keys of the reference card": lambda job: all(
        one.keys() >= CARD_KEYS for one in job.manifests()
    ),
    "the stages have the numbers of their declared order": (
        lambda job: [one["stage_number"] for one in job.manifests()] == [1, 2, 3]
    ),
    "count is a success": lambda job: job.manifest("count")["status"] == "success",
    "its input is recorded with its metadata": (
        lambda job: [(one["type"], one["language"]) for one in job.manifest("count")["inputs"]] == [("text", "en")]
    ),
    "its output is recorded with the checksum of the file": (
        lambda job: job.sha256("count", "counts.json") in job.manifest("count")["outputs"][0]["checksum"]
    ),
    "its intermediate file is recorded as retained, with the reason": (
        lambda job: (
            [(one["retained"], one["reason"]) for one in job.manifest("count")["intermediate_files"]]
            == [(True, "the words, one a line")]
        )
    ),
    "its configuration, its metric and its warning are recorded": (
        lambda job: (
            job.manifest("count")["config"] == {"lower_case": True, "top": 3}
            and job.manifest("count")["metrics"]["demo.words"]["value"] == len(TEXT.split())
            and len(job.manifest("count")["warnings"]) == 1
        )
    ),
    "its DEBUG line is in stage.log and not in the pipeline log": (
        lambda job: "[DEBUG] The first words" in job.log("count") and "The first words" not in job.pipeline_log()
    ),
    "its INFO and WARNING lines are in both": (
        lambda job: all(
            f"[count] {line}" in log
            for line in ("[INFO] Counting words", "[WARNING] 6 words have punctuation")
            for log in (job.log("count"), job.pipeline_log())
        )
    ),
    "report is a failure, and its exception is recorded with its stack trace": (
        lambda job: (
            job.manifest("report")["status"] == "failed"
            and "JSONDecodeError" in job.manifest("report")["errors"][0]["exception_type"]
            and "json.loads" in job.manifest("report")["errors"][0]["stacktrace"]
        )
    ),
    "its ERROR line is in both logs, the traceback in stage.log only": (
        lambda job: (
            "[ERROR] Failed" in job.log("report")
            and "[ERROR] Failed" in job.pipeline_log()
            and "Traceback" in job.log("report")
            and "Traceback" not in job.pipeline_log()
        )
    ),
    "publish is skipped, with its reason": (
        lambda job: [job.manifest("publish")[key] for key in ("status", "reason")] == ["skipped", "there is no report"]
    ),
    "the job's manifest lists one of each, and the job has failed": (
        lambda job: (
            [job.manifest()[f"{kind}_stages"] for kind in ("completed", "failed", "skipped")]
            == [[stage] for stage in STAGES]
            and job.manifest()["status"] == "failed"
        )
    ),
    "all stages are in one trace": lambda job: len({one["trace_id"] for one in job.manifests()}) == 1,
    "every line of the journals is JSON": lambda job: (
        all(json.loads(line) for line in job.journal()) and bool(job.journal())
    ),
}


def check(job: Path) -> dict[str, bool]:
    """Look at the files that record() left; what each check says, and whether it holds."""
    return {says: _holds(found, Recorded(job)) for says, found in CHECKS.items()}


def _holds(found: Callable[[Recorded], bool], job: Recorded) -> bool:
    try:
        return found(job)
    except (OSError, LookupError, TypeError, ValueError):  # a file or a key is missing: that is a failed check
        return False


def tree(folder: Path) -> str:
    """The folder as a picture in plain ASCII, files with their sizes in bytes."""
    return "\n".join([f"{folder}/", *_branches(folder)])


def _branches(folder: Path) -> Iterator[str]:
    entries = sorted((_is_folder(entry), entry.name, entry) for entry in folder.iterdir())
    for place, (is_folder, name, entry) in enumerate(entries, 1):
        corner, below = ("`-- ", "    ") if place == len(entries) else ("|-- ", "|   ")
        if is_folder:
            yield f"{corner}{name}/"
            yield from (below + line for line in _branches(entry))
        else:
            yield f"{corner}{name}  {entry.lstat().st_size:,} bytes"


def _is_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink()


if __name__ == "__main__":
    sys.exit(main())
