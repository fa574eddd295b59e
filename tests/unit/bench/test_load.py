"""The load client sends what it is told, in bursts or at random moments."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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


async def sent(server: Server, in_flight: int, rate: float) -> Result:
    async with serving(server) as url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        order = Order(url=url, api_key="none", model="none", requests=REQUESTS, in_flight=in_flight, stream=False,
                      max_tokens=3, rate=rate)  # fmt: skip
        return await run(order, session)


@pytest.mark.parametrize(("together", "in_flight", "rate"), [(4, 4, 0.0), (4, 4, 50_000.0), (1, 32, 2_000.0)])
async def test_all_requests_are_sent_and_never_more_at_once(together: int, in_flight: int, rate: float) -> None:
    server = Server(together)
    result = await sent(server, in_flight, rate)
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
