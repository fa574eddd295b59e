"""Bodies are read within their bounds, and what is too much is refused before anything is made of it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.common.errors import MeshError
from services.common.limits.json_counts import JsonCounts
from services.edge.http.bodies import incoming
from services.edge.http.bodies.incoming import BodyLimits, BodyTooLargeError, IncomingBody
from services.edge.http.bodies.memory import BodyMemory
from services.edge.http.errors import body_too_large, error_response, respond
from tests.support.costly_bodies import fill, image

KIB = 1024
TEXT, WHOLE, MEMORY = 200 * KIB, 600 * KIB, 500 * KIB
Post = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """Sends a body and returns the status with the error, or with the number of bytes that were read."""
    memory = BodyMemory(total=10 * MEMORY, per_account=MEMORY)

    async def read(request: web.Request) -> web.Response:
        try:
            with memory.share("account") as share:
                body = IncomingBody(request, BodyLimits(TEXT, WHOLE), share, digest=True)
                content = await body.read(images=request.path == "/images")
                assert share.held == len(content)
                # What a receipt says of it is about exactly what was read, decompressed.
                assert body.digest is not None
                assert body.digest.digest() == hashlib.sha256(content).digest()
            return web.json_response({"read": len(content)})
        except MeshError as error:
            return error_response(error)
        except BodyTooLargeError as error:
            return respond(body_too_large(error.limit, beside_images=error.beside_images))

    app = web.Application()
    app.router.add_post("/{path}", read)
    async with TestClient(TestServer(app)) as client:

        async def post(content: Any, path: str = "/text", **headers: str) -> tuple[int, Any]:
            async with client.post(path, data=content, headers=headers) as response:
                answer = await response.json()
            assert memory.held == 0
            return response.status, answer.get("read") or answer["error"]["message"]

        yield post


async def pieces(count: int, size: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


async def test_a_body_of_any_form_is_read(post: Post) -> None:
    for content, size in [(b"{}", 2), (b" " * TEXT, TEXT), (pieces(100, 10), 1000)]:
        assert await post(content) == (200, size)
    assert await post(gzip.compress(b" " * TEXT), **{"Content-Encoding": "gzip"}) == (200, TEXT)


@pytest.mark.parametrize("encoded", [False, True])
async def test_text_has_a_limit_of_its_own(post: Post, encoded: bool) -> None:
    content = b" " * (TEXT + 1)
    headers = {"Content-Encoding": "gzip"} if encoded else {}
    status, message = await post(gzip.compress(content) if encoded else content, **headers)
    assert (status, message) == (413, f"The request body is larger than the limit of {TEXT} bytes. Send less.")
    status, message = await post(b'"' + b"a" * TEXT + b'"', "/images")
    assert status == 413
    assert message == f"The request body has more than {TEXT} bytes beside its images. Send less text."


async def test_images_may_be_larger_but_nothing_that_only_looks_like_one(post: Post) -> None:
    content = image(400 * KIB).content
    assert await post(content, "/images") == (200, len(content))
    for other in [
        content.replace(b'"url":', b'"text":'),
        content.replace(b"data:", b"date:"),
        content.replace(b"AAAA", b"AA\\u0041"),
        content.replace(b"AAAA", "AAé".encode()),
    ]:
        assert (await post(other, "/images"))[0] == 413
    # As Anthropic's clients send them.
    bare = content.replace(b'"url":', b'"data":').replace(b"data:image/png;base64,", b"")
    assert await post(bare, "/images") == (200, len(bare))
    assert (await post(bare.replace(b"AAAA", b"A A."), "/images"))[0] == 413
    assert (await post(bare.replace(b"AAAA", b"AA\\u0041"), "/images"))[0] == 413
    assert (await post(image(WHOLE).content, "/images"))[0] == 413


async def test_many_values_are_refused_by_their_number(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    most = JsonCounts(containers=100, values=100_000, members=100, fractions=10)
    monkeypatch.setattr("services.edge.http.bodies.json_bounds.MOST_COUNTS", most)
    for item, told in [("[]", "100 objects and lists"), ("7", "100000 values"), ("0.5", "10 decimal points")]:
        status, message = await post(b"[" + fill(item, TEXT - 2) + b"]")
        assert status == 400
        assert message.startswith(f"The request body has more than {told}")
        # What is small costs nothing.
        small = b"[" + fill(item, 60 * KIB) + b"]"
        assert await post(small) == (200, len(small))


async def test_a_body_in_crumbs_is_refused(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MOST_CHUNKS", 100)
    status, message = await post(pieces(200, 1))
    assert (status, message) == (
        400,
        "The request body comes in more than 100 chunks. Send fewer and larger ones.",
    )
    assert await post(pieces(90, 1)) == (200, 90)


async def test_a_body_without_room_is_asked_for_later(post: Post) -> None:
    for content in (image(MEMORY).content, pieces(60, 10 * KIB)):
        status, message = await post(content, "/images")
        assert status == 503
        assert "are too large together" in message
