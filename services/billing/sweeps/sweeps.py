"""What was moved away from deposit addresses, as the operator read it on the chain. No credit depends on it.

With it, the balance that an address has on the chain follows from the books: deposits minus sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.billing.ledger import refusals
from services.billing.ledger.deposit_addresses import ADDRESS_PAGE, MAX_ADDRESS_PAGE
from services.billing.ledger.deposits import MAX_ATOMIC
from services.billing.ledger.identifiers import check_address, check_chain, check_hash, check_number
from services.common.clock import Clock, to_ms

# The most that one transaction takes.
MAX_SWEEPS = 10_000


class Sweep(NamedTuple):
    """One transfer away from a deposit address; hashes and addresses are in lower case, `atomic` is positive."""

    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str
    address: str
    receiver: str
    atomic: int


class DepositBalance(NamedTuple):
    """What the books say of one deposit address, in smallest units."""

    position: int
    address: str
    account_id: str
    xpub_id: str
    address_index: int
    deposited: int
    swept: int


class Books(NamedTuple):
    """The token whose deposits and sweeps are meant; its address is in lower case."""

    chain_id: int
    token: str


class BalanceStore(Protocol):
    """Keeps sweeps; `SweepStore` is one."""

    async def balances(self, books: Books, to_block: int, after: int, limit: int) -> Sequence[DepositBalance]:
        """Addresses after a position, with what they have received and what was swept up to a block."""

    async def record(self, books: Books, sweeps: Sequence[Sweep], at_ms: int) -> int:
        """Adds those that are not there, and returns how many; raises MeshError, having changed nothing."""


class Sweeps:
    """Every method raises MeshError."""

    def __init__(self, store: BalanceStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def balances(
        self, chain_id: int, token: str, to_block: int, after: int, size: int
    ) -> tuple[Sequence[DepositBalance], bool]:
        """Returns a page of addresses by position, and whether there are more."""
        if size > MAX_ADDRESS_PAGE:
            raise refusals.invalid("page_size", f"must be at most {MAX_ADDRESS_PAGE}")
        size = size or ADDRESS_PAGE
        books = _checked_books(chain_id, token)
        found = await self._store.balances(books, check_number("to_block", to_block), after, size + 1)
        return found[:size], len(found) > size

    async def record(self, chain_id: int, token: str, sweeps: Sequence[Sweep]) -> int:
        """Records sweeps, and returns how many were new.

        Raises INVALID_REQUEST for one of an address that is no deposit address, and CONFLICT for one that is recorded
        otherwise, or if an address would have lost more than it has received.
        """
        if len(sweeps) > MAX_SWEEPS:
            raise refusals.invalid("sweeps", f"must be at most {MAX_SWEEPS:,}. Send the others in another call")
        checked = [_checked(sweep) for sweep in sweeps]
        return await self._store.record(_checked_books(chain_id, token), checked, to_ms(self._clock()))


def _checked_books(chain_id: int, token: str) -> Books:
    return Books(check_chain(chain_id), check_address("token", token))


def _checked(sweep: Sweep) -> Sweep:
    if not 0 < sweep.atomic <= MAX_ATOMIC:
        raise refusals.invalid("sweeps.atomic", f"must be from 1 to {MAX_ATOMIC}")
    return Sweep(
        *(check_hash("sweeps.tx_hash", sweep.tx_hash), check_number("sweeps.log_index", sweep.log_index)),
        check_number("sweeps.block_number", sweep.block_number),
        check_hash("sweeps.block_hash", sweep.block_hash),
        *(check_address("sweeps.address", sweep.address), check_address("sweeps.receiver", sweep.receiver)),
        sweep.atomic,
    )
