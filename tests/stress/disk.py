"""What a stress run left on disk, read with nothing of ours: the files are held against what they ought to be."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
_HEAD = re.compile(rf"# {_TIME} [+-]\d{{4}} stage (\S+) \((\d+)\), attempt (\d+), run 1, pid (\d+) on \S+")
_ENTRY = re.compile(rf"\[{_TIME}\] \[([^\]]+)\] \[([A-Z]+)\] (.*)")
#: What the lines of a message after its first begin with, and those of a traceback.
_MORE = ("    ", "  ! ")
_STAGE = re.compile(r"(\d{2,})_(\w+)")
_COUNT = r"\d{3,}"
_ATTEMPT = re.compile(rf"\.stageio/{_COUNT}")
#: What may lie in a job's folder, in a stage's and in an attempt's.
_OF_JOB = re.compile(
    r"manifest\.json|logs/99_pipeline_\d{8}_\d{6}\.log|\.stageio/(job\.json|lock|stages\.json|changes\.[^/]+"
    r"|numbers/[^/]+(/[^/]+)?|places/[^/]+|runs/001/(run\.json|traces\.jsonl))"
)
_OF_STAGE = re.compile(
    rf"stage\.log|made\.json|manifest\.json|\.stageio/(lock|items/[^/]+)|\.stageio/{_COUNT}/(events|logs|traces)\.jsonl"
)
#: OTLP's code of a span's status.
_ERROR = 2
#: What a process that was killed while it replaced a file leaves of the new one.
_UNFINISHED = re.compile(r"\.[0-9a-f]{12}\.tmp")


class Entry(NamedTuple):
    """A message of a log file; `who` is the stage, with its item."""

    who: str
    level: str
    text: str


class Record(NamedTuple):
    """A log record, an event or a span of a journal."""

    name: str
    level: str
    text: str
    values: dict[str, Any]
    trace: str
    span: str
    #: Nanoseconds since the epoch; of a span both, and the span above it and whether it says that something failed.
    time: int
    end: int
    parent: str
    failed: bool


class Attempt(NamedTuple):
    """The journal of an attempt."""

    logs: list[Record]
    events: list[Record]
    spans: list[Record]

    def event(self, name: str) -> Record | None:
        """The first event of that name."""
        return next((each for each in self.events if each.name == name), None)


@dataclass
class Stage:
    """The folder of a stage, or of an item."""

    place: str
    number: int
    name: str
    item: str
    attempts: dict[int, Attempt] = field(default_factory=dict)
    #: Number and process id in each line that begins an attempt in stage.log.
    heads: list[tuple[int, int]] = field(default_factory=list)
    log: list[Entry] = field(default_factory=list)
    manifest: dict[str, Any] = field(default_factory=dict)
    #: What its lock file says of whoever has it: nothing once all is done.
    lock: str = ""


@dataclass
class Job:
    """A job folder; `wrong` is what cannot be read there, and what should not lie there."""

    stages: dict[str, Stage] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    log: list[Entry] = field(default_factory=list)
    #: The files that the pipeline log is in.
    logs: list[str] = field(default_factory=list)
    #: How many lines say what changed.
    told: int = 0
    roots: list[Record] = field(default_factory=list)
    unfinished: int = 0
    wrong: list[str] = field(default_factory=list)


def read(root: Path) -> Job:
    """Read the job in the folder `root`."""
    found = Job()
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        whole, _, rest = name.partition("/")
        stage = _STAGE.fullmatch(whole)
        item, _, below = rest.partition("/")
        if path.is_dir():
            if stage and _ATTEMPT.fullmatch(rest):
                _attempt(found, stage, "", path.name)
            elif stage and _ATTEMPT.fullmatch(below):
                _attempt(found, stage, item, path.name)
            elif not (stage or whole in ("logs", ".stageio")):
                found.wrong.append(f"{name} should not be there")
        elif _UNFINISHED.fullmatch(path.name):
            found.unfinished += 1
        elif stage and _OF_STAGE.fullmatch(rest):
            _of_stage(found, stage, "", path, rest)
        elif stage and _OF_STAGE.fullmatch(below):
            _of_stage(found, stage, item, path, below)
        elif _OF_JOB.fullmatch(name):
            _of_job(found, path, name)
        else:
            found.wrong.append(f"{name} should not be there")
    return found


def _of_job(job: Job, path: Path, name: str) -> None:
    if name == "manifest.json":
        job.manifest = _document(path, job.wrong)
    elif name.startswith("logs/"):
        job.logs.append(name)
        job.log += _entries(path, [], job.wrong)
    elif name.startswith(".stageio/changes."):
        job.told += path.read_bytes().count(b"\n")
    elif name.endswith("traces.jsonl"):
        job.roots += _records(path, job.wrong)


def _of_stage(job: Job, folder: re.Match[str], item: str, path: Path, name: str) -> None:
    stage = _stage(job, folder, item)
    if name == "stage.log":
        stage.log = _entries(path, stage.heads, job.wrong)
    elif name == "manifest.json":
        stage.manifest = _document(path, job.wrong)
    elif name.endswith("/lock"):
        stage.lock = path.read_text()
    elif name.endswith(".jsonl"):
        attempt = _attempt(job, folder, item, path.parent.name)
        getattr(attempt, path.stem if path.stem != "traces" else "spans").extend(_records(path, job.wrong))


def _stage(job: Job, folder: re.Match[str], item: str) -> Stage:
    place = f"{folder[0]}/{item}" if item else folder[0]
    return job.stages.setdefault(place, Stage(place, int(folder[1]), folder[2], item))


def _attempt(job: Job, folder: re.Match[str], item: str, number: str) -> Attempt:
    return _stage(job, folder, item).attempts.setdefault(int(number), Attempt([], [], []))


def _document(path: Path, wrong: list[str]) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError:
        wrong.append(f"{path}: is no JSON object")
        return {}


def _entries(path: Path, heads: list[tuple[int, int]], wrong: list[str]) -> list[Entry]:
    """The messages of a log file; lines that begin an attempt are added to `heads`."""
    found: list[Entry] = []
    *lines, rest = path.read_text().split("\n")
    for line in lines:
        if head := _HEAD.fullmatch(line):
            heads.append((int(head[3]), int(head[4])))
        elif entry := _ENTRY.fullmatch(line):
            found.append(Entry(*entry.groups()))
        elif found and line.startswith(_MORE):
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line[4:]}")
        else:
            wrong.append(f"{path}: a line is torn: {line[:80]!r}")
    return found if not rest else [*found, *_torn(path, rest, wrong)]


def _torn(path: Path, rest: str | bytes, wrong: list[str]) -> list[Any]:
    wrong.append(f"{path}: the last line has no end: {rest[:80]!r}")
    return []


def _records(path: Path, wrong: list[str]) -> list[Record]:
    found: list[Record] = []
    *lines, rest = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            found += _decoded(json.loads(line))
        except (ValueError, KeyError, TypeError):
            wrong.append(f"{path}: line {number} is torn: {line[:80]!r}")
    return found if not rest else [*found, *_torn(path, rest, wrong)]


def _decoded(line: dict[str, Any]) -> Iterator[Record]:
    for of_resource in [*line.get("resourceLogs", []), *line.get("resourceSpans", [])]:
        of_job = _values(of_resource["resource"]["attributes"])
        for scope in [*of_resource.get("scopeLogs", []), *of_resource.get("scopeSpans", [])]:
            for each in [*scope.get("logRecords", []), *scope.get("spans", [])]:
                yield Record(
                    name=(each.get("name") or each.get("eventName", "")).removeprefix("stageio."),
                    level=each.get("severityText", ""),
                    text=_value(each.get("body", {})),
                    values={**of_job, **_values(each["attributes"]), "events": len(each.get("events", ()))},
                    trace=each["traceId"],
                    span=each["spanId"],
                    time=int(each.get("timeUnixNano") or each["startTimeUnixNano"]),
                    end=int(each.get("endTimeUnixNano", 0)),
                    parent=each.get("parentSpanId", ""),
                    failed=each.get("status", {}).get("code") == _ERROR,
                )


def _values(attributes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: _value(each["value"]) for each in attributes}


def _value(of: dict[str, Any]) -> Any:
    for kind, value in of.items():
        return int(value) if kind == "intValue" else value
    return ""
