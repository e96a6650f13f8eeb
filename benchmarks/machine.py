"""The machine that numbers were measured on, in words; nothing that names the host."""

from __future__ import annotations

import os
import platform
import ssl
from importlib.metadata import PackageNotFoundError, version

from otel_stageio.record.artifacts.hashing import allowed_cores

_MEMORY_FILES = ("tmpfs", "ramfs")


def describe(folder: str) -> dict[str, str]:
    """Describe processor, system and Python, and the file system that `folder` is on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "processor": f"{_processor()}, {allowed_cores()} of {os.cpu_count()} cores allowed, {memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {file_system(folder)}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in ("otel-stageio", "opentelemetry-api")),
        "load": f"{os.getloadavg()[0]:.1f} at the start",
    }


def in_memory(folder: str) -> bool:
    """Whether `folder` is on a file system without a disk, where writing costs less than it should."""
    return file_system(folder) in _MEMORY_FILES


def file_system(folder: str) -> str:
    """The kind of file system that a folder is on; "unknown" where the system does not tell."""
    path = os.path.realpath(folder)
    best = ("", "unknown")
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return best[1]
    for point, kind in mounts:
        below = point in ("/", path) or path.startswith(point + "/")
        if below and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
