"""CPU time and memory of processes, from the kernel's own accounting."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Returns user plus system time of each process since its start, children not included."""
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return {name: time.user + time.system for name, time in times.items()}


def rss_megabytes(pids: Mapping[str, int]) -> dict[str, float]:
    """Returns the resident memory of each process."""
    return {name: psutil.Process(pid).memory_info().rss / 1e6 for name, pid in pids.items()}
