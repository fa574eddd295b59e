"""Every test here must leave nothing behind: no task, and no exception that nobody looked at."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    before = asyncio.all_tasks()
    yield
    await eventually(lambda: asyncio.all_tasks() <= {*before, asyncio.current_task()})
    gc.collect()
    assert unhandled == []
