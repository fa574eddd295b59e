"""The bench holds and releases audits, and tells what their thread spends."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.large_ledger.billing import Conductor, Pace
from bench.processes import thread_seconds
from services.billing.store.audit.pace import PacedWork

_MANY_TURNS = 100


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    read, write = os.pipe()
    with os.fdopen(read) as stdin, os.fdopen(write, "wb"):
        monkeypatch.setattr(sys, "stdin", stdin)
        yield write


@pytest.mark.parametrize("released", [Pace.OWN, Pace.FAST])
async def test_a_slice_is_read_when_it_is_no_longer_held(orders: int, released: Pace) -> None:
    conductor, began = Conductor(), asyncio.Event()

    async def work() -> str:
        began.set()
        return "read"

    def order(pace: Pace) -> None:
        os.write(orders, pace.value)
        conductor.hear()

    order(Pace.HELD)
    slices = asyncio.create_task(conductor.do(PacedWork(rest=4.0), work()))
    for _ in range(_MANY_TURNS):
        await asyncio.sleep(0)
    assert not began.is_set()
    order(released)
    assert await slices == "read"


def test_the_time_of_a_thread_is_told_by_its_name() -> None:
    name, spent, told = "auditing", 0.0, 0.0

    def work() -> None:
        nonlocal spent, told
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)
        began = time.thread_time()
        before = thread_seconds(os.getpid(), name)
        while time.thread_time() < began + 0.05:
            pass
        told = thread_seconds(os.getpid(), name) - before
        spent = time.thread_time() - began

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    # The kernel adds up at least a hundred times a second.
    assert 0.03 <= told <= spent
    assert thread_seconds(os.getpid(), "nobody") == 0.0
