"""What an auth process keeps when it ends, in good order or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.auth.store.store import MIGRATIONS
from services.common.database.schema import revisions
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.commands import run_auth, run_migrate
from tests.integration.auth.conftest import auth_process
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

Run = Callable[..., Awaitable[tuple[int, str]]]


async def test_a_killed_process_loses_no_account_key_or_revocation(auth: ServiceProcess, client: AuthClient) -> None:
    account = await client.create_account()
    kept = await client.create_key(account.id, requests_per_minute=7)
    revoked = await client.create_key(account.id)
    await client.revoke_key(revoked.key.id)
    await auth.kill()
    await auth.start()
    assert await client.list_accounts() == [account]
    reply = await client.authenticate(kept.api_key)
    assert (reply.key_id, reply.rate_limit.limit) == (kept.key.id, 7)
    assert "was revoked" in (await client.refusal(revoked.api_key)).message


async def test_calls_bridge_a_kill(auth: ServiceProcess, client: AuthClient) -> None:
    created = await client.create_key((await client.create_account()).id, requests_per_minute=0)
    await auth.kill()
    asking = [asyncio.create_task(client.authenticate(created.api_key)) for _ in range(50)]
    await auth.start()
    assert {(await each).key_id for each in asking} == {created.key.id}


async def test_sigterm_writes_the_last_use_and_exits_0(tmp_path: Path) -> None:
    settings = {"database_url": f"sqlite:///{tmp_path / 'auth.db'}"}
    status, output = await run_migrate(settings, tmp_path)
    assert status == 0, output
    auth = ServiceProcess("auth", tmp_path, settings)
    async with auth, AuthClient(auth.address) as client:
        created = await client.create_key((await client.create_account()).id, requests_per_minute=0)
        assert not (await client.authenticate(created.api_key)).HasField("error")
        # The next regular write is a minute away; only the drain can do it.
        assert (await client.list_keys())[0].last_used_at_ms == 0
        assert await auth.stop() == 0
        # Closing the database folds its log into the file.
        assert not (tmp_path / "auth.db-wal").exists()
        await auth.start()
        assert (await client.list_keys())[0].last_used_at_ms > 0


async def test_a_restart_in_good_order_is_bridged(auth: ServiceProcess, client: AuthClient) -> None:
    created = await client.create_key((await client.create_account()).id, requests_per_minute=0)
    asking = [asyncio.create_task(client.authenticate(created.api_key)) for _ in range(50)]
    assert await auth.stop() == 0
    asking += [asyncio.create_task(client.authenticate(created.api_key)) for _ in range(50)]
    await auth.start()
    assert {(await each).key_id for each in asking} == {created.key.id}


async def test_a_start_without_a_schema_says_what_to_run(tmp_path: Path) -> None:
    status, output = await run_auth({"database_url": f"sqlite:///{tmp_path / 'empty.db'}"}, tmp_path)
    assert status == 1
    assert "python -m services.auth.migrate" in output
    assert "Traceback" not in output


async def test_sigterm_ends_the_wait_for_a_database_that_is_away(tmp_path: Path) -> None:
    auth = ServiceProcess("auth", tmp_path, {"database_url": f"sqlite:///{tmp_path / 'nowhere' / 'auth.db'}"})
    await auth.start(ready=False)
    try:
        await eventually(lambda: "waiting_for_database" in auth.log())
        assert not await auth.ready()
        assert await auth.stop() == 0
    finally:
        await auth.kill()


@pytest.mark.parametrize("run", [run_auth, run_migrate])
async def test_a_mistaken_setting_is_named(run: Run, tmp_path: Path) -> None:
    status, output = await run({"database": f"sqlite:///{tmp_path / 'auth.db'}"}, tmp_path)
    assert status == 1
    assert "TIERMESH_AUTH_DATABASE_URL" in output
    assert "Traceback" not in output


async def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        status, output = await run_migrate({"database_url": f"sqlite:///{tmp_path / 'auth.db'}"}, tmp_path)
        assert (status, f"has schema {revisions(MIGRATIONS)[-1]}" in output) == (0, True)


async def test_a_taken_port_ends_the_start_with_a_clear_line(
    auth: ServiceProcess, database_url: str, tmp_path: Path
) -> None:
    settings = {"database_url": database_url, "listen": auth.address}
    status, output = await run_auth(settings, tmp_path)
    assert status == 1
    assert "is the port taken?" in output
    assert "Traceback" not in output
    assert await auth.ready()


async def test_a_dead_key_is_forgotten_after_the_retention(tmp_path: Path, database_url: str) -> None:
    async with (
        auth_process(tmp_path, database_url, dead_key_retention_seconds="1") as auth,
        AuthClient(auth.address) as client,
    ):
        account = await client.create_account()
        kept, dead = await client.create_key(account.id), await client.create_key(account.id)
        await client.revoke_key(dead.key.id)
        await eventually(lambda: "dead_keys_pruned" in auth.log())
        assert [key.id for key in await client.list_keys()] == [kept.key.id]
        assert "Incorrect API key" in (await client.refusal(dead.api_key)).message
        assert "tiermesh_auth_keys 1.0" in await auth.metrics()
