"""Ranges of blocks on both databases: every deposit is credited once, whatever is read again, and by whom."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from services.billing.ledger.deposits import MAX_ATOMIC, Cursor, Deposit, Place, RecordDeposits
from services.billing.ledger.operations import Effect
from services.billing.store.deposit_history import DepositStore
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.deposits_for_tests import (
    ACCOUNTS,
    CHAIN,
    CURSOR,
    SECOND,
    TOKEN,
    add_addresses,
    address_of,
    blocks,
    deposit,
    expected,
    hash_of,
    told,
)
from tests.integration.billing.operations_for_tests import (
    assert_sound,
    code,
    commit,
    execute,
    grant,
    one,
    reserve,
    rows,
    settle,
)
from tests.integration.billing.replica import Replica

A, B, C = ACCOUNTS


@pytest.fixture
async def chains(database: Database) -> DepositStore:
    await add_addresses(database)
    return DepositStore(database)


async def available(store: LedgerStore) -> dict[str, int]:
    return {account: (await store.balance(account)).available for account in ACCOUNTS}


async def test_a_range_credits_its_deposits_and_moves_the_cursor(store: LedgerStore, chains: DepositStore) -> None:
    assert await chains.place(CURSOR) is None
    effect = await one(store, blocks(5, 9, deposit(5, 1_000_000), deposit(7, 30_000, B)))
    assert effect == Effect(103, 0, 0)
    assert await available(store) == {A: 100, B: 3, C: 0}
    assert await chains.place(CURSOR) == Place(10, hash_of(9))
    newest, oldest = await chains.deposits("", 0, 10)
    assert (newest.deposit.account_id, newest.deposit.credits, newest.deposit.atomic) == (B, 3, 30_000)
    assert oldest.deposit.deposit == deposit(5, 1_000_000)
    await assert_sound(store)


async def test_the_movement_is_from_the_deposits(store: LedgerStore, chains: DepositStore, database: Database) -> None:
    await one(store, blocks(1, 1, deposit(1, 20_000)))
    reference = f"{CHAIN}:{deposit(1, 1).tx_hash}:0"
    assert await rows(database, "SELECT reference, kind, account_id, amount FROM entries ORDER BY entry_id") == [
        (reference, "deposit", "system:deposits", -2),
        (reference, "deposit", A, 2),
    ]


async def test_what_is_less_than_a_credit_counts_with_the_next(store: LedgerStore, chains: DepositStore) -> None:
    assert await one(store, blocks(1, 1, deposit(1, 9_999))) == Effect(0, 0, 0)
    assert (await store.balance(A)).available == 0
    await assert_sound(store)
    assert await one(store, blocks(2, 2, deposit(2, 1))) == Effect(1, 0, 0)
    assert await one(store, blocks(3, 3, deposit(3, 25_000), deposit(3, 14_999, log=1))) == Effect(3, 0, 0)
    assert await one(store, blocks(4, 4, deposit(4, 1))) == Effect(1, 0, 0)
    assert (await store.balance(A)).available == 5
    await assert_sound(store)


async def test_several_logs_of_one_transaction_count_each(store: LedgerStore, chains: DepositStore) -> None:
    logs = [deposit(3, 10_000, account, tx=1, log=log) for log, account in enumerate([A, A, B])]
    assert await one(store, blocks(3, 3, *logs)) == Effect(3, 0, 0)
    assert await available(store) == {A: 2, B: 1, C: 0}
    await assert_sound(store)


async def test_a_range_that_is_sent_again_has_no_effect(store: LedgerStore, chains: DepositStore) -> None:
    asked = blocks(1, 4, deposit(2, 50_000))
    await one(store, asked)
    (again,) = await commit(store, asked)
    assert code(again) is Code.CONFLICT
    assert isinstance(again, MeshError)
    assert (again.param, "at block 5" in again.message) == ("from_block", True)
    assert await available(store) == {A: 5, B: 0, C: 0}
    await assert_sound(store)


async def test_the_same_blocks_under_another_cursor_add_only_what_is_missing(
    store: LedgerStore, chains: DepositStore
) -> None:
    # The first watcher asked a node that had forgotten a log.
    await one(store, blocks(1, 4, deposit(2, 50_000)))
    found = await one(store, blocks(1, 4, deposit(2, 50_000), deposit(3, 20_000, B), cursor=SECOND))
    assert found == Effect(2, 0, 0)
    assert await available(store) == {A: 5, B: 2, C: 0}
    await assert_sound(store)


async def test_ranges_of_one_batch_follow_each_other(store: LedgerStore, chains: DepositStore) -> None:
    answers = await commit(
        store,
        grant(100, B),
        blocks(1, 2, deposit(1, 10_000)),
        reserve("r", B),
        blocks(1, 2, deposit(1, 10_000), cursor=SECOND),
        blocks(3, 4, deposit(3, 10_000), deposit(3, 10_000)),
        blocks(3, 4, deposit(3, 10_000)),
        settle("r"),
    )
    assert [answer.amount if isinstance(answer, Effect) else answer.code for answer in answers] == [
        *(100, 1, 10, 0, 1),
        *(Code.CONFLICT, 10),
    ]
    assert await available(store) == {A: 2, B: 90, C: 0}
    assert (await chains.place(CURSOR), await chains.place(SECOND)) == (Place(5, hash_of(4)), Place(3, hash_of(2)))
    await assert_sound(store)


async def test_strangers_are_nobody(store: LedgerStore, chains: DepositStore) -> None:
    stranger = deposit(1, 10_000)._replace(address=address_of("a stranger"))
    assert await one(store, blocks(1, 1, stranger)) == Effect(0, 0, 0)
    assert await chains.deposits("", 0, 10) == []
    other_chain = RecordDeposits(Cursor(1, TOKEN, "first"), 1, 1, hash_of(0), hash_of(1), (deposit(1, 10_000),))
    assert await one(store, other_chain) == Effect(0, 0, 0)


@pytest.mark.parametrize(
    ("refused", "param"),
    [
        (blocks(4, 5, deposit(4, 10_000)), "from_block"),
        (blocks(2, 5, deposit(2, 10_000)), "from_block"),
        (blocks(3, 5, deposit(3, 10_000), history="other"), "parent_hash"),
        (blocks(3, 5, deposit(3, 10_000), deposit(2, 50_001, tx=2)), "deposits"),
        (blocks(3, 5, deposit(3, 10_000), deposit(3, 50_000, tx=2)), "deposits"),
        (blocks(3, 5, deposit(3, 10_000), deposit(2, 50_000, B, tx=2)), "deposits"),
        (blocks(3, 5, deposit(3, 10_000), deposit(3, 20_000)), "deposits"),
        # A transaction that is in another block now may have its logs at other places there.
        (blocks(3, 5, deposit(3, 10_000), deposit(3, 50_000, tx=2, log=4)), "deposits"),
        (blocks(3, 5, deposit(3, 10_000, tx=9), deposit(4, 10_000, tx=9, log=1)), "deposits"),
    ],
)
async def test_a_refused_range_changes_nothing(
    store: LedgerStore, chains: DepositStore, refused: RecordDeposits, param: str
) -> None:
    await one(store, blocks(1, 2, deposit(2, 50_000)))
    (answer,) = await commit(store, refused)
    assert isinstance(answer, MeshError)
    assert (answer.code, answer.param) == (Code.CONFLICT, param)
    assert await available(store) == {A: 5, B: 0, C: 0}
    assert await chains.place(CURSOR) == Place(3, hash_of(2))
    await assert_sound(store)


async def test_the_runbook_for_a_changed_history_credits_nothing_twice(
    store: LedgerStore, chains: DepositStore, database: Database
) -> None:
    other = Cursor(CHAIN, "0x" + "dd" * 20, "first")
    await commit(store, blocks(1, 2, deposit(2, 50_000)), blocks(1, 2, cursor=SECOND), blocks(1, 2, cursor=other))
    text = (Path(__file__).parents[3] / "docs/operations/runbooks/TiermeshDepositsStopped.md").read_text("utf-8")
    [statement] = re.findall("```sql\n(.+?);\n```", text, re.DOTALL)

    async def go_on_at(block: int, history: str = "") -> None:
        known = {"123457": f"{block}", "0x… (hash of block 123456)": hash_of(block - 1, history)}
        changed = statement
        for old, new in {**known, "0x… (in lower case)": TOKEN}.items():
            assert old in changed
            changed = changed.replace(old, new)
        await execute(database, changed)

    await go_on_at(2)
    moved = deposit(3, 50_000, tx=2, log=7, history="new"), deposit(3, 20_000, B, history="new")
    for cursor in (CURSOR, SECOND):
        answer, *_ = await commit(store, new_history(2, 3, *moved, cursor=cursor))
        assert code(answer) is Code.CONFLICT
    await go_on_at(4, "new")
    for cursor in (CURSOR, SECOND):
        assert await commit(store, blocks(4, 5, cursor=cursor, history="new")) == [Effect(0, 0, 0)]
    assert await available(store) == {A: 5, B: 0, C: 0}
    assert await chains.place(other) == Place(3, hash_of(2))
    await assert_sound(store)


def new_history(first: int, last: int, *deposits: Deposit, cursor: Cursor) -> RecordDeposits:
    """What a watcher reads from the last block on that both histories have."""
    return blocks(first, last, *deposits, cursor=cursor, history="new")._replace(parent_hash=hash_of(first - 1))


async def test_more_than_can_be_added_up_is_refused(store: LedgerStore, chains: DepositStore) -> None:
    await one(store, blocks(1, 1, deposit(1, MAX_ATOMIC)))
    (answer,) = await commit(store, blocks(2, 2, deposit(2, 10_000, B), deposit(2, 1, log=1)))
    assert code(answer) is Code.INVALID_REQUEST
    assert await chains.place(CURSOR) == Place(2, hash_of(1))
    assert (await store.balance(B)).available == 0
    await assert_sound(store)


async def test_replicas_that_read_the_same_blocks_credit_each_deposit_once(replicas: list[Replica]) -> None:
    """Two cursors, each moved by every replica, beside requests of the same accounts."""
    last, store = 24, replicas[0].store
    await add_addresses(replicas[0].database)
    await one(store, grant(1_000_000, A))

    async def watch(replica: Replica, cursor: Cursor) -> None:
        chains = DepositStore(replica.database)
        while (place := await chains.place(cursor) or Place(1, hash_of(0))).next_block <= last:
            first = place.next_block
            found: list[Deposit] = [each for block in (first, first + 1) for each in told(block)]
            answer = await replica.do(blocks(first, first + 1, *found, cursor=cursor))
            assert isinstance(answer, Effect) or answer.code is Code.CONFLICT

    async def spend(replica: Replica, name: str) -> None:
        for number in range(20):
            assert isinstance(await replica.do(reserve(f"{name}-{number}", A)), Effect)
            assert isinstance(await replica.do(settle(f"{name}-{number}")), Effect)

    watching = [watch(replica, cursor) for replica in replicas for cursor in (CURSOR, SECOND)]
    spending = [spend(replica, str(number)) for number, replica in enumerate(replicas)]
    await asyncio.gather(*watching, *spending)
    spent = {A: 1_000_000 - 10 * 20 * len(replicas), B: 0, C: 0}
    assert await available(store) == {name: spent[name] + gained for name, (_, gained) in expected(last).items()}
    await assert_sound(store)
