"""What serves a request is gone when it is answered.

What refers to itself stays until the garbage collector comes, long after: memory is not used again while it is warm,
and a collection stops every request.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from services.edge.http.bodies.incoming import BODY, read_json
from services.edge.route import Handler
from tests.support.raw_http import connect, request
from tests.support.waiting import eventually
from tests.unit.edge.test_service import serve

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
