"""Prints how long people wait for a ledger of millions of rows, while it is audited and everything is reported.

`python -m bench.large_ledger` fills a ledger by SQL, then asks a real billing process for balances, newest entries and
charges while an audit and usage reports run. Nobody may wait longer than 2 seconds for a balance.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable

import sqlalchemy as sa
import uvloop
from rich.console import Console
from rich.table import Table

from bench.ledger import postgres_server, running_billing
from services.common.rpc.interceptors import call_unary
from tests.integration.billing.billing_client import BillingClient
from tiermesh.billing.v1 import billing_pb2

ACCOUNTS = 1000
# Each request is held and charged: two movements of two entries each.
ENTRIES_OF_REQUEST = 4
PRICE = 10
CREDITS = 10**12
BEGAN_MS = 1_790_000_000_000
DAY_MS = 86_400_000
# An audit may take as long as it likes.
_PATIENCE_SECONDS = 1800.0

_MOVEMENT = "INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms) SELECT {} FROM numbers"
_REQUEST, _ACCOUNT = "'req_' || n", f"'acct_' || (n % {ACCOUNTS})"
# Of the numbers from 1 on, as many as there are requests.
_OF_REQUESTS = (
    f"""
    INSERT INTO holds (request_id, account_id, key_id, model, quantity, unit_price, amount, reserved_ms, state, outcome,
        prompt_tokens, completion_tokens, runner_id, settled_ms)
    SELECT {_REQUEST}, {_ACCOUNT}, 'key_' || (n % 7), 'tiermesh-pro', 1, {PRICE}, {PRICE}, {BEGAN_MS} + n, 'captured',
        'completed', 100, 64, 'runner', {BEGAN_MS} + n + 900 FROM numbers
    """,
    _MOVEMENT.format(f"{_REQUEST}, 'reserve', {_ACCOUNT}, 'available', -{PRICE}, {BEGAN_MS} + n"),
    _MOVEMENT.format(f"{_REQUEST}, 'reserve', {_ACCOUNT}, 'held', {PRICE}, {BEGAN_MS} + n"),
    _MOVEMENT.format(f"{_REQUEST}, 'capture', {_ACCOUNT}, 'held', -{PRICE}, {BEGAN_MS} + n + 900"),
    _MOVEMENT.format(f"{_REQUEST}, 'capture', 'system:revenue', 'available', {PRICE}, {BEGAN_MS} + n + 900"),
)
# And as many as there are accounts.
_OF_ACCOUNTS = (
    f"""
    INSERT INTO balances (account_id, available, held)
    SELECT {_ACCOUNT}, {CREDITS} - {PRICE} * (SELECT count(*) FROM holds WHERE account_id = {_ACCOUNT}), 0 FROM numbers
    """,
    f"""
    INSERT INTO grants (grant_id, account_id, credits, note, at_ms)
    SELECT 'grant_' || n, {_ACCOUNT}, {CREDITS}, '', {BEGAN_MS} FROM numbers
    """,
    _MOVEMENT.format(f"'grant_' || n, 'grant', {_ACCOUNT}, 'available', {CREDITS}, {BEGAN_MS}"),
    _MOVEMENT.format(f"'grant_' || n, 'grant', 'system:grants', 'available', -{CREDITS}, {BEGAN_MS}"),
)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.large_ledger", description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000, help="rows of the ledger (10000000)")
    entries = parser.parse_args().entries
    table = Table(
        "database", "audit s", "usage report s", "balance, longest s", "newest entries", "charge", "balances",
        title=f"Waiting for a ledger of {entries:,} entries while it is audited (a balance: at most 2 s)",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder, postgres_server() as server:
        for name, url in {"SQLite": f"sqlite:///{folder}/billing.db", "PostgreSQL": server.url}.items():
            with running_billing(url):
                # The schema is made by its start.
                pass
            fill(url, entries // ENTRIES_OF_REQUEST)
            with running_billing(url) as (_, address):
                table.add_row(name, *uvloop.run(measure(address)))
    Console(width=140).print(table)


def fill(url: str, requests: int) -> None:
    """Writes the rows of so many paid requests, in balance."""
    if sa.make_url(url).get_backend_name() == "postgresql":
        asyncio.run(_fill_postgresql(url, requests))
        return
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for count, statements in ((requests, _OF_REQUESTS), (ACCOUNTS, _OF_ACCOUNTS)):
            connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS numbers (n INTEGER)")
            connection.exec_driver_sql("DELETE FROM numbers")
            connection.exec_driver_sql(
                "INSERT INTO numbers WITH RECURSIVE to_come (n) AS "
                f"(SELECT 1 UNION ALL SELECT n + 1 FROM to_come WHERE n < {count}) SELECT n FROM to_come"
            )
            for statement in statements:
                connection.exec_driver_sql(statement)
    engine.dispose()


async def _fill_postgresql(url: str, requests: int) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    for count, statements in ((requests, _OF_REQUESTS), (ACCOUNTS, _OF_ACCOUNTS)):
        for statement in statements:
            await connection.execute(
                f"{statement.rpartition(' FROM numbers')[0]} FROM generate_series(1, {count}) AS numbers (n)"
            )
    await connection.execute("ANALYZE")
    await connection.close()


async def measure(address: str) -> list[str]:
    """Asks while the audit runs; returns a row of the table."""
    async with BillingClient(address) as client:
        await _until_served(client)
        audit = asyncio.create_task(_timed(_audit(client)))
        report = asyncio.create_task(_timed(_report(client)))
        waits: dict[str, list[float]] = {"balance": [], "newest": [], "charge": []}
        number = 0
        while not audit.done():
            account = f"acct_{number % ACCOUNTS}"
            waits["balance"].append(await _timed(client.balance(account)))
            waits["newest"].append(await _timed(_newest(client, account)))
            waits["charge"].append(await _timed(_charge(client, f"new_{number}", account)))
            number += 1
        longest = [f"{max(waits[name]):.2f}" for name in waits]
        return [f"{await audit:.1f}", f"{await report:.1f}", *longest, str(number)]


async def _until_served(client: BillingClient) -> None:
    await call_unary(
        client.unary.GetBalance(billing_pb2.GetBalanceRequest(account_id="acct_1"), wait_for_ready=True, timeout=60.0)
    )


async def _audit(client: BillingClient) -> None:
    found = await call_unary(client.unary.Audit(billing_pb2.AuditRequest(), timeout=_PATIENCE_SECONDS))
    assert not found.violations, found.violations[:3]


async def _report(client: BillingClient) -> None:
    request = billing_pb2.GetUsageRequest(account_id="acct_1", from_ms=BEGAN_MS, to_ms=BEGAN_MS + DAY_MS)
    await call_unary(client.unary.GetUsage(request, timeout=_PATIENCE_SECONDS))


async def _newest(client: BillingClient, account: str) -> None:
    request = billing_pb2.ListEntriesRequest(account_id=account, page_size=20)
    await call_unary(client.unary.ListEntries(request))


async def _charge(client: BillingClient, request_id: str, account: str) -> None:
    await client.reserve(request_id, account)
    await client.settle(request_id)


async def _timed(waited_for: Awaitable[object]) -> float:
    began = time.perf_counter()
    await waited_for
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
