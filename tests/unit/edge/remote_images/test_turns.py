"""Nobody who fills the line keeps others out of it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import Code, MeshError
from services.edge.remote_images.turns import FairTurns
from tests.support.deadlines import within


class Fetch:
    """Holds a turn until it is told to end."""

    def __init__(self, turns: FairTurns, account: str) -> None:
        self.account = account
        self.began = False
        self._end = asyncio.Event()
        self._task = asyncio.create_task(self._run(turns))

    async def _run(self, turns: FairTurns) -> None:
        async with turns.turn(self.account):
            self.began = True
            await self._end.wait()

    async def end(self) -> None:
        self._end.set()
        await self._task

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_account_has_a_quarter_and_others_are_served_at_once() -> None:
    turns = FairTurns(8, wait_seconds=60)
    villain = [Fetch(turns, "villain") for _ in range(50)]
    await settle()
    assert sum(fetch.began for fetch in villain) == 2
    async with within(5), turns.turn("other"):
        pass
    for fetch in villain:
        await fetch.leave()


async def test_accounts_take_turns_when_all_are_taken() -> None:
    turns = FairTurns(4, wait_seconds=60)
    holding = [Fetch(turns, name) for name in "abcd"]
    await settle()
    waiting = [Fetch(turns, "a") for _ in range(3)] + [Fetch(turns, "e")]
    await settle()
    assert not any(fetch.began for fetch in waiting)
    await holding[1].end()
    await settle()
    # Account a has its share already, though it waits longer.
    assert [fetch.began for fetch in waiting] == [False, False, False, True]
    for fetch in [*waiting, *holding]:
        await fetch.leave()


async def test_who_waits_too_long_is_told_so() -> None:
    turns = FairTurns(1, wait_seconds=0.05)
    async with turns.turn("a"):
        with pytest.raises(MeshError, match="data: URLs") as refused:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(turns.turn("b"))
    assert refused.value.code is Code.OVERLOADED
    assert refused.value.retry_after
    async with within(5), turns.turn("b"):
        pass


@given(steps=st.lists(st.tuples(st.sampled_from(["begin", "end", "leave"]), st.integers(0, 9)), max_size=40))
async def test_no_turn_is_lost_or_given_twice(steps: list[tuple[str, int]]) -> None:
    turns = FairTurns(4, wait_seconds=60)
    fetches: list[Fetch] = []
    for what, number in steps:
        if what == "begin":
            fetches.append(Fetch(turns, "abc"[number % 3]))
        elif fetches:
            fetch = fetches.pop(number % len(fetches))
            await (fetch.end() if what == "end" and fetch.began else fetch.leave())
        await settle()
        began = [fetch.account for fetch in fetches if fetch.began]
        # Everybody who waits has the share of one already: three accounts never use up four turns.
        assert all(began.count(account) == 1 for account in {fetch.account for fetch in fetches})
    for fetch in fetches:
        await fetch.leave()
    async with AsyncExitStack() as stack, within(5):
        for account in "wxyz":
            await stack.enter_async_context(turns.turn(account))
