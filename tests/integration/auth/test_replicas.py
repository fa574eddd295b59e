"""Several auth replicas on one PostgreSQL: all soon know of every change, and one that is cut off is not trusted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.auth.store.store import MIGRATIONS
from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import call_unary
from services.common.scopes import ENDPOINTS
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.conftest import auth_process, new_database
from tests.support.apart import run_apart
from tests.support.deadlines import stretched
from tests.support.migrated import migrated
from tests.support.partition import Partition
from tests.support.postgres import PostgresServer, create_database
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2

MAX_STALE = 2.0


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Only PostgreSQL takes several replicas."""
    return new_database("postgres", tmp_path, request)


@pytest.fixture
async def partition(database_url: str) -> AsyncIterator[Partition]:
    """The second replica's way to the database."""
    async with Partition(database_url) as partition:
        yield partition


@pytest.fixture
async def replicas(tmp_path: Path, database_url: str, partition: Partition) -> AsyncIterator[list[ServiceProcess]]:
    stale = {"max_stale_seconds": str(MAX_STALE)}
    first = auth_process(tmp_path, database_url, **stale)
    # It has room for one key, so it reads most keys from the database.
    second = auth_process(tmp_path, partition.url, max_keys_in_memory="1", **stale)
    async with first, second:
        yield [first, second]


@pytest.fixture
async def clients(replicas: list[ServiceProcess]) -> AsyncIterator[list[AuthClient]]:
    """One client of each replica alone."""
    first, second = replicas
    async with AuthClient(first.address) as one, AuthClient(second.address) as other:
        yield [one, other]


async def let_in(client: AuthClient, secret: str) -> bool:
    return not (await client.authenticate(secret)).HasField("error")


async def within_a_second(client: AuthClient, secret: str, expected: bool) -> None:
    async def as_expected() -> bool:
        return await let_in(client, secret) is expected

    begin = time.monotonic()
    await eventually(as_expected)
    assert time.monotonic() - begin < stretched(1.0)


async def test_what_one_replica_changes_holds_at_the_other_within_a_second(clients: list[AuthClient]) -> None:
    one, other = clients
    account = await one.create_account()
    created = await one.create_key(account.id, requests_per_minute=0, endpoints=["chat"], monthly_credit_cap=7)
    await within_a_second(other, created.api_key, True)
    reply = await other.authenticate(created.api_key)
    assert (list(reply.endpoints), reply.monthly_credit_cap) == (["chat"], 7)
    rotated = await other.rotate_key(created.key.id, overlap_seconds=0)
    await within_a_second(one, rotated.api_key, True)
    await within_a_second(one, created.api_key, False)
    await one.suspend(account.id)
    await within_a_second(other, rotated.api_key, False)
    await other.resume(account.id)
    await within_a_second(one, rotated.api_key, True)
    owner = await one.create_key(account.id, requests_per_minute=0, endpoints=ENDPOINTS)
    await within_a_second(other, owner.api_key, True)
    token = (
        await call_unary(one.stub.CreateSession(auth_pb2.CreateSessionRequest(api_key=owner.api_key)))
    ).session_token
    await call_unary(one.stub.CloseAccount(auth_pb2.CloseAccountRequest(session_token=token)))
    await within_a_second(other, rotated.api_key, False)
    await call_unary(other.stub.ReopenAccount(auth_pb2.ReopenAccountRequest(account_id=account.id)))
    await within_a_second(one, rotated.api_key, True)
    await one.revoke_key(rotated.key.id)
    await within_a_second(other, rotated.api_key, False)
    assert "was revoked" in (await other.refusal(rotated.api_key)).message


async def test_a_replica_cut_off_is_not_trusted_for_longer_than_said(
    replicas: list[ServiceProcess], clients: list[AuthClient], partition: Partition
) -> None:
    one, other = clients
    created = await one.create_key((await one.create_account()).id, requests_per_minute=0)
    await within_a_second(other, created.api_key, True)
    partition.block()
    await one.revoke_key(created.key.id)
    revoked_at = time.monotonic()
    # A warm key needs no database, so at first nobody can tell.
    assert await let_in(other, created.api_key)

    async def distrusted() -> bool:
        try:
            await other.authenticate(created.api_key, timeout=0.2)
        except MeshError as error:
            return error.code is Code.UNAVAILABLE
        return False

    await eventually(distrusted)
    # One poll interval, one time-out of the client's, and some slack.
    assert time.monotonic() - revoked_at < stretched(MAX_STALE + 1.5)
    assert not await replicas[1].ready()
    assert await replicas[0].ready()
    # Whoever knows both replicas is served by the other one without noticing.
    async with AuthClient(replicas[1].address, replicas[0].address) as both:
        begin = time.monotonic()
        assert "was revoked" in (await both.refusal(created.api_key)).message
        assert time.monotonic() - begin < stretched(2.0)
    partition.heal()
    await eventually(replicas[1].ready, 20.0)
    assert "was revoked" in (await other.refusal(created.api_key)).message


async def test_streams_that_are_open_move_on_when_their_replica_goes_stale(
    replicas: list[ServiceProcess], clients: list[AuthClient], partition: Partition
) -> None:
    created = await clients[0].create_key((await clients[0].create_account()).id, requests_per_minute=0)
    await within_a_second(clients[1], created.api_key, True)
    async with AuthClient(replicas[1].address, replicas[0].address) as both:
        assert await let_in(both, created.api_key)
        partition.block()

        async def stale() -> bool:
            # Requests go on all the while, and none of them fails.
            assert all(await asyncio.gather(*(let_in(both, created.api_key) for _ in range(10))))
            return not await replicas[1].ready()

        await eventually(stale)
        assert all(await asyncio.gather(*(let_in(both, created.api_key) for _ in range(10))))


@pytest.fixture
async def server() -> AsyncIterator[PostgresServer]:
    """A server of the test's own, to be killed."""
    server = await asyncio.to_thread(PostgresServer)
    await asyncio.to_thread(server.start)
    yield server
    await asyncio.to_thread(server.remove)


async def test_warm_keys_outlive_postgres_and_changes_are_noticed_when_it_is_back(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = create_database(server.url)
    run_apart(migrated(url, MIGRATIONS))
    first, second = (auth_process(tmp_path, url) for _ in range(2))
    async with first, second, AuthClient(first.address) as one, AuthClient(second.address) as other:
        created = await one.create_key((await one.create_account()).id, requests_per_minute=0)
        await within_a_second(other, created.api_key, True)
        await asyncio.to_thread(server.kill)
        await eventually(lambda: "key_changes_unknown" in second.log())
        assert await let_in(one, created.api_key)
        assert await let_in(other, created.api_key)
        with pytest.raises(MeshError) as caught:
            await one.revoke_key(created.key.id)
        assert caught.value.code is Code.UNAVAILABLE
        await asyncio.to_thread(server.start)
        await eventually(lambda: "key_changes_known_again" in second.log())
        await one.revoke_key(created.key.id)
        await within_a_second(other, created.api_key, False)
