"""Accounts: whoever owns keys and credits."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Protocol

from services.auth.labels import RandomBytes, check_label, new_id
from services.common.clock import Clock, system_clock, to_ms


@dataclass(frozen=True, slots=True)
class Account:
    """One account; times are milliseconds since the Unix epoch."""

    id: str
    name: str
    created_at_ms: int


class AccountStore(Protocol):
    """Where accounts are kept."""

    async def insert_account(self, account: Account) -> None:
        """Keeps a new account."""

    async def list_accounts(self) -> list[Account]:
        """Returns every account, oldest first."""


class Accounts:
    """Opens and lists accounts."""

    def __init__(
        self, store: AccountStore, *, clock: Clock = system_clock, random: RandomBytes = secrets.token_bytes
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random

    async def create(self, name: str) -> Account:
        """Opens an account. Raises MeshError INVALID_REQUEST for a name that is too long or not printable."""
        check_label(name)
        account = Account(new_id("acct", self._random), name, to_ms(self._clock()))
        await self._store.insert_account(account)
        return account

    async def list(self) -> list[Account]:
        """Returns every account, oldest first."""
        return await self._store.list_accounts()
