"""Waits before another attempt."""

from __future__ import annotations

import asyncio


async def pause(seconds: float) -> None:
    """Sleeps, unless the task was cancelled before and does not know it yet.

    A cancellation that comes while gRPC starts a call ends that call, and nothing else: the attempt fails as if the
    peer had failed it. Without this, a loop that tries again would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
    await asyncio.sleep(seconds)
