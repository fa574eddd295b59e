"""A client of one node's JSON-RPC. Everything that a node says is checked: it may be wrong, slow or somebody else's.

The address of a node often contains a key, so no error names more than what went wrong.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import aiohttp
import msgspec

T = TypeVar("T")

# The most that one reply may have, in bytes: no node may fill this process's memory.
MAX_REPLY_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 16
# No chain has so many blocks, seconds or logs.
_MOST = 2**53
# The most that a word of a contract holds: an amount of tokens or coins may be any.
MOST_WORD = 2**256 - 1
_NUMBER = re.compile("0x[0-9a-fA-F]{1,64}")


class RpcError(Exception):
    """A node did not answer, refused, or answered with something that cannot be true."""


class RpcRefusedError(RpcError):
    """A node refused one call; `code` is JSON-RPC's."""

    def __init__(self, method: str, code: int) -> None:
        super().__init__(f"the node refused {method} with code {code}")
        self.code = code


class Call(NamedTuple):
    """One method with its parameters."""

    method: str
    parameters: Sequence[Any]


class _Error(msgspec.Struct):
    code: int = 0


class _Reply(msgspec.Struct):
    id: int
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


_REPLIES = msgspec.json.Decoder(list[_Reply])


class JsonRpc:
    """One node; `timeout` is that of a request in seconds. Close it at the end."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._ids = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    async def batch(self, calls: Sequence[Call]) -> list[msgspec.Raw]:
        """Returns the results of calls that one request makes, in their order; raises RpcError if one fails."""
        results: list[msgspec.Raw] = []
        for result in await self.attempt(calls):
            if isinstance(result, RpcRefusedError):
                raise result
            results.append(result)
        return results

    async def attempt(self, calls: Sequence[Call]) -> list[msgspec.Raw | RpcRefusedError]:
        """Does the same, but returns the refusals among the results; raises RpcError if there is no usable reply."""
        first = next(self._ids)
        bodies = [
            {"jsonrpc": "2.0", "id": first + at, "method": call.method, "params": list(call.parameters)}
            for at, call in enumerate(calls)
        ]
        self._ids = itertools.count(first + len(calls))
        replies = {reply.id: reply for reply in _decoded(await self._post(msgspec.json.encode(bodies)))}
        results: list[msgspec.Raw | RpcRefusedError] = []
        for at, call in enumerate(calls):
            reply = replies.get(first + at)
            if reply is None:
                raise RpcError(f"the node left out its reply to {call.method}")
            refused = RpcRefusedError(call.method, reply.error.code) if reply.error is not None else None
            results.append(refused or reply.result)
        return results

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, body: bytes) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                if response.status != 200:
                    raise RpcError(f"the node answered with status {response.status}")
                return await _read(response)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            # Their texts may have the address.
            raise RpcError(f"the node did not answer ({type(error).__name__})") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts = bytearray()
    async for part in response.content.iter_chunked(_CHUNK_BYTES):
        parts += part
        if len(parts) > MAX_REPLY_BYTES:
            raise RpcError(f"the node sent more than {MAX_REPLY_BYTES} bytes")
    return bytes(parts)


def _decoded(body: bytes) -> list[_Reply]:
    try:
        return _REPLIES.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RpcError("the node sent something that is no batch of replies") from error


def read_result(result: msgspec.Raw, kind: type[T]) -> T:
    """Returns a result as what it should be; raises RpcError if it is something else."""
    try:
        return msgspec.json.decode(result, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RpcError("the node sent a result of another form") from error


def read_number(text: str, *, most: int = _MOST) -> int:
    """Returns a quantity of JSON-RPC, which is hexadecimal; raises RpcError for one above the most, too."""
    number = int(text, 16) if _NUMBER.fullmatch(text) else -1
    if not 0 <= number <= most:
        raise RpcError("the node sent a number that is none")
    return number
