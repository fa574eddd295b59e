"""A router that is stopped for a while, as a machine is that is suspended."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from services.edge.paid.routing import router_client
from services.router.pauses import LONGEST_GAP
from services.router.service import LIFE_PERIOD
from tests.integration.router.mesh import MODEL, RouterMesh
from tests.support.waiting import eventually
from tiermesh.router.v1 import router_pb2


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


async def test_an_edge_gives_up_a_router_that_is_silent_and_not_one_whose_runners_are_busy(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a", slots=1)
    await mesh.place()
    runner.admit()
    edge = router_client([mesh.router.address], channel_opener(TlsSettings()), silence=2.5 * LIFE_PERIOD)
    edge.open()
    try:
        call = router_pb2.RouteCall(model=MODEL, account_id="x")
        began = time.monotonic()
        # Longer than any silence, though the router says nothing but that it lives.
        waiting = asyncio.create_task(edge.request(call, 600.0))
        await mesh.until_waiting(1)
        await eventually(lambda: time.monotonic() - began > 3 * LIFE_PERIOD)
        assert not waiting.done()
        os.kill(mesh.router.pid, signal.SIGSTOP)
        try:
            with pytest.raises(MeshError) as error:
                await waiting
            assert error.value.code is Code.UNAVAILABLE
        finally:
            os.kill(mesh.router.pid, signal.SIGCONT)
        runner.finish()
        assert (await edge.request(router_pb2.RouteCall(model=MODEL, account_id="x"), 600.0)).runner_id == "a"
    finally:
        await edge.close()
