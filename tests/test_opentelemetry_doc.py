"""docs/opentelemetry.md says of every OTEL variable what it does, the guide of every STAGEIO variable."""

from __future__ import annotations

import fnmatch
import re
from importlib import import_module
from pathlib import Path

import pytest

from otel_stageio import settings
from otel_stageio.record.otel.carrier import VARIABLES

REPO = Path(__file__).resolve().parents[1]
GUIDE = (REPO / "docs" / "STAGE_LOGGING_IMPLEMENTATION_GUIDE.md").read_text(encoding="utf-8")
PAGE = (REPO / "docs" / "opentelemetry.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"`(OTEL_[A-Z_*]+)`")


def table() -> dict[str, str]:
    """What the page's last table says of each variable, or pattern of variables."""
    _, _, after = PAGE.partition("## The OTEL variables")
    rows = [line.strip("| ").split(" | ") for line in after.splitlines() if line.startswith("| `OTEL_")]
    return {name: says for names, says in rows for name in VARIABLE.findall(names)}


TABLE = table()
#: The variables of the table that it says change nothing, each with a value that would make itself felt.
IDLE = {
    "OTEL_TRACES_SAMPLER": "always_off",
    "OTEL_METRICS_EXPORTER": "otlp,console,nonesuch",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://127.0.0.1:9",
    "OTEL_BSP_MAX_QUEUE_SIZE": "-1",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "0",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": "0",
    "OTEL_PYTHON_ID_GENERATOR": "nonesuch",
    "OTEL_PYTHON_METER_PROVIDER": "nonesuch",
    "OTEL_CONFIG_FILE": "nonesuch.yaml",
    "OTEL_LOG_LEVEL": "nonesuch",
    "OTEL_PYTHON_TRACER_CONFIGURATOR": "nonesuch",
}
STAGE = """
import sys
from opentelemetry import trace
from otel_stageio import StageIO
with StageIO("asr", stage_number=6) as io:
    io.get_stage_logger().info("a message of some length", extra={"key": "value"})
    with io.step("decode"), trace.get_tracer("t").start_as_current_span("beam") as span:
        span.set_attribute("key", "a text of some length")
print(sorted(name for name in sys.modules if name.startswith("opentelemetry.sdk")))
"""


def said(name: str) -> str:
    """What the table says of a variable: the line that names it, else the one whose pattern it falls under."""
    found = [of for of in TABLE if of == name] or [of for of in TABLE if fnmatch.fnmatchcase(name, of)]
    assert len(found) == 1, f"{name}: {found or 'not on the page'}"
    return TABLE[found[0]]


@pytest.mark.parametrize("module", ["opentelemetry.environment_variables", "opentelemetry.sdk.environment_variables"])
def test_every_variable_is_in_the_table(module):
    """Each variable that OpenTelemetry's API and SDK know is in the table once."""
    names = [name for name in vars(import_module(module)) if name.startswith("OTEL_")]
    assert len(names) > 4
    for name in names:
        assert said(name)


class Asked(dict[str, str]):
    """An environment that keeps the names that were asked for."""

    def __init__(self, *args: object, **given: str) -> None:
        super().__init__(*args, **given)
        self.names: set[str] = set()

    def get(self, key, default=None):
        """Look a variable up."""
        self.names.add(key)
        return super().get(key, default)


def asked() -> set[str]:
    """Every variable that settings ask for: with nothing set, and with a general and a signal's own endpoint."""
    ways = [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://a"}]
    environments = [Asked(way) for way in ways]
    for each in environments:
        settings.load(environ=each, main_file=None)
    return set().union(*(each.names for each in environments))


def test_what_the_package_reads_is_said_to_count():
    """A variable that the package reads is named in the table as one that does something."""
    read = asked() | {
        name
        for path in (REPO / "otel_stageio").rglob("*.py")
        for name in re.findall(r'"(OTEL_[A-Z_]+)"', path.read_text(encoding="utf-8"))
    }
    read = {name for name in read if name.startswith("OTEL_")}
    assert len(read) > 20
    read.discard("OTEL_EXPORTER_OTLP")  # the beginning of the names of variables whose values are secrets
    assert [name for name in sorted(read) if name not in TABLE or said(name).startswith("nothing")] == []


def test_the_guide_has_every_variable_of_settings():
    """The guide's table names each variable that settings read, and no STAGEIO variable that they do not."""
    _, _, after = GUIDE.partition("## Settings")
    rows = "\n".join(line for line in after.splitlines() if line.startswith("| `"))
    told = {name for name in re.findall(r"`([A-Z][A-Z_]+)", rows) if name not in ("INFO", "DEBUG")}
    read = asked()
    assert {name for name in told if name.startswith("STAGEIO_")} == {
        name for name in read if name.startswith("STAGEIO_")
    }
    assert {name for name in read if not name.startswith("OTEL_")} - told == set()
    for name in told:
        assert name in read | set(VARIABLES), name


def test_the_others_change_nothing(run_script, tmp_path):
    """With all of the others set, to what would be felt, a stage leaves the same, loads no SDK and says nothing."""
    assert [name for name in IDLE if not said(name).startswith("nothing")] == []
    left = []
    for environment in ({}, IDLE):
        (tmp_path / str(len(left))).mkdir()
        ran = run_script(STAGE, env={**environment, "STAGEIO_CONSOLE": "off"}, cwd=tmp_path / str(len(left)))
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[]\n", "")
        files = sorted((tmp_path / str(len(left))).rglob("*.jsonl"))
        left.append([(path.name, shape(path.read_text(encoding="utf-8"))) for path in files])
    assert left[0] == left[1]


def shape(text: str) -> str:
    """The text of a journal without what differs from process to process: numbers, ids, paths, the command."""
    lines = [line for line in text.splitlines() if "stageio.stage.started" not in line and "stageio.git" not in line]
    return re.sub(r"[0-9a-f]*[0-9][0-9a-f.]*", "#", "\n".join(lines))
