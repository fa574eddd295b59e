"""The audit finds what is wrong with deposits, and names it."""

from __future__ import annotations

import pytest

from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from tests.integration.billing.deposits_for_tests import ACCOUNTS, add_addresses, blocks, deposit
from tests.integration.billing.guards_for_tests import drop_guards
from tests.integration.billing.operations_for_tests import assert_sound, commit, execute, rows

A = ACCOUNTS[0]


@pytest.fixture
async def ledger(store: LedgerStore, database: Database) -> LedgerStore:
    """A sound ledger with deposits, whose guards have been taken away."""
    await add_addresses(database)
    await commit(store, blocks(1, 3, deposit(1, 25_000), deposit(2, 5_000), deposit(3, 9_999, ACCOUNTS[1])))
    await assert_sound(store)
    await drop_guards(database)
    return store


@pytest.mark.parametrize(
    ("corruption", "finding"),
    [
        ("UPDATE deposits SET credits = 3 WHERE block_number = 1", "gives 3 to acct0, but its entries give 2 to acct0"),
        ("UPDATE deposits SET credits = 0 WHERE block_number = 1", "gives 0 to acct0, but its entries give 2 to acct0"),
        (
            "UPDATE deposits SET credits = 1 WHERE block_number = 3",
            "gives 1 to acct1, but its entries give 0 to nobody",
        ),
        ("UPDATE deposits SET account_id = 'acct2' WHERE block_number = 1", "gives 2 to acct2, but its entries give 2"),
        ("UPDATE deposits SET account_id = 'acct2' WHERE block_number = 3", "but its address belongs to acct1"),
        ("DELETE FROM deposit_addresses", "but its address belongs to nobody"),
        ("DELETE FROM deposits WHERE block_number = 1", "belongs to no deposit"),
        ("DELETE FROM deposits", "account acct1 has a total of 9999, but no deposits"),
        ("UPDATE deposits SET atomic = 14999 WHERE block_number = 1", "acct0 has deposited 19999, but was credited 3"),
        ("UPDATE deposits SET atomic = 35000 WHERE block_number = 1", "acct0 has deposited 40000, but was credited 3"),
        ("UPDATE deposit_totals SET atomic = 30001 WHERE account_id = 'acct0'", "30000, but its total is 30001"),
        ("DELETE FROM deposit_totals WHERE account_id = 'acct0'", "deposited 30000, but its total is 0"),
        ("DELETE FROM entries WHERE kind = 'deposit' AND amount = 2", "has 1 entries that sum to -2"),
        ("UPDATE entries SET kind = 'grant' WHERE kind = 'deposit'", "belongs to no grant"),
    ],
)
async def test_corruption_is_named(ledger: LedgerStore, database: Database, corruption: str, finding: str) -> None:
    await execute(database, corruption)
    violations = (await ledger.audit()).violations
    assert any(finding in violation for violation in violations), violations


async def test_a_deposit_that_is_recorded_twice_is_named(ledger: LedgerStore, database: Database) -> None:
    """Only without its unique key can there be one."""
    if database.dialect == "sqlite":
        await execute(database, "CREATE TABLE copies AS SELECT * FROM deposits")
        await execute(database, "DROP TABLE deposits")
        await execute(database, "ALTER TABLE copies RENAME TO deposits")
    else:
        await execute(database, "ALTER TABLE deposits DROP CONSTRAINT deposits_chain_id_tx_hash_log_index_key")
    names = "chain_id, tx_hash, log_index, token, block_number, block_hash, sender, address, account_id, atomic, at_ms"
    again = f"INSERT INTO deposits ({names}, credits) SELECT {names}, credits FROM deposits WHERE block_number = 3"
    await execute(database, again)
    violations = (await ledger.audit()).violations
    assert any("is recorded 2 times" in violation for violation in violations), violations


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE deposits SET atomic = 1",
        "DELETE FROM deposits",
        "UPDATE deposit_addresses SET account_id = 'thief' WHERE account_id = 'acct0'",
        "DELETE FROM deposit_addresses",
    ],
)
async def test_the_database_refuses_to_change_what_was(store: LedgerStore, database: Database, statement: str) -> None:
    await add_addresses(database)
    await commit(store, blocks(1, 3, deposit(1, 25_000)))
    before = await rows(database, "SELECT account_id, atomic FROM deposits")
    with pytest.raises(Exception, match="append-only"):
        await execute(database, statement)
    assert await rows(database, "SELECT account_id, atomic FROM deposits") == before
