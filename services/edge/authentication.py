"""Asks auth who sends a request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from services.common.batch import BatchClient
from services.common.errors import Code, MeshError
from services.common.rpc.channels import OpenChannel
from services.common.telemetry.tracing import context_of, step
from services.edge.context import RequestContext
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc

AuthBatch = BatchClient[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply]

NO_KEY = (
    "You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY' or 'x-api-key: YOUR_KEY'; "
    "an operator makes keys with `tiermesh key create`."
)


class RateLimit(Struct, frozen=True):
    """The key's requests in any 60 seconds; `reset` is in seconds until the full limit is back."""

    limit: int
    remaining: int
    reset: float


class Principal(Struct, frozen=True):
    """Who sends a request and who pays for it."""

    key_id: str
    account_id: str
    # Catalog ids of the models that the key may use; empty means all.
    models: tuple[str, ...] = ()
    # The endpoints that it may use, as services.common.scopes reads them.
    endpoints: tuple[str, ...] = ()
    # Credits in one calendar month (UTC); 0 means no cap. Billing enforces it.
    monthly_credit_cap: int = 0
    # Every cap that binds it, each with the id of the key that it counts under; empty if there is only its own.
    caps: tuple[tuple[str, int], ...] = ()


class Verdict(Struct, frozen=True):
    """What auth said: a principal or a refusal, and the state of the rate limit if the key is known."""

    principal: Principal | MeshError
    rate_limit: RateLimit | None


class Passes:
    """Verdicts by which further requests come in without asking, each until a moment of the clock."""

    def __init__(self) -> None:
        # By key, the oldest first.
        self._passes: dict[str, tuple[Verdict, float]] = {}

    def __len__(self) -> int:
        return len(self._passes)

    def find(self, key: str, now: float) -> Verdict | None:
        """Returns the verdict for a key that holds now, if there is one."""
        found = self._passes.get(key)
        return found[0] if found is not None and now < found[1] else None

    def keep(self, key: str, verdict: Verdict, until: float, now: float) -> None:
        """Keeps a verdict, and forgets those that hold no more: no key is kept for much longer than it is used."""
        passes = self._passes
        passes.pop(key, None)
        while passes:
            oldest = next(iter(passes))
            if now < passes[oldest][1]:
                break
            del passes[oldest]
        passes[key] = verdict, until

    def drop(self, key: str) -> None:
        """Forgets the verdict for a key, if there is one."""
        self._passes.pop(key, None)


def auth_client(
    addresses: list[str], open_channel: OpenChannel, *, clock: Callable[[], float] = time.monotonic
) -> AuthBatch:
    """Returns the client of the auth service. An authentication may be sent again: at worst it counts twice."""
    return BatchClient(
        "auth",
        addresses,
        open_channel=open_channel,
        open_stream=lambda channel: auth_pb2_grpc.AuthServiceStub(channel).Authenticate(),
        new_frame=auth_pb2.AuthenticateRequest,
        retry=True,
        clock=clock,
    )


class Authenticator:
    """Verifies the keys of requests. `clock` counts seconds and never goes back."""

    def __init__(self, client: AuthBatch, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._timeout = timeout
        self._clock = clock
        self._passes = Passes()

    async def authenticate(self, headers: Mapping[str, str], context: RequestContext) -> Verdict:
        """Returns what auth says of the key in a request's headers; raises MeshError only if auth cannot be asked.

        What it has just said of a key holds for further requests, for as long as it has allowed.
        """
        key = _key(headers)
        if not key:
            return Verdict(MeshError(Code.UNAUTHENTICATED, NO_KEY), None)
        now = self._clock()
        # A trace shows every stage.
        if context.trace is None and (known := self._passes.find(key, now)) is not None:
            return known
        with step(context.trace, "authenticate") as span:
            call = auth_pb2.AuthenticateCall(api_key=key, request_id=context.request_id, trace=context_of(span))
            reply = await self._client.request(call, self._timeout)
        limit = None
        if reply.HasField("rate_limit"):
            state = reply.rate_limit
            limit = RateLimit(state.limit, state.remaining, state.reset_ms / 1000)
        if reply.HasField("error"):
            self._passes.drop(key)
            return Verdict(MeshError.from_proto(reply.error), limit)
        verdict = Verdict(_principal(reply), limit)
        if reply.valid_ms:
            self._passes.keep(key, verdict, now + reply.valid_ms / 1000, self._clock())
        return verdict


def _principal(reply: auth_pb2.AuthenticateReply) -> Principal:
    return Principal(
        *(reply.key_id, reply.account_id, tuple(reply.models), tuple(reply.endpoints), reply.monthly_credit_cap),
        caps=tuple((cap.key_id, cap.credits) for cap in reply.caps) if reply.caps else (),
    )


def _key(headers: Mapping[str, str]) -> str:
    """Returns the key of a request, as OpenAI's clients send it or, where they send none, as Anthropic's do."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        key = headers.get("x-api-key", "").strip()
    # Nothing longer is a key, and nothing else fits into a protobuf string.
    return key if len(key) <= 512 and key.isascii() else ""
