"""A token on a chain, accounts with deposit addresses, and watchers that a test moves step by step."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from services.billing.ledger.deposits import CREDIT_ATOMIC
from services.common.rpc.channels import channel_opener
from services.common.rpc.interceptors import call_unary
from services.common.rpc.replicas import deposit_replicas
from services.common.settings import TlsSettings
from services.payments.addresses import Addresses
from services.payments.billing import Billing
from services.payments.chain.json_rpc import JsonRpc
from services.payments.chain.node import Node
from services.payments.derivation import DepositKey
from services.payments.watcher import Watcher
from tests.integration.billing.billing_client import BillingClient
from tests.support.chain import XPUB, Chain, TokenContract
from tests.support.node_proxy import NodeProxy
from tiermesh.billing.v1 import deposits_pb2, deposits_pb2_grpc

ACCOUNTS = ("ada", "grace", "edsger")
# Each world has accounts of its own, which tests call by their short names.
_numbers = itertools.count(1)


class World:
    """`async with` gives every account its address and begins both watchers at the head of the chain."""

    def __init__(self, chain: Chain, billing_address: str) -> None:
        self.chain = chain
        self.token = TokenContract(chain)
        self.proxy = NodeProxy(chain.url)
        self._suffix = f"-{next(_numbers)}"
        open_channel = channel_opener(TlsSettings())
        self._replicas = deposit_replicas([billing_address], open_channel, 10.0)
        self.billing = Billing(self._replicas, chain.chain_id, self.token.address)
        self.addresses: dict[str, str] = {}
        self.client = BillingClient(billing_address)
        self._channel = open_channel(billing_address)
        self._stub = deposits_pb2_grpc.DepositServiceStub(self._channel)
        self._resources = AsyncExitStack()

    def watcher(
        self, name: str = "first", *, url: str = "", most_blocks: int = 50, start_block: int = 0, delay: float = 0.0
    ) -> Watcher:
        """Returns a watcher, of the node behind the proxy unless a URL says otherwise."""
        node = Node(JsonRpc(url or self.proxy.url, 10.0), self.chain.chain_id, self.token.address)
        self._resources.push_async_callback(node.close)
        options = {"most_blocks": most_blocks, "start_block": start_block, "delay": delay}
        return Watcher(name, node, self.billing, time.time, **options)  # type: ignore[arg-type] # mypy joins the types of the values.

    def finalize(self) -> None:
        """Adds as many empty blocks as make all that has happened final."""
        head = self.chain.head()
        while self.chain.head("finalized") < head:
            self.chain.mine()

    async def read(self, watcher: Watcher) -> int:
        """Lets a watcher read all that is final, and returns how many blocks that was."""
        total = 0
        while blocks := await watcher.step():
            total += blocks
        return total

    async def credits(self) -> dict[str, int]:
        """Returns what each account can spend, after an audit of the ledger."""
        assert not (await self.client.audit()).violations
        return {name: (await self.client.balance(name + self._suffix))[0] for name in ACCOUNTS}

    async def deposits(self) -> Sequence[deposits_pb2.RecordedDeposit]:
        """Returns all deposits of the token, newest first, with the short names of the accounts."""
        request = deposits_pb2.ListDepositsRequest(page_size=1_000)
        found = (await call_unary(self._stub.ListDeposits(request))).deposits
        mine = [
            each for each in found if each.token == self.token.address.lower() and each.chain_id == self.chain.chain_id
        ]
        for each in mine:
            each.account_id = each.account_id.removesuffix(self._suffix)
        return mine

    async def agrees(self) -> None:
        """Compares the books with the chain: the balance of each address is the sum of its deposits, none is swept."""
        sums = dict.fromkeys(ACCOUNTS, 0)
        for each in await self.deposits():
            sums[each.account_id] += each.deposit.atomic
        assert sums == {name: self.token.balance(address) for name, address in self.addresses.items()}
        assert await self.credits() == {name: atomic // CREDIT_ATOMIC for name, atomic in sums.items()}

    async def __aenter__(self) -> Self:
        await self._resources.enter_async_context(self.proxy)
        await self._resources.enter_async_context(self.client)
        self._resources.push_async_callback(self._replicas.close)
        self._resources.push_async_callback(self._channel.close)
        self.finalize()
        # They begin before anybody knows an address.
        for name in ("first", "second"):
            assert await self.watcher(name).step() == 1
        given = Addresses(self.billing, DepositKey(XPUB))
        self.addresses = {name: await given.of(name + self._suffix) for name in ACCOUNTS}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._resources.aclose()
