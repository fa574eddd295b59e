"""The SQL of accounts and keys. Every transaction may run twice, as `Database.transaction` says, and is idempotent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa

from services.auth.accounts import Account
from services.auth.keys import ApiKey
from services.common.database import Database
from services.common.errors import Code, MeshError

MIGRATIONS = Path(__file__).with_name("migrations")

_metadata = sa.MetaData()

# Lengths, indexes and constraints are the migrations' business.
_accounts = sa.Table(
    "accounts",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String),
    sa.Column("created_at_ms", sa.BigInteger),
)
_api_keys = sa.Table(
    "api_keys",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String),
    sa.Column("name", sa.String),
    sa.Column("hint", sa.String),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("requests_per_minute", sa.BigInteger),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("expires_at_ms", sa.BigInteger),
    sa.Column("revoked_at_ms", sa.BigInteger),
    sa.Column("last_used_at_ms", sa.BigInteger),
)


class AuthStore:
    """Accounts and keys in the database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_account(self, account: Account) -> None:
        """Keeps a new account."""

        def work(connection: sa.Connection) -> None:
            if not _exists(connection, _accounts, account.id):
                connection.execute(_accounts.insert().values(asdict(account)))

        await self._database.transaction(work)

    async def list_accounts(self) -> list[Account]:
        """Returns every account, oldest first."""
        query = _accounts.select().order_by(_accounts.c.created_at_ms, _accounts.c.id)
        rows = await self._database.transaction(lambda connection: connection.execute(query).mappings().all())
        return [Account(**row) for row in rows]

    async def insert_key(self, key: ApiKey) -> None:
        """Keeps a new key; raises MeshError NOT_FOUND without its account."""

        def work(connection: sa.Connection) -> None:
            if not _exists(connection, _accounts, key.account_id):
                message = "There is no such account. ListAccounts shows every account's id."
                raise MeshError(Code.NOT_FOUND, message, param="account_id")
            if not _exists(connection, _api_keys, key.id):
                connection.execute(_api_keys.insert().values(asdict(key)))

        await self._database.transaction(work)

    async def list_keys(self, account_id: str = "") -> list[ApiKey]:
        """Returns the keys of one account, or all, oldest first; none for an unknown account."""
        query = _api_keys.select().order_by(_api_keys.c.created_at_ms, _api_keys.c.id)
        if account_id:
            query = query.where(_api_keys.c.account_id == account_id)
        rows = await self._database.transaction(lambda connection: connection.execute(query).mappings().all())
        return [ApiKey(**row) for row in rows]

    async def revoke_key(self, key_id: str, now_ms: int) -> ApiKey:
        """Marks a key as revoked unless it is already, and returns it; raises MeshError NOT_FOUND."""
        one = _api_keys.c.id == key_id
        mark = _api_keys.update().where(one, _api_keys.c.revoked_at_ms == 0).values(revoked_at_ms=now_ms)

        def work(connection: sa.Connection) -> ApiKey:
            connection.execute(mark)
            row = connection.execute(_api_keys.select().where(one)).mappings().one_or_none()
            if row is None:
                message = "There is no such key. ListKeys shows every key's id, which begins with 'key_'."
                raise MeshError(Code.NOT_FOUND, message, param="key_id")
            return ApiKey(**row)

        return await self._database.transaction(work)

    async def set_last_used(self, times_ms: Mapping[str, int]) -> None:
        """Moves the time of last use of each key, by key id, forward to the one given; never back."""
        key_id = sa.bindparam("key_id", type_=sa.String)
        used_ms = sa.bindparam("used_ms", type_=sa.BigInteger)
        mark = _api_keys.update().where(_api_keys.c.id == key_id, _api_keys.c.last_used_at_ms < used_ms)
        mark = mark.values(last_used_at_ms=used_ms)
        # In one order everywhere, so that two replicas that write the same keys never wait for each other in a circle.
        rows = [{"key_id": key, "used_ms": times_ms[key]} for key in sorted(times_ms)]
        await self._database.transaction(lambda connection: connection.execute(mark, rows))


def _exists(connection: sa.Connection, table: sa.Table, row_id: str) -> bool:
    return connection.execute(sa.select(table.c.id).where(table.c.id == row_id)).first() is not None
