import asyncio

from services.common.catalog import Catalog
from services.router.availability import Availability
from services.router.runners.load import Report
from tests.unit.router.world import CATALOG, World, record

READY = Report(slots=1, active=0, admitted=0)


async def test_followers_get_the_state_now_and_after_each_change() -> None:
    world = World()
    availability = Availability(CATALOG, world.table)
    availability.refresh()
    follower = availability.follow()
    assert dict(await anext(follower)) == {"small": 0, "large": 0, "large-think": 0}
    runner = world.up("a")
    world.up("b", "small", "large")
    availability.refresh()
    assert dict(await anext(follower)) == {"small": 2, "large": 1, "large-think": 0}
    world.table.lost(runner, "gone")
    availability.refresh()
    assert dict(await anext(follower)) == {"small": 1, "large": 1, "large-think": 0}


async def test_nothing_is_told_before_it_is_known() -> None:
    world = World(synced=False)
    availability = Availability(CATALOG, world.table)
    first = asyncio.ensure_future(anext(availability.follow()))
    availability.refresh()
    world.table.replace([record("a")])
    availability.refresh()
    world.table.report(world.runner("a"), READY)
    availability.refresh()
    assert dict(await first) == {"small": 1, "large": 0, "large-think": 0}


async def test_load_alone_tells_nothing() -> None:
    world = World()
    runner = world.up("a")
    availability = Availability(CATALOG, world.table)
    availability.refresh()
    follower = availability.follow()
    await anext(follower)
    world.table.report(runner, Report(slots=1, active=1, admitted=1))
    availability.refresh()
    waiting = asyncio.ensure_future(anext(follower, None))
    await availability.drain(1.0)
    assert await waiting is None


async def test_a_model_that_comes_into_the_catalog_is_counted() -> None:
    world = World()
    world.up("a")
    catalog = Catalog(CATALOG.models[:1])
    availability = Availability(catalog, world.table)
    availability.refresh()
    follower = availability.follow()
    assert dict(await anext(follower)) == {"small": 1}
    catalog.replace(CATALOG)
    availability.refresh()
    assert dict(await anext(follower)) == {"small": 1, "large": 0, "large-think": 0}
