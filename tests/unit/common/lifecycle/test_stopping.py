from __future__ import annotations

import asyncio

import pytest

from services.common.lifecycle.stopping import unless_stopped


async def test_work_that_ends_is_done() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    assert await unless_stopped(work(), asyncio.Event())
    assert done == [1]


async def test_work_that_waits_is_cancelled() -> None:
    stop, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    asyncio.get_running_loop().call_soon(stop.set)
    assert not await unless_stopped(work(), stop)
    assert cancelled.is_set()


async def test_errors_are_passed_on() -> None:
    async def work() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await unless_stopped(work(), asyncio.Event())
