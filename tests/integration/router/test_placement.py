"""Who is chosen, and what is answered when nobody can be."""

from collections.abc import AsyncIterator

from services.common.catalog import load_catalog
from services.common.errors import Code
from services.common.settings import DEFAULT_CATALOG
from tests.integration.router.mesh import MODEL, RouterMesh, attempt, refused
from tests.support.deadlines import within
from tiermesh.router.v1 import router_pb2

FAILED, FULL = router_pb2.Attempt.RESULT_FAILED, router_pb2.Attempt.RESULT_FULL


async def available(snapshots: AsyncIterator[router_pb2.WatchAvailabilityResponse]) -> dict[str, int]:
    async with within(1.0):
        snapshot = await anext(snapshots)
    assert all(model.available == (model.runners > 0) for model in snapshot.models)
    return {model.model: model.runners for model in snapshot.models}


async def test_a_registered_runner_is_routed_to(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a")
    reply = await mesh.route()
    assert (reply.runner_id, reply.address) == ("a", runner.record.address)


async def test_unknown_models_and_empty_tiers(mesh: RouterMesh) -> None:
    await mesh.runner("a")
    assert await mesh.refusal("no-such-model") is Code.MODEL_NOT_FOUND
    error = refused(await mesh.route("tiermesh-max"))
    assert error.code is Code.UNAVAILABLE
    assert "'max'" in error.message


async def test_a_draining_runner_is_not_chosen_and_goes_with_its_record(mesh: RouterMesh) -> None:
    leaving = await mesh.runner("a")
    await mesh.runner("b")
    leaving.drain()
    await mesh.until_state(leaving, "draining")
    assert {await mesh.place() for _ in range(4)} == {"b"}
    await leaving.unregister()
    await mesh.until_state(leaving, None)


async def test_a_failed_runner_is_out_until_a_fresh_status(mesh: RouterMesh) -> None:
    failed = await mesh.runner("a", slots=100)
    await mesh.runner("b", slots=100)
    assert await mesh.place(MODEL, attempt(failed, FAILED)) == "b"
    assert await mesh.place() == "b"
    await mesh.until_state(failed, "ready")
    assert {await mesh.place() for _ in range(20)} == {"a", "b"}
    assert 'tiermesh_router_ejections_total{reason="request_failed",tier="pro"} 1.0' in await mesh.router.metrics()


async def test_a_runner_that_refused_is_asked_again_when_it_has_room(mesh: RouterMesh) -> None:
    runner = await mesh.runner("a")
    await mesh.place()
    runner.admit(4)
    runner.finish(4)
    assert await mesh.place(MODEL, attempt(runner, FULL)) == "a"


async def test_load_spreads_and_is_listed(mesh: RouterMesh) -> None:
    for runner_id in ("a", "b", "c"):
        await mesh.runner(runner_id, slots=10)
    for _ in range(15):
        await mesh.place()
    active = {runner_id: view.active for runner_id, view in (await mesh.views()).items()}
    assert sum(active.values()) == 15
    assert max(active.values()) <= 7


async def test_availability_follows_within_a_second(mesh: RouterMesh) -> None:
    async with mesh.availability() as snapshots:
        nobody = dict.fromkeys((model.id for model in load_catalog(DEFAULT_CATALOG).models), 0)
        assert await available(snapshots) == nobody
        runner = await mesh.runner("a", MODEL, "tiermesh-max")
        assert await available(snapshots) == nobody | {MODEL: 1, "tiermesh-max": 1}
        await runner.kill()
        assert await available(snapshots) == nobody


async def test_sigterm_ends_the_process_in_good_order(mesh: RouterMesh) -> None:
    await mesh.runner("a")
    async with mesh.availability() as snapshots:
        await available(snapshots)
        assert await mesh.router.stop() == 0
        assert [_ async for _ in snapshots] == []
