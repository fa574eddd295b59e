"""Requests that come in by what auth has just said of their key: none that had to be counted, none for long."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import pairwise
from typing import Any, cast

from hypothesis import example, given
from hypothesis import strategies as st

from services.auth.authenticate_stream import VALID_MS, AuthenticateHandler
from services.auth.authenticate_stream import Authenticator as KeyAuthenticator
from services.auth.key_cache import KeyCache, KeyLookup
from services.auth.last_used import LastUsed
from services.auth.rate_limits.local import RateLimits
from services.common.batch import BatchStream
from services.common.errors import Code, MeshError
from services.common.telemetry.open_telemetry import OtlpTracing
from services.common.telemetry.tracing import Span
from services.edge.authentication import AuthBatch, Authenticator, Passes, Principal, Verdict
from services.edge.context import RequestContext
from tests.unit.auth.keys_for_tests import api_key
from tests.unit.auth.manual_clock import ManualClock
from tiermesh.auth.v1 import auth_pb2

VALID = VALID_MS / 1000
LIMIT = 3
# Whose requests are not counted, whose are, and one that is not counted but expires.
FREE, LIMITED, EXPIRING = "sk-tiermesh-free", "sk-tiermesh-limited", "sk-tiermesh-expiring"
EXPIRES_IN = 0.25


class Auth:
    """One replica of auth behind one edge, in one process; all clocks are one that the test moves."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.keys = KeyCache()
        expires = int((self.clock() + EXPIRES_IN) * 1000)
        self._fields: dict[str, dict[str, Any]] = {
            FREE: {"id": "key_free"},
            LIMITED: {"id": "key_limited", "requests_per_minute": LIMIT},
            EXPIRING: {"id": "key_expiring", "expires_at_ms": expires},
        }
        for secret, fields in self._fields.items():
            self.keys.put(api_key(secret, **fields))
        self.last_used = LastUsed(cast("Any", None), 60)
        # All keys are in memory, so no store is asked.
        lookup = KeyLookup(self.keys, cast("Any", None))
        authenticator = KeyAuthenticator(self.keys, lookup, self.last_used, clock=self.clock)
        self._handler = AuthenticateHandler(authenticator, RateLimits(self.clock), lambda: True)
        # When auth was asked, by key.
        self.asked: dict[str, list[float]] = {secret: [] for secret in self._fields}
        # How long each reply takes.
        self.delay = 0.0
        self.edge = Authenticator(cast("AuthBatch", self), 1.0, self.clock)

    async def request(self, call: auth_pb2.AuthenticateCall, _timeout: float) -> auth_pb2.AuthenticateReply:
        """Answers as the batch client does."""
        self.asked[call.api_key].append(self.clock())
        stream = BatchStream(auth_pb2.AuthenticateReply, 1)
        self._handler.on_calls([call], stream)
        (reply,) = await stream.outbox.take()
        self.clock.advance(self.delay)
        return reply

    def revoke(self, secret: str) -> None:
        revoked = int(self.clock() * 1000)
        self.keys.put(api_key(secret, revoked_at_ms=revoked, change_number=1, **self._fields[secret]))

    async def ask(self, secret: str, trace: Span | None = None) -> Verdict:
        headers = {"Authorization": f"Bearer {secret}"}
        return await self.edge.authenticate(headers, RequestContext("req_1", 0.0, trace=trace))

    async def lets_in(self, secret: str) -> bool:
        return isinstance((await self.ask(secret)).principal, Principal)


EVENTS = st.one_of(
    st.sampled_from([0.01, 0.04, VALID, 0.5, 30.0, 60.0]),
    st.sampled_from([("ask", FREE), ("ask", LIMITED), ("ask", EXPIRING), ("revoke", FREE), ("revoke", LIMITED)]),
)


@given(events=st.lists(EVENTS, max_size=60))
@example(events=[("ask", FREE), 0.04, ("revoke", FREE), ("ask", FREE), VALID, ("ask", FREE)])
@example(events=[("ask", LIMITED)] * (LIMIT + 1) + [60.0, ("ask", LIMITED)])
@example(events=[("ask", EXPIRING), 0.5, ("ask", EXPIRING)])
def test_a_key_is_let_in_as_if_auth_were_asked_each_time_but_for_a_moment_after_its_revocation(
    events: list[float | tuple[str, str]],
) -> None:
    asyncio.run(replay(events))


async def replay(events: list[float | tuple[str, str]]) -> None:
    auth = Auth()
    begin = auth.clock()
    revoked: dict[str, float] = {}
    counted: deque[float] = deque()
    for event in events:
        if isinstance(event, float):
            auth.clock.advance(event)
            continue
        what, secret = event
        now = auth.clock()
        if what == "revoke":
            revoked.setdefault(secret, now)
            auth.revoke(secret)
            continue
        verdict = await auth.ask(secret)
        let_in = isinstance(verdict.principal, Principal)
        if secret == EXPIRING:
            assert let_in == (now < begin + EXPIRES_IN)
        elif secret == FREE and secret in revoked:
            assert not let_in or now < revoked[secret] + VALID
        elif secret == FREE:
            assert let_in
        else:
            while counted and counted[0] + 60 <= now:
                counted.popleft()
            assert let_in == (secret not in revoked and len(counted) < LIMIT)
            if let_in:
                counted.append(now)
                assert verdict.rate_limit is not None
                assert verdict.rate_limit.remaining == LIMIT - len(counted)


async def test_auth_is_asked_again_when_its_word_has_expired() -> None:
    auth = Auth()
    for _ in range(50):
        assert await auth.lets_in(FREE)
        auth.clock.advance(VALID / 10)
    begin = auth.asked[FREE][0]
    assert len(auth.asked[FREE]) == 5
    assert all(later - earlier >= VALID * 0.99 for earlier, later in pairwise(auth.asked[FREE]))
    # To a fraction of a second, the time of last use is that of the last request.
    assert auth.asked[FREE][-1] > begin + 3.9 * VALID


async def test_the_time_counts_from_when_auth_was_asked() -> None:
    auth = Auth()
    auth.delay = VALID * 0.9
    assert await auth.lets_in(FREE)
    auth.revoke(FREE)
    assert await auth.lets_in(FREE)
    auth.clock.advance(VALID * 0.2)
    assert not await auth.lets_in(FREE)


async def test_a_refusal_counts_more_than_what_was_said_before() -> None:
    auth = Auth()
    asking = asyncio.create_task(auth.ask(FREE))
    await asyncio.sleep(0)
    auth.revoke(FREE)
    # Both were asked before either was answered.
    second = asyncio.create_task(auth.ask(FREE))
    assert isinstance((await asking).principal, Principal)
    refusal = (await second).principal
    assert isinstance(refusal, MeshError)
    assert refusal.code is Code.UNAUTHENTICATED
    assert not await auth.lets_in(FREE)


async def test_a_traced_request_asks_auth() -> None:
    auth = Auth()
    assert await auth.lets_in(FREE)
    tracing = OtlpTracing("tiermesh-edge", 1.0)
    verdict = await auth.ask(FREE, tracing.request("POST /", {}))
    await tracing.close()
    assert isinstance(verdict.principal, Principal)
    assert len(auth.asked[FREE]) == 2


def test_no_key_is_held_for_longer_than_it_is_used() -> None:
    passes, verdict = Passes(), Verdict(Principal("key", "account"), None)
    for number in range(100):
        passes.keep(f"sk-{number}", verdict, number + 10, number)
    assert len(passes) == 10
    assert passes.find("sk-99", 108.0) is verdict
    assert passes.find("sk-99", 109.0) is None
