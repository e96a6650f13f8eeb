"""job.recovery: an attempt whose process died gets its end, once, and no other attempt gets one."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from otel_stageio import StageIO
from otel_stageio import conventions as names
from otel_stageio.job import attempts, host, locks, recovery, registry
from otel_stageio.job.layout import EVENTS, TRACES, JobLayout, StageLayout
from otel_stageio.journal import reader
from otel_stageio.record.journal import StageJournal
from otel_stageio.record.manifest_file import ManifestFile
from otel_stageio.record.recorder import Recorder
from otel_stageio.views import span as spans
from tests.processes import in_new_process, killed_after

if TYPE_CHECKING:
    from pathlib import Path

    from otel_stageio.model import Span, Value
    from tests.conftest import RunScript

KILLED = """
import os, signal
from otel_stageio import StageIO
io = StageIO("asr", "out")
io.get_stage_logger().warning("low volume")
out = io.get_output_path("words.json")
out.write_text("[]")
io.track_output(out, "words")
with io.step("decode", beams=5):
    with io.step("load"):
        pass
    with io.step("search"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def stage(run_script: RunScript, tmp_path: Path) -> StageLayout:
    """A stage whose process was killed within two steps."""
    assert run_script(KILLED).returncode == -signal.SIGKILL
    return StageLayout(JobLayout(tmp_path / "out"), 1, "asr")


def written(stage: StageLayout, number: int = 1) -> dict[str, Span]:
    """The spans of an attempt, by name."""
    return {each.name: each for each in reader.spans(str(stage.attempt_dir(number) / TRACES))}


def files(folder: Path) -> dict[str, bytes]:
    """What lies below a folder, locks apart."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_the_end_of_a_dead_attempt(stage: StageLayout) -> None:
    """An event, spans of the open steps and of the stage, a manifest: all say abandoned, and why that is known."""
    assert recovery.write_ends(stage) == [1]
    state = attempts.state(stage, 1)
    assert state.finished is not None
    assert (state.status, state.finished.attributes[names.ERROR_TYPE]) == ("abandoned", "abandoned")
    made = written(stage)
    assert {name: (each.status_code, each.attributes.get(names.ERROR_TYPE)) for name, each in made.items()} == {
        "load": (0, None),
        "decode": (2, "abandoned"),
        "search": (2, "abandoned"),
        "asr": (2, "abandoned"),
    }
    assert made["asr"] == spans.span(state)
    assert (made["decode"].parent_span_id, made["decode"].attributes["beams"]) == (made["asr"].span_id, 5)
    assert made["search"].parent_span_id == made["load"].parent_span_id == made["decode"].span_id
    assert len({each.end_time_unix_nano for name, each in made.items() if name != "load"}) == 1
    document = json.loads(stage.manifest.read_bytes())
    assert (document["status"], document["reason"]) == ("abandoned", state.finished.attributes[names.REASON])
    assert [each["type"] for each in document["outputs"]] == ["words"]


def test_the_end_is_the_last_sign(stage: StageLayout) -> None:
    """It is not before the last record, and not before the owner's last touch of the lock."""
    later = int(os.stat(stage.lock).st_mtime) + 7
    os.utime(stage.lock, (later, later))
    recovery.write_ends(stage)
    finished = attempts.state(stage, 1).finished
    assert finished is not None
    assert finished.time_unix_nano == later * 1_000_000_000


def test_once_more_changes_nothing(stage: StageLayout) -> None:
    """Whoever comes next finds the end on record."""
    recovery.write_ends(stage)
    before = files(stage.job.root)
    assert recovery.write_ends(stage) == []
    assert files(stage.job.root) == before


@pytest.mark.parametrize("lines", range(4))
def test_an_end_that_was_cut_short_is_made_whole(stage: StageLayout, lines: int) -> None:
    """Killed after the event and any number of the spans: the next one writes what is missing, and nothing twice."""
    before = (stage.attempt_dir(1) / TRACES).read_bytes()
    recovery.write_ends(stage)
    whole = files(stage.job.root)
    traces = stage.attempt_dir(1) / TRACES
    added = traces.read_bytes()[len(before) :].splitlines(keepends=True)
    traces.write_bytes(before + b"".join(added[:lines]))
    recovery.write_ends(stage)
    assert files(stage.job.root) == whole


def test_a_span_that_its_own_process_did_not_come_to(run_script: RunScript, tmp_path: Path) -> None:
    """A stage that was killed between its end and its span gets the span of that end."""
    run_script('from otel_stageio import StageIO\nStageIO("asr", "out").finalize(status="skipped", reason="no audio")')
    stage = StageLayout(JobLayout(tmp_path / "out"), 1, "asr")
    whole = files(tmp_path)
    (stage.attempt_dir(1) / TRACES).unlink()
    assert recovery.write_ends(stage) == [1]
    assert files(tmp_path) == whole


def test_a_torn_last_line_is_passed_over(stage: StageLayout) -> None:
    """What the kill tore costs itself alone."""
    with open(stage.attempt_dir(1) / EVENTS, "ab") as file:
        file.write(b'{"resourceLogs":[{"scopeLogs":[{"logRec')
    assert recovery.write_ends(stage) == [1]
    assert attempts.state(stage, 1).status == "abandoned"


def test_a_stage_that_runs_is_left_alone(tmp_path: Path) -> None:
    """Its lock is held."""
    io = StageIO("asr", tmp_path)
    stage = StageLayout(JobLayout(tmp_path), 1, "asr")
    assert recovery.write_ends(stage) == []
    assert attempts.state(stage, 1, live=True).finished is None
    io.finalize()
    assert recovery.write_ends(stage) == []


@pytest.mark.parametrize("change", ["host", "boot"])
def test_what_nobody_can_know_is_left_open(stage: StageLayout, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """An attempt of another host, or of an earlier boot, is lost and not abandoned: it gets no end."""
    if change == "boot":
        monkeypatch.setattr(host, "boot_id", lambda: "another")
    else:
        monkeypatch.setattr(host, "name", lambda: "elsewhere")
    before = files(stage.job.root)
    assert recovery.write_ends(stage) == []
    assert files(stage.job.root) == before


def test_without_locks_nothing_is_proved(stage: StageLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has none, who holds it is not known."""
    monkeypatch.setattr(locks, "_take", lambda _: None)
    assert recovery.write_ends(stage) == []
    assert attempts.state(stage, 1).finished is None


def test_a_manifest_that_was_declined_is_not_made(run_script: RunScript, tmp_path: Path) -> None:
    """enable_manifest=False holds for the end, too."""
    run_script(KILLED.replace('"out")', '"out", enable_manifest=False)'))
    stage = StageLayout(JobLayout(tmp_path / "out"), 1, "asr")
    assert recovery.write_ends(stage) == [1]
    assert not stage.manifest.exists()


@pytest.mark.parametrize("mode", ["file", "auto"])
def test_the_next_stage_writes_it(stage: StageLayout, run_script: RunScript, mode: str) -> None:
    """Another stage of the job, with or without a backend, and the job manifest has it."""
    run_script('from otel_stageio import StageIO\nStageIO("mux", "out").finalize()', env={"STAGEIO_MODE": mode})
    assert attempts.state(stage, 1).status == "abandoned"
    document = json.loads(stage.job.manifest.read_bytes())
    assert {each["stage"]: each["status"] for each in document["stages"]} == {"asr": "abandoned", "mux": "success"}


def test_the_retry_writes_it(stage: StageLayout, run_script: RunScript) -> None:
    """The same stage started again writes the end of the attempt before, and manifest.json is the newer one's."""
    run_script('from otel_stageio import StageIO\nStageIO("asr", "out").finalize()')
    assert [attempts.state(stage, number).status for number in stage.attempts()] == ["abandoned", "success"]
    assert written(stage)["asr"].attributes[names.STATUS] == "abandoned"
    document = json.loads(stage.manifest.read_bytes())
    assert (document["status"], document["attempt"], document["run"]) == ("success", 2, 1)


def test_the_job_manifest_names_the_dead(stage: StageLayout) -> None:
    """An update tells which stages have no end and nobody who runs them."""
    assert registry.update(stage.job) == ["01_asr"]
    recovery.write_ends(stage)
    assert registry.update(stage.job) == []


#: What a stage does when its end is on record, in this order.
ENDING = {
    "span": (StageJournal, "span"),
    "manifest": (ManifestFile, "rewrite"),
    "job manifest": (registry, "update"),
    "lock": (locks.StageLock, "release"),
}


def killed_at_end(moment: str, job: Path, item: str) -> None:
    """End a stage in a process that is killed before it does what comes at that moment."""
    plain = Recorder.finish

    def finish(self: Recorder, attributes: dict[str, Value]) -> bool:
        where, name = ENDING[moment]
        first = moment == "span" or plain(self, attributes)
        setattr(where, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        return plain(self, attributes) if moment == "span" else first

    def work() -> None:
        Recorder.finish = finish  # type: ignore[method-assign]
        StageIO("asr", job, item=item, stage_number=1).finalize(status="skipped", reason="no audio")

    killed_after(work)


def whole_end(job: Path, item: str) -> None:
    """Find the end that this process had put on record, everywhere, once."""
    stage = StageLayout(JobLayout(job), 1, "asr", item)
    document = json.loads(stage.manifest.read_bytes())
    assert (document["status"], document["reason"]) == ("skipped", "no audio")
    assert [span.attributes[names.STATUS] for span in reader.spans(str(stage.attempt_dir(1) / TRACES))] == ["skipped"]
    of_job = json.loads(stage.job.manifest.read_bytes())
    assert of_job["skipped_stages"] == ["asr"]
    assert registry.overview(stage.job) == of_job


@pytest.mark.parametrize("item", ["", "ep042"])
@pytest.mark.parametrize("moment", ENDING)
def test_a_process_that_was_killed_at_its_end(tmp_path: Path, moment: str, item: str) -> None:
    """The next stage, of a process that knows nothing of it yet, does the rest."""
    killed_at_end(moment, tmp_path / "job", item)
    in_new_process(lambda: StageIO("mux", tmp_path / "job").finalize())
    whole_end(tmp_path / "job", item)


@pytest.mark.parametrize("item", ["", "ep042"])
@pytest.mark.parametrize("moment", ENDING)
def test_a_process_that_remembers_sees_who_was_killed_at_his_end(tmp_path: Path, moment: str, item: str) -> None:
    """So does a process that has ended stages of that job before."""
    StageIO("cut", tmp_path / "job", stage_number=0).finalize()
    killed_at_end(moment, tmp_path / "job", item)
    for name in ("mix", "mux"):
        StageIO(name, tmp_path / "job").finalize()
    whole_end(tmp_path / "job", item)


def test_an_end_under_way_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage whose end is on record, and whose process has not let go of it, is not dead while that one lives."""
    job = JobLayout(tmp_path / "job")
    seen = []

    def sync(self: Recorder) -> None:
        seen.append((in_new_process(lambda: registry.update(job)), recovery.write_ends(StageLayout(job, 1, "asr"))))

    monkeypatch.setattr(Recorder, "sync", sync)
    StageIO("asr", job.root).finalize()
    assert seen == [([], [])]


def test_many_at_once(stage: StageLayout) -> None:
    """A stage that cannot be read does not keep the others from their ends."""
    none = StageLayout(stage.job, 2, "none")
    none.inner.mkdir(parents=True)
    (none.inner / "001").write_text("no folder", encoding="utf-8")
    assert recovery.write_all_ends([none, stage]) == [stage]
