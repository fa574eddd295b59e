"""A real auth process over real gRPC: what edges and commands can count on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from services.common.errors import Code, MeshError
from tests.integration.auth.auth_client import AuthClient
from tests.support.deadlines import stretched
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2


async def test_a_new_key_works_at_once(shared_client: AuthClient) -> None:
    account = await shared_client.create_account("a customer")
    created = await shared_client.create_key(account.id)
    reply = await shared_client.authenticate(created.api_key)
    assert (reply.key_id, reply.account_id) == (created.key.id, account.id)
    assert reply.rate_limit == auth_pb2.RateLimit(limit=60, remaining=59, reset_ms=60_000)
    assert account in await shared_client.list_accounts()
    listed = (await shared_client.list_keys(account.id))[0]
    assert (listed.hint, listed.requests_per_minute) == (created.key.hint, 60)
    assert created.api_key.startswith(f"{listed.hint}")


async def test_a_wrong_key_is_refused_without_being_repeated(shared_client: AuthClient) -> None:
    created = await shared_client.create_key((await shared_client.create_account()).id)
    for wrong in ("", "sk-tiermesh-nonsense", created.api_key[:-1] + "_"):
        error = await shared_client.refusal(wrong)
        assert error.code is Code.UNAUTHENTICATED
        assert "sk-" not in error.message


async def test_a_revoked_key_stops_working_at_once_and_for_ever(shared_client: AuthClient) -> None:
    created = await shared_client.create_key((await shared_client.create_account()).id, requests_per_minute=0)
    begin = time.monotonic()
    revoked = await shared_client.revoke_key(created.key.id)
    error = await shared_client.refusal(created.api_key)
    assert time.monotonic() - begin < stretched(1.0)
    assert (error.code, "was revoked" in error.message) == (Code.UNAUTHENTICATED, True)
    assert revoked.revoked_at_ms > 0
    assert await shared_client.revoke_key(created.key.id) == revoked


async def test_an_expired_key_says_so(shared_client: AuthClient) -> None:
    account = await shared_client.create_account()
    soon = int(time.time() * 1000) + 300
    created = await shared_client.create_key(account.id, requests_per_minute=0, expires_at_ms=soon)

    async def expired() -> bool:
        reply = await shared_client.authenticate(created.api_key)
        return "expired at" in reply.error.message

    await eventually(expired)
    assert time.time() * 1000 >= soon


async def test_the_61st_request_in_a_minute_is_refused(shared_client: AuthClient) -> None:
    created = await shared_client.create_key((await shared_client.create_account()).id)
    replies = await asyncio.gather(*(shared_client.authenticate(created.api_key) for _ in range(61)))
    refused = [reply for reply in replies if reply.HasField("error")]
    assert len(refused) == 1
    error = MeshError.from_proto(refused[0].error)
    assert error.code is Code.RATE_LIMITED
    assert 50 < error.retry_after <= 60
    assert (refused[0].rate_limit.limit, refused[0].rate_limit.remaining) == (60, 0)
    assert 50_000 < refused[0].rate_limit.reset_ms <= 60_000


async def test_management_refuses_with_the_meshs_own_errors(shared_client: AuthClient) -> None:
    with pytest.raises(MeshError) as caught:
        await shared_client.create_key("acct_unknown")
    assert (caught.value.code, caught.value.param) == (Code.NOT_FOUND, "account_id")
    with pytest.raises(MeshError) as caught:
        await shared_client.revoke_key("key_unknown")
    assert caught.value.code is Code.NOT_FOUND
    with pytest.raises(MeshError) as caught:
        await shared_client.create_account("x" * 201)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "name")


async def test_the_last_use_is_written_in_the_background(shared_client: AuthClient) -> None:
    account = await shared_client.create_account()
    created = await shared_client.create_key(account.id)
    before = int(time.time() * 1000)
    await shared_client.authenticate(created.api_key)

    async def written() -> bool:
        return (await shared_client.list_keys(account.id))[0].last_used_at_ms >= before

    await eventually(written)


def contents(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir())


async def test_metrics_tell_what_happened(auth: ServiceProcess, client: AuthClient) -> None:
    created = await client.create_key((await client.create_account()).id, requests_per_minute=1)
    for secret in (created.api_key, created.api_key, "sk-wrong"):
        await client.authenticate(secret)
    metrics = await auth.metrics()
    for result in ("allowed", "rate_limited", "unauthenticated"):
        assert f'tiermesh_auth_authentications_total{{result="{result}"}} 1.0' in metrics
    assert "tiermesh_auth_keys 1.0" in metrics


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_key_is_in_a_file_a_log_or_a_metric(auth: ServiceProcess, client: AuthClient, tmp_path: Path) -> None:
    account = await client.create_account()
    kept, revoked = [await client.create_key(account.id, requests_per_minute=1) for _ in range(2)]
    await client.revoke_key(revoked.key.id)
    unknown = "sk-tiermesh-canarycanarycanarycanarycanarycanarycanary"
    for secret in (kept.api_key, kept.api_key, revoked.api_key, unknown):
        await client.authenticate(secret)
    exposed = (await auth.metrics()).encode()
    exposed += contents(tmp_path)
    assert await auth.stop() == 0
    exposed += contents(tmp_path)
    assert kept.key.hint.encode() in exposed
    for secret in (kept.api_key, revoked.api_key, unknown):
        random_part = secret.rpartition("-")[2].encode()
        assert random_part not in exposed
        # Not even a part that would make guessing easier than the public hint does.
        assert random_part[4:12] not in exposed
