"""Names and messages that nobody would choose, and ends at which nobody should log, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_stageio import StageIO
from otel_stageio.journal import reader
from otel_stageio.views import logline

if TYPE_CHECKING:
    from otel_stageio.model import LogRecord
    from otel_stageio.views.logline import ParsedRecord
    from tests.conftest import RunScript

STAGE = Path("out/06_asr")
MEGABYTES_5 = 5 * 1024 * 1024


def stage_log() -> list[ParsedRecord]:
    """The records of stage.log."""
    with open(STAGE / "stage.log", encoding="utf-8", newline="\n") as file:
        return list(logline.parse(file.read().split("\n")))


def journal() -> list[LogRecord]:
    """The log records of the journal."""
    return list(reader.log_records(str(STAGE / ".stageio/001/logs.jsonl")))


def manifest() -> dict[str, Any]:
    """manifest.json."""
    document: dict[str, Any] = json.loads((STAGE / "manifest.json").read_bytes())
    return document


@pytest.mark.parametrize("role", ["input", "output", "intermediate"])
@pytest.mark.parametrize(
    "name",
    [
        b"two\nlines",
        b"quotes \" ' ` \\",
        b"\x1b[31mred\x1b[0m",
        b"caf\xe9 \xff\xfe",
        b"x" * 255,
        "\u00e4".encode() * 127,
        b" ",
        b"-rf *",
        b"%s {0} {}",
    ],
    ids=["newline", "quotes", "ansi", "no utf-8", "255 bytes", "254 bytes", "blank", "options", "placeholders"],
)
def test_a_file_of_any_name_is_found_again_by_its_entry(name: bytes, role: str) -> None:
    """The entry leads to the file: by its path, or, where that is no UTF-8, by the bytes beside it; no line is torn."""
    io = StageIO("asr", "out", stage_number=6)
    path = os.fsdecode(os.path.join(os.fsencode(io.stage_dir), name))
    Path(path).write_bytes(b"content")
    getattr(io, f"track_{role}")(path, "odd")
    # (pytest-xdist cannot hand on what it captures of a lone surrogate; test_handler.py has those messages.)
    shown = "a name" if "\udce9" in path else path
    io.get_stage_logger().info("tracked %s", shown)
    io.finalize()
    key = {"input": "inputs", "output": "outputs", "intermediate": "intermediate_files"}[role]
    (entry,) = manifest()[key]
    import base64

    found = base64.b64decode(entry["path_bytes"]) if "path_bytes" in entry else os.fsencode(entry["path"])
    assert (Path("out") / os.fsdecode(found)).read_bytes() == b"content"
    assert entry["size_bytes"] == 7
    (record,) = (each for each in stage_log() if each.message.startswith("tracked"))
    assert record.message == f"tracked {shown}"


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_a_message_of_five_megabytes(level: str) -> None:
    """It is whole in stage.log; the journal's line is cut, with its original length beside it."""
    io = StageIO("asr", "out", stage_number=6)
    text = "0123456789abcde\n" * (MEGABYTES_5 // 16)
    getattr(io.get_stage_logger(), level)(text)
    getattr(io.get_stage_logger(), level)("after")
    io.finalize()
    assert [each.message for each in stage_log()][:2] == [text, "after"]
    long, after = journal()[:2]
    assert isinstance(long.body, str)
    assert text.startswith(long.body[:100_000])
    assert long.attributes["stageio.cut"] == {"body": MEGABYTES_5}
    assert after.body == "after"
    assert max(map(len, (STAGE / ".stageio/001/logs.jsonl").read_bytes().splitlines())) < 512 * 1024


def test_a_full_pipe_costs_the_console_only() -> None:
    """Where stderr is a full pipe that does not block, the stage goes on and its files have everything."""
    source = """
import os, sys
from otel_stageio import StageIO
io = StageIO("asr", "out", stage_number=6)
for number in range(3_000):
    io.get_stage_logger().info("%05d %s", number, "x" * 100)
io.finalize()
"""
    read, write = os.pipe()
    os.set_blocking(write, False)
    done = subprocess.run([sys.executable, "-c", source], stderr=write, cwd=os.getcwd(), check=False, timeout=60)
    os.close(write)
    os.close(read)
    assert done.returncode in (0, 120)  # the latter is Python's, where it cannot flush stderr at its end
    assert [each.message[:5] for each in stage_log()][:3_000] == [f"{number:05d}" for number in range(3_000)]
    assert manifest()["status"] == "success"


def test_logging_while_the_interpreter_ends(run_script: RunScript) -> None:
    """Records of atexit functions, daemon threads' last words and of objects that are torn down come to no harm.

    What can be written is: the record of atexit is; nothing is printed but what was logged; the exit status stands.
    """
    done = run_script(
        """
        import atexit, builtins, sys
        from otel_stageio import StageIO

        class Last:
            def __init__(self, logger):
                self.logger = logger
            def __del__(self):
                self.logger.info("torn down")

        atexit.register(lambda: logger.info("at exit"))
        io = StageIO("asr", "out", stage_number=6)
        logger = io.get_stage_logger()
        last = Last(logger)
        sys.modules["last"] = last
        builtins.later = Last(logger)  # goes last of all
        builtins.later.itself = builtins.later
        io.finalize()
        atexit.register(lambda: logger.info("at exit, first"))
        """
    )
    assert (done.returncode, "Traceback" in done.stderr, "Exception ignored" in done.stderr) == (0, False, False)
    messages = [each.message for each in stage_log()]
    assert messages[-4:] == ["at exit, first", "at exit", "torn down", "torn down"]


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_shell_closed(closed: str) -> None:
    """No line of the console lands in a file of ours that happens to have got its number."""
    source = (
        "from otel_stageio import StageIO\n"
        "io = StageIO('asr', 'out', stage_number=6)\n"
        "io.get_stage_logger().warning('hello')\n"
        "io.finalize()\n"
    )
    done = subprocess.run(["/bin/sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, source], check=False, timeout=60)
    assert done.returncode == 0
    assert next(each.message for each in stage_log()) == "hello"
    assert next(each.body for each in journal()) == "hello"
    for path in STAGE.rglob("*.jsonl"):
        assert all(line.startswith(b"{") for line in path.read_bytes().splitlines())


def test_extra_of_any_value() -> None:
    """Values that cannot be shown, compared or copied are recorded as what can be said of them, and raise nothing."""

    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

        __str__ = __repr__

        def __eq__(self, _: object) -> bool:
            raise RuntimeError("no eq")

        __hash__ = None  # type: ignore[assignment]

    cycle: list[Any] = []
    cycle.append(cycle)
    io = StageIO("asr", "out", stage_number=6)
    extra = {
        "hostile": Hostile(),
        "cycle": cycle,
        "nan": float("nan"),
        "huge": 10**5_000,
        "bytes": b"\xff",
    }
    io.get_stage_logger().info("hello", extra=extra)
    io.finalize()
    record = journal()[0]
    assert record.body == "hello"
    assert {key: type(record.attributes[key]).__name__ for key in extra} == {
        **dict.fromkeys(("hostile", "nan", "huge"), "str"),
        "cycle": "list",
        "bytes": "bytes",
    }
