"""The console sink on real terminals, pipes and broken streams, beside bars and beside the host's handlers."""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import logging.handlers
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import pytest
import rich.console
import rich.logging

from otel_stageio.errors import SettingError
from otel_stageio.record.logs.console import Console

REPO = Path(__file__).resolve().parents[3]
INFO, WARNING, ERROR, CRITICAL, DEBUG = logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, logging.DEBUG


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Screen:
    """What a terminal shows after all that was written to it; as much of one as tqdm and rich use."""

    CONTROL = re.compile(r"\x1b\[(\??\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")

    def __init__(self, written: str) -> None:
        self.lines = [""]
        self._row = self._column = 0
        for match in self.CONTROL.finditer(written):
            if match[2]:
                self._command(match[2], match[1])
            elif match[0] == "\r":
                self._column = 0
            elif match[0] == "\n":
                self._down(1)
            else:
                self._text(match[0])
        self.lines = [line.rstrip() for line in self.lines]

    def _command(self, letter: str, argument: str) -> None:
        if letter == "A":
            self._row = max(self._row - int(argument or 1), 0)
        elif letter == "B":
            self._down(int(argument or 1))
        elif letter == "K":
            line = self.lines[self._row]
            self.lines[self._row] = "" if argument == "2" else line[: self._column]
        else:
            assert letter in "mhl", letter

    def _down(self, count: int) -> None:
        self._row += count
        self._column = 0
        self.lines += [""] * (self._row + 1 - len(self.lines))

    def _text(self, text: str) -> None:
        line = self.lines[self._row].ljust(self._column)
        self.lines[self._row] = line[: self._column] + text + line[self._column + len(text) :]
        self._column += len(text)


def run_in_terminal(source: str, **env: str) -> str:
    """Run a script whose stdout and stderr are one terminal, 100 columns wide; return what it wrote."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 40, 100, 0, 0))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO), "TERM": "xterm", "COLUMNS": "100", **env}
    child = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(source)],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env=environment,
    )
    os.close(slave)
    written = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(master, 65536):
            written += piece
    os.close(master)
    assert child.wait(20) == 0, written.decode()
    return written.decode().replace("\r\n", "\n")


# Where lines go.


def test_the_streams_of_each_mode(capsys: pytest.CaptureFixture[str]):
    """Each mode has its stream; a line is written whole with a newline at its end."""
    for mode in ("auto", "stderr", "stdout", "off"):
        Console(mode).write(f"{mode}\n    goes on", INFO)
    out, err = capsys.readouterr()
    assert (out, err) == ("stdout\n    goes on\n", "auto\n    goes on\nstderr\n    goes on\n")


def test_an_unknown_mode():
    """It is an error that names the modes."""
    with pytest.raises(SettingError, match="'loud' is unknown: use auto, stderr, stdout, off"):
        Console("loud")


def test_levels(capsys: pytest.CaptureFixture[str]):
    """What is below the level is not shown, and the level may change at any time."""
    console = Console()
    console.write("1", DEBUG)
    console.write("2", INFO)
    console.level = ERROR
    console.write("3", WARNING)
    console.level = DEBUG
    console.write("4", DEBUG)
    assert capsys.readouterr().err == "2\n4\n"


def test_the_stream_of_the_moment():
    """Each line goes to sys.stderr as it is then: redirected, restored, redirected again."""
    console = Console()
    first, second = io.StringIO(), io.StringIO()
    for stream in (first, second, first):
        with contextlib.redirect_stderr(stream):
            console.write("line", INFO)
    assert (first.getvalue(), second.getvalue()) == ("line\nline\n", "line\n")


def test_one_write_a_line():
    """A line and its newline are one write, flushed: lines of several threads and processes do not mix."""
    calls: list[object] = []

    class Stream:
        def write(self, text: str) -> None:
            calls.append(text)

        def flush(self) -> None:
            calls.append("flush")

    with contextlib.redirect_stderr(Stream()):
        Console().write("a\n    b", INFO)
    assert calls == ["a\n    b\n", "flush"]


def test_lines_of_many_threads(run_script):
    """A thousand lines of four threads arrive each in one piece."""
    source = """
        import logging, threading
        from otel_stageio.record.logs.console import Console
        console = Console()
        def write(name):
            for number in range(250):
                console.write(f"{name}{number:03}" * 20, logging.INFO)
        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    lines = run_script(source).stderr.splitlines()
    assert sorted(lines) == sorted(f"{name}{number:03}" * 20 for name in "abcd" for number in range(250))


# Colours.


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (DEBUG, "\x1b[2mline\x1b[0m\n"),
        (INFO, "line\n"),
        (WARNING, "\x1b[33mline\x1b[0m\n"),
        (ERROR + 5, "\x1b[31mline\x1b[0m\n"),
        (CRITICAL, "\x1b[1;31mline\x1b[0m\n"),
    ],
)
def test_colours_by_level(level: int, expected: str):
    """On a terminal the level is seen; INFO keeps the terminal's own colour."""
    with contextlib.redirect_stderr(Terminal()) as stream:
        Console(level=DEBUG).write("line", level)
    assert stream.getvalue() == expected


@pytest.mark.parametrize(
    ("stream", "options", "colored"),
    [
        (Terminal, {}, True),
        (io.StringIO, {}, False),
        (Terminal, {"no_color": True}, False),
        (Terminal, {"color": False}, False),
        (io.StringIO, {"color": True}, True),
        (Terminal, {"color": True, "no_color": True}, True),
    ],
)
def test_when_there_are_colours(stream: type[io.StringIO], options: dict[str, bool], colored: bool):
    """Only on terminals, and not where colours were declined; an explicit choice wins."""
    with contextlib.redirect_stderr(stream()) as written:
        Console(**options).write("line", ERROR)
    assert ("\x1b[" in written.getvalue()) is colored


def test_colours_follow_the_stream():
    """A console that wrote to a terminal writes no colours into the file that takes its place."""
    console = Console()
    with contextlib.redirect_stderr(Terminal()):
        console.write("line", ERROR)
    with contextlib.redirect_stderr(io.StringIO()) as written:
        console.write("line", ERROR)
    assert written.getvalue() == "line\n"


def test_a_real_terminal():
    """On a pseudo terminal a warning is coloured and a line of a fresh process comes out as it is."""
    source = """
        import logging
        from otel_stageio.record.logs.console import Console
        Console().write("grün", logging.INFO)
        Console().write("careful", logging.WARNING)
    """
    assert run_in_terminal(source, PYTHONIOENCODING="utf-8") == "grün\n\x1b[33mcareful\x1b[0m\n"


# Streams that fail.


class Failing(io.StringIO):
    """A stream whose first write raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def write(self, text: str) -> int:
        if self.error:
            error, self.error = self.error, None
            raise error
        return super().write(text)


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(),
        BlockingIOError(),
        OSError(28, "No space left on device"),
        ValueError("I/O operation on closed file"),
        RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>"),
        AttributeError("no write"),
        LookupError("unknown encoding: dragons"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_write_that_fails_costs_its_line_only(error: Exception):
    """Nothing is raised, and the next line is there."""
    console = Console()
    with contextlib.redirect_stderr(Failing(error)) as stream:
        console.write("one", INFO)
        console.write("two", INFO)
    assert stream.getvalue() == "two\n"


def test_no_stream(monkeypatch: pytest.MonkeyPatch):
    """Without stderr, as under pythonw, with a closed one and with something that is no stream, nothing is raised."""
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, object(), io.BytesIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        Console().write("line", INFO)
        Console.report("line")


def test_stderr_closed_by_the_shell(tmp_path: Path):
    """A program started with 2>&- runs as without the console, also where fd 2 is a file of its own by then."""
    source = """
        import logging, sys
        from otel_stageio.record.logs.console import Console
        data = open("data", "w")
        Console().write("line", logging.INFO)
        Console.report("line")
        print(sys.stderr, data.fileno())
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(source))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO)}
    shell = ["sh", "-c", f"exec {sys.executable} script.py 2>&-"]
    found = subprocess.run(shell, env=env, stdout=subprocess.PIPE, text=True, check=True)
    assert found.stdout == "None 2\n"
    assert Path("data").read_text() == ""


def test_a_reader_that_goes_away(run_script):
    """When the reader of a pipe is gone the program goes on to its end."""
    source = """
        import logging, os, sys
        from otel_stageio.record.logs.console import Console
        reading, writing = os.pipe()
        sys.stderr = open(writing, "w", buffering=1)
        os.close(reading)
        console = Console()
        for _ in range(3):
            console.write("line", logging.INFO)
        print("fine", flush=True)
        os._exit(0)
    """
    assert run_script(source).stdout == "fine\n"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"gr\xfcn \U0001f399 \udc80"),
        ("latin-1", b"gr\xfcn \\U0001f399 \\udc80"),
        ("utf-8", "grün 🎙 \\udc80".encode()),
    ],
)
def test_what_a_stream_cannot_encode(encoding: str, expected: bytes):
    """Characters that a terminal does not have are escaped, and the line is there."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    with contextlib.redirect_stderr(stream):
        Console().write("grün 🎙 \udc80", INFO)
        Console().write("next", INFO)
    assert raw.getvalue() == expected + b"\nnext\n"


def test_a_stream_that_encodes_nothing():
    """A stream that refuses every character by its own rules costs the line and does not go round in circles."""

    class Refusing(io.StringIO):
        encoding = "dragons"

        def write(self, text: str) -> int:
            raise UnicodeEncodeError("dragons", text, 0, 1, "refused")

    with contextlib.redirect_stderr(Refusing()) as stream:
        Console().write("grün", INFO)
    assert stream.getvalue() == ""


# Bars.

TQDM = """
    import io, logging, sys
    from tqdm import tqdm
    from otel_stageio.record.logs.console import Console
    console = Console({mode!r})
    print("begin", file=sys.stderr)
    for number in tqdm(range(5), {options}, ncols=60, mininterval=0):
        for inner in {inner}:
            console.write(f"line {{number}}", logging.INFO)
    Console.report("end")
"""


@pytest.mark.parametrize("mode", ["stderr", "stdout"])
@pytest.mark.parametrize("options", ["file=sys.stderr", "file=sys.stdout", "desc='work', dynamic_ncols=False"])
@pytest.mark.parametrize("inner", ["[0]", "tqdm(range(1), desc='inner', leave=False, ncols=60, mininterval=0)"])
def test_a_bar_of_tqdm_is_not_torn(mode: str, options: str, inner: str):
    """On a terminal each line stands alone above the bars, which are whole below them."""
    written = run_in_terminal(TQDM.format(mode=mode, options=options, inner=inner))
    lines = Screen(written).lines
    assert lines[:6] == ["begin", *(f"line {number}" for number in range(5))]
    assert re.fullmatch(r"(work: )?100%\|█+\| 5/5 \[.*\]", lines[6])
    assert [line for line in lines[7:] if line] == ["otel-stageio: end"]


def test_the_screen_shows_a_torn_bar():
    """The test's own terminal tells: a plain print beside a bar is not what the test above lets pass."""
    source = TQDM.format(mode="stderr", options="file=sys.stderr", inner="[0]")
    torn = source.replace('console.write(f"line {number}", logging.INFO)', 'print(f"line {number}", file=sys.stderr)')
    assert torn != source
    assert Screen(run_in_terminal(torn)).lines[:6] != ["begin", *(f"line {number}" for number in range(5))]


def test_a_bar_in_a_file_is_left_alone(tmp_path: Path):
    """A bar that goes to a file has nothing of the console's lines, and no blanks of its own for their sake."""
    source = TQDM.format(mode="stderr", options="file=open('bar', 'w')", inner="[0]")
    plain = source.replace("console.write", "(lambda *_: None)")
    os.chdir(tmp_path)
    assert Screen(run_in_terminal(source)).lines[1:6] == [f"line {number}" for number in range(5)]
    with_lines = Path("bar").read_text().count("\r")
    run_in_terminal(plain)
    assert with_lines == Path("bar").read_text().count("\r")


def test_a_bar_of_rich_is_not_torn():
    """While rich's progress is shown each line stands alone above it; after it all is as before."""
    source = """
        import logging, time
        from rich.progress import Progress
        from otel_stageio.record.logs.console import Console
        console = Console()
        console.write("begin", logging.INFO)
        with Progress() as progress:
            task = progress.add_task("work", total=5)
            for number in range(5):
                console.write(f"[2025] [red] line {number}", logging.WARNING)
                progress.advance(task)
                progress.refresh()
        console.write("end", logging.INFO)
    """
    lines = Screen(run_in_terminal(source)).lines
    assert lines[:6] == ["begin", *(f"[2025] [red] line {number}" for number in range(5))]
    assert re.fullmatch(r"work ━+ 100% .*", lines[6])
    assert [line for line in lines[7:] if line] == ["end"]


# What the host shows anyway.


@pytest.fixture
def own() -> logging.Handler:
    """The stage's own handler, which writes to the console too and does not count."""
    return logging.StreamHandler(sys.stderr)


@pytest.fixture
def logger(own: logging.Handler) -> logging.Logger:
    """A logger below root that is not in logging's table."""
    logger = logging.getLoggerClass()("asr", DEBUG)
    logger.parent = logging.getLogger()
    logger.addHandler(own)
    return logger


@pytest.fixture(autouse=True)
def bare_root():
    """Take the handlers that pytest has on root away: they capture and show nothing."""
    root = logging.getLogger()
    found, root.handlers[:] = root.handlers[:], []
    yield
    root.handlers[:] = found


def shown(logger: logging.Logger, own: logging.Handler, level: int = INFO, mode: str = "auto") -> bool:
    """Ask about a record of this level."""
    record = logger.makeRecord(logger.name, level, __file__, 1, "message", (), None)
    return Console(mode).shown_elsewhere(record, logger, own)


def test_nothing_but_our_own_handler(logger: logging.Logger, own: logging.Handler):
    """The stage's own handler does not count as somebody else."""
    assert not shown(logger, own)
    logging.getLogger().addHandler(own)
    assert not shown(logger, own)


def _rich(**options: object) -> logging.Handler:
    return rich.logging.RichHandler(console=rich.console.Console(**options))


class _Property(logging.StreamHandler):
    """As Airflow's, whose stream is looked up at each use."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> object:
        return sys.stderr


HANDLERS = {
    "stderr": (logging.StreamHandler, True),
    "stdout": (lambda: logging.StreamHandler(sys.stdout), True),
    "original stderr": (lambda: logging.StreamHandler(sys.__stderr__), True),
    "original stdout": (lambda: logging.StreamHandler(sys.__stdout__), True),
    "looked up": (_Property, True),
    "descriptor 2": (lambda: logging.StreamHandler(io.FileIO(2, "w", closefd=False)), True),
    "terminal": (lambda: logging.StreamHandler(Terminal()), True),
    "rich": (_rich, True),
    "rich on stderr": (lambda: _rich(stderr=True), True),
    "rich in memory": (lambda: _rich(file=io.StringIO()), False),
    "memory": (lambda: logging.StreamHandler(io.StringIO()), False),
    "file": (lambda: logging.FileHandler("file"), False),
    "/dev/stderr": (lambda: logging.FileHandler("/dev/stderr", delay=True), True),
    "null": (logging.NullHandler, False),
    "last resort": (logging._StderrHandler, True),
}


@pytest.mark.parametrize("name", HANDLERS)
@pytest.mark.parametrize("place", ["root", "logger"])
def test_handlers_of_the_host(logger: logging.Logger, own: logging.Handler, name: str, place: str):
    """A handler on the console counts, wherever up the chain it is; one on anything else does not."""
    make, expected = HANDLERS[name]
    handler = make()
    (logging.getLogger() if place == "root" else logger).addHandler(handler)
    assert shown(logger, own, WARNING) is expected
    assert not shown(logger, own, WARNING, mode="stderr")
    handler.close()


def test_closed_streams_and_no_streams(
    logger: logging.Logger, own: logging.Handler, capsys: pytest.CaptureFixture[str]
):
    """A handler whose stream is closed or missing shows nothing."""
    handler = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(handler)
    for stream in (None, Terminal()):
        handler.stream = stream
        if stream:
            assert shown(logger, own)
            stream.close()
        assert not shown(logger, own)


def test_the_level_of_a_handler(logger: logging.Logger, own: logging.Handler):
    """A handler that passes over the record does not show it."""
    handler = logging.StreamHandler()
    handler.setLevel(WARNING)
    logging.getLogger().addHandler(handler)
    assert not shown(logger, own, INFO)
    assert shown(logger, own, WARNING)


def test_the_filters_of_a_handler(logger: logging.Logger, own: logging.Handler):
    """A filter that holds the record back, or that raises, means that it is not shown; what it changes stays away."""
    seen: list[logging.LogRecord] = []

    def rewrite(record: logging.LogRecord) -> bool:
        seen.append(record)
        record.msg = "hidden"
        return True

    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    for one, expected in ((rewrite, True), (lambda _: False, False), (lambda _: 1 / 0, False)):
        handler.filters[:] = [one]
        record = logger.makeRecord("asr", INFO, __file__, 1, "message", (), None)
        assert Console().shown_elsewhere(record, logger, own) is expected
        assert record.msg == "message"
    assert len(seen) == 1


def test_propagation(logger: logging.Logger, own: logging.Handler):
    """What does not propagate does not reach root's handlers."""
    logging.getLogger().addHandler(logging.StreamHandler())
    child = logging.getLoggerClass()("asr.child")
    child.parent = logger
    assert shown(child, own)
    logger.propagate = False
    assert not shown(child, own)


def test_while_rich_is_live(logger: logging.Logger, own: logging.Handler, monkeypatch: pytest.MonkeyPatch):
    """A handler on the stream that rich's live display stands before still counts."""
    from rich.file_proxy import FileProxy

    stream = Terminal()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    stream.isatty = lambda: False
    assert not shown(logger, own)
    monkeypatch.setattr(sys, "stderr", FileProxy(rich.console.Console(file=stream), stream))
    assert shown(logger, own)


# Trouble of our own.


def test_report(capsys: pytest.CaptureFixture[str]):
    """Trouble of ours is one line on stderr, whatever is in it."""
    Console.report("cannot write out/06_asr: OSError: a\nb\x1b[31m \udc80 grün")
    assert capsys.readouterr().err == "otel-stageio: cannot write out/06_asr: OSError: a\\nb\\x1b[31m \\udc80 grün\n"


def test_report_to_a_stream_that_fails(monkeypatch: pytest.MonkeyPatch):
    """Where not even that can be told, nothing is raised, whatever the stream raises."""
    monkeypatch.setattr(sys, "stderr", Failing(KeyError("odd")))
    Console.report("line")


def test_nothing_is_imported(run_script):
    """The console loads neither tqdm nor rich."""
    source = """
        import sys
        from otel_stageio.record.logs.console import Console
        Console().write("line", 20)
        print(sorted({"tqdm", "rich"} & set(sys.modules)))
    """
    assert run_script(source).stdout == "[]\n"


def test_a_thread_that_holds_tqdms_lock(run_script):
    """A line written by the thread that draws a bar, from inside the drawing, does not wait for itself."""
    source = """
        import logging, sys
        from tqdm import tqdm
        from otel_stageio.record.logs.console import Console
        class Stream:
            encoding = "utf-8"
            depth = 0
            def isatty(self): return True
            def flush(self): pass
            def write(self, text):
                if not self.depth and "%" in text:
                    self.depth = 1
                    Console().write("inside", logging.INFO)
                    self.depth = 0
                sys.__stderr__.write(text)
        sys.stderr = Stream()
        for _ in tqdm(range(2), mininterval=0): pass
        print("fine")
    """
    found = run_script(source)
    assert (found.stdout, "inside" in found.stderr) == ("fine\n", True)


def test_what_a_handler_hands_on_counts(capsys: pytest.CaptureFixture[str]):
    """A MemoryHandler before a console handler, and loguru's InterceptHandler, show a record: the console is silent."""
    from loguru import logger as loguru_logger

    loguru_logger.add(sys.stderr)

    class InterceptHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loguru_logger.log(record.levelname, record.getMessage())

    shown = logging.StreamHandler()
    record = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", "msg": "hello"})
    own = logging.NullHandler()
    for handler, said in (
        (logging.handlers.MemoryHandler(10, target=shown), True),
        (logging.handlers.MemoryHandler(10, target=logging.NullHandler()), False),
        (InterceptHandler(), True),
    ):
        logger = logging.getLogger("handing on")
        logger.handlers[:] = [handler]
        assert Console().shown_elsewhere(record, logger, own) is said
    loguru_logger.remove()
    assert not Console().shown_elsewhere(record, logger, own)
    loguru_logger.add(sys.stderr, level="WARNING")
    assert not Console().shown_elsewhere(record, logger, own)
