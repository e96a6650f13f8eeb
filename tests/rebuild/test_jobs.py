from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import floats, integers, randoms

from otel_stageio import JobFormatError, OutputPathError, StageIO, open_job
from otel_stageio.job import recovery
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.rebuild.jobs import rebuild
from tests.rebuild import collector, pipeline

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The folder of a pipeline that ran."""
    pipeline.tell(tmp_path / "job")
    return tmp_path / "job"


def written(path: Path, lines: list[str]) -> Path:
    """A file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def views(job: Path) -> dict[str, bytes]:
    """The views of a job by their paths."""
    found = [*job.rglob("manifest.json"), *job.rglob("*.log")]
    return {str(path.relative_to(job)): path.read_bytes() for path in found}


def journals(job: Path) -> list[str]:
    """The records of a job's journals, by file, in an order of their own."""
    return sorted(
        f"{path.relative_to(job)} {line}" for path in job.rglob("*.jsonl") for line in path.read_bytes().split(b"\n")
    )


def test_the_folder_is_as_it_was(job, tmp_path):
    """From shuffled, batched and repeated lines the journals, manifests and logs are there, byte for byte."""
    file = written(tmp_path / "c.jsonl", collector.collected(collector.journal(job), random.Random(1), sort=False))
    made = rebuild([file], tmp_path / "again")
    assert views(tmp_path / "again") == views(job)
    assert journals(tmp_path / "again") == journals(job)
    assert made.missing == ()
    assert made.attempts == 8
    assert made.broken == 0
    assert made.folders == (tmp_path / "again",)


def test_a_killed_stage_is_abandoned_there_too(run_script, tmp_path):
    """The end that others wrote for a stage that was killed is in the rebuilt folder."""
    job = tmp_path / "job"
    run_script(f"""
        import os
        from otel_stageio import StageIO
        io = StageIO("asr", {str(job)!r}, stage_number=6)
        io.get_stage_logger().info("a word")
        os.kill(os.getpid(), 9)
    """)
    recovery.write_ends(StageLayout(JobLayout(job), 6, "asr"))
    StageIO("mix", job, stage_number=7).finalize()
    files = sorted(job.rglob("*.jsonl"))
    made = rebuild(files, tmp_path / "again")
    assert made.missing == ()
    assert open_job(tmp_path / "again").stages[0]["status"] == "abandoned"
    assert (views(tmp_path / "again"), journals(tmp_path / "again")) == (views(job), journals(job))


def test_what_members_said_is_there_too(run_script, tmp_path):
    """The records of a further process of an attempt are among the attempt's own, and every view is as it was."""
    job = tmp_path / "job"
    run_script(f"""
        import os, subprocess, sys
        from otel_stageio import StageIO
        with StageIO("asr", {str(job)!r}, stage_number=6) as io:
            if "RANK" not in os.environ:
                with io.step("decode"):
                    env = {{**os.environ, **io.environ(), "RANK": "1"}}
                    subprocess.run([sys.executable, *sys.argv], env=env, check=True)
            else:
                io.get_stage_logger().warning("of rank 1")
                io.get_output_path("part.txt").write_text("words")
                io.track_output(io.get_output_path("part.txt"), "part")
    """)
    (member,) = job.glob("06_asr/.stageio/001/members/*")
    rebuild(sorted(job.rglob("*.jsonl")), tmp_path / "again")
    assert views(tmp_path / "again") == views(job)
    (output,) = open_job(tmp_path / "again").manifest("asr")["outputs"]
    assert output["member"] == member.name
    assert sorted(lines(tmp_path / "again")) == sorted(lines(job))


def lines(job: Path) -> list[str]:
    """The records of a job's journals, wherever they lie."""
    return [line for path in job.rglob("*.jsonl") for line in path.read_text().splitlines()]


def test_attributes_in_another_order_give_the_same_documents(job, tmp_path):
    """Where a backend sorted the attributes the logs are as they were, and the manifests but for the order of keys."""
    file = written(tmp_path / "c.jsonl", collector.collected(collector.journal(job), random.Random(2)))
    rebuild([file], tmp_path / "again")
    before, after = views(job), views(tmp_path / "again")
    assert before.keys() == after.keys()
    for name, content in before.items():
        same = json.loads if name.endswith(".json") else bytes.splitlines
        assert same(content) == same(after[name]), name


def test_twice_is_once(job, tmp_path):
    """A second time leaves the folder as the first made it, and so do parts, one by one, until no stage is unknown."""
    lines = collector.collected(collector.journal(job), random.Random(3), sort=False)
    half = len(lines) // 2
    parts = [written(tmp_path / "a.jsonl", lines[:half]), written(tmp_path / "b.jsonl", lines[half:])]
    whole = rebuild(parts, tmp_path / "again")
    first = journals(tmp_path / "again"), views(tmp_path / "again")
    assert rebuild(parts, tmp_path / "again").missing == whole.missing == ()
    assert (journals(tmp_path / "again"), views(tmp_path / "again")) == first
    for part in (*parts, parts[0]):  # what was left out, as of a stage that no record had told of yet
        rebuild([part], tmp_path / "parts")
    assert (journals(tmp_path / "parts"), views(tmp_path / "parts")) == first


def test_spans_first_and_logs_later(job, tmp_path):
    """What only the later files tell, of runs too, takes the place of what had to be guessed from spans."""
    files = sorted(job.rglob("*.jsonl"))
    rebuild([file for file in files if file.name == "traces.jsonl"], tmp_path / "again")
    rebuild([file for file in files if file.name != "traces.jsonl"], tmp_path / "again")
    assert views(tmp_path / "again") == views(job)


def test_from_the_journal_itself(job, tmp_path):
    """The job's own journal files are files like a Collector's, and are not changed."""
    before = journals(job)
    made = rebuild(sorted(job.rglob("*.jsonl")), tmp_path / "again")
    assert made.missing == ()
    assert views(tmp_path / "again") == views(job)
    assert journals(job) == before


def test_other_services_and_broken_lines_are_passed_over(job, tmp_path):
    """Telemetry of others in the same file goes nowhere; lines that are no OTLP/JSON are counted."""
    other = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    record = {"timeUnixNano": "1", "body": {"stringValue": "sold"}, "traceId": "ab" * 16, "spanId": "cd" * 8}
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": "sell", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    lines = [
        json.dumps({"resourceLogs": [{"resource": other, "scopeLogs": [{"logRecords": [record]}]}]}),
        json.dumps({"resourceSpans": [{"resource": other, "scopeSpans": [{"spans": [span]}]}]}),
        '{"resourceLogs":[{"scopeLogs":',
        "\x00\x00",
        "[" * 100_000,
        json.dumps({"resourceMetrics": []}),
        *collector.collected(collector.journal(job), random.Random(4), sort=False),
    ]
    made = rebuild([written(tmp_path / "c.jsonl", lines)], tmp_path / "again")
    assert (made.broken, made.missing) == (3, ())
    assert views(tmp_path / "again") == views(job)
    assert "shop" not in "".join(journals(tmp_path / "again"))


def stage(job: Path, name: str, number: int) -> list[str]:
    """The journal of a job with one stage, which logged two lines."""
    with StageIO(name, job, stage_number=number) as io:
        io.get_stage_logger().info("one")
        io.get_stage_logger().info("two")
    return collector.journal(job)


def test_several_jobs_have_a_folder_each(tmp_path):
    """The records of two jobs become two folders, named by their ids."""
    lines = stage(tmp_path / "one", "asr", 6) + stage(tmp_path / "two", "asr", 6)
    made = rebuild([written(tmp_path / "c.jsonl", lines)], tmp_path / "again")
    ids = {open_job(tmp_path / name).job_id: tmp_path / name for name in ("one", "two")}
    assert [path.name for path in made.folders] == sorted(ids)
    for path in made.folders:
        assert views(path) == views(ids[path.name])


def test_of_several_jobs_it_is_said_which_one_misses_something(tmp_path):
    """The same thing missing of two jobs is said of both."""
    lines = [*stage(tmp_path / "one", "asr", 6), *stage(tmp_path / "two", "asr", 6)]
    whole = [line for line in lines if '"stageio.stage.finished"' not in line]
    made = rebuild([written(tmp_path / "c.jsonl", whole)], tmp_path / "again")
    assert {path.name for path in made.folders} == {said.split()[1].rstrip(":") for said in made.missing}


def test_what_is_there_is_not_overwritten(tmp_path):
    """A folder with another job, the job's own first folder, and one with anything else are refused and left alone."""
    file = written(tmp_path / "c.jsonl", stage(tmp_path / "one", "asr", 6))
    stage(tmp_path / "two", "asr", 6)
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").write_text("mine")
    for name, why in (("one", "was recorded"), ("two", "holds job"), ("else", "not empty")):
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / name).rglob("*")}
        with pytest.raises(JobFormatError, match=why):
            rebuild([file], tmp_path / name)
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / name).rglob("*")} == before


def test_a_rebuild_that_was_interrupted_as_it_began_goes_on(tmp_path):
    """The folders that are there before it is said whose they are do not stand in the way of the same call."""
    file = written(tmp_path / "c.jsonl", stage(tmp_path / "one", "asr", 6))
    for name in (".stageio", "logs"):
        (tmp_path / "again" / name).mkdir(parents=True)
    rebuild([file], tmp_path / "again")
    assert views(tmp_path / "again") == views(tmp_path / "one")


def test_several_jobs_are_not_put_among_other_things(tmp_path):
    """A folder that a stage recorded in, or with a file of somebody's, takes no folders; one of rebuilt jobs does."""
    lines = [stage(tmp_path / name, "asr", 6) for name in ("one", "two", "three")]
    file = written(tmp_path / "c.jsonl", lines[0] + lines[1])
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").write_text("mine")
    for name in ("one", "else"):
        before = sorted((tmp_path / name).rglob("*"))
        with pytest.raises(JobFormatError, match="in it, which is no job that was rebuilt"):
            rebuild([file], tmp_path / name)
        assert sorted((tmp_path / name).rglob("*")) == before
    rebuild([file], tmp_path / "again")
    rebuild([written(tmp_path / "d.jsonl", lines[1] + lines[2])], tmp_path / "again")
    assert len([*(tmp_path / "again").iterdir()]) == 3


def test_a_link_that_leads_out_is_not_followed(tmp_path):
    """Where somebody planted a link for a stage's folder, nothing is written through it."""
    file = written(tmp_path / "c.jsonl", stage(tmp_path / "one", "asr", 6))
    rebuild([file], tmp_path / "again")
    (tmp_path / "again" / "06_asr").rename(tmp_path / "aside")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "again" / "06_asr").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputPathError, match="leads out"):
        rebuild([file], tmp_path / "again")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def changed(lines: list[str], old: str, new: str) -> list[str]:
    """The lines with a piece of text replaced."""
    return [line.replace(old, new) for line in lines]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"stringValue":"asr"', '"stringValue":"../../evil"', "the stage name"),
        ('"key":"stageio.stage.number","value":{"intValue":"6"}', '"key":"stageio.stage.number","value":{}', "number"),
        ('{"intValue":"6"}', '{"intValue":"-6"}', "number"),
        ('{"intValue":"6"}', '{"intValue":"9000000000000000000"}', "number"),
    ],
)
def test_names_and_numbers_of_strangers(tmp_path, old, new, said):
    """A stage whose name climbs, or whose number is none, is refused in a sentence, and nothing is written."""
    lines = changed(stage(tmp_path / "one" / "job", "asr", 6), old, new)
    file = written(tmp_path / "c.jsonl", lines)
    with pytest.raises(JobFormatError, match=said):
        rebuild([file], tmp_path / "again" / "deep")
    assert not (tmp_path / "again").exists()
    assert not (tmp_path / "evil").exists()


def test_a_job_id_that_climbs(tmp_path):
    """A job id that is a path is none, also where it would name a folder."""
    lines = stage(tmp_path / "one", "asr", 6)
    lines += changed(lines, open_job(tmp_path / "one").job_id, "../up")
    made = rebuild([written(tmp_path / "c.jsonl", lines)], tmp_path / "again")
    assert [*made.folders] == [tmp_path / "again"]
    assert any("../up" in sentence for sentence in made.missing)
    assert not (tmp_path / "up").exists()


def test_hosts_and_logs_of_strangers_stay_in_the_folder(tmp_path):
    """A host's name and a log's path that climb lead nowhere."""
    job = tmp_path / "one"
    lines = stage(job, "asr", 6)
    log = next((job / "logs").iterdir()).name
    lines = changed(changed(lines, f"logs/{log}", "../../up.log"), f'"{os.uname().nodename}"', '"../../up"')
    made = rebuild([written(tmp_path / "c.jsonl", lines)], tmp_path / "a" / "again")
    assert any("the name of its log" in sentence for sentence in made.missing)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c.jsonl", "one"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["again"]


def test_what_is_missing_is_said(tmp_path):
    """A gap in the count, an end or a start that did not come, and a newer format are each told in a sentence."""
    lines = stage(tmp_path / "one", "asr", 6)

    def told(name: str, kept: list[str]) -> str:
        return " ".join(rebuild([written(tmp_path / f"{name}.jsonl", kept)], tmp_path / name).missing)

    assert "attempt 1: 1 records are missing" in told("gap", [of for of in lines if '"one"' not in of])
    assert "its end is not there" in told("end", [of for of in lines if "stage.finished" not in of])
    assert "there is only its span" in told("spans", [of for of in lines if "resourceSpans" in of])
    (row,) = open_job(tmp_path / "spans").stages
    assert (row["stage"], row["status"]) == ("asr", "success")
    newer = changed([of for of in lines if '"one"' in of], '"version":"1.0"', '"version":"9.0"')
    assert "newer format" in told("newer", [*(of for of in lines if '"one"' not in of), *newer])


def test_no_stage_at_all(tmp_path):
    """Files without a stage, or that are not there, raise and make nothing."""
    with pytest.raises(JobFormatError, match="no record tells of a stage"):
        rebuild([written(tmp_path / "c.jsonl", ["{}", "nonsense"])], tmp_path / "again")
    with pytest.raises(FileNotFoundError):
        rebuild([tmp_path / "none.jsonl"], tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_local_time_is_that_of_the_stage(run_script, tmp_path, monkeypatch):
    """The lines of stage.log have the local time of where the stage ran, wherever the folder is made anew."""
    script = "import sys; from otel_stageio import StageIO\nwith StageIO('asr', sys.argv[1]) as io:\n"
    script += "    io.get_stage_logger().info('here')\n"
    assert run_script(script, tmp_path / "one", env={"TZ": "Asia/Kathmandu"}).returncode == 0
    rebuild([written(tmp_path / "c.jsonl", collector.journal(tmp_path / "one"))], tmp_path / "again")
    assert "+0545" in (tmp_path / "again" / "01_asr" / "stage.log").read_text()
    assert views(tmp_path / "again") == views(tmp_path / "one")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small job with a failure, a retry, a step and a library's span."""
    job = tmp_path / "job"
    for fails in (True, False):
        with suppress(ValueError), StageIO("asr", job, stage_number=6) as io:
            io.set_config({"b": 1, "a": 2})
            with io.step("decode"):
                io.get_stage_logger().info("hello")
                if fails:
                    int("x")
    stage(job, "mix", 7)
    return job


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chance=randoms(use_true_random=False), batch=integers(1, 40), repeats=floats(0, 1))
def test_however_it_was_batched(small, tmp_path, chance, batch, repeats):
    """Any order, any batches and any repeats give the same folder."""
    lines = collector.collected(collector.journal(small), chance, batch=batch, repeats=repeats, sort=False)
    into = tmp_path / os.urandom(4).hex()
    made = rebuild([written(tmp_path / "c.jsonl", lines)], into)
    assert made.missing == ()
    assert views(into) == views(small)
    assert journals(into) == journals(small)
