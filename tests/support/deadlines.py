"""Every deadline of the tests: how long they wait, stretched on a busy machine, so that it is slow and not red.

Each number in the tests is what an idle machine needs, with a margin. It is multiplied by `stretch()`, which is 1 on an
idle machine and grows with the processes that wait for a core.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

# A factor that the measured one never falls below, for machines whose load cannot be measured.
VARIABLE = "TIERMESH_TEST_STRETCH"
# pytest-xdist tells each process how many run beside it.
_WORKERS_VARIABLE = "PYTEST_XDIST_WORKER_COUNT"
# What a test starts are several processes, so its work slows down faster than its share of the cores shrinks.
_WEIGHT = 2.0
# A bound tells "at once" from a time limit that is at least this many times as long.
_MOST = 10.0
_LOAD = Path("/proc/loadavg")


def stretch() -> float:
    """Returns the factor now, from 1 to 10: by how much longer work takes than on an idle machine, with a margin."""
    cores = os.cpu_count() or 1
    workers = int(os.environ.get(_WORKERS_VARIABLE, "1"))
    least = float(os.environ.get(VARIABLE, "1"))
    return min(_MOST, max(1.0, least, workers / cores, _WEIGHT * _load() / cores))


def stretched(seconds: float) -> float:
    """Returns a deadline in seconds as it holds now."""
    return seconds * stretch()


def within(seconds: float) -> asyncio.Timeout:
    """Is `asyncio.timeout` with a stretched deadline."""
    return asyncio.timeout(stretched(seconds))


def _load() -> float:
    """Returns how many processes run or wait for a core: the last minute's average or this moment's, if more do."""
    return max(os.getloadavg()[0], _running())


def _running() -> int:
    """Returns how many do so at this moment; 0 where the kernel does not tell."""
    try:
        return int(_LOAD.read_text().split()[3].partition("/")[0])
    except OSError:
        return 0
