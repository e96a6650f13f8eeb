"""Copies of a job folder: they get an id of their own, and what is the same folder never does."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import StageIO, open_job
from otel_stageio.cli import app
from otel_stageio.job import copies, identity
from otel_stageio.job.layout import JobLayout
from otel_stageio.journal import files
from tests.hosts import SimulatedHost
from tests.processes import in_new_process, in_processes
from tests.ship.backend import backend

if TYPE_CHECKING:
    from pathlib import Path

NODE1, NODE2 = SimulatedHost("node1"), SimulatedHost("node2")


def run(job: Path, name: str = "asr") -> str:
    """Run a stage from begin to end, as a new process would; gives the id of the job as the stage's manifest has it."""

    def stage() -> str:
        io = StageIO(name, job)
        io.get_stage_logger().info("hello from %s", name)
        io.finalize()
        return str((io.manifest or {})["job_id"])

    return str(in_new_process(stage))


def push(job: Path, url: str) -> None:
    """Deliver what waits, by the command."""
    with pytest.raises(SystemExit) as ended:
        app.main(["push", str(job), "--endpoint", url])
    assert ended.value.code == 0


def job_json(job: Path) -> dict[str, Any]:
    """What job.json says, but for when it was made."""
    document: dict[str, Any] = json.loads(JobLayout(job).job_json.read_bytes())
    assert document.pop("created_at")
    return document


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job in which a stage has run."""
    run(tmp_path / "out")
    return tmp_path / "out"


def copied(job: Path, name: str = "copy", **options: Any) -> Path:
    """Copy the job beside itself."""
    return shutil.copytree(job, job.parent / name, symlinks=True, **options)


@pytest.mark.parametrize("options", [{}, {"copy_function": shutil.copy}, {"copy_function": os.link}])
def test_copy(job, options):
    """The next stage in a copy, by whatever tool, is of a job of its own that names its origin; records stay as is."""
    old = identity.read_job_id(JobLayout(job))
    other = copied(job, **options)
    before = (other / "01_asr" / ".stageio" / "001" / "events.jsonl").read_bytes()
    own = run(other, "mux")
    assert own not in ("", old)
    assert job_json(other) == {"format": "1.0", "job_id": own, "copied_from": old}
    assert job_json(job) == {"format": "1.0", "job_id": old}
    assert (other / "01_asr" / ".stageio" / "001" / "events.jsonl").read_bytes() == before
    assert [open_job(other).manifest(name)["job_id"] for name in ("asr", "mux")] == [old, own]
    assert json.loads((other / "manifest.json").read_bytes())["job_id"] == own
    assert run(other, "mux") == own
    assert run(job, "mux") == old


def test_copy_of_a_copy(job):
    """Each is named after the one that it was made from."""
    first = copied(job)
    run(first)
    second = copied(first, "second")
    run(second)
    third = copied(job, "third")
    run(third)
    old, one, two, three = (str(identity.read_job_id(JobLayout(each))) for each in (job, first, second, third))
    assert len({old, one, two, three}) == 4
    assert [job_json(each)["copied_from"] for each in (first, second, third)] == [old, one, old]


def test_many_processes_in_a_new_copy(job):
    """Processes that open stages at once in a copy agree on its id."""
    for number in range(10):
        other = copied(job, f"copy{number}")
        found = in_processes(20, lambda _, other=other: identity.job_id(JobLayout(other)))
        assert set(found) == {identity.read_job_id(JobLayout(other))}
        assert found[0] != identity.read_job_id(JobLayout(job))


def test_copy_of_a_copy_that_came_no_further(job):
    """A process that died between claim and job.json leaves a claim, which the next one takes, and a copy of it not."""
    old = str(identity.read_job_id(JobLayout(job)))
    first = copied(job)
    (first / ".stageio" / f"copy_of_{old}").write_text(f"0123456789abcdef {first}\n")
    second = copied(first, "second")
    assert identity.job_id(JobLayout(first)) == "0123456789abcdef"
    assert identity.job_id(JobLayout(second)) not in (old, "0123456789abcdef")


def test_moved(job):
    """A job that was moved, also onto another disk, is the same job; the next stage works."""
    old = identity.read_job_id(JobLayout(job))
    moved = job.rename(job.parent / "moved")
    assert run(moved, "mux") == old
    other = copied(moved, "elsewhere")
    shutil.rmtree(moved)
    assert run(other, "pack") == old
    assert "copied_from" not in job_json(other)
    assert [row["stage"] for row in open_job(other).stages] == ["asr", "mux", "pack"]


def test_reading_gives_no_id(job):
    """A copy that is only read or delivered from, as after rsync to another machine, keeps the id."""
    other = copied(job)
    assert open_job(other).job_id == identity.read_job_id(JobLayout(job))
    with backend() as answers:
        push(other, answers.url)
    assert open_job(other).job_id == identity.read_job_id(JobLayout(job))


@pytest.mark.parametrize("way", ["link", "inode"])
def test_same_folder_on_another_path(job, way, monkeypatch):
    """A link, and a second mount that makes up its inodes, lead to the same job: a file made here is there."""
    other = job.parent / "other"
    other.symlink_to(job)
    if way == "inode":
        plain = os.path.realpath
        monkeypatch.setattr(os.path, "realpath", lambda path, **_: str(path) if "other" in str(path) else plain(path))
        look = os.stat

        def made_up(path: Any, **options: Any) -> os.stat_result:
            found = look(path, **options)
            return os.stat_result((found[0], 4711, *found[2:10])) if "other" in str(path) else found

        monkeypatch.setattr(os, "stat", made_up)
        assert not copies.is_known(JobLayout(other))
    assert identity.job_id(JobLayout(other)) == identity.read_job_id(JobLayout(job))
    assert "copied_from" not in job_json(job)


def test_hosts_with_other_paths(job):
    """Hosts that have the job on different paths note them each for itself, and nobody's note is asked for a new id."""
    old = identity.read_job_id(JobLayout(job))
    mounted = job.parent / "mounted"
    assert NODE1.does(lambda: run(job)) == old
    job.rename(mounted)  # the path of node1 is not there on node2
    assert NODE2.does(lambda: run(mounted)) == old
    mounted.rename(job)
    assert NODE1.does(lambda: run(job)) == old
    noted = {each.name: each.read_text() for each in (job / ".stageio" / "places").iterdir()}
    assert (noted["node1"], noted["node2"]) == (f"{job}\n", f"{mounted}\n")


def test_copy_by_another_host(job):
    """A host that never saw the original finds it where the others noted it."""
    old = identity.read_job_id(JobLayout(job))
    assert NODE2.does(lambda: run(copied(job))) != old


def test_another_job_at_the_old_place(job):
    """Where the job was moved away and another one begun, both keep their ids."""
    old = identity.read_job_id(JobLayout(job))
    moved = job.rename(job.parent / "moved")
    assert run(job) != old
    assert run(moved) == old


@pytest.mark.parametrize("content", [b"", b"\n", b"relative\n", b"/nowhere\n", b"\0\n", b"/" + b"x" * 5000 + b"\n"])
def test_strange_notes(job, content):
    """What a note says and is no place of the job is no reason for anything."""
    for each in (job / ".stageio" / "places").iterdir():
        each.write_bytes(content)
    old = identity.read_job_id(JobLayout(job))
    assert run(job, "mux") == old
    assert copies.is_known(JobLayout(job))


def test_note_that_cannot_be_written(job, monkeypatch):
    """A link in its place is not followed, and costs no stage."""
    places = job / ".stageio" / "places"
    shutil.rmtree(places)
    (job.parent / "out of it").mkdir()
    places.symlink_to(job.parent / "out of it")
    assert run(job, "mux") == identity.read_job_id(JobLayout(job))
    assert os.listdir(job.parent / "out of it") == []
    monkeypatch.setattr(files, "is_same_folder", lambda *_: (_ for _ in ()).throw(OSError("full")))
    places.unlink()
    other = copied(job)
    assert run(other) == identity.read_job_id(JobLayout(job))


def test_nothing_is_sent_twice(job):
    """What was delivered before the copying is not sent again from the copy, under whatever id; what came since is."""
    old = identity.read_job_id(JobLayout(job))
    with backend() as answers:
        push(job, answers.url)
        sent = [body for _, _, body in answers.asked]
        other = copied(job)
        own = run(other, "mux").encode()
        answers.asked.clear()
        push(other, answers.url)
        after = [body for _, _, body in answers.asked]
        answers.asked.clear()
        push(job, answers.url)
        push(other, answers.url)
    assert any(b"hello from asr" in body for body in sent)
    assert after
    assert all(own in body and str(old).encode() not in body for body in after)
    assert any(b"hello from mux" in body for body in after)
    assert not any(b"hello from asr" in body for body in after)
    assert answers.asked == []
