"""``io.run(["ffmpeg", ...])``: a command within a stage, as a step, with its output on record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

from otel_stageio import conventions as names
from otel_stageio import settings as surroundings
from otel_stageio.errors import CommandError
from otel_stageio.record.exceptions import said
from otel_stageio.record.tracing import StageTracing

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from otel_stageio.record.commands.output import Output, Reader

#: Seconds that a command has for its own end after Ctrl-C.
_AFTER_INTERRUPT: Final = 0.25
#: Characters of a command in a message.
_SHOWN: Final = 200
_STREAMS: Final = ("stdout", "stderr")


class StageCommands(StageTracing):
    """Running other programs from a stage."""

    def run(
        self,
        args: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        /,
        *,
        check: bool = True,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,  # noqa: A002 - subprocess's word
        timeout: float | None = None,
        capture_output: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **popen: Any,
    ) -> subprocess.CompletedProcess[Any]:
        """Run a command as a step and wait for it: ``io.run(["ffmpeg", "-i", a, b])``.

        It is `subprocess.run` with other defaults. Each line that the command writes is recorded in stage.log and in
        the journal at DEBUG, with ``log.iostream`` ``stdout`` or ``stderr``, while it runs. Where `stdout` or `stderr`
        is given (a file, DEVNULL), that is the command's, and not recorded. The step is called `name`, by default as
        the program. The command is told the job, the run and the trace, as by `environ`, also beside an `env` of yours.

        Gives a `subprocess.CompletedProcess`; its ``stdout`` and ``stderr`` hold what was written with
        ``capture_output=True``, else None. Raises CommandError, with the last lines of its output, where the command
        cannot be started, does not end within `timeout` seconds (then it is killed), or, with `check`, fails;
        ValueError and TypeError where what is given is no command, or both `input` and ``stdin``. Other keywords are
        `subprocess.Popen`'s. Threads may run commands side by side; asyncio waits in `asyncio.to_thread`.
        """
        import subprocess

        captured = [each for each in _STREAMS if capture_output or popen.get(each) == subprocess.PIPE]
        command = _Command(args, captured)
        if not command.words:
            raise ValueError(
                'io.run has no command: give a program and its arguments, as in io.run(["ffmpeg", "-i", path])'
            )
        if input is not None and popen.get("stdin") is not None:
            raise ValueError("io.run takes input or stdin, not both: they are the same")
        if encoding or errors or text or popen.pop("universal_newlines", None):
            command.decodes = (encoding or "utf-8", errors or "strict")
        if isinstance(input, str):
            input = input.encode(*(command.decodes or ("utf-8", "strict")))  # noqa: A001 - the same
        redactor = self._recorder.redactor
        command.shown = redactor.command([said(word) for word in command.words])
        with self.step(name or command.program, **{names.PROCESS_COMMAND_ARGS: command.shown}) as span:
            popen["env"] = self._environ_beside(env)
            code = self._run(command, span, popen, input=input, timeout=timeout)
            if check and code:
                raise command.failed(code)
            return command.completed(code)

    def _environ_beside(self, env: Mapping[str, str] | None) -> dict[str, str]:
        made = self.environ()
        if env is None:
            return made
        ours = surroundings.environment()
        return {**env, **{key: of for key, of in made.items() if ours.get(key) != of}}

    def _run(
        self,
        command: _Command,
        span: trace.Span,
        popen: dict[str, Any],
        *,
        input: bytes | None,  # noqa: A002 - subprocess's word
        timeout: float | None,
    ) -> int:
        import subprocess

        from otel_stageio.record.commands import output
        from otel_stageio.record.outcome import NOT_EXECUTABLE, NOT_FOUND

        if input is not None:
            popen["stdin"] = subprocess.PIPE
        streams = [name for name in _STREAMS if popen.get(name) in (None, subprocess.PIPE)]
        popen.update(dict.fromkeys(streams, subprocess.PIPE))
        try:
            process = subprocess.Popen(command.args, **{**popen, "bufsize": 0})  # noqa: S603 - the caller's command
        except OSError as why:
            missing = isinstance(why, (FileNotFoundError, NotADirectoryError)) and why.filename != popen.get("cwd")
            code = NOT_FOUND if missing else NOT_EXECUTABLE
            raise command.failed(code, f"cannot be started: {why.strerror}: {why.filename}") from why
        context = span.get_span_context()
        span_id = trace.format_span_id(context.span_id) if context.is_valid else ""
        try:
            recorded = output.Output(self._logger.own, span_id=span_id)
            readers = [_reader(process, name, recorded, command) for name in streams]
        except BaseException:  # no descriptors left, or interrupted
            process.kill()
            process.wait()
            raise
        for reader in readers:
            reader.start()
        try:
            _wait(process, input, timeout)
        except subprocess.TimeoutExpired as why:
            self._end(command, recorded, readers)
            raise command.failed(process.returncode, f"did not end within {timeout} s and was killed") from why
        except BaseException:
            self._end(command, recorded, readers)
            raise
        self._end(command, recorded, readers)
        if process.returncode >= 0:
            span.set_attribute(names.PROCESS_EXIT_CODE, process.returncode)
        return process.returncode

    def _end(self, command: _Command, recorded: Output, readers: list[Reader]) -> None:
        from otel_stageio.record.commands.output import leave

        left = {reader.stream: held for reader in readers if (held := reader.finish()) >= 0}
        recorded.close()
        command.tails = {stream: list(lines) for stream, lines in recorded.tail.items()}
        if left:
            for held in left.values():
                leave(held)
            streams = " and ".join(left)
            self._find(f"{command.program} left a process behind that still holds its {streams}: it is not recorded")


def _reader(process: subprocess.Popen[Any], name: str, recorded: Output, command: _Command) -> Reader:
    from otel_stageio.record.commands.output import Reader

    with getattr(process, name) as pipe:  # the reader's descriptor is its own
        return Reader(os.dup(pipe.fileno()), name, recorded, command.keeps(name))


def _wait(process: subprocess.Popen[Any], input: bytes | None, timeout: float | None) -> None:  # noqa: A002 - the same
    """Wait for the end; whatever else happens, the command is no more."""
    import contextlib
    import subprocess
    import threading

    pipe: Any = process.stdin

    def feed() -> None:
        with contextlib.suppress(OSError), pipe:  # it need not read all
            pipe.write(input)

    try:
        if input is not None:
            threading.Thread(target=feed, name="otel-stageio-stdin", daemon=True).start()
        process.wait(timeout)
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has got Ctrl-C itself
            process.wait(_AFTER_INTERRUPT)
        raise
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


class _Command:
    """A command, and what is kept of its output."""

    def __init__(self, args: Any, captured: Sequence[str]) -> None:
        self.words = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
        self.args = self.words if isinstance(args, Iterator) else args  # which is used up now
        words = os.fsdecode(self.words[0]).split() if self.words else []
        self.program = os.path.basename(words[0]) if words else "command"
        self.shown: list[str] = []
        self.decodes: tuple[str, str] | None = None
        self.tails: dict[str, list[str]] = {}
        self._kept: dict[str, list[bytes]] = {stream: [] for stream in captured}

    def keeps(self, stream: str) -> Any:
        """What is to be done with the stream's bytes beside recording them."""
        into = self._kept.get(stream)
        if into is None:
            return None

        def keep(data: bytes) -> bool:
            into.append(data)
            return True

        return keep

    def _whole(self, stream: str) -> Any:
        if stream not in self._kept:
            return None
        data = b"".join(self._kept[stream])
        if self.decodes is None:
            return data
        return data.decode(*self.decodes).replace("\r\n", "\n").replace("\r", "\n")

    def completed(self, code: int) -> subprocess.CompletedProcess[Any]:
        """What subprocess would give."""
        import subprocess

        return subprocess.CompletedProcess(self.args, code, self._whole("stdout"), self._whole("stderr"))

    def failed(self, code: int, why: str = "") -> CommandError:
        """The exception for a command that ended so, or `why` it did not."""
        import shlex

        from otel_stageio.record.outcome import Outcome

        shown = shlex.join(self.shown)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        stream = next((name for name in ("stderr", "stdout") if self.tails.get(name)), "")
        tail = "\n".join(self.tails.get(stream, ()))
        message = f"{shown} {why}" if why else f"{shown} failed: {Outcome(code).reason}"
        if tail:
            message += f"; the last lines of its {stream}:\n{tail}"
        return CommandError(message, self.args, code, tail, self._whole("stdout"), self._whole("stderr"))
