"""The short form of `make stress`, and that its judge finds whatever is wrong."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import in_new_process
from tests.stress.judge import Found, judge
from tests.stress.plans import Plan, Say
from tests.stress.work import Task, run, tasks

Damage = Callable[[Path], object]


def test_nothing_is_torn_lost_doubled_or_wrong(tmp_path: Path) -> None:
    """Twelve processes on one job: all that they noted is on record as they noted it, and the job manifest is right."""
    in_new_process(lambda: run(tmp_path, tasks(5, seed=1), processes=12))
    found = judge(tmp_path)
    assert found.wrong == []
    assert found.attempts > 30
    assert found.records > 200


LONG = "long " + "0123456789" * 500
PLANS = (
    Plan(
        "91_cut",
        "ep1",
        first=(Say(logging.DEBUG, "word one"), Say(logging.INFO, "word two\n2\n  2"), Say(logging.WARNING, LONG)),
        child=(Say(logging.INFO, "word three"),),
        last=(Say(logging.INFO, "word four"),),
        after=(Say(logging.INFO, "word five"),),
    ),
    Plan("91_cut", "ep1", "failed", first=(Say(logging.INFO, "word six"),)),
    Plan("91_cut", "ep2", "skipped"),
    Plan("92_clean", "ep1", "kill", last=(Say(logging.ERROR, "word seven"),)),
    Plan("new", how="raise", first=(Say(logging.INFO, "word eight"),)),
    Plan("new", how="exit"),
    Plan("newer", how="term"),
    Plan("newest", how="nothing"),
    Plan("plain"),
)


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, one process after the other, of which nothing is wrong."""
    root = tmp_path_factory.mktemp("stress") / "well"
    in_new_process(lambda: run(root, [Task([plan]) for plan in PLANS], processes=1))
    assert judge(root) == Found(len(PLANS) + 2, judge(root).attempts, 9, [])
    return root


def change(name: str, old: str, new: str, *, count: int = 0) -> Damage:
    """Replace what the pattern `old` finds in a file of the run, as often as it is there or `count` times."""

    def do(root: Path) -> None:
        (path,) = root.glob(name)
        text, times = re.subn(old, new, path.read_text(), count=count, flags=re.MULTILINE)
        assert times
        path.write_text(text)

    return do


def lines(name: str, pick: Callable[[list[bytes]], list[bytes]]) -> Damage:
    """Have other lines in a file of the run."""

    def do(root: Path) -> None:
        (path,) = root.glob(name)
        before = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(pick(before)))
        assert path.read_bytes() != b"".join(before)

    return do


def manifest(name: str, do: Callable[[dict], object]) -> Damage:
    """Change what a manifest says."""

    def change(root: Path) -> None:
        (path,) = root.glob(name)
        document = json.loads(path.read_text())
        do(document)
        path.write_text(json.dumps(document))

    return change


def stage(document: dict, folder: str) -> dict:
    """The entry of a stage in the job manifest."""
    return next(each for each in document["stages"] if each["folder"] == folder)


def ended_otherwise(folder: str, old: str) -> Damage:
    """A stage that ended otherwise is a success, wherever one may look."""

    def do(root: Path) -> None:
        change(f"{folder}/events.jsonl", f'stringValue":"{old}"', 'stringValue":"success"')(root)
        change(f"{folder}/traces.jsonl", f'stringValue":"{old}"', 'stringValue":"success"')(root)

    return do


def note(name: str, *lines: list[object]) -> Damage:
    """A process noted something else, too, at the end."""

    def do(root: Path) -> None:
        with (root / "notes" / name).open("a") as file:
            file.writelines(json.dumps([time, 1, *more]) + "\n" for time, *more in lines)

    return do


def unfinished(root: Path) -> None:
    """More files are left in the middle of being replaced than processes were killed."""
    for number in range(9):
        (root / f"job/.{number:012x}.tmp").write_text("{")


def not_given_back(root: Path) -> None:
    """The process of a stage that has ended is still named in its lock file."""
    manifest = json.loads((root / "job/91_cut/ep1/manifest.json").read_text())
    (root / "job/91_cut/ep1/.stageio/lock").write_text(json.dumps({"pid": manifest["process"]["pid"]}))


ITEM = "job/91_cut/ep1/.stageio/001"
LOG = "job/91_cut/ep1/stage.log"
PIPELINE = "job/logs/*.log"
TRACE = '"traceId":"[0-9a-f]{32}"'
OTHER = f'"traceId":"{"a" * 32}"'
DAMAGES: dict[str, tuple[Damage, str]] = {
    # stage.log and the pipeline log.
    "head of a line cut": (change(LOG, r"^.*(?=\[DEBUG\] word one)", ""), "torn"),
    "text of a line cut": (change(LOG, "(?<=long 0123456789)[0-9]+", ""), "ep1/stage.log"),
    "line glued to another": (change(LOG, r"(?<=word one)\n", ""), "ep1/stage.log"),
    "line within a line": (change(LOG, r"(?<=long 0123)", "[2026-11-23 23:5", count=1), "ep1/stage.log"),
    "no bytes": (change(LOG, "(?<=long 0123456789)0123", "\0\0\0\0", count=1), "ep1/stage.log"),
    "piece of a head": (lines(LOG, lambda of: [*of[:2], b"[2026-11-2\n", *of[2:]]), "torn"),
    "piece of a text": (lines(LOG, lambda of: [*of[:2], b" half a record\n", *of[2:]]), "torn"),
    "second line of a message cut": (change(LOG, r"^    2\n", "", count=1), "ep1/stage.log"),
    "empty line": (lines(LOG, lambda of: [*of[:2], b"\n", *of[2:]]), "torn"),
    "last line cut": (lines(LOG, lambda of: [*of[:-1], of[-1][:-5]]), "has no end"),
    "line lost": (change(LOG, r"^.*word four\n", ""), "ep1/stage.log"),
    "line there twice": (lines(LOG, lambda of: [*of, of[1]]), "ep1/stage.log"),
    "lines in another order": (lines(LOG, lambda of: [of[0], *of[2:5], of[1], *of[5:]]), "ep1/stage.log"),
    "another level": (change(LOG, r"\[INFO\] word four", "[ERROR] word four"), "ep1/stage.log"),
    "another stage": (change(LOG, r"\[cut:ep1\] \[INFO\] word four", "[cut:ep2] [INFO] word four"), "ep1/stage.log"),
    "words that nobody said": (lines(LOG, lambda of: [*of, of[1].replace(b"one", b"nine")]), "ep1/stage.log"),
    "no line of an attempt": (change(LOG, r"^# .*attempt 2.*\n", ""), "begun were"),
    "line of the pipeline log lost": (change(PIPELINE, r"^.*word six\n", ""), "pipeline log"),
    "line of the pipeline log cut": (change(PIPELINE, "(?<=long 0123456789)[0-9]+", ""), "pipeline log"),
    "warning of the stage lost": (change(PIPELINE, r"^.*\[cut:ep1\].*is missing(\n .*)+\n", ""), "pipeline log"),
    "traceback cut": (change("job/*_new/stage.log", r"^  !     int.*\n", ""), "new/stage.log"),
    # The journal.
    "record cut": (lines(f"{ITEM}/logs.jsonl", lambda of: [of[0][:100] + b"\n", *of[1:]]), "line 1 is torn"),
    "event cut": (lines(f"{ITEM}/events.jsonl", lambda of: [*of[:-1], of[-1][:100] + b"\n"]), "is torn"),
    "span cut": (lines(f"{ITEM}/traces.jsonl", lambda of: [of[0][:100] + b"\n"]), "line 1 is torn"),
    "last record cut": (lines(f"{ITEM}/logs.jsonl", lambda of: [*of[:-1], of[-1][:-1]]), "has no end"),
    "record lost": (lines(f"{ITEM}/logs.jsonl", lambda of: [of[0], *of[2:]]), "logs.jsonl"),
    "record there twice": (lines(f"{ITEM}/logs.jsonl", lambda of: [of[0], *of]), "logs.jsonl"),
    "text of a record cut": (change(f"{ITEM}/logs.jsonl", "(?<=long 0123456789)[0-9]+", ""), "logs.jsonl"),
    "all records lost": (lambda root: (root / ITEM / "logs.jsonl").unlink(), "logs.jsonl"),
    "event lost": (lines(f"{ITEM}/events.jsonl", lambda of: [of[0], *of[2:]]), "the events are"),
    "event there twice": (lines(f"{ITEM}/events.jsonl", lambda of: [of[0], *of]), "the events are"),
    "all events lost": (lambda root: (root / ITEM / "events.jsonl").unlink(), "the events are"),
    "output of another": (change(f"{ITEM}/events.jsonl", "91_cut/ep1/made", "91_cut/ep2/made"), "the output is"),
    "span lost": (lines(f"{ITEM}/traces.jsonl", lambda of: []), "has 0 spans"),
    "span there twice": (lines(f"{ITEM}/traces.jsonl", lambda of: [*of, *of]), "has 2 spans"),
    "all spans lost": (lambda root: [each.unlink() for each in root.rglob("traces.jsonl")], "has 0 spans"),
    "span without its messages": (
        change(f"{ITEM}/traces.jsonl", '(logs.info.count","value":{"intValue":)"3"', r'\1"2"'),
        "the span differs",
    ),
    "records of another trace": (change(f"{ITEM}/logs.jsonl", TRACE, OTHER), "2 traces"),
    "events of another trace": (change(f"{ITEM}/events.jsonl", TRACE, OTHER), "2 traces"),
    "spans of another trace": (change(f"{ITEM}/traces.jsonl", TRACE, OTHER), "2 traces"),
    "records of another span": (change(f"{ITEM}/logs.jsonl", '"spanId":"....', '"spanId":"aaaa'), "span ids"),
    "records of another time": (
        change(f"{ITEM}/logs.jsonl", '"timeUnixNano":"1', '"timeUnixNano":"2'),
        "a message is of",
    ),
    "events of no time": (change(f"{ITEM}/events.jsonl", '"timeUnixNano":"1', '"timeUnixNano":"'), "is of"),
    "records of another job": (
        change(f"{ITEM}/logs.jsonl", r'(job.id","value":..stringValue":")....', r"\1aaaa"),
        "2 jobs",
    ),
    "spans of another run": (
        change(f"{ITEM}/traces.jsonl", r'(stageio.run","value":..intValue":")1', r"\g<1>2"),
        "2 runs",
    ),
    "span of another parent": (change(f"{ITEM}/traces.jsonl", '(parentSpanId":")....', r"\1aaaa"), "2 parents"),
    "span of another name": (change(f"{ITEM}/traces.jsonl", '"name":"cut"', '"name":"clean"'), "the span is clean"),
    "span that is too long": (
        change(f"{ITEM}/traces.jsonl", '"endTimeUnixNano":"1', '"endTimeUnixNano":"2'),
        "the span is",
    ),
    "failure whose span is fine": (
        change("job/91_cut/ep1/.stageio/002/traces.jsonl", '"code":2', '"code":1'),
        "failed False",
    ),
    "another root": (change("job/.stageio/runs/001/traces.jsonl", '(spanId":")....', r"\1aaaa"), "hang on another"),
    "two spans of one id": (
        lambda root: (root / "job/91_cut/ep2/.stageio/001/traces.jsonl").write_bytes(
            (root / ITEM / "traces.jsonl").read_bytes()
        ),
        "is there 2 times",
    ),
    "two roots": (lines("job/.stageio/runs/001/traces.jsonl", lambda of: [*of, *of]), "2 roots"),
    # How attempts ended.
    "killed and a success": (ended_otherwise("job/92_clean/ep1/.stageio/001", "abandoned"), "ended by kill"),
    "raised and a success": (ended_otherwise("job/*_new/.stageio/001", "failed"), "ended by raise"),
    "exited and a success": (ended_otherwise("job/*_new/.stageio/002", "failed"), "ended by exit"),
    "terminated and a success": (ended_otherwise("job/*_newer/.stageio/001", "failed"), "ended by term"),
    "gone and a success": (ended_otherwise("job/*_newest/.stageio/001", "abandoned"), "ended by nothing"),
    "failed and a success": (ended_otherwise("job/91_cut/ep1/.stageio/002", "failed"), "ended by failed"),
    # Numbers and attempts.
    "two stages of one number": (lambda root: (root / "job/91_cut").rename(root / "job/92_cut"), "92 is there 2 times"),
    "two folders of one name": (
        lambda root: shutil.copytree(root / "job/92_clean", root / "job/98_clean"),
        "2 folders",
    ),
    "attempt lost": (lambda root: shutil.rmtree(root / ITEM), "has the attempts [2]"),
    "last attempt lost": (lambda root: shutil.rmtree(root / "job/91_cut/ep1/.stageio/002"), "attempt 2, is not there"),
    "attempt of nobody": (lambda root: shutil.copytree(root / ITEM, root / f"{ITEM[:-1]}3"), "opened by nobody"),
    "empty attempt of nobody": (lambda root: (root / f"{ITEM[:-1]}3").mkdir(), "opened by nobody"),
    # Manifests.
    "manifest cut": (lambda root: (root / "job/91_cut/ep1/manifest.json").write_text('{"st'), "no JSON object"),
    "manifest lost": (lambda root: (root / "job/91_cut/ep1/manifest.json").unlink(), "ep1: manifest.json"),
    "manifest of a stage that runs": (
        manifest("job/91_cut/ep1/manifest.json", lambda of: of.update(status="running")),
        "ep1: manifest.json",
    ),
    "manifest without its output": (
        manifest("job/91_cut/ep1/manifest.json", lambda of: of.update(outputs=[])),
        "outputs",
    ),
    "manifest without its messages": (
        manifest("job/91_cut/ep1/manifest.json", lambda of: of["log_counts"].update(INFO=9)),
        "log_counts",
    ),
    "manifest with another time": (
        manifest("job/91_cut/ep1/manifest.json", lambda of: of.update(started_at="1970-01-01T00:00:00Z")),
        "another started_at",
    ),
    "manifest without its warnings": (
        manifest("job/91_cut/ep1/manifest.json", lambda of: of.update(warnings=of["warnings"][:-1] or [{}])),
        "another warnings",
    ),
    "lock that was not given back": (not_given_back, "lock was"),
    "second pipeline log": (
        lambda root: (root / "job/logs/99_pipeline_20261124_000000.log").touch(),
        "the pipeline log is",
    ),
    "job manifest cut": (change("job/manifest.json", "(?s).{40}\\Z", ""), "no JSON object"),
    "job that runs": (manifest("job/manifest.json", lambda of: of.update(status="running")), "status is running"),
    "job of another trace": (manifest("job/manifest.json", lambda of: of.update(trace_id="b" * 32)), "trace_id is"),
    "stage missing": (manifest("job/manifest.json", lambda of: of["stages"].pop()), "the stages are"),
    "stage there twice": (manifest("job/manifest.json", lambda of: of["stages"].append(of["stages"][0])), "stages are"),
    "stage not among the failed": (
        manifest("job/manifest.json", lambda of: of["failed_stages"].pop()),
        "failed_stages",
    ),
    "stage of an older attempt": (
        manifest("job/manifest.json", lambda of: stage(of, "95_new").update(attempt=1)),
        "95_new is",
    ),
    "status of a stage": (
        manifest("job/manifest.json", lambda of: stage(of, "91_cut").update(status="success")),
        "91_cut is",
    ),
    "count of items": (
        manifest("job/manifest.json", lambda of: stage(of, "91_cut")["items"].update(skipped=2)),
        "items",
    ),
    "total of items": (manifest("job/manifest.json", lambda of: stage(of, "91_cut")["items"].update(total=3)), "items"),
    "item not among the failed": (
        manifest("job/manifest.json", lambda of: stage(of, "91_cut")["items"].update(not_succeeded=[])),
        "lists the items",
    ),
    "a duration": (manifest("job/manifest.json", lambda of: of.update(started_at="")), "not what the journals say"),
    "what the keeper kept": (
        manifest("kept.json", lambda of: of.update(status="running")),
        "the keeper's job manifest",
    ),
    # What should not be there.
    "copy of a manifest": (lambda root: (root / "job/manifest-2.json").write_text("{}"), "should not be there"),
    "part of a manifest": (lambda root: (root / "job/manifest.json.tmp1").write_text("{"), "should not be there"),
    "folder of nobody": (lambda root: (root / "job/other").mkdir(), "other should not be there"),
    "files in the middle": (unfinished, "9 unfinished files"),
    # The processes.
    "exception": (note("2", [0, "trouble", "KeyError: 1"]), "process 2: KeyError: 1"),
    "word on stderr": (lambda root: (root / "notes/2.stderr").write_text("cannot write"), "process 2: cannot write"),
    "exit code": (change("notes/exits", r'"2", 0', '"2", 1'), "process 2 came to 1"),
    "process that never ended": (change("notes/exits", r'.*"2", 0.*\n', ""), "process 2 came to None"),
    "killed by another": (change("notes/exits", r'"2", 0', '"2", -9'), "process 2 came to -9"),
    "refused for nothing": (note("2", [1, "opens", "91_cut", "ep2"], [2, "refused"]), "which nobody had"),
    "opened twice": (
        note("3", [9e9, "opens", "91_cut", "ep1"], [9e9, "opened", "91_cut/ep1", 2]),
        "was opened 2 times",
    ),
    "opened beside another": (
        note("2", [0, "opens", "91_cut", "ep1"], [0, "opened", "91_cut/ep1", 3], [9e9, "refused"]),
        "before the end of",
    ),
    "another item than asked for": (
        change("notes/2", '"opens", "91_cut", "ep1"', '"opens", "91_cut", "ep9"'),
        "and got",
    ),
    "keeper that kept nothing": (lambda root: (root / "kept.json").unlink(), "the keeper's job manifest"),
    "changes told too often": (
        change("job/.stageio/changes.*", r"(.*\n)", r"\1" * 9),
        "were told of",
    ),
    "opened and not said": (note("2", [1, "opens", "91_cut", "ep1"]), "never said what came of it"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_wrong_is_found(well: Path, tmp_path: Path, what: str) -> None:
    """Each kind of damage that a stress run looks for is found by it."""
    damage, said = DAMAGES[what]
    root = tmp_path / "run"
    shutil.copytree(well, root)
    assert judge(root).wrong == []
    damage(root)
    assert any(said in each for each in judge(root).wrong), judge(root).wrong
