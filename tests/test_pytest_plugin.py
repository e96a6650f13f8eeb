"""The fixture `stage_io`, in test runs of their own, as a suite that has the package installed would see it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_stageio import open_job
from tests.conftest import clean_environment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.read.job import Job

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a file of tests with the plugin; jobs are below tmp_path/base, in a folder for each test."""

    def run(source: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "test_suite.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        base = str(tmp_path / "base")
        plugins = ["-p", "otel_stageio.pytest_plugin", "-p", "no:cacheprovider"]
        strict = ["-q", "-W", "error", "--strict-markers", f"--basetemp={base}", f"--rootdir={tmp_path}"]
        return subprocess.run(
            [sys.executable, "-m", "pytest", *plugins, *strict, *options, str(path)],
            env=clean_environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environ}),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def job_of(tmp_path: Path, test: str) -> Job:
    """The job that a test of the suite left."""
    return open_job(tmp_path / "base" / f"{test}0" / "job")


def rows(tmp_path: Path, test: str) -> list[tuple[str, str, str | None]]:
    """Folder, status and reason of each stage of that job."""
    return [(row["folder"], row["status"], row["reason"]) for row in job_of(tmp_path, test).stages]


def test_stage_is_open_in_the_test_and_ended_after_it(suite, tmp_path):
    """The stage is open under tmp_path, what the test does with it is on record, and it ends as the test does."""
    ran = suite("""
        def test_good(stage_io, tmp_path):
            assert stage_io.stage_dir == tmp_path / "job" / "00_test"
            stage_io.track_output(stage_io.save_json([1], "a.json"), "numbers")
            assert [one["path"] for one in stage_io.manifest["outputs"]] == ["00_test/a.json"]

        def test_bad(stage_io):
            assert stage_io.manifest["status"] == "failed"

        def test_after_a_bad_one(stage_io):
            assert stage_io.manifest["status"] == "running"
    """)
    assert ran.returncode == 1, ran.stdout
    assert "1 failed, 2 passed" in ran.stdout
    assert rows(tmp_path, "test_good") == [("00_test", "success", None)]
    assert [row["path"] for row in job_of(tmp_path, "test_good").artifacts()] == ["00_test/a.json"]
    assert rows(tmp_path, "test_bad") == [("00_test", "failed", "the test failed")]
    assert rows(tmp_path, "test_after_a_bad_one") == [("00_test", "success", None)]


def test_mark_gives_the_arguments(suite, tmp_path):
    """The mark, also a class's, names the stage and takes StageIO's keywords; without a name it is the default's."""
    ran = suite("""
        import pytest

        @pytest.mark.stage_io("asr", stages=["ingest", "asr"])
        class TestAsr:
            def test_name(self, stage_io):
                assert (stage_io.stage_name, stage_io.stage_number) == ("asr", 2)

        @pytest.mark.stage_io(checksum="off")
        def test_keyword(stage_io):
            assert (stage_io.stage_name, stage_io.stage_number) == ("test", 0)
    """)
    assert ran.returncode == 0, ran.stdout
    assert rows(tmp_path, "test_name") == [("02_asr", "success", None)]


def test_test_may_end_the_stage_itself(suite, tmp_path):
    """A stage that the test ended stays as it is, without a word about a second end."""
    ran = suite("""
        def test_skips(stage_io):
            stage_io.finalize("skipped", reason="no speech")
    """)
    assert ran.returncode == 0, ran.stdout
    assert rows(tmp_path, "test_skips") == [("00_test", "skipped", "no speech")]
    assert job_of(tmp_path, "test_skips").manifest("test")["warnings"] == []


def test_stages_of_the_code_under_test_are_in_the_job(suite, tmp_path):
    """A stage that the test opens lands in the same job and run, is read by `stage_io`, and is ended if it was not."""
    ran = suite("""
        from otel_stageio import StageIO

        def test_two(stage_io):
            with StageIO("01_split") as io:
                io.save_json(["a"], "words.json")
            assert stage_io.load_json("words.json", "split") == ["a"]
            StageIO("02_count")
    """)
    assert ran.returncode == 0, ran.stdout
    assert rows(tmp_path, "test_two") == [
        ("00_test", "success", None),
        ("01_split", "success", None),
        ("02_count", "failed", "not finalized"),
    ]
    assert {row["run"] for row in job_of(tmp_path, "test_two").stages} == {1}


def test_nothing_is_shown_sent_or_taken_from_the_caller(suite, tmp_path):
    """No console, no network, no run or trace of the caller, and after the test the environment is as before."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ran = suite(
        """
        import os
        import socket

        def test_silent(stage_io, monkeypatch):
            monkeypatch.setattr(socket.socket, "connect", lambda *_: 1 / 0)
            stage_io.get_stage_logger().warning("nobody sees this")
            stage_io.finalize("success")

        def test_later():
            assert os.environ["STAGEIO_RUN"] == "night"
            assert "STAGEIO_MODE" not in os.environ
        """,
        "-s",
        TRACEPARENT=traceparent,
        STAGEIO_RUN="night",
        STAGEIO_JOB_DIR=str(tmp_path / "elsewhere"),
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    assert ran.returncode == 0, ran.stdout
    assert "nobody" not in ran.stdout
    assert not (tmp_path / "elsewhere").exists()
    (row,) = job_of(tmp_path, "test_silent").stages
    assert row["trace_id"] not in traceparent
    assert row["run_name"] is None
    assert not list((tmp_path / "base").rglob("shipped.json"))


def test_rank_of_the_process_is_not_the_stages(suite, tmp_path):
    """In a launcher's rank above 0 the stage is opened at once and without a warning, and the test sees its rank."""
    ran = suite(
        """
        import os

        def test_rank(stage_io):
            assert os.environ["RANK"] == "3"
            assert stage_io.manifest["warnings"] == []
        """,
        RANK="3",
        SLURM_PROCID="3",
    )
    assert ran.returncode == 0, ran.stdout
    (row,) = job_of(tmp_path, "test_rank").stages
    assert row["duration_seconds"] < 5


def test_caplog_sees_the_records(suite):
    """The own fixture of pytest, `caplog`, has what the stage's logger says."""
    ran = suite("""
        def test_logs(stage_io, caplog):
            stage_io.get_stage_logger().warning("quiet recording")
            assert caplog.messages == ["quiet recording"]
    """)
    assert ran.returncode == 0, ran.stdout


def test_nothing_is_left_open(suite):
    """After a hundred tests there are the files, the threads, the tracer provider and the signal handlers of before."""
    ran = suite("""
        import os
        import signal
        import threading

        import pytest
        from opentelemetry import trace

        def state():
            return (
                sorted(os.listdir("/proc/self/fd")),
                threading.active_count(),
                trace._TRACER_PROVIDER,
                signal.getsignal(signal.SIGTERM),
                trace.get_current_span().get_span_context().is_valid,
            )

        def test_warm_up(stage_io):
            pass

        def test_before(request):
            request.config.before = state()

        @pytest.mark.parametrize("n", range(100))
        def test_many(stage_io, n):
            stage_io.track_output(stage_io.save_json([n], "a.json"), "numbers")

        def test_after(request):
            assert state() == request.config.before
    """)
    assert ran.returncode == 0, ran.stdout


def test_works_under_xdist(suite, tmp_path):
    """Tests in several processes have jobs of their own, and each stage ends as its test does."""
    ran = suite(
        """
        import pytest

        @pytest.mark.parametrize("n", range(8))
        def test_many(stage_io, n):
            assert n % 2
        """,
        *("-p", "xdist", "-n2"),
    )
    assert "4 failed, 4 passed" in ran.stdout
    jobs = [job for job in (tmp_path / "base").rglob("test_many*/job") if not job.parent.is_symlink()]
    statuses = [row["status"] for job in jobs for row in open_job(job).stages]
    assert sorted(statuses) == ["failed"] * 4 + ["success"] * 4


def test_suite_that_does_not_use_it_loads_nothing(suite):
    """The plugin brings itself and the package's list of names, and no hook that is called for a test."""
    ran = suite("""
        import sys

        def test_modules():
            import pytest
            from otel_stageio import pytest_plugin

            ours = sorted(name for name in sys.modules if name.startswith(("otel_stageio", "opentelemetry")))
            assert ours == ["otel_stageio", "otel_stageio.pytest_plugin"]
            assert [name for name in dir(pytest_plugin) if name.startswith("pytest_")] == ["pytest_configure"]
    """)
    assert ran.returncode == 0, ran.stdout


def test_plugin_costs_next_to_nothing(run_script):
    """Importing the plugin where pytest is loaded takes a few milliseconds at most, package and all."""
    ran = run_script("""
        import time
        import pytest
        took = []
        import sys
        for _ in range(20):
            for name in [name for name in sys.modules if name.startswith("otel_stageio")]:
                del sys.modules[name]
            start = time.perf_counter()
            import otel_stageio.pytest_plugin
            took.append(time.perf_counter() - start)
        print(min(took))
    """)
    assert float(ran.stdout) < 0.005, ran.stderr


def test_pytest_is_told_of_the_plugin():
    """pyproject.toml names the module by which pytest finds the plugin."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"stageio": "otel_stageio.pytest_plugin"}
    assert os.path.exists(REPO / "otel_stageio" / "pytest_plugin.py")
