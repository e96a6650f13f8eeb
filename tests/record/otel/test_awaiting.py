"""Waiting for the import of OpenTelemetry's Logs API: it costs nothing without it, and changes nothing about it."""

from __future__ import annotations

import json

import pytest

LIBRARY = """
from opentelemetry._logs import LogRecord, get_logger

logger = get_logger("a.library")


def say(text):
    logger.emit(LogRecord(body=text))
"""


@pytest.fixture
def library(tmp_path):
    """A module of a library that emits."""
    (tmp_path / "library.py").write_text(LIBRARY)


@pytest.fixture
def run(run_script, library):
    """Give a function that runs a script, which begins with what they all need, and gives what it prints as JSON."""

    def run(source: str, **env: str) -> object:
        done = run_script("import importlib, importlib.util, json, sys, threading\n" + source, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run


SAID = """
from otel_stageio import open_job
print(json.dumps([row["message"] for row in open_job("out").logs() if row["logger"] == "a.library"]))
"""
QUIET = {"STAGEIO_CONSOLE": "off"}


def test_a_stage_without_it_does_not_load_it(run):
    """A stage whose program does without the Logs API does not load it; no second finder waits for a second stage."""
    source = """
from otel_stageio import StageIO
for number in (1, 2):
    with StageIO("asr", stage_number=number) as io:
        io.get_stage_logger().info("hello")
        with io.step("decode"):
            io.span.add_event("e")
loaded = [name for name in sys.modules if name.startswith("opentelemetry._logs") or name.endswith("otel.logs")]
print(json.dumps([loaded, sum(type(each).__module__.startswith("otel_stageio") for each in sys.meta_path)]))
"""
    assert run(source, **QUIET) == [[], 1]


def test_tracing_off_does_not_wait(run):
    """With STAGEIO_TRACER=off there is no finder at all."""
    source = """
from otel_stageio import StageIO
StageIO("asr", stage_number=6).finalize()
print(json.dumps([type(each).__name__ for each in sys.meta_path if type(each).__module__.startswith("otel_stageio")]))
"""
    assert run(source, **QUIET, STAGEIO_TRACER="off") == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_library_is_heard(run, when):
    """A library that is imported before or after the stage opens is heard from then on."""
    imported, later = ("import library", "") if when == "before" else ("", "import library")
    source = f"""
{imported}
from otel_stageio import StageIO
with StageIO("asr", stage_number=6):
    {later}
    library.say("inside")
library.say("outside")
with StageIO("asr", stage_number=6):
    library.say("inside again")
{SAID}
"""
    assert run(source, **QUIET) == ["inside", "inside again"]


def test_the_import_is_as_ever(run):
    """The module, its spec and its loader are what they are without us, and can be loaded anew; the finder is gone."""
    ask = """
import opentelemetry._logs as module
def about(module):
    spec = module.__spec__
    return [type(module.__loader__).__name__, spec.loader is module.__loader__, spec.name, spec.origin,
            spec.submodule_search_locations, module.__file__, sorted(vars(module)), sorted(vars(spec))]
told = [about(module), about(importlib.reload(module)), module.__loader__.get_source(module.__name__)[:40],
        [type(each).__name__ for each in sys.meta_path]]
print(json.dumps(told))
"""
    assert run('from otel_stageio import StageIO\nio = StageIO("asr", stage_number=6)\n' + ask, **QUIET) == run(ask)


def test_who_only_looks(run):
    """Looking for the module without loading it, its loader included, changes nothing: the import is heard later."""
    source = f"""
from otel_stageio import StageIO
with StageIO("asr", stage_number=6):
    spec = importlib.util.find_spec("opentelemetry._logs")
    assert spec.loader.get_source("opentelemetry._logs").startswith("#"), spec
    assert "opentelemetry._logs" not in sys.modules
    import library
    library.say("inside")
{SAID}
"""
    assert run(source, **QUIET) == ["inside"]


def test_an_import_that_fails(run):
    """An import that fails, fails as without us; the one that succeeds is heard."""
    source = f"""
from otel_stageio import StageIO
sys.modules["opentelemetry._logs._internal"] = None
with StageIO("asr", stage_number=6):
    try:
        import library
    except ImportError:
        del sys.modules["opentelemetry._logs._internal"]
    import library
    library.say("inside")
{SAID}
"""
    assert run(source, **QUIET) == ["inside"]


def test_it_is_not_installed(run):
    """Where nobody finds the module, nobody finds it."""
    source = """
from otel_stageio import StageIO
io = StageIO("asr", stage_number=6)
sys.meta_path[1:] = []
try:
    import opentelemetry._logs
except ModuleNotFoundError as why:
    print(json.dumps(why.name))
"""
    assert run(source, **QUIET) == "opentelemetry._logs"


def test_other_finders(run):
    """Finders before and behind ours that ask all others in turn are no trouble: the import is found, and heard."""
    source = f"""
from otel_stageio import StageIO

class Asking:
    asked = []
    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        for other in sys.meta_path:
            if other is not self and hasattr(other, "find_spec"):
                spec = other.find_spec(name, path, target)
                if spec is not None:
                    return spec

with StageIO("asr", stage_number=6):
    sys.meta_path.insert(0, Asking())
    sys.meta_path.append(Asking())
    import library
    library.say("inside")
assert "opentelemetry._logs" in Asking.asked
{SAID}
"""
    assert run(source, **QUIET) == ["inside"]


def test_a_loader_of_a_zip(run, tmp_path):
    """A library's package out of a zip file, whose loader all of its modules share, is loaded as ever."""
    source = f"""
import zipfile, os
from otel_stageio import StageIO
import opentelemetry
(home,) = [each for each in opentelemetry.__path__ if os.path.exists(os.path.join(each, "_logs"))]
with zipfile.ZipFile("logs.zip", "w") as zipped:
    zipped.writestr("opentelemetry/", "")
    for folder, _, names in os.walk(os.path.join(home, "_logs")):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                zipped.write(path, os.path.join("opentelemetry", os.path.relpath(path, home)))
sys.path.insert(0, "logs.zip")
importlib.invalidate_caches()
with StageIO("asr", stage_number=6):
    import library
    library.say("inside")
assert "logs.zip" in sys.modules["opentelemetry._logs"].__file__
{SAID}
"""
    assert run(source, **QUIET) == ["inside"]


def test_many_threads_import_it(run):
    """Threads that open stages and import the API at the same time end, and each record is recorded."""
    source = f"""
from otel_stageio import StageIO
ready = threading.Barrier(8)
def work(number):
    ready.wait()
    if number % 2:
        import library
    with StageIO("asr", stage_number=number):
        import library
        library.say(f"in {{number}}")
threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(1, 9)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
assert not [each for each in sys.meta_path if type(each).__module__.startswith("otel_stageio")]
{SAID}
"""
    assert sorted(run(source, **QUIET)) == [f"in {number}" for number in range(1, 9)]


def test_an_import_that_was_missed(run):
    """Where the import was under way when the finder came, the next stage finds what is loaded."""
    source = f"""
from otel_stageio import StageIO
StageIO("asr", stage_number=6).finalize()
(finder,) = [each for each in sys.meta_path if type(each).__module__.startswith("otel_stageio")]
sys.meta_path.remove(finder)
import library
sys.meta_path.insert(0, finder)
with StageIO("asr", stage_number=6):
    library.say("inside")
assert finder not in sys.meta_path
{SAID}
"""
    assert run(source, **QUIET) == ["inside"]


def test_a_program_that_sets_its_own(run):
    """A program that configures an SDK after its first stage gets its records, without a word; the stage has them."""
    source = f"""
import logging
logging.basicConfig(level=0, filename="host.log")
from otel_stageio import StageIO
with StageIO("asr", stage_number=6):
    import library
    library.say("before")
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.sdk import _logs as sdk
    from opentelemetry.sdk._logs import export
    exporter = getattr(export, "InMemoryLogRecordExporter", None) or export.InMemoryLogExporter
    kept = exporter()
    provider = sdk.LoggerProvider()
    provider.add_log_record_processor(export.SimpleLogRecordProcessor(kept))
    set_logger_provider(provider)
    library.say("after")
assert [each.log_record.body for each in kept.get_finished_logs()] == ["after"]
with open("host.log") as log:
    assert "opentelemetry" not in log.read()
{SAID}
"""
    assert run(source, **QUIET) == ["before", "after"]


def test_trouble_of_our_own(run_script, library):
    """What goes wrong when the import is heard is told by the stage; the import is not disturbed."""
    source = """
import sys
from otel_stageio import StageIO
from otel_stageio.record.otel import awaiting
awaiting._arrive = lambda: 1 / 0
with StageIO("asr", stage_number=6) as io:
    import library
    library.say("nobody hears")
awaiting._tell(ValueError("nobody to tell"))
print(io.manifest["degraded"])
"""
    done = run_script(source)
    assert "cannot take in OpenTelemetry's log records: ZeroDivisionError" in done.stdout
    assert done.returncode == 0
