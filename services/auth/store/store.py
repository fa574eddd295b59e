"""The SQL of accounts and keys. Every transaction may run twice, as `Database.transaction` says, and is idempotent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path

import sqlalchemy as sa

from services.auth.accounts import EVERY_ACCOUNT, Account, AccountQuery, Mark
from services.auth.changes import Changes
from services.auth.issuing.key_store import Admission, Permission
from services.auth.keys import DAILY_HINTS, RECOVERY_CODE_HINT, SECRETLESS_HINTS, ApiKey
from services.auth.store.account_rows import find_account, get_account, matches
from services.auth.store.key_rows import (
    exists,
    find,
    get,
    insert,
    last_change,
    lock_changes,
    mark_account,
    next_change,
    revoke,
    standing,
    works_at,
)
from services.auth.store.tables import accounts, api_keys, changes, to_key
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from services.common.scopes import MANAGEMENT

MIGRATIONS = Path(__file__).parents[1] / "migrations"


class AuthStore:
    """Accounts and keys in the database. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_account(self, account: Account) -> None:
        """Keeps a new account."""

        def work(connection: sa.Connection) -> None:
            if not exists(connection, accounts, account.id):
                connection.execute(accounts.insert().values(asdict(account)))

        await self._database.transaction(work)

    async def list_accounts(self, query: AccountQuery = EVERY_ACCOUNT) -> list[Account]:
        """Returns the accounts that are wanted; raises MeshError INVALID_REQUEST for an unknown one to come after."""
        if "\0" in query.search:
            # PostgreSQL takes no such text.
            return []
        order = (accounts.c.created_at_ms, accounts.c.id)
        sorting = [column.desc() for column in order] if query.newest_first else order
        selected = accounts.select().order_by(*sorting).limit(query.limit or None)
        if query.search:
            selected = selected.where(matches(query.search))
        if query.closed:
            selected = selected.where(accounts.c.closed_at_ms != 0)

        def work(connection: sa.Connection) -> list[Account]:
            page = selected
            if query.after_account_id:
                last = find_account(connection, query.after_account_id)
                if last is None:
                    raise MeshError(Code.INVALID_REQUEST, "There is no such account to come after.", param="after")
                place, at = sa.tuple_(*order), (last.created_at_ms, last.id)
                page = page.where(place < at if query.newest_first else place > at)
            return [Account(**row) for row in connection.execute(page).mappings()]

        return await self._database.transaction(work)

    async def get_account(self, account_id: str) -> Account:
        """Returns one account; raises MeshError NOT_FOUND."""
        return await self._database.transaction(lambda connection: get_account(connection, account_id))

    async def rename_account(self, account_id: str, name: str) -> Account:
        """Gives an account another name and returns it; raises MeshError NOT_FOUND."""
        rename = accounts.update().where(accounts.c.id == account_id).values(name=name)

        def work(connection: sa.Connection) -> Account:
            connection.execute(rename)
            return get_account(connection, account_id)

        return await self._database.transaction(work)

    async def set_mark(self, account_id: str, mark: Mark, at_ms: int) -> tuple[Account, list[ApiKey]]:
        """Marks an account unless it is, or takes the mark away with 0; returns it with the keys that this has changed.

        Raises MeshError NOT_FOUND. A key that is being made is either among them or made as the account now is.
        """

        def work(connection: sa.Connection) -> tuple[Account, list[ApiKey]]:
            lock_changes(connection)
            return mark_account(connection, account_id, mark, at_ms)

        return await self._database.transaction(work)

    async def insert_key(
        self, key: ApiKey, admission: Admission | None = None, also: Callable[[sa.Connection], None] | None = None
    ) -> ApiKey:
        """Keeps a new key and returns it with its change number; raises MeshError NOT_FOUND without its account.

        `admission` sees the account's keys as no other transaction can change them before this one ends, and `also`
        keeps in the same transaction what stands on the key.
        """

        def work(connection: sa.Connection) -> ApiKey:
            if not exists(connection, accounts, key.account_id):
                message = "There is no such account. ListAccounts shows every account's id."
                raise MeshError(Code.NOT_FOUND, message, param="account_id")
            if kept := find(connection, key.id):
                return kept
            number = next_change(connection)
            if admission is not None:
                admission(standing(connection, key))
            if also is not None:
                also(connection)
            return insert(connection, key, number)

        return await self._database.transaction(work)

    async def get_key(self, key_id: str, account_id: str = "") -> ApiKey:
        """Returns one key; raises MeshError NOT_FOUND, also for a key of another account than the one given."""
        return await self._database.transaction(lambda connection: get(connection, key_id, account_id))

    async def find_key(self, key_id: str) -> ApiKey | None:
        """Returns one key; None if there is no such key."""
        return await self._database.transaction(lambda connection: find(connection, key_id))

    async def list_keys(
        self,
        account_id: str = "",
        *,
        limit: int = 0,
        after_key_id: str = "",
        newest_first: bool = False,
        with_session_keys: bool = False,
    ) -> list[ApiKey]:
        """Returns the keys of one account, or all, oldest or newest first; none for an unknown account.

        With a limit at most so many, and those after one key if that is given; raises MeshError INVALID_REQUEST if
        there is no such key.
        """
        order = (api_keys.c.created_at_ms, api_keys.c.id)
        sorting = [column.desc() for column in order] if newest_first else order
        query = api_keys.select().order_by(*sorting).limit(limit or None)
        if account_id:
            query = query.where(api_keys.c.account_id == account_id)
        if not with_session_keys:
            query = query.where(api_keys.c.session_id == "")

        def work(connection: sa.Connection) -> list[ApiKey]:
            page = query
            if after_key_id:
                last = find(connection, after_key_id)
                if last is None or (account_id and last.account_id != account_id):
                    raise MeshError(Code.INVALID_REQUEST, "There is no such key to come after.", param="after")
                place, at = sa.tuple_(*order), (last.created_at_ms, last.id)
                page = query.where(place < at if newest_first else place > at)
            return [to_key(row) for row in connection.execute(page).mappings()]

        return await self._database.transaction(work)

    async def revoke_key(
        self,
        key_id: str,
        now_ms: int,
        account_id: str = "",
        *,
        descendants: bool = False,
        revoker_key_id: str = "",
        permission: Permission | None = None,
    ) -> list[ApiKey]:
        """Marks a key as revoked unless it is already, and perhaps its descendants; returns it, then those.

        The keys of the sessions that it began are revoked, too. Raises MeshError NOT_FOUND, also for a key of another
        account than `account_id`, if that is given. Neither the keys nor what `permission` sees can change before this
        transaction ends; a key that is being made by one of them is either revoked as well or not made. With a
        `permission`, the revoker goes on unless it is the key itself, and MeshError CONFLICT says that a passkey is the
        last way to sign in.
        """

        def work(connection: sa.Connection) -> list[ApiKey]:
            lock_changes(connection)
            target = get(connection, key_id, account_id)
            if permission is not None:
                permission(target, find(connection, revoker_key_id))
                _check_not_last(connection, target, now_ms)
            if descendants:
                others = _descendants(connection, target, revoker_key_id)
            else:
                others = _session_keys(connection, target)
            revoke(connection, (target, *others), now_ms)
            return [get(connection, key.id) for key in (target, *others)]

        return await self._database.transaction(work)

    async def delete_ended(self, before_ms: int) -> int:
        """Deletes the keys that were revoked or expired at that time or before, and returns how many there were."""
        ended = sa.or_(
            *(column.between(1, before_ms) for column in (api_keys.c.revoked_at_ms, api_keys.c.expires_at_ms))
        )
        newest = sa.select(sa.func.max(api_keys.c.change_number)).where(ended)

        def work(connection: sa.Connection) -> int:
            if connection.execute(newest).scalar_one() is None:
                return 0
            lock_changes(connection)
            # Read again behind the lock: it is what the deletion sees.
            forgotten = connection.execute(newest).scalar_one() or 0
            connection.execute(changes.update().where(changes.c.forgotten < forgotten).values(forgotten=forgotten))
            return connection.execute(api_keys.delete().where(ended)).rowcount

        return await self._database.transaction(work)

    async def replace_key(
        self, old: ApiKey, new: ApiKey, *, rotator_key_id: str = "", permission: Permission | None = None
    ) -> tuple[ApiKey, ApiKey]:
        """Keeps a new key, and of the old one its expiry and what replaces it; returns both as they are kept.

        Raises MeshError CONFLICT if the old one was revoked or replaced meanwhile. What `permission` sees cannot change
        before this transaction ends.
        """
        still = (api_keys.c.id == old.id, api_keys.c.revoked_at_ms == 0, api_keys.c.replaced_by == "")
        mark = api_keys.update().where(*still)

        def work(connection: sa.Connection) -> tuple[ApiKey, ApiKey]:
            if kept := find(connection, new.id):
                return get(connection, old.id), kept
            number = next_change(connection)
            if permission is not None:
                permission(get(connection, old.id), find(connection, rotator_key_id))
            values = {"expires_at_ms": old.expires_at_ms, "replaced_by": new.id, "change_number": number}
            if connection.execute(mark.values(values)).rowcount == 0:
                raise MeshError(
                    Code.CONFLICT,
                    "The key was revoked or rotated meanwhile. List the keys to see its state.",
                    param="key_id",
                )
            # The sessions that the old key began end with it, and so do their keys.
            later = sa.or_(api_keys.c.expires_at_ms == 0, api_keys.c.expires_at_ms > old.expires_at_ms)
            begun = (api_keys.c.created_by == old.id, api_keys.c.session_id != "", api_keys.c.revoked_at_ms == 0)
            expiry = {"expires_at_ms": old.expires_at_ms, "change_number": number}
            connection.execute(api_keys.update().where(*begun, later).values(expiry))
            return get(connection, old.id), insert(connection, new, number)

        return await self._database.transaction(work)

    async def load_keys(self, after: str = "", limit: int = 0) -> tuple[int, list[ApiKey]]:
        """Returns the keys whose ids come after the one given, `limit` of them at most; 0 is no bound.

        The number is that of the last change that they show.
        """
        query = api_keys.select().where(api_keys.c.id > after).order_by(api_keys.c.id).limit(limit or None)

        def work(connection: sa.Connection) -> tuple[int, list[ApiKey]]:
            number = last_change(connection)
            return number, [to_key(row) for row in connection.execute(query).mappings()]

        return await self._database.read(work)

    async def find_keys(self, digests: Collection[bytes]) -> list[ApiKey]:
        """Returns the keys that there are of the digests given."""
        query = api_keys.select().where(api_keys.c.digest.in_(digests))
        return await self._database.read(
            lambda connection: [to_key(row) for row in connection.execute(query).mappings()]
        )

    async def changed_since(self, number: int) -> Changes:
        """Returns the number of the last change, and the keys that changed after the one given."""
        query = api_keys.select().where(api_keys.c.change_number > number).order_by(api_keys.c.change_number)

        def work(connection: sa.Connection) -> Changes:
            last, forgotten = connection.execute(sa.select(changes.c.last, changes.c.forgotten)).one()
            rows = connection.execute(query).mappings().all() if last > number else ()
            return Changes(last, forgotten, [to_key(row) for row in rows])

        return await self._database.read(work)

    async def set_last_used(self, times_ms: Mapping[str, int]) -> None:
        """Moves the time of last use of each key, by key id, forward to the one given; never back."""
        key_id = sa.bindparam("key_id", type_=sa.String)
        used_ms = sa.bindparam("used_ms", type_=sa.BigInteger)
        mark = api_keys.update().where(api_keys.c.id == key_id, api_keys.c.last_used_at_ms < used_ms)
        mark = mark.values(last_used_at_ms=used_ms)
        # In one order everywhere, so that two replicas that write the same keys never wait for each other in a circle.
        rows = [{"key_id": key, "used_ms": times_ms[key]} for key in sorted(times_ms)]
        await self._database.transaction(lambda connection: connection.execute(mark, rows))


def _check_not_last(connection: sa.Connection, key: ApiKey, now_ms: int) -> None:
    """Raises MeshError CONFLICT for the key of a passkey or a wallet without which nothing signs in any more.

    A recovery code does not count: it is there for the day on which all else is lost.
    """
    others = api_keys.select().where(
        api_keys.c.account_id == key.account_id,
        api_keys.c.id != key.id,
        works_at(now_ms),
        api_keys.c.hint != RECOVERY_CODE_HINT,
        sa.literal(" ").concat(api_keys.c.endpoints).concat(" ").contains(f" {MANAGEMENT} "),
    )
    if key.hint in DAILY_HINTS and key.works(now_ms) and connection.execute(others.limit(1)).first() is None:
        message = (
            "Nothing else signs in to this account. Add a passkey or wallet first, or create a key with the scope keys."
        )
        raise MeshError(Code.CONFLICT, message, param="key_id")


def _descendants(connection: sa.Connection, key: ApiKey, revoker_key_id: str) -> list[ApiKey]:
    """Returns the keys that descend from one and are not revoked, and those without a secret that were added with it.

    These count as the key itself does, so they are no descendants of it; they are found by what made them. The revoker
    is left out, with the keys of its sessions: a person who has lost trust in a key goes on with the passkey that it
    has added.
    """
    made = api_keys.select().where(
        api_keys.c.account_id == key.account_id,
        api_keys.c.id.not_in([key.id, revoker_key_id]),
        api_keys.c.revoked_at_ms == 0,
        sa.or_(api_keys.c.ancestors != "", api_keys.c.hint.in_(SECRETLESS_HINTS)),
    )
    keys = [
        to_key(row) for row in connection.execute(made.order_by(api_keys.c.created_at_ms, api_keys.c.id)).mappings()
    ]
    makers = {key.id}
    while more := {each.id for each in keys if not each.has_secret and each.created_by in makers} - makers:
        makers |= more
    others = [each for each in keys if each.descends_from(key) or each.id in makers]
    if key.id == revoker_key_id:
        return others
    return [each for each in others if not (each.session_id and each.created_by == revoker_key_id)]


def _session_keys(connection: sa.Connection, key: ApiKey) -> list[ApiKey]:
    """Returns the keys of the sessions that a key began, those that are not revoked."""
    begun = api_keys.select().where(
        api_keys.c.created_by == key.id, api_keys.c.session_id != "", api_keys.c.revoked_at_ms == 0
    )
    return [to_key(row) for row in connection.execute(begun.order_by(api_keys.c.id)).mappings()]
