"""What the real backends of the tests are built from, and where they are once they are built.

They lie in the user's cache, in a folder named after all that decides what is built: another clone with the same pins
finds them there, and pins that changed are another folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).resolve().parent
GO_MOD = HERE / "go.mod"
GO_SUM = HERE / "go.sum"
BUILDER_YAML = HERE.parents[1] / "collector-config" / "builder.yaml"
#: What is built.
PROGRAMS = ("jaeger", "collector")


def key(pins: Mapping[str, str], *, system: str, machine: str) -> str:
    """Name the folder for what is built from `pins` (name and content) on a kind of machine.

    Lines that are comments only do not count.
    """
    digest = hashlib.sha256()
    for name, content in sorted(pins.items()):
        lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith(("#", "//"))]
        digest.update("\n".join([f"{name} {len(lines)}", *lines, ""]).encode())
    return f"{digest.hexdigest()[:16]}-{system}-{machine}".lower()


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return this project's folder in the user's cache."""
    home = environment.get("XDG_CACHE_HOME", "")
    # Relative ones are to be ignored, says the XDG specification.
    return (Path(home) if os.path.isabs(home) else Path("~/.cache").expanduser()) / "otel-stageio"


def programs_folder(environment: Mapping[str, str]) -> Path:
    """Return where the programs of these pins are, or will be once they are built."""
    pins = {path.name: path.read_text(encoding="utf-8") for path in (GO_MOD, GO_SUM, BUILDER_YAML)}
    name = key(pins, system=platform.system(), machine=platform.machine())
    return cache_folder(environment) / "backends" / name


def are_built(folder: Path) -> bool:
    """Say whether all programs are in a folder."""
    return all(os.access(folder / program, os.X_OK) for program in PROGRAMS)


def pinned(go_mod: str, module: str) -> str:
    """Read out of a go.mod which version it has of a module."""
    found = re.search(rf"^\s*{re.escape(module)} v(\S+)", go_mod, re.MULTILINE)
    assert found, f"go.mod does not have {module}"
    return found[1]
