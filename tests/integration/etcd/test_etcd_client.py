"""Calls to a real etcd: keys, retries, fail-over between endpoints, authentication and TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from services.common.etcd import (
    AuthenticationError,
    EtcdClient,
    EtcdError,
    EtcdUnavailableError,
    LeaseNotFoundError,
    Put,
    Registration,
    RevisionUnavailableError,
    Snapshot,
    watch_prefix,
)
from tests.support.certificates import CertificateAuthority
from tests.support.deadlines import within
from tests.support.etcd import EtcdServer
from tests.support.waiting import eventually

PREFIX = b"/tiermesh/runners/"


def always(number: float) -> Callable[[], float]:
    """A randomness without surprises; with 0 the first endpoint comes first."""
    return lambda: number


@pytest.fixture
def silent_endpoint() -> Iterator[str]:
    """A port that takes connections and never answers, as a host behind a broken network does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def dead_endpoint() -> Iterator[str]:
    """A port that refuses connections."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


async def test_keys_are_written_listed_and_deleted(client: EtcdClient) -> None:
    first = await client.put(PREFIX + b"a", b"1")
    second = await client.put(PREFIX + b"b", b"2")
    await client.put(b"/tiermesh/runners0", b"a neighbour of the prefix")
    listing = await client.get_prefix(PREFIX)
    assert listing.items == {PREFIX + b"a": b"1", PREFIX + b"b": b"2"}
    assert (second, listing.revision) == (first + 1, first + 2)
    assert (await client.get_prefix(PREFIX, revision=first)).items == {PREFIX + b"a": b"1"}
    assert len((await client.get_prefix(b"")).items) == 3
    assert await client.delete(PREFIX + b"a") == 1
    assert await client.delete(PREFIX + b"a") == 0
    assert (await client.get_prefix(PREFIX)).items == {PREFIX + b"b": b"2"}


async def test_status_tells_the_version_and_the_leader(client: EtcdClient) -> None:
    status = await client.status()
    assert status.version.startswith("3.")
    assert status.has_leader
    assert status.database_bytes > 0


async def test_refusals_are_typed(client: EtcdClient) -> None:
    with pytest.raises(LeaseNotFoundError):
        await client.put(b"key", b"value", lease=12345)
    with pytest.raises(LeaseNotFoundError):
        await client.revoke_lease(12345)
    with pytest.raises(RevisionUnavailableError):
        await client.get_prefix(b"key", revision=10**9)
    with pytest.raises(EtcdError, match="INVALID_ARGUMENT"):
        await client.put(b"", b"value")


async def test_a_call_bridges_a_restart(server: EtcdServer, client: EtcdClient) -> None:
    await client.put(b"key", b"old")
    await server.kill()
    writing = asyncio.create_task(client.put(b"key", b"new"))
    await server.start()
    async with within(10):
        await writing
    assert (await client.get_prefix(b"key")).items == {b"key": b"new"}


async def test_a_cluster_that_is_gone_is_unavailable(dead_endpoint: str) -> None:
    client = EtcdClient([dead_endpoint], random=always(0))
    with pytest.raises(EtcdUnavailableError):
        await client.get_prefix(b"key", attempts=3)
    await client.close()


async def test_a_dead_endpoint_is_left_for_the_next(server: EtcdServer, dead_endpoint: str) -> None:
    client = EtcdClient([dead_endpoint, f"http://{server.endpoint}"], random=always(0))
    async with within(2):
        await client.put(b"key", b"value")
    await client.close()


async def test_a_silent_endpoint_is_left_for_the_next(server: EtcdServer, silent_endpoint: str) -> None:
    client = EtcdClient([silent_endpoint, server.endpoint], timeout=0.3, random=always(0))
    async with within(2):
        await client.put(b"key", b"value")
    await client.close()


async def test_a_password_opens_a_cluster_that_demands_one(server: EtcdServer, client: EtcdClient) -> None:
    await server.enable_auth("correct horse")
    known = EtcdClient([server.endpoint], username="root", password="correct horse")
    await known.put(b"key", b"value")
    mistaken = EtcdClient([server.endpoint], username="root", password="wrong")
    with pytest.raises(AuthenticationError):
        await mistaken.get_prefix(b"key")
    with pytest.raises(EtcdError, match="user name is empty"):
        await client.get_prefix(b"key")
    for each in (known, mistaken):
        await each.close()


async def test_a_password_does_no_harm_where_none_is_needed_and_helps_once_it_is(server: EtcdServer) -> None:
    client = EtcdClient([server.endpoint], username="root", password="secret")
    await client.put(b"key", b"before")
    await server.enable_auth("secret")
    await client.put(b"key", b"after")
    await client.close()


async def test_an_expired_token_is_renewed(tmp_path: Path) -> None:
    async with EtcdServer(tmp_path, arguments=["--auth-token-ttl=1", "--log-level=debug"]) as server:
        await server.enable_auth("secret")
        client = EtcdClient([server.endpoint], username="root", password="secret")
        await client.put(b"key", b"1")
        await eventually(lambda: "deleted a simple token" in server.log)
        await asyncio.gather(*(client.put(b"key", b"2") for _ in range(10)))
        await client.close()


async def test_tokens_and_streams_outlive_a_restart(server: EtcdServer) -> None:
    await server.enable_auth("secret")
    client = EtcdClient([server.endpoint], username="root", password="secret")
    events = watch_prefix(client, PREFIX)
    registration = Registration(client, PREFIX + b"r1", b"ready", ttl=2)
    async with within(20):
        assert await anext(events) == Snapshot({})
        running = asyncio.create_task(registration.run())
        assert await anext(events) == Put(PREFIX + b"r1", b"ready")
        # etcd keeps tokens in memory, so it forgets them here.
        await server.kill()
        await server.start()
        await registration.update(b"draining")
        assert await anext(events) == Put(PREFIX + b"r1", b"draining")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await events.aclose()
    await client.close()


async def test_tls_encrypts_and_verifies(tmp_path: Path) -> None:
    tls = CertificateAuthority().issue(tmp_path / "etcd")
    arguments = [f"--cert-file={tls.cert_file}", f"--key-file={tls.key_file}"]
    async with EtcdServer(tmp_path, arguments=arguments, tls=tls) as server:
        trusting = EtcdClient([f"https://{server.endpoint}"], tls=tls)
        await trusting.put(b"key", b"value")
        await trusting.close()
        other = CertificateAuthority().issue(tmp_path / "foreign")
        distrusting = EtcdClient([server.endpoint], tls=other)
        with pytest.raises(EtcdUnavailableError):
            await distrusting.get_prefix(b"key", attempts=1)
        await distrusting.close()


def test_everything_runs_on_uvloop(tmp_path: Path) -> None:
    uvloop.run(_watch_a_registration_come_and_go(tmp_path))


async def _watch_a_registration_come_and_go(directory: Path) -> None:
    async with EtcdServer(directory) as server, within(20):
        client = EtcdClient([server.endpoint])
        events = watch_prefix(client, PREFIX)
        assert await anext(events) == Snapshot({})
        running = asyncio.create_task(Registration(client, PREFIX + b"r1", b"ready", ttl=2).run())
        assert await anext(events) == Put(PREFIX + b"r1", b"ready")
        await server.kill()
        await server.start()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.put(PREFIX + b"r2", b"ready")
        seen: list[object] = [await anext(events), await anext(events)]
        assert seen[-1] == Put(PREFIX + b"r2", b"ready")
        await events.aclose()
        await client.close()


async def test_a_token_of_an_etcd_that_is_no_more_is_replaced(tmp_path: Path) -> None:
    """A new etcd does not refuse such a token: it waits until it has come as far as the one that gave it."""
    async with EtcdServer(tmp_path) as server:
        client = EtcdClient([server.endpoint], username="root", password="secret", timeout=0.5)
        for _ in range(20):
            await client.put(PREFIX + b"a", b"1")
        await server.enable_auth("secret")
        await client.put(PREFIX + b"a", b"2")
        await server.wipe()
        await server.start()
        await server.enable_auth("secret")
        assert await client.put(PREFIX + b"a", b"3") > 0
        await client.close()
