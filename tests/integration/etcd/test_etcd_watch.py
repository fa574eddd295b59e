"""The watch against a real etcd that is killed, compacted, wiped and restarted under it.

Tests read the watch by hand: between two reads it stands still, so what happens to etcd meanwhile is certain to happen
while its stream is broken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.common.etcd import Delete, EtcdClient, Put, Snapshot, WatchEvent, endpoints, watch_prefix
from tests.support.deadlines import within
from tests.support.etcd import EtcdServer
from tests.support.waiting import eventually

PREFIX = b"/tiermesh/runners/"


@pytest.fixture
async def events(server: EtcdServer) -> AsyncIterator[AsyncGenerator[WatchEvent, None]]:
    """A watch over a connection of its own, so that the other client's calls never mend it."""
    client = EtcdClient([server.endpoint])
    async with aclosing(watch_prefix(client, PREFIX)) as events:
        yield events
    await client.close()


def numbered(first: int, last: int) -> list[Put]:
    return [Put(PREFIX + b"%04d" % number, b"%d" % number) for number in range(first, last)]


async def write(client: EtcdClient, puts: list[Put]) -> None:
    for put in puts:
        await client.put(put.key, put.value)


async def take(events: AsyncGenerator[WatchEvent, None], count: int) -> list[WatchEvent]:
    async with within(10):
        return [await anext(events) for _ in range(count)]


async def test_a_snapshot_comes_first_and_then_each_change(
    client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    await client.put(PREFIX + b"a", b"1")
    await client.put(b"/elsewhere", b"not of interest")
    assert await take(events, 1) == [Snapshot({PREFIX + b"a": b"1"})]
    await client.put(PREFIX + b"b", b"2")
    await client.put(b"/elsewhere", b"still not")
    await client.put(PREFIX + b"a", b"3")
    await client.delete(PREFIX + b"b")
    assert await take(events, 3) == [Put(PREFIX + b"b", b"2"), Put(PREFIX + b"a", b"3"), Delete(PREFIX + b"b")]


async def test_a_snapshot_is_the_followers_own(client: EtcdClient, events: AsyncGenerator[WatchEvent, None]) -> None:
    snapshot = (await take(events, 1))[0]
    assert isinstance(snapshot, Snapshot)
    snapshot.items[b"scribble"] = b""
    await client.put(PREFIX + b"a", b"1")
    assert await take(events, 1) == [Put(PREFIX + b"a", b"1")]


async def test_nothing_is_lost_or_repeated_when_etcd_is_killed(
    server: EtcdServer, client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    await take(events, 1)
    await write(client, numbered(0, 30))
    assert await take(events, 20) == numbered(0, 20)
    for number in range(30, 60, 10):
        await server.kill()
        await server.start()
        await write(client, numbered(number, number + 10))
    assert await take(events, 40) == numbered(20, 60)


async def test_a_watch_keeps_up_with_a_writer_while_etcd_comes_and_goes(
    server: EtcdServer, client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    seen: list[int] = []

    async def follow() -> None:
        async for event in events:
            if isinstance(event, Put):
                seen.append(int(event.value))  # noqa: PERF401 - the list is read while it grows

    await take(events, 1)
    following = asyncio.create_task(follow())
    writing = asyncio.create_task(write(client, numbered(0, 1500)))
    for reached in (200, 600):
        await eventually(lambda reached=reached: len(seen) > reached)  # type: ignore[misc] # a loop variable's default
        await server.kill()
        await server.start()
    await writing
    await eventually(lambda: seen[-1:] == [1499])
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    # A put whose answer was lost is written, and then told, once more; nothing else is, and nothing is skipped.
    assert sorted(set(seen)) == list(range(1500))
    assert seen == sorted(seen)
    assert len(seen) <= 1500 + 2


async def test_after_a_compaction_the_prefix_is_listed_again(
    server: EtcdServer, client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    await take(events, 1)
    await write(client, numbered(0, 10))
    await take(events, 10)
    await server.kill()
    await server.start()
    await write(client, numbered(10, 200))
    await client.delete(PREFIX + b"0000")
    await server.compact(await client.put(PREFIX + b"0200", b"200"))
    expected = {put.key: put.value for put in numbered(1, 201)}
    assert await take(events, 1) == [Snapshot(expected)]
    await client.put(PREFIX + b"0001", b"new")
    assert await take(events, 1) == [Put(PREFIX + b"0001", b"new")]


async def test_a_compaction_behind_a_live_watch_goes_unnoticed(
    server: EtcdServer, client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    await take(events, 1)
    await write(client, numbered(0, 10))
    await take(events, 10)
    await server.compact(await client.put(PREFIX + b"last", b""))
    await client.put(PREFIX + b"next", b"")
    assert await take(events, 2) == [Put(PREFIX + b"last", b""), Put(PREFIX + b"next", b"")]


async def test_a_wiped_etcd_is_listed_again(
    server: EtcdServer, client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    await write(client, numbered(0, 20))
    await take(events, 1)
    await server.wipe()
    await server.start()
    await client.put(PREFIX + b"only", b"1")
    assert await take(events, 1) == [Snapshot({PREFIX + b"only": b"1"})]


async def test_a_wiped_etcd_is_noticed_even_when_it_has_overtaken_the_watch(
    server: EtcdServer, client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    await write(client, numbered(0, 5))
    await take(events, 1)
    await server.wipe()
    await server.start()
    # Neither the revision nor the cluster's id gives the new etcd away: both are those of the old one.
    await write(client, numbered(2, 30))
    expected = {put.key: put.value for put in numbered(2, 30)}
    assert await take(events, 1) == [Snapshot(expected)]


async def test_a_watch_may_begin_before_etcd_does(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path)
    client = EtcdClient([server.endpoint])
    async with aclosing(watch_prefix(client, PREFIX)) as events:
        first = asyncio.create_task(take(events, 1))
        await server.start()
        assert await first == [Snapshot({})]
    await client.close()
    await server.stop()


async def test_a_silent_etcd_is_noticed_by_its_missing_pings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All keep-alive times are a tenth of the real ones.
    hurried = [
        (name, value // 10 if name.startswith(("grpc.keepalive", "grpc.http2.ping")) else value)
        for name, value in endpoints._OPTIONS
    ]
    monkeypatch.setattr(endpoints, "_OPTIONS", hurried)
    async with EtcdServer(tmp_path, arguments=["--grpc-keepalive-min-time=500ms"]) as server:
        client = EtcdClient([server.endpoint])
        async with aclosing(watch_prefix(client, PREFIX)) as events:
            await take(events, 1)
            await client.put(PREFIX + b"a", b"1")
            # This one comes by the stream, so the stream is open and all that is left to fail.
            await take(events, 1)
            with capture_logs() as logs:
                following = asyncio.create_task(take(events, 1))
                server.freeze()
                await eventually(lambda: [entry["event"] for entry in logs] == ["etcd_watch_lost"])
                assert "ping timeout" in logs[0]["reason"]
                server.thaw()
                await client.put(PREFIX + b"a", b"2")
                assert await following == [Put(PREFIX + b"a", b"2")]
        await client.close()


async def test_an_outage_is_logged_once_and_so_is_its_end(
    server: EtcdServer, client: EtcdClient, events: AsyncGenerator[WatchEvent, None]
) -> None:
    await client.put(PREFIX + b"a", b"1")
    await take(events, 1)
    with capture_logs() as logs:
        await server.kill()
        following = asyncio.create_task(take(events, 1))
        with pytest.raises(AssertionError):
            await eventually(lambda: len(logs) > 1, timeout=1.0)
        await server.start()
        await client.put(PREFIX + b"a", b"2")
        assert await following == [Put(PREFIX + b"a", b"2")]
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("etcd_watch_lost", "warning"),
        ("etcd_watch_recovered", "info"),
    ]
