"""Prints what a charge costs: Reserve and Settle of one request, durably committed, through a real billing process.

`python -m bench.ledger` runs it on SQLite and on PostgreSQL, both syncing every charge to the disk. CPU is the kernel's
count of user and system time. Machines and disks are noisy: compare figures of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench.machine import header
from bench.mesh import free_port
from services.common.batch import BatchClient
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from services.edge.context import RequestIds
from tests.support.postgres import PostgresServer
from tiermesh.billing.v1 import billing_pb2, billing_pb2_grpc

IN_FLIGHT = (1, 32, 256)
ACCOUNTS = 50
ACCOUNTS_OF_BENCH = [f"acct_{number}" for number in range(ACCOUNTS)]
MODEL = "tiermesh-pro"
TIMEOUT = 60.0

Client = BatchClient[billing_pb2.TransactCall, billing_pb2.TransactReply]


@dataclass(frozen=True)
class Figure:
    """Pairs a second, and CPU-milliseconds for each pair by process."""

    in_flight: int
    pairs_per_second: float
    billing: float
    database: float
    client: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    console = Console()
    console.print(header(), soft_wrap=True)
    table = Table("database", "in flight", "pairs/s", "billing CPU-ms/pair", "database", "client",
                  title="Reserve + Settle, committed (target at 256 in flight: 3000 pairs/s)")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder, postgres_server() as server:
        databases = {"SQLite": f"sqlite:///{folder}/billing.db", "PostgreSQL": server.url}
        for name, url in databases.items():
            with running_billing(url) as (process, address):
                server_pid = server.pid if name == "PostgreSQL" else None
                for figure in uvloop.run(_measure(address, process.pid, server_pid, seconds)):
                    cpu = (f"{value:.3f}" for value in (figure.billing, figure.database, figure.client))
                    table.add_row(name, str(figure.in_flight), f"{figure.pairs_per_second:.0f}", *cpu)
            table.add_section()
    console.print(table)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Runs a PostgreSQL that syncs every commit."""
    server = PostgresServer(durable=True)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def running_billing(
    database_url: str, program: str = "services.billing", **more: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Runs a billing process with more settings, if any; gives its address too. What is written to it is a pipe."""
    address = f"127.0.0.1:{free_port()}"
    settings = {"DATABASE_URL": database_url, "LISTEN": address, "LOG_LEVEL": "warning"} | more
    environment = os.environ | {f"TIERMESH_BILLING_{name}": value for name, value in settings.items()}
    subprocess.run([sys.executable, "-m", "services.billing.migrate"], check=True, env=environment, capture_output=True)
    process = subprocess.Popen([sys.executable, "-m", program], stdin=subprocess.PIPE, env=environment)
    try:
        yield process, address
    finally:
        process.terminate()
        process.wait(30)


def transact_client(address: str) -> Client:
    """Returns a client as an edge has it, not yet open."""
    return Client(
        "billing.transact",
        [address],
        open_channel=channel_opener(TlsSettings()),
        open_stream=lambda channel: billing_pb2_grpc.BillingServiceStub(channel).Transact(),
        new_frame=billing_pb2.TransactRequest,
        retry=True,
    )


async def _measure(address: str, billing_pid: int, server_pid: int | None, seconds: float) -> list[Figure]:
    open_channel = channel_opener(TlsSettings())
    client = transact_client(address)
    client.open()
    channel = open_channel(address)
    stub = billing_pb2_grpc.BillingServiceStub(channel)
    for number in range(ACCOUNTS):
        await stub.Grant(
            billing_pb2.GrantRequest(account_id=f"acct_{number}", credits=10**9), wait_for_ready=True, timeout=TIMEOUT
        )
    figures = []
    for in_flight in IN_FLIGHT:
        await pairs_of(client, in_flight, seconds / 5, ACCOUNTS_OF_BENCH)
        before = _cpu(billing_pid, server_pid)
        started = time.perf_counter()
        pairs = len(await pairs_of(client, in_flight, seconds, ACCOUNTS_OF_BENCH))
        elapsed = time.perf_counter() - started
        used = [
            (after - first) / pairs * 1000 for after, first in zip(_cpu(billing_pid, server_pid), before, strict=True)
        ]
        figures.append(Figure(in_flight, pairs / elapsed, *used))
    await client.close()
    await channel.close()
    return figures


async def pairs_of(client: Client, in_flight: int, seconds: float, accounts: Sequence[str]) -> list[float]:
    """Keeps so many requests in flight for a while; returns how long each took that was paid, in seconds."""
    end = time.perf_counter() + seconds
    drawn = random.Random(in_flight)
    request_ids = RequestIds()

    async def edge() -> list[float]:
        paid = []
        while (began := time.perf_counter()) < end:
            request_id = request_ids.new()
            await _call(client, billing_pb2.TransactCall(reserve=billing_pb2.Reserve(
                request_id=request_id, account_id=drawn.choice(accounts), key_id="key_0123456789", model=MODEL,
            )))  # fmt: skip
            await _call(client, billing_pb2.TransactCall(settle=billing_pb2.Settle(
                request_id=request_id, outcome=billing_pb2.OUTCOME_COMPLETED,
                prompt_tokens=100, completion_tokens=64, runner_id="runner-0",
            )))  # fmt: skip
            paid.append(time.perf_counter() - began)
        return paid

    return [each for paid in await asyncio.gather(*(edge() for _ in range(in_flight))) for each in paid]


async def _call(client: Client, call: billing_pb2.TransactCall) -> None:
    reply = await client.request(call, TIMEOUT)
    if reply.HasField("error"):
        raise RuntimeError(reply.error.message)


def _cpu(billing_pid: int, server_pid: int | None) -> tuple[float, float, float]:
    """CPU seconds of billing, of every process of the database server, and of this process."""
    database = 0.0
    if server_pid is not None:
        server = psutil.Process(server_pid)
        database = sum(_seconds(process) for process in (server, *server.children(recursive=True)))
    return _seconds(psutil.Process(billing_pid)), database, _seconds(psutil.Process())


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
