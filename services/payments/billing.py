"""What payments asks of billing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.common.rpc.replicas import DepositReplicas
from services.payments.chain.node import Range
from tiermesh.billing.v1 import deposits_pb2

_PAGE = 10_000
# As much as a message can say. What is no deposit because it is too large is refused when it is recorded.
MOST_ATOMIC = 2**63 - 1


class Place(NamedTuple):
    """How far a watcher has read: the first block that it has not, and the hash of the one before it."""

    next_block: int
    last_hash: str


class Billing:
    """Billing's books of one token on one chain. Every method raises MeshError."""

    def __init__(self, replicas: DepositReplicas, chain_id: int, token: str) -> None:
        self._replicas = replicas
        self._chain_id = chain_id
        self._token = token.lower()

    async def place(self, watcher: str) -> Place | None:
        """Returns how far a watcher has read; None if it has read nothing."""
        asked = deposits_pb2.GetDepositCursorRequest(cursor=self._cursor(watcher))
        found = await self._replicas.call(lambda stub: stub.GetDepositCursor, asked)
        return Place(found.next_block, found.last_hash) if found.last_hash else None

    async def record(self, watcher: str, first: int, last: int, told: Range) -> int:
        """Hands over a range of blocks; returns the credits that accounts have received for it.

        Raises MeshError CONFLICT: with `from_block` if the watcher has read on meanwhile, otherwise if history changed.
        """
        asked = deposits_pb2.RecordDepositsRequest(
            cursor=self._cursor(watcher),
            from_block=first,
            to_block=last,
            parent_hash=told.parent_hash,
            end_hash=told.end_hash,
            deposits=[
                deposits_pb2.Deposit(
                    tx_hash=each.tx_hash,
                    log_index=each.log_index,
                    block_number=each.block_number,
                    block_hash=each.block_hash,
                    sender=each.sender,
                    address=each.receiver,
                    atomic=min(each.atomic, MOST_ATOMIC),
                )
                for each in told.transfers
            ],
        )
        return (await self._replicas.call(lambda stub: stub.RecordDeposits, asked)).credits

    async def addresses_after(self, position: int) -> Sequence[deposits_pb2.DepositAddress]:
        """Returns the addresses of the chain that were added after a position, all of them."""
        found: list[deposits_pb2.DepositAddress] = []
        while True:
            asked = deposits_pb2.ListDepositAddressesRequest(
                chain_id=self._chain_id, after_position=position, page_size=_PAGE
            )
            page = await self._replicas.call(lambda stub: stub.ListDepositAddresses, asked)
            found.extend(page.addresses)
            if not page.has_more:
                return found
            position = found[-1].position

    async def find_address(self, account_id: str, xpub_id: str) -> tuple[str, int]:
        """Returns the address of an account, empty if it has none, and the index of a key's next address."""
        asked = deposits_pb2.GetDepositAddressRequest(chain_id=self._chain_id, account_id=account_id, xpub_id=xpub_id)
        found = await self._replicas.call(lambda stub: stub.GetDepositAddress, asked)
        return found.address.address, found.next_index

    async def add_address(self, account_id: str, address: str, xpub_id: str, index: int) -> str:
        """Gives an account an address, unless it has one, and returns the account's.

        Raises MeshError CONFLICT if the index is not the next one any more.
        """
        offered = deposits_pb2.DepositAddress(
            chain_id=self._chain_id, address=address, account_id=account_id, xpub_id=xpub_id, address_index=index
        )
        asked = deposits_pb2.AddDepositAddressRequest(address=offered)
        return (await self._replicas.call(lambda stub: stub.AddDepositAddress, asked)).address.address

    def _cursor(self, watcher: str) -> deposits_pb2.DepositCursor:
        return deposits_pb2.DepositCursor(chain_id=self._chain_id, token=self._token, watcher=watcher)
