"""Deposit addresses: gives them to accounts, and knows all of them for the filters of watchers."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.errors import Code, MeshError
from services.common.evm.addresses import with_checksum
from services.payments.billing import Billing
from services.payments.derivation import DepositKey

# How often another process may be faster with an index before the caller is told to come back.
_ATTEMPTS = 10


class Addresses:
    """Billing keeps the addresses; this process only derives them."""

    def __init__(self, billing: Billing, key: DepositKey) -> None:
        self._billing = billing
        self._key = key

    async def of(self, account_id: str) -> str:
        """Returns an account's address, which billing has made durable; raises MeshError."""
        for _ in range(_ATTEMPTS):
            address, index = await self._billing.find_address(account_id, self._key.id)
            if not address:
                try:
                    offered = self._key.address(index)
                    address = await self._billing.add_address(account_id, offered, self._key.id, index)
                except MeshError as error:
                    if error.code is not Code.CONFLICT:
                        raise
                    continue
            return with_checksum(address)
        raise MeshError(
            Code.UNAVAILABLE, "Too many accounts get an address at once. Try again shortly.", retry_after=1.0
        )


class KnownAddresses:
    """All addresses of the chain, as a watcher filters by them."""

    def __init__(self, billing: Billing) -> None:
        self._billing = billing
        self._known: list[str] = []
        self._position = 0

    async def refresh(self) -> Sequence[str]:
        """Returns every address that billing has now; raises MeshError.

        Positions have no gaps, so only what is new is read.
        """
        for added in await self._billing.addresses_after(self._position):
            self._known.append(added.address)
            self._position = added.position
        return self._known
