"""Build the real backends of the tests, Jaeger and a Collector, from source: `make backends`.

They are built from the modules in go.mod and go.sum beside this file; the Collector's components are chosen in
collector-config/builder.yaml. Needs Python alone; in the root of the repository: `python -m tests.backends.build`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.backends import pins, toolchain
from tests.backends.progress import Progress, duration, say
from tests.backends.toolchain import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

JAEGER = "github.com/jaegertracing/jaeger/cmd/jaeger"
BUILDER = "go.opentelemetry.io/collector/cmd/builder"
#: Where builder.yaml has the Collector's sources written.
COLLECTOR = "./build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where Go runs: its program, a folder with go.mod and go.sum, the environment."""

    go: str
    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str, progress: Progress) -> str:
        """Run Go, show progress, give what it printed.

        Raises:
            BuildError: it failed; with the last of what it said.
        """
        output = self.folder / "printed"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [self.go, *arguments],
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
    assert process.stderr is not None
    rest = b""
    with process.stderr as pipe:
        while True:
            if select.select([pipe], [], [], 1.0)[0]:
                read = os.read(pipe.fileno(), 65536)
                *lines, rest = (rest + (read or b"\n")).split(b"\n")
                for line in lines:
                    progress.heard(line.decode("utf-8", "replace"))
                if not read:
                    break
            progress.show()
    process.wait()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock on building, after whoever builds now; it goes with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make backends is at work: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(environment: Mapping[str, str]) -> Path:
    """Build what is not built yet; return the folder with the programs.

    The folder appears whole or not at all. Of two at once, the second waits and finds it done. After an interruption
    the next run goes on from what Go has in its caches.

    Raises:
        BuildError: Go failed, or there is none.
    """
    done = pins.programs_folder(environment)
    if pins.are_built(done):
        return done
    with _alone(done.parent):
        if pins.are_built(done):
            return done
        working = done.with_name(f"{done.name}.building")
        shutil.rmtree(working, ignore_errors=True)  # of one that was killed
        working.mkdir()
        try:
            programs = _build_in(working, environment)
            shutil.rmtree(done, ignore_errors=True)  # from which someone took a program
            programs.rename(done)
        finally:
            shutil.rmtree(working, ignore_errors=True)
    return done


def _build_in(working: Path, environment: Mapping[str, str]) -> Path:
    began = time.monotonic()
    go_mod = pins.GO_MOD.read_text(encoding="utf-8")
    jaeger, collector = pins.pinned(go_mod, JAEGER.removesuffix("/cmd/jaeger")), pins.pinned(go_mod, BUILDER)
    say(f"Jaeger {jaeger} and the Collector {collector}, from source: about six minutes on two cores, once")
    go = toolchain.choose(toolchain.oldest(go_mod))
    say(f"with Go {'.'.join(map(str, go.version))} ({go.path})")
    kept = pins.cache_folder(environment) / "go"
    shop = Workshop(go=go.path, folder=working, environment=toolchain.environment_for(environment, folder=kept))
    for path in (pins.GO_MOD, pins.GO_SUM):
        shutil.copy(path, working)
    shop.run("list", "-deps", JAEGER, BUILDER, progress=Progress("fetching the modules"))
    # The builder by itself would also resolve modules, and fail at those that only tests of dependencies need.
    only_sources = ("--skip-get-modules", "--skip-compilation")
    shop.run(
        *("tool", "builder", f"--config={pins.BUILDER_YAML}", *only_sources),
        progress=Progress("writing the Collector's sources"),
    )
    (working / COLLECTOR / "go.mod").unlink()  # ours has the pins
    packages = shop.run("list", "-deps", JAEGER, COLLECTOR, progress=Progress("fetching the Collector's modules"))
    programs = working / "programs"
    programs.mkdir()
    shop.run(
        *("build", "-v", "-ldflags=-s -w", "-o", f"{programs}{os.sep}", JAEGER, COLLECTOR),
        progress=Progress("compiling", frozenset(packages.split())),
    )
    (programs / "build").rename(programs / "collector")  # Go names a program after its folder
    say(
        f"built in {duration(time.monotonic() - began)}. {kept} (3 GB) makes the next build quicker; it may be deleted."
    )
    return programs


def main() -> int:
    """Build, and say where the programs are."""
    try:
        folder = build(os.environ)
    except BuildError as error:
        print(f"make backends: {error}", file=sys.stderr)  # noqa: T201 - a script that talks to a person
        return 1
    except OSError as error:
        print(f"make backends: {error}. They are kept in $XDG_CACHE_HOME or ~/.cache.", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("\nmake backends: stopped. The next run goes on from here.", file=sys.stderr)  # noqa: T201
        return 130
    for program in pins.PROGRAMS:
        say(str(folder / program))
    return 0


if __name__ == "__main__":
    sys.exit(main())
