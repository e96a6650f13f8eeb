"""The same stage as people write it without a package; the job folder is the argument."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

_LINE = "[%(asctime)s.%(msecs)03d] [%(name)s] [%(levelname)s] %(message)s"


def open_log(job: Path, stage: Path) -> logging.Logger:
    """A logger to stage.log, the pipeline's log and the console."""
    stage.mkdir(parents=True, exist_ok=True)
    (job / "logs").mkdir(exist_ok=True)
    made = logging.getLogger("asr")
    made.setLevel(logging.DEBUG)
    now = datetime.now(timezone.utc).astimezone()
    handlers: list[tuple[logging.Handler, int]] = [
        (logging.FileHandler(stage / "stage.log", encoding="utf-8"), logging.DEBUG),
        (logging.FileHandler(job / "logs" / f"99_pipeline_{now:%Y%m%d_%H%M%S}.log", encoding="utf-8"), logging.INFO),
        (logging.StreamHandler(), logging.INFO),
    ]
    for handler, level in handlers:
        handler.setLevel(level)
        handler.setFormatter(logging.Formatter(_LINE, "%Y-%m-%d %H:%M:%S"))
        made.addHandler(handler)
    return made


def described(path: Path) -> dict[str, Any]:
    """An artifact's entry."""
    content = path.read_bytes()
    return {"path": str(path), "size": len(content), "checksum": "sha256:" + hashlib.sha256(content).hexdigest()}


def write_manifest(path: Path, document: dict[str, Any]) -> None:
    """Write a manifest that is there whole or not at all, also after a power cut."""
    beside = path.with_suffix(".tmp")
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


started, began = datetime.now(timezone.utc), time.monotonic()
job_folder = Path(sys.argv[1])
stage_folder = job_folder / "06_asr"
inputs: list[Path] = []
logger = open_log(job_folder, stage_folder)
logger.info("nothing to do for %s", "ep042")
used = resource.getrusage(resource.RUSAGE_SELF)
system = os.uname()
write_manifest(
    stage_folder / "manifest.json",
    {
        "stage": "asr",
        "stage_number": 6,
        "status": "success",
        "started_at": started.isoformat(),
        "finished_at": datetime.now(timezone.utc).isoformat(),
        "duration_s": time.monotonic() - began,
        "inputs": [described(path) for path in inputs],
        "outputs": [],
        "warnings": [],
        "errors": [],
        "resources": {"cpu_s": used.ru_utime + used.ru_stime, "max_rss_kib": used.ru_maxrss},
        "host": {"name": system.nodename, "system": system.sysname, "release": system.release, "arch": system.machine},
        "process": {"pid": os.getpid(), "command": sys.argv, "folder": os.getcwd(), "python": sys.version},
    },
)
