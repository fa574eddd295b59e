"""Registration against a real etcd: the key is there exactly while its owner is, whatever etcd goes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from services.common.etcd import EtcdClient, Lease, Registration
from tests.support.deadlines import within
from tests.support.etcd import EtcdServer
from tests.support.waiting import eventually

KEY = b"/tiermesh/runners/r1"


class Leases(EtcdClient):
    """A client that remembers the leases it was granted and counts the renewals, for tests to meddle with them."""

    def __init__(self, endpoint: str) -> None:
        super().__init__([endpoint], timeout=0.5)
        self.granted: list[int] = []
        self.renewed = 0

    async def grant_lease(self, ttl: int) -> Lease:
        lease = await super().grant_lease(ttl)
        self.granted.append(lease.id)
        return lease

    async def keep_alive(self, lease: int, *, timeout: float | None = None) -> int:
        ttl = await super().keep_alive(lease, timeout=timeout)
        self.renewed += 1
        return ttl


@pytest.fixture
async def owner(server: EtcdServer) -> AsyncIterator[Leases]:
    owner = Leases(server.endpoint)
    yield owner
    await owner.close()


@asynccontextmanager
async def running(registration: Registration) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(registration.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def value_is(client: EtcdClient, value: bytes | None) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return (await client.get_prefix(KEY)).items.get(KEY) == value

    return check


async def test_a_lease_is_kept_alive_beyond_its_time(client: EtcdClient, owner: Leases) -> None:
    changes: list[bool] = []
    registration = Registration(owner, KEY, b"ready", ttl=1, on_change=changes.append)
    async with running(registration):
        await eventually(value_is(client, b"ready"))
        # At three renewals in the life of a lease, these are two lives and more.
        await eventually(lambda: owner.renewed >= 7)
        assert await value_is(client, b"ready")()
        assert registration.registered
        assert (len(owner.granted), changes) == (1, [True])


async def test_the_key_of_a_dead_owner_goes_when_its_lease_ends(client: EtcdClient) -> None:
    lease = await client.grant_lease(1)
    await client.put(KEY, b"ready", lease=lease.id)
    await eventually(value_is(client, None))
    assert await client.keep_alive(lease.id) == 0


async def test_cancelling_removes_the_key_at_once(client: EtcdClient) -> None:
    changes: list[bool] = []
    registration = Registration(client, KEY, b"ready", ttl=60, on_change=changes.append)
    async with running(registration) as task:
        await eventually(lambda: registration.registered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await value_is(client, None)()
    assert not registration.registered
    assert changes == [True, False]


async def test_a_revoked_lease_is_replaced(client: EtcdClient, owner: Leases) -> None:
    changes: list[bool] = []
    registration = Registration(owner, KEY, b"ready", ttl=1, on_change=changes.append)
    async with running(registration):
        await eventually(lambda: registration.registered)
        with capture_logs() as logs:
            await client.revoke_lease(owner.granted[0])
            await eventually(lambda: changes == [True, False, True])
        assert await value_is(client, b"ready")()
        assert [entry["event"] for entry in logs] == ["etcd_registration_lost", "etcd_registration_recovered"]


async def test_a_deleted_or_overwritten_key_is_mended(client: EtcdClient, owner: Leases) -> None:
    registration = Registration(owner, KEY, b"ready", ttl=1)
    async with running(registration):
        await eventually(lambda: registration.registered)
        await client.delete(KEY)
        await eventually(value_is(client, b"ready"))
        await client.put(KEY, b"not what its owner says")
        await eventually(value_is(client, b"ready"))
        assert len(owner.granted) == 1
    assert await value_is(client, None)()


async def test_an_update_is_written_at_once_and_remembered(client: EtcdClient, owner: Leases) -> None:
    registration = Registration(owner, KEY, b"ready", ttl=2)
    async with running(registration):
        await eventually(lambda: registration.registered)
        await registration.update(b"draining")
        assert await value_is(client, b"draining")()
        await client.revoke_lease(owner.granted[0])
        await eventually(lambda: len(owner.granted) == 2)
        await eventually(value_is(client, b"draining"))


async def test_an_update_before_the_start_is_what_is_registered(client: EtcdClient) -> None:
    registration = Registration(client, KEY, b"ready")
    await registration.update(b"draining")
    async with running(registration):
        await eventually(lambda: registration.registered)
        assert await value_is(client, b"draining")()


async def test_a_restart_of_etcd_does_not_disturb_the_registration(
    server: EtcdServer, client: EtcdClient, owner: Leases
) -> None:
    changes: list[bool] = []
    registration = Registration(owner, KEY, b"ready", ttl=3, on_change=changes.append)
    async with running(registration):
        await eventually(lambda: registration.registered)
        await server.kill()
        await server.start()
        renewed = owner.renewed
        await eventually(lambda: owner.renewed > renewed + 1)
        assert await value_is(client, b"ready")()
        assert (len(owner.granted), changes) == (1, [True])


async def test_an_update_during_an_outage_is_written_after_it(
    server: EtcdServer, client: EtcdClient, owner: Leases
) -> None:
    registration = Registration(owner, KEY, b"ready", ttl=2)
    async with running(registration):
        await eventually(lambda: registration.registered)
        await server.kill()
        with capture_logs() as logs:
            await registration.update(b"draining")
        assert "etcd_update_delayed" in [entry["event"] for entry in logs]
        await server.start()
        await eventually(value_is(client, b"draining"))


async def test_a_wiped_etcd_gets_the_registration_anew(server: EtcdServer, client: EtcdClient, owner: Leases) -> None:
    registration = Registration(owner, KEY, b"ready", ttl=2)
    async with running(registration):
        await eventually(lambda: registration.registered)
        await server.wipe()
        await server.start()
        await eventually(value_is(client, b"ready"))
        assert len(owner.granted) == 2


async def test_an_owner_out_of_touch_knows_when_its_key_is_gone(server: EtcdServer, owner: Leases) -> None:
    registration = Registration(owner, KEY, b"ready", ttl=1)
    async with running(registration):
        await eventually(lambda: registration.registered)
        server.freeze()
        await eventually(lambda: not registration.registered)
        server.thaw()
        await eventually(lambda: registration.registered)


async def test_cancelling_does_not_wait_for_an_etcd_that_is_gone(server: EtcdServer, client: EtcdClient) -> None:
    registration = Registration(client, KEY, b"ready")
    async with running(registration) as task:
        await eventually(lambda: registration.registered)
        await server.kill()
        task.cancel()
        async with within(3):
            with pytest.raises(asyncio.CancelledError):
                await task
