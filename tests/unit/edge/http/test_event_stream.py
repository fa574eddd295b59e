"""Streams are correct HTTP for old and new clients, and a client that does not read is cut off."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from aiohttp import web

from services.edge.http.event_stream import EventStream, in_lines
from tests.support.deadlines import within

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIMIT = 1024 * 1024


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Serve], Awaitable[int]]]:
    """Serves one handler and returns the port."""
    runners: list[web.AppRunner] = []

    async def start(serve: Serve) -> int:
        app = web.Application()
        app.router.add_get("/", serve)
        runner = web.AppRunner(app, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


async def three_events(request: web.Request) -> web.StreamResponse:
    stream = EventStream(request, {"x-request-id": "req_1"}, max_unread_bytes=LIMIT, keep_alive_seconds=15)
    await stream.open(b"data: one\n\n")
    stream.write(b"data: two\n\n")
    # A step that shows nothing must not end the stream.
    stream.write(b"")
    stream.write(b"data: three\n\n")
    await stream.close()
    return stream.response


async def ask(port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return reader, writer


async def test_chunks_are_framed_and_the_connection_stays(start: Callable[[Serve], Awaitable[int]]) -> None:
    reader, writer = await ask(await start(three_events), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    for _ in range(2):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert b"x-request-id: req_1" in head
        body = await reader.readuntil(b"0\r\n\r\n")
        assert body == b"b\r\ndata: one\n\n\r\nb\r\ndata: two\n\n\r\nd\r\ndata: three\n\n\r\n0\r\n\r\n"
    writer.close()


async def test_an_old_client_reads_to_the_end_of_the_connection(start: Callable[[Serve], Awaitable[int]]) -> None:
    reader, writer = await ask(await start(three_events), b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    assert answer.endswith(b"\r\n\r\ndata: one\n\ndata: two\n\ndata: three\n\n")
    writer.close()


async def test_a_client_that_does_not_read_is_cut_off(start: Callable[[Serve], Awaitable[int]]) -> None:
    cancelled = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request, {}, max_unread_bytes=LIMIT, keep_alive_seconds=15)
        await stream.open(b"data: one\n\n")
        try:
            for _ in range(10_000):
                stream.write(b"data: " + b"x" * 60_000 + b"\n\n")
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return stream.response

    reader, writer = await ask(await start(endless), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    reader._transport.pause_reading()  # type: ignore[attr-defined] # asyncio has no public way not to read
    async with within(20):
        await cancelled.wait()
    writer.close()


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT + 1, 3 * LIMIT])
async def test_an_event_of_any_size_reaches_a_client_that_reads(
    start: Callable[[Serve], Awaitable[int]], size: int
) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request, {}, max_unread_bytes=LIMIT, keep_alive_seconds=15)
        await stream.open(b"data: one\n\n")
        stream.write(b"x" * size)
        await stream.close(b"y" * size)
        return stream.response

    reader, writer = await ask(await start(large), b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    async with within(20):
        answer = await reader.read()
    assert answer.endswith(b"data: one\n\n" + b"x" * size + b"y" * size)
    writer.close()


async def test_the_last_events_are_sent_whatever_is_unread(start: Callable[[Serve], Awaitable[int]]) -> None:
    backlog = 6 * LIMIT
    done = asyncio.Event()

    async def behind(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request, {}, max_unread_bytes=LIMIT, keep_alive_seconds=15)
        await stream.open(b"data: one\n\n")
        # More than the sockets take, in one event: nothing of it was unread before.
        stream.write(b"x" * backlog)
        done.set()
        await stream.close(b"the end")
        return stream.response

    reader, writer = await ask(await start(behind), b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    reader._transport.pause_reading()  # type: ignore[attr-defined] # asyncio has no public way not to read
    async with within(20):
        await done.wait()
        reader._transport.resume_reading()  # type: ignore[attr-defined] # as above
        answer = await reader.read()
    assert answer.endswith(b"x" * backlog + b"the end")
    writer.close()


# Every character at which Python's `str.splitlines` ends a line, which are those of Unicode and more.
LINE_ENDS = [chr(code) for code in range(sys.maxunicode + 1) if len(f"a{chr(code)}b".splitlines()) > 1]


@pytest.mark.parametrize("character", LINE_ENDS, ids=ascii)
async def test_an_event_is_one_line_for_every_reader(start: Callable[[Serve], Awaitable[int]], character: str) -> None:
    text = f"one{character}two \u20ac \U0001f600 \u0085\u2028\u2029"
    event = b"data: " + msgspec.json.encode({"text": text}) + b"\n\n"

    async def serve(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request, {}, max_unread_bytes=LIMIT, keep_alive_seconds=15)
        await stream.open(event)
        stream.write(event)
        await stream.close(event)
        return stream.response

    reader, writer = await ask(await start(serve), b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
    _, body = (await reader.read()).split(b"\r\n\r\n", 1)
    writer.close()
    lines = body.decode().splitlines()
    assert [json.loads(line.removeprefix("data: ")) for line in lines if line] == [{"text": text}] * 3
    assert lines == body.decode().split("\n")[:-1]


def test_what_has_no_line_ends_stays_as_it_is() -> None:
    event = 'data: {"text": "\u20ac \u2027\u202a \u0084\u0086 \U0001f600"}\n\n'.encode()
    assert in_lines(event) is event
