"""The migration that brought lineage keeps every key that was made before it, as one that nobody made."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from services.auth.store.store import MIGRATIONS, AuthStore
from services.common.database.base import Database
from services.common.database.migrations import migrate
from tests.support.schema import KINDS, make_schema, new_url
from tests.unit.auth.keys_for_tests import api_key

# The columns as they were.
_KEY = (
    "INSERT INTO api_keys (id, account_id, name, hint, digest, requests_per_minute, created_at_ms, expires_at_ms, "
    "revoked_at_ms, last_used_at_ms, models, endpoints, monthly_credit_cap, replaced_by, change_number) "
    "VALUES (:id, 'acct_1', 'a key', :hint, :digest, 60, 1, 0, 0, 0, '', 'chat keys', 25, :replaced_by, :number)"
)


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_url(request, tmp_path)


async def test_old_keys_count_each_for_itself(empty_url: str) -> None:
    old = [
        api_key(
            f"sk-x-{number}",
            id=f"key_{number}",
            requests_per_minute=60,
            endpoints=("chat", "keys"),
            monthly_credit_cap=25,
            # Rotated before it was known which key counts as which.
            replaced_by="key_2" if number == 1 else "",
            change_number=number,
        )
        for number in (1, 2)
    ]

    def insert(connection: sa.Connection) -> None:
        make_schema(connection, MIGRATIONS, "0002")
        connection.execute(sa.text("INSERT INTO accounts (id, name, created_at_ms) VALUES ('acct_1', '', 1)"))
        for key in old:
            fields = {name: getattr(key, name) for name in ("id", "hint", "digest", "replaced_by")}
            connection.execute(sa.text(_KEY), {**fields, "number": key.change_number})
        connection.execute(sa.text("UPDATE api_key_changes SET last = 2"))

    database = Database(empty_url)
    await database.transaction(insert)
    await migrate(database, MIGRATIONS)
    store = AuthStore(database)
    assert await store.load_keys() == (2, old)
    assert [key.caps for key in await store.list_keys()] == [(("key_1", 25),), (("key_2", 25),)]
    assert [key.rates for key in old] == [(("key_1", 60),), (("key_2", 60),)]
    assert await store.changed_since(0) == (2, 0, old)
    await database.close()
