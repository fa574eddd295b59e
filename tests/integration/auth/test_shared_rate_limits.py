"""Rate limits that replicas share by a real Redis server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from services.auth.lineage import Limit
from services.auth.rate_limits import shared
from services.auth.rate_limits.local import Hit, RateLimits, RateLimitState
from services.auth.rate_limits.shared import SharedRateLimits
from services.auth.rate_limits.window_redis import Entry, RedisWindows, Window
from tests.support.deadlines import stretched
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

WINDOW = 1
LIMIT = 20


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with RedisServer() as server:
        yield server


@pytest.fixture
async def windows(server: RedisServer) -> AsyncIterator[RedisWindows]:
    windows = RedisWindows(server.url, timeout=5)
    yield windows
    await windows.close()


@pytest.fixture
async def replicas(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[SharedRateLimits]]:
    """Two replicas with windows of a second, which wait longer for their server on a busy machine."""
    monkeypatch.setattr(shared, "TIMEOUT", stretched(shared.TIMEOUT))
    replicas = [
        SharedRateLimits(RedisWindows(server.url, timeout=5), RateLimits(), window_seconds=WINDOW) for _ in range(2)
    ]
    yield replicas
    for replica in replicas:
        await replica.close()


async def hit(replica: SharedRateLimits, *limits: Limit) -> list[RateLimitState]:
    """Makes requests of keys that only their own limits bind."""
    return await hit_together(replica, *((limit,) if limit[1] else () for limit in limits))


async def hit_together(replica: SharedRateLimits, *hits: Hit) -> list[RateLimitState]:
    future: asyncio.Future[list[RateLimitState]] = asyncio.get_running_loop().create_future()
    replica.hit_all(hits, future.set_result)
    return await future


async def test_two_replicas_allow_one_limit_and_say_what_is_left(replicas: list[SharedRateLimits]) -> None:
    for sent in range(LIMIT):
        (state,) = await hit(replicas[sent % 2], ("key_1", LIMIT))
        assert (state.allowed, state.limit, state.remaining) == (True, LIMIT, LIMIT - 1 - sent)
        assert 0 < state.reset_ms <= WINDOW * 1000
    (refused,) = await hit(replicas[0], ("key_1", LIMIT))
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 0 < refused.retry_after <= WINDOW
    assert refused.retry_after * 1000 <= refused.reset_ms <= WINDOW * 1000


async def test_one_frame_may_ask_for_many_keys_and_one_key_often(replicas: list[SharedRateLimits]) -> None:
    states = await hit(replicas[0], ("key_1", 2), ("key_2", 1), ("free", 0), ("key_1", 2), ("key_1", 2), ("key_2", 1))
    assert [state.allowed for state in states] == [True, True, True, True, False, False]
    assert [state.remaining for state in states] == [1, 0, 0, 0, 0, 0]
    assert states[2].limit == 0


async def test_no_window_ever_holds_more_than_the_limit(replicas: list[SharedRateLimits]) -> None:
    """Hammers both replicas over several windows; whatever was allowed within one window's length, counts in it."""
    allowed: list[tuple[float, float]] = []
    end = time.monotonic() + 3.5 * WINDOW

    async def hammer(replica: SharedRateLimits) -> None:
        while (sent := time.monotonic()) < end:
            (state,) = await hit(replica, ("key_1", LIMIT))
            if state.allowed:
                allowed.append((sent, time.monotonic()))

    await asyncio.gather(*(hammer(replica) for replica in replicas for _ in range(4)))
    for begin, _ in allowed:
        # The server's clock may be a millisecond off ours at either end.
        inside = [1 for sent, answered in allowed if sent >= begin and answered <= begin + WINDOW - 0.002]
        assert len(inside) <= LIMIT
    # And nothing that is allowed was withheld: three full windows have passed.
    assert len(allowed) >= 3 * LIMIT


async def test_refused_requests_do_not_count_and_the_promised_time_is_enough(replicas: list[SharedRateLimits]) -> None:
    await hit(replicas[0], ("key_1", 1))
    promised = time.monotonic() + (await hit(replicas[1], ("key_1", 1)))[0].retry_after

    async def allowed() -> bool:
        return (await hit(replicas[0], ("key_1", 1)))[0].allowed

    await eventually(allowed)
    assert abs(time.monotonic() - promised) < stretched(0.3)


async def test_several_requests_count_as_a_whole_or_not_at_all(windows: RedisWindows) -> None:
    async def acquire(amount: int) -> Window:
        (window,) = await windows.acquire_all([Entry("key_1", 3, amount)], 60)
        return window

    assert (await acquire(1)).used == 1
    second = await acquire(1)
    assert (second.allowed, second.used) == (True, 2)
    assert not (await acquire(2)).allowed
    assert (await acquire(1)).allowed
    full = await acquire(0)
    assert full.used == 3
    assert 50_000 < full.next_free_ms <= full.empty_ms <= 60_000
    assert not (await acquire(1)).allowed


async def test_replicas_of_the_first_version_count_in_the_same_windows(
    replicas: list[SharedRateLimits], windows: RedisWindows
) -> None:
    await hit(replicas[0], ("key_1", LIMIT))
    assert await windows._redis.keys() == [b"tiermesh:LIMITER/key_1/20/1/minute"]


async def test_a_large_window_empties_at_once(windows: RedisWindows) -> None:
    (window,) = await windows.acquire_all([Entry("large", 10_000, 5_000)], WINDOW)
    assert (window.allowed, window.used) == (True, 5_000)

    async def empty() -> bool:
        (now,) = await windows.acquire_all([Entry("large", 10_000, 0)], WINDOW)
        return now.used == 0

    await eventually(empty)


async def test_a_defect_while_the_server_is_away_does_not_keep_limits_apart(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = RedisWindows(server.url, timeout=5)
    replica = SharedRateLimits(windows, RateLimits())
    acquire_all, failures = windows.acquire_all, [ConnectionError("gone"), KeyError("a defect")]

    async def failing(entries: Sequence[Entry], expiry: int) -> list[Window]:
        if failures:
            raise failures.pop(0)
        return await acquire_all(entries, expiry)

    monkeypatch.setattr(windows, "acquire_all", failing)
    with capture_logs() as logs:
        await hit(replica, ("key_1", 2))
        await eventually(lambda: logs[-1]["event"] == "rate_limits_shared_again")
    assert [entry["event"] for entry in logs] == [
        "rate_limits_not_shared",
        "rate_limits_failed",
        "rate_limits_shared_again",
    ]
    await replica.close()


@pytest.mark.parametrize("frozen", [False, True])
async def test_without_its_server_each_replica_limits_alone(server: RedisServer, *, frozen: bool) -> None:
    replica = SharedRateLimits(RedisWindows(server.url, timeout=5), RateLimits())
    await hit(replica, ("key_1", 2))
    with capture_logs() as logs:
        if frozen:
            server.freeze()
        else:
            await server.stop()
        begin = time.monotonic()
        answers = await asyncio.gather(*(hit(replica, ("key_1", 2)) for _ in range(5)))
        assert time.monotonic() - begin < stretched(2.0)
        assert sorted(state.remaining for (state,) in answers if state.allowed) == [0, 1]
        # From then on nobody waits for it.
        begin = time.monotonic()
        await hit(replica, ("key_2", 2))
        assert time.monotonic() - begin < stretched(0.1)
        if frozen:
            server.thaw()
        else:
            await server.start()
        await eventually(lambda: logs[-1]["event"] == "rate_limits_shared_again")
        assert [entry["event"] for entry in logs] == ["rate_limits_not_shared", "rate_limits_shared_again"]
    assert (await hit(replica, ("key_3", 2)))[0].remaining == 1
    await replica.close()


async def test_replicas_count_a_request_in_all_its_limits_or_in_none(replicas: list[SharedRateLimits]) -> None:
    """The same as with a window of one replica."""
    parent = ("parent", 5)
    first, second = (parent, ("first", 2)), (parent, ("second", 4))
    states = await hit_together(replicas[0], first, first, (), first, first)
    assert [state.allowed for state in states] == [True, True, True, False, False]
    assert {(state.limit, state.remaining) for state in states[3:]} == {(2, 0)}
    states = await hit_together(replicas[1], second, (parent,), second, second)
    assert [state.allowed for state in states] == [True, True, True, False]
    assert [(state.limit, state.remaining) for state in states] == [(5, 2), (5, 1), (5, 0), (5, 0)]
    assert 0 < states[-1].retry_after <= WINDOW


async def test_many_keys_of_one_family_make_exactly_the_requests_of_its_limit(
    replicas: list[SharedRateLimits],
) -> None:
    hits = [(("parent", 20), (f"child_{number % 5}", 6)) for number in range(100)]
    answers = await asyncio.gather(
        *(hit_together(replicas[number % 2], *hits[number : number + 4]) for number in range(0, 100, 4))
    )
    assert sum(state.allowed for states in answers for state in states) == 20
