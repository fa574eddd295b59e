"""Clients that read are never cut off, however slowly; clients that do not are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from services.edge.http.event_stream import EventStream
from services.edge.http.protocol import Connection, QuietRunner
from services.edge.http.stalled_readers import StalledReaders
from tests.support.waiting import eventually

PIECE = b"x" * 50_000
SIZE = 30_000_000


async def whole(_request: web.Request) -> web.StreamResponse:
    """A body that is there at once."""
    return web.Response(body=bytes(SIZE))


async def backpressure(request: web.Request) -> web.StreamResponse:
    """A body that is made while it is sent, as speech is; its writer waits for its reader."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(SIZE // len(PIECE)):
        await response.write(PIECE)
    return response


async def events(request: web.Request) -> web.StreamResponse:
    """A stream that does not wait for its reader, and always has something more to say."""
    stream = EventStream(request, {}, max_unread_bytes=SIZE, keep_alive_seconds=15)
    await stream.open(b"data: one\n\n")
    for _ in range(SIZE // len(PIECE)):
        stream.write(PIECE)
        await asyncio.sleep(0)
    await stream.close()
    return stream.response


class Reader(asyncio.Protocol):
    """Reads only when it is told to."""

    def __init__(self) -> None:
        self.received = 0
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


@asynccontextmanager
async def served(handler: object) -> AsyncIterator[tuple[StalledReaders, Connection, Reader]]:
    app = web.Application()
    app.router.add_get("/", handler)  # type: ignore[arg-type] # any of the handlers above
    runner = QuietRunner(app, head_seconds=10.0, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    def connections() -> list[Connection]:
        assert runner.server is not None
        return [one for one in runner.server.connections if isinstance(one, Connection)]

    _, reader = await asyncio.get_running_loop().create_connection(Reader, "127.0.0.1", runner.addresses[0][1])
    await eventually(lambda: any(one.unread_bytes for one in connections()))
    try:
        yield StalledReaders(connections, 60.0), connections()[0], reader
    finally:
        reader.transport.abort()
        await runner.cleanup()


@pytest.mark.parametrize("handler", [whole, backpressure, events])
async def test_a_steady_slow_reader_is_never_cut_off(handler: object) -> None:
    async with served(handler) as (readers, connection, reader):
        for _ in range(12):
            # A little at a time, until the server's side has seen some of it taken.
            before = connection.taken_bytes
            while connection.taken_bytes == before:
                received = reader.received
                reader.transport.resume_reading()
                await eventually(lambda received=received: reader.received > received)  # type: ignore[misc] # a loop variable
            readers.look()
        assert not reader.lost.is_set()
        assert connection.transport is not None
        assert not connection.transport.is_closing()


@pytest.mark.parametrize("handler", [whole, backpressure, events])
async def test_a_client_that_takes_nothing_is_cut_off(handler: object) -> None:
    async with served(handler) as (readers, connection, reader):
        await eventually(lambda: settled(connection))
        for _ in range(3):
            assert connection.transport is not None
            readers.look()
        assert connection.transport is None or connection.transport.is_closing()
        reader.transport.resume_reading()
        for _ in range(SIZE):
            if reader.lost.is_set():
                break
            reader.transport.resume_reading()
            await asyncio.sleep(0)
        assert reader.lost.is_set()


async def settled(connection: Connection) -> bool:
    """Tells whether the sockets between the two have filled up, so that nothing more is taken."""
    before = connection.taken_bytes
    await asyncio.sleep(0.05)
    return connection.taken_bytes == before
