"""Compares what billing says of deposit addresses with what the chain says, at a block that billing has read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from services.cli.errors import CliError
from services.cli.management.session import Session
from services.cli.sweeps.token import Token
from tiermesh.billing.v1 import deposits_pb2, sweeps_pb2

# The watcher whose blocks are compared.
_WATCHER = "first"
_PAGE = 1_000
_BLOCK_SECONDS = 60.0


class Compared(NamedTuple):
    """One address: what the books say, and what it has on the chain, in smallest units."""

    books: sweeps_pb2.DepositBalance
    balance: int

    @property
    def expected(self) -> int:
        """What it should have."""
        return self.books.deposited - self.books.swept

    @property
    def available(self) -> int:
        """What can be swept so that the books still explain everything."""
        return min(self.expected, self.balance)


class Comparison(NamedTuple):
    """Every address after one block."""

    chain_id: int
    block: int
    block_hash: str
    # When the block was made, Unix time.
    timestamp: int
    addresses: Sequence[Compared]

    @property
    def differences(self) -> list[Compared]:
        """The addresses that have something else than they should."""
        return [each for each in self.addresses if each.balance != each.expected]


async def compare(session: Session, token: Token) -> Comparison:
    """Compares all addresses after the last block that payments has read; raises CliError."""
    chain_id = await asyncio.to_thread(token.chain_id)
    cursor = deposits_pb2.DepositCursor(chain_id=chain_id, token=token.address, watcher=_WATCHER)
    async with session.deposits() as client:
        asked = deposits_pb2.GetDepositCursorRequest(cursor=cursor)
        place = await client.call(client.stub.GetDepositCursor, asked)
    if not place.last_hash:
        raise CliError(
            f"Payments has read nothing of the token {token.address} on the chain {chain_id}. Check --token, and that "
            "the node serves the chain of payments."
        )
    number = place.next_block - 1
    block = await asyncio.to_thread(token.block, hex(number))
    if block["hash"].lower() != place.last_hash:
        raise CliError(
            f"Block {number} of the node is {block['hash']}, but payments has read {place.last_hash}. Find out which "
            "history is true before you sweep."
        )
    if number > await asyncio.to_thread(token.finalized):
        raise CliError(f"Block {number} is not final for this node. Wait until it has read on, or choose another node.")
    books = await _books(session, token, chain_id, number)
    balances = await asyncio.to_thread(token.balances, [each.address for each in books], number)
    compared = [Compared(*pair) for pair in zip(books, balances, strict=True)]
    return Comparison(chain_id, number, block["hash"].lower(), int(block["timestamp"], 16), compared)


async def record(session: Session, chain_id: int, token: str, sweeps: Sequence[sweeps_pb2.Sweep]) -> int:
    """Has billing record sweeps, and returns how many were new; raises CliError."""
    recorded = 0
    async with session.sweeps() as client:
        for at in range(0, len(sweeps), _PAGE):
            part = sweeps[at : at + _PAGE]
            request = sweeps_pb2.RecordSweepsRequest(chain_id=chain_id, token=token, sweeps=part)
            recorded += (await client.call(client.stub.RecordSweeps, request, timeout=_BLOCK_SECONDS)).recorded
    return recorded


async def _books(session: Session, token: Token, chain_id: int, block: int) -> list[sweeps_pb2.DepositBalance]:
    found: list[sweeps_pb2.DepositBalance] = []
    request = sweeps_pb2.ListDepositBalancesRequest(
        chain_id=chain_id, token=token.address, to_block=block, page_size=_PAGE
    )
    async with session.sweeps() as client:
        while True:
            page = await client.call(client.stub.ListDepositBalances, request, timeout=_BLOCK_SECONDS)
            found.extend(page.balances)
            if not page.has_more:
                return found
            request.after_position = found[-1].position
