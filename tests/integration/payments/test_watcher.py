"""What arrives at an address on a real chain, and what billing makes of it: the rows of docs/payments.md."""

from __future__ import annotations

import time

import pytest

from services.common.errors import Code, MeshError
from services.payments import watcher as watching
from services.payments.chain.node import Range
from services.payments.watcher import HistoryChangedError
from tests.integration.payments.world import World
from tests.support.chain import TokenContract


async def test_a_deposit_counts_once_it_is_final(world: World) -> None:
    watcher = world.watcher()
    tx = world.token.transfer(world.addresses["ada"], 12_340_000)
    await world.read(watcher)
    assert await world.credits() == {"ada": 0, "grace": 0, "edsger": 0}
    world.finalize()
    await world.read(watcher)
    assert await world.credits() == {"ada": 1_234, "grace": 0, "edsger": 0}
    (found,) = await world.deposits()
    assert found.deposit.tx_hash == tx
    assert (found.deposit.atomic, found.account_id, found.token) == (12_340_000, "ada", world.token.address.lower())
    assert found.deposit.sender == world.chain.accounts[0].lower()
    await world.agrees()


async def test_several_logs_of_one_transaction_and_fractions_of_a_credit_all_count(world: World) -> None:
    ada, grace, edsger = world.addresses.values()
    world.token.transfer_many([ada, ada, grace], 1_005_000)
    world.token.transfer(edsger, 9_999)
    world.token.transfer(edsger, 0)
    world.token.transfer(world.chain.accounts[5], 10**9)
    world.finalize()
    await world.read(world.watcher(most_blocks=2))
    assert await world.credits() == {"ada": 201, "grace": 100, "edsger": 0}
    world.token.transfer(edsger, 1)
    world.finalize()
    await world.read(world.watcher())
    assert await world.credits() == {"ada": 201, "grace": 100, "edsger": 1}
    assert len(await world.deposits()) == 5
    await world.agrees()


async def test_other_tokens_and_coins_do_not_count_and_minted_ones_do(world: World) -> None:
    ada = world.addresses["ada"]
    fake = TokenContract(world.chain)
    fake.transfer(ada, 10**12)
    coin = {"from": world.chain.accounts[5], "to": ada, "value": hex(10**18)}
    world.chain.confirmed(world.chain.rpc("eth_sendTransaction", coin))
    world.token.mint(ada, 50_000)
    world.finalize()
    await world.read(world.watcher())
    assert await world.credits() == {"ada": 5, "grace": 0, "edsger": 0}
    (found,) = await world.deposits()
    assert found.deposit.sender == "0x" + 40 * "0"


async def test_the_same_blocks_read_twice_add_nothing(world: World) -> None:
    world.token.transfer(world.addresses["ada"], 30_000)
    world.finalize()
    await world.read(world.watcher())
    # Another cursor has read nothing of it.
    assert await world.read(world.watcher("second")) > 0
    await world.agrees()
    assert len(await world.deposits()) == 1


async def test_two_watchers_of_one_name_share_the_work(world: World) -> None:
    for atomic in range(10_000, 60_000, 10_000):
        world.token.transfer(world.addresses["grace"], atomic)
    world.finalize()
    one, other = world.watcher(most_blocks=1), world.watcher(most_blocks=1)
    while await one.step() + await other.step():
        pass
    await world.agrees()
    assert len(await world.deposits()) == 5


async def test_a_watcher_that_was_told_an_old_place_reads_on_from_the_new_one(world: World) -> None:
    """Another one took the range between the two calls of this one."""
    world.token.transfer(world.addresses["grace"], 10_000)
    world.finalize()
    slow, fast = world.watcher(), world.watcher()
    place = await world.billing.place("first")
    assert place is not None
    await world.read(fast)

    async def old_place(name: str) -> object:
        del world.billing.place
        return place

    world.billing.place = old_place  # type: ignore[method-assign, assignment] # The moment between two calls.
    assert await slow.step() > 0
    assert await slow.step() == 0
    assert not slow.stopped
    await world.agrees()


async def test_the_second_watcher_reads_old_blocks_only(world: World) -> None:
    world.token.transfer(world.addresses["ada"], 10_000)
    world.finalize()
    patient = world.watcher("second", delay=3600)
    assert await patient.step() == 0
    # Hours later.
    patient._clock = lambda: time.time() + 7200
    assert await world.read(patient) > 0
    assert await world.credits() == {"ada": 1, "grace": 0, "edsger": 0}


async def test_an_orphaned_deposit_is_never_credited(own_world: World) -> None:
    world, watcher = own_world, own_world.watcher()
    await world.read(watcher)
    world.token.transfer(world.addresses["ada"], 50_000)
    world.chain.mine(2)
    await world.read(watcher)
    world.chain.rewrite(4)
    # It comes again in another block, as nodes send on what was lost.
    world.token.transfer(world.addresses["grace"], 30_000)
    world.finalize()
    await world.read(watcher)
    assert await world.credits() == {"ada": 0, "grace": 3, "edsger": 0}
    await world.agrees()


@pytest.mark.parametrize("read_on", [True, False])
async def test_final_history_that_changes_stops_the_watcher(own_world: World, read_on: bool) -> None:
    world, watcher = own_world, own_world.watcher()
    world.token.transfer(world.addresses["ada"], 50_000)
    world.finalize()
    await world.read(watcher)
    deep = world.chain.head() - 4
    world.chain.rewrite(deep)
    if read_on:
        world.chain.mine(deep)
    with pytest.raises(HistoryChangedError, match=r"[Bb]lock"):
        await world.read(watcher)
    # What was credited stays until a person has decided.
    assert await world.credits() == {"ada": 5, "grace": 0, "edsger": 0}


@pytest.mark.parametrize("atomic", [10**18 + 1, 2**63, 2**255])
async def test_more_than_the_ledger_can_add_up_stops_the_watcher(world: World, atomic: int) -> None:
    watcher = world.watcher()
    world.token.mint(world.addresses["ada"], atomic)
    world.finalize()
    with pytest.raises(HistoryChangedError, match="atomic"):
        await world.read(watcher)
    assert await world.credits() == {"ada": 0, "grace": 0, "edsger": 0}


async def test_a_block_with_more_than_one_transaction_takes_is_recorded_in_parts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "GOOD_DEPOSITS", 2)
    monkeypatch.setattr(watching, "MAX_DEPOSITS", 2)
    watcher = world.watcher()
    ada, grace, edsger = world.addresses.values()
    world.token.transfer(ada, 10_000)
    world.token.transfer_many([ada, grace, edsger, ada, grace], 10_000)
    world.token.transfer(edsger, 10_000)
    world.finalize()
    record = world.billing.record
    taken: list[int] = []

    async def until_it_breaks(name: str, first: int, last: int, told: Range) -> int:
        if last < first and taken[-1:] == [2]:
            raise MeshError(Code.UNAVAILABLE, "killed")
        taken.append(len(told.transfers))
        return await record(name, first, last, told)

    monkeypatch.setattr(world.billing, "record", until_it_breaks)
    with pytest.raises(MeshError):
        await world.read(watcher)
    # Of the block with five, two are recorded, and the next watcher reads the whole of it.
    assert [each for each in taken if each] == [1, 2]
    assert sum((await world.credits()).values()) == 3
    monkeypatch.setattr(world.billing, "record", record)
    await world.read(world.watcher())
    await world.agrees()
    assert len(await world.deposits()) == 7
    # The other watcher adds nothing.
    await world.read(world.watcher("second"))
    await world.agrees()
