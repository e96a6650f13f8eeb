"""The manifests of a stress run, held against the journals, which were held against the notes before."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from otel_stageio.job.attempts import state
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.views.manifest import dump, manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.stress import disk

_BAD = {"failed", "abandoned"}


def newest(stage: disk.Stage) -> tuple[int, str] | None:
    """Number and status of the newest attempt that began."""
    for number, attempt in sorted(stage.attempts.items(), reverse=True):
        finished = attempt.event("stage.finished")
        if finished is not None:
            return number, finished.values["stageio.status"]
    return None


def of_stage(stage: disk.Stage, counts: list[dict[str, int]]) -> Iterator[str]:
    """What is wrong in the manifest of a stage or an item; one of `counts` is of its log."""
    found = newest(stage)
    if found is None:
        return
    attempt = stage.attempts[found[0]]
    started, finished = attempt.event("stage.started"), attempt.event("stage.finished")
    assert started is not None
    assert finished is not None
    wanted: dict[str, Any] = {
        "stage": stage.name,
        "stage_number": stage.number,
        "item": stage.item or None,
        "attempt": found[0],
        "status": found[1],
        "reason": finished.values.get("stageio.reason"),
        "run": 1,
        "run_name": "stress",
        "trace_id": started.trace,
        "span_id": started.span,
        "job_id": started.values["stageio.job.id"],
        "inputs": [each.values["file.path"] for each in attempt.events if each.name == "input"],
        "outputs": [each.values["file.path"] for each in attempt.events if each.name == "output"],
        "degraded": [],
    }
    shown = {key: stage.manifest.get(key) for key in wanted}
    shown |= {key: [each["path"] for each in stage.manifest.get(key, ())] for key in ("inputs", "outputs")}
    if counts and stage.manifest.get("log_counts") not in counts:
        wanted["log_counts"], shown["log_counts"] = counts, stage.manifest.get("log_counts")
    differs = {key: (shown[key], value) for key, value in wanted.items() if shown[key] != value}
    if differs:
        yield f"{stage.place}: manifest.json has another than the journal: {differs}"


def folded(job: Path, stage: disk.Stage, attempt: int) -> Iterator[str]:
    """What else in manifest.json is not what our own code makes of the journal; counts of messages may be older."""
    if attempt:
        layout = StageLayout(JobLayout(job), stage.number, stage.name, stage.item)
        document = json.loads(dump(manifest(state(layout, attempt))))
        differs = [key for key in {*document, *stage.manifest} if document.get(key) != stage.manifest.get(key)]
        if {*differs} - {"log_counts"}:
            yield f"{stage.place}: manifest.json has another {', '.join(sorted(differs))} than the journal"


def of_job(name: str, manifest: dict[str, Any], stages: Iterable[disk.Stage]) -> Iterator[str]:
    """What is wrong in a job manifest of these stages."""
    known = [(stage, found) for stage in stages if (found := newest(stage)) is not None]
    first = next(attempt.event("stage.started") for stage, _ in known for attempt in stage.attempts.values())
    assert first is not None
    listed = {each["folder"]: each for each in manifest.get("stages", ())}
    folders = sorted({stage.place.partition("/")[0] for stage, _ in known}, key=lambda of: int(of.partition("_")[0]))
    if [each["folder"] for each in manifest.get("stages", ())] != folders:
        yield f"{name}: the stages are {[*listed]}, not {folders}"
        return
    states: dict[str, str] = {}
    for stage, (number, status) in known:
        if not stage.item:
            states[stage.name] = status
            shown = listed[stage.place]
            if (shown["attempt"], shown["status"], shown["run"]) != (number, status, 1):
                yield f"{name}: {stage.place} is {shown}, not {status} with attempt {number}"
    for folder in folders:
        items = {stage.item: found for stage, found in known if stage.item and stage.place.startswith(f"{folder}/")}
        if items:
            statuses = {status for _, status in items.values()}
            found = "failed" if statuses & _BAD else "success" if "success" in statuses else "skipped"
            states[folder.partition("_")[2]] = found
            yield from _items(f"{name}: {folder}", listed[folder], items, found)
    wanted: dict[str, Any] = {
        "status": "failed" if _BAD & {*states.values()} else "success",
        "run": 1,
        "run_name": "stress",
        "trace_id": first.trace,
        "job_id": first.values["stageio.job.id"],
        "completed_stages": sorted(stage for stage, status in states.items() if status == "success"),
        "failed_stages": sorted(stage for stage, status in states.items() if status in _BAD),
        "skipped_stages": sorted(stage for stage, status in states.items() if status == "skipped"),
    }
    for key, value in wanted.items():
        shown = manifest.get(key, [])
        if (sorted(shown) if isinstance(value, list) else shown) != value:
            yield f"{name}: {key} is {shown}, not {value}"


def _items(name: str, shown: dict[str, Any], items: dict[str, tuple[int, str]], status: str) -> Iterator[str]:
    counts: dict[str, int] = {"total": len(items), **Counter(status for _, status in items.values())}
    said = shown.get("items", {})
    if {key: n for key, n in said.items() if key != "not_succeeded"} != counts:
        yield f"{name} has the items {said}, not {counts}"
    rest = sorted((item, *found) for item, found in items.items() if found[1] in _BAD)
    listed = sorted((each["item"], each["attempt"], each["status"]) for each in said.get("not_succeeded", ()))
    if listed != rest:
        yield f"{name} lists the items {listed}, not {rest}"
    if shown["status"] != status:
        yield f"{name} is {shown['status']}, not {status}"
