"""The layout: where everything lies, which names and numbers a stage may have, which folders are stages."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.errors import StageNameError, StageNumberError
from otel_stageio.job import layout
from otel_stageio.job.layout import JobLayout, StageFolder, StageLayout

LETTER = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="/")
NAME = st.text(LETTER, min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("asr", (None, "asr")),
        ("06_asr", (6, "asr")),
        ("6_asr", (6, "asr")),
        ("100_asr", (100, "asr")),
        ("0_x", (0, "x")),
        ("06_07_asr", (6, "07_asr")),
        ("06_", (None, "06_")),
        ("_asr", (None, "_asr")),
        ("06", (None, "06")),
        ("06-asr", (None, "06-asr")),
        ("٦_asr", (None, "٦_asr")),
        ("-1_asr", (None, "-1_asr")),
        ("1" * 18 + "_x", (int("1" * 18), "x")),
        ("1" * 19 + "_x", (None, "1" * 19 + "_x")),
        ("", (None, "")),
    ],
)
def test_split_name(text, split):
    """Decimal digits and an underscore in front of something are a number; anything else is part of the name."""
    assert layout.split_name(text) == split


@pytest.mark.parametrize("text", [None, 6, b"06_asr", Path("asr")])
def test_a_stage_name_is_text(text):
    """What is not a str is refused with its type in the message."""
    for check in (layout.split_name, layout.check_name):
        with pytest.raises(StageNameError, match=type(text).__name__):
            check(text)


@pytest.mark.parametrize("name", ["asr", "logs", "a b", "ａ", "語音辨識", "asr:v2", "a.json", ".hidden", "x" * 252])
def test_names_that_are_honoured(name):
    """Any script, inner blanks, dots and the job's own words are fine, up to 255 bytes with the number."""
    assert layout.check_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        (".", "is a step through folders"),
        ("..", "is a step through folders"),
        ("a..b", r"holds '\.\.'"),
        ("a/b", "holds a '/'"),
        ("/", "holds a '/'"),
        ("../x", r"holds '\.\.'"),
        ("a\0b", "control character"),
        ("a\nb", "control character or a line break"),
        ("a\x1b[31m", "control character"),
        ("a\x85b", "line break"),
        ("a\u2028b", "line break"),
        (" asr", "begins or ends with a blank"),
        ("asr\u00a0", "begins or ends with a blank"),
        ("x" * 253, "makes a folder name of 256 bytes, 255 are possible"),
        ("語" * 85, "makes a folder name of 258 bytes, 255 are possible"),
        ("x" * 10_000, "makes a folder name of 10003 bytes"),
        ("a\ud800", "cannot be written in the encoding of file names"),
    ],
)
def test_names_that_cannot_be_honoured(name, why):
    """Each refusal says what is wrong, on one line of moderate length."""
    with pytest.raises(StageNameError, match=why) as caught:
        layout.check_name(name)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("number", "folder"), [(0, "00_asr"), (6, "06_asr"), (99, "99_asr"), (100, "100_asr")])
def test_folder_name(number, folder):
    """The number has two digits, or as many as it needs."""
    assert layout.folder_name(number, "asr") == folder


def test_a_long_number_counts_for_the_length():
    """A name that fits behind two digits can be too long behind three."""
    assert layout.folder_name(99, "x" * 252) == "99_" + "x" * 252
    with pytest.raises(StageNameError, match="with the number 100 makes a folder name of 256 bytes"):
        layout.folder_name(100, "x" * 252)


def test_bytes_that_are_no_text_can_be_a_name(tmp_path):
    """A name that Python read from undecodable bytes is made and found again as those bytes."""
    name = os.fsdecode(b"a\xff")
    os.mkdir(tmp_path / layout.folder_name(1, layout.check_name(name)))
    assert os.listdir(os.fsencode(tmp_path)) == [b"01_a\xff"]
    assert layout.stage_folders(tmp_path) == [StageFolder(number=1, name=name, folder=f"01_{name}")]


class Integer:
    """An integer as numpy's are: not an int, but with __index__."""

    def __index__(self):
        return 7


@pytest.mark.parametrize(("number", "value"), [(0, 0), (7, 7), (Integer(), 7), (10**18 - 1, 10**18 - 1)])
def test_numbers_that_are_honoured(number, value):
    """Whole numbers from 0 up, of any integer type, come back as int."""
    assert layout.check_number(number) == value
    assert type(layout.check_number(number)) is int


@pytest.mark.parametrize("number", [-1, True, False, 1.0, "6", None, 10**18])
def test_numbers_that_cannot_be_honoured(number):
    """Anything else is refused, a bool too, with the value in the message."""
    with pytest.raises(StageNumberError, match="is not a whole number from 0 up"):
        layout.check_number(number)


@given(number=st.integers(0, 10**18 - 1), name=NAME)
def test_a_folder_name_splits_into_what_it_was_made_of(number, name):
    """split_name is the inverse of folder_name for every number and name."""
    try:
        layout.check_name(name)
        folder = layout.folder_name(number, name)
    except StageNameError:
        return
    assert layout.split_name(folder) == (number, name)


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
