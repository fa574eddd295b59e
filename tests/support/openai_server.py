"""A server with OpenAI's API in a process of its own, which says what the simulated engine says, word for word.

For tests of a mesh in front of servers that die and stand still, where a model would only cost time. It reads
`TIERMESH_UPSTREAM_LISTEN`, `…_ADMIN_LISTEN` (for /healthz and /readyz), `…_SPEED` and `…_PREFILL_SPEED` (tokens a
second), so that `ServiceProcess("upstream", …, module="tests.support.openai_server")` runs it.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import uvloop
from aiohttp import web

from services.common.catalog import Model
from services.common.text_steps import AnyReply
from services.runner.engines.simulated import SimulatedEngine
from services.runner.kinds.choice import work_reader
from tiermesh.runner.v1 import runner_pb2

_SLOTS, _CONTEXT = 64, 32_768
_MODEL = Model(id="simulated", kind="chat", tier="any", price=1, context=_CONTEXT)
_FINISH = {runner_pb2.FINISH_REASON_STOP: "stop", runner_pb2.FINISH_REASON_LENGTH: "length"}


def _setting(name: str, default: str = "0") -> str:
    return os.environ.get(f"TIERMESH_UPSTREAM_{name}", default)


class OpenAIServer:
    """Answers chats as streams."""

    def __init__(self) -> None:
        self._engine = SimulatedEngine(
            slots=_SLOTS,
            context=_CONTEXT,
            prefill_tokens_per_second=float(_setting("PREFILL_SPEED")),
            tokens_per_second=float(_setting("SPEED")),
        )
        self._reader = work_reader(self._engine)

    async def serve(self) -> None:
        """Serves until it is killed."""
        await self._engine.start()
        api = web.Application()
        api.router.add_get("/v1/models", self._models)
        api.router.add_post("/v1/chat/completions", self._answer)
        admin = web.Application()
        for path in ("/healthz", "/readyz"):
            admin.router.add_get(path, self._well)
        for application, address in ((api, _setting("LISTEN")), (admin, _setting("ADMIN_LISTEN"))):
            # A client that leaves stops its answer.
            runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
            await runner.setup()
            host, _, port = address.rpartition(":")
            await web.TCPSite(runner, host, int(port)).start()
        await asyncio.Event().wait()

    async def _well(self, request: web.Request) -> web.Response:
        del request
        return web.Response()

    async def _models(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"data": [{"id": _MODEL.id, "owned_by": "tests", "max_model_len": _CONTEXT}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        replies: asyncio.Queue[AnyReply] = asyncio.Queue()
        work = self._reader.read(_call(body), _MODEL)

        def emit(step: Any) -> None:
            reply = work.write(step)
            if reply is not None:
                replies.put_nowait(reply)

        ticket = self._engine.submit(work.job, emit)
        if work.begin is not None:
            work.begin(ticket)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            await _write(response, {"choices": [{"delta": {"role": "assistant", "content": ""}}]})
            while True:
                reply = await replies.get()
                finish = _FINISH.get(reply.finish_reason)
                await _write(response, {"choices": [{"delta": {"content": reply.text}, "finish_reason": finish}]})
                if finish is not None:
                    break
            counts = {name: getattr(reply.usage, name) for name in ("prompt_tokens", "completion_tokens")}
            await _write(response, {"choices": [], "usage": counts})
            await response.write(b"data: [DONE]\n\n")
        finally:
            ticket.cancel()
        return response


def _call(body: dict[str, Any]) -> runner_pb2.GenerateCall:
    return runner_pb2.GenerateCall(
        id=1,
        model=_MODEL.id,
        messages=[runner_pb2.Message(role=each["role"], content=each["content"]) for each in body["messages"]],
        sampling=runner_pb2.Sampling(temperature=body["temperature"], top_p=body["top_p"]),
        max_tokens=body.get("max_tokens", 0),
        stop=body.get("stop", []),
    )


async def _write(response: web.StreamResponse, event: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


if __name__ == "__main__":
    uvloop.run(OpenAIServer().serve())
