"""Settings: every variable, the pyproject.toml they fall back to, and values that cannot be honoured."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_stageio import settings
from otel_stageio.errors import SettingError, StageIOError

ROOT = Path(__file__).parents[1]


def load(tmp_path, project=None, main_file=None, **environ):
    """Load from these variables alone, with `project` as the pyproject.toml of the working directory."""
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    return settings.load(environ=environ, main_file=main_file, cwd=str(tmp_path))


def test_defaults_hold_where_nothing_is_said(tmp_path):
    """Without variables and without a pyproject.toml every setting has its documented default."""
    assert load(tmp_path) == settings.Settings(
        job_dir=None,
        mode="auto",
        run=None,
        item="",
        attempt="",
        rank=0,
        rank_source="",
        stages=(),
        stages_source="",
        console="auto",
        color=True,
        capture="stage",
        checksum="auto",
        checksum_wait=300.0,
        sigterm=True,
        tracer=True,
        redact=(),
        service_name="stageio",
        resource_attributes=(),
        export=settings.Export(),
        problems=(),
    )


def test_every_variable_is_read(tmp_path):
    """Each variable arrives in its setting."""
    assert load(
        tmp_path,
        STAGEIO_JOB_DIR="/data/job",
        OUTPUT_DIR="/data/other",
        STAGEIO_MODE="file",
        STAGEIO_RUN="nightly 12",
        STAGEIO_ITEM="ep042",
        STAGEIO_ATTEMPT="/data/job/06_asr/.stageio/001",
        RANK="none",
        SLURM_PROCID="3",
        STAGEIO_STAGES="ingest, 06_asr\tscore",
        STAGEIO_CONSOLE="stdout",
        NO_COLOR="1",
        STAGEIO_CAPTURE="root",
        STAGEIO_CHECKSUM="stat",
        STAGEIO_CHECKSUM_WAIT="1.5",
        STAGEIO_SIGTERM="off",
        STAGEIO_REDACT="patient_id=, !demo-[0-9]+",
        STAGEIO_TRACER="off",
        STAGEIO_SHIP_LEVEL="info",
        OTEL_SERVICE_NAME="speech",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=night",
    ) == settings.Settings(
        job_dir="/data/job",
        mode="file",
        run="nightly 12",
        item="ep042",
        attempt="/data/job/06_asr/.stageio/001",
        rank=3,
        rank_source="SLURM_PROCID",
        stages=("ingest", "06_asr", "score"),
        stages_source="STAGEIO_STAGES",
        console="stdout",
        color=False,
        capture="root",
        checksum="stat",
        checksum_wait=1.5,
        sigterm=False,
        tracer=False,
        redact=("patient_id=", "!demo-[0-9]+"),
        service_name="speech",
        resource_attributes=(("deployment.environment.name", "night"),),
        export=settings.Export(ship_level=9),
        problems=(),
    )


def test_an_empty_variable_is_unset(tmp_path):
    """An empty value counts as none at all, and is no problem."""
    names = [
        "STAGEIO_JOB_DIR", "OUTPUT_DIR", "STAGEIO_MODE", "STAGEIO_RUN", "STAGEIO_STAGES", "STAGEIO_CONSOLE", "NO_COLOR",
        "STAGEIO_CAPTURE", "STAGEIO_CHECKSUM", "STAGEIO_CHECKSUM_WAIT", "STAGEIO_SIGTERM", "STAGEIO_TRACER",
        "OTEL_SERVICE_NAME", "TERM", "OTEL_RESOURCE_ATTRIBUTES", "STAGEIO_REDACT",
    ]  # fmt: skip
    assert load(tmp_path, **dict.fromkeys(names, "")) == load(tmp_path)


def test_the_job_folder_falls_back_to_output_dir(tmp_path):
    """OUTPUT_DIR names the job folder where STAGEIO_JOB_DIR is unset or empty."""
    assert load(tmp_path, STAGEIO_JOB_DIR="", OUTPUT_DIR="out/x ").job_dir == "out/x "


def test_words_may_be_written_in_capitals_and_with_blanks(tmp_path):
    """Shell habits such as capitals and blanks around a word are understood."""
    loaded = load(tmp_path, STAGEIO_MODE=" OFF ", STAGEIO_SIGTERM="Off", STAGEIO_CHECKSUM_WAIT=" 0 ")
    assert (loaded.mode, loaded.sigterm, loaded.checksum_wait, loaded.problems) == ("off", False, 0.0, ())


@pytest.mark.parametrize(
    ("name", "value", "used", "sentence"),
    [
        ("STAGEIO_MODE", "on", {"mode": "auto"}, "STAGEIO_MODE='on' is not one of auto, file, off; auto is used."),
        (
            "STAGEIO_CONSOLE",
            "tty",
            {"console": "auto"},
            "STAGEIO_CONSOLE='tty' is not one of auto, stderr, stdout, off; auto is used.",
        ),
        (
            "STAGEIO_CAPTURE",
            "all",
            {"capture": "stage"},
            "STAGEIO_CAPTURE='all' is not one of stage, root; stage is used.",
        ),
        (
            "STAGEIO_CHECKSUM",
            "md5",
            {"checksum": "auto"},
            "STAGEIO_CHECKSUM='md5' is not one of auto, sha256, stat, off; auto is used.",
        ),
        ("STAGEIO_SIGTERM", "no", {"sigterm": True}, "STAGEIO_SIGTERM='no' is not one of on, off; on is used."),
        ("STAGEIO_TRACER", "no", {"tracer": True}, "STAGEIO_TRACER='no' is not one of on, off; on is used."),
        *(
            (
                "STAGEIO_CHECKSUM_WAIT",
                value,
                {"checksum_wait": 300.0},
                f"STAGEIO_CHECKSUM_WAIT={value!r} is not a number of seconds from 0 up; 300 is used.",
            )
            for value in ("soon", "-1", "nan", "inf", "1e999")
        ),
    ],
)
def test_a_value_outside_its_list_becomes_a_problem(tmp_path, name, value, used, sentence):
    """A wrong value costs one sentence with variable, value and what is allowed; the default is used."""
    loaded = load(tmp_path, **{name: value})
    assert loaded == load(tmp_path)._replace(**used, problems=(sentence,))


@pytest.mark.parametrize(
    ("environ", "color"),
    [({"NO_COLOR": "0"}, False), ({"TERM": "dumb"}, False), ({"TERM": "xterm"}, True), ({"NO_COLOR": ""}, True)],
)
def test_colours_can_be_declined(tmp_path, environ, color):
    """Any NO_COLOR that is not empty, and a dumb terminal, switch colours off."""
    assert load(tmp_path, **environ).color is color


def test_pyproject_speaks_where_the_environment_does_not(tmp_path):
    """[tool.stageio] gives stages, checksum and pipeline, and the message's source names the file."""
    project = '[project]\nname = "p"\n[tool.stageio]\nstages = ["a", "05_b"]\nchecksum = "off"\npipeline = "nightly"\n'
    loaded = load(tmp_path, project)
    assert (loaded.stages, loaded.stages_source) == (
        ("a", "05_b"),
        f"[tool.stageio] stages in {tmp_path / 'pyproject.toml'}",
    )
    assert (loaded.checksum, loaded.service_name, loaded.problems) == ("off", "nightly", ())


def test_the_environment_wins_over_pyproject(tmp_path):
    """A variable hides what pyproject.toml says; a wrong one falls back to it."""
    project = '[tool.stageio]\nstages = ["a"]\nchecksum = "off"\npipeline = "nightly"\n'
    loaded = load(tmp_path, project, STAGEIO_STAGES="b", STAGEIO_CHECKSUM="sha256", OTEL_SERVICE_NAME="s")
    assert (loaded.stages, loaded.checksum, loaded.service_name) == (("b",), "sha256", "s")
    assert load(tmp_path, STAGEIO_CHECKSUM="crc").checksum == "off"


def test_patterns_of_the_variable_and_of_pyproject_hold_together(tmp_path):
    """What pyproject.toml hides is hidden still where STAGEIO_REDACT names more."""
    project = """[tool.stageio]\nredact = ["ACME-[0-9]{2,4}", "a,b", "!x="]\n"""
    loaded = load(tmp_path, project, STAGEIO_REDACT="patient_id=")
    assert (loaded.redact, loaded.problems) == (("ACME-[0-9]{2,4}", "a,b", "!x=", "patient_id="), ())


def test_patterns_are_separated_by_commas_and_lines(tmp_path):
    """A comma ends a pattern, except in a count; blanks around a pattern are no part of it, blanks in it are."""
    loaded = load(tmp_path, STAGEIO_REDACT=" a b ,,c{2,4}d{3,}\n e=, !f")
    assert (loaded.redact, loaded.problems) == (("a b", "c{2,4}d{3,}", "e=", "!f"), ())


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(", "'(' is no regular expression (missing ), unterminated subpattern at position 0); it is passed over."),
        ("[[a]", "'[[a]' is no regular expression (Possible nested set at position 1); it is passed over."),
        ("x*", "'x*' matches the empty text; it is passed over."),
        (".*=", "'.*=' matches the empty text; it is passed over."),
        ("=", "'=' matches the empty text; it is passed over."),
        ("!", "'!' matches the empty text; it is passed over."),
    ],
)
def test_a_pattern_that_cannot_be_used_becomes_a_problem(tmp_path, pattern, sentence):
    """A pattern that is none, or that would hide everything, costs one sentence; the others hold."""
    loaded = load(tmp_path, STAGEIO_REDACT=f"a\n{pattern}\n!.*")
    assert (loaded.redact, loaded.problems) == (("a", "!.*"), (f"STAGEIO_REDACT: {sentence}",))
    (tmp_path / "pyproject.toml").write_text(f"[tool.stageio]\nredact = ['{pattern}', 'b']\n", encoding="utf-8")
    loaded = load(tmp_path)
    where = f"[tool.stageio] redact in {tmp_path / 'pyproject.toml'}"
    assert (loaded.redact, loaded.problems) == (("b",), (f"{where}: {sentence}",))


def test_the_service_is_named_in_the_documented_order(tmp_path):
    """OTEL_SERVICE_NAME, service.name of the resource attributes, pipeline, project name: the first that is there."""
    attributes = "host.name=h, service.name = my%20speech ,broken"
    assert load(tmp_path, OTEL_SERVICE_NAME="a", OTEL_RESOURCE_ATTRIBUTES=attributes).service_name == "a"
    assert load(tmp_path, OTEL_RESOURCE_ATTRIBUTES=attributes).service_name == "my speech"
    assert load(tmp_path, OTEL_RESOURCE_ATTRIBUTES="service.name=").service_name == "stageio"
    assert load(tmp_path, '[project]\nname = "p"\n').service_name == "p"
    assert load(tmp_path, '[project]\nname = "p"\n[tool.stageio]\npipeline = ""\n').service_name == "p"


def test_the_main_scripts_project_is_nearest(tmp_path):
    """The pyproject.toml upward from the script's folder wins over the working directory's."""
    scripts = tmp_path / "repo" / "a" / "b"
    scripts.mkdir(parents=True)
    (tmp_path / "repo" / "pyproject.toml").write_text('[project]\nname = "repo"\n', encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "outer"\n', encoding="utf-8")
    assert load(tmp_path, main_file=str(scripts / "run.py")).service_name == "repo"
    assert load(tmp_path, main_file="repo/a/run.py").service_name == "repo"
    assert load(tmp_path, main_file=None).service_name == "outer"
    assert load(tmp_path, '[project]\nname = "cwd"\n', main_file="/nowhere/bin/run.py").service_name == "cwd"


def test_a_folder_of_that_name_is_no_project(tmp_path):
    """Only a plain file is read: a folder or a pipe called pyproject.toml is passed by."""
    inner = tmp_path / "a" / "b"
    (inner / "pyproject.toml").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / "pyproject.toml")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\n', encoding="utf-8")
    loaded = settings.load(environ={}, main_file=None, cwd=str(inner))
    assert (loaded.service_name, loaded.problems) == ("p", ())


@pytest.mark.parametrize(
    ("project", "sentence"),
    [
        ("tool = 3\n", "[tool] in {} is 3 and not a table; it is passed over."),
        ('[tool]\nstageio = "x"\n', "[tool.stageio] in {} is 'x' and not a table; it is passed over."),
        (
            '[tool.stageio]\nstages = "a b"\n',
            "[tool.stageio] stages in {} is 'a b' and not a list of stage names; no order is declared.",
        ),
        (
            '[tool.stageio]\nstages = ["a", 2]\n',
            "[tool.stageio] stages in {} is ['a', 2] and not a list of stage names; no order is declared.",
        ),
        (
            "[tool.stageio]\nchecksum = true\n",
            "[tool.stageio] checksum in {} is True and not one of auto, sha256, stat, off; auto is used.",
        ),
        (
            '[tool.stageio]\nredact = "password"\n',
            "[tool.stageio] redact in {} is 'password' and not a list of patterns; it is passed over.",
        ),
        ("[tool.stageio]\npipeline = 7\n", "[tool.stageio] pipeline in {} is 7 and not text; it is passed over."),
        ("[project]\nname = []\n", "[project] name in {} is [] and not text; it is passed over."),
    ],
)
def test_wrong_types_in_pyproject_become_problems(tmp_path, project, sentence):
    """A value of the wrong type costs one sentence with the file's path and is passed over."""
    loaded = load(tmp_path, project)
    assert loaded.problems == (sentence.format(tmp_path / "pyproject.toml"),)
    assert (loaded.stages, loaded.stages_source, loaded.checksum, loaded.service_name) == ((), "", "auto", "stageio")


@pytest.mark.parametrize("content", [b"[tool", b"\xff\xfe", b"x = " + b"[" * 100_000])
def test_a_broken_pyproject_becomes_a_problem(tmp_path, content):
    """A pyproject.toml that is no TOML, no UTF-8 or nested without end stops nobody."""
    (tmp_path / "pyproject.toml").write_bytes(content)
    loaded = load(tmp_path)
    assert loaded.service_name == "stageio"
    assert [one.startswith(f"{tmp_path / 'pyproject.toml'} cannot be read (") for one in loaded.problems] == [True]


def test_a_path_that_cannot_be_looked_at_becomes_a_problem(tmp_path, monkeypatch):
    """A folder that refuses to be looked into costs a sentence, and the search goes on above it."""
    inner = tmp_path / "inner"
    inner.mkdir()
    refused = str(inner / "pyproject.toml")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\n', encoding="utf-8")
    ask = os.stat

    def refuse(path, **options):
        if os.fspath(path) == refused:
            raise PermissionError(13, "Permission denied")
        return ask(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    loaded = settings.load(environ={}, main_file=None, cwd=str(inner))
    assert loaded.service_name == "p"
    assert [one.startswith(f"{refused!r} cannot be looked at (") for one in loaded.problems] == [True]


def test_a_vanished_working_directory_becomes_a_problem(tmp_path, monkeypatch):
    """A process whose working directory was removed still gets its settings."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    loaded = settings.load(environ={"STAGEIO_MODE": "off"}, main_file=None)
    assert (loaded.mode, loaded.service_name) == ("off", "stageio")
    assert [one.startswith("The working directory cannot be asked for (") for one in loaded.problems] == [True]


def test_load_reads_the_process_itself(tmp_path):
    """Called without arguments it takes the process's environment, main script and working directory."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "pyproject.toml").write_text('[project]\nname = "app"\n', encoding="utf-8")
    script = tmp_path / "app" / "main.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom otel_stageio import settings\n"
        "loaded = settings.load()\nprint(loaded.service_name, loaded.run)\n",
        encoding="utf-8",
    )
    environ = {**settings.environment(), "STAGEIO_RUN": "r7"}
    environ.pop("OTEL_SERVICE_NAME", None)
    environ.pop("OTEL_RESOURCE_ATTRIBUTES", None)
    done = subprocess.run(
        [sys.executable, "app/main.py"], cwd=tmp_path, env=environ, check=True, capture_output=True, text=True
    )
    assert done.stdout == "app r7\n"


def test_toml_is_imported_only_where_there_is_a_pyproject(tmp_path):
    """Without a pyproject.toml no TOML parser is loaded: start-up time matters."""
    code = (
        "import sys; from otel_stageio import settings; settings.load(environ={}, main_file=None, cwd=sys.argv[1]);"
        "print(sorted({'tomllib', 'tomli', 'urllib.parse'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_environment_is_a_copy(monkeypatch):
    """What a caller does to the environment it was given does not reach this process."""
    monkeypatch.setenv("STAGEIO_RUN", "r1")
    copy = settings.environment()
    assert copy == dict(os.environ)
    copy["STAGEIO_RUN"] = "r2"
    assert os.environ["STAGEIO_RUN"] == "r1"


def test_choice_gives_back_an_allowed_value():
    """An argument inside its list passes unchanged."""
    assert settings.choice("mode", "file", settings.MODES) == "file"


@pytest.mark.parametrize("value", ["File", "", None, 3, b"file"])
def test_choice_refuses_what_is_not_in_the_list(value):
    """An argument outside its list raises an error that names the argument and what is allowed."""
    with pytest.raises(SettingError) as caught:
        settings.choice("mode", value, settings.MODES)
    assert str(caught.value) == f"mode={value!r} is not one of auto, file, off"
    assert isinstance(caught.value, StageIOError)


def test_only_settings_reads_the_environment():
    """No other module of the package uses os.environ or its kin."""
    kin = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}

    def asks(node):
        if isinstance(node, ast.Attribute):
            return isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr in kin
        return isinstance(node, ast.ImportFrom) and node.module == "os" and any(one.name in kin for one in node.names)

    package = ROOT / "otel_stageio"
    readers = [
        str(path.relative_to(package))
        for path in sorted(package.rglob("*.py"))
        if any(asks(node) for node in ast.walk(ast.parse(path.read_bytes())))
    ]
    assert readers == ["settings/__init__.py"]
