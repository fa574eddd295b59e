"""Lets a service that is still waiting for something be told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def unless_stopped(work: Coroutine[None, None, None], stop: asyncio.Event) -> bool:
    """Runs `work` to its end and returns True, or cancels it as soon as `stop` is set and returns False."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
