"""The output of a command on its way into the record of a stage: read at once, recorded line by line in a thread.

Nothing here keeps the command waiting: what it writes is taken over as fast as it comes, and where the disk takes it
more slowly for long, a part is left out and counted. Nothing grows without bound either.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import select
import threading
import time
from collections import deque
from json.encoder import encode_basestring_ascii as _json
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_stageio import conventions as names
from otel_stageio.journal import encode
from otel_stageio.record.commands.lines import LineSplitter
from otel_stageio.views import logline

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_stageio.model import Value
    from otel_stageio.record.commands.lines import Line
    from otel_stageio.record.logs.handler import StageHandler

STDOUT: Final = "stdout"
STDERR: Final = "stderr"
#: Bytes that wait to be recorded, at most, and what each line counts besides its own: recording them takes some
#: seconds when the command has ended.
_MOST: Final = 32 << 20
_A_LINE: Final = 32
#: Characters of a line that is written the quick way.
_PLAIN: Final = 10_000
#: Bytes that are read at once, and that a pipe holds, where the system lets it.
_CHUNK: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031
#: Seconds that are given to those who hold the output when the command has ended.
GRACE: Final = 0.5
_TICK: Final = 0.001
#: Milliseconds.
_TICKING: Final = 50
#: Lines, and characters of each, that are kept to be told where a command fails.
_TAIL: Final = 20
_TAIL_LINE: Final = 1000


class _Piece(NamedTuple):
    stream: str
    at: int
    data: bytes
    #: Bytes before it that were left out.
    left_out: int = 0


class Output:
    """Records the output of one command. `take` may be called from any thread, `close` once."""

    def __init__(self, handler: StageHandler, *, span_id: str = "") -> None:
        """Record in the stage of `handler`, by the span `span_id`, in the context and step of the calling thread."""
        self._handler = handler
        self._span_id = span_id
        self._quick = {} if span_id else {stream: _Quick(handler, stream) for stream in (STDOUT, STDERR)}
        self._splitters = {STDOUT: LineSplitter(), STDERR: LineSplitter()}
        self._queue: SimpleQueue[_Piece | None] = SimpleQueue()
        self._counting = threading.Lock()
        self._waiting = 0
        self._left_out = {STDOUT: 0, STDERR: 0}
        #: Bytes that were left out altogether.
        self.lost = 0
        self.tail: dict[str, deque[str]] = {STDOUT: deque(maxlen=_TAIL), STDERR: deque(maxlen=_TAIL)}
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._work,), name="otel-stageio-output", daemon=True)
        self._runs = False
        with contextlib.suppress(RuntimeError):  # no thread to be had: what is read is recorded at the end
            self._thread.start()
            self._runs = True

    def take(self, stream: str, data: bytes) -> None:
        """Take over what the command has written just now. Never waits."""
        at = self._handler.recorder.clock.now()
        weight = _weight(data)
        with self._counting:
            if self._waiting + weight > _MOST:
                self._left_out[stream] += len(data)
                self.lost += len(data)
                return
            self._waiting += weight
            before, self._left_out[stream] = self._left_out[stream], 0
        self._queue.put(_Piece(stream, at, data, before))

    def close(self) -> None:
        """Record what waits, and the last lines, which have no newline."""
        self._queue.put(None)
        if self._runs:
            self._thread.join()
        else:
            self._work()
        if self.lost:
            self._handler.recorder.warn(
                f"{self.lost:,} bytes of the output are not on record: they came faster than they were written"
            )

    # In the thread.

    def _work(self) -> None:
        while (piece := self._queue.get()) is not None:
            self._record(piece)
            with self._counting:
                self._waiting -= _weight(piece.data)
        at = self._handler.recorder.clock.now()
        for stream, splitter in self._splitters.items():
            for line in splitter.end():
                self._put(stream, at, line)
            self._tell_gap(stream, at, self._left_out[stream])

    def _record(self, piece: _Piece) -> None:
        splitter = self._splitters[piece.stream]
        if piece.left_out:
            for line in splitter.end():
                self._put(piece.stream, piece.at, line)
            self._tell_gap(piece.stream, piece.at, piece.left_out)
        for line in splitter.feed(piece.data):
            self._put(piece.stream, piece.at, line)

    def _tell_gap(self, stream: str, at: int, size: int) -> None:
        if size:
            self._write(stream, at, f"[{size:,} bytes of output left out]", {names.CUT: {"body": size}})

    def _put(self, stream: str, at: int, line: Line) -> None:
        self.tail[stream].append(line.text[:_TAIL_LINE])
        quick = self._quick.get(stream)
        if quick is None or line.size or not quick.write(at, line.text):
            self._write(stream, at, line.text, {names.CUT: {"body": line.size}} if line.size else {})

    def _write(self, stream: str, at: int, text: str, about: dict[str, Value]) -> None:
        attributes: dict[str, Value] = {names.LOG_IOSTREAM: stream, **about}

        def write() -> None:
            self._handler.put(
                at=at,
                level="DEBUG",
                severity=names.SEVERITY_DEBUG,
                message=text,
                shown=text,
                attributes=attributes,
                span_id=self._span_id,
            )

        self._handler.bounded(write)


def _weight(data: bytes) -> int:
    return len(data) + _A_LINE * data.count(b"\n")


class _Quick:
    """Plain lines of one stream, as `StageHandler.put` would write them, put together from what is known of them."""

    def __init__(self, handler: StageHandler, stream: str) -> None:
        self._recorder = handler.recorder
        self._clock = logline.LineClock()
        self._before, self._between = encode.plain_log(names.SEVERITY_DEBUG, "DEBUG")
        self._after = encode.plain_attributes({names.LOG_IOSTREAM: stream}, names.LOG_RECORD_UID)
        self._head = f"] [{logline.tag(handler.stage)}] [DEBUG] "

    def write(self, at: int, text: str) -> bool:
        """Write a line of the stage's own, if it is plain; else give False, and nothing has happened."""
        if len(text) > _PLAIN or not text.isprintable() or "\\" in text:
            return False
        text = self._recorder.redactor.text(text)
        record = f"{self._before}{at}{self._between}{_json(text)}{self._after}"
        return self._recorder.plain_log("DEBUG", record, f"[{self._clock.text(at)}{self._head}{text}", pipeline=False)


class Reader:
    """Reads one stream of a command, in a thread of its own, from `start` until nobody writes to it any more."""

    def __init__(
        self,
        descriptor: int,
        stream: str,
        output: Output,
        through: Callable[[bytes], bool] | None,
        *,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """Read `descriptor`, which becomes ours, and give what comes `through` first, then to `output`.

        Where `through` gives False, nobody wants more: the command finds its output closed. `tick` is called before
        that, and some times a second while nothing comes.
        """
        self._tick = tick
        self.stream = stream
        self._descriptor = descriptor
        self._output = output
        self._through = through
        #: When the command had ended, by the monotonic clock; 0 before.
        self._ended = 0.0
        #: Whether it waits for something to read.
        self._idle = False
        self._wake_read, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._work, name=f"otel-stageio-{stream}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        with contextlib.suppress(OSError, ImportError):  # a terminal, or a system that has no such call
            import fcntl

            fcntl.fcntl(self._descriptor, _F_SETPIPE_SZ, _CHUNK)
        self._thread.start()

    def settle(self, patience: float) -> None:
        """Wait for what the command has written so far to be through; at most `patience` seconds."""
        until = time.monotonic() + patience
        waiting = select.poll()
        if self._descriptor >= 0:
            waiting.register(self._descriptor, select.POLLIN)
        while self._thread.is_alive() and (waiting.poll(0) or not self._idle) and time.monotonic() < until:
            time.sleep(_TICK)

    def finish(self) -> int:
        """The command has ended: read what it left, and give the descriptor if somebody else still writes, else -1."""
        self._thread.join(GRACE)
        self._ended = time.monotonic()
        os.write(self._wake, b"!")
        self._thread.join()
        os.close(self._wake)
        os.close(self._wake_read)
        return self._descriptor

    # In the thread.

    def _work(self) -> None:
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        waiting.register(self._wake_read, select.POLLIN)
        while True:
            self._idle = True
            ready = {number for number, _ in waiting.poll(_TICKING if self._tick is not None else None)}
            self._idle = False
            if self._tick is not None:
                self._tick()
            if not ready:
                continue
            if self._descriptor not in ready:
                return  # the command has ended, and what it wrote was read
            data = self._read()
            if not data or (self._through is not None and not self._through(data)):
                os.close(self._descriptor)
                self._descriptor = -1
                return
            self._output.take(self.stream, data)
            if self._ended and time.monotonic() - self._ended > GRACE:
                return

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, _CHUNK)
        except OSError:  # of a pseudoterminal that nobody has open any more: EIO
            return b""


def leave(descriptor: int, to: int | None = None) -> None:
    """Have what others still write into `descriptor` go on, `to` there or nowhere: without a reader they would die."""
    actions = [(os.POSIX_SPAWN_DUP2, descriptor, 0)]
    if to is not None:
        actions.append((os.POSIX_SPAWN_DUP2, to, 1))
    # A pseudoterminal ends with an error, of which nobody has to know.
    script = f"exec cat {'' if to is not None else '>/dev/null '}2>/dev/null"
    with contextlib.suppress(OSError):
        # In a process group of its own: what the terminal sends is for the command's group.
        os.posix_spawn(
            "/bin/sh", ["sh", "-c", script], {"PATH": os.defpath}, file_actions=actions, setpgroup=0, setsigmask=()
        )
    os.close(descriptor)
