"""What several transactions do with keys, each inside its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import sqlalchemy as sa

from services.auth.accounts import Account, Mark
from services.auth.issuing.key_store import Standing
from services.auth.keys import ApiKey
from services.auth.store.account_rows import get_account
from services.auth.store.tables import accounts, api_keys, changes, to_key, to_row
from services.common.errors import Code, MeshError


def exists(connection: sa.Connection, table: sa.Table, row_id: str) -> bool:
    """Tells whether a table has a row of this id."""
    return connection.execute(sa.select(table.c.id).where(table.c.id == row_id)).first() is not None


def find(connection: sa.Connection, key_id: str) -> ApiKey | None:
    """Returns one key; None if there is no such key."""
    if "\0" in key_id:
        # PostgreSQL takes no such text.
        return None
    row = connection.execute(api_keys.select().where(api_keys.c.id == key_id)).mappings().one_or_none()
    return None if row is None else to_key(row)


def get(connection: sa.Connection, key_id: str, account_id: str = "") -> ApiKey:
    """Returns one key; raises MeshError NOT_FOUND, also for a key of another account than the one given."""
    key = find(connection, key_id)
    if key is None or (account_id and key.account_id != account_id):
        message = "There is no such key. A list of the keys shows every key's id, which begins with 'key_'."
        raise MeshError(Code.NOT_FOUND, message, param="key_id")
    return key


def insert(connection: sa.Connection, key: ApiKey, number: int) -> ApiKey:
    """Keeps a new key under a change number, suspended or closed if its account is.

    The change number is taken, so that nobody marks the account before this transaction ends.
    """
    account = get_account(connection, key.account_id)
    numbered = replace(
        key, change_number=number, suspended_at_ms=account.suspended_at_ms, closed_at_ms=account.closed_at_ms
    )
    connection.execute(api_keys.insert().values(to_row(numbered)))
    return numbered


def keys_of(connection: sa.Connection, account_id: str) -> list[ApiKey]:
    """Returns every key of an account, those of sessions too."""
    of_account = api_keys.select().where(api_keys.c.account_id == account_id)
    return [to_key(row) for row in connection.execute(of_account).mappings()]


def mark_account(connection: sa.Connection, account_id: str, mark: Mark, at_ms: int) -> tuple[Account, list[ApiKey]]:
    """Marks an account and all its keys unless that is done, or takes the mark away with 0; returns them as they are.

    Raises MeshError NOT_FOUND. The caller has locked the changes.
    """
    if bool(getattr(get_account(connection, account_id), mark)) != bool(at_ms):
        connection.execute(accounts.update().where(accounts.c.id == account_id).values({mark: at_ms}))
        # In the order of `set_last_used`, so that the two never wait for each other in a circle.
        ids = sa.select(api_keys.c.id).where(api_keys.c.account_id == account_id).order_by(api_keys.c.id)
        this = api_keys.update().where(api_keys.c.id == sa.bindparam("marked", type_=sa.String))
        values = {mark: at_ms, "change_number": next_change(connection)}
        if marked := [{"marked": key_id} for key_id in connection.execute(ids).scalars()]:
            connection.execute(this.values(values), marked)
    return get_account(connection, account_id), keys_of(connection, account_id)


def next_change(connection: sa.Connection) -> int:
    """Takes the next change number.

    The row stays locked until the transaction ends, so numbers become visible in their order: whoever has seen a
    change has seen all before it. Every transaction takes this lock before it changes a key, so none wait in a circle.
    """
    number: int = connection.execute(
        changes.update().values(last=changes.c.last + 1).returning(changes.c.last)
    ).scalar_one()
    return number


def lock_changes(connection: sa.Connection) -> None:
    """Waits until no other transaction changes keys, and lets none do so until this one ends. SQLite never does."""
    connection.execute(sa.select(changes.c.last).with_for_update())


def works_at(now_ms: int) -> sa.ColumnElement[bool]:
    """Returns the condition for keys with which requests are let in, as `ApiKey.works` says it."""
    return sa.and_(
        api_keys.c.revoked_at_ms == 0,
        sa.or_(api_keys.c.expires_at_ms == 0, api_keys.c.expires_at_ms > now_ms),
    )


def standing(connection: sa.Connection, key: ApiKey) -> Standing:
    """Returns what decides whether the account of a new key may have it."""
    works = works_at(key.created_at_ms)
    count = sa.select(sa.func.count(), sa.func.count(sa.case((works, 1)))).where(
        api_keys.c.account_id == key.account_id
    )
    kept, living = connection.execute(count).one()
    return Standing(find(connection, key.created_by), living, kept - living)


def last_change(connection: sa.Connection) -> int:
    """Returns the number of the last change of any key."""
    number: int = connection.execute(sa.select(changes.c.last)).scalar_one()
    return number


def revoke(connection: sa.Connection, keys: Collection[ApiKey], now_ms: int) -> None:
    """Marks keys as revoked, those that are not yet, as one change."""
    marked = sorted(key.id for key in keys if not key.revoked_at_ms)
    if not marked:
        return
    mark = api_keys.update().where(api_keys.c.id == sa.bindparam("marked", type_=sa.String))
    values = mark.values(revoked_at_ms=now_ms, change_number=next_change(connection))
    # In the order of `set_last_used`, so that the two never wait for each other in a circle.
    connection.execute(values, [{"marked": key_id} for key_id in marked])
