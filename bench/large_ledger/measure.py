"""Measures charges, reports, audits and balances of a large ledger."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from rich.table import Table

from bench.large_ledger.fill import ACCOUNTS, BEGAN_MS, DAY_MS
from bench.large_ledger.ledgers import Ledger
from bench.ledger import pairs_of, transact_client
from services.common.rpc.interceptors import call_unary
from tests.integration.billing.billing_client import BillingClient
from tiermesh.billing.v1 import billing_pb2

# How many requests are in flight in each comparison.
IN_FLIGHT = (32, 128)
# For how many rounds charges are made beside an audit, and without one, and how many are in flight.
BESIDE_ROUNDS, BESIDE_IN_FLIGHT = 6, 8
# How many charges are made before any is measured.
_WARM = 10_000
# An audit may take as long as it likes.
_PATIENCE_SECONDS = 7200.0
# Seconds between two looks at a balance.
_LOOK = 0.02


class Charges(NamedTuple):
    """Charges of a while: how many, what each cost (CPU-ms, bytes written), and how long one took (ms)."""

    made: int
    cpu: float
    written: float
    mean: float
    p50: float
    p99: float


async def compare(large: Ledger, empty: Ledger, table: Table, seconds: float, rounds: int) -> None:
    """Adds to the table what charges cost in a large and an empty ledger, in interleaved rounds of so many seconds."""
    async with BillingClient(large.address) as client, BillingClient(empty.address) as other:
        for each in client, other:
            await call_unary(each.unary.GetBalance(_balance_of("acct_1"), wait_for_ready=True, timeout=60.0))
    for ledger in large, empty:
        # Left out is what only the first charges of each account cost: full pages that split, and that PostgreSQL logs
        # whole once after a checkpoint.
        made = 0
        while made < _WARM:
            made += (await charges(ledger, IN_FLIGHT[-1], seconds)).made
    for in_flight in IN_FLIGHT:
        measured = [[await charges(each, in_flight, seconds) for each in (large, empty)] for _ in range(rounds)]
        for name, unit, digits in ("cpu", "CPU-ms", 4), ("written", "bytes written", 0):
            figures = [[getattr(each, name) for each in sides] for sides in measured]
            costs = [statistics.median(sides[side] for sides in figures) for side in (0, 1)]
            ratios = sorted(first / second for first, second in figures)
            table.add_row(
                f"Reserve + Settle, {in_flight} in flight, {unit}: large, empty, ratio (lowest to highest)",
                f"{costs[0]:.{digits}f}, {costs[1]:.{digits}f}, {statistics.median(ratios):.3f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})",
            )


async def measure(large: Ledger, table: Table, seconds: float) -> None:
    """Adds to the table what reports and audits cost, and what charges and balances suffer from them."""
    async with BillingClient(large.address) as client:
        for group in ("DAY", "MODEL", "KEY"):
            took = statistics.median([await _timed(_report(client, group)) for _ in range(5)])
            table.add_row(f"usage of a year by {group.lower()}, two fifths of all requests, ms", f"{took * 1000:.1f}")
        took = statistics.median([await _timed(_statement(client, account)) for account in ACCOUNTS[:50]])
        table.add_row("the newest entries of an account, ms", f"{took * 1000:.1f}")
        await _beside(client, large, table, "first proof of all entries", billing_pb2.AUDIT_SCOPE_NEW, seconds)
        new = await charges(large, BESIDE_IN_FLIGHT, seconds)
        took = await _timed(_audit(client, billing_pb2.AUDIT_SCOPE_NEW))
        table.add_row(f"audit of what is new ({new.made:,} charges), s", f"{took:.2f}")
        await _beside(client, large, table, "audit of the whole ledger", billing_pb2.AUDIT_SCOPE_WHOLE, seconds)
        await _balances_beside_everything(client, large, table, seconds)


async def charges(ledger: Ledger, in_flight: int, seconds: float) -> Charges:
    """Makes charges for a while."""
    client = transact_client(ledger.address)
    client.open()
    await pairs_of(client, in_flight, seconds / 5, ACCOUNTS)
    before = await ledger.spent()
    took = sorted(await pairs_of(client, in_flight, seconds, ACCOUNTS))
    after = await ledger.spent()
    await client.close()
    return Charges(
        len(took),
        (after.cpu_seconds - before.cpu_seconds) / len(took) * 1000,
        (after.written - before.written) / len(took),
        statistics.mean(took) * 1000,
        statistics.median(took) * 1000,
        took[len(took) * 99 // 100] * 1000,
    )


async def _beside(
    client: BillingClient,
    ledger: Ledger,
    table: Table,
    name: str,
    scope: billing_pb2.AuditScope.ValueType,
    seconds: float,
) -> None:
    """Runs an audit, and makes charges beside it."""
    alone = await charges(ledger, BESIDE_IN_FLIGHT, seconds * BESIDE_ROUNDS)
    audit = asyncio.create_task(_timed(_audit(client, scope)))
    beside = await charges(ledger, BESIDE_IN_FLIGHT, seconds * BESIDE_ROUNDS)
    still_running = not audit.done()
    took = await audit
    after = await charges(ledger, BESIDE_IN_FLIGHT, seconds * BESIDE_ROUNDS)
    table.add_row(f"{name}, s", f"{took:.1f}" + ("" if still_running else " (ended before the charges)"))
    for measured, unit in ("mean", "ms"), ("p50", "ms"), ("p99", "ms"), ("written", "bytes"):
        figures = [getattr(each, measured) for each in (alone, beside, after)]
        digits = 2 if unit == "ms" else 0
        table.add_row(
            f"  a charge before, beside, after: {measured}, {unit}", ", ".join(f"{each:.{digits}f}" for each in figures)
        )


async def _balances_beside_everything(client: BillingClient, ledger: Ledger, table: Table, seconds: float) -> None:
    """Asks for balances while charges are made, and an audit of all and reports of a year run."""
    reports: list[float] = []
    balances: list[float] = []

    async def report() -> None:
        reports.append(await _timed(_report(client, ("DAY", "MODEL", "KEY")[len(reports) % 3])))

    async def balance() -> None:
        request = _balance_of(ACCOUNTS[len(balances) * 7 % len(ACCOUNTS)])
        balances.append(await _timed(call_unary(client.unary.GetBalance(request, timeout=_PATIENCE_SECONDS))))
        await asyncio.sleep(_LOOK)

    audit = asyncio.create_task(_audit(client, billing_pb2.AUDIT_SCOPE_WHOLE))
    async with _again_and_again(report), _again_and_again(balance):
        made = await charges(ledger, BESIDE_IN_FLIGHT, seconds * BESIDE_ROUNDS)
        still_running = not audit.done()
    audit.cancel()
    await asyncio.gather(audit, return_exceptions=True)
    ordered = sorted(balances)
    table.add_row(
        f"a balance beside an audit of all, {len(reports)} reports of a year and {made.made:,} charges: p50, p99, "
        f"longest of {len(balances)}, ms",
        ", ".join(f"{each * 1000:.0f}" for each in (ordered[len(ordered) // 2], ordered[-1 - len(ordered) // 100]))
        + f", {ordered[-1] * 1000:.0f}"
        + ("" if still_running else " (the audit ended before)"),
    )


@asynccontextmanager
async def _again_and_again(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Does something once and again while the body runs."""

    async def repeat() -> None:
        while True:
            await work()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        # It has failed.
        task.result()


def _balance_of(account: str) -> billing_pb2.GetBalanceRequest:
    return billing_pb2.GetBalanceRequest(account_id=account)


async def _audit(client: BillingClient, scope: billing_pb2.AuditScope.ValueType) -> None:
    found = await call_unary(client.unary.Audit(billing_pb2.AuditRequest(scope=scope), timeout=_PATIENCE_SECONDS))
    assert not found.violations, found.violations[:3]


async def _report(client: BillingClient, group: str) -> None:
    request = billing_pb2.GetUsageRequest(
        account_id="acct_0",
        from_ms=BEGAN_MS // DAY_MS * DAY_MS,
        to_ms=BEGAN_MS // DAY_MS * DAY_MS + 366 * DAY_MS,
        group_by=billing_pb2.UsageGroup.Value(f"USAGE_GROUP_{group}"),
    )
    await call_unary(client.unary.GetUsage(request, timeout=_PATIENCE_SECONDS))


async def _statement(client: BillingClient, account: str) -> None:
    await call_unary(client.unary.ListEntries(billing_pb2.ListEntriesRequest(account_id=account)))


async def _timed(waited_for: Awaitable[object]) -> float:
    began = time.perf_counter()
    await waited_for
    return time.perf_counter() - began
