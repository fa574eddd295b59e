"""Stands between an agent and a mesh, and keeps what both say. As a proxy it refuses the rest of the network."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

# What holds for one connection only, or what the proxy says itself.
_OF_A_CONNECTION = frozenset(
    {"connection", "content-encoding", "content-length", "host", "keep-alive", "transfer-encoding"}
)


@dataclass
class Exchange:
    """One request and what was answered to it; names of headers are in lower case."""

    method: str
    # With the query.
    path: str
    headers: dict[str, str]
    # Parsed; None if there is no JSON in it.
    body: Any
    # 0 until the answer begins, and then the id of the request too.
    status: int = 0
    request_id: str = ""
    answer: bytearray = field(default_factory=bytearray)

    @property
    def events(self) -> list[Any]:
        """The parsed data of the events of a streamed answer, without the end mark."""
        lines = self.answer.decode().splitlines()
        data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
        return [json.loads(one) for one in data if one != "[DONE]"]


class RecordingProxy:
    """Passes each request on to the mesh at `base_url` (without /v1), and each answer back as it comes.

    As HTTP_PROXY and HTTPS_PROXY of an agent it refuses every other host, and keeps its name in `elsewhere`.
    """

    def __init__(self, base_url: str) -> None:
        self.exchanges: list[Exchange] = []
        self.elsewhere: list[str] = []
        self._base_url = base_url
        self._session: aiohttp.ClientSession | None = None
        # A client that leaves ends the request to the mesh at once, as it would without the proxy.
        server = web.Server(self._serve, handler_cancellation=True)
        self._runner = web.ServerRunner(server)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    def requests(self, path: str) -> list[Exchange]:
        """Returns the exchanges of one path, whatever its query."""
        return [exchange for exchange in self.exchanges if exchange.path.partition("?")[0] == path]

    @property
    def refused(self) -> list[Exchange]:
        """What was answered with an error."""
        return [exchange for exchange in self.exchanges if exchange.status >= 400]

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "CONNECT" or request.raw_path.startswith("http"):
            self.elsewhere.append(request.raw_path)
            return web.Response(status=403, text="There is no network in this test.")
        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        exchange = Exchange(request.method, request.raw_path, headers, _parsed(body))
        self.exchanges.append(exchange)
        assert self._session is not None
        async with self._session.request(
            request.method, self._base_url + request.raw_path, headers=_passed_on(headers), data=body or None
        ) as answer:
            exchange.status, exchange.request_id = answer.status, answer.headers.get("x-request-id", "")
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                exchange.answer += chunk
                await response.write(chunk)
            await response.write_eof()
            return response

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout())
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        assert self._session is not None
        await self._session.close()


def _passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_A_CONNECTION}


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
