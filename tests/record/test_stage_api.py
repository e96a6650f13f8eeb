"""Opening a stage: which job folder, which number, what is written, and what it knows of itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from otel_stageio import (
    SettingError,
    StageIO,
    StageNameError,
    StageNumberError,
    StageRunningError,
    get_stage_logger,
)
from otel_stageio import conventions as names


def everything(folder: Path) -> set[str]:
    """Every file and folder below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# The job folder.


def test_job_folder_is_the_argument_before_the_environment(tmp_path, monkeypatch, told):
    """The argument wins over STAGEIO_JOB_DIR, that over OUTPUT_DIR, that over `out`."""
    found = []
    for argument, own, general in [("a", "b", "c"), (None, "b", "c"), (None, "", "c"), (None, "", "")]:
        monkeypatch.setenv("STAGEIO_JOB_DIR", own)
        monkeypatch.setenv("OUTPUT_DIR", general)
        io = StageIO("asr", argument)
        found.append(str(io.job_dir))
        io.finalize()
        assert (tmp_path / io.stage_log).is_file()
    assert found == ["a", "b", "c", "out"]


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("relative", [True, False])
def test_paths_are_given_back_as_the_job_folder_was_given(tmp_path, kind, relative, told):
    """All paths of a stage begin with the job folder as it was given, so that one is relative to the other."""
    base = "deep/job" if relative else str(tmp_path / "deep/job")
    io = StageIO("asr", kind(base), stage_number=6)
    root = Path(base)
    assert (io.stage_name, io.stage_number) == ("asr", 6)
    assert (io.output_base, io.job_dir) == (root, root)
    assert io.stage_dir == root / "06_asr"
    assert io.stage_log.relative_to(io.output_base) == Path("06_asr/stage.log")
    assert io.manifest_path.relative_to(io.output_base) == Path("06_asr/manifest.json")
    assert io.logs_dir == root / "logs"
    given = [io.get_output_path("a"), io.get_cache_path("b"), io.get_input_path("c"), io.get_log_path()]
    assert all(path.is_relative_to(root) for path in given)
    io.finalize()
    assert io.manifest_path.is_file()
    assert told(io).manifest["stage_number"] == 6


def test_the_job_goes_on_where_it_began_when_the_working_directory_changes(tmp_path, monkeypatch, told):
    """After a change of the working directory log, journal and manifest of a relative job folder stay in place."""
    io = StageIO("asr", "job", stage_number=1)
    (tmp_path / "in.txt").write_text("here")
    (tmp_path / "elsewhere").mkdir()
    io.track_input("in.txt")
    monkeypatch.chdir(tmp_path / "elsewhere")
    io.get_stage_logger().info("moved")
    io.track_input("in.txt")
    io.finalize()
    found = told(io)
    assert ("INFO", "moved") in found.lines
    assert [(entry["path"], entry.get("kind")) for entry in found.manifest["inputs"]] == [
        (str(tmp_path / "in.txt"), None),
        (str(tmp_path / "elsewhere/in.txt"), "missing"),
    ]
    assert everything(tmp_path / "elsewhere") == set()


# The number.


def test_number_of_the_argument_wins_over_all(told):
    """The argument wins over a number in the name and over the declared order."""
    io = StageIO("06_asr", stage_number=3, stages=["ingest", "asr"])
    assert (io.stage_name, io.stage_number, io.stage_dir.name) == ("asr", 3, "03_asr")


def test_number_in_the_name_wins_over_the_declared_order():
    """`06_asr` is stage 6, asr, whatever is declared."""
    io = StageIO("06_asr", stages=["ingest", "asr"])
    assert (io.stage_name, io.stage_number) == ("asr", 6)


def test_declared_order_is_the_argument_then_the_environment_then_pyproject(tmp_path, run_script):
    """`stages=` wins over STAGEIO_STAGES, that over [tool.stageio] of the nearest pyproject.toml above the script."""
    (tmp_path / "pyproject.toml").write_text('[tool.stageio]\nstages = ["a", "b", "c", "asr"]\n')
    source = """
        import sys
        from otel_stageio import StageIO
        stages = ["asr"] if "argument" in sys.argv else None
        print(StageIO("asr", sys.argv[1], stages=stages).stage_number)
    """
    assert run_script(source, "1", "argument", env={"STAGEIO_STAGES": "a,b,asr"}).stdout == "1\n"
    assert run_script(source, "2", env={"STAGEIO_STAGES": "a,b,asr"}).stdout == "3\n"
    assert run_script(source, "3").stdout == "4\n"


def test_number_of_an_existing_folder(tmp_path):
    """Without any declaration the folder that bears the stage's name decides, an empty one too."""
    (tmp_path / "out/07_asr").mkdir(parents=True)
    assert StageIO("asr").stage_number == 7


def test_numbered_and_bare_names_mix(told):
    """`06_asr` and then `asr` are one stage, of which the second is the next attempt."""
    StageIO("06_asr").finalize()
    io = StageIO("asr")
    io.finalize()
    assert (io.stage_number, told(io).manifest["attempt"]) == (6, 2)


def test_two_stages_share_a_number(told):
    """Two stages may have one number: each has its own folder, and both are in the job manifest."""
    for name in ("06_asr", "06_vad"):
        io = StageIO(name)
        io.finalize()
        told(io)
    stages = json.loads(Path("out/manifest.json").read_bytes())["stages"]
    assert [(each["stage"], each["stage_number"]) for each in stages] == [("asr", 6), ("vad", 6)]


def test_next_free_number_is_told_with_the_way_to_declare_it(told):
    """A number that was taken as the next free one is told at INFO, with the three ways to declare the order."""
    StageIO("06_vad").finalize()
    io = StageIO("asr")
    io.finalize()
    assert io.stage_number == 7
    ((level, message),) = told(io).lines
    assert level == "INFO"
    assert "7" in message
    for way in ("stages=[", "STAGEIO_STAGES", "[tool.stageio] stages"):
        assert way in message


def test_a_declared_number_is_not_told(told):
    """Where the order is declared nothing is said of numbers."""
    io = StageIO("asr", stages=["asr"])
    io.finalize()
    assert told(io).lines == []


# Arguments that cannot be honoured.


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\0b", "a\nb", "x" * 253, None, 7])
def test_bad_names_are_errors_and_leave_nothing(tmp_path, name):
    """A name that can be no folder's raises at the call, and nothing is written for it."""
    with pytest.raises(StageNameError):
        StageIO(name)
    assert everything(tmp_path) == set()


@pytest.mark.parametrize("number", [-1, 1.5, True, "6"])
def test_bad_numbers_are_errors(tmp_path, number):
    """A number that is no whole number from 0 up raises at the call."""
    with pytest.raises(StageNumberError):
        StageIO("asr", stage_number=number)
    assert everything(tmp_path) == set()


@pytest.mark.parametrize("option", [{"mode": "on"}, {"capture": "all"}, {"checksum": "md5"}, {"stages": "asr"}])
def test_options_outside_their_list_are_errors(tmp_path, option):
    """A mode, capture, checksum or order that is none raises and names the argument."""
    with pytest.raises(SettingError, match=next(iter(option))):
        StageIO("asr", **option)
    assert everything(tmp_path) == set()


def test_opening_a_running_stage_names_who_runs_it():
    """A stage that is open now cannot be opened again: the error names the process and since when."""
    io = StageIO("asr")
    with pytest.raises(StageRunningError, match=rf"process {os.getpid()} .*since {io.manifest['started_at'][:10]}"):
        StageIO("asr")


# What is written.


def test_without_manifest_everything_else_is_as_ever(tmp_path, told):
    """enable_manifest=False: no manifest.json and no artifact; logs, journal, span and the job's entry as ever."""
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    io = StageIO("asr", "out", enable_manifest=False, stage_number=1)
    assert io.manifest is None
    logger = io.get_stage_logger()
    logger.info("said")
    io.track_input("a.wav", "audio")
    io.track_input("missing.wav")
    assert io.track_inputs("*.wav", "audio") == [Path("a.wav")]
    assert io.track_inputs("*.flac", "audio") == []
    io.track_output(io.get_output_path("b.json"))
    io.track_intermediate("a.wav")
    with io.open_output("c.txt") as file:
        file.write("made")
    io.add_metric("words", 3)
    io.finalize()
    found = told(io)
    assert not io.manifest_path.exists()
    assert (io.stage_dir / "c.txt").read_text() == "made"
    assert {event.event_name for event in found.events} == {names.STARTED, names.METRIC, names.FINISHED}
    assert found.lines == [("INFO", "said")]
    assert found.span.name == "asr"
    assert "said" in next(io.logs_dir.iterdir()).read_text()
    (entry,) = json.loads(Path("out/manifest.json").read_bytes())["stages"]
    assert (entry["stage"], entry["status"]) == ("asr", "success")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_mode_off_writes_nothing_but_folders_asked_for(tmp_path, monkeypatch, capsys, how):
    """mode="off": the console and paths only; on disk there are the folders of the paths that were asked for."""
    if how == "environment":
        monkeypatch.setenv("STAGEIO_MODE", "off")
    io = StageIO("asr", stage_number=6, mode="off" if how == "argument" else None)
    logger = io.get_stage_logger()
    logger.debug("not shown")
    logger.info("shown")
    io.track_input("missing.wav")
    io.set_config({"a": 1})
    assert everything(tmp_path) == set()
    assert io.get_output_path("parts/a.json") == Path("out/06_asr/parts/a.json")
    assert io.get_cache_path("c") == Path("out/06_asr/.cache/c")
    assert everything(tmp_path) == {"out", "out/06_asr", "out/06_asr/parts", "out/06_asr/.cache"}
    assert io.manifest["config"] == {"a": 1}
    io.finalize("failed")
    assert io.manifest["status"] == "failed"
    assert "nothing written" in repr(io)
    shown = capsys.readouterr().err
    assert "[asr] [INFO] shown" in shown
    assert "not shown" not in shown
    assert len(everything(tmp_path)) == 4


def test_mode_off_resolves_the_number_without_taking_it(tmp_path):
    """mode="off" tells the next free number and claims none: two names get the same one."""
    assert StageIO("asr", mode="off").stage_number == StageIO("vad", mode="off").stage_number == 1
    assert everything(tmp_path) == set()


def test_a_file_in_the_place_of_the_job_folder(tmp_path, capsys):
    """Where the job folder cannot be made the stage runs with console and paths, and one line on stderr says so."""
    (tmp_path / "out").write_text("I am a file")
    io = StageIO("asr")
    logger = io.get_stage_logger("WARNING")
    logger.info("going on")
    io.track_input("x.wav", "audio")
    assert io.get_input_path("x.wav") == Path("out/x.wav")
    assert io.get_all_inputs() == []
    io.finalize()
    assert io.manifest["status"] == "success"
    assert (tmp_path / "out").read_text() == "I am a file"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("otel-stageio:")]
    assert "cannot write the job folder out" in line


def test_a_folder_that_may_not_be_written(tmp_path, run_script):
    """A read-only job folder degrades the stage: one line on stderr, console and exit status as ever."""
    job = tmp_path / "job"
    job.mkdir()
    job.chmod(0o555)
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own are closed to others, who have to come through
        mode = folder.stat().st_mode
        if os.getuid() == 0 and not mode & 0o001:
            folder.chmod(mode | 0o001)
    source = """
        import os, sys
        from otel_stageio import StageIO

        def run(folder):
            io = StageIO("asr", folder)
            io.get_stage_logger().info("going on")
            path = io.get_output_path("parts/a.json")
            io.track_output(path)
            try:
                path.write_text("{}")
            except OSError as why:
                print(type(why).__name__)
            io.finalize()

        run(sys.argv[2])  # with all rights: imports everything
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        run(sys.argv[1])
        sys.exit(3)
    """
    done = run_script(source, job, tmp_path / "before")
    assert (done.returncode, done.stdout) == (3, "FileNotFoundError\n"), done.stderr
    assert "going on" in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("otel-stageio:")]
    assert "cannot write the job folder" in line
    assert everything(job) == set()


# What a stage knows of itself.


def test_manifest_is_the_state_so_far(told):
    """`io.manifest` is plain JSON values of this moment: later calls do not change it, nor does it change the stage."""
    io = StageIO("asr", stage_number=1)
    io.add_config("beams", 5)
    before = io.manifest
    io.add_config("beams", 8)
    assert json.loads(json.dumps(before)) == before
    assert (before["status"], before["config"], io.manifest["config"]) == ("running", {"beams": 5}, {"beams": 8})
    before["config"]["beams"] = 1000
    assert io.manifest["config"] == {"beams": 8}
    io.finalize("skipped", reason="nothing to do")
    assert io.manifest == told(io).manifest


def test_manifest_is_on_disk_from_the_start(tmp_path):
    """manifest.json is there, with the status running, as soon as the stage is open."""
    io = StageIO("asr", stage_number=1)
    document = json.loads(io.manifest_path.read_bytes())
    assert (document["status"], document["completed_at"]) == ("running", None)
    assert json.loads(Path("out/manifest.json").read_bytes())["status"] == "running"


def test_repr_says_what_a_person_wants_to_know():
    """The repr names the stage, its number, how it stands, attempt, run and folder."""
    io = StageIO("asr", stage_number=6)
    assert repr(io) == "<StageIO 06 'asr': running, attempt 1, run 1, out/06_asr>"
    io.finalize("failed")
    assert repr(io) == "<StageIO 06 'asr': failed, attempt 1, run 1, out/06_asr>"


def test_settings_that_cannot_be_honoured_are_findings(monkeypatch, told):
    """A variable with a value outside its list is a warning of the stage; its default holds."""
    monkeypatch.setenv("STAGEIO_CHECKSUM", "md5")
    io = StageIO("asr", stage_number=1)
    io.finalize()
    (warning,) = told(io).warnings
    assert "STAGEIO_CHECKSUM='md5'" in warning


def test_without_manifest_none_of_an_earlier_attempt_stays():
    """With enable_manifest=False there is no manifest.json, also where an attempt before left one."""
    StageIO("asr", stage_number=1).finalize("failed")
    assert Path("out/01_asr/manifest.json").exists()
    StageIO("asr", enable_manifest=False, stage_number=1).finalize()
    assert not Path("out/01_asr/manifest.json").exists()


def test_the_logger_of_a_numbered_name():
    """get_stage_logger("05_x") is that of stage 5, also where a stage 6 of that name is open too."""
    fifth, sixth = StageIO("05_x"), StageIO("06_x")
    assert get_stage_logger("05_x") is fifth.get_stage_logger()
    assert get_stage_logger("x") is sixth.get_stage_logger()


@pytest.mark.parametrize("name", ["06_", "6_"])
def test_a_number_is_no_name(name: str):
    """A number without a name is refused."""
    with pytest.raises(StageNameError, match="number without a name"):
        StageIO(name)
