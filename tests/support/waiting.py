"""Waiting for a condition, so that no test sleeps."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from tests.support.deadlines import stretched

_POLL_SECONDS = 0.01


async def eventually(condition: Callable[[], bool | Awaitable[bool]], timeout: float = 10.0) -> None:
    """Returns as soon as `condition` holds; fails the test if it does not within `timeout` seconds, stretched."""
    patience = stretched(timeout)
    try:
        async with asyncio.timeout(patience):
            while not await _holds(condition):  # noqa: ASYNC110 - what is waited for tells nobody
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"the condition did not hold within {patience:g} s") from None


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    outcome = condition()
    return await outcome if inspect.isawaitable(outcome) else outcome
