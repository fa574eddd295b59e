"""What serves a request is gone when it is answered.

What refers to itself stays until the garbage collector comes, long after: memory is not used again while it is warm,
and a collection stops every request.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from services.edge.http.bodies.incoming import BODY, read_json
from services.edge.route import Handler
from tests.support.raw_http import connect, request
from tests.support.waiting import eventually
from tests.unit.edge.test_service import Runner, serve, streaming, text
from tiermesh.runner.v1.runner_pb2 import GenerateReply

__all__ = ["serve"]


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_a_request_is_gone_when_it_is_answered(serve: Callable[[Handler], Awaitable[str]]) -> None:
    served: list[weakref.ref[object]] = []

    async def handler(asked: web.Request, *_: object) -> web.Response:
        body = await read_json(asked)
        served.extend([weakref.ref(asked), weakref.ref(asked[BODY])])
        return web.json_response({"read": len(body)})

    async with connect(await serve(handler)) as connection:
        for _ in range(2):
            await connection.send(request("POST", "/v1/chat/completions", body=b"{}"))
            assert (await connection.response()).json() == {"read": 2}
        # The last one stays as long as its connection waits for the next.
        await eventually(lambda: [reference() is None for reference in served[:2]] == [True, True])


class WatchedRunner(Runner):
    """Keeps no message that it has sent, and sends the last one when it is told to."""

    words = ("here", "and", "gone")

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.may_end = asyncio.Event()

    def start(self, _call: object, sink: Callable[[Any], None], _timeout: float) -> int:
        self._task = asyncio.get_running_loop().create_task(self._send(sink))
        return 1

    async def _send(self, sink: Callable[[Any], None]) -> None:
        for word in self.words:
            sink(GenerateReply(text=word))
            self.sent += 1
            await asyncio.sleep(0)
        await self.may_end.wait()
        sink(self.last)

    def kept(self) -> list[str]:
        """Returns the texts of its messages that are still there."""
        messages = [each for each in gc.get_objects() if type(each) is GenerateReply]
        return [message.text for message in messages if message.text in self.words]


@pytest.mark.usefixtures("no_collector")
async def test_a_stream_keeps_no_message_of_its_runner(serve: Callable[[Handler], Awaitable[str]]) -> None:
    """Each keeps the whole frame that it came in, with what other clients get."""
    runner = WatchedRunner()
    async with connect(await serve(streaming(runner, text("nothing")))) as connection:
        await connection.send(request("POST", "/v1/chat/completions"))
        await eventually(lambda: runner.sent == len(runner.words) and not runner.kept())
        runner.may_end.set()
        assert (await connection.response()).body.endswith(b"data: gone\n\ndata: end\n\n")
