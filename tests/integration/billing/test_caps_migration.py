"""The migration that brought shared caps: a hold that was made under a key's own cap still counts as that key's."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import MonthlyCap
from services.billing.store.store import MIGRATIONS, LedgerStore
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.integration.billing.operations_for_tests import (
    NOW_MS,
    assert_sound,
    commit,
    execute,
    one,
    reserve,
    rows,
    settle,
)
from tests.support.schema import KINDS, make_schema, new_url

_STATEMENTS = [
    "INSERT INTO balances (account_id, available, held) VALUES ('acct', 80, 20)",
    "INSERT INTO grants (grant_id, account_id, credits, note, at_ms) VALUES ('g', 'acct', 100, '', 1)",
    "INSERT INTO key_months VALUES ('acct', 'key', 1798761600000, 1801440000000, 20)",
    *(
        "INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms) "
        f"VALUES ('{reference}', '{kind}', '{account}', '{pocket}', {amount}, 1)"
        for reference, kind, account, pocket, amount in (
            ("g", "grant", "system:grants", "available", -100),
            ("g", "grant", "acct", "available", 100),
            *(
                (name, "reserve", "acct", pocket, sign * 10)
                for name in "ab"
                for pocket, sign in (("available", -1), ("held", 1))
            ),
        )
    ),
    *(
        f"INSERT INTO holds VALUES ('{name}', 'acct', 'key', 'pro', 1, 10, 10, {NOW_MS}, "
        "'open', 'none', 0, 0, '', NULL, 25, NULL)"
        for name in "ab"
    ),
]


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request, tmp_path)


async def test_an_old_hold_counts_under_its_own_key(empty_url: str) -> None:
    database = Database(empty_url)
    await database.transaction(lambda connection: make_schema(connection, MIGRATIONS, "0004"))
    for statement in _STATEMENTS:
        await execute(database, statement)
    await migrate(database, MIGRATIONS)
    store = LedgerStore(database)
    await assert_sound(store)
    rotated = reserve("c")._replace(key_id="rotated", caps=(MonthlyCap("key", 25),))
    (refused,) = await commit(store, rotated)
    assert "20 are spent or held" in str(refused)
    await commit(store, settle("a"), settle("b", Outcome.FAILED))
    assert await rows(database, "SELECT spent FROM key_months") == [(10,)]
    await one(store, rotated)
    assert await rows(database, "SELECT spent FROM key_months") == [(20,)]
    await assert_sound(store)
    await database.close()
