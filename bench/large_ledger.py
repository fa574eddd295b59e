"""Prints what a ledger of millions of entries costs: a charge, a report of a year, and audits beside the charges.

`python -m bench.large_ledger` fills a ledger of each database by SQL, with two fifths of the requests of one account,
spread over a year. A charge is compared with one of an empty ledger in interleaved rounds, by the CPU time of billing
and of the database server. Nobody may wait longer than 2 seconds for a balance, whatever else runs.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import sqlalchemy as sa
import uvloop
from rich.console import Console
from rich.table import Table

from bench.ledger import pairs_of, postgres_server, running_billing, transact_client
from services.common.rpc.interceptors import call_unary
from tests.integration.billing.billing_client import BillingClient
from tests.support.postgres import create_database
from tiermesh.billing.v1 import billing_pb2

ACCOUNTS = [f"acct_{number}" for number in range(1000)]
# Each request is held and charged: two movements of two entries each.
ENTRIES_OF_REQUEST = 4
PRICE = 10
CREDITS = 10**12
BEGAN_MS = 1_764_000_000_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
# How many requests are in flight in each comparison, and how many rounds there are.
IN_FLIGHT = (32, 128)
ROUNDS = 5
# For how many rounds charges are made beside an audit, and without one, and how many are in flight.
BESIDE_ROUNDS, BESIDE_IN_FLIGHT = 6, 8
# An audit may take as long as it likes.
_PATIENCE_SECONDS = 7200.0
_NO_AUDITS = {"AUDIT_SECONDS": "0", "FULL_AUDIT_SECONDS": "0"}

# Of the numbers from 1 on, as many as there are requests. Ids are made as the edge makes them.
_IDS = {
    "sqlite": "printf('req_%012x%020x', {at}, n * 7919)",
    "postgresql": "'req_' || lpad(to_hex({at}), 12, '0') || lpad(to_hex(n * 7919), 20, '0')",
}


@dataclass(frozen=True)
class Owners:
    """Whose the requests of a ledger are. The expressions are SQL over the number n of a request or of an account."""

    account: str
    key: str
    # The name of an account, and how many there are.
    name: str
    count: int
    # The year in which the requests are made begins here, in milliseconds since the Unix epoch.
    began_ms: int = BEGAN_MS


THOUSAND_OWNERS = Owners(
    account=f"CASE WHEN n % 5 < 2 THEN 'acct_0' ELSE 'acct_' || (n % {len(ACCOUNTS)}) END",
    key="'key_' || (n % 7)",
    name="'acct_' || (n - 1)",
    count=len(ACCOUNTS),
)
_MOVEMENT = "INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms) SELECT {} FROM numbers"
_OF_REQUESTS = (
    # The sums are added by one statement, as a backfill adds them.
    "INSERT INTO daily_usage_backfill SELECT '', 0 FROM numbers WHERE n = 1",
    f"""
    INSERT INTO holds (request_id, account_id, key_id, model, quantity, unit_price, amount, reserved_ms, state, outcome,
        prompt_tokens, completion_tokens, runner_id, settled_ms)
    SELECT {{id}}, {{account}}, {{key}}, CASE WHEN n % 3 = 0 THEN 'tiermesh-max' ELSE 'tiermesh-pro' END, 1,
        {PRICE}, {PRICE}, {{at}}, 'captured', 'completed', 100, 64, 'runner', {{at}} + 900 FROM numbers
    """,
    # In the order in which a ledger grows.
    _MOVEMENT.format(
        "{id}, CASE WHEN line < 2 THEN 'reserve' ELSE 'capture' END, "
        "CASE WHEN line = 3 THEN 'system:revenue' ELSE {account} END, "
        "CASE WHEN line = 0 OR line = 3 THEN 'available' ELSE 'held' END, "
        f"CASE WHEN line = 0 OR line = 2 THEN -{PRICE} ELSE {PRICE} END, "
        "{at} + CASE WHEN line < 2 THEN 0 ELSE 900 END"
    )
    + " CROSS JOIN (SELECT 0 AS line UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS lines",
)
_SUMS = (
    """
    INSERT INTO daily_usage SELECT account_id, reserved_ms / 86400000, key_id, model, count(*), count(*), sum(amount),
        sum(prompt_tokens), sum(completion_tokens) FROM holds GROUP BY 1, 2, 3, 4
    """,
    "DELETE FROM daily_usage_backfill",
)
# And as many as there are accounts.
_OF_ACCOUNTS = (
    f"""
    INSERT INTO balances (account_id, available, held)
    SELECT {{name}}, {CREDITS} - {PRICE} * (SELECT count(*) FROM holds WHERE account_id = {{name}}), 0 FROM numbers
    """,
    f"""
    INSERT INTO grants (grant_id, account_id, credits, note, at_ms)
    SELECT 'grant_' || n, {{name}}, {CREDITS}, '', {{began}} FROM numbers
    """,
    _MOVEMENT.format(f"'grant_' || n, 'grant', {{name}}, 'available', {CREDITS}, {{began}}"),
    _MOVEMENT.format(f"'grant_' || n, 'grant', 'system:grants', 'available', -{CREDITS}, {{began}}"),
)


class Charges(NamedTuple):
    """Charges of a while: how many, CPU-ms of billing and the database server for each, and how long one took (ms)."""

    made: int
    cpu: float
    mean: float
    p99: float


@dataclass(frozen=True)
class Ledger:
    """A billing process and the server of its database, if it has one."""

    address: str
    processes: tuple[psutil.Process, ...]

    def cpu_seconds(self) -> float:
        """Returns user plus system time, of all that a server has started as well."""
        children = [child for process in self.processes for child in process.children(recursive=True)]
        times = [process.cpu_times() for process in (*self.processes, *children)]
        return sum(time.user + time.system for time in times)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.large_ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000, help="rows of the ledger (10000000)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long a round takes (3)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="only this one")
    arguments = parser.parse_args()
    console = Console(width=140)
    for name, ledgers in {"sqlite": _sqlite, "postgresql": _postgresql}.items():
        if arguments.database in (None, name):
            with ledgers(arguments.entries // ENTRIES_OF_REQUEST) as (large, empty):
                table = Table("measured", "result", title=f"{name}, {arguments.entries:,} entries")
                uvloop.run(measure(large, empty, table, arguments.seconds))
            console.print(table)


@contextmanager
def _sqlite(requests: int) -> Iterator[tuple[Ledger, Ledger]]:
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder:
        urls = [f"sqlite:///{Path(folder) / name}.db" for name in ("large", "empty")]
        _fill_both(urls, requests)
        with (
            running_billing(urls[0], **_NO_AUDITS) as (large, to_large),
            running_billing(urls[1], **_NO_AUDITS) as (empty, to_empty),
        ):
            yield Ledger(to_large, (psutil.Process(large.pid),)), Ledger(to_empty, (psutil.Process(empty.pid),))


@contextmanager
def _postgresql(requests: int) -> Iterator[tuple[Ledger, Ledger]]:
    with postgres_server() as server:
        urls = [server.url, create_database(server.url)]
        _fill_both(urls, requests)
        database = psutil.Process(server.pid)
        with (
            running_billing(urls[0], **_NO_AUDITS) as (large, to_large),
            running_billing(urls[1], **_NO_AUDITS) as (empty, to_empty),
        ):
            processes = [psutil.Process(each.pid) for each in (large, empty)]
            yield Ledger(to_large, (processes[0], database)), Ledger(to_empty, (processes[1], database))


def _fill_both(urls: list[str], requests: int) -> None:
    for url, count in zip(urls, (requests, 1), strict=True):
        with running_billing(url, **_NO_AUDITS):
            # The schema is made by its start.
            pass
        fill(url, count)


def fill(url: str, requests: int, owners: Owners = THOUSAND_OWNERS) -> None:
    """Writes the rows of so many paid requests, in balance."""
    kind = sa.make_url(url).get_backend_name()
    at = f"({owners.began_ms} + n * {YEAR_MS // requests})"
    words = {"at": at, "id": _IDS[kind].format(at=at), "account": owners.account, "key": owners.key}
    words |= {"name": owners.name, "began": str(owners.began_ms)}
    numbers = ((requests, _OF_REQUESTS), (owners.count, _OF_ACCOUNTS), (1, _SUMS))
    steps = [(count, [each.format_map(words) for each in statements]) for count, statements in numbers]
    if kind == "postgresql":
        asyncio.run(_fill_postgresql(url, steps))
        return
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for count, statements in steps:
            connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS numbers (n INTEGER)")
            connection.exec_driver_sql("DELETE FROM numbers")
            connection.exec_driver_sql(
                "INSERT INTO numbers WITH RECURSIVE to_come (n) AS "
                f"(SELECT 1 UNION ALL SELECT n + 1 FROM to_come WHERE n < {count}) SELECT n FROM to_come"
            )
            for statement in statements:
                connection.exec_driver_sql(statement)
    engine.dispose()


async def _fill_postgresql(url: str, steps: Sequence[tuple[int, Sequence[str]]]) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    for count, statements in steps:
        await connection.execute("CREATE TEMP TABLE IF NOT EXISTS numbers (n BIGINT)")
        await connection.execute("DELETE FROM numbers")
        await connection.execute(f"INSERT INTO numbers SELECT generate_series(1, {count})")
        for statement in statements:
            await connection.execute(statement)
    if steps[0][0] > 1:
        # Statistics of a ledger with one request would make plans that read all of it, and be kept while it grows.
        await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def measure(large: Ledger, empty: Ledger, table: Table, seconds: float) -> None:
    """Fills the table; a round takes so many seconds."""
    async with BillingClient(large.address) as client, BillingClient(empty.address) as other:
        for each in client, other:
            await call_unary(each.unary.GetBalance(_balance_of("acct_1"), wait_for_ready=True, timeout=60.0))
    for in_flight in IN_FLIGHT:
        rounds = [[await charges(each, in_flight, seconds) for each in (large, empty)] for _ in range(ROUNDS)]
        costs = [statistics.median(each[side].cpu for each in rounds) for side in (0, 1)]
        ratio = statistics.median(first.cpu / second.cpu for first, second in rounds)
        table.add_row(
            f"Reserve + Settle, {in_flight} in flight, CPU-ms: large, empty, ratio",
            f"{costs[0]:.4f}, {costs[1]:.4f}, {ratio:.2f}",
        )
    async with BillingClient(large.address) as client:
        for group in ("DAY", "MODEL", "KEY"):
            took = statistics.median([await _timed(_report(client, group)) for _ in range(5)])
            table.add_row(f"usage of a year by {group.lower()}, two fifths of all requests, ms", f"{took * 1000:.1f}")
        beside = seconds * BESIDE_ROUNDS
        await _beside(client, large, table, "first proof of all entries", billing_pb2.AUDIT_SCOPE_NEW, beside)
        new = await charges(large, BESIDE_IN_FLIGHT, seconds)
        took = await _timed(_audit(client, billing_pb2.AUDIT_SCOPE_NEW))
        table.add_row(f"audit of what is new ({new.made:,} charges), s", f"{took:.2f}")
        await _beside(client, large, table, "audit of the whole ledger", billing_pb2.AUDIT_SCOPE_WHOLE, beside)


async def charges(ledger: Ledger, in_flight: int, seconds: float) -> Charges:
    """Makes charges for a while."""
    client = transact_client(ledger.address)
    client.open()
    await pairs_of(client, in_flight, seconds / 5, ACCOUNTS)
    before = ledger.cpu_seconds()
    took = sorted(await pairs_of(client, in_flight, seconds, ACCOUNTS))
    cpu = (ledger.cpu_seconds() - before) / len(took)
    await client.close()
    return Charges(len(took), cpu * 1000, statistics.mean(took) * 1000, took[len(took) * 99 // 100] * 1000)


async def _beside(
    client: BillingClient,
    ledger: Ledger,
    table: Table,
    name: str,
    scope: billing_pb2.AuditScope.ValueType,
    seconds: float,
) -> None:
    """Runs an audit, and makes charges and asks for balances beside it."""
    alone = await charges(ledger, BESIDE_IN_FLIGHT, seconds)
    audit = asyncio.create_task(_timed(_audit(client, scope)))
    beside = await charges(ledger, BESIDE_IN_FLIGHT, seconds)
    still_running = not audit.done()
    waits: list[float] = []
    while not audit.done():
        waits.append(await _timed(call_unary(client.unary.GetBalance(_balance_of(ACCOUNTS[len(waits) % 1000])))))
        await asyncio.sleep(0.02)
    after = await charges(ledger, BESIDE_IN_FLIGHT, seconds)
    table.add_row(f"{name}, s", f"{await audit:.1f}" + ("" if still_running else " (ended before the charges)"))
    for measured in ("mean", "p99"):
        figures = [getattr(each, measured) for each in (alone, beside, after)]
        table.add_row(f"  a charge before, beside, after: {measured}, ms", ", ".join(f"{each:.2f}" for each in figures))
    table.add_row("  a balance beside it: longest, ms", f"{max(waits, default=0) * 1000:.0f}")


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


async def _timed(waited_for: Awaitable[object]) -> float:
    began = time.perf_counter()
    await waited_for
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
