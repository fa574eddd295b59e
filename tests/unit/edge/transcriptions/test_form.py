"""Forms are read as browsers and SDKs send them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.common.errors import MeshError
from services.edge.http.bodies.memory import BodyMemory
from services.edge.http.errors import error_response
from services.edge.transcriptions.form import read_form

BOUNDARY = "boundary"
Post = Callable[..., Awaitable[dict[str, Any]]]


def part(name: str, value: bytes, headers: str = "") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    return f"--{BOUNDARY}\r\n{disposition}{headers}\r\n\r\n".encode() + value + b"\r\n"


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
        # The reader gets what has come so far.
        await asyncio.sleep(0)


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """Sends the parts of a form and returns what was read, or the error."""

    async def read(request: web.Request) -> web.Response:
        try:
            with BodyMemory(total=10_000, per_account=10_000).share("account") as share:
                noted = hashlib.sha256()
                form = await read_form(request, 1000, share, noted.update)
        except MeshError as error:
            return error_response(error)
        headers = {"Digest": noted.hexdigest()}
        return web.Response(body=msgspec.json.encode({"fields": form.fields, "file": form.file}), headers=headers)

    app = web.Application()
    app.router.add_post("/", read)
    async with TestClient(TestServer(app)) as client:

        async def post(parts: bytes, piece: int = 0) -> dict[str, Any]:
            headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            body = parts + f"--{BOUNDARY}--\r\n".encode()
            sent = in_pieces(body, piece) if piece else body
            async with client.post("/", data=sent, headers=headers) as response:
                answer: dict[str, Any] = msgspec.json.decode(await response.read())
                # All of the body is noted once, however often the reader puts some of it back.
                assert response.status != 200 or response.headers["Digest"] == hashlib.sha256(body).hexdigest()
                return answer

        yield post


@pytest.mark.parametrize(
    "header",
    [
        "Content-Transfer-Encoding: binary",
        "Content-Transfer-Encoding: 8bit",
        "content-transfer-encoding: 7BIT",
        "Content-Encoding: identity",
    ],
)
async def test_encodings_that_change_nothing_pass(post: Post, header: str) -> None:
    sound = bytes(range(256))
    parts = part("file", sound, f'; filename="a.mp3"\r\n{header}') + part("model", b"m", f"\r\n{header}")
    answer = await post(parts)
    assert answer["fields"] == {"model": ["m"]}
    assert msgspec.convert(answer["file"], bytes) == sound


@pytest.mark.parametrize("header", ["Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable",
                                    "Content-Encoding: gzip"])  # fmt: skip
async def test_other_encodings_are_refused(post: Post, header: str) -> None:
    answer = await post(part("file", b"eA==", f"\r\n{header}"))
    assert answer["error"]["message"] == "The parts of the form must not be encoded. Send them as they are."


async def test_empty_fields_are_absent(post: Post) -> None:
    names = ("temperature", "response_format", "stream", "language", "prompt", "timestamp_granularities[]", "include[]")
    answer = await post(part("model", b"m") + b"".join(part(name, b"") for name in names) + part("language", b"en"))
    assert answer == {"fields": {"model": ["m"], "language": ["en"]}, "file": None}


@pytest.mark.parametrize("piece", [1, 2, 7, 64, 500])
@pytest.mark.parametrize("sound", [b"", b"\r\n", b"\r\n--", b"\r\n--boundar" * 20, bytes(range(256)) * 3], ids=len)
async def test_forms_are_read_and_noted_in_pieces_of_any_size(post: Post, sound: bytes, piece: int) -> None:
    parts = (
        b"preamble\r\n" + part("file", sound, '; filename="a.mp3"') + part("model", b"m") + part("prompt", b"\r\n" * 9)
    )
    answer = await post(parts, piece)
    assert msgspec.convert(answer["file"], bytes) == sound
    assert answer["fields"] == {"model": ["m"], "prompt": ["\r\n" * 9]}


async def test_an_empty_file_is_one(post: Post) -> None:
    assert (await post(part("file", b"", '; filename="a.mp3"')))["file"] == ""


async def test_lines_beside_the_content_have_a_bound(post: Post) -> None:
    few, many = b"\r\n" * 1000, b"\r\n" * 1100
    assert (await post(few + part("model", b"m")))["fields"] == {"model": ["m"]}
    assert "is not valid multipart/form-data" in (await post(many + part("model", b"m")))["error"]["message"]


async def test_a_form_takes_memory_as_other_bodies_do(post: Post) -> None:
    answer = await post(b"".join(part(name, b"x" * 900) for name in "abcdefghijklmn"))
    assert answer["error"]["code"] == "overloaded"
