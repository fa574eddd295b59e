"""Measures what customers and operators read of a large ledger."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable

from rich.table import Table

from bench.large_ledger.fill import ACCOUNTS, BEGAN_MS, DAY_MS
from bench.large_ledger.ledgers import Ledger
from services.common.rpc.interceptors import call_unary
from tests.integration.billing.billing_client import BillingClient
from tiermesh.billing.v1 import billing_pb2

# A read may take as long as it likes.
PATIENCE_SECONDS = 7200.0


async def measure_reports(large: Ledger, table: Table) -> None:
    """Adds to the table how long reports of a year and statements take."""
    async with BillingClient(large.address) as client:
        for group in ("DAY", "MODEL", "KEY"):
            took = statistics.median([await timed(report_of_year(client, group)) for _ in range(5)])
            table.add_row(f"usage of a year by {group.lower()}, two fifths of all requests, ms", f"{took * 1000:.1f}")
        took = statistics.median([await timed(_statement(client, account)) for account in ACCOUNTS[:50]])
        table.add_row("the newest entries of an account, ms", f"{took * 1000:.1f}")


async def report_of_year(client: BillingClient, group: str) -> None:
    """Asks for the usage of the account that has the most of it."""
    request = billing_pb2.GetUsageRequest(
        account_id="acct_0",
        from_ms=BEGAN_MS // DAY_MS * DAY_MS,
        to_ms=BEGAN_MS // DAY_MS * DAY_MS + 366 * DAY_MS,
        group_by=billing_pb2.UsageGroup.Value(f"USAGE_GROUP_{group}"),
    )
    await call_unary(client.unary.GetUsage(request, timeout=PATIENCE_SECONDS))


async def timed(waited_for: Awaitable[object]) -> float:
    """Returns how many seconds something took."""
    began = time.perf_counter()
    await waited_for
    return time.perf_counter() - began


async def _statement(client: BillingClient, account: str) -> None:
    await call_unary(client.unary.ListEntries(billing_pb2.ListEntriesRequest(account_id=account)))
