"""Sweeps on both databases: each is recorded once, and never more than an address has received."""

from __future__ import annotations

import pytest

from services.billing.ledger.deposits import MAX_ATOMIC
from services.billing.store.deposit_history import DepositStore
from services.billing.store.store import LedgerStore
from services.billing.sweeps.store import SweepStore
from services.billing.sweeps.sweeps import DepositBalance, Sweep, Sweeps
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.deposits_for_tests import (
    ACCOUNTS,
    CHAIN,
    TOKEN,
    add_addresses,
    address_of,
    blocks,
    deposit,
    hash_of,
)
from tests.integration.billing.guards_for_tests import drop_guards
from tests.integration.billing.operations_for_tests import assert_sound, commit, execute

A, B, C = ACCOUNTS
RECEIVER = "0x" + "7e" * 20
OTHER_TOKEN = "0x" + "dd" * 20


def sweep(block: int, atomic: int, account: str = A, *, log: int = 0) -> Sweep:
    return Sweep(hash_of(block, "sweep"), log, block, hash_of(block), address_of(account), RECEIVER, atomic)


@pytest.fixture
async def sweeps(store: LedgerStore, database: Database) -> Sweeps:
    """Two of three accounts have deposited."""
    await add_addresses(database)
    assert len(await DepositStore(database).addresses(CHAIN, "", 0, 10)) == len(ACCOUNTS)
    await commit(store, blocks(1, 3, deposit(1, 25_000), deposit(2, 5_000), deposit(3, 9_999, B)))
    return Sweeps(SweepStore(database), lambda: 7.0)


async def sums(sweeps: Sweeps, to_block: int = 100, token: str = TOKEN) -> dict[str, tuple[int, int]]:
    found, more = await sweeps.balances(CHAIN, token, to_block, 0, 0)
    assert not more
    return {each.account_id: (each.deposited, each.swept) for each in found}


async def test_balances_are_deposits_and_sweeps_up_to_a_block(sweeps: Sweeps, store: LedgerStore) -> None:
    assert await sweeps.record(CHAIN, TOKEN, [sweep(4, 20_000), sweep(4, 9_999, B, log=1), sweep(6, 10_000)]) == 3
    assert await sums(sweeps) == {A: (30_000, 30_000), B: (9_999, 9_999), C: (0, 0)}
    assert await sums(sweeps, 5) == {A: (30_000, 20_000), B: (9_999, 9_999), C: (0, 0)}
    assert await sums(sweeps, 1) == {A: (25_000, 0), B: (0, 0), C: (0, 0)}
    assert await sums(sweeps, token=OTHER_TOKEN) == dict.fromkeys(ACCOUNTS, (0, 0))
    first, more = await sweeps.balances(CHAIN, TOKEN, 100, 0, 1)
    assert (first, more) == ([DepositBalance(1, address_of(A), A, "xpub", 0, 30_000, 30_000)], True)
    second, _ = await sweeps.balances(CHAIN, TOKEN.upper().replace("X", "x"), 100, 1, 1)
    assert [each.account_id for each in second] == [B]
    await assert_sound(store)


async def test_a_sweep_is_recorded_once(sweeps: Sweeps) -> None:
    assert await sweeps.record(CHAIN, TOKEN, [sweep(4, 20_000), sweep(4, 20_000)]) == 1
    assert await sweeps.record(CHAIN, TOKEN, [sweep(4, 20_000), sweep(5, 1)]) == 1
    assert (await sums(sweeps))[A] == (30_000, 20_001)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (sweep(5, 10_001), Code.CONFLICT),
        (sweep(5, 1, C), Code.CONFLICT),
        (sweep(4, 19_999), Code.CONFLICT),
        (sweep(4, 1, log=7)._replace(block_number=5, block_hash=hash_of(5)), Code.CONFLICT),
        (sweep(5, 1)._replace(address=address_of("stranger")), Code.INVALID_REQUEST),
        (sweep(5, 0), Code.INVALID_REQUEST),
        (sweep(5, 1)._replace(tx_hash="0x1"), Code.INVALID_REQUEST),
    ],
    ids=["too much", "never paid", "differs", "moved", "stranger", "nothing", "hash"],
)
async def test_what_cannot_be_changes_nothing(sweeps: Sweeps, wrong: Sweep, code: Code) -> None:
    await sweeps.record(CHAIN, TOKEN, [sweep(4, 20_000)])
    with pytest.raises(MeshError) as caught:
        await sweeps.record(CHAIN, TOKEN, [sweep(6, 1), wrong])
    assert caught.value.code is code
    assert (await sums(sweeps))[A] == (30_000, 20_000)


@pytest.mark.parametrize(
    "wrong",
    [
        [sweep(5, 1), sweep(5, 2)],
        [sweep(5, 1), sweep(5, 1, B)],
        [sweep(5, 1), sweep(5, 1, log=1)._replace(block_hash=hash_of(6))],
        [sweep(block, MAX_ATOMIC) for block in range(5, 16)],
    ],
    ids=["two amounts", "two addresses", "two blocks", "more than an integer"],
)
async def test_what_contradicts_itself_changes_nothing(sweeps: Sweeps, wrong: list[Sweep]) -> None:
    with pytest.raises(MeshError) as caught:
        await sweeps.record(CHAIN, TOKEN, wrong)
    assert caught.value.code is Code.CONFLICT
    assert await sums(sweeps) == {A: (30_000, 0), B: (9_999, 0), C: (0, 0)}


async def test_a_sweep_of_another_token_counts_for_that_alone(sweeps: Sweeps) -> None:
    with pytest.raises(MeshError):
        await sweeps.record(CHAIN, OTHER_TOKEN, [sweep(4, 1)])


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ("DELETE FROM deposits WHERE block_number = 1", "20000 was swept from address"),
        ("UPDATE sweeps SET account_id = 'acct1'", "a sweep of"),
    ],
)
async def test_the_audit_finds_what_is_wrong_with_sweeps(
    sweeps: Sweeps, store: LedgerStore, database: Database, change: str, violation: str
) -> None:
    await sweeps.record(CHAIN, TOKEN, [sweep(4, 20_000)])
    await assert_sound(store)
    await drop_guards(database)
    await execute(database, change)
    assert any(violation in found for found in (await store.audit()).violations)


async def test_sweeps_are_append_only(sweeps: Sweeps, database: Database) -> None:
    await sweeps.record(CHAIN, TOKEN, [sweep(4, 20_000)])
    for change in ("UPDATE sweeps SET atomic = 1", "DELETE FROM sweeps"):
        with pytest.raises(Exception, match="sweeps are append-only"):
            await execute(database, change)
