"""What is on its way: transfers that no watcher has read, for people who look, and how often the node is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.common.errors import Code, MeshError
from services.payments.chain.json_rpc import JsonRpc
from services.payments.chain.node import Node
from services.payments.pending import KEEP_SECONDS, PendingDeposits
from tests.integration.payments.world import World

GENEROUS = 1_000


class Clock:
    """Seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Looking:
    """Somebody who looks at a world, some seconds after the last time."""

    def __init__(self, world: World, *, most_blocks: int = 50, reads_per_minute: int = GENEROUS) -> None:
        self.clock = Clock()
        self.node = Node(JsonRpc(world.proxy.url, 10.0), world.chain.chain_id, world.token.address)
        options = {"most_blocks": most_blocks, "reads_per_minute": reads_per_minute}
        self.pending = PendingDeposits(self.node, world.billing, self.clock, **options)

    async def at(self, address: str, *, seconds: float = KEEP_SECONDS) -> list[tuple[int, bool]]:
        """Returns the amounts that are on their way, newest first, and whether each is final."""
        self.clock.now += seconds
        found = await self.pending.of(address)
        return [(each.atomic, each.block_number <= found.final_block) for each in found.transfers]

    async def refused(self, address: str, *, seconds: float = KEEP_SECONDS) -> Code:
        with pytest.raises(MeshError) as caught:
            await self.at(address, seconds=seconds)
        return caught.value.code


@pytest.fixture
async def looking(world: World) -> AsyncIterator[Looking]:
    looking = Looking(world)
    yield looking
    await looking.node.close()


async def test_a_transfer_is_on_its_way_until_a_watcher_has_read_it(world: World, looking: Looking) -> None:
    ada, grace = world.addresses["ada"], world.addresses["grace"]
    assert await looking.at(ada) == []
    world.token.transfer(ada, 40_000)
    world.token.transfer(ada, 5)
    assert await looking.at(ada) == [(5, False), (40_000, False)]
    assert await looking.at(grace) == []
    assert await world.credits() == {"ada": 0, "grace": 0, "edsger": 0}
    world.finalize()
    # No gap between final and credited: until the watcher has read it, it is still on its way.
    assert await looking.at(ada) == [(5, True), (40_000, True)]
    await world.read(world.watcher())
    assert await looking.at(ada) == []
    assert await world.credits() == {"ada": 4, "grace": 0, "edsger": 0}


async def test_what_the_chain_drops_is_not_on_its_way_any_more(own_world: World) -> None:
    world, looking = own_world, Looking(own_world)
    world.token.transfer(world.addresses["ada"], 40_000)
    assert await looking.at(world.addresses["ada"]) == [(40_000, False)]
    world.chain.rewrite(1)
    assert await looking.at(world.addresses["ada"]) == []
    await looking.node.close()


async def test_the_node_is_asked_once_for_all_who_look_at_an_address(world: World, looking: Looking) -> None:
    ada = world.addresses["ada"]
    await looking.at(ada)
    asked = len(world.proxy.calls)
    for _ in range(20):
        await looking.at(ada, seconds=0)
    assert len(world.proxy.calls) == asked
    await looking.at(ada)
    assert len(world.proxy.calls) > asked


async def test_the_node_is_asked_so_often_in_a_minute_and_no_more(world: World) -> None:
    looking = Looking(world, reads_per_minute=2)
    addresses = [world.addresses[name] for name in ("ada", "grace", "edsger")]
    assert [await looking.at(each, seconds=0) for each in addresses[:2]] == [[], []]
    asked = len(world.proxy.calls)
    assert await looking.refused(addresses[2], seconds=0) is Code.UNAVAILABLE
    assert len(world.proxy.calls) == asked
    # What was read serves on.
    assert await looking.at(addresses[0], seconds=0) == []
    assert await looking.at(addresses[2], seconds=61) == []
    never = Looking(world, reads_per_minute=0)
    assert await never.refused(addresses[0]) is Code.UNAVAILABLE
    for each in (looking, never):
        await each.node.close()


async def test_many_blocks_are_asked_for_in_ranges_that_the_node_takes_newest_first(world: World) -> None:
    looking = Looking(world, most_blocks=2)
    world.token.transfer(world.addresses["ada"], 70_000)
    world.chain.mine(4)
    world.token.transfer(world.addresses["ada"], 80_000)
    assert [atomic for atomic, _ in await looking.at(world.addresses["ada"])] == [80_000, 70_000]
    ranges = [call["params"][0] for call in world.proxy.calls if call["method"] == "eth_getLogs"]
    assert all(int(each["toBlock"], 16) - int(each["fromBlock"], 16) < 2 for each in ranges)
    # However far behind the watcher is, a read is bounded.
    world.chain.mine(40)
    del world.proxy.calls[:]
    assert await looking.at(world.addresses["ada"]) == []
    assert len([call for call in world.proxy.calls if call["method"] == "eth_getLogs"]) == 8
    await looking.node.close()


async def test_a_node_that_is_away_is_said_to_be(world: World, looking: Looking) -> None:
    world.proxy.instead = (503, b"")
    assert await looking.refused(world.addresses["ada"]) is Code.UNAVAILABLE
    world.proxy.instead = None
    assert await looking.at(world.addresses["ada"]) == []
