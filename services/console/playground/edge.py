"""Asks the API, as any client does: over HTTP, with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
import msgspec

from services.common.errors import Code, MeshError
from services.console.error_pages import NOTHING_CHARGED

# What is said when a connection broke: only billing knows what became of the request.
SEE_RECEIPTS = "If the answer had begun, it was charged. Your receipts show it."

# Far more than any set of keys has.
_MOST_KEY_BYTES = 1024 * 1024


class Failure(Exception):  # noqa: N818 - what the API refuses is no error of the console
    """Why there is no answer, and what that means for the money; `status` is that of HTTP."""

    def __init__(self, status: int, message: str, money: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.money = money
        # The API's own code for it, for metrics and scripts.
        self.code = code


class _Detail(msgspec.Struct):
    message: str
    code: str | None = None


class _Body(msgspec.Struct):
    error: _Detail


class Answering(NamedTuple):
    """A response that has begun; its status is 200."""

    request_id: str
    content: aiohttp.StreamReader


class Edge:
    """The API at `url`, with /v1. `connect_seconds` is how long a connection may take."""

    def __init__(self, url: str, connect_seconds: float) -> None:
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._keys_url = f"{url.rstrip('/')}/.well-known/jwks.json"
        # How long an answer may take is decided by who asks.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            # As many answers as people ask for; cookies are none of the API's.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    @asynccontextmanager
    async def ask(self, api_key: str, body: bytes) -> AsyncIterator[Answering]:
        """Sends a request for a chat completion; leaving the context early cancels the answer at the edge.

        Raises Failure if the API refuses it or cannot be reached.
        """
        headers = {
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        try:
            response = await self._session.post(self._url, data=body, headers=headers, allow_redirects=False)
            # It may be large, and an answer may be long.
            del body
        except aiohttp.ClientConnectorError as error:
            raise Failure(503, "The API cannot be reached. Try again in a few seconds.", NOTHING_CHARGED) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _broken() from error
        async with response:
            if response.status != 200:
                raise await _refusal(response)
            yield Answering(response.headers.get("x-request-id", ""), response.content)

    async def receipt_keys(self) -> bytes | None:
        """Returns the keys that receipts are checked with, None if there are none; raises MeshError UNAVAILABLE."""
        try:
            async with self._session.get(self._keys_url, allow_redirects=False) as response:
                if response.status == 404:
                    return None
                response.raise_for_status()
                return await response.content.read(_MOST_KEY_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise MeshError(Code.UNAVAILABLE, "The API cannot be reached. Try again in a few seconds.") from error

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()


async def read_all(content: aiohttp.StreamReader) -> bytes:
    """Returns the rest of a response; raises Failure if the connection breaks."""
    try:
        return await content.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise _broken() from error


def _broken() -> Failure:
    return Failure(502, "The connection to the API broke.", SEE_RECEIPTS)


async def _refusal(response: aiohttp.ClientResponse) -> Failure:
    if response.status == 401:
        # Its key ends with the session, and nobody here knows another one.
        return Failure(401, "The session has ended. Sign in again.", NOTHING_CHARGED, "invalid_api_key")
    try:
        error = msgspec.json.decode(await read_all(response.content), type=_Body).error
    except msgspec.DecodeError:
        return Failure(502, f"The API answered with status {response.status}.", SEE_RECEIPTS)
    return Failure(response.status, error.message, NOTHING_CHARGED, error.code or "")
