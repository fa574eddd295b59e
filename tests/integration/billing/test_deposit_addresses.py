"""Deposit addresses on both databases: one for each account and chain, for ever, and never of two accounts."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from services.billing.ledger.deposit_addresses import DepositAddresses
from services.billing.store.deposit_history import DepositStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.deposits_for_tests import ACCOUNTS, CHAIN, address_of

A, B, C = ACCOUNTS
OTHER_CHAIN = 1


@pytest.fixture
def addresses(database: Database) -> DepositAddresses:
    return DepositAddresses(DepositStore(database), lambda: 7.0)


async def add(addresses: DepositAddresses, account: str, index: int, chain: int = CHAIN, xpub: str = "xpub") -> str:
    """Adds the address that an account would have at an index, and returns the one that it has."""
    return (await addresses.add(chain, account, address_of(f"{xpub}/{index}"), xpub, index)).address


async def test_an_address_is_kept_and_found(addresses: DepositAddresses) -> None:
    assert await addresses.find(CHAIN, A, "xpub") == (None, 0)
    kept = await addresses.add(CHAIN, A, address_of("xpub/0").upper().replace("X", "x"), "xpub", 0)
    assert kept == (CHAIN, 1, address_of("xpub/0"), A, "xpub", 0, 7_000)
    assert await addresses.find(CHAIN, A, "xpub") == (kept, 1)
    assert await addresses.find(CHAIN, A, "a new key") == (kept, 0)
    assert await addresses.find(OTHER_CHAIN, A, "xpub") == (None, 1)


async def test_an_account_keeps_its_address(addresses: DepositAddresses) -> None:
    first = await add(addresses, A, 0)
    assert await add(addresses, A, 1) == first
    assert await add(addresses, A, 0, xpub="a new key") == first
    # The indexes that were offered in vain are free.
    assert await add(addresses, B, 1) != first


@pytest.mark.parametrize(("index", "address"), [(0, "xpub/0"), (2, "xpub/2"), (1, "xpub/0")])
async def test_no_index_is_left_out_and_no_address_is_of_two(
    addresses: DepositAddresses, index: int, address: str
) -> None:
    await add(addresses, A, 0)
    with pytest.raises(MeshError) as caught:
        await addresses.add(CHAIN, B, address_of(address), "xpub", index)
    assert (caught.value.code, caught.value.param) == (Code.CONFLICT, "address_index")
    # An index is not used on another chain either: there it would be the same address.
    with pytest.raises(MeshError):
        await add(addresses, B, 0, OTHER_CHAIN)
    assert await addresses.find(CHAIN, B, "xpub") == (None, 1)


async def test_positions_have_no_gaps_whoever_adds_at_once(database: Database, addresses: DepositAddresses) -> None:
    accounts = [f"acct-{number}" for number in range(12)]

    async def want(account: str) -> str:
        while True:
            found, index = await addresses.find(CHAIN, account, "xpub")
            if found is not None:
                return found.address
            with suppress(MeshError):
                # Another one was faster with the index.
                return await add(addresses, account, index)

    # Each account is asked for twice at once.
    shown = await asyncio.gather(*(want(account) for account in accounts * 2))
    assert shown[:12] == shown[12:]
    page, more = await addresses.page(CHAIN, "", 0, 100)
    assert ([each.position for each in page], more) == (list(range(1, 13)), False)
    assert [each.address_index for each in page] == list(range(12))
    assert {each.account_id: each.address for each in page} == dict(zip(accounts, shown, strict=False))


async def test_pages_go_on_after_a_position(addresses: DepositAddresses) -> None:
    for index, account in enumerate(ACCOUNTS):
        await add(addresses, account, index)
    await add(addresses, A, 3, OTHER_CHAIN)
    page, more = await addresses.page(CHAIN, "", 1, 1)
    assert ([each.account_id for each in page], more) == ([B], True)
    page, more = await addresses.page(CHAIN, "", 2, 1)
    assert ([each.account_id for each in page], more) == ([C], False)
    page, _ = await addresses.page(0, A, 0, 0)
    assert sorted(each.chain_id for each in page) == [OTHER_CHAIN, CHAIN]
