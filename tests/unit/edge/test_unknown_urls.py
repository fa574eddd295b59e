"""Whatever is asked for that nobody serves, the refusal is in OpenAI's shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiohttp import web

from services.edge.authentication import Authenticator
from services.edge.http.server import HttpServer
from services.edge.route import Route
from services.edge.service import EdgeService
from services.edge.settings import EdgeSettings
from tests.support.raw_http import connect

UNKNOWN = [
    "/", "//", "/v1", "/v1/", "/v1//", "//v1/chat", "/v1/nothing", "/v1/%0d%0ax", "/v1/%0a", "/%0a", "/v1/x%0ay",
    "/%00", "/v1/%2e%2e/x", "/v1/../x", "/v1/%ff", "/v1/{x}", "/v1/models/%7Bx%7D", "/v1/x%2fy", "/v1/%2f",
    "/v1/chat%0a", "/v1/;x", "/v1/x?y=%0a", "/?x", "/v1/%e2%80%a8", "/v1/%85", "*", "x", "http://example.com/v1/%0ax",
]  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "QUERY"]


async def nothing(*_: object) -> web.StreamResponse:
    return web.Response()


@pytest.fixture
async def url() -> AsyncIterator[str]:
    routes = [
        Route(method="GET", path=path, name="models", scope="models", handler=nothing)
        for path in ("/models", "/x/{id}")
    ]
    routes.append(Route(method="POST", path="/responses", name="responses", scope="chat", handler=nothing))
    service = EdgeService(routes, cast("Authenticator", None), EdgeSettings(), monotonic=lambda: 0.0)
    server = HttpServer("127.0.0.1:0", service.application(), head_seconds=10, unread_seconds=60)
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop(drain_seconds=1)


@pytest.mark.parametrize("target", UNKNOWN)
async def test_an_unknown_url_is_refused_in_the_usual_shape(url: str, target: str) -> None:
    for method in METHODS:
        async with connect(url) as connection:
            await connection.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            if method == "HEAD":
                head = (await connection.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                assert head[0].split()[1] in {b"400", b"404"}
                assert b"Content-Type: application/json" in head
                continue
            answer = await connection.response()
        assert answer.status in {400, 404}, method
        assert answer.headers.get("x-request-id") or answer.status == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("target", ["/v1/models", "/api/v1/models", "/v1/x/y", "/v1/x/%0d%0ay"])
async def test_another_method_is_refused_in_the_usual_shape(url: str, target: str) -> None:
    for method in METHODS[2:]:
        async with connect(url) as connection:
            await connection.send(f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
            answer = await connection.response()
        assert (answer.status, answer.json()["error"]["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD"


async def test_a_socket_is_refused_as_clients_know_it(url: str) -> None:
    head = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    for target, status in (("/v1/responses", 426), ("/v1/nothing", 404)):
        async with connect(url) as connection:
            await connection.send(f"GET {target} HTTP/1.1\r\n{head}".encode())
            answer = await connection.response()
        assert answer.status == status
        if status == 426:
            assert answer.json()["error"]["code"] == "upgrade_required"
            assert answer.headers["upgrade"] == "HTTP/1.1"
