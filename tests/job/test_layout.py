"""The layout: where everything lies, which names and numbers a stage may have, which folders are stages."""

from pathlib import Path

import pytest

from otel_stageio.job import layout
from otel_stageio.job.layout import JobLayout, StageFolder, StageLayout


@pytest.mark.parametrize("root", ["out", "../out", "/data/out"])
def test_places_of_a_job(root):
    """Every place is the documented one, on the job folder as it was given."""
    job = JobLayout(Path(root))
    places = [job.manifest, job.logs_dir, job.inner, job.job_json, job.lock, job.numbers_dir, job.runs_dir]
    places.append(job.run_dir(1))
    assert [str(place) for place in places] == [
        f"{root}/manifest.json",
        f"{root}/logs",
        f"{root}/.stageio",
        f"{root}/.stageio/job.json",
        f"{root}/.stageio/lock",
        f"{root}/.stageio/numbers",
        f"{root}/.stageio/runs",
        f"{root}/.stageio/runs/001",
    ]


def test_places_of_a_stage():
    """Every place of a stage is the documented one."""
    stage = StageLayout(JobLayout(Path("out")), 6, "asr")
    places = [stage.folder, stage.log, stage.manifest, stage.cache, stage.inner, stage.lock, stage.attempt_dir(1000)]
    assert [str(place) for place in places] == [
        "out/06_asr",
        "out/06_asr/stage.log",
        "out/06_asr/manifest.json",
        "out/06_asr/.cache",
        "out/06_asr/.stageio",
        "out/06_asr/.stageio/lock",
        "out/06_asr/.stageio/1000",
    ]


def test_attempts_are_the_numbered_folders(tmp_path):
    """Attempts are listed by number, other names beside them are not; without a folder there are none."""
    stage = StageLayout(JobLayout(tmp_path), 6, "asr")
    assert stage.attempts() == []
    for name in ("002", "001", "1000", "lock", ".003.tmp", "4"):
        (stage.inner / name).mkdir(parents=True)
    assert stage.attempts() == [1, 2, 1000]


def test_stage_folders(tmp_path):
    """Folders called number_name are stages, links to folders too; files, other names and broken links are not."""
    for name in ("10_score", "02_b", "02_a", "6_asr", "logs", ".stageio", "07", "_x", "08_\x1b"):
        (tmp_path / name).mkdir()
    (tmp_path / "03_file").write_text("")
    (tmp_path / "04_link").symlink_to(tmp_path / "logs")
    (tmp_path / "05_broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "09_circle").symlink_to(tmp_path / "09_circle")
    expected = [
        StageFolder(number=2, name="a", folder="02_a"),
        StageFolder(number=2, name="b", folder="02_b"),
        StageFolder(number=4, name="link", folder="04_link"),
        StageFolder(number=6, name="asr", folder="6_asr"),
        StageFolder(number=10, name="score", folder="10_score"),
    ]
    assert layout.stage_folders(str(tmp_path)) == expected
    assert layout.stage_folders(tmp_path) == expected


def test_a_missing_job_folder_has_no_stages(tmp_path):
    """A job that does not exist yet has no stages; one that is a file is an error of the system."""
    assert layout.stage_folders(tmp_path / "nothing") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        layout.stage_folders(tmp_path / "file")
