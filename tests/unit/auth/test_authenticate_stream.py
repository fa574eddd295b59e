from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from prometheus_client import REGISTRY

from services.auth.accounts import Account
from services.auth.authenticate_stream import VALID_MS, AuthenticateHandler, Authenticator
from services.auth.key_cache import KeyCache, KeyLookup
from services.auth.keys import ApiKey, digest_of
from services.auth.last_used import LastUsed
from services.auth.lineage import Ancestor
from services.auth.rate_limits.local import RateLimits
from services.auth.store.store import AuthStore
from services.common.batch import BatchStream
from services.common.errors import Code, MeshError
from tests.unit.auth.keys_for_tests import api_key
from tests.unit.auth.manual_clock import ManualClock
from tiermesh.auth.v1 import auth_pb2

SECRET = "sk-tiermesh-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"


class Stream:
    """The handler under test with a real session; `ask` returns what a client would read."""

    def __init__(self, store: AuthStore, clock: ManualClock, limit: int = 1000) -> None:
        self.store = store
        self.keys = KeyCache(limit)
        self.last_used = LastUsed(store, 60)
        authenticator = Authenticator(self.keys, KeyLookup(self.keys, self), self.last_used, clock=clock)
        self.fresh = True
        self.asked: list[list[bytes]] = []
        self.handler = AuthenticateHandler(authenticator, RateLimits(clock), lambda: self.fresh)
        self.session = BatchStream(auth_pb2.AuthenticateReply, 1000)

    async def find_keys(self, digests: Collection[bytes]) -> list[ApiKey]:
        """Reads from the real store, and notes what for."""
        self.asked.append(list(digests))
        return await self.store.find_keys(digests)

    async def ask(self, *secrets: str) -> list[auth_pb2.AuthenticateReply]:
        calls = [auth_pb2.AuthenticateCall(id=number, api_key=secret) for number, secret in enumerate(secrets, 1)]
        self.handler.on_calls(calls, self.session)
        taken = await self.session.outbox.take()
        while len(taken) < len(calls):
            taken += await self.session.outbox.take()
        assert sorted(reply.id for reply in taken) == [call.id for call in calls]
        return sorted(taken, key=lambda reply: reply.id)


@pytest.fixture
async def stream(store: AuthStore, clock: ManualClock) -> Stream:
    return Stream(store, clock)


def count(result: str) -> float:
    return REGISTRY.get_sample_value("tiermesh_auth_authentications_total", {"result": result}) or 0.0


async def test_every_call_of_a_frame_gets_its_own_answer(stream: Stream) -> None:
    stream.keys.put(api_key(SECRET, id="key_7", account_id="acct_9", requests_per_minute=2))
    before = {result: count(result) for result in ("allowed", "unauthenticated", "rate_limited")}
    good, wrong, second, refused = await stream.ask(SECRET, "sk-wrong", SECRET, SECRET)
    assert (good.key_id, good.account_id) == ("key_7", "acct_9")
    assert not good.HasField("error")
    assert good.rate_limit == auth_pb2.RateLimit(limit=2, remaining=1, reset_ms=60_000)
    assert MeshError.from_proto(wrong.error).code is Code.UNAUTHENTICATED
    assert not wrong.HasField("rate_limit")
    assert second.rate_limit.remaining == 0
    error = MeshError.from_proto(refused.error)
    assert (error.code, error.retry_after, refused.key_id) == (Code.RATE_LIMITED, 60.0, "")
    assert refused.rate_limit == auth_pb2.RateLimit(limit=2, remaining=0, reset_ms=60_000)
    assert {result: count(result) - before[result] for result in before} == {
        "allowed": 2,
        "unauthenticated": 1,
        "rate_limited": 1,
    }


async def test_a_key_stops_at_its_expiry(stream: Stream, clock: ManualClock) -> None:
    stream.keys.put(api_key(SECRET, expires_at_ms=1_800_000_001_000))
    assert not (await stream.ask(SECRET))[0].HasField("error")
    clock.advance(1)
    assert "expired" in (await stream.ask(SECRET))[0].error.message


async def test_no_limit_shows_as_zero(stream: Stream) -> None:
    stream.keys.put(api_key(SECRET))
    for reply in await stream.ask(*[SECRET] * 100):
        assert reply.rate_limit == auth_pb2.RateLimit()
        assert not reply.HasField("error")


@pytest.mark.parametrize(
    ("fields", "valid_ms"),
    [
        ({}, VALID_MS),
        ({"monthly_credit_cap": 9, "models": ("tiermesh-pro",)}, VALID_MS),
        ({"requests_per_minute": 1_000_000}, 0),
        # Its own limit is none, but that of a key above it is.
        ({"id": "key_2", "ancestors": (Ancestor("key_1", 0, 3),)}, 0),
        ({"id": "key_2", "ancestors": (Ancestor("key_1", 9, 0),)}, VALID_MS),
        ({"expires_at_ms": 1_900_000_000_000}, 0),
        ({"revoked_at_ms": 1}, 0),
        ({"suspended_at_ms": 1}, 0),
    ],
)
async def test_a_reply_holds_for_a_while_if_no_request_has_to_be_counted(
    stream: Stream, fields: dict[str, str | int | tuple[object, ...]], valid_ms: int
) -> None:
    stream.keys.put(api_key(SECRET, **fields))
    (reply,) = await stream.ask(SECRET)
    assert reply.valid_ms == valid_ms
    assert not valid_ms or not reply.HasField("error")


async def test_scopes_and_cap_travel_with_the_answer(stream: Stream) -> None:
    stream.keys.put(api_key(SECRET, models=("tiermesh-pro",), endpoints=("chat", "keys"), monthly_credit_cap=9))
    (reply,) = await stream.ask(SECRET)
    assert (list(reply.models), list(reply.endpoints), reply.monthly_credit_cap) == (
        ["tiermesh-pro"],
        ["chat", "keys"],
        9,
    )


async def test_stale_keys_answer_nobody(stream: Stream) -> None:
    stream.keys.put(api_key(SECRET))
    stream.fresh = False
    cut = asyncio.create_task(serve_one_frame(stream))
    with pytest.raises(asyncio.CancelledError):
        await cut
    assert "follow changes" in stream.session.cut_reason
    assert len(stream.session.outbox) == 0


async def serve_one_frame(stream: Stream) -> None:
    """Does as the batch server does: a session belongs to the task that serves it."""
    stream.session = BatchStream(auth_pb2.AuthenticateReply, 1000)
    stream.handler.on_calls([auth_pb2.AuthenticateCall(id=1, api_key=SECRET)], stream.session)
    await asyncio.Event().wait()


async def test_caps_and_rates_of_a_line_bind_its_keys_together(stream: Stream) -> None:
    parent = api_key(SECRET, id="key_1", requests_per_minute=3, monthly_credit_cap=9)
    line = (Ancestor("key_1", 9, 3),)
    child = api_key(SECRET + "c", id="key_2", requests_per_minute=3, monthly_credit_cap=5, ancestors=line)
    rotated = api_key(SECRET + "r", id="key_3", origin="key_1", requests_per_minute=3, monthly_credit_cap=9)
    for key in (parent, child, rotated):
        stream.keys.put(key)
    replies = await stream.ask(SECRET, SECRET + "c", SECRET + "r", SECRET + "c", SECRET)
    assert [reply.rate_limit.remaining for reply in replies] == [2, 1, 0, 0, 0]
    assert [reply.HasField("error") for reply in replies] == [False, False, False, True, True]
    caps = [[(cap.key_id, cap.credits) for cap in reply.caps] for reply in replies[:3]]
    # A key that only its own cap binds needs no list.
    assert caps == [[], [("key_1", 9), ("key_2", 5)], [("key_1", 9)]]
    assert [reply.monthly_credit_cap for reply in replies[:3]] == [9, 5, 9]


async def test_keys_of_a_frame_that_are_not_in_memory_are_read_together(store: AuthStore, clock: ManualClock) -> None:
    stream = Stream(store, clock, limit=1)
    await store.insert_account(Account("acct_1", "", 1))
    for number in range(6):
        secret, rate = f"sk-x-{number}", 2 if number == 1 else 0
        stream.keys.put(await store.insert_key(api_key(secret, id=f"key_{number}", requests_per_minute=rate)))
    await store.revoke_key("key_0", 5)
    secrets = [f"sk-x-{number}" for number in (5, 0, 1, 2, 1, 1)]
    held, revoked, first, other, second, refused = (await stream.ask(*secrets, "sk-wrong"))[:6]
    assert [sorted(asked) for asked in stream.asked] == [sorted({digest_of(secret) for secret in secrets[1:]})]
    assert (held.key_id, other.key_id) == ("key_5", "key_2")
    assert "was revoked" in revoked.error.message
    assert (first.rate_limit.remaining, second.rate_limit.remaining) == (1, 0)
    assert MeshError.from_proto(refused.error).code is Code.RATE_LIMITED


async def test_a_key_that_cannot_be_read_is_refused_and_the_others_are_not(
    store: AuthStore, clock: ManualClock
) -> None:
    stream = Stream(store, clock, limit=1)
    for number in range(3):
        stream.keys.put(api_key(f"sk-x-{number}", id=f"key_{number}"))

    async def away(digests: Collection[bytes]) -> list[ApiKey]:
        raise MeshError(Code.UNAVAILABLE, "the database does not answer")

    stream.find_keys = away  # type: ignore[method-assign]  # The database goes away.
    before = count("unavailable")
    held, one, other = await stream.ask("sk-x-2", "sk-x-0", "sk-x-1")
    assert held.key_id == "key_2"
    for reply in (one, other):
        error = MeshError.from_proto(reply.error)
        assert (error.code, error.retry_after) == (Code.UNAVAILABLE, 1.0)
        assert "Nothing was charged" in error.message
    assert count("unavailable") - before == 2
