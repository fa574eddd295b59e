"""Every deadline of the tests: how long they wait, stretched on a busy machine, so that it is slow and not red.

Each number in the tests is what an idle machine needs, with a margin. It is multiplied by `stretch()`, which is 1 on an
idle machine and grows with the processes that wait for a core.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A factor that the measured one never falls below, for machines whose load cannot be measured.
VARIABLE = "TIERMESH_TEST_STRETCH"
# pytest-xdist tells each process how many run beside it.
_WORKERS_VARIABLE = "PYTEST_XDIST_WORKER_COUNT"
# Of a share of the cores that work needs; the margin of a deadline is for what one busy process takes.
_WEIGHT = 2.0
_LOAD = Path("/proc/loadavg")


def stretch() -> float:
    """Returns the factor now: by how much a process gets fewer cores than on an idle machine, with a margin."""
    cores = os.cpu_count() or 1
    workers = int(os.environ.get(_WORKERS_VARIABLE, "1"))
    return max(1.0, float(os.environ.get(VARIABLE, "1")), workers / cores, _WEIGHT * _load() / cores)


def stretched(seconds: float) -> float:
    """Returns a deadline in seconds as it holds now."""
    return seconds * stretch()


def within(seconds: float) -> asyncio.Timeout:
    """Is `asyncio.timeout` with a stretched deadline."""
    return asyncio.timeout(stretched(seconds))


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fails the test if the block takes longer; the load before and after it stretches the bound."""
    before, began = stretch(), time.monotonic()
    yield
    check_took(time.monotonic() - began, seconds, before)


def check_took(taken: float, seconds: float, stretch_before: float = 1.0) -> None:
    """Fails the test if something has taken longer than `seconds`, stretched."""
    bound = seconds * max(stretch_before, stretch())
    assert taken < bound, f"it took {taken:.3f} s, and may take {bound:.3f} s at this load ({seconds} s without any)"


def _load() -> float:
    """Returns how many processes run or wait for a core: the last minute's average or this moment's, if more do."""
    average = os.getloadavg()[0]
    try:
        running, _, _ = _LOAD.read_text().split()[3].partition("/")
    except OSError:
        return average
    return max(average, float(running))
