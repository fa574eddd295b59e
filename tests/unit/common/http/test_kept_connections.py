"""Servers close kept connections when they like; no request is lost by it, and none is sent twice without need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from services.common.http.kept_connections import new_session, post
from tests.support.waiting import eventually

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TIMEOUT = aiohttp.ClientTimeout(total=30)


class FickleServer:
    """Answers each connection's first `served` requests, and hangs up when the next one has come."""

    def __init__(self, served: int) -> None:
        self.served = served
        self.bodies: list[bytes] = []
        self.connections = 0
        self.url = ""
        # While it is clear, requests wait for their answers.
        self.answering = asyncio.Event()
        self.answering.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for _ in range(self.served):
                await self._read(reader)
                await self.answering.wait()
                writer.write(ANSWER)
            await self._read(reader)
        except asyncio.IncompleteReadError:
            # The client has closed the connection.
            pass
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        self.bodies.append(await reader.readexactly(int(length.split(b":")[1])))


@asynccontextmanager
async def fickle_server(served: int) -> AsyncIterator[FickleServer]:
    fickle = FickleServer(served)
    async with await asyncio.start_server(fickle.serve, "127.0.0.1", 0) as server:
        fickle.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield fickle


async def ask(session: aiohttp.ClientSession, url: str, text: str) -> bytes:
    async with await post(session, url, data=text.encode()) as response:
        return await response.read()


@pytest.mark.parametrize("served", [1, 2, 3])
async def test_a_request_goes_out_again_if_its_kept_connection_ends_unanswered(served: int) -> None:
    async with fickle_server(served) as server, new_session(timeout=TIMEOUT) as session:
        for number in range(10):
            assert await ask(session, server.url, f"request {number}") == b"ok"
        answered = [body for at, body in enumerate(server.bodies) if (at + 1) % (served + 1)]
        assert answered == [f"request {number}".encode() for number in range(10)]


async def test_it_goes_out_as_often_as_there_are_kept_connections_that_have_ended() -> None:
    async with fickle_server(1) as server, new_session(timeout=TIMEOUT) as session:
        server.answering.clear()
        many = [asyncio.create_task(ask(session, server.url, f"request {number}")) for number in range(8)]
        await eventually(lambda: server.connections == len(many))
        server.answering.set()
        assert await asyncio.gather(*many) == [b"ok"] * len(many)
        assert await ask(session, server.url, "the last one") == b"ok"
        assert server.bodies.count(b"the last one") == len(many) + 1
        assert server.connections == len(many) + 1


async def test_a_server_that_hangs_up_on_a_new_connection_is_asked_once() -> None:
    async with fickle_server(0) as server, new_session(timeout=TIMEOUT) as session:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await ask(session, server.url, "request")
        assert server.bodies == [b"request"]


async def test_a_server_that_is_gone_is_a_failure() -> None:
    async with fickle_server(1) as server:
        url = server.url
    async with new_session(timeout=TIMEOUT) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(session, url, "request")


async def test_a_form_goes_out_whole_each_time() -> None:
    def form() -> aiohttp.FormData:
        made = aiohttp.FormData()
        made.add_field("file", b"recording", filename="a.wav")
        return made

    async with fickle_server(1) as server, new_session(timeout=TIMEOUT) as session:
        for _ in range(2):
            async with await post(session, server.url, form=form) as response:
                assert await response.read() == b"ok"
        assert len(server.bodies) == 3
        assert all(b"recording" in body for body in server.bodies)
        assert len({len(body) for body in server.bodies}) == 1
