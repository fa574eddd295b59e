"""Accounts: whoever owns keys and credits."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from services.auth.keys import ApiKey
from services.auth.labels import RandomBytes, check_label, new_id
from services.common.clock import Clock, system_clock, to_ms


@dataclass(frozen=True, slots=True)
class Account:
    """One account; times are milliseconds since the Unix epoch."""

    id: str
    name: str
    created_at_ms: int
    # When every key of it was refused; 0 if that is not so.
    suspended_at_ms: int = 0
    # When its owner closed it; 0 if that is not so.
    closed_at_ms: int = 0


# What of an account has all its keys refused: when it was suspended by an operator, or closed by its owner.
Mark = Literal["suspended_at_ms", "closed_at_ms"]


@dataclass(frozen=True, slots=True)
class AccountQuery:
    """Which accounts are wanted, and in which order; without anything, every account, oldest first."""

    # An ID of an account or of one of its keys, or a part of its name in whatever case.
    search: str = ""
    # How many at most; 0 means all.
    limit: int = 0
    after_account_id: str = ""
    newest_first: bool = False
    # Only those that were closed.
    closed: bool = False


# Every account, oldest first.
EVERY_ACCOUNT = AccountQuery()


class AccountStore(Protocol):
    """Where accounts are kept."""

    async def insert_account(self, account: Account) -> None:
        """Keeps a new account."""

    async def list_accounts(self, query: AccountQuery) -> list[Account]:
        """Returns the accounts that are wanted; raises MeshError INVALID_REQUEST for an unknown one to come after."""

    async def get_account(self, account_id: str) -> Account:
        """Returns one account; raises MeshError NOT_FOUND."""

    async def rename_account(self, account_id: str, name: str) -> Account:
        """Gives an account another name and returns it; raises MeshError NOT_FOUND."""

    async def set_mark(self, account_id: str, mark: Mark, at_ms: int) -> tuple[Account, list[ApiKey]]:
        """Marks an account unless it is, or takes the mark away with 0; returns it with the keys that this has changed.

        Raises MeshError NOT_FOUND. A key that is being made is either among them or made as the account now is.
        """


class Accounts:
    """Opens, lists, renames, suspends, resumes and reopens accounts.

    `tell` takes in a changed key, for the very next verification.
    """

    def __init__(
        self,
        store: AccountStore,
        tell: Callable[[ApiKey], None],
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._tell = tell
        self._clock = clock
        self._random = random

    async def create(self, name: str) -> Account:
        """Opens an account. Raises MeshError INVALID_REQUEST for a name that is too long or not printable."""
        check_label(name)
        account = Account(new_id("acct", self._random), name, to_ms(self._clock()))
        await self._store.insert_account(account)
        return account

    async def list(self, query: AccountQuery = EVERY_ACCOUNT) -> list[Account]:
        """Returns the accounts that are wanted; raises MeshError INVALID_REQUEST for an unknown one to come after."""
        return await self._store.list_accounts(query)

    async def get(self, account_id: str) -> Account:
        """Returns one account; raises MeshError NOT_FOUND."""
        return await self._store.get_account(account_id)

    async def rename(self, account_id: str, name: str) -> Account:
        """Gives an account another name. Raises MeshError NOT_FOUND, and INVALID_REQUEST as `create` does."""
        check_label(name)
        return await self._store.rename_account(account_id, name)

    async def suspend(self, account_id: str) -> Account:
        """Has every key of an account refused; raises MeshError NOT_FOUND."""
        return await self._set_mark(account_id, "suspended_at_ms", to_ms(self._clock()))

    async def resume(self, account_id: str) -> Account:
        """Has the keys of an account work again; raises MeshError NOT_FOUND."""
        return await self._set_mark(account_id, "suspended_at_ms", 0)

    async def reopen(self, account_id: str) -> Account:
        """Has the keys of an account that its owner has closed work again; raises MeshError NOT_FOUND."""
        return await self._set_mark(account_id, "closed_at_ms", 0)

    async def _set_mark(self, account_id: str, mark: Mark, at_ms: int) -> Account:
        account, keys = await self._store.set_mark(account_id, mark, at_ms)
        for key in keys:
            self._tell(key)
        return account
