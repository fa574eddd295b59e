"""Deadlines of tests stretch with the load, and there is one place that they come from."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

from tests.support import deadlines
from tests.support.deadlines import VARIABLE, stretch, stretched, within

TESTS = Path(__file__).parents[1]
# Here the time is what is tested: how long a client waits before it leaves, and how long a prompt takes at least.
BOUNDS_OF_THEIR_OWN = {"chaos/client.py", "gpu/report.py", "simulator/client.py", "support/answer_contract.py"}


@pytest.fixture(autouse=True)
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (VARIABLE, "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    set_load(monkeypatch, average=0.3, running=1)


def set_load(monkeypatch: pytest.MonkeyPatch, *, average: float, running: int) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (average, 0.0, 0.0))
    monkeypatch.setattr(deadlines, "_running", lambda: running)


def test_an_idle_machine_has_the_deadlines_as_they_are_written() -> None:
    assert stretched(2.5) == 2.5


@pytest.mark.parametrize(("average", "running", "factor"), [(4.0, 1, 4.0), (0.2, 6, 6.0), (100.0, 90, 10.0)])
def test_a_busy_machine_has_longer_ones(
    monkeypatch: pytest.MonkeyPatch, average: float, running: int, factor: float
) -> None:
    set_load(monkeypatch, average=average, running=running)
    assert stretch() == factor


def test_processes_beside_this_one_are_expected_to_be_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    assert stretch() == 2


def test_the_environment_sets_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    assert stretch() == 3
    set_load(monkeypatch, average=8.0, running=1)
    assert stretch() == 8


async def test_a_block_that_takes_longer_fails() -> None:
    with pytest.raises(TimeoutError):
        async with within(0.0):
            await asyncio.Event().wait()


def test_the_load_of_this_machine_can_be_read() -> None:
    assert deadlines._running() >= 0
    assert deadlines._load() > 0


def test_no_test_has_a_time_limit_that_does_not_stretch() -> None:
    own = {"support/deadlines.py", "support/waiting.py", *BOUNDS_OF_THEIR_OWN}
    files = {str(path.relative_to(TESTS)): path for path in TESTS.rglob("*.py") if "node_modules" not in path.parts}
    limited = {name for name, path in files.items() if re.search(r"asyncio\.timeout\(", path.read_text())}
    assert limited == own
