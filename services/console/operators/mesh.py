"""What the operators' console asks of the other services, besides what the owners' console asks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.common.catalog import Catalog
from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.common.rpc.replicas import (
    AuthReplicas,
    BillingReplicas,
    DepositReplicas,
    OperatorReplicas,
    RouterReplicas,
)
from services.common.scopes import ENDPOINTS
from services.console.mesh import Mesh
from tiermesh.auth.v1 import auth_pb2, operators_pb2
from tiermesh.billing.v1 import billing_pb2, deposits_pb2
from tiermesh.router.v1 import router_pb2

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class RunnersSeen:
    """The live table, as one router sees it, and what all routers that answered have counted together."""

    runners: Sequence[router_pb2.RunnerView]
    # Requests that wait, by tier.
    queued: Mapping[str, int]
    # What went wrong how often, by tier and reason.
    refusals: Mapping[tuple[str, str], int]
    ejections: Mapping[tuple[str, str], int]
    # Since how long the oldest of them counts.
    uptime_seconds: int
    routers: int
    silent_routers: int


class OperatorMesh(Mesh):
    """The services behind the pages. Every method raises MeshError, UNAVAILABLE if no replica answers.

    `audits` is billing again, with more patience.
    """

    def __init__(
        self,
        catalog: Catalog,
        auth: AuthReplicas,
        operators: OperatorReplicas,
        billing: BillingReplicas,
        audits: BillingReplicas,
        deposits: DepositReplicas,
        router: RouterReplicas,
        clock: Clock,
    ) -> None:
        super().__init__(catalog, auth, billing, audits, router, clock)
        self.operators = operators
        self._deposits = deposits

    async def search_accounts(
        self, search: str, *, closed: bool, size: int, after: str
    ) -> auth_pb2.ListAccountsResponse:
        """Returns a page of accounts, newest first; only the closed ones if asked."""
        asked = auth_pb2.ListAccountsRequest(
            search=search, closed=closed, page_size=size, after_account_id=after, newest_first=True
        )
        return await self.auth.call(lambda stub: stub.ListAccounts, asked)

    async def balances(self, account_ids: Sequence[str]) -> Sequence[billing_pb2.Balance]:
        """Returns the credits of some accounts, in their order."""
        return await asyncio.gather(*(self.balance(account_id) for account_id in account_ids))

    async def account(self, account_id: str) -> auth_pb2.Account:
        """Returns one account; raises MeshError NOT_FOUND."""
        asked = auth_pb2.GetAccountRequest(account_id=account_id)
        return (await self.auth.call(lambda stub: stub.GetAccount, asked)).account

    async def suspend(self, account_id: str) -> None:
        """Has every key of an account refused."""
        asked = auth_pb2.SuspendAccountRequest(account_id=account_id)
        await self.auth.call(lambda stub: stub.SuspendAccount, asked)

    async def resume(self, account_id: str) -> None:
        """Has the keys of an account work again."""
        await self.auth.call(lambda stub: stub.ResumeAccount, auth_pb2.ResumeAccountRequest(account_id=account_id))

    async def reopen(self, account_id: str) -> None:
        """Has the keys of an account that its owner has closed work again."""
        await self.auth.call(lambda stub: stub.ReopenAccount, auth_pb2.ReopenAccountRequest(account_id=account_id))

    async def create_owner_key(self, account_id: str, name: str) -> auth_pb2.CreateKeyResponse:
        """Creates a key without limits, with which the owner signs in and creates others."""
        asked = auth_pb2.CreateKeyRequest(account_id=account_id, name=name, endpoints=ENDPOINTS, requests_per_minute=0)
        return await self.auth.call(lambda stub: stub.CreateKey, asked)

    async def revoke_key(self, account_id: str, key_id: str) -> None:
        """Disables a key of an account for ever; raises MeshError NOT_FOUND."""
        asked = auth_pb2.RevokeKeyRequest(account_id=account_id, key_id=key_id)
        await self.auth.call(lambda stub: stub.RevokeKey, asked)

    async def grant(self, account_id: str, amount: int, grant_id: str, note: str) -> billing_pb2.Balance:
        """Gives an account credits, once for each `grant_id`, and returns its balance."""
        asked = billing_pb2.GrantRequest(account_id=account_id, credits=amount, grant_id=grant_id, note=note)
        return (await self._billing.call(lambda stub: stub.Grant, asked)).balance

    async def audit(self) -> billing_pb2.AuditResponse:
        """Has billing check what came since its last audit, and all balances: the whole ledger can take minutes."""
        asked = billing_pb2.AuditRequest(scope=billing_pb2.AUDIT_SCOPE_NEW)
        return await self._reports.call(lambda stub: stub.Audit, asked)

    async def deposits(self, *, size: int, before: int = 0) -> deposits_pb2.ListDepositsResponse:
        """Returns a page of the deposits of all accounts, newest first; with `before`, only older ones than that."""
        asked = deposits_pb2.ListDepositsRequest(page_size=size, before=before)
        return await self._deposits.call(lambda stub: stub.ListDeposits, asked)

    async def runners(self) -> RunnersSeen:
        """Returns every runner and what is queued."""
        answers = await self._router.call_each(lambda stub: stub.ListRunners, router_pb2.ListRunnersRequest())
        heard = [answer for answer in answers if answer is not None]
        if not heard:
            raise MeshError(Code.UNAVAILABLE, "No router can be reached. Try again shortly.")
        tiers = [tier for answer in heard for tier in answer.tiers]
        return RunnersSeen(
            runners=heard[0].runners,
            queued=_sum((tier.tier, tier.queued) for tier in tiers),
            refusals=_sum(((tier.tier, each.reason), each.count) for tier in tiers for each in tier.refusals),
            ejections=_sum(((tier.tier, each.reason), each.count) for tier in tiers for each in tier.ejections),
            uptime_seconds=max(answer.uptime_seconds for answer in heard),
            routers=len(answers),
            silent_routers=len(answers) - len(heard),
        )

    async def drain(self, runner_id: str) -> None:
        """Has no more requests placed on a runner; raises MeshError NOT_FOUND."""
        await self._router.call(lambda stub: stub.DrainRunner, router_pb2.DrainRunnerRequest(runner_id=runner_id))

    async def undrain(self, runner_id: str) -> None:
        """Has requests placed on a runner again."""
        await self._router.call(lambda stub: stub.UndrainRunner, router_pb2.UndrainRunnerRequest(runner_id=runner_id))

    async def actions(
        self, *, operator: str = "", action: str = "", subject: str = "", size: int, page: str = ""
    ) -> operators_pb2.ListActionsResponse:
        """Returns a page of the record, newest first."""
        asked = operators_pb2.ListActionsRequest(
            operator_name=operator, action=action, subject=subject, page_size=size, page_token=page
        )
        return await self.operators.call(lambda stub: stub.ListActions, asked)


def _sum(counts: Iterable[tuple[KeyT, int]]) -> Mapping[KeyT, int]:
    total: Counter[KeyT] = Counter()
    for key, count in counts:
        total[key] += count
    return total
