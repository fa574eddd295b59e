"""Measures audits of a large ledger: what is new, and what charges and balances suffer from an audit of everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from rich.table import Table

from bench.large_ledger.billing import Pace
from bench.large_ledger.charges import BYTES, CPU, IN_FLIGHT, MEAN, P50, P99, Charges, add_entries, add_ratios, charges
from bench.large_ledger.fill import ACCOUNTS
from bench.large_ledger.ledgers import Ledger
from bench.large_ledger.reports import PATIENCE_SECONDS, report_of_year, timed
from services.common.rpc.interceptors import call_unary
from tests.integration.billing.billing_client import BillingClient
from tiermesh.billing.v1 import billing_pb2

# How many entries are new, and by how many charges at a time, looked at after so many seconds, they are made.
_NEW = ((1_000, 4, 0.05), (100_000, 128, 0.5))
# Between two windows an audit of everything reads about a round's part of it. It needs about so much for an entry.
_SECONDS_AN_ENTRY = 5e-6
# Seconds between two looks at a balance, or at an audit.
_LOOK = 0.02
_BALANCES_IN_FLIGHT, _BALANCES_SECONDS = 8, 10.0


async def measure_audits(large: Ledger, table: Table, entries: int, seconds: float, rounds: int) -> None:
    """Adds to the table what audits of a ledger of so many entries cost, and what others suffer from them."""
    async with BillingClient(large.address) as client:
        large.pace_audits(Pace.FAST)
        found = await _proof(client, large)
        table.add_row("first proof of all entries, without rests: s, and CPU of reading, s", found)
        large.pace_audits(Pace.OWN)
        for new, in_flight, look in _NEW:
            made = await add_entries(large, new, in_flight, look)
            table.add_row(f"audit of {made:,} new entries: s, and CPU of reading, s", await _proof(client, large))
        await _charges_beside(client, large, table, entries, seconds, rounds)
        await _balances_beside_everything(client, large, table)


async def _proof(client: BillingClient, ledger: Ledger) -> str:
    """Audits what is new; returns how long it took, and the CPU time that it read with."""
    before = (await ledger.spent()).audit_seconds
    took = await timed(_audit(client, billing_pb2.AUDIT_SCOPE_NEW))
    return f"{took:.2f}, {(await ledger.spent()).audit_seconds - before:.2f}"


async def _charges_beside(
    client: BillingClient, ledger: Ledger, table: Table, entries: int, seconds: float, rounds: int
) -> None:
    """Compares charges beside an audit of everything with charges while it is held, in windows all over the audit."""
    ledger.pace_audits(Pace.HELD)
    began = (await ledger.spent()).audit_seconds
    audit = asyncio.create_task(timed(_audit(client, billing_pb2.AUDIT_SCOPE_WHOLE)))
    measured: list[tuple[Charges, Charges]] = []
    for number in range(rounds):
        ledger.pace_audits(Pace.FAST)
        await _wait_for_audit(ledger, audit, began + (number + 0.5) / rounds * entries * _SECONDS_AN_ENTRY)
        if audit.done():
            break
        found: dict[Pace, Charges] = {}
        for pace in (Pace.HELD, Pace.OWN) if number % 2 else (Pace.OWN, Pace.HELD):
            ledger.pace_audits(pace)
            found[pace] = await charges(ledger, IN_FLIGHT[0], seconds)
        measured.append((found[Pace.OWN], found[Pace.HELD]))
    ledger.pace_audits(Pace.FAST)
    await audit
    spent = (await ledger.spent()).audit_seconds - began
    table.add_row(
        f"audit of the whole ledger: CPU, s (charges were measured in {len(measured)} windows of it)", f"{spent:.1f}"
    )
    if not measured:
        raise RuntimeError("the audit ended before a window of it was measured: let the ledger have more --entries")
    shares = sorted(beside.audit for beside, _ in measured)
    table.add_row("  what it reads with, as a share of a core: lowest, highest", f"{shares[0]:.2f}, {shares[-1]:.2f}")
    name = f"  a charge, {IN_FLIGHT[0]} in flight, beside it, while it is held"
    add_ratios(table, name, measured, (CPU, BYTES, MEAN, P50, P99))


async def _wait_for_audit(ledger: Ledger, audit: asyncio.Task[float], audit_seconds: float) -> None:
    """Waits until an audit has ended, or until all audits have spent so many seconds."""
    while not audit.done() and (await ledger.spent()).audit_seconds < audit_seconds:
        await asyncio.wait([audit], timeout=_LOOK)


async def _balances_beside_everything(client: BillingClient, ledger: Ledger, table: Table) -> None:
    """Asks for balances while charges are made, and an audit of all and reports of a year run."""
    reports: list[float] = []
    balances: list[float] = []

    async def report() -> None:
        reports.append(await timed(report_of_year(client, ("DAY", "MODEL", "KEY")[len(reports) % 3])))

    async def balance() -> None:
        request = billing_pb2.GetBalanceRequest(account_id=ACCOUNTS[len(balances) * 7 % len(ACCOUNTS)])
        balances.append(await timed(call_unary(client.unary.GetBalance(request, timeout=PATIENCE_SECONDS))))
        await asyncio.sleep(_LOOK)

    ledger.pace_audits(Pace.OWN)
    audit = asyncio.create_task(_audit(client, billing_pb2.AUDIT_SCOPE_WHOLE))
    async with _again_and_again(report), _again_and_again(balance):
        made = await charges(ledger, _BALANCES_IN_FLIGHT, _BALANCES_SECONDS)
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


async def _audit(client: BillingClient, scope: billing_pb2.AuditScope.ValueType) -> None:
    found = await call_unary(client.unary.Audit(billing_pb2.AuditRequest(scope=scope), timeout=PATIENCE_SECONDS))
    assert not found.violations, found.violations[:3]
