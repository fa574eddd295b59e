"""A draining edge keeps idle connections for as long as it can: their clients may be sending the next request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from services.edge.http.server import KEEP_ALIVE_SECONDS, HttpServer
from tests.support.raw_http import RawConnection, connect, request
from tests.support.waiting import eventually

GET = request("GET", "/")


class Clock:
    """Stands until it is moved; knows how often it was read."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now

    async def move(self, seconds: float) -> None:
        """Moves on, and returns when all that looks at the clock has looked at it before and after."""
        await self._looked_at()
        self.now += seconds
        await self._looked_at()

    async def _looked_at(self) -> None:
        # Each look reads it once; the look that goes on now may have read it already.
        reads = self.reads
        await eventually(lambda: self.reads >= reads + 2)


async def answer(_request: web.Request) -> web.Response:
    return web.Response(text="whole")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock) -> HttpServer:
    application = web.Application()
    application.router.add_get("/", answer)
    server = HttpServer("127.0.0.1:0", application, head_seconds=10, unread_seconds=60, monotonic=clock)
    await server.start()
    return server


async def ask(connection: RawConnection) -> str | None:
    """Makes one request and returns what its answer says of the connection."""
    await connection.send(GET)
    response = await connection.response()
    assert response.body == b"whole"
    return response.headers.get("connection")


@asynccontextmanager
async def pooled(server: HttpServer) -> AsyncIterator[RawConnection]:
    """A connection that its client keeps after a request."""
    async with connect(f"http://127.0.0.1:{server.port}") as connection:
        assert await ask(connection) is None
        yield connection


async def test_a_long_drain_outlasts_the_connections_that_clients_pool(server: HttpServer, clock: Clock) -> None:
    async with pooled(server) as late, pooled(server) as silent:
        draining = asyncio.create_task(server.stop(drain_seconds=610))
        await clock.move(KEEP_ALIVE_SECONDS - 1)
        assert await ask(late) == "close"
        assert await late.until_closed() == b""
        assert not draining.done()
        clock.now += 2
        assert await silent.until_closed() == b""
        await draining


async def test_a_short_drain_waits_a_second_for_idle_connections(server: HttpServer, clock: Clock) -> None:
    async with pooled(server) as late, pooled(server) as silent:
        draining = asyncio.create_task(server.stop(drain_seconds=30))
        await clock.move(0.5)
        assert await ask(late) == "close"
        clock.now += 1
        assert await silent.until_closed() == b""
        await draining
