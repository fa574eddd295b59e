"""CPU time and memory of processes, from the kernel's own accounting."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from pathlib import Path

import psutil


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Returns user plus system time of each process since its start, children not included."""
    return {name: _cpu_seconds(pid) for name, pid in pids.items()}


def _cpu_seconds(pid: int) -> float:
    if platform.system() == "Linux":
        # The clock that clock_getcpuclockid(3) names. It counts nanoseconds, while /proc tells hundredths of a second,
        # which is several per cent of a short measurement.
        return time.clock_gettime((~pid << 3) | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def thread_seconds(pid: int, name: str) -> float:
    """Returns the CPU time of a process's threads of this name, which Linux cuts after 15 characters."""
    seconds = 0.0
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            # Its first number is the time on a processor, in nanoseconds.
            seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
    return seconds


def rss_megabytes(pids: Mapping[str, int]) -> dict[str, float]:
    """Returns the resident memory of each process."""
    return {name: psutil.Process(pid).memory_info().rss / 1e6 for name, pid in pids.items()}
