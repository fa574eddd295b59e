"""The gRPC face of the billing service: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from typing import Any

import grpc

from services.billing import service_messages as messages
from services.billing.accounts import Accounts
from services.billing.ledger.entries import Entries
from services.billing.ledger.grants import Grants
from services.billing.ledger.ledger import Balance
from services.billing.ledger.usage import UsageReports
from services.billing.store.store import LedgerStore
from services.billing.transact_stream import TransactServer
from tiermesh.billing.v1 import billing_pb2, billing_pb2_grpc

SERVICE_NAME = billing_pb2.DESCRIPTOR.services_by_name["BillingService"].full_name
# What a role may call, if it is not everything. The console reads, and grants what a new account begins with. The
# watchers of payments record deposits, to addresses that billing keeps; its relayer records what wallets pay.
LIMITED_CALLERS = {
    "edge": ("Transact", "GetBalance", "GetRequest", "GetUsage"),
    "console": (
        *("GetBalance", "GetRequest", "GetUsage", "Grant", "ListEntries"),
        *("ListGrants", "ListAccountDeposits"),
    ),
    "operator-console": ("GetBalance", "GetRequest", "GetUsage", "Grant", "ListEntries", "Audit", "ListDeposits"),
    "payments": (
        *("GetDepositCursor", "RecordDeposits"),
        *("GetDepositAddress", "AddDepositAddress", "ListDepositAddresses"),
        *("ClaimWalletPayment", "SendWalletPayment", "SettleWalletPayment", "EndWalletPayment"),
        *("GetWalletPayment", "ListWalletPayments", "GetRelayerNonce"),
    ),
}

Context = grpc.aio.ServicerContext[Any, Any]


class BillingService(billing_pb2_grpc.BillingServiceServicer):
    """Answers every rpc of tiermesh.billing.v1.BillingService."""

    def __init__(self, accounts: Accounts, store: LedgerStore, transact: TransactServer) -> None:
        self._accounts = accounts
        self._store = store
        self._usage = UsageReports(store)
        self._entries = Entries(store)
        self._grants = Grants(store)
        self._transact = transact

    async def Transact(self, request_iterator: object, context: Context) -> None:  # type: ignore[override]  # The generated type knows generators only; grpc.aio also takes a method that reads and writes the context.
        del request_iterator
        await self._transact.serve(context)

    async def Grant(self, request: billing_pb2.GrantRequest, context: Context) -> billing_pb2.GrantResponse:
        del context
        grant_id, balance = await self._accounts.grant(
            request.account_id, request.credits, request.grant_id, request.note
        )
        return billing_pb2.GrantResponse(grant_id=grant_id, balance=_balance(request.account_id, balance))

    async def ListGrants(
        self, request: billing_pb2.ListGrantsRequest, context: Context
    ) -> billing_pb2.ListGrantsResponse:
        del context
        found, more = await self._grants.newest(request.account_id, request.page_size)
        grants = [billing_pb2.GrantedCredits(**each._asdict()) for each in found]
        return billing_pb2.ListGrantsResponse(grants=grants, has_more=more)

    async def GetBalance(
        self, request: billing_pb2.GetBalanceRequest, context: Context
    ) -> billing_pb2.GetBalanceResponse:
        del context
        balance = await self._accounts.balance(request.account_id)
        return billing_pb2.GetBalanceResponse(balance=_balance(request.account_id, balance))

    async def GetRequest(
        self, request: billing_pb2.GetRequestRequest, context: Context
    ) -> billing_pb2.GetRequestResponse:
        del context
        hold = await self._usage.request(request.account_id, request.request_id)
        return billing_pb2.GetRequestResponse(receipt=messages.receipt(hold))

    async def GetUsage(self, request: billing_pb2.GetUsageRequest, context: Context) -> billing_pb2.GetUsageResponse:
        del context
        group_by = messages.group_by(request.group_by)
        sums = await self._usage.report(request.account_id, request.from_ms, request.to_ms, group_by)
        return billing_pb2.GetUsageResponse(groups=[billing_pb2.Usage(**each._asdict()) for each in sums])

    async def ListEntries(
        self, request: billing_pb2.ListEntriesRequest, context: Context
    ) -> billing_pb2.ListEntriesResponse:
        del context
        lines, token = await self._entries.statement(request.account_id, request.page_size, request.page_token)
        return billing_pb2.ListEntriesResponse(entries=map(messages.account_entry, lines), next_page_token=token)

    async def ExportEntries(
        self, request: billing_pb2.ExportEntriesRequest, context: Context
    ) -> billing_pb2.ExportEntriesResponse:
        del context
        entries, token = await self._entries.export(request.account_id, request.page_size, request.page_token)
        return billing_pb2.ExportEntriesResponse(entries=map(messages.entry, entries), next_page_token=token)

    async def Audit(self, request: billing_pb2.AuditRequest, context: Context) -> billing_pb2.AuditResponse:
        del context
        new_only = request.scope == billing_pb2.AUDIT_SCOPE_NEW
        report = await (self._store.audit_new() if new_only else self._store.audit())
        return billing_pb2.AuditResponse(
            violations=report.violations,
            entries=report.entries,
            accounts=report.accounts,
            open_holds=report.open_holds,
            granted=report.granted,
            deposited=report.deposited,
            revenue=report.revenue,
            available=report.available,
            held=report.held,
        )


def _balance(account_id: str, balance: Balance) -> billing_pb2.Balance:
    return billing_pb2.Balance(account_id=account_id, available=balance.available, held=balance.held)
