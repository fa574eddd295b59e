"""The migration that brought refunds keeps every line of a ledger that was made before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.integration.billing.operations_for_tests import assert_sound, commit, execute, rows, settle
from tests.support.schema import KINDS, make_schema, new_url

_HOLD = "'acct', 'key', 'pro', 1, 10, 10, 1, 'captured', 'completed', 0, 0, '', 2"
_LINES = [
    ("g", "grant", "system:grants", "available", -100),
    ("g", "grant", "acct", "available", 100),
    ("r", "reserve", "acct", "available", -10),
    ("r", "reserve", "acct", "held", 10),
    ("r", "capture", "acct", "held", -10),
    ("r", "capture", "system:revenue", "available", 10),
]


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request, tmp_path)


async def test_an_old_ledger_keeps_its_lines_and_learns_to_refund(empty_url: str) -> None:
    database = Database(empty_url)
    await database.transaction(lambda connection: make_schema(connection, MIGRATIONS, "0001"))
    for reference, kind, account, pocket, amount in _LINES:
        await execute(
            database,
            "INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms) "
            f"VALUES ('{reference}', '{kind}', '{account}', '{pocket}', {amount}, 1)",
        )
    await execute(database, "INSERT INTO balances (account_id, available, held) VALUES ('acct', 90, 0)")
    await execute(database, f"INSERT INTO holds VALUES ('r', {_HOLD})")
    await execute(
        database, "INSERT INTO grants (grant_id, account_id, credits, note, at_ms) VALUES ('g', 'acct', 100, '', 1)"
    )
    await migrate(database, MIGRATIONS)
    store = LedgerStore(database)
    query = "SELECT reference, kind, account_id, pocket, amount FROM entries ORDER BY entry_id"
    assert await rows(database, query) == _LINES
    await assert_sound(store)
    await commit(store, settle("r", Outcome.FAILED))
    assert (await rows(database, query))[len(_LINES) :] == [
        ("r", "refund", "system:revenue", "available", -10),
        ("r", "refund", "acct", "available", 10),
    ]
    await assert_sound(store)
    await database.close()
