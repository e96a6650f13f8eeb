"""Where a stage reads from and writes to, and the small file work around it."""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otel_stageio import OutputPathError, SettingError, StageIO, StageIOError

STAGES = ["ingest", "clean", "vad", "asr"]


def stage(name: str, **options: object) -> StageIO:
    """Open a stage of the declared order in `out`."""
    return StageIO(name, stages=STAGES, **options)


def made(folder: str, name: str, content: str = "{}") -> Path:
    """Write a file as another tool would."""
    path = Path("out", folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# Inputs.


@pytest.mark.parametrize("named", ["clean", "02_clean", "2_clean"])
def test_input_of_a_named_stage(named):
    """A stage is named with or without its number."""
    path = made("02_clean", "a.json")
    made("03_vad", "a.json")
    assert stage("asr").get_input_path("a.json", from_stage=named) == path


def test_input_of_a_folder_without_a_journal():
    """Any `NN_name` folder is a stage to read from, also one that no StageIO wrote, with a number of any width."""
    path = made("2_clean", "a.json")
    assert stage("asr").get_input_path("a.json", "clean") == path
    assert stage("vad").get_input_path("a.json") == path


def test_input_of_a_later_stage_by_name():
    """A stage that is named may be a later one; looked for without a name it is not."""
    path = made("09_score", "a.json")
    io = stage("asr")
    assert io.get_input_path("a.json", "score") == path
    assert io.get_input_path("a.json") != path


def test_input_of_the_nearest_earlier_stage_that_has_it():
    """Without a name the nearest earlier stage that has the file gives it, then one before, then the job folder."""
    base, first, second = made(".", "a.json"), made("01_ingest", "a.json"), made("03_vad", "a.json")
    io = stage("asr")
    assert io.get_input_path("a.json") == second
    second.unlink()
    assert io.get_input_path("a.json") == first
    first.unlink()
    assert io.get_input_path("a.json") == base


def test_input_passes_over_skipped_stages():
    """What a stage left that was then skipped is no input: the file of the one before is."""
    with stage("ingest") as io:
        path = io.save_json({}, "a.json")
    with stage("clean") as io:
        io.save_json({}, "a.json")
        io.finalize("skipped", reason="clean enough")
    io = stage("vad")
    assert io.get_input_path("a.json") == path
    assert io.get_input_path("nowhere.json") == Path("out/01_ingest/nowhere.json")
    assert io.get_all_inputs() == [path]


def test_input_found_nowhere_is_warned_of_with_every_place(told):
    """Found nowhere it is the path in the previous stage, and track_input's warning lists where was looked."""
    made("01_ingest", "b.json")
    made("03_vad", "b.json")
    io = stage("asr")
    path = io.get_input_path("a.json")
    assert path == Path("out/03_vad/a.json")
    io.track_input(str(path), "transcript")
    io.finalize()
    (warning,) = told(io).warnings
    assert "03_vad/a.json is missing" in warning
    looked = ["out/03_vad/a.json", "out/01_ingest/a.json", "out/a.json"]
    assert re.findall(r"looked at (\S+)", warning) == looked
    assert ("WARNING", warning) in told(io).lines


def test_input_of_the_first_stage_is_in_the_job_folder():
    """Where there is no earlier stage the path is in the job folder."""
    assert stage("ingest").get_input_path("a.json") == Path("out/a.json")


def test_input_of_a_stage_that_does_not_exist():
    """From a stage that is not there it is the path where it would be."""
    assert stage("asr").get_input_path("a.json", "05_nothing") == Path("out/05_nothing/a.json")


def test_absolute_input_is_itself(tmp_path):
    """An absolute path is given back as it is."""
    assert stage("asr").get_input_path(tmp_path / "a.json") == tmp_path / "a.json"


def test_input_where_the_record_of_a_stage_is_broken(told):
    """An earlier stage whose journal cannot be read is not taken for a skipped one."""
    path = made("01_ingest", "a.json")
    made("01_ingest", ".stageio/001/events.jsonl", '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]}\n\0\n')
    io = stage("asr")
    assert io.get_input_path("a.json") == path
    io.finalize()
    told(io)


# Outputs.


def test_output_path_makes_its_folders():
    """An output path is inside the stage folder, and its parents are there."""
    io = stage("asr")
    path = io.get_output_path(Path("parts/a/b.json"))
    assert path == Path("out/04_asr/parts/a/b.json")
    assert path.parent.is_dir()
    assert not path.exists()


def test_absolute_output_path_inside_the_stage(tmp_path):
    """An absolute path is fine where it is inside."""
    io = stage("asr", output_base=tmp_path / "job")
    assert io.get_output_path(tmp_path / "job/04_asr/a.json") == tmp_path / "job/04_asr/a.json"


@pytest.mark.parametrize(
    "name",
    [
        *("../a", "a/../../b", "/tmp/a", "..", ".", "", "a/..", "../04_asr_2/a", "link/a.json", "link"),
        *(".stageio", ".stageio/001/events.jsonl", "b/../.stageio/x", "own/lock", "nul\0.json", "\ud800.json"),
    ],
)
def test_output_path_that_leaves_the_stage_is_an_error(tmp_path, name):
    """What leads out of the stage or into .stageio, by dots, roots or links, is an error, and so is what is no name."""
    io = stage("asr")
    (tmp_path / "elsewhere").mkdir()
    (io.stage_dir / "link").symlink_to(tmp_path / "elsewhere")
    (io.stage_dir / "own").symlink_to(".stageio")
    with pytest.raises(OutputPathError, match="output path") as raised:
        io.get_output_path(name)
    assert isinstance(raised.value, (StageIOError, ValueError))
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["../a.json", "..", "../.stageio/x", "/etc/passwd", "a\0"])
def test_cache_path_that_leaves_the_cache_is_an_error(name):
    """A cache path stays inside `.cache`."""
    with pytest.raises(OutputPathError, match="cache path"):
        stage("asr").get_cache_path(name)


def test_cache_path(tmp_path):
    """A cache path is inside `.cache`, parents made; the cache may be a link to another disk."""
    io = stage("asr")
    (tmp_path / "scratch").mkdir()
    (io.stage_dir / ".cache").symlink_to(tmp_path / "scratch")
    path = io.get_cache_path("models/m.bin")
    assert path == Path("out/04_asr/.cache/models/m.bin")
    assert (tmp_path / "scratch/models").is_dir()


def test_output_path_whose_folders_cannot_be_made(told):
    """Where a parent cannot be made the path comes back all the same, and the stage's record says what was wrong."""
    io = stage("asr")
    made("04_asr", "parts", "a file")
    assert io.get_output_path("parts/a.json") == Path("out/04_asr/parts/a.json")
    assert "parts" in io.manifest["degraded"][0]


def test_open_output_is_there_whole_and_tracked(told):
    """The file is written beside its place, appears with its last byte, and is tracked with its type and metadata."""
    io = stage("asr")
    with io.open_output("words/a.txt", "w", type="words", language="de", mode_of="text") as file:
        file.write("gr\u00fc\u00df\n")
        file.flush()
        assert not Path("out/04_asr/words/a.txt").exists()
    assert Path("out/04_asr/words/a.txt").read_bytes() == "gr\u00fc\u00df\n".encode()
    with io.open_output("a.bin", "wb") as file:
        file.write(b"\0")
    io.finalize()
    words, binary = told(io).manifest["outputs"]
    assert (words["path"], words["type"], words["size_bytes"]) == ("04_asr/words/a.txt", "words", 7)
    assert (words["language"], words["mode_of"], binary["type"]) == ("de", "text", "file")
    assert os.listdir("out/04_asr/words") == ["a.txt"]


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_open_output_leaves_nothing_where_the_block_raises(told, raised):
    """An exception in the block goes on; the old file stands, nothing lies beside it, nothing is tracked."""
    io = stage("asr")
    made("04_asr", "a.txt", "old")
    output = io.open_output("a.txt")
    output.__enter__().write("half")
    assert not output.__exit__(raised, raised(), None)
    assert {path.name for path in io.stage_dir.iterdir()} == {".stageio", "a.txt", "manifest.json", "stage.log"}
    assert Path("out/04_asr/a.txt").read_text() == "old"
    io.finalize()
    assert told(io).manifest["outputs"] == []


@pytest.mark.parametrize("mode", ["a", "r", "r+", "x", "rb", ""])
def test_open_output_writes_whole_files_only(mode):
    """A mode that appends or reads is an error, before anything is opened."""
    io = stage("asr")
    with pytest.raises(SettingError, match="mode"), io.open_output("a.txt", mode):
        pass
    assert not (io.stage_dir / "a.txt").exists()


def test_open_output_that_leaves_the_stage():
    """open_output stays inside the stage as get_output_path does."""
    with pytest.raises(OutputPathError), stage("asr").open_output("../a.txt"):
        pass


# What existing stages use.


def test_save_and_load_json():
    """What save_json wrote load_json reads, from the stage that get_input_path finds; text stays readable."""
    with stage("ingest") as io:
        path = io.save_json({"text": "gr\u00fc\u00df", "n": [1, None]}, "parts/a.json")
    assert path == Path("out/01_ingest/parts/a.json")
    assert "gr\u00fc\u00df" in path.read_text(encoding="utf-8")
    io = stage("asr")
    assert io.load_json("parts/a.json") == {"text": "gr\u00fc\u00df", "n": [1, None]}
    assert io.load_json("parts/a.json", from_stage="01_ingest")["n"] == [1, None]


def test_save_json_of_file_names_that_are_not_utf8():
    """A lone surrogate, as in a file name that is not UTF-8, comes back as it was."""
    io = stage("asr")
    path = io.save_json(["caf\udce9.wav"], "a.json")
    assert json.loads(path.read_bytes()) == ["caf\udce9.wav"]
    assert path.read_bytes().isascii()


def test_save_json_of_what_is_no_json_leaves_the_old_file():
    """What JSON does not have is an error, and the file that was there stands."""
    io = stage("asr")
    path = io.save_json([1], "a.json")
    with pytest.raises(TypeError):
        io.save_json({"a": object()}, "a.json")
    assert json.loads(path.read_bytes()) == [1]


def test_path_that_was_found_is_taken_again(tmp_path):
    """What get_input_path gave is read by load_json and found again, whether the job folder is relative or absolute."""
    stage("ingest").save_json([1], "a.json")
    for job in ("out", tmp_path / "out", "../" + tmp_path.name + "/out"):
        io = StageIO("asr", job, stages=STAGES)
        found = io.get_input_path("a.json", "ingest")
        assert io.load_json(found) == io.load_json(str(found), "ingest") == [1]
        assert io.get_input_path(found) == found
        io.finalize("success")


def test_path_of_a_search_goes_before_one_from_the_working_directory():
    """A name that a stage has is the stage's file, also where it reads like a path of the job folder."""
    path = made("01_ingest/out", "a.json")
    made(".", "a.json")
    assert stage("asr").get_input_path("out/a.json") == path


def test_load_json_that_is_nowhere_says_where_was_looked():
    """A missing file is a FileNotFoundError that lists every place."""
    made("02_clean", "b.json")
    with pytest.raises(FileNotFoundError) as raised:
        stage("asr").load_json("a.json")
    assert [place in str(raised.value) for place in ("out/02_clean/a.json", "out/a.json")] == [True, True]


@pytest.mark.parametrize("base", ["out", "/absolute"])
def test_load_json_of_a_path_that_was_given_says_where_was_looked(tmp_path, base):
    """A path that get_input_path gave for a file that is nowhere stays, and the places are those that it looked at."""
    base = base.replace("/absolute", f"{tmp_path}/out")
    made("02_clean", "b.json")
    io = stage("asr", output_base=base)
    path = io.get_input_path("a.json")
    assert io.get_input_path(path) == path == Path(base, "02_clean/a.json")
    with pytest.raises(FileNotFoundError) as raised:
        io.load_json(path)
    looked = [f"{base}/02_clean/a.json", f"{base}/a.json"]
    assert str(raised.value).splitlines()[1:] == [f"  {place}" for place in looked]


def test_load_json_with_a_byte_order_mark():
    """Files of other tools may begin with a byte order mark, or be UTF-16."""
    for name, encoding in (("a.json", "utf-8-sig"), ("b.json", "utf-16")):
        made("01_ingest", name).write_bytes('{"a": "\u00fc"}'.encode(encoding))
        assert stage("asr", mode="off").load_json(name) == {"a": "\u00fc"}


def test_save_and_load_metadata():
    """save_metadata adds stage, number and time to the dict and to the file; load_metadata reads it, {} without one."""
    about = {"model": "large"}
    with stage("ingest") as io:
        path = io.save_metadata(about)
    assert path == Path("out/01_ingest/metadata.json")
    assert list(about) == ["model", "stage", "stage_number", "timestamp"]
    assert (about["stage"], about["stage_number"]) == ("ingest", 1)
    assert datetime.fromisoformat(about["timestamp"]) <= datetime.now(timezone.utc)
    io = stage("asr")
    assert io.load_metadata() == io.load_metadata("ingest") == about
    assert io.load_metadata("clean") == {}


def test_copy_to_base():
    """A file of the stage is copied into the job folder with its times; folders of its name are kept."""
    io = stage("asr")
    made("04_asr", "parts/a.txt", "said")
    os.utime("out/04_asr/parts/a.txt", (1, 1))
    path = io.copy_to_base("parts/a.txt")
    assert path == Path("out/parts/a.txt")
    assert (path.read_text(), path.stat().st_mtime) == ("said", 1)
    assert io.copy_to_base("missing.txt") == Path("out/missing.txt")
    assert not Path("out/missing.txt").exists()


@pytest.mark.parametrize("relative", [True, False])
def test_copy_to_base_of_a_path_that_get_output_path_gave(tmp_path, relative):
    """The path of an output may be handed on as it is, relative or absolute, and through a link to the stage."""
    base = Path("out") if relative else tmp_path / "out"
    io = stage("asr", output_base=base)
    path = io.get_output_path("a.txt")
    path.write_text("said")
    assert io.copy_to_base(path) == base / "a.txt"
    (tmp_path / "link").symlink_to(tmp_path / "out/04_asr")
    (base / "a.txt").unlink()
    assert io.copy_to_base(tmp_path / "link/a.txt") == base / "a.txt"
    assert (base / "a.txt").read_text() == "said"


@pytest.mark.parametrize("name", ["../x", ".stageio/lock", "/etc/passwd"])
def test_copy_to_base_stays_inside(name):
    """What leads out of the stage folder, or into .stageio, is not copied."""
    with pytest.raises(OutputPathError):
        stage("asr").copy_to_base(name)


def test_all_inputs_are_the_files_of_the_previous_stage():
    """The files of the nearest earlier stage, by name, without our own and without folders."""
    with stage("ingest") as io:
        io.get_stage_logger().info("logged")
        paths = [io.save_json({}, name) for name in ("b.json", "a.json", ".hidden", "metadata.json")]
        io.get_cache_path("c").write_text("")
        (io.stage_dir / "stage.host.log").touch()
        (io.stage_dir / ".0123456789ab.tmp").touch()
    made("03_other", "x.json")
    io = StageIO("clean", stage_number=2)
    assert io.get_all_inputs() == sorted(paths)
    assert StageIO("zero", stage_number=0).get_all_inputs() == []


def test_all_inputs_of_another_tools_folder():
    """In a folder that StageIO did not write nothing is ours: a manifest.json is a file like others."""
    paths = [made("01_ingest", name) for name in ("a.json", "manifest.json", "stage.log")]
    assert stage("clean").get_all_inputs() == paths


def test_log_path():
    """A path for a log of one's own is in logs/, named after the stage and the time; the folder is there."""
    io = stage("asr")
    assert io.get_log_path("20251127") == Path("out/logs/04_asr_20251127.log")
    assert re.fullmatch(r"04_asr_\d{8}_\d{6}\.log", io.get_log_path().name)
    assert Path("out/logs").is_dir()


def test_after_a_change_of_directory_paths_lead_to_the_same_job(tmp_path: Path):
    """A relative job folder stays where it was when the stage opened: no second tree grows elsewhere."""
    io = StageIO("asr", "rel", stage_number=1)
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    assert io.get_output_path("sub/a.json") == tmp_path / "rel/01_asr/sub/a.json"
    assert io.save_json([], "b.json").parent == tmp_path / "rel/01_asr"
    assert io.get_cache_path("c") == tmp_path / "rel/01_asr/.cache/c"
    assert io.copy_to_base("b.json") == tmp_path / "rel/b.json"
    assert os.listdir() == []
    os.chdir(tmp_path)
    assert io.get_output_path("a.json") == Path("rel/01_asr/a.json")


def test_of_several_stages_of_a_name_an_earlier_one_is_read():
    """from_stage with two folders of that name means the nearest one before this stage."""
    for folder in ("02_asr", "07_asr"):
        Path("out", folder).mkdir(parents=True)
        Path("out", folder, "a.json").touch()
    io = StageIO("score", stage_number=5)
    assert io.get_input_path("a.json", from_stage="asr") == Path("out/02_asr/a.json")
    assert io.get_input_path("a.json", from_stage="07_asr") == Path("out/07_asr/a.json")
