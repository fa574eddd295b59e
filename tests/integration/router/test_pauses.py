"""A router that is stopped for a while, as a machine is that is suspended."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from services.router.pauses import LONGEST_GAP
from tests.integration.router.mesh import RouterMesh
from tests.support.waiting import eventually


async def test_who_waited_is_placed_although_the_streams_broke_meanwhile(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a", slots=1)
    await mesh.place()
    runner.admit()
    waiting = asyncio.create_task(mesh.route(timeout=30.0))
    await mesh.until_waiting(1)
    os.kill(mesh.router.pid, signal.SIGSTOP)
    try:
        stopped = time.monotonic()
        # The runner has lost nothing but its connections.
        await runner.kill()
        await runner.start()
        arriving = asyncio.create_task(mesh.route(timeout=30.0))
        await eventually(lambda: time.monotonic() - stopped > LONGEST_GAP + 0.5)
    finally:
        os.kill(mesh.router.pid, signal.SIGCONT)
    assert (await waiting).runner_id == "a"
    runner.admit()
    runner.finish()
    assert (await arriving).runner_id == "a"
