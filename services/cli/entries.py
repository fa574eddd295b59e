"""Reads the ledger's entries page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.cli.clients import BillingClient
from tiermesh.billing.v1 import billing_pb2

# As many as one page of an account's entries may have.
_STATEMENT_PAGE = 1_000
_EXPORT_PAGE = 5_000


async def newest_entries(billing: BillingClient, account_id: str, limit: int) -> list[billing_pb2.AccountEntry]:
    """Returns an account's newest entries, oldest first, each with the balance after it; raises CliError."""
    found: list[billing_pb2.AccountEntry] = []
    token = ""
    while len(found) < limit:
        request = billing_pb2.ListEntriesRequest(
            account_id=account_id, page_size=min(limit - len(found), _STATEMENT_PAGE), page_token=token
        )
        page = await billing.call(billing.stub.ListEntries, request)
        found.extend(page.entries)
        token = page.next_page_token
        if not token:
            break
    found.reverse()
    return found


async def all_entries(billing: BillingClient, account_id: str) -> AsyncIterator[billing_pb2.Entry]:
    """Yields every entry of an account (empty for all) that exists now, oldest first; raises CliError."""
    token = ""
    while True:
        request = billing_pb2.ExportEntriesRequest(account_id=account_id, page_size=_EXPORT_PAGE, page_token=token)
        page = await billing.call(billing.stub.ExportEntries, request)
        for entry in page.entries:
            yield entry
        token = page.next_page_token
        if not token:
            return
