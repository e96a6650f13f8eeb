"""Names: which a stage and an item may have, which numbers, and how they become folders' names."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_stageio.errors import ItemNameError, StageNameError, StageNumberError
from otel_stageio.job import layout, naming
from otel_stageio.job.layout import StageFolder

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
    assert naming.split_name(text) == split


@pytest.mark.parametrize("text", [None, 6, b"06_asr", Path("asr")])
def test_a_stage_name_is_text(text):
    """What is not a str is refused with its type in the message."""
    for check in (naming.split_name, naming.check_name):
        with pytest.raises(StageNameError, match=type(text).__name__):
            check(text)


@pytest.mark.parametrize("name", ["asr", "logs", "a b", "ａ", "語音辨識", "asr:v2", "a.json", ".hidden", "x" * 252])
def test_names_that_are_honoured(name):
    """Any script, inner blanks, dots and the job's own words are fine, up to 255 bytes with the number."""
    assert naming.check_name(name) == name


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
        naming.check_name(name)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("number", "folder"), [(0, "00_asr"), (6, "06_asr"), (99, "99_asr"), (100, "100_asr")])
def test_folder_name(number, folder):
    """The number has two digits, or as many as it needs."""
    assert naming.folder_name(number, "asr") == folder


def test_a_long_number_counts_for_the_length():
    """A name that fits behind two digits can be too long behind three."""
    assert naming.folder_name(99, "x" * 252) == "99_" + "x" * 252
    with pytest.raises(StageNameError, match="with the number 100 makes a folder name of 256 bytes"):
        naming.folder_name(100, "x" * 252)


def test_bytes_that_are_no_text_can_be_a_name(tmp_path):
    """A name that Python read from undecodable bytes is made and found again as those bytes."""
    name = os.fsdecode(b"a\xff")
    os.mkdir(tmp_path / naming.folder_name(1, naming.check_name(name)))
    assert os.listdir(os.fsencode(tmp_path)) == [b"01_a\xff"]
    assert layout.stage_folders(tmp_path) == [StageFolder(number=1, name=name, folder=f"01_{name}")]


class Integer:
    """An integer as numpy's are: not an int, but with __index__."""

    def __index__(self):
        return 7


@pytest.mark.parametrize(("number", "value"), [(0, 0), (7, 7), (Integer(), 7), (10**18 - 1, 10**18 - 1)])
def test_numbers_that_are_honoured(number, value):
    """Whole numbers from 0 up, of any integer type, come back as int."""
    assert naming.check_number(number) == value
    assert type(naming.check_number(number)) is int


@pytest.mark.parametrize("number", [-1, True, False, 1.0, "6", None, 10**18])
def test_numbers_that_cannot_be_honoured(number):
    """Anything else is refused, a bool too, with the value in the message."""
    with pytest.raises(StageNumberError, match="is not a whole number from 0 up"):
        naming.check_number(number)


@given(number=st.integers(0, 10**18 - 1), name=NAME)
def test_a_folder_name_splits_into_what_it_was_made_of(number, name):
    """split_name is the inverse of folder_name for every number and name."""
    try:
        naming.check_name(name)
        folder = naming.folder_name(number, name)
    except StageNameError:
        return
    assert naming.split_name(folder) == (number, name)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("ep042", "ep042"),
        (42, "42"),
        (Integer(), "7"),
        ("001", "001"),
        ("語音", "語音"),
        ("a b.wav", "a b.wav"),
        ("x" * 255,) * 2,
    ],
)
def test_items_that_are_honoured(item, name):
    """Any folder's name is an item's, and the index of an array task is one, too."""
    assert naming.check_item(item) == name


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ("", "is empty"),
        ("speaker1/ep042", "holds a '/'"),
        ("..", "is a step through folders"),
        (".", "is a step through folders"),
        (".cache", "begins with a dot"),
        (".stageio", "begins with a dot"),
        ("a\nb", "line break"),
        ("ep042 ", "begins or ends with a blank"),
        ("manifest.json", "is that of a file"),
        ("stage.log", "is that of a file"),
        ("stage.node7.log", "is that of a file"),
        ("x" * 256, "makes a folder name of 256 bytes"),
        ("a\ud800", "cannot be written in the encoding of file names"),
        (True, "is bool"),
        (1.5, "is float"),
        (b"ep", "is bytes"),
    ],
)
def test_items_that_cannot_be_honoured(item, why):
    """Each refusal says what is wrong, on one line."""
    with pytest.raises(ItemNameError, match=why) as caught:
        naming.check_item(item)
    assert len(str(caught.value).splitlines()) == 1
