"""Makes charges in a ledger, and compares what they cost in a large one and an empty one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from rich.table import Table

from bench.large_ledger.fill import ACCOUNTS, ENTRIES_OF_REQUEST
from bench.large_ledger.ledgers import Ledger
from bench.ledger import pairs_of, transact_client
from services.common.rpc.interceptors import call_unary
from tests.integration.billing.billing_client import BillingClient
from tiermesh.billing.v1 import billing_pb2

# How many requests are in flight in each comparison.
IN_FLIGHT = (32, 128)
# How many charges are made before any is measured.
_WARM = 10_000


class Charges(NamedTuple):
    """Charges of a while: how many, what each cost (CPU-ms, bytes written), and how long one took (ms).

    `audit` is what an audit spent meanwhile on reading, as a share of one core.
    """

    made: int
    cpu: float
    written: float
    mean: float
    p50: float
    p99: float
    audit: float


class Unit(NamedTuple):
    """A figure of charges, and how it is shown."""

    figure: str
    name: str
    digits: int


CPU, BYTES = Unit("cpu", "CPU-ms", 4), Unit("written", "bytes written", 0)
MEAN, P50, P99 = (Unit(name, f"{name}, ms", 2) for name in ("mean", "p50", "p99"))


async def wait_until_ready(*ledgers: Ledger) -> None:
    """Waits until billing answers."""
    for ledger in ledgers:
        async with BillingClient(ledger.address) as client:
            request = billing_pb2.GetBalanceRequest(account_id="acct_1")
            await call_unary(client.unary.GetBalance(request, wait_for_ready=True, timeout=60.0))


async def compare(large: Ledger, empty: Ledger, table: Table, seconds: float, rounds: int) -> None:
    """Adds to the table what charges cost in a large and an empty ledger, in interleaved rounds of so many seconds."""
    for ledger in large, empty:
        # Left out is what only the first charges of each account cost: full pages that split, and that PostgreSQL logs
        # whole once after a checkpoint.
        await add_entries(ledger, _WARM * ENTRIES_OF_REQUEST, IN_FLIGHT[-1], seconds)
    for in_flight in IN_FLIGHT:
        measured = [[await charges(each, in_flight, seconds) for each in (large, empty)] for _ in range(rounds)]
        add_ratios(table, f"Reserve + Settle, {in_flight} in flight, large, empty", measured, (CPU, BYTES))


def add_ratios(table: Table, name: str, rounds: Sequence[Sequence[Charges]], units: Sequence[Unit]) -> None:
    """Adds a row for each unit: the medians of two kinds of charges, and the ratios within a round."""
    for unit in units:
        figures = [[getattr(each, unit.figure) for each in sides] for sides in rounds]
        costs = (f"{statistics.median(sides[side] for sides in figures):.{unit.digits}f}" for side in (0, 1))
        ratios = sorted(first / second for first, second in figures)
        spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        table.add_row(f"{name}, ratio (lowest to highest): {unit.name}", ", ".join((*costs, spread)))


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
        (after.audit_seconds - before.audit_seconds) / seconds,
    )


async def add_entries(ledger: Ledger, entries: int, in_flight: int, seconds: float) -> int:
    """Makes charges until at least so many entries came; returns how many it were. Looks after so many seconds."""
    client = transact_client(ledger.address)
    client.open()
    made = 0
    while made < entries:
        made += len(await pairs_of(client, in_flight, seconds, ACCOUNTS)) * ENTRIES_OF_REQUEST
    await client.close()
    return made
