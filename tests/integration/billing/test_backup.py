"""A ledger that is copied while it works, by the commands of docs/operations/backup.md, is sound and goes on."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.integration.billing.billing_client import PRICE, BillingClient
from tests.support.forked_service import ForkedServiceProcess
from tests.support.postgres import client_program, create_database
from tests.support.waiting import eventually

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations" / "backup.md"


@asynccontextmanager
async def traffic(client: BillingClient) -> AsyncIterator[list[str]]:
    """Reserves and settles all the while, and tells what has been paid."""
    await client.grant(1_000_000 * PRICE)
    await client.reserve("open")
    paid: list[str] = []

    async def serve(name: str) -> None:
        while True:
            request_id = f"{name}-{len(paid)}"
            await client.reserve(request_id)
            await client.settle(request_id)
            paid.append(request_id)

    async with asyncio.TaskGroup() as group:
        serving = [group.create_task(serve(f"client-{number}")) for number in range(8)]
        await eventually(lambda: len(paid) > 20)
        yield paid
        for task in serving:
            task.cancel()


async def run(*command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def copy_sqlite(database_url: str, directory: Path) -> str:
    match = re.search(r'exec deploy/tiermesh-\$part -- python -c "(.*)"', DOCUMENT.read_text())
    assert match is not None
    copy = directory / "copy.db"
    program = match[1].replace("/data/$part.db", database_url.removeprefix("sqlite:///"))
    await run(sys.executable, "-c", program.replace("/data/backup.db", str(copy)))
    return f"sqlite:///{copy}"


async def copy_postgresql(database_url: str, directory: Path) -> str:
    match = re.search(r"pg_dump (.*)--file=", DOCUMENT.read_text())
    assert match is not None
    dump = directory / "billing.dump"
    await run(client_program("pg_dump"), *match[1].split(), f"--file={dump}", database_url)
    copy = create_database(database_url)
    await run(client_program("pg_restore"), "--exit-on-error", f"--dbname={copy}", dump)
    return copy


async def test_a_copy_made_under_load_is_a_ledger(database_url: str, client: BillingClient, tmp_path: Path) -> None:
    copy = copy_sqlite if database_url.startswith("sqlite") else copy_postgresql
    async with traffic(client) as paid:
        paid_before = len(paid)
        url = await copy(database_url, tmp_path)
    async with (
        ForkedServiceProcess("billing", tmp_path, {"database_url": url}) as process,
        BillingClient(process.address) as restored,
    ):
        report = await restored.audit()
        assert not report.violations
        # Each of them had two entries for its hold and two for its capture.
        assert report.entries >= 4 * paid_before
        # What was held then can still be paid.
        assert (await restored.settle("open")).amount == PRICE
        assert not (await restored.audit()).violations
