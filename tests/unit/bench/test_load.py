"""The load client sends what it is told, in bursts, one by one, or at random moments."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from bench.load import Order, Result, run

REQUESTS = 200


class Server:
    """Answers requests once `together` of them wait, or all are there; notes when each came and how many waited."""

    def __init__(self, together: int) -> None:
        self._together = together
        self._waiting: list[asyncio.Event] = []
        self.moments: list[float] = []
        self.most = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.moments.append(asyncio.get_running_loop().time())
        answered = asyncio.Event()
        self._waiting.append(answered)
        self.most = max(self.most, len(self._waiting))
        if len(self._waiting) == self._together or len(self.moments) == REQUESTS:
            for each in self._waiting:
                each.set()
            self._waiting.clear()
        await answered.wait()
        return web.json_response({"usage": {"completion_tokens": 3}})


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def sent(server: Server, in_flight: int, rate: float = 0.0, *, bursts: bool = False) -> Result:
    async with serving(server) as url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        order = Order(url=url, api_key="none", model="none", requests=REQUESTS, in_flight=in_flight, stream=False,
                      max_tokens=3, rate=rate, bursts=bursts)  # fmt: skip
        return await run(order, session)


@pytest.mark.parametrize(
    ("together", "in_flight", "rate", "bursts"),
    [(4, 4, 0.0, False), (4, 4, 0.0, True), (4, 4, 50_000.0, False), (1, 32, 2_000.0, False)],
)
async def test_all_requests_are_sent_and_never_more_at_once(
    together: int, in_flight: int, rate: float, bursts: bool
) -> None:
    server = Server(together)
    result = await sent(server, in_flight, rate, bursts=bursts)
    assert (result.answered, result.failed, result.tokens, len(result.latencies)) == (
        REQUESTS,
        0,
        3 * REQUESTS,
        REQUESTS,
    )
    assert len(server.moments) == REQUESTS
    assert server.most <= in_flight


async def test_requests_at_random_moments_wait_for_no_answer() -> None:
    """The server answers nothing before all requests are there."""
    server = Server(REQUESTS)
    result = await sent(server, REQUESTS, 2_000.0)
    assert result.answered == REQUESTS
    assert server.most == REQUESTS
    gaps = [second - first for first, second in zip(server.moments, server.moments[1:], strict=False)]
    # Exponential gaps differ as much as they are long; even ones would not differ.
    assert statistics.stdev(gaps) > statistics.mean(gaps) / 2


class Answers(asyncio.Protocol):
    """Sends an answer to each request as it is, in pieces, or none at all."""

    def __init__(self, answer: bytes, pieces: int) -> None:
        self._answer = answer
        self._size = -(-len(answer) // pieces)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        del data
        if not self._answer:
            self._transport.close()
        for at in range(0, len(self._answer), self._size or 1):
            self._transport.write(self._answer[at : at + self._size])


async def burst_of_one(answer: bytes, pieces: int = 1, *, stream: bool = False) -> Result:
    server = await asyncio.get_running_loop().create_server(lambda: Answers(answer, pieces), "127.0.0.1", 0)
    async with server, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        order = Order(url=url, api_key="none", model="none", requests=3, in_flight=1, stream=stream, max_tokens=3,
                      bursts=True)  # fmt: skip
        return await run(order, session)


@pytest.mark.parametrize("pieces", [1, 2, 7, 60])
async def test_an_answer_in_bursts_is_read_however_it_arrives(pieces: int) -> None:
    content = b'{"completion_tokens": 3}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content
    result = await burst_of_one(answer, pieces)
    assert (result.answered, result.failed, result.tokens) == (3, 0, 9)


@pytest.mark.parametrize(
    ("status", "events", "good"),
    [
        (b"200 OK", [b"data: {}\n\n", b"data: [DONE]\n\n"], True),
        (b"200 OK", [b"data: {}\n\n"], False),
        (b"503 Service Unavailable", [b"data: {}\n\n", b"data: [DONE]\n\n"], False),
    ],
)
async def test_a_stream_in_bursts_counts_if_it_has_its_end(status: bytes, events: list[bytes], good: bool) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"
    result = await burst_of_one(b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n\r\n" % status + chunks, 5, stream=True)
    assert (result.answered, result.failed, result.chunks) == (3 * good, 3 * (not good), 3)


async def test_a_server_that_closes_the_connection_is_no_answer() -> None:
    with pytest.raises(ConnectionResetError, match="closed the connection"):
        await burst_of_one(b"")
