"""A chain beside the mesh. Two payments processes watch it, and what arrives is compared with the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import grpc

from services.billing.ledger.deposits import CREDIT_ATOMIC
from services.common.errors import MeshError
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from tests.chaos.ledger_view import DepositedRow
from tests.support.chain import TOKEN_NAME, XPUB, Chain, TokenContract
from tests.support.waiting import eventually
from tiermesh.payments.v1 import payments_pb2, payments_pb2_grpc

# Both read with the same cursors.
PROCESSES = ("payments-1", "payments-2")
# Each process has two, of the same names.
WATCHERS = 2
_ADDRESS_SECONDS = 30.0


class ChainBeside:
    """Start it before payments, and stop it after."""

    def __init__(self) -> None:
        self._chain = Chain()
        self._token: TokenContract | None = None
        self._addresses: dict[str, str] = {}
        # How many transfers were made to each account.
        self._transfers: dict[str, int] = {}

    async def start(self) -> None:
        """Returns once the token is there, in a final block."""
        await self._chain.start()
        self._token = await asyncio.to_thread(TokenContract, self._chain)
        await asyncio.to_thread(self._chain.mine, 3)

    def stop(self) -> None:
        """Ends the chain."""
        self._chain.stop()

    def settings(self, billing_addresses: str, slowness: float) -> dict[str, str]:
        """Returns the settings of payments; the second watcher reads everything at once, too."""
        return {
            "rpc_url": self._chain.url,
            "chain_id": str(self._chain.chain_id),
            "token": self.token.address,
            "token_name": TOKEN_NAME,
            "xpub": XPUB,
            "billing_addresses": billing_addresses,
            "most_blocks": "3",
            "poll_seconds": str(0.2 * slowness),
            "second_poll_seconds": str(0.3 * slowness),
            "second_delay_seconds": "0",
            "call_timeout": str(2.0 * slowness),
            "drain_seconds": str(2.5 * slowness),
        }

    @property
    def token(self) -> TokenContract:
        """The token, once the chain has started."""
        assert self._token is not None, "the chain was not started"
        return self._token

    async def give_addresses(self, payments_address: str, accounts: Iterable[str]) -> None:
        """Gives each account its deposit address, as soon as payments does."""
        async with channel_opener(TlsSettings())(payments_address) as channel:
            stub = payments_pb2_grpc.PaymentsServiceStub(channel)
            for account in accounts:

                async def given(account: str = account) -> bool:
                    request = payments_pb2.GetDepositAddressRequest(account_id=account)
                    try:
                        found = await stub.GetDepositAddress(request, timeout=_ADDRESS_SECONDS)
                    except (grpc.aio.AioRpcError, MeshError):
                        return False
                    self._addresses[account] = found.address
                    return True

                await eventually(given, _ADDRESS_SECONDS)

    async def deposit(self, account: str, atomic: int, times: int) -> None:
        """Sends tokens to an account, so often in one transaction."""
        addresses = [self._addresses[account]] * times
        await asyncio.to_thread(self.token.transfer_many, addresses, atomic)
        self._transfers[account] = self._transfers.get(account, 0) + times

    async def finalize(self) -> int:
        """Makes all that was sent final; returns the last block that has any of it."""
        head = self._chain.head()
        await asyncio.to_thread(self._chain.mine, 3)
        return head

    async def differences(self, rows: Sequence[DepositedRow]) -> list[str]:
        """Returns a sentence for each account whose address has something else than the ledger says.

        What an address has on the chain was recorded, each transfer once, and was credited to its account.
        """
        found = []
        for account, address in self._addresses.items():
            balance = await asyncio.to_thread(self.token.balance, address)
            own = [row for row in rows if row.account_id == account]
            recorded, credited = sum(row.atomic for row in own), sum(row.entered for row in own)
            expected = (balance, balance // CREDIT_ATOMIC, self._transfers.get(account, 0))
            if (recorded, credited, len(own)) != expected:
                told = f"{recorded} are recorded in {len(own)} deposits and {credited} credited"
                found.append(f"{account} has {balance} on the chain in {expected[2]} transfers, but {told}")
        return found
