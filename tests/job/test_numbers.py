"""Numbers: the order in which they are decided, and claims by many processes at once."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_stageio.errors import StageNameError, StageNumberError
from otel_stageio.job import numbers
from otel_stageio.job.layout import JobLayout, StageFolder
from otel_stageio.job.numbers import Resolved, find_stage, resolve
from otel_stageio.journal import files

ROOT = Path(__file__).parents[2]
PROCESSES = 10

#: Reads "folder, stage, moment" lines; at that moment opens the stage and makes its folder, as a stage does.
WORKER = """
import sys, time
from pathlib import Path
from otel_stageio.job.layout import JobLayout
from otel_stageio.job.naming import folder_name
from otel_stageio.job.numbers import resolve
for line in sys.stdin:
    folder, stage, number, moment = line.rstrip("\\n").split("\\t")
    time.sleep(max(0.0, float(moment) - time.monotonic()))
    resolved = resolve(JobLayout(Path(folder)), stage, number=int(number) if number else None, declared=())
    (Path(folder) / folder_name(resolved.number, resolved.name)).mkdir(exist_ok=True)
    print(resolved.number, flush=True)
"""


@pytest.fixture
def job(tmp_path):
    """A job folder with nothing in it."""
    return JobLayout(tmp_path)


@pytest.fixture
def workers():
    """Ten processes that wait to open stages."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WORKER],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                )
            )
            for _ in range(PROCESSES)
        ]


def open_at_once(workers, folder, stages):
    """Let each worker open its (stage, number) in `folder` at the same moment; return the numbers they got."""
    moment = time.monotonic() + 0.01
    for worker, (stage, number) in zip(workers, stages, strict=True):
        worker.stdin.write(f"{folder}\t{stage}\t{number}\t{moment}\n")
    return [int(worker.stdout.readline()) for worker in workers]


def claims(job):
    """The claims on disk: file name to content."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(job.numbers_dir.iterdir())}


def test_the_argument_decides_first(job):
    """The argument wins over the number in the name, the declared order and the folders."""
    (job.root / "09_asr").mkdir()
    assert resolve(job, "06_asr", number=3, declared=["asr"]) == Resolved(number=3, name="asr", how="argument")


def test_the_number_in_the_name_decides_second(job):
    """A number in the name wins over the declared order and the folders."""
    (job.root / "09_asr").mkdir()
    assert resolve(job, "06_asr", number=None, declared=["asr"]) == Resolved(number=6, name="asr", how="name")


def test_the_declared_order_decides_third(job):
    """The place in the declared order, counted from 1, wins over the folders."""
    (job.root / "09_asr").mkdir()
    assert resolve(job, "asr", number=None, declared=["in", "asr"]) == Resolved(number=2, name="asr", how="declared")


def test_the_folder_decides_fourth(job):
    """A folder of that name, also an empty one, gives its number."""
    (job.root / "09_asr").mkdir()
    assert resolve(job, "asr", number=None, declared=["in"]) == Resolved(number=9, name="asr", how="folder")
    assert not job.inner.exists()


def test_the_next_free_number_decides_last(job):
    """A new stage comes after every folder, claim and declared stage."""
    assert resolve(job, "a", number=None, declared=()) == Resolved(number=1, name="a", how="claimed")
    (job.root / "04_x").mkdir()
    assert resolve(job, "b", number=None, declared=()) == Resolved(number=5, name="b", how="claimed")
    assert resolve(job, "c", number=None, declared=()) == Resolved(number=6, name="c", how="claimed")
    assert resolve(job, "d", number=None, declared=["x", "08_y"]) == Resolved(number=9, name="d", how="claimed")
    assert claims(job) == {
        "01": "a\n", "05": "b\n", "06": "c\n", "09": "d\n", "_a": "01\n", "_b": "05\n", "_c": "06\n", "_d": "09\n",
    }  # fmt: skip


def test_a_claim_is_kept(job):
    """The same stage gets its number again, with or without its folder, however the job has grown."""
    assert resolve(job, "asr", number=None, declared=()).number == 1
    (job.root / "07_x").mkdir()
    assert resolve(job, "asr", number=None, declared=()) == Resolved(number=1, name="asr", how="claimed")


def test_a_claim_without_its_second_half_is_kept(job):
    """A process that died between the two files of a claim leaves no gap: the same stage takes the number over."""
    files.claim_file(str(job.numbers_dir / "05"), b"asr\n")
    assert resolve(job, "asr", number=None, declared=()) == Resolved(number=5, name="asr", how="claimed")
    assert resolve(job, "b", number=None, declared=()) == Resolved(number=6, name="b", how="claimed")


def test_a_stage_of_that_name_is_found_although_the_list_of_claims_was_old(job, monkeypatch):
    """Where another process claims another number for the same name in between, its number holds."""
    listed = numbers._claims

    def late(folder):
        seen = listed(folder)
        if not seen:
            files.claim_file(str(folder / "04"), b"asr\n")
            files.claim_file(str(folder / "_asr"), b"04\n")
        return seen

    monkeypatch.setattr(numbers, "_claims", late)
    assert resolve(job, "asr", number=None, declared=()).number == 4


def test_a_number_taken_in_between_is_not_shared(job, monkeypatch):
    """Where another stage claims the number first, the next one is tried, also while the list does not show it."""
    files.claim_file(str(job.numbers_dir / "01"), b"b\n")
    monkeypatch.setattr(numbers, "_claims", lambda folder: {})
    assert resolve(job, "asr", number=None, declared=()).number == 2


def test_an_empty_claim_is_somebodys(job, monkeypatch):
    """A claim whose content never came, after a crash without hard links, keeps its number and stops nobody."""
    monkeypatch.setattr(numbers, "_PAUSE", 0.0)
    files.claim_file(str(job.numbers_dir / "01"), b"")
    files.claim_file(str(job.numbers_dir / "_asr"), b"")
    assert resolve(job, "asr", number=None, declared=()).number == 2


def test_claims_hold_names_of_any_script(job):
    """The longest names, in any script and of undecodable bytes, can be claimed and are found again."""
    for name in ("語" * 84, "x" * 252, "07", "_07", "a\udcff"):
        first = resolve(job, name, number=None, declared=())
        assert resolve(job, name, number=None, declared=()) == first
    assert sorted(numbers._claims(job.numbers_dir)) == [1, 2, 3, 4, 5]


def test_of_several_folders_the_one_that_ran_wins_then_the_highest(job):
    """A folder with a journal wins over a higher one without; among equals the highest number wins."""
    (job.root / "03_asr").mkdir()
    (job.root / "05_asr").mkdir()
    assert resolve(job, "asr", number=None, declared=()).number == 5
    (job.root / "03_asr" / ".stageio").mkdir()
    assert resolve(job, "asr", number=None, declared=()).number == 3
    (job.root / "05_asr" / ".stageio").mkdir()
    assert resolve(job, "asr", number=None, declared=()).number == 5


def test_two_stages_may_share_a_number(job):
    """A number in use is given again to whoever names it, and numbered and bare names mix."""
    (job.root / "06_asr").mkdir()
    assert resolve(job, "06_align", number=None, declared=()) == Resolved(number=6, name="align", how="name")
    assert resolve(job, "score", number=None, declared=()) == Resolved(number=7, name="score", how="claimed")


def test_declared_stages_count_on_from_a_number():
    """A number in an entry holds, bare entries count on from it; a name declared twice has its first place."""
    declared = ["ingest", "06_asr", "score", "02_early", "asr"]
    assert numbers.declared_stages(declared) == [(1, "ingest"), (6, "asr"), (7, "score"), (2, "early"), (3, "asr")]
    assert numbers.declared_stages([]) == []


def test_a_name_declared_twice_has_its_first_number(job):
    """The first entry of that name decides."""
    assert resolve(job, "asr", number=None, declared=["asr", "b", "asr"]).number == 1


@pytest.mark.parametrize("text", ["", ".", "..", "06_..", "a/b", "06_a\nb", "06_ asr", None])
def test_names_that_cannot_be_honoured_are_refused(job, text):
    """A wrong name is refused before anything is looked up or written, with or without a number."""
    with pytest.raises(StageNameError):
        resolve(job, text, number=6, declared=())
    with pytest.raises(StageNameError):
        resolve(job, text, number=None, declared=())
    assert list(job.root.iterdir()) == []


def test_a_name_too_long_for_its_number_is_refused(job):
    """The length is judged with the number that the stage gets."""
    with pytest.raises(StageNameError, match="with the number 100"):
        resolve(job, "x" * 252, number=100, declared=())


@pytest.mark.parametrize("number", [-1, True, "3"])
def test_numbers_that_cannot_be_honoured_are_refused(job, number):
    """A wrong number is refused."""
    with pytest.raises(StageNumberError):
        resolve(job, "asr", number=number, declared=())


def test_a_job_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    """Where a claim cannot be written the caller gets the OSError and can degrade."""
    (tmp_path / ".stageio").write_text("")
    with pytest.raises(OSError, match="numbers"):
        resolve(JobLayout(tmp_path), "asr", number=None, declared=())


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("asr", "06_asr"),
        ("06_asr", "06_asr"),
        ("6_asr", "06_asr"),
        ("006_asr", "06_asr"),
        ("07_asr", None),
        ("score", "9_score"),
        ("09_score", "9_score"),
        ("2_pass", "03_2_pass"),
        ("both", "05_both"),
        ("04_both", "04_both"),
        ("nothing", None),
        ("", None),
        ("logs", None),
        ("a/b", None),
    ],
)
def test_find_stage(job, text, folder):
    """A stage is found by its name, by number and name however the number is written, and by its folder's name."""
    for name in ("06_asr", "9_score", "03_2_pass", "04_both", "05_both", "logs"):
        (job.root / name).mkdir()
    found = find_stage(job, text)
    assert (found and found.folder) == folder


def test_the_folder_of_exactly_that_name_wins(job):
    """Where 6_asr and 06_asr are both there, each is found under its own name."""
    (job.root / "06_asr").mkdir()
    (job.root / "6_asr").mkdir()
    assert find_stage(job, "6_asr") == StageFolder(number=6, name="asr", folder="6_asr")
    assert find_stage(job, "06_asr") == StageFolder(number=6, name="asr", folder="06_asr")


def test_ten_processes_that_open_the_same_new_stage_agree(workers, tmp_path):
    """Ten processes at once get one number for one new stage, in each of 40 rounds, while others come with numbers."""
    for turn in range(40):
        folder = tmp_path / str(turn)
        folder.mkdir()
        # Every other round two of them bring folders of other stages, which moves what is the next free number.
        stages = [("asr", "")] * PROCESSES
        if turn % 2:
            stages[2] = ("other", "5")
            stages[6] = ("another", "9")
        got = open_at_once(workers, folder, stages)
        new = {number for number, stage in zip(got, stages, strict=True) if stage == ("asr", "")}
        assert len(new) == 1, (turn, got)


def test_ten_new_stages_opened_at_once_get_ten_numbers(workers, tmp_path):
    """Ten processes at once get the numbers 1 to 10 for ten new stages, in each of 40 rounds."""
    for turn in range(40):
        folder = tmp_path / str(turn)
        folder.mkdir()
        got = open_at_once(workers, folder, [(f"stage{place}", "") for place in range(PROCESSES)])
        assert sorted(got) == list(range(1, PROCESSES + 1)), (turn, got)
