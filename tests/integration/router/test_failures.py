"""Runners, etcd and the router itself die and come back."""

import asyncio
import socket
import time
from pathlib import Path

from services.common.errors import Code
from tests.integration.router.mesh import RouterMesh, refused, router_mesh
from tests.support.deadlines import stretched, within
from tests.support.waiting import eventually


async def test_a_dead_runner_is_out_long_before_its_lease_ends_and_back_when_it_is(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a")
    await runner.kill()
    killed = time.monotonic()

    async def is_refused() -> bool:
        reply = await mesh.route()
        return reply.HasField("error") and refused(reply).code is Code.UNAVAILABLE

    await eventually(is_refused)
    assert time.monotonic() - killed < stretched(0.5)
    assert (await mesh.views())["a"].state == "ejected"
    await runner.start()
    await mesh.until_state(runner, "ready")
    assert await mesh.place() == "a"


async def test_a_dead_runner_fails_those_who_wait_for_it_at_once(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a", slots=1)
    await mesh.place()
    runner.admit()
    waits = asyncio.create_task(mesh.route(timeout=60.0))
    await mesh.until_waiting(1)
    await runner.kill()
    async with within(1.0):
        assert refused(await waits).code is Code.UNAVAILABLE


async def test_etcd_may_die_and_come_back(mesh: RouterMesh) -> None:
    await mesh.runner("a")
    await mesh.etcd.kill()
    assert await mesh.place() == "a"
    await mesh.etcd.start()
    assert await mesh.place() == "a"
    await mesh.runner("b")
    assert await mesh.router.ready()


async def test_an_etcd_that_comes_back_empty_takes_no_living_runner_away(mesh: RouterMesh) -> None:
    alive = await mesh.runner("alive", leased=False)
    dead = await mesh.runner("dead", leased=False)
    await mesh.etcd.wipe()
    await dead.kill()
    await mesh.etcd.start()
    # Once the router sees a new runner, it has also seen that the others are gone from etcd.
    await mesh.runner("new", "tiermesh-max")
    await mesh.until_state(dead, None)
    await mesh.until_state(alive, "ready")
    assert await mesh.place() == "alive"
    await alive.register_once()
    assert await mesh.place() == "alive"


async def test_a_living_runner_without_a_record_goes_after_a_grace_period(tmp_path: Path) -> None:
    async with router_mesh(tmp_path, unregistered_grace_seconds="1") as mesh:
        runner = await mesh.runner("a", leased=False)
        await runner.unregister()
        await eventually(lambda: "runner_lost_its_record" in mesh.router.log())
        assert await mesh.place() == "a"
        await mesh.until_state(runner, None)
        assert await mesh.refusal() is Code.UNAVAILABLE


async def test_a_killed_router_routes_within_two_seconds_of_its_restart(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a")
    await mesh.runner("b", "tiermesh-max")
    await mesh.router.kill()
    waits = asyncio.create_task(mesh.place(timeout=30.0))
    await mesh.router.start(ready=False)
    # How long the interpreter takes to start is the machine's affair.
    started = time.monotonic()
    assert await waits == runner.id
    assert time.monotonic() - started < stretched(2.0)


async def test_a_router_without_etcd_is_not_ready_and_requests_wait_only_so_long(tmp_path: Path) -> None:
    async with router_mesh(tmp_path, etcd_up=False, settle_seconds="1") as mesh:
        assert not await mesh.router.ready()
        await eventually(lambda: mesh.edge.connected)
        started = time.monotonic()
        assert await mesh.refusal(timeout=20.0) is Code.UNAVAILABLE
        assert 0.5 < time.monotonic() - started < 1.0 + stretched(0.5)
        await mesh.etcd.start()
        waits = asyncio.create_task(eventually(mesh.router.ready))
        await mesh.runner("a")
        await waits
        assert await mesh.place() == "a"


async def test_another_runner_at_a_dead_ones_address_is_not_mistaken_for_it(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a", leased=False)
    await runner.kill()
    await mesh.until_state(runner, "ejected")
    runner.id = "impostor"
    await runner.start()
    await eventually(lambda: "impostor" in mesh.router.log())
    assert await mesh.refusal() is Code.UNAVAILABLE


async def test_a_runner_that_says_nothing_is_given_up(mesh: RouterMesh) -> None:
    # The kernel accepts connections to it, and nobody ever reads from them.
    with socket.create_server(("127.0.0.1", 0)) as mute:
        await mesh.runner("mute", address=f"127.0.0.1:{mute.getsockname()[1]}")
        started = time.monotonic()
        assert await mesh.refusal(timeout=20.0) is Code.UNAVAILABLE
        assert time.monotonic() - started < stretched(3.0)


async def test_an_unreadable_record_is_left_out(mesh: RouterMesh) -> None:
    await mesh.put_record(b"broken", b"{")
    await mesh.put_record(b"other", b'{"id": "else"}')
    await mesh.runner("a")
    assert list(await mesh.views()) == ["a"]
    assert mesh.router.log().count("runner_record_unreadable") == 2
