"""gRPC clients of a mesh's services, whose failures read as one clear line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from types import TracebackType
from typing import Generic, Self, TypeAlias, TypeVar

import grpc

from services.cli.errors import CliError
from services.common.errors import ERROR_METADATA_KEY, MeshError
from services.common.retry.pause import pause
from services.common.rpc.channels import OpenChannel
from tiermesh.auth.v1 import auth_pb2_grpc, operators_pb2_grpc
from tiermesh.billing.v1 import billing_pb2_grpc, deposits_pb2_grpc, payouts_pb2_grpc, sweeps_pb2_grpc
from tiermesh.payments.v1 import payments_pb2_grpc
from tiermesh.router.v1 import router_pb2, router_pb2_grpc

_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 0.1


StubT = TypeVar("StubT")
ResponseT = TypeVar("ResponseT")


class ServiceClient(Generic[StubT]):
    """One service at one address. Use it in `async with`."""

    def __init__(
        self, service: str, address: str, open_channel: OpenChannel, new_stub: Callable[[grpc.aio.Channel], StubT]
    ) -> None:
        self._service = service
        self._address = address
        self._channel = open_channel(address)
        self.stub = new_stub(self._channel)

    async def call(
        self,
        method: Callable[..., Awaitable[ResponseT]],
        request: object,
        *,
        timeout: float = _TIMEOUT_SECONDS,
    ) -> ResponseT:
        """Makes a unary call that may take so many seconds; raises CliError."""
        try:
            return await method(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise self.explain(error) from error

    def explain(self, error: grpc.aio.AioRpcError) -> CliError:
        """Returns the peer's own error, or advice about how to reach the peer."""
        if any(key == ERROR_METADATA_KEY for key, _ in error.trailing_metadata() or ()):
            return CliError(MeshError.from_rpc(error).message)
        if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            return CliError(
                f"{self._service} at {self._address} failed: {error.code().name}: {error.details()}. See its log."
            )
        return CliError(
            f"Cannot reach {self._service} at {self._address} ({error.code().name.lower()}). "
            f"Start a mesh with `tiermesh up`, or give the address with {address_advice(self._service)}."
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()


# The generated classes of asynchronous stubs exist for type checkers only.
AuthClient: TypeAlias = "ServiceClient[auth_pb2_grpc.AuthServiceAsyncStub]"
OperatorClient: TypeAlias = "ServiceClient[operators_pb2_grpc.OperatorServiceAsyncStub]"
BillingClient: TypeAlias = "ServiceClient[billing_pb2_grpc.BillingServiceAsyncStub]"
DepositClient: TypeAlias = "ServiceClient[deposits_pb2_grpc.DepositServiceAsyncStub]"
PayoutClient: TypeAlias = "ServiceClient[payouts_pb2_grpc.PayoutServiceAsyncStub]"
SweepClient: TypeAlias = "ServiceClient[sweeps_pb2_grpc.SweepServiceAsyncStub]"
PaymentsClient: TypeAlias = "ServiceClient[payments_pb2_grpc.PaymentsServiceAsyncStub]"
RouterClient: TypeAlias = "ServiceClient[router_pb2_grpc.RouterServiceAsyncStub]"


def address_variable(service: str) -> str:
    """Returns the environment variable that holds the address of a service."""
    return f"TIERMESH_CLI_{service.upper()}_ADDRESS"


def address_advice(service: str) -> str:
    """Names the ways to give the address of a service."""
    return f"--{service}-address or {address_variable(service)}"


def auth_client(address: str, open_channel: OpenChannel) -> AuthClient:
    """Returns a client of auth."""
    return ServiceClient("auth", address, open_channel, auth_pb2_grpc.AuthServiceStub)


def operator_client(address: str, open_channel: OpenChannel) -> OperatorClient:
    """Returns a client of auth, for what it knows of operators."""
    return ServiceClient("auth", address, open_channel, operators_pb2_grpc.OperatorServiceStub)


def billing_client(address: str, open_channel: OpenChannel) -> BillingClient:
    """Returns a client of billing."""
    return ServiceClient("billing", address, open_channel, billing_pb2_grpc.BillingServiceStub)


def deposit_client(address: str, open_channel: OpenChannel) -> DepositClient:
    """Returns a client of what billing keeps of deposits."""
    return ServiceClient("billing", address, open_channel, deposits_pb2_grpc.DepositServiceStub)


def sweep_client(address: str, open_channel: OpenChannel) -> SweepClient:
    """Returns a client of billing, for what it keeps of sweeps."""
    return ServiceClient("billing", address, open_channel, sweeps_pb2_grpc.SweepServiceStub)


def payout_client(address: str, open_channel: OpenChannel) -> PayoutClient:
    """Returns a client of billing, for what it owes to wallets."""
    return ServiceClient("billing", address, open_channel, payouts_pb2_grpc.PayoutServiceStub)


def payments_client(address: str, open_channel: OpenChannel) -> PaymentsClient:
    """Returns a client of payments."""
    return ServiceClient("payments", address, open_channel, payments_pb2_grpc.PaymentsServiceStub)


def router_client(address: str, open_channel: OpenChannel) -> RouterClient:
    """Returns a client of the router."""
    return ServiceClient("router", address, open_channel, router_pb2_grpc.RouterServiceStub)


async def current_availability(router: RouterClient) -> dict[str, router_pb2.ModelAvailability]:
    """Returns the router's view now, by model; raises CliError."""
    stream = router.stub.WatchAvailability(router_pb2.WatchAvailabilityRequest(), timeout=_TIMEOUT_SECONDS)
    try:
        async for snapshot in stream:
            return {entry.model: entry for entry in snapshot.models}
    except grpc.aio.AioRpcError as error:
        raise router.explain(error) from error
    finally:
        stream.cancel()
    return {}


async def wait_until_available(router: RouterClient, models: Set[str]) -> None:
    """Returns once all these models can be served, however long that takes."""
    while True:
        try:
            async for snapshot in router.stub.WatchAvailability(router_pb2.WatchAvailabilityRequest()):
                if models <= {entry.model for entry in snapshot.models if entry.available}:
                    return
        except grpc.aio.AioRpcError:
            # The router is being started.
            await pause(_RETRY_SECONDS)
