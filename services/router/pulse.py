"""Calls what must happen several times a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Seconds between two beats. Deadlines are kept this exactly; everything urgent is told by events instead.
PERIOD = 0.05


async def pulse(*beats: Callable[[], None], period: float = PERIOD) -> None:
    """Calls each function every `period` seconds, for ever."""
    while True:
        for beat in beats:
            beat()
        await asyncio.sleep(period)
