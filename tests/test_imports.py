"""What a stage that writes files only loads: the OpenTelemetry API, and nothing that costs time for nothing."""

from __future__ import annotations

import json

import pytest

HEAVY = [
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "opentelemetry.proto",
    "google.protobuf",
    "grpc",
    "requests",
    "urllib3",
    "psutil",
    "subprocess",
    "asyncio",
    "concurrent.futures",
    "multiprocessing",
    "socket",
    "ssl",
    "http",
    "email",
    "tempfile",
    "shutil",
    "tomllib",
    "tomli",
    "importlib.metadata",
    "numpy",
]
#: What a stage loads when it first needs it.
LATER = [
    "_struct",
    "base64",
    "datetime",
    "glob",
    "hashlib",
    "heapq",
    "select",
    "opentelemetry._logs",
    "opentelemetry.baggage",
    "opentelemetry.propagate",
    "otel_stageio.job.lineage",
    "otel_stageio.job.search",
    "otel_stageio.read",
    "otel_stageio.record.logs.capture",
    "otel_stageio.record.otel.logs",
    "otel_stageio.record.otel.sdk",
    "otel_stageio.record.secrets.addresses",
    "otel_stageio.record.secrets.commands",
    "otel_stageio.record.secrets.pairs",
    "otel_stageio.record.secrets.shapes",
]
EMPTY = """
import json, sys
from otel_stageio import StageIO
io = StageIO("asr", "out", stage_number=6)
io.get_stage_logger().info("hello")
io.finalize()
print(json.dumps(sorted(sys.modules)))
"""
STAGE = """
import json, sys
before = set(sys.modules)
from otel_stageio import StageIO
with StageIO("asr", "out", stage_number=6) as io:
    io.get_stage_logger().info("hello")
    io.track_input(__file__, "script")
    io.save_json({"a": 1}, "a.json")
    io.track_output(io.get_output_path("a.json"), "json")
    io.set_config({"model": "m"})
    io.add_metric("wer", 0.5)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture
def loaded(run_script):
    """Run a script; give the modules that it printed as loaded."""

    def run(source: str, *args: str) -> set[str]:
        done = run_script(source, *args)
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout.splitlines()[-1]))

    return run


def test_stage_loads_the_api_and_no_more(loaded):
    """A whole stage in file-only mode loads opentelemetry.trace, and neither SDK, exporters, network nor psutil."""
    modules = loaded(STAGE)
    # What the API itself brings along, on this version of it and of Python, is free.
    free = loaded("import sys, json; import opentelemetry.trace; print(json.dumps(sorted(sys.modules)))")
    assert "opentelemetry.trace" in modules
    assert [name for name in HEAVY if name in modules - free] == []
    assert [name for name in modules if name.startswith("opentelemetry.") and name not in free] == []


def test_empty_stage_loads_what_it_uses(loaded):
    """A stage that logs and ends, and no more, does not load what tracking, reading or a rare value would need."""
    free = loaded("import sys, json; import opentelemetry.trace, pathlib; print(json.dumps(sorted(sys.modules)))")
    assert [name for name in [*HEAVY, *LATER] if name in loaded(EMPTY) - free] == []


def test_empty_stage_compiles_no_patterns(loaded):
    """No module that an empty stage loads compiles patterns as it is loaded, but for the two that each line meets."""
    source = f"""{EMPTY}
import re
made = []
compile = re._compile
re._compile = lambda *of: made.append(sys._getframe(2).f_globals["__name__"]) or compile(*of)
for name in [name for name in sys.modules if name.startswith("otel_stageio.")]:
    del sys.modules[name]
from otel_stageio.record import stage
print(json.dumps(made))
"""
    assert loaded(source) == {"otel_stageio.record.secrets.redaction", "otel_stageio.journal.decode"}


def test_fields_of_large_named_tuples_are_no_references(loaded):
    """Of a named tuple with more than six fields none is typed by text, which typing would compile at each start."""
    source = f"""{EMPTY}
found = {{}}
for module in [of for name, of in sys.modules.items() if name.startswith("otel_stageio.")]:
    for of in vars(module).values():
        if isinstance(of, type) and len(getattr(of, "_fields", ())) > 6 and of.__module__ == module.__name__:
            texts = [each for each in of.__annotations__.values() if type(each).__name__ in ("str", "ForwardRef")]
            found[f"{{module.__name__}}.{{of.__name__}}"] = len(texts)
print(json.dumps([f"{{name}} {{texts}}" for name, texts in found.items()]))
"""
    found = loaded(source)
    assert "otel_stageio.model.LogRecord 0" in found
    assert [each for each in found if not each.endswith(" 0")] == []


def test_package_loads_nothing_by_itself(loaded):
    """Importing the package loads none of its modules; a name that is asked for loads what it needs."""
    source = """
import json, sys
import otel_stageio
otel_stageio.__version__, dir(otel_stageio)
print(json.dumps(sorted(name for name in sys.modules if name.startswith(("otel_stageio.", "opentelemetry")))))
"""
    assert loaded(source) == set()


def test_recording_and_reading_do_not_load_each_other(loaded):
    """A stage does not load what reads jobs; reading does not load what records, nor OpenTelemetry."""
    assert [name for name in loaded(STAGE) if name.startswith("otel_stageio.read")] == []
    source = """
import json, sys
from otel_stageio import open_job, JobFormatError
try:
    open_job("nowhere")
except JobFormatError:
    print(json.dumps(sorted(sys.modules)))
"""
    modules = loaded(source)
    assert [name for name in modules if name.startswith(("otel_stageio.record", "opentelemetry"))] == []


@pytest.mark.parametrize("call", ["io.add_error('x', ValueError('y'))", "io.finalize('failed')"])
def test_failing_loads_no_more(loaded, call):
    """What goes wrong in a stage loads nothing heavy either."""
    source = f"""
import json, sys
from otel_stageio import StageIO
io = StageIO("asr", "out", stage_number=6)
try:
    1 / 0
except ZeroDivisionError:
    {call}
io.finalize()
print(json.dumps(sorted(sys.modules)))
"""
    free = loaded("import sys, json; import opentelemetry.trace; print(json.dumps(sorted(sys.modules)))")
    modules = loaded(source)
    assert [name for name in HEAVY if name in modules - free] == []
