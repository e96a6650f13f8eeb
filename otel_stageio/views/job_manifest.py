"""manifest.json of the job: its stages with the state of their newest attempts, and what another program wrote there.

An orchestrator may keep a manifest.json of its own at the same place. What it wrote is not ours to destroy: its stages
stay in the list unless a stage of ours has the same name, its other keys stay at the top, and where one has a name of
ours it moves under ``foreign``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_stageio import conventions as names
from otel_stageio.views.moments import rfc3339, seconds_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otel_stageio.views.summary import Summary

SCHEMA_VERSION = "1.0"
_ENTRY_KEYS = frozenset({"stage", "stage_number", "status", "run", "attempt", "duration_seconds", "folder"})
#: Under which an orchestrator may name the stage of an entry.
_NAME_KEYS = ("stage", "stage_name", "name")
_FAILED = frozenset({names.FAILED, names.ABANDONED, names.LOST})
_LISTS = {
    "completed_stages": frozenset({names.SUCCESS}),
    "failed_stages": _FAILED,
    "skipped_stages": frozenset({names.SKIPPED}),
}
_OUR_KEYS = (
    "schema_version",
    "job_id",
    "status",
    "run",
    "run_name",
    "trace_id",
    "started_at",
    "pipeline_log",
    *_LISTS,
    "stages",
    "foreign",
)


def entry(of: Summary, folder: str) -> dict[str, Any]:
    """A stage's line in the job manifest."""
    return {
        "stage": of.stage,
        "stage_number": of.stage_number,
        "status": of.status,
        "run": of.run,
        "attempt": of.attempt,
        "duration_seconds": seconds_between(of.started, of.ended) if of.ended else None,
        "folder": folder,
    }


def status(of_run: Iterable[Summary], missing: Sequence[str], pipeline: str = "") -> str:
    """The state of a run: running, failed or success; `missing` are the declared stages that have not started.

    A stage that runs comes before one that failed, died or was contradicted, that before what `stageio run` says of the
    `pipeline` (a state, or ""), and that before a stage that is missing.
    """
    summaries = list(of_run)
    states = {each.status for each in summaries}
    if names.RUNNING in states:
        return names.RUNNING
    if not _FAILED.isdisjoint(states) or any(each.contradicted for each in summaries):
        return names.FAILED
    return pipeline or (names.RUNNING if missing else names.SUCCESS)


def job_manifest(
    *,
    job_id: str,
    run: Mapping[str, Any],
    stages: Iterable[tuple[str, Summary]],
    before: Mapping[str, Any],
    moved_on: Iterable[Summary] = (),
    pipeline: str = "",
    shown: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """The job manifest as plain JSON values.

    `run` is the current run as its run.json says it, `stages` are folders with the summary of their newest attempt,
    and `before` is the document that stands there now, ours or somebody else's. `moved_on` are the attempts in this
    run of stages whose newest one belongs to another: a run that was gone back to by its name. `pipeline` is as for
    `status`. `shown` are the lines of the stages by folder, where they have been made already.
    """
    known = sorted(stages, key=lambda each: (each[1].stage_number, each[1].stage))
    number = run["run"]
    current = [of for _, of in known if of.run == number]
    if more := [*moved_on]:
        current = sorted([*current, *more], key=lambda of: (of.stage_number, of.stage))
    # A stage that was opened without a declaration says nothing about the order: the newest that has one speaks.
    order = max([each for each in current if each.declared], key=lambda each: each.started, default=None)
    missing = _missing(order.declared, current) if order else []
    made: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "job_id": job_id,
        "status": status(current, missing, pipeline),
        "run": run["run"],
        **({"run_name": run["name"]} if run.get("name") is not None else {}),
        "trace_id": run["trace_id"],
        "started_at": rfc3339(run["created_unix_nano"]),
        "pipeline_log": run["pipeline_log"],
    }
    for key, wanted in _LISTS.items():
        made[key] = [of.stage for of in current if of.status in wanted]
    mine = ours(before)
    made["stages"] = [shown[folder] if shown else entry(of, folder) for folder, of in known]
    if before.get("stages"):
        taken = {name for folder, of in known for name in (of.stage, folder)}
        made["stages"] += _foreign_stages(before, taken, mine=mine)
    made.update({key: of for key, of in before.items() if key not in _OUR_KEYS})
    foreign = before.get("foreign") if mine else _foreign(before)
    if foreign and isinstance(foreign, dict):
        made["foreign"] = foreign
    return made


def _missing(declared: Iterable[str], current: Iterable[Summary]) -> list[str]:
    begun = {of.stage for of in current}
    return [name for name in declared if name not in begun]


def ours(document: Mapping[str, Any]) -> bool:
    """Whether the document was written by `job_manifest`."""
    return document.get("schema_version") == SCHEMA_VERSION and {"job_id", "stages", "trace_id"} <= document.keys()


def _foreign(before: Mapping[str, Any]) -> dict[str, Any]:
    """What another program wrote under our keys; its list of stages is not among it."""
    listed = isinstance(before.get("stages"), (list, dict))
    return {key: before[key] for key in _OUR_KEYS if key in before and not (key == "stages" and listed)}


def _foreign_stages(before: Mapping[str, Any], taken: set[str], *, mine: bool) -> list[Any]:
    """The entries of other stages, whoever listed them; without those that we wrote for a stage that is gone."""
    listed = before.get("stages")
    if isinstance(listed, dict):  # stages by name: the other common form
        made = [
            {"stage": name, **(of if isinstance(of, dict) else {"state": of})}
            for name, of in listed.items()
            if name not in taken
        ]
        return [each for each in made if _name(each) not in taken]
    if not isinstance(listed, list):
        return []
    return [each for each in listed if _name(each) not in taken and not (mine and _is_entry(each))]


def _is_entry(of: object) -> bool:
    return isinstance(of, dict) and of.keys() - {"items"} == _ENTRY_KEYS


def _name(of: object) -> str | None:
    """The stage that a foreign entry is about: a name, or a mapping that gives one."""
    if isinstance(of, dict):
        of = next((of[key] for key in _NAME_KEYS if key in of), None)
    return of if isinstance(of, str) else None
