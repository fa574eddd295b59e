"""Deposit addresses: one for each account and chain, never of two accounts, and never taken back.

An address is derived from an extended public key at an index, elsewhere. Billing only keeps it, and it must be kept
before anybody is shown it: a transfer to an address that billing does not know is nobody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.billing.ledger import refusals
from services.billing.ledger.identifiers import check_address, check_chain, check_id
from services.common.clock import Clock, to_ms

ADDRESS_PAGE, MAX_ADDRESS_PAGE = 1_000, 10_000
# BIP-32 derives no public key beyond it.
MAX_INDEX = 2**31 - 1


class DepositAddress(NamedTuple):
    """One row; the order is that of the columns."""

    chain_id: int
    # From 1 on, without gaps, in the order of the commits: what follows the last one that a reader knows is new.
    position: int
    address: str
    account_id: str
    xpub_id: str
    address_index: int
    at_ms: int


class AddressStore(Protocol):
    """Keeps deposit addresses; `DepositStore` does."""

    async def address_of(self, chain_id: int, account_id: str, xpub_id: str) -> tuple[DepositAddress | None, int]:
        """An account's address, and the next index of a key."""

    async def add_address(self, address: DepositAddress) -> DepositAddress | None:
        """Adds an address at the next position; returns the account's, or None if the index or the address is used."""

    async def addresses(self, chain_id: int, account_id: str, after: int, limit: int) -> Sequence[DepositAddress]:
        """Addresses of a chain (0 for all) and an account (empty for all), by position."""


class DepositAddresses:
    """Gives out addresses. Every method raises MeshError."""

    def __init__(self, store: AddressStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def find(self, chain_id: int, account_id: str, xpub_id: str) -> tuple[DepositAddress | None, int]:
        """Returns an account's address, None if it has none, and the index at which a new one is derived."""
        check_chain(chain_id)
        return await self._store.address_of(chain_id, check_id("account_id", account_id), check_id("xpub_id", xpub_id))

    async def add(self, chain_id: int, account_id: str, address: str, xpub_id: str, index: int) -> DepositAddress:
        """Gives an account an address, unless it has one; returns the account's address, which is durable.

        Raises CONFLICT if the index is not the next one of its key, or if the address is another account's.
        """
        check_chain(chain_id)
        if not 0 <= index <= MAX_INDEX:
            raise refusals.invalid("address_index", f"must be from 0 to {MAX_INDEX}")
        offered = DepositAddress(
            *(chain_id, 0, check_address("address", address), check_id("account_id", account_id)),
            *(check_id("xpub_id", xpub_id), index, to_ms(self._clock())),
        )
        kept = await self._store.add_address(offered)
        if kept is None:
            raise refusals.address_taken()
        return kept

    async def page(
        self, chain_id: int, account_id: str, after: int, size: int
    ) -> tuple[Sequence[DepositAddress], bool]:
        """Returns a page of addresses by position, and whether there are more."""
        if chain_id:
            check_chain(chain_id)
        if account_id:
            check_id("account_id", account_id)
        elif not chain_id:
            # Positions are those of one chain.
            raise refusals.invalid("chain_id", "must be given unless account_id is")
        if size > MAX_ADDRESS_PAGE:
            raise refusals.invalid("page_size", f"must be at most {MAX_ADDRESS_PAGE}")
        size = size or ADDRESS_PAGE
        found = await self._store.addresses(chain_id, account_id, after, size + 1)
        return found[:size], len(found) > size
