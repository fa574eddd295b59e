"""The gRPC face of the hot path. A frame's calls are verified in the turn of the event loop that brought them.

They are answered in that turn too, unless their rate limits are shared with other replicas: then when those are known,
which is one round trip for the whole frame. Keys that are not in memory are read from the database, all those of a
frame together, while the others are answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from services.auth.key_cache import NOTHING, Credential, KeyCache, KeyLookup, NotInMemory, Reads
from services.auth.last_used import LastUsed
from services.auth.metrics import AUTHENTICATIONS
from services.auth.rate_limits.local import Limiter, RateLimitState
from services.common.batch import BatchServer, BatchStream, Notes
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import MeshError
from services.common.telemetry.tracing import Tracing
from tiermesh.auth.v1 import auth_pb2

AuthenticateServer = BatchServer[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply]
AuthenticateStream = BatchStream[auth_pb2.AuthenticateReply]
_ALLOWED = AUTHENTICATIONS.labels("allowed")
_UNAUTHENTICATED = AUTHENTICATIONS.labels("unauthenticated")
_RATE_LIMITED = AUTHENTICATIONS.labels("rate_limited")
# For how long an edge may let requests in by one reply, if nothing counts them and the key does not expire, in
# milliseconds. A revocation takes so much longer to hold everywhere, of the second that it may take.
VALID_MS = 100
_UNAVAILABLE = AUTHENTICATIONS.labels("unavailable")
# Why a stream is ended, or not begun.
STALE = "this replica has not been able to follow changes of keys for too long"


class Authenticator:
    """Verifies keys and notes their use."""

    def __init__(self, keys: KeyCache, lookup: KeyLookup, last_used: LastUsed, *, clock: Clock = system_clock) -> None:
        self._keys = keys
        self._lookup = lookup
        self._last_used = last_used
        self._clock = clock

    def verify(self, secret: str, read: Reads = NOTHING) -> Credential:
        """Returns whose key it is, from memory or what was read; raises as `KeyCache.verify` does."""
        now_ms = to_ms(self._clock())
        credential = self._keys.verify(secret, now_ms, read)
        # A refused request is a use as well: its owner sees that something still calls with this key.
        self._last_used.note(credential.key_id, now_ms)
        return credential

    async def read(self, digests: Collection[bytes]) -> Reads:
        """Reads keys that are not in memory; raises MeshError UNAVAILABLE."""
        return await self._lookup.read(digests)

    async def authenticate(self, secret: str) -> Credential:
        """Returns whose key it is; raises MeshError UNAUTHENTICATED, and UNAVAILABLE if it cannot be looked up."""
        try:
            return self.verify(secret)
        except NotInMemory as unread:
            return self.verify(secret, await self.read((unread.digest,)))


class AuthenticateHandler:
    """Answers the frames of the Authenticate stream, as long as `fresh` says that the keys in memory may be trusted."""

    def __init__(self, authenticator: Authenticator, limits: Limiter, fresh: Callable[[], bool]) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._fresh = fresh
        self._reading: set[asyncio.Task[None]] = set()

    def on_calls(self, calls: Sequence[auth_pb2.AuthenticateCall], stream: AuthenticateStream) -> None:
        """Answers every call of one frame, or ends the stream: its edge then asks another replica."""
        if not self._fresh():
            stream.cut(STALE)
            return
        unread = self._answer(calls, stream, NOTHING)
        if unread:
            task = asyncio.ensure_future(self._read_and_answer(unread, stream))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    def _answer(
        self, calls: Sequence[auth_pb2.AuthenticateCall], stream: AuthenticateStream, read: Reads
    ) -> list[tuple[bytes, auth_pb2.AuthenticateCall]]:
        """Answers the calls whose keys are in memory or were read; returns the others with the digests of theirs."""
        known: list[tuple[int, Credential]] = []
        unread: list[tuple[bytes, auth_pb2.AuthenticateCall]] = []
        for call in calls:
            try:
                known.append((call.id, self._authenticator.verify(call.api_key, read)))
            except NotInMemory as absent:
                unread.append((absent.digest, call))
            except MeshError as error:
                stream.reply_error(call.id, error)
        # Counting takes a lock, so it is done once a frame.
        _UNAUTHENTICATED.inc(len(calls) - len(known) - len(unread))
        if known:
            hits = [credential.binding_rates for _, credential in known]
            self._limits.hit_all(hits, lambda states: _reply_all(known, states, stream))
        return unread

    async def _read_and_answer(
        self, unread: Sequence[tuple[bytes, auth_pb2.AuthenticateCall]], stream: AuthenticateStream
    ) -> None:
        try:
            read = await self._authenticator.read({digest for digest, _ in unread})
        except MeshError as error:
            _UNAVAILABLE.inc(len(unread))
            for _, call in unread:
                stream.reply_error(call.id, error)
        else:
            self._answer([call for _, call in unread], stream, read)

    def on_cancel(self, call_id: int, stream: AuthenticateStream) -> None:
        """Does nothing: the reply to a call that was cancelled is ignored."""

    def on_close(self, stream: AuthenticateStream) -> None:
        """Does nothing: replies to a stream that has ended go nowhere."""


def _reply_all(
    known: Sequence[tuple[int, Credential]], states: Sequence[RateLimitState], stream: AuthenticateStream
) -> None:
    rate_limited = 0
    for (call_id, credential), state in zip(known, states, strict=True):
        rate_limited += not state.allowed
        stream.reply(_reply(call_id, credential, state))
    _RATE_LIMITED.inc(rate_limited)
    _ALLOWED.inc(len(known) - rate_limited)


def _reply(call_id: int, credential: Credential, state: RateLimitState) -> auth_pb2.AuthenticateReply:
    reply = auth_pb2.AuthenticateReply(id=call_id)
    limit = reply.rate_limit
    limit.limit, limit.remaining, limit.reset_ms = state.limit, state.remaining, state.reset_ms
    if not state.allowed:
        reply.error.CopyFrom(state.refusal().to_proto())
        return reply
    reply.key_id = credential.key_id
    reply.account_id = credential.account_id
    reply.monthly_credit_cap = credential.monthly_credit_cap
    if not state.limit and not credential.expires_at_ms:
        reply.valid_ms = VALID_MS
    # Most keys have none of them, and then nothing is spent on them.
    if credential.models:
        reply.models.extend(credential.models)
    if credential.endpoints:
        reply.endpoints.extend(credential.endpoints)
    if credential.caps:
        reply.caps.extend(auth_pb2.MonthlyCap(key_id=key_id, credits=cap) for key_id, cap in credential.caps)
    return reply


def authenticate_server(
    authenticator: Authenticator,
    limits: Limiter,
    fresh: Callable[[], bool],
    tracing: Tracing | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AuthenticateServer:
    """Returns the batch server of the Authenticate rpc."""
    return BatchServer(
        "auth.authenticate",
        AuthenticateHandler(authenticator, limits, fresh),
        new_frame=auth_pb2.AuthenticateResponse,
        new_reply=auth_pb2.AuthenticateReply,
        notes=Notes(tracing=tracing),
        clock=clock,
    )
