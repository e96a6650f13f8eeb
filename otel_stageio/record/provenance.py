"""Where a stage runs and from which commit: host, process, Python, git.

Nothing here waits: the host is asked without network and without child processes, and git runs beside the stage.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from otel_stageio import conventions as names
from otel_stageio.job import host
from otel_stageio.job.layout import absolute
from otel_stageio.record.values import clean_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_stageio.model import Value

#: Machine names as OpenTelemetry's host.arch has them; any other is given as it is.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "AMD64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm32",
    "armv6l": "arm32",
    "i386": "x86",
    "i686": "x86",
    "ppc64le": "ppc64",
}
_STATUS = ("status", "--porcelain=v2", "--branch", "--untracked-files=no")
#: What binds git to another repository than the one asked about, as inside a hook of it.
_GIT_BINDINGS = frozenset(
    f"GIT_{name}"
    for name in ("DIR", "WORK_TREE", "COMMON_DIR", "INDEX_FILE", "OBJECT_DIRECTORY", "NAMESPACE", "PREFIX")
)
_HEX = frozenset("0123456789abcdef")
#: How long a killed git is waited for, in seconds: one that hangs in the kernel is left to it.
_REAPING = 0.5


def describe_process() -> dict[str, Value]:
    """Return host, operating system, process and Python under OpenTelemetry's attribute names.

    What cannot be known is left out (a working directory that was deleted). Never raises; costs some ten microseconds.
    """
    system = os.uname()
    runtime = sys.implementation
    version = runtime.version[:3] if runtime.version.releaselevel == "final" else runtime.version
    found: dict[str, Value] = {
        names.HOST_NAME: host.name(),
        names.HOST_ARCH: _ARCHITECTURES.get(system.machine, system.machine),
        names.OS_TYPE: system.sysname.lower(),
        names.OS_VERSION: system.release,
        names.PROCESS_PID: os.getpid(),
        names.PROCESS_PARENT_PID: os.getppid(),
        names.PROCESS_EXECUTABLE_PATH: clean_text(sys.executable or ""),
        names.PROCESS_COMMAND_ARGS: [clean_text(argument) for argument in sys.orig_argv],
        names.PROCESS_WORKING_DIRECTORY: _working_directory(),
        names.PROCESS_OWNER: _owner(),
        names.PROCESS_RUNTIME_NAME: runtime.name,
        names.PROCESS_RUNTIME_VERSION: ".".join(map(str, version)),
    }
    return {name: value for name, value in found.items() if value != ""}


def _working_directory() -> str:
    try:
        return clean_text(os.getcwd())
    except OSError:
        return ""


def _owner() -> str:
    # getpass would ask the environment first, which anybody can set.
    import pwd

    try:
        return clean_text(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:  # in a container the user often has a number only
        return str(os.geteuid())


class GitProbe:
    """The commit, branch and dirty flag of a working tree, asked of git beside the stage.

    The commit is read from .git at the start, without git. Not thread-safe; in a child made by fork `result` knows the
    commit only.
    """

    def __init__(self, head: dict[str, Value], pid: int, pipe: int) -> None:
        """Take what is known and git's process and output; `start` makes these."""
        self._head = head
        self._pid = pid
        self._pipe = pipe
        self._output = b""
        self._owner = os.getpid()
        self._result: dict[str, Value] | None = None

    @classmethod
    def start(cls, folder: str, *, environ: Mapping[str, str]) -> GitProbe | None:
        """Start asking about the repository that `folder` is in; None where it is in none.

        `environ` is the environment for git. Where there is no git program the commit is known all the same. Takes
        a millisecond or a few. Git is neither given stdin nor heard on stderr, takes no lock in the repository and
        starts no file system monitor. Call `close` in the end.
        """
        git_folder = _git_folder(absolute(folder))
        if git_folder is None:
            return None
        pid, pipe = _spawn(folder, environ)
        return cls(_read_head(git_folder), pid, pipe)

    def result(self, timeout: float) -> dict[str, Value] | None:
        """Return revision, branch and dirty flag, waiting at most `timeout` seconds for git.

        Where git has not answered yet (ask again), or cannot, the dirty flag is missing; on a detached HEAD the branch
        is, in a repository without commits the revision. None where nothing is known at all.
        """
        if self._result is None and self._pipe >= 0 and self._owner == os.getpid() and self._finished(timeout):
            status = self._reap(_REAPING)
            self._close_pipe()
            self._result = _parsed(self._output) if status in (0, None) else {}
        return {**self._head, **(self._result or {})} or None

    def close(self) -> None:
        """End a git that has not answered, and collect it; `result` then gives what is known."""
        if self._owner != os.getpid():
            return
        self._close_pipe()
        if self._pid > 0 and self._reap(0) is None and self._pid > 0:
            _kill(self._pid)
            self._reap(_REAPING)

    def _finished(self, timeout: float) -> bool:
        """Read what git says for at most `timeout` seconds; True once it has said all."""
        import select

        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        end = time.monotonic() + timeout
        while True:
            left = max(end - time.monotonic(), 0.0)
            if not poll.poll(left * 1000):
                return False
            try:
                piece = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                continue
            if not piece:
                return True
            self._output += piece

    def _reap(self, patience: float) -> int | None:
        """Collect git within `patience` seconds; return its exit status, None where that is not known."""
        end = time.monotonic() + patience
        while self._pid > 0:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # the program waits for all children itself, or ignores SIGCHLD
                self._pid = 0
                return None
            if pid:
                self._pid = 0
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= end:
                return None
            time.sleep(0.001)
        return None

    def _close_pipe(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def _spawn(folder: str, environ: Mapping[str, str]) -> tuple[int, int]:
    """Start git and return its pid and the pipe that it writes to; 0 and -1 where it cannot be started."""
    # posix_spawn and no subprocess: that module costs a file-only stage some milliseconds of import.
    arguments = ["git", "-C", folder, "-c", "core.fsmonitor=false", *_STATUS]
    environment = {name: value for name, value in environ.items() if name not in _GIT_BINDINGS}
    environment.update(GIT_OPTIONAL_LOCKS="0", GIT_TERMINAL_PROMPT="0", GIT_NO_LAZY_FETCH="1")
    reading = writing = -1
    try:
        reading, writing = os.pipe()
        pid = os.posix_spawnp(
            "git",
            arguments,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                # Not writable, so that nothing comes of what git says here; it has the exit status to tell trouble.
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_RDONLY, 0),
            ],
        )
    except (OSError, ValueError):
        if reading >= 0:
            os.close(reading)
        return 0, -1
    finally:
        if writing >= 0:
            os.close(writing)
    os.set_blocking(reading, False)
    return pid, reading


def _kill(pid: int) -> None:
    """Kill a child that was not collected yet; without pidfds (Linux 5.3) let it end at its next write into no pipe."""
    if not hasattr(os, "pidfd_open"):
        return
    import signal

    try:
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
    except OSError:
        return


def _parsed(output: bytes) -> dict[str, Value]:
    """Read ``git status --porcelain=v2 --branch``: header lines begin with "#", all others are changes."""
    if not output.startswith(b"# "):
        return {}
    found: dict[str, Value] = {names.GIT_DIRTY: False}
    for line in output.decode("utf-8", "replace").splitlines():
        if not line.startswith("# "):
            found[names.GIT_DIRTY] = True
            break
        key, _, value = line[2:].partition(" ")
        if key == "branch.oid" and _is_commit(value):
            found[names.VCS_REVISION] = value
        elif key == "branch.head" and value != "(detached)":
            found[names.VCS_BRANCH] = value
    return found


def _git_folder(folder: str) -> str | None:
    """Return the git folder of the repository that `folder` is in; that of a worktree or submodule is named in .git."""
    while True:
        path = os.path.join(folder, ".git")
        if os.path.isfile(os.path.join(path, "HEAD")):
            return path
        if os.path.isfile(path) and (named := _text(path)).startswith("gitdir: "):
            return os.path.join(folder, named.removeprefix("gitdir: "))
        if (parent := os.path.dirname(folder)) == folder:
            return None
        folder = parent


def _read_head(git_folder: str) -> dict[str, Value]:
    """Read commit and branch from the files of a repository, as far as they are in files."""
    head = _text(os.path.join(git_folder, "HEAD"))
    if _is_commit(head):
        return {names.VCS_REVISION: head}
    found: dict[str, Value] = {}
    reference = head.removeprefix("ref: ")
    if reference.startswith("refs/heads/") and not reference.endswith("/.invalid"):  # so says one kept in a reftable
        found[names.VCS_BRANCH] = clean_text(reference.removeprefix("refs/heads/"))
    common = os.path.join(git_folder, _text(os.path.join(git_folder, "commondir")))
    for place in (git_folder, common):
        if _is_commit(commit := _text(os.path.join(place, reference))):
            return {names.VCS_REVISION: commit, **found}
    for line in _text(os.path.join(common, "packed-refs")).splitlines():
        commit, _, name = line.partition(" ")
        if name == reference and _is_commit(commit):
            return {names.VCS_REVISION: commit, **found}
    return found


def _is_commit(text: str) -> bool:
    return len(text) in (40, 64) and set(text) <= _HEX


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
