"""An answer that breaks off on its way, between real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.console.playground.edge import Edge, Failure
from services.console.playground.relay import relay
from services.console.visit import Visit
from tests.support.deadlines import within

BEGINNING = b'data: {"choices": []}\n\n'
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(path: str, handler: Handler) -> TestServer:
    app = web.Application()
    app.router.add_post(path, handler)
    server = TestServer(app)
    await server.start_server()
    return server


class Way:
    """A browser before a console before an API whose answer the test writes."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.end = "break"
        self.seconds = 60.0

    async def open(self) -> None:
        self.api = await serve("/v1/chat/completions", self._answer)
        self.edge = Edge(str(self.api.make_url("/v1")), 5.0)
        self.console = await serve("/", self._relay)
        self.browser = aiohttp.ClientSession()

    async def close(self) -> None:
        await self.browser.close()
        await self.console.close()
        await self.edge.close()
        await self.api.close()

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        async with self.edge.ask("sk-x", b"{}") as answering:
            return await relay(Visit(request, ""), answering, self.seconds)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer sk-x"
        response = web.StreamResponse(headers={"x-request-id": "req_1"})
        await response.prepare(request)
        await response.write(BEGINNING)
        if self.end == "break":
            assert request.transport is not None
            request.transport.abort()
        elif self.end == "wait":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return response


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    way = Way()
    await way.open()
    yield way
    await way.close()


async def test_a_connection_that_breaks_ends_with_an_error_and_without_a_guess_at_the_charge(way: Way) -> None:
    async with within(10), way.browser.post(way.console.make_url("/")) as response:
        assert (response.status, response.headers["X-Request-Id"]) == (200, "req_1")
        text = await response.read()
    assert text.startswith(BEGINNING)
    assert b"The connection to the API broke before the answer was complete." in text


async def test_an_answer_that_takes_too_long_is_stopped_at_the_edge(way: Way) -> None:
    way.end, way.seconds = "wait", 0.1
    async with within(10):
        async with way.browser.post(way.console.make_url("/")) as response:
            assert b"The answer took too long" in await response.read()
        await way.cancelled.wait()


async def test_a_browser_that_leaves_stops_the_answer_at_the_edge(way: Way) -> None:
    way.end = "wait"
    async with within(10):
        async with way.browser.post(way.console.make_url("/")) as response:
            await response.content.readany()
        await way.cancelled.wait()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (402, b'{"error": {"message": "No credits.", "code": "insufficient_credits"}}', (402, "No credits.")),
        (401, b'{"error": {"message": "of no use here"}}', (401, "The session has ended. Sign in again.")),
        (502, b"<html>a proxy", (502, "The API answered with status 502.")),
        (302, b"", (502, "The API answered with status 302.")),
    ],
)
async def test_a_refusal_is_told_in_the_words_of_the_api(status: int, body: bytes, expected: tuple[int, str]) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"})

    api = await serve("/v1/chat/completions", refuse)
    edge = Edge(str(api.make_url("/v1/")), 5.0)
    with pytest.raises(Failure) as caught:
        async with edge.ask("sk-x", b"{}"):
            pass
    assert (caught.value.status, caught.value.message) == expected
    await edge.close()
    await api.close()
