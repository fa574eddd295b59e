"""Unary calls to any replica of a service; for what is not a hot path."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

import grpc

from services.common.errors import Code, MeshError
from services.common.rpc.channels import OpenChannel
from services.common.rpc.interceptors import call_unary
from tiermesh.auth.v1 import auth_pb2_grpc, operators_pb2_grpc, sign_in_pb2_grpc
from tiermesh.billing.v1 import billing_pb2_grpc, deposits_pb2_grpc
from tiermesh.payments.v1 import payments_pb2_grpc
from tiermesh.router.v1 import router_pb2_grpc

StubT = TypeVar("StubT")
ResponseT = TypeVar("ResponseT")

# What another replica may do better.
_NO_ANSWER = {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}


class Replicas(Generic[StubT]):
    """The replicas of one service, each asked in its turn; `timeout` is in seconds, for each of them.

    A call that failed may have taken place all the same, and is then made again at the next replica: callers are fine
    with that.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        open_channel: OpenChannel,
        new_stub: Callable[[grpc.aio.Channel], StubT],
        timeout: float,
    ) -> None:
        self._name = name
        self._addresses = addresses
        self._open_channel = open_channel
        self._new_stub = new_stub
        self._timeout = timeout
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[str, StubT] = {}
        self._turn = itertools.count()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> Sequence[str]:
        """Where the replicas are now."""
        return self._addresses

    async def call(self, method: Callable[[StubT], Callable[..., Awaitable[ResponseT]]], request: object) -> ResponseT:
        """Makes the call that `method` picks from a stub; raises MeshError, UNAVAILABLE if no replica answers."""
        first = next(self._turn)
        for offset in range(len(self._addresses)):
            stub = self._stub(self._addresses[(first + offset) % len(self._addresses)])
            try:
                return await call_unary(method(stub)(request, timeout=self._timeout))
            except MeshError as error:
                if error.code not in _NO_ANSWER:
                    raise
        raise MeshError(Code.UNAVAILABLE, f"{self._name} cannot be reached. Try again shortly.", retry_after=1.0)

    async def call_each(
        self, method: Callable[[StubT], Callable[..., Awaitable[ResponseT]]], request: object
    ) -> list[ResponseT | None]:
        """Makes the call at every replica, and returns their answers; None for each that cannot be reached.

        Raises MeshError for any other refusal.
        """
        return await asyncio.gather(*(self._ask(address, method, request) for address in self._addresses))

    async def _ask(
        self, address: str, method: Callable[[StubT], Callable[..., Awaitable[ResponseT]]], request: object
    ) -> ResponseT | None:
        try:
            return await call_unary(method(self._stub(address))(request, timeout=self._timeout))
        except MeshError as error:
            if error.code in _NO_ANSWER:
                return None
            raise

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """Uses these replicas from now on, at least one; calls that others are answering may finish."""
        self._addresses = addresses
        for address in self._channels.keys() - set(addresses):
            del self._stubs[address]
            closing = asyncio.create_task(self._channels.pop(address).close(self._timeout))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Closes the connections."""
        for closing in self._closing:
            closing.cancel()
        for channel in self._channels.values():
            await channel.close()

    def _stub(self, address: str) -> StubT:
        if address not in self._stubs:
            self._channels[address] = self._open_channel(address)
            self._stubs[address] = self._new_stub(self._channels[address])
        return self._stubs[address]


# The generated classes of asynchronous stubs exist for type checkers only.
AuthReplicas: TypeAlias = "Replicas[auth_pb2_grpc.AuthServiceAsyncStub]"
SignInReplicas: TypeAlias = "Replicas[sign_in_pb2_grpc.SignInServiceAsyncStub]"
OperatorReplicas: TypeAlias = "Replicas[operators_pb2_grpc.OperatorServiceAsyncStub]"
BillingReplicas: TypeAlias = "Replicas[billing_pb2_grpc.BillingServiceAsyncStub]"
DepositReplicas: TypeAlias = "Replicas[deposits_pb2_grpc.DepositServiceAsyncStub]"
PaymentsReplicas: TypeAlias = "Replicas[payments_pb2_grpc.PaymentsServiceAsyncStub]"
RouterReplicas: TypeAlias = "Replicas[router_pb2_grpc.RouterServiceAsyncStub]"


def auth_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> AuthReplicas:
    """Returns the replicas of auth. A creation made twice leaves a key that nobody was ever shown."""
    return Replicas("Auth", addresses, open_channel, auth_pb2_grpc.AuthServiceStub, timeout)


def sign_in_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> SignInReplicas:
    """Returns the replicas of auth for signing in without a key. What is good once is refused if it is sent twice."""
    return Replicas("Auth", addresses, open_channel, sign_in_pb2_grpc.SignInServiceStub, timeout)


def operator_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> OperatorReplicas:
    """Returns the replicas of auth, for what it knows of operators."""
    return Replicas("Auth", addresses, open_channel, operators_pb2_grpc.OperatorServiceStub, timeout)


def billing_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> BillingReplicas:
    """Returns the replicas of billing for what is not a hot path."""
    return Replicas("Billing", addresses, open_channel, billing_pb2_grpc.BillingServiceStub, timeout)


def deposit_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> DepositReplicas:
    """Returns the replicas of billing for what it keeps of deposits. A range that is sent twice is taken once."""
    return Replicas("Billing", addresses, open_channel, deposits_pb2_grpc.DepositServiceStub, timeout)


def payments_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> PaymentsReplicas:
    """Returns the replicas of payments. An account that asks twice for an address has one."""
    return Replicas("Payments", addresses, open_channel, payments_pb2_grpc.PaymentsServiceStub, timeout)


def router_replicas(addresses: Sequence[str], open_channel: OpenChannel, timeout: float) -> RouterReplicas:
    """Returns the routers for what is not a hot path."""
    return Replicas("Router", addresses, open_channel, router_pb2_grpc.RouterServiceStub, timeout)
