"""Where a stage runs and from which commit, in real repositories of every shape."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_stageio.job.host import boot_id
from otel_stageio.record import provenance
from otel_stageio.record.provenance import GitProbe, describe_process

REVISION, BRANCH, DIRTY = "vcs.ref.head.revision", "vcs.ref.head.name", "stageio.git.dirty"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment for git that nothing of this machine's configuration reaches."""
    identity = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "GIT_CONFIG_NOSYSTEM": "1",
        **identity,
    }


@pytest.fixture
def git(environ: dict[str, str]):
    """Give a function that runs git in a folder and returns what it says."""

    def run(*arguments: str, folder: str = "repo") -> str:
        command = ["git", "-C", folder, *arguments]
        return subprocess.run(command, env=environ, check=True, capture_output=True, text=True).stdout.strip()

    return run


@pytest.fixture
def commit(git) -> str:
    """Make a repository with one commit and return its hash."""
    os.makedirs("repo/sub")
    Path("repo/file").write_text("1")
    git("init", "-b", "main")
    git("add", "file")
    git("commit", "-m", "first")
    return git("rev-parse", "HEAD")


def ask(folder: str, environ: dict[str, str], timeout: float = 20) -> object:
    """Return what a probe finds out about a folder."""
    probe = GitProbe.start(folder, environ=environ)
    if probe is None:
        return "no repository"
    try:
        return probe.result(timeout)
    finally:
        probe.close()


def all_children() -> set[str]:
    """List the children of this process, zombies included."""
    return {pid for tasks in Path("/proc/self/task").glob("*/children") for pid in tasks.read_text().split()}


#: Children that other tests of this process left, such as the resource tracker of multiprocessing.
_others: set[str] = set()


@pytest.fixture(autouse=True)
def children_of_others():
    """Take note of the children that are there before a test."""
    _others.clear()
    _others.update(all_children())


def children() -> list[str]:
    """List the children of this process that came with this test, zombies included."""
    return sorted(all_children() - _others)


def test_clean_and_dirty(commit: str, environ: dict[str, str]):
    """A working tree as committed is not dirty, a changed one is, files that git does not know do not count."""
    assert ask("repo", environ) == {REVISION: commit, BRANCH: "main", DIRTY: False}
    Path("repo/new").write_text("1")
    assert ask("repo/sub", environ) == {REVISION: commit, BRANCH: "main", DIRTY: False}
    Path("repo/file").write_text("2")
    assert ask("repo/sub", environ) == {REVISION: commit, BRANCH: "main", DIRTY: True}


def test_staged_only(commit: str, environ: dict[str, str], git):
    """A change that is staged and not committed makes the tree dirty."""
    Path("repo/new").write_text("1")
    git("add", "new")
    assert ask("repo", environ) == {REVISION: commit, BRANCH: "main", DIRTY: True}


def test_detached(commit: str, environ: dict[str, str], git):
    """Without a branch there is none in the answer."""
    git("checkout", "--detach")
    assert ask("repo", environ) == {REVISION: commit, DIRTY: False}


def test_no_commit_yet(environ: dict[str, str], git):
    """A repository without commits has a branch and no revision."""
    os.mkdir("repo")
    git("init", "-b", "main")
    assert ask("repo", environ) == {BRANCH: "main", DIRTY: False}


def test_no_repository(environ: dict[str, str], tmp_path: Path):
    """Where no folder upward has a .git, nothing is started; a folder of that name alone makes no repository."""
    assert ask(str(tmp_path), environ) == "no repository"
    (tmp_path / ".git").mkdir()
    assert ask(".", environ) == "no repository"
    assert children() == []


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
@pytest.mark.parametrize("place", ["main", "worktree", "submodule", "detached"])
def test_the_commit_without_git(commit: str, environ: dict[str, str], git, place: str, packed: bool):
    """Without a git program, commit and branch are read from the files, in worktrees and submodules too."""
    expected = {REVISION: commit, BRANCH: "main"}
    folder = "repo"
    if place == "worktree":
        git("worktree", "add", "-b", "side/branch", "../worktree")
        folder, expected = "worktree", {REVISION: commit, BRANCH: "side/branch"}
    elif place == "submodule":
        git("init", "-b", "outer", folder=".")
        git("-c", "protocol.file.allow=always", "submodule", "add", "./repo", "inner", folder=".")
        folder = "inner"
    elif place == "detached":
        git("checkout", "--detach")
        expected = {REVISION: commit}
    if packed:
        git("pack-refs", "--all", folder=folder)
    assert git("rev-parse", "HEAD", folder=folder) == commit
    assert _with_path(folder, "", environ) == expected


def _with_path(folder: str, path: str, environ: dict[str, str]) -> object:
    """Ask in a process of its own, whose PATH is what posix_spawnp searches."""
    source = "import sys; from tests_ask import ask; print(repr(ask(sys.argv[1])))"
    helper = f"""
from otel_stageio.record.provenance import GitProbe
def ask(folder):
    probe = GitProbe.start(folder, environ={environ!r})
    return probe.result(20), probe.close()
"""
    Path("tests_ask.py").write_text(helper)
    command = [sys.executable, "-c", source, folder]
    python_path = os.pathsep.join([".", str(Path(provenance.__file__).parents[2])])
    env = {"PATH": path or os.path.abspath("nowhere"), "PYTHONPATH": python_path}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    result, closed = eval(found)  # the repr of a dict that our own code printed
    assert closed is None
    return result


def _fake_git(script: str) -> str:
    os.makedirs("bin", exist_ok=True)
    Path("bin/git").write_text(f"#!/bin/sh\n{script}\n")
    os.chmod("bin/git", 0o755)
    return os.path.abspath("bin")


@pytest.mark.parametrize("script", ["exit 128", "echo nonsense; exit 0", "echo '# branch.oid 0'; exit 3", "kill -9 $$"])
def test_a_git_that_fails(commit: str, environ: dict[str, str], script: str):
    """What git says before it fails is not believed; the commit is known all the same."""
    path = _fake_git(script) + os.pathsep + os.environ["PATH"]
    assert _with_path("repo", path, environ) == {REVISION: commit, BRANCH: "main"}


def test_how_git_is_called(commit: str, environ: dict[str, str]):
    """It gets no stdin and no binding to another repository, takes no locks, and starts no monitor."""
    out = os.path.abspath("out")
    listing = (
        "{ echo $GIT_OPTIONAL_LOCKS; echo $*; env | grep -c '^GIT_DIR=\\|^GIT_INDEX_FILE='; ls -l /proc/self/fd; }"
    )
    path = _fake_git(f"{listing} > {out}; cat; exec 1>&-") + os.pathsep + os.environ["PATH"]
    _with_path("repo", path, {**environ, "PATH": path, "GIT_DIR": "/elsewhere", "GIT_INDEX_FILE": "/other"})
    locks, arguments, bindings, *descriptors = Path(out).read_text().splitlines()
    assert locks == "0"
    assert arguments.startswith("-C repo -c core.fsmonitor=false status")
    assert bindings == "0"
    opened = {line.split(" -> ")[0].split()[-1]: line.split(" -> ")[1] for line in descriptors if " -> " in line}
    assert (opened["0"], opened["2"]) == ("/dev/null", "/dev/null")
    # 1 is the listing's own file, 3 the folder that ls reads: nothing of the program's own came along.
    assert set(opened) == {"0", "1", "2", "3"}


def _spawn_script(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have the probe start this script in place of git."""
    path = os.path.join(_fake_git(script), "git")
    really = os.posix_spawnp
    monkeypatch.setattr(os, "posix_spawnp", lambda _, *rest, **more: really(path, *rest, **more))


def test_a_slow_git(commit: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    """The caller waits no longer than it says, has the commit at once, and the dirty flag as soon as it is there."""
    oid = "1" * 40
    answer = f"read go < fifo; echo '# branch.oid {oid}'; echo '# branch.head main'; echo '1 .M N... file'"
    _spawn_script(monkeypatch, answer)
    os.mkfifo("fifo")
    began = time.monotonic()
    probe = GitProbe.start("repo", environ=environ)
    assert probe is not None
    assert probe.result(0) == {REVISION: commit, BRANCH: "main"}
    assert probe.result(0.05) == {REVISION: commit, BRANCH: "main"}
    assert time.monotonic() - began < 5
    Path("fifo").write_text("go\n")
    assert probe.result(20) == {REVISION: oid, BRANCH: "main", DIRTY: True}
    assert probe.result(0) == {REVISION: oid, BRANCH: "main", DIRTY: True}
    probe.close()
    assert children() == []


def test_an_overdue_git_is_ended(commit: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    """A git that never answers is gone after close, leaves no zombie, and no descriptor stays open."""
    _spawn_script(monkeypatch, "exec sleep 1000")
    before = os.listdir("/proc/self/fd")
    probe = GitProbe.start("repo", environ=environ)
    assert probe is not None
    assert len(children()) == 1
    probe.close()
    probe.close()
    assert children() == []
    assert os.listdir("/proc/self/fd") == before
    assert probe.result(1) == {REVISION: commit, BRANCH: "main"}


def test_output_larger_than_a_pipe(commit: str, environ: dict[str, str], git):
    """Three thousand changed files are read to the end."""
    for number in range(3000):
        Path(f"repo/{number}-{'x' * 50}").touch()
    git("add", ".")
    assert ask("repo", environ) == {REVISION: commit, BRANCH: "main", DIRTY: True}
    assert children() == []


@pytest.mark.parametrize("answered", [True, False])
def test_a_program_that_waits_for_all_children(commit: str, environ: dict[str, str], answered: bool):
    """Where somebody else collects git, nothing fails, and no process that got its number is killed."""
    probe = GitProbe.start("repo", environ=environ)
    assert probe is not None
    if answered:
        os.waitpid(-1, 0)
        assert probe.result(20) == {REVISION: commit, BRANCH: "main", DIRTY: False}
    else:
        os.waitpid(-1, 0)
    probe.close()


def test_without_exit_status_an_empty_answer_says_nothing(
    commit: str, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    """A git that failed, collected by somebody else, does not count as "not dirty"."""
    _spawn_script(monkeypatch, "exit 128")
    probe = GitProbe.start("repo", environ=environ)
    assert probe is not None
    os.waitpid(-1, 0)
    assert probe.result(20) == {REVISION: commit, BRANCH: "main"}


def test_a_child_by_fork_leaves_git_alone(commit: str, environ: dict[str, str], run_script):
    """In a forked child close does nothing to git, and result takes nothing of what it says."""
    path = _fake_git(f"read go < fifo; echo '# branch.oid {'1' * 40}'") + os.pathsep + os.environ["PATH"]
    os.mkfifo("fifo")
    source = f"""
        import os
        from otel_stageio.record.provenance import GitProbe
        probe = GitProbe.start("repo", environ={{**{environ!r}, "PATH": {path!r}}})
        child = os.fork()
        if child == 0:
            found = probe.result(5)
            probe.close()
            os._exit("stageio.git.dirty" in found)
        print(os.waitpid(child, 0)[1])
        with open("fifo", "w") as file:
            file.write("go")
        print(probe.result(20))
    """
    found = run_script(source, env={"PATH": path})
    assert found.stdout.splitlines() == ["0", str({REVISION: "1" * 40, BRANCH: "main", DIRTY: False})], found.stderr


def test_the_process():
    """Names are OpenTelemetry's; values are the system's own."""
    found = describe_process()
    system = os.uname()
    assert found["host.name"] == system.nodename
    assert found["host.arch"] == {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine)
    assert (found["os.type"], found["os.version"]) == (system.sysname.lower(), system.release)
    assert (found["process.pid"], found["process.parent_pid"]) == (os.getpid(), os.getppid())
    assert found["process.executable.path"] == sys.executable
    assert found["process.command_args"] == sys.orig_argv
    assert found["process.working_directory"] == os.getcwd()
    assert found["process.runtime.name"] == "cpython"
    assert found["process.runtime.version"].startswith("{}.{}.{}".format(*sys.version_info))
    assert isinstance(found["process.owner"], str)


def test_a_working_directory_that_is_gone(tmp_path: Path):
    """It is left out, like all that cannot be known."""
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "process.working_directory" not in describe_process()


def test_hostile_surroundings(monkeypatch: pytest.MonkeyPatch):
    """Arguments that are not UTF-8 are escaped, a user without a name is a number, a pre-release says so."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "\udcff.py"])
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000_000)
    found = describe_process()
    assert found["process.command_args"] == ["python", "\\udcff.py"]
    assert found["process.owner"] == "4000000000"


def test_boot_id():
    """The boot has a name of its own on Linux."""
    assert len(boot_id()) == 36


def test_nothing_heavy_is_imported(run_script):
    """Describing the process and asking git load neither subprocess nor socket nor getpass."""
    source = """
        import sys
        before = set(sys.modules)
        from otel_stageio.record.provenance import GitProbe, describe_process
        describe_process()
        probe = GitProbe.start(".", environ={})
        heavy = {"subprocess", "socket", "getpass", "shutil", "tempfile"}
        print(sorted((set(sys.modules) - before) & heavy))
    """
    assert run_script(source).stdout == "[]\n"
