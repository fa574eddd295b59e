"""A client in a process of its own: `python -m bench.load` reads JSON orders and prints a JSON result for each.

Its own CPU is counted nowhere. Requests are sent in one of three ways:

- In bursts: a fixed number is in flight, and each is followed by the next as soon as it is answered. The client costs
  next to nothing, so the answers of one transaction are followed by requests that come together as well.
- Trickling: the same with the client of aiohttp, which works so long for each answer that requests come one by one.
- At random moments, of a given mean number a second, whatever the answers do: as many independent clients send them.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import msgspec
import uvloop

from bench.plain_client import send_bursts
from services.common.http.kept_connections import new_session, post

_TOKENS = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')
_DONE = b"data: [DONE]\n\n"
# The usage, the mark of the end and a signed receipt are in the last so many bytes of an answer.
_LAST_BYTES = 4096


class Order(msgspec.Struct, kw_only=True):
    """What to send. `requests` is the total, `in_flight` how many at once, at most so many if there is a `rate`."""

    url: str
    api_key: str
    model: str
    requests: int
    in_flight: int
    stream: bool
    max_tokens: int
    # Requests a second that are sent at random moments; 0 if each is to follow the answer to another.
    rate: float = 0.0
    # Whether those that follow an answer come in bursts, and do not trickle.
    bursts: bool = False
    # What joins the body of each request.
    extra: dict[str, Any] = {}


@dataclass
class Result:
    """What came of it; latencies are in seconds, sorted."""

    answered: int
    failed: int
    chunks: int
    # By the usage of the answers, where they have one.
    tokens: int
    seconds: float
    latencies: list[float]


def request_body(order: Order) -> bytes:
    """Returns the body that every request sends."""
    return msgspec.json.encode(
        {
            "model": order.model,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "Tell me about the history of the bridge over the river."},
            ],
            "max_tokens": order.max_tokens,
            "temperature": 0,
            "stream": order.stream,
            **order.extra,
        }
    )


async def run(order: Order, session: aiohttp.ClientSession) -> Result:
    """Sends all requests and returns what came of them."""
    result = Result(0, 0, 0, 0, 0.0, [])
    body = request_body(order)
    headers = {"Authorization": f"Bearer {order.api_key}", "Content-Type": "application/json"}

    def note(status: int, content: bytes, seconds: float) -> None:
        good = status == 200 and (not order.stream or _DONE in content[-_LAST_BYTES:])
        result.answered += good
        result.failed += not good
        result.chunks += content.count(b"data: {")
        counted = _TOKENS.search(content, len(content) - _LAST_BYTES if len(content) > _LAST_BYTES else 0)
        result.tokens += int(counted[1]) if counted else 0
        result.latencies.append(seconds)

    async def request() -> None:
        began = time.perf_counter()
        async with await post(session, order.url, data=body, headers=headers) as response:
            content = await response.read()
        note(response.status, content, time.perf_counter() - began)

    began = time.perf_counter()
    if order.rate:
        await _at_random_moments(order, request)
    elif order.bursts:
        await send_bursts(order.url, headers, body, order.requests, order.in_flight, note)
    else:
        await _one_by_one(order, request)
    result.seconds = time.perf_counter() - began
    result.latencies.sort()
    return result


async def _one_by_one(order: Order, request: Callable[[], Any]) -> None:
    left = order.requests

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await request()

    await asyncio.gather(*(worker() for _ in range(order.in_flight)))


async def _at_random_moments(order: Order, request: Callable[[], Any]) -> None:
    """Has a thread begin the requests: the event loop's timers are as coarse as milliseconds, and would gather them."""
    loop, room = asyncio.get_running_loop(), asyncio.Semaphore(order.in_flight)
    tasks: list[asyncio.Task[None]] = []
    all_sent = asyncio.Event()

    async def bounded() -> None:
        async with room:
            await request()

    def begin() -> None:
        tasks.append(loop.create_task(bounded()))
        if len(tasks) == order.requests:
            all_sent.set()

    def keep_time() -> None:
        chance, due = random.Random(order.requests), time.perf_counter()
        for _ in range(order.requests):
            due += chance.expovariate(order.rate)
            time.sleep(max(0.0, due - time.perf_counter()))
            loop.call_soon_threadsafe(begin)

    threading.Thread(target=keep_time, daemon=True).start()
    await all_sent.wait()
    await asyncio.gather(*tasks)


async def _open() -> aiohttp.ClientSession:
    return new_session(timeout=aiohttp.ClientTimeout(total=None))


def main() -> None:
    """Does one order after another until there are no more."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        session = runner.run(_open())
        for line in sys.stdin.buffer:
            outcome = runner.run(run(msgspec.json.decode(line, type=Order), session))
            print(json.dumps(asdict(outcome)), flush=True)
        runner.run(session.close())


if __name__ == "__main__":
    main()
