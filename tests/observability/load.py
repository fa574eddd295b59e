"""Requests of every outcome, so that every metric has something to show."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh

PROMPT = [{"role": "user", "content": "Tell me about the bridge over the river"}]
# Seconds, of one request; test machines are slow and busy.
_TIMEOUT = 30.0


class Client:
    """Talks to the edge of a mesh; `key` may be one that the mesh does not know."""

    def __init__(self, mesh: LocalMesh, key: str) -> None:
        self._url = mesh.base_url + "/chat/completions"
        self._headers = {"Authorization": f"Bearer {key}"}

    async def ask(self, model: str = "tiermesh-pro", **parameters: Any) -> int:
        """Asks once, reads the whole answer and returns its status."""
        body = {"model": model, "messages": PROMPT, "max_tokens": 12, **parameters}
        async with httpx2.AsyncClient(timeout=stretched(_TIMEOUT)) as http:
            return (await http.post(self._url, json=body, headers=self._headers)).status_code

    async def leave(self) -> None:
        """Asks for a stream and leaves after its first chunk."""
        async with self.opened():
            pass

    def opened(self) -> OpenStream:
        """Returns a long stream, to be used as `async with`; it is open once its first chunk is there."""
        return OpenStream(self._url, self._headers)


class OpenStream:
    """A stream that nobody reads to its end."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._http = httpx2.AsyncClient(timeout=stretched(_TIMEOUT))
        body = {"model": "tiermesh-pro", "messages": PROMPT, "max_tokens": 1000, "stream": True}
        self._response = self._http.stream("POST", url, json=body, headers=headers)

    async def __aenter__(self) -> None:
        response = await self._response.__aenter__()
        assert response.status_code == 200
        await anext(response.aiter_lines())

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


async def round_of_requests(mesh: LocalMesh, key: str) -> None:
    """More streams and whole answers than there are slots, some requests that are refused, and a client that leaves."""
    client = Client(mesh, key)
    answered = await asyncio.gather(
        *(client.ask(stream=True) for _ in range(6)),
        *(client.ask() for _ in range(2)),
        client.ask("tiermesh-max", stream=True),
    )
    assert answered == [200] * 9
    assert await Client(mesh, "sk-unknown").ask() == 401
    assert await client.ask("no-such-model") == 404
    assert await client.ask(n=0) == 400
    await client.leave()
