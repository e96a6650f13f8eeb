"""Which host this is, and which boot of it: the one place that asks the system, for whoever writes or compares either.

A host is known by its name, so hosts that share a job folder have to differ in it. The boot tells a process that died
from one that an earlier boot took with it. Tests put other functions in the place of these (tests/hosts.py).
"""

from __future__ import annotations

import functools
import os
from typing import Final

#: Of a host whose name says nothing.
_NAMELESS: Final = "localhost"


def name() -> str:
    """The name of this host, such as can be part of a file's name and of a log line."""
    found = os.uname().nodename
    if found.isascii() and found.replace("-", "").replace(".", "").isalnum():
        return found
    return "".join(each if each.isprintable() and each not in "/\\" else "_" for each in found) or _NAMELESS


@functools.cache
def boot_id() -> str:
    """What tells this boot of this host from any other; empty where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
