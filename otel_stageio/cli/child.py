"""The command that `stageio run` runs: a child in our process group and session, whose signals and end become ours.

What the terminal sends to the group (Ctrl-C, Ctrl-Z, a new window size) reaches the command without us; what somebody
sends to us alone is passed on. We stop when the command does, so that the shell sees a stopped job, and not before:
what it writes on Ctrl-Z has to go through. It starts by `posix_spawn`, since stages have threads. Source of the exit
codes: POSIX, "Shell Command Language".
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from otel_stageio.record.outcome import NOT_EXECUTABLE, NOT_FOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

#: What is for the command and not for us.
_PASSED: Final = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGCONT,
    signal.SIGTSTP,
)
_HEARD: Final = frozenset({*_PASSED, signal.SIGCHLD, signal.SIGWINCH})
#: What Python ignores and a command should not.
_DEFAULTS: Final = (signal.SIGPIPE, signal.SIGXFSZ)
#: Seconds between two calls of `beat`.
_BEAT: Final = 10.0
#: Seconds within which a signal is passed on once: whoever sends it to the group sends it to both of us.
_SAME: Final = 0.2


class CannotStart(Exception):  # noqa: N818 - a statement of what happened
    """The command could not be started; `code` is what shells exit with then."""

    def __init__(self, code: int, why: str) -> None:
        """Keep the exit code, and the sentence for the person."""
        super().__init__(why)
        self.code = code


class Child:
    """A command. To be used as a context manager in the main thread, before any other thread begins.

    Within it the signals of the command wait until `wait` takes them; afterwards they are ours again.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self.pid = 0
        self._before: set[int] = set()
        self._passed_on: dict[int, float] = {}

    def __enter__(self) -> Self:
        """Keep the signals back, in this thread and in those that begin from now on."""
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # then nobody could wait for a child
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._before = set(signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD))
        return self

    def __exit__(self, *_: object) -> None:
        """Take the signals ourselves again; those that came for the command are gone with it."""
        while signal.sigpending() & _HEARD:
            signal.sigwait(_HEARD)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def start(self, command: Sequence[str], environ: Mapping[str, str], streams: Mapping[int, int]) -> None:
        """Start the command with the descriptors `streams` by the numbers that it knows them by, -1 for one it has not.

        Raises CannotStart.
        """
        actions: list[Any] = [
            (os.POSIX_SPAWN_DUP2, ours, theirs) if ours >= 0 else (os.POSIX_SPAWN_CLOSE, theirs)
            for theirs, ours in streams.items()
        ]
        program = _found(command[0], environ.get("PATH", os.defpath))
        early = signal.sigpending().intersection(_PASSED)
        try:
            self.pid = self._spawn(program, command, environ, actions)
        except OSError as why:
            if why.errno != errno.ENOEXEC:
                raise _cannot_start(command[0], why) from None
            # A script without a first line that names its shell: shells run it themselves.
            self.pid = self._spawn("/bin/sh", ["/bin/sh", program, *command[1:]], environ, actions)
        for sign in early:  # the terminal's, too: the command was not there yet
            self._pass_on(sign)

    def _spawn(self, program: str, command: Sequence[str], environ: Mapping[str, str], actions: list[Any]) -> int:
        return os.posix_spawn(
            program, list(command), environ, file_actions=actions, setsigmask=self._before, setsigdef=_DEFAULTS
        )

    def wait(
        self,
        beat: Callable[[], None],
        *,
        resized: Callable[[], bool] = lambda: False,
        stopping: Callable[[], None] = lambda: None,
    ) -> int:
        """Wait for its end, and give its exit code, or below 0 the signal that killed it.

        `beat` is called every ten seconds. `resized` hears that the terminal has another size; where it gives True, the
        group is told once more, for it looked at the size before that was passed on. `stopping` is called before we
        stop, as the command did.
        """
        while True:
            sign, by_person, sender = _next_signal()
            if sign in _PASSED and by_person:
                self._pass_on(sign)
            elif sign == signal.SIGWINCH and sender != os.getpid() and resized():
                os.kill(0, signal.SIGWINCH)
            elif not sign:
                beat()
            done, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if not done:
                continue
            if not os.WIFSTOPPED(status):
                return os.waitstatus_to_exitcode(status)
            stopping()
            _stop(os.WSTOPSIG(status))

    def _pass_on(self, sign: int) -> None:
        now = time.monotonic()
        if now - self._passed_on.get(sign, -_SAME) >= _SAME:
            self._passed_on[sign] = now
            with contextlib.suppress(OSError):  # it runs as another user by now
                os.kill(self.pid, sign)


def _stop(sign: int) -> None:
    """Stop this process as the command was stopped. SIGCONT, which ends it, is heard then and passed on."""
    os.kill(os.getpid(), sign)
    if sign in _HEARD:
        # Only now it arrives, and with it the terminal's own, where that still waits: one stop and not two.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {sign})
        signal.pthread_sigmask(signal.SIG_BLOCK, {sign})


def _next_signal() -> tuple[int, bool, int]:
    """The next signal (0: none for a while), whether somebody sent it and not the terminal, and who."""
    if sys.platform == "darwin":  # no telling there who sent it: the terminal sends these two
        sign = signal.sigwait(_HEARD)
        return sign, sign not in (signal.SIGINT, signal.SIGQUIT), 0
    found = signal.sigtimedwait(_HEARD, _BEAT)
    if found is None:
        return 0, False, 0
    return found.si_signo, found.si_code <= 0, found.si_pid


def _found(name: str, path: str) -> str:
    """The file that a command's name stands for, searched for as a shell does. Raises CannotStart."""
    if "/" in name:
        return name
    blocked = ""
    for folder in path.split(os.pathsep):
        file = os.path.join(folder or os.curdir, name)
        if os.path.isfile(file):
            if os.access(file, os.X_OK):
                return file
            blocked = blocked or file
    if blocked:
        return blocked  # and let the system say what is wrong with it
    raise CannotStart(NOT_FOUND, f"{name}: command not found")


def _cannot_start(name: str, why: OSError) -> CannotStart:
    if os.path.isdir(name):
        return CannotStart(NOT_EXECUTABLE, f"{name}: Is a directory")
    there = why.errno not in (errno.ENOENT, errno.ENOTDIR)
    words = os.strerror(why.errno or 0)
    if not there and os.path.exists(name):
        words = "its interpreter, which its first line names, is not there"
    return CannotStart(NOT_EXECUTABLE if there or os.path.exists(name) else NOT_FOUND, f"{name}: {words}")


def die_of(sign: int) -> None:
    """End this process by a signal, as the command ended, and without a core file of our own."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, ValueError):  # SIGKILL has no other handling
        signal.signal(sign, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {sign})
    os.kill(os.getpid(), sign)
    os._exit(128 + sign)  # process 1 of a container, which no signal ends
