"""What the console asks of the other services."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc

from services.common.catalog import Catalog
from services.common.clock import Clock, to_ms
from services.common.errors import Code, MeshError
from services.common.rpc.replicas import AuthReplicas, BillingReplicas, RouterReplicas
from tiermesh.auth.v1 import auth_pb2
from tiermesh.billing.v1 import billing_pb2
from tiermesh.router.v1 import router_pb2


class Mesh:
    """The services behind the pages. Every method raises MeshError, UNAVAILABLE if no replica answers.

    `reports` is billing again, with more patience.
    """

    def __init__(
        self,
        catalog: Catalog,
        auth: AuthReplicas,
        billing: BillingReplicas,
        reports: BillingReplicas,
        router: RouterReplicas,
        clock: Clock,
    ) -> None:
        self.catalog = catalog
        self.auth = auth
        self._billing = billing
        self._reports = reports
        self._router = router
        self._clock = clock

    async def balance(self, account_id: str) -> billing_pb2.Balance:
        """Returns the credits of an account."""
        asked = billing_pb2.GetBalanceRequest(account_id=account_id)
        return (await self._billing.call(lambda stub: stub.GetBalance, asked)).balance

    async def usage_today(self, account_id: str) -> billing_pb2.Usage:
        """Returns the sum of the requests that an account has made today (UTC)."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        asked = billing_pb2.GetUsageRequest(
            account_id=account_id, from_ms=to_ms(midnight.timestamp()), to_ms=to_ms(now.timestamp()) + 1
        )
        groups = (await self._billing.call(lambda stub: stub.GetUsage, asked)).groups
        return groups[0] if groups else billing_pb2.Usage()

    async def usage(
        self, account_id: str, from_ms: int, to_ms: int, group_by: billing_pb2.UsageGroup.ValueType
    ) -> Sequence[billing_pb2.Usage]:
        """Returns sums over an account's requests; raises MeshError INVALID_REQUEST for a report that is too large."""
        asked = billing_pb2.GetUsageRequest(account_id=account_id, from_ms=from_ms, to_ms=to_ms, group_by=group_by)
        return (await self._reports.call(lambda stub: stub.GetUsage, asked)).groups

    async def receipt(self, account_id: str, request_id: str) -> billing_pb2.Receipt:
        """Returns what one request has cost; raises MeshError NOT_FOUND, also for one of another account."""
        asked = billing_pb2.GetRequestRequest(account_id=account_id, request_id=request_id)
        return (await self._billing.call(lambda stub: stub.GetRequest, asked)).receipt

    async def entries(self, account_id: str, *, size: int, page_token: str) -> billing_pb2.ListEntriesResponse:
        """Returns a page of the movements of an account's credits, newest first."""
        asked = billing_pb2.ListEntriesRequest(account_id=account_id, page_size=size, page_token=page_token)
        return await self._billing.call(lambda stub: stub.ListEntries, asked)

    async def available_models(self) -> frozenset[str]:
        """Returns the IDs of the models that a healthy runner serves now."""
        asked = router_pb2.WatchAvailabilityRequest()
        snapshot = await self._router.call(lambda stub: partial(_first, stub.WatchAvailability), asked)
        return frozenset(each.model for each in snapshot.models if each.available)

    async def create_account(self, name: str) -> auth_pb2.Account:
        """Opens an account; raises MeshError INVALID_REQUEST for a name that cannot be shown."""
        asked = auth_pb2.CreateAccountRequest(name=name)
        return (await self.auth.call(lambda stub: stub.CreateAccount, asked)).account

    async def grant_welcome(self, account_id: str, amount: int) -> None:
        """Gives a new account its first credits, once."""
        asked = billing_pb2.GrantRequest(
            account_id=account_id, credits=amount, grant_id=f"welcome-{account_id}", note="Welcome"
        )
        await self._billing.call(lambda stub: stub.Grant, asked)

    async def keys(
        self, account_id: str, *, size: int, after: str = "", of_sessions: bool = False
    ) -> auth_pb2.ListKeysResponse:
        """Returns a page of an account's keys, newest first; with those of sessions if asked."""
        asked = auth_pb2.ListKeysRequest(
            account_id=account_id,
            page_size=size,
            after_key_id=after,
            newest_first=True,
            with_session_keys=of_sessions,
        )
        return await self.auth.call(lambda stub: stub.ListKeys, asked)

    async def key(self, account_id: str, key_id: str) -> auth_pb2.ApiKey:
        """Returns one key of an account; raises MeshError NOT_FOUND."""
        asked = auth_pb2.GetKeyRequest(account_id=account_id, key_id=key_id)
        return (await self.auth.call(lambda stub: stub.GetKey, asked)).key


async def gather(*work: Awaitable[Any]) -> Sequence[Any]:
    """Returns all results, with None for what no service could answer: the rest of a page is still of use."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        unavailable = isinstance(result, MeshError) and result.code is Code.UNAVAILABLE
        if isinstance(result, BaseException) and not unavailable:
            raise result
    return [None if isinstance(result, MeshError) else result for result in results]


async def _first(
    watch: Callable[..., grpc.aio.UnaryStreamCall[Any, Any]], request: object, *, timeout: float
) -> router_pb2.WatchAvailabilityResponse:
    """Returns the first message of a stream that would go on for ever."""
    call = watch(request, timeout=timeout)
    try:
        message = await call.read()
    finally:
        call.cancel()
    if not isinstance(message, router_pb2.WatchAvailabilityResponse):
        raise MeshError(Code.UNAVAILABLE, "the router is ending")
    return message
