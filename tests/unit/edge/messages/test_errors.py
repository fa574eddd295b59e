"""Whatever goes wrong on the path of messages is told in Anthropic's shape, also before any handler sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from aiohttp import web
from anthropic.types import ErrorResponse

from services.common.errors import Code, MeshError
from services.edge.authentication import Authenticator, Principal, Verdict
from services.edge.http.bodies.incoming import read_json
from services.edge.http.server import HttpServer
from services.edge.messages.errors import ANTHROPIC_ERRORS
from services.edge.route import Route
from services.edge.service import PREFIXES, EdgeService
from services.edge.settings import EdgeSettings
from tests.support.raw_http import RawResponse, connect, request

STATUSES = {
    Code.INVALID_REQUEST: (400, "invalid_request_error"),
    Code.CONTEXT_LENGTH_EXCEEDED: (400, "invalid_request_error"),
    Code.UNAUTHENTICATED: (401, "authentication_error"),
    Code.INSUFFICIENT_CREDITS: (402, "billing_error"),
    Code.PERMISSION_DENIED: (403, "permission_error"),
    Code.MODEL_NOT_FOUND: (404, "not_found_error"),
    Code.NOT_FOUND: (404, "not_found_error"),
    Code.CONFLICT: (409, "invalid_request_error"),
    Code.RATE_LIMITED: (429, "rate_limit_error"),
    Code.INTERNAL: (500, "api_error"),
    Code.UNAVAILABLE: (529, "overloaded_error"),
    Code.OVERLOADED: (529, "overloaded_error"),
    Code.DEADLINE_EXCEEDED: (529, "overloaded_error"),
    Code.CANCELLED: (529, "overloaded_error"),
}


class Doorkeeper:
    """Lets in who has the key `good`."""

    async def authenticate(self, headers: Any, _context: object) -> Verdict:
        good = headers.get("x-api-key") == "good"
        return Verdict(Principal("key", "account") if good else MeshError(Code.UNAUTHENTICATED, "Who are you?"), None)


async def fail(asked: web.Request, *_: object) -> web.StreamResponse:
    """Fails as the body says: by the name of a code, or in a way that nobody has thought of."""
    code = json.loads(await read_json(asked))
    raise MeshError(Code[code], "No.", retry_after=1.5) if code else ValueError(code)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    route = Route(method="POST", path="/messages", name="messages", scope="chat", handler=fail, errors=ANTHROPIC_ERRORS)
    settings = EdgeSettings(max_text_bytes=1000)
    service = EdgeService([route], cast("Authenticator", Doorkeeper()), settings, monotonic=lambda: 0.0)
    server = HttpServer("127.0.0.1:0", service.application(), head_seconds=10, unread_seconds=60)
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop(drain_seconds=1)


async def send(url: str, data: bytes) -> tuple[RawResponse, str]:
    """Returns the response to a request, and the type of its error."""
    async with connect(url) as connection:
        await connection.send(data)
        response = await connection.response()
    told = response.json()
    if response.status != 413:
        # That type is in Anthropic's documentation, but not in its SDK.
        ErrorResponse.model_validate_json(response.body, strict=True)
    assert set(told) == {"type", "error", "request_id"}
    assert told["type"] == "error"
    assert set(told["error"]) == {"type", "message"}
    assert told["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    assert told["request_id"].startswith("req_")
    return response, told["error"]["type"]


@pytest.mark.parametrize("code", Code, ids=lambda code: code.name)
async def test_every_failure_has_its_type(url: str, code: Code) -> None:
    response, kind = await send(
        url, request("POST", "/v1/messages", json.dumps(code.name).encode(), **{"x-api-key": "good"})
    )
    assert (response.status, kind) == STATUSES[code]
    assert response.headers["retry-after"] == "2"
    assert response.json()["error"]["message"] == "No."


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_what_no_handler_sees_is_in_the_same_shape(url: str, prefix: str) -> None:
    path = prefix + "/messages"
    good = {"x-api-key": "good"}
    for data, status, kind in [
        (request("POST", path, b'""'), 401, "authentication_error"),
        (request("POST", path, b'""', **good), 500, "api_error"),
        (request("POST", path, b'"' + b"a" * 1000 + b'"', **good), 413, "request_too_large"),
        (request("POST", path, b"{}", **good, **{"Content-Encoding": "gzip"}), 400, "invalid_request_error"),
        (request("POST", path, b"{}", **good, **{"Content-Encoding": "compress"}), 400, "invalid_request_error"),
        (request("POST", path, b"{}", **good, Expect="the worst"), 417, "invalid_request_error"),
        (request("DELETE", path, b"", **good), 405, "invalid_request_error"),
    ]:
        response, told = await send(url, data)
        assert (response.status, told) == (status, kind)
