"""An edge that stops ends what waits with an error, and takes no other cancellation for its own."""

from __future__ import annotations

import asyncio

import pytest

from services.common.errors import Code, MeshError
from services.edge.paid.cut_off import CutOff
from tests.support.waiting import eventually


class Waiter:
    """A task that waits inside `while_waiting`."""

    def __init__(self, cut_off: CutOff) -> None:
        self.waits = False
        self.task = asyncio.create_task(self._wait(cut_off))

    async def _wait(self, cut_off: CutOff) -> None:
        with cut_off.while_waiting():
            self.waits = True
            await asyncio.Event().wait()


@pytest.fixture
def cut_off() -> CutOff:
    return CutOff()


async def test_what_waits_is_told(cut_off: CutOff) -> None:
    waiters = [Waiter(cut_off) for _ in range(3)]
    await eventually(lambda: all(waiter.waits for waiter in waiters))
    cut_off.now()
    for waiter in waiters:
        with pytest.raises(MeshError) as caught:
            await waiter.task
        assert caught.value.code is Code.UNAVAILABLE
        assert not waiter.task.cancelled()


async def test_what_begins_later_is_told_at_once(cut_off: CutOff) -> None:
    before = Waiter(cut_off)
    await eventually(lambda: before.waits)
    cut_off.now()
    after = Waiter(cut_off)
    for waiter in (before, after):
        with pytest.raises(MeshError) as caught:
            await waiter.task
        assert caught.value.code is Code.UNAVAILABLE
    assert not after.waits
    with pytest.raises(MeshError):
        cut_off.add(lambda _: None)


async def test_it_is_told_once_however_often_the_edge_says_so(cut_off: CutOff) -> None:
    waiter = Waiter(cut_off)
    await eventually(lambda: waiter.waits)
    cut_off.now()
    cut_off.now()
    with pytest.raises(MeshError):
        await waiter.task
    assert waiter.task.cancelling() == 0


@pytest.mark.parametrize("before", [True, False])
async def test_another_cancellation_counts_for_more(cut_off: CutOff, before: bool) -> None:
    waiter = Waiter(cut_off)
    await eventually(lambda: waiter.waits)
    if before:
        waiter.task.cancel()
        cut_off.now()
    else:
        cut_off.now()
        waiter.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter.task


async def test_a_cancellation_by_others_stays_one(cut_off: CutOff) -> None:
    waiter = Waiter(cut_off)
    await eventually(lambda: waiter.waits)
    waiter.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter.task


async def test_what_no_longer_waits_is_left_alone(cut_off: CutOff) -> None:
    async def work() -> str:
        with cut_off.while_waiting():
            await asyncio.sleep(0)
        cut_off.now()
        await asyncio.sleep(0)
        return "done"

    assert await work() == "done"
