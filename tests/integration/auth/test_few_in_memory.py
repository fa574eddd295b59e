"""A process that has room for few keys answers as one that has room for all, as long as its database does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2

from services.common.errors import Code
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.conftest import auth_process
from tests.support.deadlines import stretched
from tests.support.forked_service import ForkedServiceProcess
from tests.support.partition import Partition
from tests.support.ports import free_address
from tests.support.postgres import create_database
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2

ROOM = 3
KEYS = 12


async def lookups(auth: ServiceProcess, result: str) -> float:
    lines = (await auth.metrics()).splitlines()
    name = f'tiermesh_auth_key_lookups_total{{result="{result}"}} '
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


async def make_keys(client: AuthClient, count: int) -> list[auth_pb2.CreateKeyResponse]:
    account = await client.create_account()
    return [
        await client.create_key(account.id, requests_per_minute=0, monthly_credit_cap=number)
        for number in range(1, count + 1)
    ]


async def refused(client: AuthClient, secret: str) -> str:
    return (await client.refusal(secret)).message


async def test_all_keys_work_and_only_few_are_in_memory(tmp_path: Path, database_url: str) -> None:
    auth = auth_process(tmp_path, database_url, max_keys_in_memory=str(ROOM))
    async with auth, AuthClient(auth.address) as client:
        keys = await make_keys(client, KEYS)

        async def all_work() -> None:
            replies = await asyncio.gather(*(client.authenticate(key.api_key) for key in keys))
            assert [reply.key_id for reply in replies] == [key.key.id for key in keys]
            assert [reply.monthly_credit_cap for reply in replies] == list(range(1, KEYS + 1))

        await all_work()
        assert await lookups(auth, "found") >= KEYS - ROOM
        assert f"tiermesh_auth_keys {ROOM}.0" in await auth.metrics()
        # No stranger reaches the database, and what happens to keys out of memory is known at once.
        assert all(["Incorrect" in await refused(client, f"sk-wrong-{number}") for number in range(20)])
        assert await lookups(auth, "unknown") < 5
        await client.revoke_key(keys[0].key.id)
        assert "was revoked" in await refused(client, keys[0].api_key)
        await client.rotate_key(keys[1].key.id, overlap_seconds=0)
        assert "expired" in await refused(client, keys[1].api_key)
        await client.suspend(keys[2].key.account_id)
        assert "suspended" in await refused(client, keys[2].api_key)
        await client.resume(keys[2].key.account_id)
        await auth.kill()
        await auth.start()
        del keys[:2]
        replies = await asyncio.gather(*(client.authenticate(key.api_key) for key in keys))
        assert [reply.key_id for reply in replies] == [key.key.id for key in keys]
        assert await lookups(auth, "found") >= len(keys) - ROOM


async def test_a_key_that_cannot_be_looked_up_is_503_and_those_in_memory_work(
    tmp_path: Path, postgres_url: str, postgres_template: str
) -> None:
    async with (
        Partition(create_database(postgres_url, postgres_template)) as partition,
        auth_process(tmp_path, partition.url, max_keys_in_memory="1") as auth,
        AuthClient(auth.address) as client,
        httpx2.AsyncClient(timeout=stretched(20.0)) as http,
    ):
        elsewhere, held = await make_keys(client, 2)
        nowhere = {"billing_addresses": free_address(), "router_addresses": free_address()}
        edge = ForkedServiceProcess("edge", tmp_path, {"auth_addresses": auth.address, **nowhere})
        await edge.start(ready=False)

        async def models(secret: str) -> httpx2.Response:
            headers = {"Authorization": f"Bearer {secret}"}
            return await http.get(f"http://{edge.address}/v1/models", headers=headers)

        async def status(secret: str) -> int:
            return (await models(secret)).status_code

        try:

            async def reaches_auth() -> bool:
                return await status("sk-wrong") == 401

            await eventually(reaches_auth)
            partition.block()
            error = await client.refusal(elsewhere.api_key)
            assert error.code is Code.UNAVAILABLE
            assert not (await client.authenticate(held.api_key)).HasField("error")
            response = await models(elsewhere.api_key)
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) > 0
            assert response.json()["error"]["message"] == error.message
            assert await status("sk-wrong") == 401
            partition.heal()

            async def works_again() -> bool:
                return not (await client.authenticate(elsewhere.api_key)).HasField("error")

            await eventually(works_again)
        finally:
            await edge.kill()
