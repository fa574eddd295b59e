"""A receipt is about exactly the bytes that are sent, comments among them; a client that has left gets none."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from msgspec import UNSET

from services.common.receipts.claims import COMMENT, ReceiptClaims
from services.common.receipts.finding import covered
from services.edge.http.event_stream import EventStream, in_lines
from services.edge.receipts.issuing import OpenReceipt, Purchase, ReceiptIssuer
from tests.support.deadlines import within

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
PURCHASE = Purchase(request_id="req_1", model="m", unit_price=4, quantity=3, request_sha256="r")


@dataclass
class Desk:
    """Signs nothing, and keeps what it was to sign."""

    signed: list[ReceiptClaims] = field(default_factory=list)

    def begin(self) -> OpenReceipt:
        return ReceiptIssuer(self._sign, b"", lambda: 12.9).begin(PURCHASE)

    def _sign(self, claims: ReceiptClaims) -> str:
        self.signed.append(claims)
        return "token"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def ask() -> AsyncIterator[Callable[[Serve], Awaitable[asyncio.StreamReader]]]:
    """Serves one handler and returns what it sends to a client of HTTP/1.0, which gets no chunks."""
    runners: list[web.AppRunner] = []
    writers: list[asyncio.StreamWriter] = []

    async def ask(serve: Serve) -> asyncio.StreamReader:
        app = web.Application()
        app.router.add_get("/", serve)
        runner = web.AppRunner(app, handler_cancellation=True)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writers.append(writer)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        return reader

    yield ask
    for writer in writers:
        writer.close()
    for runner in runners:
        await runner.cleanup()


async def test_every_byte_of_a_stream_counts(
    desk: Desk, ask: Callable[[Serve], Awaitable[asyncio.StreamReader]]
) -> None:
    silent = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        receipt = desk.begin()
        stream = EventStream(request, {}, max_unread_bytes=10_000, keep_alive_seconds=0.02, note=receipt.take)
        await stream.open("data: \u2028one\n\n".encode())
        await silent.wait()
        stream.write("data: two\u2029\n\n".encode())
        stream.write(b"")
        receipt.settle("completed", 12, 3, 4)
        last = in_lines("data: end\u0085\n\n".encode())
        await stream.close(last + receipt.comment(last))
        return stream.response

    reader = await ask(serve)
    async with within(20):
        body = await reader.readuntil(b": keep-alive\n\n: keep-alive\n\n")
        silent.set()
        body += await reader.read()
    assert body.endswith(b"data: end\\u0085\n\n" + COMMENT + b"token\n\n")
    (claims,) = desk.signed
    assert claims.answer_sha256 == hashlib.sha256(covered(body)).hexdigest()
    assert (claims.request_id, claims.model, claims.unit_price, claims.quantity) == ("req_1", "m", 4, 3)
    assert (claims.iat, claims.charged, claims.outcome, claims.completion_tokens) == (12, 12, "completed", 4)


async def test_a_client_that_has_left_gets_no_receipt(
    desk: Desk, ask: Callable[[Serve], Awaitable[asyncio.StreamReader]]
) -> None:
    left = asyncio.Event()

    async def serve(request: web.Request) -> web.StreamResponse:
        receipt = desk.begin()
        stream = EventStream(request, {}, max_unread_bytes=10_000, keep_alive_seconds=10, note=receipt.take)
        await stream.open(b"data: one\n\n")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.set()
            raise
        return stream.response

    reader = await ask(serve)
    await reader.readuntil(b"\n\n")
    reader._transport.close()  # type: ignore[attr-defined] # the test has no other hold of the connection
    async with within(20):
        await left.wait()
    assert desk.signed == []


def test_an_answer_has_failed_until_it_is_settled(desk: Desk) -> None:
    receipt = desk.begin()
    receipt.token()
    receipt.settle("completed", 12, 3, 4)
    receipt.token()
    # A charge that is undone.
    receipt.fail()
    receipt.token()
    assert [(each.outcome, each.charged, each.prompt_tokens) for each in desk.signed] == [
        ("failed", 0, 0),
        ("completed", 12, 3),
        ("failed", 0, 0),
    ]


def test_a_transaction_is_named_once_it_is_known(desk: Desk) -> None:
    receipt = desk.begin()
    receipt.token()
    receipt.transaction = "0xab"
    receipt.token()
    assert [each.transaction for each in desk.signed] == [UNSET, "0xab"]


def test_a_whole_answer_has_it_in_a_header(desk: Desk) -> None:
    assert desk.begin().header(b"body") == {"x-tiermesh-receipt": "token"}
    assert desk.signed[0].answer_sha256 == hashlib.sha256(b"body").hexdigest()
