from __future__ import annotations

import asyncio

import pytest

from services.cli.local.up import Interrupts, first_of


async def test_the_first_to_return_ends_the_others() -> None:
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await first_of(endless(), asyncio.sleep(0))
    assert ended.is_set()


async def test_the_first_to_fail_decides() -> None:
    async def fail() -> None:
        raise KeyError("reason")

    with pytest.raises(KeyError, match="reason"):
        await first_of(asyncio.Event().wait(), fail())


def test_the_second_signal_is_another_matter() -> None:
    calls: list[str] = []
    interrupts = Interrupts(on_second=lambda: calls.append("kill"))
    interrupts.receive()
    assert (interrupts.first.is_set(), interrupts.repeated, calls) == (True, False, [])
    interrupts.receive()
    assert (interrupts.repeated, calls) == (True, ["kill"])
