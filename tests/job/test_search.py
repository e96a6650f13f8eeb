"""Search: where an input is found, in which order, and what is said of one that is nowhere."""

import os
from pathlib import Path

import pytest

from otel_stageio.errors import StageNameError
from otel_stageio.job import search
from otel_stageio.job.layout import JobLayout, StageLayout
from otel_stageio.job.search import Found, find_input, previous_stage


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job with stages 1 to 4, given as a relative path; stage 3 was skipped."""
    monkeypatch.chdir(tmp_path)
    for folder in ("01_ingest", "02_clean", "03_denoise", "04_asr", "04_align", "05_score"):
        (tmp_path / "out" / folder).mkdir(parents=True)
    return JobLayout(Path("out"))


def put(*paths):
    """Write a file at each path."""
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("x", encoding="utf-8")


def skipped(stage, item):
    """Tell that stage 3 was skipped."""
    return stage.name == "denoise"


def never(stage, item):
    """Fail when asked: some answers need no status."""
    pytest.fail(f"asked about {stage.folder}")


def find(job, filename, from_stage=None, me=(4, "asr"), ask=skipped):
    """Search for stage 4."""
    return find_input(StageLayout(job, *me), filename, from_stage, ask)


def test_the_nearest_earlier_stage_that_has_it_wins(job):
    """Of the earlier stages that have the file, the nearest one's is taken, and nothing beyond it is looked at."""
    put("out/01_ingest/a.wav", "out/02_clean/a.wav", "out/a.wav", "out/05_score/a.wav", "out/04_align/a.wav")
    assert find(job, "a.wav") == Found(
        path=Path("out/02_clean/a.wav"), exists=True, looked=("out/03_denoise/a.wav", "out/02_clean/a.wav")
    )


def test_a_skipped_stage_is_passed_over_and_named(job):
    """A file that a skipped stage left behind is not taken, and the list of places says why."""
    put("out/01_ingest/a.wav", "out/03_denoise/a.wav")
    assert find(job, "a.wav") == Found(
        path=Path("out/01_ingest/a.wav"),
        exists=True,
        looked=(
            "out/03_denoise/a.wav (passed over: that stage was skipped)",
            "out/02_clean/a.wav",
            "out/01_ingest/a.wav",
        ),
    )


def test_the_job_folder_comes_last(job):
    """What no earlier stage has is taken from the job folder, and no stage's status is asked for."""
    put("out/a.wav")
    assert find(job, "a.wav", ask=never) == Found(
        path=Path("out/a.wav"),
        exists=True,
        looked=("out/03_denoise/a.wav", "out/02_clean/a.wav", "out/01_ingest/a.wav", "out/a.wav"),
    )


def test_found_nowhere_it_is_expected_in_the_previous_stage(job):
    """The path of a file that is nowhere is the one in the nearest earlier stage that was not skipped."""
    assert find(job, "a.wav") == Found(
        path=Path("out/02_clean/a.wav"),
        exists=False,
        looked=("out/03_denoise/a.wav", "out/02_clean/a.wav", "out/01_ingest/a.wav", "out/a.wav"),
    )


def test_the_first_stage_expects_it_in_the_job_folder(job):
    """Without an earlier stage, or with skipped ones only, the job folder is the place."""
    expected = Found(path=Path("out/a.wav"), exists=False, looked=("out/a.wav",))
    assert find(job, "a.wav", me=(1, "ingest"), ask=never) == expected
    assert find(job, "a.wav", me=(2, "clean"), ask=lambda *_: True).path == Path("out/a.wav")


def test_a_missing_job_folder_is_searched_all_the_same(tmp_path):
    """A job that does not exist yet gives the path in the job folder."""
    assert find(JobLayout(tmp_path / "new"), "a.wav").path == tmp_path / "new" / "a.wav"


def test_a_stage_of_the_same_number_is_not_earlier(job):
    """Stages that share a number do not see each other's files, unless they are named."""
    put("out/04_align/a.wav")
    assert find(job, "a.wav").exists is False
    assert find(job, "a.wav", me=(5, "score")).path == Path("out/04_align/a.wav")
    assert find(job, "a.wav", "align").path == Path("out/04_align/a.wav")


@pytest.mark.parametrize("from_stage", ["ingest", "01_ingest", "1_ingest"])
def test_a_named_stage_is_searched_first(job, from_stage):
    """The named stage's file is taken, without regard to nearer ones, numbered or not, skipped or not."""
    put("out/01_ingest/a.wav", "out/02_clean/a.wav", "out/a.wav")
    assert find(job, "a.wav", from_stage, ask=never) == Found(
        path=Path("out/01_ingest/a.wav"), exists=True, looked=("out/01_ingest/a.wav",)
    )


def test_a_named_stage_may_be_later_or_skipped(job):
    """Whoever names a stage gets its file: a later, a skipped or the own one."""
    put("out/05_score/a.wav", "out/03_denoise/a.wav", "out/04_asr/a.wav")
    found = [find(job, "a.wav", stage, ask=never).path for stage in ("score", "denoise", "asr")]
    assert found == [Path("out/05_score/a.wav"), Path("out/03_denoise/a.wav"), Path("out/04_asr/a.wav")]


def test_a_named_stage_without_the_file_falls_back_to_the_job_folder(job):
    """What the named stage lacks is taken from the job folder, never from another stage."""
    put("out/02_clean/a.wav")
    looked = ("out/01_ingest/a.wav", "out/a.wav")
    assert find(job, "a.wav", "ingest") == Found(path=Path("out/01_ingest/a.wav"), exists=False, looked=looked)
    put("out/a.wav")
    assert find(job, "a.wav", "ingest") == Found(path=Path("out/a.wav"), exists=True, looked=looked)


@pytest.mark.parametrize(("from_stage", "folder"), [("tts", "tts"), ("8_tts", "08_tts"), ("08_tts", "08_tts")])
def test_a_named_stage_without_a_folder(job, from_stage, folder):
    """A stage that is not there gives the path that its file would have, and says where it looked."""
    looked = (f"out/{folder}/a.wav", "out/a.wav")
    assert find(job, "a.wav", from_stage) == Found(path=Path(f"out/{folder}/a.wav"), exists=False, looked=looked)


def test_a_folder_without_a_number_can_be_named(job):
    """A folder of the job that is no stage is found by its name."""
    put("out/raw/a.wav")
    assert find(job, "a.wav", "raw") == Found(path=Path("out/raw/a.wav"), exists=True, looked=("out/raw/a.wav",))


@pytest.mark.parametrize("from_stage", [6, "06_" + "x" * 300])
def test_a_stage_that_cannot_be_is_refused(job, from_stage):
    """A stage that is no text, or too long for a folder, is the caller's mistake."""
    with pytest.raises(StageNameError):
        find(job, "a.wav", from_stage)


def test_an_absolute_filename_is_taken_as_it_is(job, tmp_path):
    """An absolute path is no matter of stages, there or not."""
    missing = tmp_path / "b.wav"
    put(tmp_path / "a.wav")
    for stage in (None, "ingest"):
        assert find(job, tmp_path / "a.wav", stage, ask=never) == Found(
            path=tmp_path / "a.wav", exists=True, looked=(str(tmp_path / "a.wav"),)
        )
        assert find(job, str(missing), stage, ask=never) == Found(path=missing, exists=False, looked=(str(missing),))


@pytest.mark.parametrize("filename", ["segments/001.wav", Path("segments/001.wav"), "segments"])
def test_sub_folders_are_searched_too(job, filename):
    """A file in a sub-folder, and the sub-folder itself, can be an input."""
    put("out/01_ingest/segments/001.wav")
    assert find(job, filename).path == Path("out/01_ingest") / filename


@pytest.mark.parametrize("filename", ["語音.wav", "a\nb", "x" * 300, "a\0b", "a\ud800"])
def test_no_filename_is_refused(job, filename):
    """A name that cannot be there is not there; whoever opens it gets the system's error."""
    found = find(job, filename)
    assert (found.exists, os.fspath(found.path)) == (False, f"out/02_clean/{filename}")


def test_the_previous_stage(job):
    """The previous stage is the nearest earlier one that was not skipped."""
    assert previous_stage(StageLayout(job, 4, "asr"), skipped) == "02_clean"
    assert previous_stage(StageLayout(job, 5, "score"), skipped) == "04_asr"
    assert previous_stage(StageLayout(job, 1, "ingest"), never) is None


def test_a_thousand_stages_are_not_searched_after_a_hit(job, monkeypatch):
    """One look at the job folder and one at each place up to the hit, however many stages there are."""
    for number in range(6, 1006):
        Path(f"out/{number}_s").mkdir()
    put("out/1000_s/a.wav")
    listed = []
    monkeypatch.setattr(search, "stage_folders", lambda job, ask=search.stage_folders: listed.append(job) or ask(job))
    assert find(job, "a.wav", me=(1003, "last")).looked == tuple(f"out/{n}_s/a.wav" for n in (1002, 1001, 1000))
    assert listed == [Path("out")]
