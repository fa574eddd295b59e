"""Clients that are too slow are cut off within the configured time; those that wait for a slow answer are not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator

import httpx2
import openai
import pytest

from services.common.receipts.finding import covered
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched, within
from tests.support.mesh import LocalMesh
from tests.support.raw_http import RawConnection, connect, request
from tests.support.waiting import eventually

SECONDS = 0.5
SETTINGS = {
    "TIERMESH_EDGE_HEAD_SECONDS": str(SECONDS),
    "TIERMESH_EDGE_BODY_SECONDS": str(SECONDS),
    "TIERMESH_EDGE_UNREAD_SECONDS": str(SECONDS),
    "TIERMESH_EDGE_KEEP_ALIVE_SECONDS": "0.1",
    "TIERMESH_EDGE_CORS_ORIGINS": "https://one.example.com,https://two.example.com",
    # The prompt below takes more than the time limits of the edge.
    "TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": "10",
}
PROMPT = "Tell me all about the old bridge over the river and its troll"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("slow"), environ=SETTINGS) as mesh:
        yield mesh


def chat(prompt: str, key: str, *, stream: bool = False) -> bytes:
    body = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": prompt}], "max_tokens": 2}
    content = json.dumps(body | {"stream": stream}).encode()
    return request("POST", "/v1/chat/completions", content, Authorization=f"Bearer {key}")


async def test_comments_keep_a_slow_first_token_alive(mesh: LocalMesh) -> None:
    async with connect(mesh.base_url) as connection:
        await connection.send(chat(PROMPT, mesh.unlimited_key, stream=True))
        body = (await connection.response()).body
    events = covered(body).split(b"\n\n")
    assert events[:3] == [b": keep-alive"] * 3
    assert events.index(b"data: [DONE]") == len(events) - 2
    told = [event for event in events if event != b": keep-alive"]
    assert all(event.startswith(b"data: ") for event in told[:-1])


def test_sdks_do_not_see_the_comments(mesh: LocalMesh) -> None:
    client = openai.OpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0)
    stream = client.chat.completions.create(
        model="tiermesh-pro", messages=[{"role": "user", "content": PROMPT}], max_tokens=2, stream=True
    )
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"


async def test_an_answer_may_take_longer_than_a_request(mesh: LocalMesh) -> None:
    content = chat(PROMPT, mesh.unlimited_key)
    began = time.monotonic()
    async with connect(mesh.base_url) as connection:
        # In two pieces, so that the time limit of the body begins to run.
        await connection.send(content[:-10])
        await asyncio.sleep(SECONDS / 5)
        await connection.send(content[-10:])
        assert (await connection.response()).status == 200
    assert time.monotonic() - began > 2 * SECONDS


async def test_who_leaves_in_the_middle_of_a_pipeline_pays_for_nothing_unanswered(mesh: LocalMesh) -> None:
    account = FundedAccount(mesh)
    key = account.new_key()["api_key"]
    async with connect(mesh.base_url) as connection:
        await connection.send(chat("Hi", key) + 2 * chat(PROMPT, key))
        assert (await connection.response()).status == 200
    await eventually(lambda: mesh.command_now("balance", account.account)["held"] == 0)
    # The first is paid for; the second had not begun to answer, and the third was never looked at.
    assert mesh.command_now("balance", account.account)["available"] == 990
    usage = httpx2.get(mesh.base_url + "/usage", headers={"Authorization": f"Bearer {key}"}).json()
    assert usage["total"]["requests"] <= 2
    assert mesh.command_now("ledger", "audit")["violations"] == []


async def drip(data: bytes, mesh: LocalMesh) -> tuple[bytes, float]:
    """Sends a byte every 20 ms; returns what came back when the server had enough, and after how many seconds."""
    began = time.monotonic()
    async with connect(mesh.base_url) as connection:

        async def send() -> None:
            with contextlib.suppress(ConnectionError):
                for byte in data:
                    await connection.send(bytes([byte]))
                    await asyncio.sleep(0.02)

        sending = asyncio.create_task(send())
        try:
            head = b""
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                async with within(20):
                    head = await connection.reader.readuntil(b"}}")
        finally:
            sending.cancel()
    return head, time.monotonic() - began


async def test_a_head_that_drips_is_cut_off(mesh: LocalMesh) -> None:
    answer, seconds = await drip(b"GET /v1/models HTTP/1.1\r\n" + b"X-Slow: loris\r\n" * 1000, mesh)
    assert answer == b""
    assert SECONDS <= seconds < stretched(6 * SECONDS)


async def test_a_body_that_drips_is_408(mesh: LocalMesh) -> None:
    head = request("POST", "/v1/chat/completions", Authorization=f"Bearer {mesh.unlimited_key}", Content_Length="5000")
    async with connect(mesh.base_url) as connection:
        await connection.send(head + b"{")
        began = time.monotonic()
        answer = await connection.response()
    assert (answer.status, answer.json()["error"]["code"]) == (408, "request_timeout")
    assert time.monotonic() - began < stretched(6 * SECONDS)


async def test_a_form_whose_body_does_not_end_is_408(mesh: LocalMesh) -> None:
    """Its fields are complete, but the work must not begin: the time limit of the body would end it, at a price."""
    part = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    form = part % (b"model", b"tiermesh-transcribe") + part % (b"file", bytes(200_000)) + b"--b--\r\n\r\n\r\n"
    head = request("POST", "/v1/audio/transcriptions", Authorization=f"Bearer {mesh.unlimited_key}",
                   Content_Type="multipart/form-data; boundary=b", Content_Length=str(len(form) + 100))  # fmt: skip
    async with connect(mesh.base_url) as connection:
        await connection.send(head + form)
        answer = await connection.response()
    assert (answer.status, answer.json()["error"]["code"]) == (408, "request_timeout")


async def keep_writing(connection: RawConnection) -> None:
    async with within(30):
        while True:
            await connection.send(b" ")
            await asyncio.sleep(0.05)


async def test_who_does_not_read_is_cut_off(mesh: LocalMesh) -> None:
    # The answers to thousands of pipelined requests are more than the kernel takes for a client that does not read.
    one = request("GET", "/v1/models", Authorization=f"Bearer {mesh.unlimited_key}")
    async with connect(mesh.base_url, receive_buffer=1024) as connection:
        connection.writer.write(one * 20_000)
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            await keep_writing(connection)
        assert time.monotonic() - began >= SECONDS
    assert httpx2.get(mesh.base_url + "/models").status_code == 401


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://two.example.com", True), ("https://evil.example.com", False)]
)
def test_an_operator_can_choose_the_pages(mesh: LocalMesh, origin: str, *, allowed: bool) -> None:
    response = httpx2.get(mesh.base_url + "/models", headers={"Origin": origin})
    assert response.headers["vary"] == "Origin"
    assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)
