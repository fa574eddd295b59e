"""The yardstick: a bare aiohttp relay that checks nothing and charges nothing, in front of a server of canned answers.

`python -m bench.relay upstream PORT SPEED` and `python -m bench.relay relay PORT UPSTREAM_PORT` are run beside the
mesh, so that both are measured in one run on the same noisy machine.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
import uvloop
from aiohttp import web

from services.edge.chat.response import ChunkRenderer, encode
from services.edge.paid.hold import Receipt
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateReply


class Upstream:
    """Answers like an engine with an HTTP face: `max_tokens` chunks at the pace of the mesh's simulated engine."""

    def __init__(self, speed: float) -> None:
        """Streams so many tokens a second."""
        self._speed = speed
        renderer = ChunkRenderer("chatcmpl-0", "yardstick", 0, usage=False, logprobs=False)
        self._chunk = renderer.step(0, GenerateReply(text="word "))
        self._end = renderer.end({0: GenerateReply(finish_reason=runner_pb2.FINISH_REASON_STOP)}, Receipt(0, 0))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one chat completion."""
        body = await request.json()
        if not body["stream"]:
            text = "word " * body["max_tokens"]
            return web.Response(body=encode({"choices": [{"message": {"content": text}}]}))
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(body["max_tokens"]):
            await response.write(self._chunk)
            await asyncio.sleep(1 / self._speed)
        await response.write(self._end)
        return response


class Relay:
    """Passes bodies on, chunk by chunk."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    async def open(self, _: web.Application) -> None:
        """Opens the client."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Relays one request."""
        async with self._session.post(self._upstream, data=await request.read()) as answer:
            response = web.StreamResponse(status=answer.status)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response


async def serve(arguments: list[str]) -> None:
    """Serves until killed."""
    app = web.Application()
    if arguments[0] == "upstream":
        handler = Upstream(float(arguments[2])).answer
    else:
        relay = Relay(f"http://127.0.0.1:{arguments[2]}/v1/chat/completions")
        app.on_startup.append(relay.open)
        handler = relay.answer
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(arguments[1])).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1:]))
