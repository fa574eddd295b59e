"""What several transactions do with accounts, each inside its own."""

from __future__ import annotations

import sqlalchemy as sa

from services.auth.accounts import Account
from services.auth.store.tables import accounts, api_keys
from services.common.errors import Code, MeshError


def matches(search: str) -> sa.ColumnElement[bool]:
    """Returns the condition for accounts that somebody looks for by an ID or by a part of the name."""
    by_key = sa.select(api_keys.c.account_id).where(api_keys.c.id == search)
    by_name = accounts.c.name.icontains(search, autoescape=True)
    return sa.or_(accounts.c.id == search, accounts.c.id.in_(by_key), by_name)


def find_account(connection: sa.Connection, account_id: str) -> Account | None:
    """Returns one account; None if there is no such account."""
    if "\0" in account_id:
        # PostgreSQL takes no such text.
        return None
    row = connection.execute(accounts.select().where(accounts.c.id == account_id)).mappings().one_or_none()
    return None if row is None else Account(**row)


def get_account(connection: sa.Connection, account_id: str) -> Account:
    """Returns one account; raises MeshError NOT_FOUND."""
    account = find_account(connection, account_id)
    if account is None:
        message = "There is no such account. A list of the accounts shows every account's id."
        raise MeshError(Code.NOT_FOUND, message, param="account_id")
    return account
