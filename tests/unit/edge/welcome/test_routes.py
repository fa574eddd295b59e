"""What needs no key: what the API is, and whether this server takes requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from services.edge.authentication import Authenticator
from services.edge.http.server import HttpServer
from services.edge.service import EdgeService
from services.edge.settings import EdgeSettings
from services.edge.welcome.routes import routes
from tests.support.edge_routes import edge_dependencies
from tests.support.raw_http import RawResponse, connect, request


class Edge:
    """An edge with nothing but these routes, whose readiness a test decides."""

    ready = True
    url = ""

    async def get(self, path: str, **headers: str) -> RawResponse:
        async with connect(self.url) as connection:
            await connection.send(request("GET", path, b"", **headers))
            return await connection.response()


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    edge = Edge()
    served = routes(edge_dependencies(ready=lambda: edge.ready))
    service = EdgeService(served, cast("Authenticator", None), EdgeSettings(), monotonic=lambda: 0.0)
    server = HttpServer("127.0.0.1:0", service.application(), head_seconds=10, unread_seconds=60)
    await server.start()
    edge.url = f"http://127.0.0.1:{server.port}"
    yield edge
    await server.stop(drain_seconds=1)


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/api/v1/health"])
async def test_health_follows_readiness(edge: Edge, path: str) -> None:
    answer = await edge.get(path)
    assert (answer.status, answer.json()) == (200, {"status": "ok"})
    edge.ready = False
    answer = await edge.get(path)
    assert (answer.status, answer.json()["error"]["code"]) == (503, "service_unavailable")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/api/v1"])
@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": "application/json, text/plain, */*"}])
async def test_programs_are_told_where_things_are(edge: Edge, path: str, headers: dict[str, str]) -> None:
    answer = await edge.get(path, **headers)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert body["name"] == "tiermesh"
    assert (body["base_url"], body["models"], body["openapi"]) == ("/v1", "/v1/models", "/openapi.json")


@pytest.mark.parametrize("accepted", ["text/html,application/xhtml+xml,*/*;q=0.8", "text/plain"])
async def test_people_get_text(edge: Edge, accepted: str) -> None:
    answer = await edge.get("/", Accept=accepted)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["vary"] == "Accept"
    for place in ("/v1/models", "/openapi.json", "/health"):
        assert place in answer.body.decode()
