from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_stageio import demo

AS_MODULE = "import runpy; runpy.run_module('otel_stageio.demo', run_name='__main__', alter_sys=True)"


@pytest.fixture
def job(tmp_path):
    """A job in which the example was recorded."""
    folder = tmp_path / "job"
    demo.record(folder)
    return folder


def broken_checks(job):
    """The checks that do not hold."""
    return [says for says, holds in demo.check(job).items() if not holds]


def test_example_is_recorded_and_checked(tmp_path, capsys):
    """The demo exits with 0, says ok for every check, and shows the files."""
    code = demo.main([str(tmp_path / "job")])
    shown = capsys.readouterr().out
    assert code == 0
    assert shown.count("\nok    ") == len(demo.CHECKS)
    assert "FAILED" not in shown
    for name in ("01_count/", "02_report/", "03_publish/", "stage.log", "events.jsonl"):
        assert name in shown


def test_stages_exit_as_scripts_would(tmp_path):
    """A success and a skip give 0 to the shell, a failure gives 1."""
    assert demo.record(tmp_path) == [0, 1, 0]


def test_runs_as_module_in_a_folder_of_its_own(run_script, tmp_path):
    """`python -m otel_stageio.demo` needs no argument: it names the temporary folder that it leaves."""
    ran = run_script(AS_MODULE, env={"TMPDIR": str(tmp_path)})
    (job,) = tmp_path.glob("stageio-demo-*")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Recording three stages in {job}\n" in ran.stdout
    assert ran.stdout.endswith(f"All {len(demo.CHECKS)} checks hold. See {job}\n")


def test_can_be_repeated_in_the_same_folder(run_script, tmp_path):
    """A second process records a second run in the same job, and everything holds again."""
    codes = [run_script(AS_MODULE, tmp_path / "job").returncode for _ in range(2)]
    assert codes == [0, 0]
    assert [demo.Recorded(tmp_path / "job").manifest(stage)["run"] for stage in demo.STAGES] == [2, 2, 2]


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--unknown"], 2), (["a", "b"], 2)])
def test_usage(arguments, code, capsys):
    """Help is no mistake; what is not understood is one, and records nothing."""
    assert demo.main(arguments) == code
    assert "usage: python -m otel_stageio.demo [FOLDER]" in capsys.readouterr().out
    assert list(Path().iterdir()) == []


def test_no_check_holds_in_an_empty_folder(tmp_path):
    """No check passes for want of files."""
    assert broken_checks(tmp_path) == list(demo.CHECKS)


def test_damage_is_found(job, capsys, monkeypatch):
    """A check that fails is printed as such and decides the exit code."""
    monkeypatch.setattr(demo, "record", lambda job: (job / "02_report" / "manifest.json").unlink())
    assert demo.main([str(job)]) == 1
    shown = capsys.readouterr().out
    assert "FAILED report is a failure, and its exception is recorded with its stack trace\n" in shown
    assert "ok     count is a success\n" in shown


@pytest.mark.parametrize(
    ("stage", "change", "check"),
    [
        ("count", {"status": "failed"}, "count is a success"),
        ("count", {"inputs": []}, "its input is recorded with its metadata"),
        ("count", {"intermediate_files": []}, "its intermediate file is recorded as retained, with the reason"),
        ("count", {"warnings": []}, "its configuration, its metric and its warning are recorded"),
        ("report", {"stage_number": 7}, "the stages have the numbers of their declared order"),
        ("report", {"trace_id": "0" * 32}, "all stages are in one trace"),
        ("publish", {"reason": ""}, "publish is skipped, with its reason"),
        ("", {"skipped_stages": []}, "the job's manifest lists one of each, and the job has failed"),
    ],
)
def test_wrong_manifest_is_found(job, stage, change, check):
    """Each check of a manifest fails, and no other, when what it looks at is wrong."""
    files = demo.Recorded(job)
    path = (files.folder(stage) if stage else job) / "manifest.json"
    path.write_text(json.dumps({**files.manifest(stage), **change}), encoding="utf-8")
    assert broken_checks(job) == [check]


@pytest.mark.parametrize(
    ("file", "extra", "check"),
    [
        ("01_count/counts.json", " ", "its output is recorded with the checksum of the file"),
        ("logs/*.log", "The first words", "its DEBUG line is in stage.log and not in the pipeline log"),
        ("logs/*.log", "Traceback", "its ERROR line is in both logs, the traceback in stage.log only"),
        ("01_count/.stageio/*/events.jsonl", "torn", "every line of the journals is JSON"),
    ],
)
def test_wrong_file_is_found(job, file, extra, check):
    """Each check of another file fails, and no other, when something was added that does not belong there."""
    (path,) = job.glob(file)
    path.write_text(path.read_text(encoding="utf-8") + extra, encoding="utf-8")
    assert broken_checks(job) == [check]


def test_tree(tmp_path):
    """The tree shows files before folders, each with its size, and does not follow links."""
    (tmp_path / "job" / "b" / "deep").mkdir(parents=True)
    (tmp_path / "job" / "a.txt").write_text("x" * 1234, encoding="utf-8")
    (tmp_path / "job" / "b" / "deep" / "c").touch()
    (tmp_path / "job" / "b" / "up").symlink_to("..")
    assert demo.tree(tmp_path / "job").splitlines() == [
        f"{tmp_path}/job/",
        "|-- a.txt  1,234 bytes",
        "`-- b/",
        "    |-- up  2 bytes",
        "    `-- deep/",
        "        `-- c  0 bytes",
    ]
