"""The audit finds what is wrong with deposits, and names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.billing.store.audit.audits import Audits
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.integration.billing.deposits_for_tests import ACCOUNTS, add_addresses, blocks, deposit
from tests.integration.billing.guards_for_tests import drop_guards
from tests.integration.billing.operations_for_tests import (
    assert_sound,
    commit,
    execute,
    grant,
    reserve,
    rows,
    settle,
)
from tests.support.schema import KINDS, make_schema, new_url

A = ACCOUNTS[0]


# What an audit of what is new finds as well, because the deposit of more than a credit is new.
_CHANGES = [
    ("UPDATE deposits SET credits = 3 WHERE block_number = 1", "gives 3 to acct0, but its entries give 2 to acct0"),
    ("UPDATE deposits SET credits = 0 WHERE block_number = 1", "gives 0 to acct0, but its entries give 2 to acct0"),
    ("UPDATE deposits SET account_id = 'acct2' WHERE block_number = 1", "gives 2 to acct2, but its entries give 2"),
    ("UPDATE deposits SET account_id = 'acct0' WHERE block_number = 3", "but its address belongs to acct1"),
    ("DELETE FROM deposit_addresses", "but its address belongs to nobody"),
    ("DELETE FROM deposits WHERE block_number = 1", "belongs to no deposit"),
    ("DELETE FROM deposits", "account acct0 has a total of 30000, but no deposits"),
    ("UPDATE deposits SET atomic = 14999 WHERE block_number = 1", "acct0 has deposited 19999, but was credited 3"),
    ("UPDATE deposits SET atomic = 35000 WHERE block_number = 1", "acct0 has deposited 40000, but was credited 3"),
    ("UPDATE deposit_totals SET atomic = 30001 WHERE account_id = 'acct0'", "30000, but its total is 30001"),
    ("DELETE FROM deposit_totals WHERE account_id = 'acct0'", "deposited 30000, but its total is 0"),
]


@pytest.fixture
async def ledger(store: LedgerStore, database: Database) -> LedgerStore:
    """A sound ledger with deposits, whose guards have been taken away."""
    await add_addresses(database)
    await commit(store, blocks(1, 3, deposit(1, 25_000), deposit(2, 5_000), deposit(3, 9_999, ACCOUNTS[1])))
    await assert_sound(store)
    await drop_guards(database)
    return store


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request, tmp_path)


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


@pytest.mark.parametrize(("corruption", "finding"), _CHANGES)
@pytest.mark.parametrize("slices", [3, 1000])
async def test_what_is_wrong_with_new_deposits_is_found_and_not_forgotten(
    store: LedgerStore, database: Database, slices: int, corruption: str, finding: str
) -> None:
    audits = Audits(database, entries=slices, rest=0)
    await add_addresses(database)
    await commit(store, grant(100), reserve("before"))
    assert (await audits.audit_new()).violations == []
    await commit(store, blocks(1, 3, deposit(1, 25_000), deposit(2, 5_000), deposit(3, 9_999, ACCOUNTS[1])))
    await drop_guards(database)
    await execute(database, corruption)
    for _ in range(2):
        violations = (await audits.audit_new()).violations
        assert any(finding in violation for violation in violations), violations
        # Another change after the first audit shows that the finding is remembered, not found again.
        await commit(store, settle("before"))


@pytest.mark.parametrize(("corruption", "finding"), _CHANGES)
async def test_what_is_wrong_with_proven_deposits_is_found_by_the_audit_of_the_whole(
    ledger: LedgerStore, database: Database, corruption: str, finding: str
) -> None:
    assert (await ledger.audit_new()).violations == []
    await execute(database, corruption)
    # Proven entries are not read again.
    assert (await ledger.audit_new()).violations == []
    for audit in (ledger.audit, ledger.audit_new):
        violations = (await audit()).violations
        assert any(finding in violation for violation in violations), violations
    # Whether the account is long or its entries are one slice.
    assert (await Audits(database, entries=3, account_entries=1, rest=0).audit_all()).violations


async def test_the_next_deposit_of_an_account_shows_what_was_changed(ledger: LedgerStore, database: Database) -> None:
    assert (await ledger.audit_new()).violations == []
    await execute(database, "UPDATE deposits SET atomic = 9998 WHERE block_number = 3")
    assert (await ledger.audit_new()).violations == []
    await commit(ledger, blocks(4, 4, deposit(4, 10_000, ACCOUNTS[1])))
    violations = (await ledger.audit_new()).violations
    assert violations == ["account acct1 has deposited 19998, but its total is 19999"]


async def test_a_deposit_that_is_below_a_credit_has_no_false_alarm_in_a_long_account(
    ledger: LedgerStore, database: Database
) -> None:
    report = await Audits(database, entries=3, account_entries=1, rest=0).audit_all()
    assert report.violations == []
    assert report.entries == 4


async def test_deposits_from_before_the_audit_had_checkpoints_are_proven(empty_url: str) -> None:
    database = Database(empty_url)
    await database.transaction(lambda connection: make_schema(connection, MIGRATIONS, "0006"))
    store = LedgerStore(database)
    await add_addresses(database)
    await commit(store, grant(100), reserve("open"), reserve("ended"))
    await commit(store, settle("ended"), blocks(1, 3, deposit(1, 25_000), deposit(3, 9_999, ACCOUNTS[1])))
    await migrate(database, MIGRATIONS)
    await assert_sound(store)
    await commit(store, settle("open"), blocks(4, 4, deposit(4, 10_000, ACCOUNTS[1])))
    while await store.backfill_usage(1):
        pass
    await assert_sound(store)
    await database.close()


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
