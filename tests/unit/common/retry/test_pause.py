from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.common.retry.pause import pause


async def test_a_cancellation_that_an_attempt_swallowed_ends_the_loop() -> None:
    attempts = 0
    attempting = asyncio.Event()

    async def try_again_and_again() -> None:
        nonlocal attempts
        while True:
            attempts += 1
            attempting.set()
            # As gRPC does while it starts a call.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await pause(60.0)

    task = asyncio.create_task(try_again_and_again())
    await attempting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert attempts == 1


async def test_without_one_it_only_sleeps() -> None:
    await pause(0.0)
