"""A client in a process of its own: `python -m bench.load` reads a JSON order and prints a JSON result.

It keeps a fixed number of requests in flight, or sends them at random moments. It speaks just enough HTTP to be cheap;
its own CPU is counted nowhere.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
import msgspec
import uvloop

from services.common.http.kept_connections import new_session, post
from services.common.receipts.finding import covered

_TOKENS = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')
# The usage is in the last so many bytes of an answer.
_USAGE_BYTES = 4096


class Order(msgspec.Struct, kw_only=True):
    """What to send. `requests` is the total, `in_flight` how many at once."""

    url: str
    api_key: str
    model: str
    requests: int
    in_flight: int
    stream: bool
    max_tokens: int
    # Requests a second that come at random moments, while fewer than `in_flight` are; 0 to keep so many in flight.
    rate: float = 0.0
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


async def run(order: Order) -> Result:
    """Sends all requests and returns what came of them."""
    result = Result(0, 0, 0, 0, 0.0, [])
    left = order.requests
    body = request_body(order)
    headers = {"Authorization": f"Bearer {order.api_key}", "Content-Type": "application/json"}

    moments, due = random.Random(1), time.perf_counter()

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal left, due
        while left > 0:
            left -= 1
            if order.rate:
                due += moments.expovariate(order.rate)
                await asyncio.sleep(due - time.perf_counter())
            began = time.perf_counter()
            async with await post(session, order.url, data=body, headers=headers) as response:
                content = await response.read()
            good = response.status == 200 and (not order.stream or covered(content).endswith(b"data: [DONE]\n\n"))
            result.answered += good
            result.failed += not good
            result.chunks += content.count(b"data: {")
            counted = _TOKENS.search(content, len(content) - _USAGE_BYTES if len(content) > _USAGE_BYTES else 0)
            result.tokens += int(counted[1]) if counted else 0
            result.latencies.append(time.perf_counter() - began)

    async with new_session(timeout=aiohttp.ClientTimeout(total=None)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(order.in_flight)))
        result.seconds = time.perf_counter() - began
    result.latencies.sort()
    return result


if __name__ == "__main__":
    outcome = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))
    print(json.dumps(asdict(outcome)))
