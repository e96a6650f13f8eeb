"""What a stage used: wall time, processor time and the peak of its memory, of this process and its children."""

from __future__ import annotations

import time

_MIB = 1 << 20


class UsageMeter:
    """Measures from `start` on; `read` may be called any number of times and from any thread."""

    def __init__(self, wall: float, cpu: float) -> None:
        """Take the readings to subtract; `start` makes these."""
        self._wall = wall
        self._cpu = cpu

    @classmethod
    def start(cls) -> UsageMeter:
        """Begin to measure now."""
        return cls(time.monotonic(), _used()[0])

    def read(self) -> dict[str, float]:
        """Return what was used since the start.

        wall_seconds    by the monotonic clock
        cpu_seconds     user and system time of this process and of the children that it has waited for since
        cpu_percent     cpu_seconds per wall_seconds: 100 is one core busy all the time
        peak_memory_mb  the most memory that this process or one such child ever had resident, in MiB. It is not the
                        stage's alone: the system counts it from the process's start, and never back
        """
        cpu, peak = _used()
        wall, cpu = max(time.monotonic() - self._wall, 0.0), max(cpu - self._cpu, 0.0)
        return {
            "wall_seconds": round(wall, 3),
            "cpu_seconds": round(cpu, 3),
            "cpu_percent": round(100 * cpu / wall, 1) if wall else 0.0,
            "peak_memory_mb": round(peak / _MIB, 1),
        }


def _used() -> tuple[float, float]:
    """Return the process's totals since it began: processor seconds and peak memory in bytes."""
    try:
        import resource
    except ImportError:
        return _used_by_psutil()
    import sys

    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) has bytes there, KiB on Linux and the BSDs
    # A program started by a large one inherits that one's ru_maxrss through exec; /proc has its own.
    own_peak = _high_water() or own.ru_maxrss * unit
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return cpu, max(own_peak, children.ru_maxrss * unit)


def _high_water() -> int:
    """Return the peak of this process's resident memory in bytes as Linux tells it; 0 where it does not."""
    try:
        with open("/proc/self/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _used_by_psutil() -> tuple[float, float]:
    import psutil

    process = psutil.Process()
    times, memory = process.cpu_times(), process.memory_info()
    # Not every system knows children's times, or a peak: then it is the memory of this moment.
    cpu = times.user + times.system + getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(cpu), float(getattr(memory, "peak_wset", memory.rss))
