"""Calls to a cluster rather than to a server: fail-over between endpoints, retries, and a token that renews itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import grpc

from services.common.etcd.endpoints import Endpoints
from services.common.etcd.errors import (
    AuthenticationDisabledError,
    EtcdError,
    EtcdUnavailableError,
    TokenExpiredError,
    from_rpc,
)
from services.common.etcd.methods import AUTHENTICATE, Method, RequestT, ResponseT
from services.common.retry.backoff import Backoff, Randomness
from services.common.settings import TlsSettings
from tiermesh.etcd.v1 import etcd_pb2

# With the back-off this bridges about three seconds of a cluster that refuses connections, such as a leader election.
ATTEMPTS = 8
# Seconds.
_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.05, 1.0

Metadata = tuple[tuple[str, str], ...]


class Connection:
    """Everything that the client's operations have in common. Make it where its event loop runs."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TlsSettings,
        username: str,
        password: str,
        timeout: float,
        random: Randomness,
    ) -> None:
        self._endpoints = Endpoints(endpoints, tls, random)
        self._username = username
        self._password = password
        self._timeout = timeout
        self._random = random
        # None until asked for; empty where etcd uses no authentication.
        self._token: str | None = None if username else ""
        self._authenticating = asyncio.Lock()

    def backoff(self) -> Backoff:
        """Returns a new back-off with this connection's randomness."""
        return Backoff(_FIRST_BACKOFF, _LONGEST_BACKOFF, random=self._random)

    async def call(
        self,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        *,
        attempts: int = ATTEMPTS,
        timeout: float | None = None,
    ) -> ResponseT:
        """Makes a unary call; `timeout`, in seconds, shortens the connection's own for each attempt. Raises EtcdError.

        Every method used here may be repeated safely: what a lost first attempt left behind is the same, or expires.
        """
        timeout = min(timeout or self._timeout, self._timeout)
        backoff = self.backoff()
        while True:
            attempts -= 1
            try:
                return await self._send(method, request, timeout, await self._current_token())
            except EtcdUnavailableError:
                if attempts < 1:
                    raise
            except TokenExpiredError:
                if attempts < 1 or not self._username:
                    raise
            await backoff.pause()

    async def stream(self, method: Method[RequestT, ResponseT], request: RequestT) -> AsyncGenerator[ResponseT, None]:
        """Sends one request and yields the answers; never ends but by EtcdError, or when the caller closes it."""
        channel, token = self._endpoints.current, await self._current_token()
        call = channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )(metadata=_metadata(token))
        try:
            await call.write(request)
            # Anything else that is read is the end of the stream.
            while isinstance(response := await call.read(), method.response):
                yield response
        except grpc.aio.AioRpcError as error:
            raise self._failed(channel, token, error) from error
        except asyncio.InvalidStateError as error:
            # The call had already ended when the request was to be written.
            self._endpoints.fail_over(channel)
            raise EtcdUnavailableError(await call.code(), await call.details() or "") from error
        finally:
            call.cancel()
        self._endpoints.fail_over(channel)
        raise EtcdUnavailableError(grpc.StatusCode.UNAVAILABLE, "etcd ended the stream")

    async def close(self) -> None:
        """Closes the channels; end the streams first."""
        await self._endpoints.close()

    async def _send(
        self, method: Method[RequestT, ResponseT], request: RequestT, timeout: float, token: str
    ) -> ResponseT:
        channel = self._endpoints.current
        call = channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            return await call(request, timeout=timeout, metadata=_metadata(token))
        except grpc.aio.AioRpcError as error:
            raise self._failed(channel, token, error) from error

    def _failed(self, channel: grpc.aio.Channel, token: str, rpc: grpc.aio.AioRpcError) -> EtcdError:
        """Returns the typed error, having prepared for the next attempt."""
        error = from_rpc(rpc)
        if isinstance(error, EtcdUnavailableError):
            self._endpoints.fail_over(channel)
            if error.code is grpc.StatusCode.DEADLINE_EXCEEDED and self._username and token == self._token:
                # An etcd that has begun anew, without its data, lets a token of the old one wait until it has come as
                # far as the old one had.
                self._token = None
        elif isinstance(error, TokenExpiredError) and self._username and token == self._token:
            self._token = None
        return error

    async def _current_token(self) -> str:
        """Returns the token; asks for one if need be, once for all calls that wait, as etcd's password hash is slow."""
        async with self._authenticating:
            if self._token is None:
                request = etcd_pb2.AuthenticateRequest(name=self._username, password=self._password)
                try:
                    self._token = (await self._send(AUTHENTICATE, request, self._timeout, token="")).token
                except AuthenticationDisabledError:
                    self._token = ""
            return self._token


def _metadata(token: str) -> Metadata:
    # With "hasleader", a member that lost its cluster says so instead of serving stale data or a silent watch.
    leader = (("hasleader", "true"),)
    return (*leader, ("token", token)) if token else leader
