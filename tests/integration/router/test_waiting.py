"""What happens while every runner is busy."""

import asyncio
from pathlib import Path

from services.common.errors import Code
from tests.integration.router.mesh import RouterMesh, refused, router_mesh
from tests.support.waiting import eventually


async def test_waiting_requests_get_the_slot_in_fair_order(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a", slots=1)
    await mesh.place()
    runner.admit()
    served: list[str] = []

    async def request(name: str, account: str) -> None:
        reply = await mesh.route(account=account, timeout=30.0)
        assert reply.runner_id == "a"
        served.append(name)

    async with asyncio.TaskGroup() as group:
        for count, name in enumerate(["x1", "x2", "x3", "y1"], start=1):
            group.create_task(request(name, account=name[0]))
            await mesh.until_waiting(count)
        for count in range(1, 5):
            runner.finish()
            await eventually(lambda count=count: len(served) == count)  # type: ignore[misc]  # mypy cannot infer it
            runner.admit()
    assert served == ["x1", "y1", "x2", "x3"]
    assert 'tiermesh_router_queue_wait_seconds_count{tier="pro"} 4.0' in await mesh.router.metrics()


async def test_waiting_ends_at_its_deadline_with_advice(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a", slots=1)
    await mesh.place()
    runner.admit()
    started = asyncio.get_running_loop().time()
    error = refused(await mesh.route(timeout=1.0))
    assert 0.5 < asyncio.get_running_loop().time() - started < 1.0
    assert error.code is Code.DEADLINE_EXCEEDED
    assert "'pro'" in error.message
    assert error.retry_after > 0


async def test_a_request_whose_caller_left_gives_its_turn_away(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a", slots=1)
    await mesh.place()
    runner.admit()
    left = asyncio.create_task(mesh.route(timeout=30.0))
    await mesh.until_waiting(1)
    stays = asyncio.create_task(mesh.route(timeout=30.0))
    await mesh.until_waiting(2)
    left.cancel()
    await mesh.until_waiting(1)
    runner.finish()
    assert (await stays).runner_id == "a"


async def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    async with router_mesh(tmp_path, queue_limit="1") as mesh:
        runner = await mesh.runner("a", slots=1)
        await mesh.place()
        runner.admit()
        waits = asyncio.create_task(mesh.route(timeout=30.0))
        await mesh.until_waiting(1)
        assert await mesh.refusal() is Code.OVERLOADED
        runner.finish()
        assert (await waits).runner_id == "a"
