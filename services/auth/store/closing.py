"""The SQL of closing an account. The transaction may run twice, as `Database.transaction` says, and is idempotent."""

from __future__ import annotations

import sqlalchemy as sa

from services.auth.accounts import Account
from services.auth.closing.closing import Permission
from services.auth.keys import ApiKey
from services.auth.operators.actions import Action, Outcome
from services.auth.store.account_rows import get_account
from services.auth.store.key_rows import keys_of, lock_changes, mark_account, revoke
from services.auth.store.operators import append_action, append_outcome
from services.auth.store.tables import sessions
from services.common.database.base import Database


class ClosingStore:
    """Closes accounts in the database. Raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def close_account(self, action: Action, permission: Permission) -> tuple[Account, list[ApiKey]]:
        """Closes the account that is the subject of an action, ends its sessions and records that: all or nothing.

        Returns the account with all its keys. What `permission` sees cannot change before the transaction ends.
        """
        account_id, now_ms = action.subject, action.at_ms

        def work(connection: sa.Connection) -> tuple[Account, list[ApiKey]]:
            # The sessions come first: a key that is being made for one of them is either here by then or not made.
            connection.execute(sessions.delete().where(sessions.c.account_id == account_id))
            lock_changes(connection)
            keys = keys_of(connection, account_id)
            # Only the first run has something to do.
            if append_action(connection, action):
                permission(keys)
                mark_account(connection, account_id, "closed_at_ms", now_ms)
                revoke(connection, [key for key in keys if key.session_id], now_ms)
                append_outcome(connection, Outcome(action.id, now_ms, "done", ""))
            return get_account(connection, account_id), keys_of(connection, account_id)

        return await self._database.transaction(work)
