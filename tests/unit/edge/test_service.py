"""Whatever fails once an answer has begun, no second one is written after it, and nobody takes the first for whole."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from aiohttp import web

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.receipts.claims import ReceiptClaims
from services.common.receipts.finding import covered
from services.common.text_steps import AnyReply
from services.edge.authentication import Authenticator, Principal, Verdict
from services.edge.context import RequestContext
from services.edge.http.bodies.arriving import SlowBodyError
from services.edge.http.errors import error_body
from services.edge.http.event_stream import EventStream
from services.edge.http.gathering import Gathering
from services.edge.http.server import HttpServer
from services.edge.paid.delivery import Delivery, deliver_stream
from services.edge.paid.hold import Outcome
from services.edge.paid.routing import Assignment
from services.edge.receipts.issuing import Purchase, ReceiptIssuer
from services.edge.route import AnyRoute, Handler, Route
from services.edge.service import EdgeService
from services.edge.settings import EdgeSettings
from services.edge.speech.sending import send_audio
from tests.support.raw_http import connect, request
from tests.support.waiting import eventually
from tests.unit.edge.backend import MODELS, Backend
from tiermesh.billing.v1 import billing_pb2
from tiermesh.runner.v1 import runner_pb2

FAILURES = [RuntimeError("defect"), MeshError(Code.UNAVAILABLE, "away"), SlowBodyError()]
PURCHASE = Purchase(request_id="req_1", model="m", unit_price=4, quantity=1, request_sha256="r")
COMPLETED, FAILED = billing_pb2.OUTCOME_COMPLETED, billing_pb2.OUTCOME_FAILED


class Welcome:
    """Lets everybody in."""

    async def authenticate(self, *_: Any) -> Verdict:
        return Verdict(Principal("key", "account"), None)


def service(routes: list[AnyRoute]) -> EdgeService:
    return EdgeService(routes, cast("Authenticator", Welcome()), EdgeSettings(), monotonic=time.monotonic)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[str]]]:
    """Serves chats by one handler and returns the base URL."""
    servers: list[HttpServer] = []

    async def serve(handler: Handler) -> str:
        route = Route(method="POST", path="/chat/completions", name="chat", scope="chat", handler=handler)
        server = HttpServer("127.0.0.1:0", service([route]).application(), head_seconds=10, unread_seconds=60)
        servers.append(server)
        await server.start()
        return f"http://127.0.0.1:{server.port}"

    yield serve
    for server in servers:
        await server.stop(drain_seconds=1)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
async def test_what_fails_in_the_middle_of_an_answer_breaks_it_off(
    serve: Callable[[Handler], Awaitable[str]], failure: Exception
) -> None:
    async def failing(asked: web.Request, *_: object) -> web.StreamResponse:
        stream = EventStream(asked, {}, max_unread_bytes=1024, keep_alive_seconds=15)
        await stream.open(b"data: one\n\n")
        stream.write(b"data: two\n\n")
        raise failure

    async with connect(await serve(failing)) as connection:
        await connection.send(request("POST", "/v1/chat/completions"))
        head, _, body = (await connection.until_closed()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    # Not even the chunk that ends a body.
    assert body == b"b\r\ndata: one\n\n\r\nb\r\ndata: two\n\n\r\n"


@pytest.mark.parametrize(("failure", "status"), list(zip(FAILURES, [500, 503, 408], strict=True)))
async def test_what_fails_before_an_answer_is_one(
    serve: Callable[[Handler], Awaitable[str]], failure: Exception, status: int
) -> None:
    async def failing(*_: object) -> web.StreamResponse:
        raise failure

    async with connect(await serve(failing)) as connection:
        for _ in range(2):
            await connection.send(request("POST", "/v1/chat/completions"))
            answer = await connection.response()
            assert answer.status == status
            assert answer.json()["error"]["message"]


class Runner(Backend):
    """Answers in three steps, each in a turn of the event loop."""

    pause = 0.01
    last = runner_pb2.GenerateReply(finish_reason=runner_pb2.FINISH_REASON_STOP)

    def start(self, _call: object, sink: Callable[[Any], None], _timeout: float) -> int:
        speaks = self.model.kind == "speech"
        replies = [
            runner_pb2.GenerateReply(audio=text.encode()) if speaks else runner_pb2.GenerateReply(text=text)
            for text in ("one", "two")
        ]
        replies.append(self.last)

        def send() -> None:
            sink(replies.pop(0))
            if replies:
                asyncio.get_running_loop().call_later(self.pause, send)

        asyncio.get_running_loop().call_soon(send)
        return 1


class Renderer:
    """Writes text or audio as events; fails at one of the steps, or at the end."""

    content_type = "text/event-stream"
    has_comments = True

    def __init__(self, fails_at: str) -> None:
        self._fails_at = fails_at

    def open(self) -> bytes:
        return b""

    def step(self, _choice: int, reply: AnyReply) -> bytes:
        return self._write(reply.text)

    def piece(self, audio: bytes) -> bytes:
        return self._write(audio.decode())

    def end(self, *_: object) -> bytes:
        return self._write("end")

    def error(self, error: MeshError) -> bytes:
        return b"data: " + error_body(error) + b"\n\n"

    def _write(self, text: str) -> bytes:
        if text == self._fails_at:
            raise ValueError(text)
        return f"data: {text}\n\n".encode() if text else b""


def streaming(
    backend: Backend,
    send: Callable[[Delivery], Awaitable[web.StreamResponse]],
    keep_alive_seconds: float = 10,
    gathering: Gathering | None = None,
    issuer: ReceiptIssuer | None = None,
) -> Handler:
    """Returns a handler that sends the answer of the backend."""

    async def serve(asked: web.Request, context: RequestContext, _principal: object) -> web.StreamResponse:
        async with backend.charge(context) as charge:
            charge.start([runner_pb2.GenerateCall()], Assignment("runner", "address"), None)
            reply = Delivery(
                request=asked,
                headers={},
                model=backend.model,
                charge=charge,
                choices=1,
                elapsed=lambda: 0.0,
                prompts=1,
                max_unread_bytes=1024 * 1024,
                keep_alive_seconds=keep_alive_seconds,
                gathering=gathering,
                open_receipt=issuer.begin(PURCHASE) if issuer is not None else None,
            )
            return await send(reply)

    return serve


def text(fails_at: str) -> Callable[[Delivery], Awaitable[web.StreamResponse]]:
    return lambda reply: deliver_stream(reply, Renderer(fails_at))


def audio(fails_at: str) -> Callable[[Delivery], Awaitable[web.StreamResponse]]:
    return lambda reply: send_audio(reply, Renderer(fails_at))


@pytest.mark.parametrize(
    ("model", "send", "seen", "outcomes"),
    [
        (MODELS["chat"], text("two"), 1, [FAILED]),
        (MODELS["chat"], text("end"), 2, [COMPLETED, FAILED]),
        (MODELS["speech"], audio("two"), 1, [FAILED]),
    ],
    ids=["text", "end of text", "audio"],
)
async def test_a_stream_that_cannot_be_written_says_so_breaks_off_and_is_free(
    serve: Callable[[Handler], Awaitable[str]],
    model: Model,
    send: Callable[[Delivery], Awaitable[web.StreamResponse]],
    seen: int,
    outcomes: list[Outcome],
) -> None:
    backend = Runner(model)
    async with connect(await serve(streaming(backend, send))) as connection:
        await connection.send(request("POST", "/v1/chat/completions"))
        head, _, body = (await connection.until_closed()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    events = [line for line in body.split(b"\r\n") if line.startswith(b"data: ")]
    assert events[:-1] == [b"data: one\n\n", b"data: two\n\n"][:seen]
    assert b'"code":"internal_error"' in events[-1]
    # Nothing comes after it, not even the chunk that ends a body.
    assert body.endswith(events[-1] + b"\r\n")
    # A charge that was made for an end that is never sent is undone.
    await eventually(lambda: backend.outcomes == outcomes)


async def test_a_stream_that_cannot_be_begun_is_an_error_and_free(
    serve: Callable[[Handler], Awaitable[str]],
) -> None:
    backend = Runner()
    async with connect(await serve(streaming(backend, text("one")))) as connection:
        await connection.send(request("POST", "/v1/chat/completions"))
        assert (await connection.response()).status == 500
    await eventually(lambda: backend.outcomes == [FAILED])


async def test_a_stream_that_is_written_ends_and_is_charged(serve: Callable[[Handler], Awaitable[str]]) -> None:
    backend = Runner()
    async with connect(await serve(streaming(backend, text("nothing")))) as connection:
        await connection.send(request("POST", "/v1/chat/completions"))
        assert (await connection.response()).body == b"data: one\n\ndata: two\n\ndata: end\n\n"
    assert backend.outcomes == [COMPLETED]


class FailingRunner(Runner):
    """Fails after two steps, of the request itself."""

    last = runner_pb2.GenerateReply(error=MeshError(Code.INVALID_REQUEST, "It fails.").to_proto())


@pytest.mark.parametrize(
    ("backend", "outcome", "end"),
    [(Runner, "completed", b"data: end\n\n"), (FailingRunner, "failed", b'"message":"It fails."')],
)
async def test_a_receipt_is_about_what_waited_until_the_end(
    serve: Callable[[Handler], Awaitable[str]], backend: type[Runner], outcome: str, end: bytes
) -> None:
    signed: list[ReceiptClaims] = []

    def sign(claims: ReceiptClaims) -> str:
        signed.append(claims)
        return "token"

    gathering = Gathering()
    # As if the loop were behind until the end, and for longer.
    gathering.waits = True
    handler = streaming(backend(), text("nothing"), gathering=gathering, issuer=ReceiptIssuer(sign, b"", lambda: 12.9))
    async with connect(await serve(handler)) as connection:
        await connection.send(request("POST", "/v1/chat/completions"))
        body = (await connection.response()).body
    assert body.startswith(b"data: one\n\ndata: two\n\n")
    assert end in body
    (claims,) = signed
    assert (claims.outcome, claims.answer_sha256) == (outcome, hashlib.sha256(covered(body)).hexdigest())


class SlowRunner(Runner):
    """Takes long for each step but the first, and so does billing."""

    pause = 0.5

    async def request(self, call: billing_pb2.TransactCall, timeout: float) -> billing_pb2.TransactReply:
        await asyncio.sleep(self.pause)
        return await super().request(call, timeout)


class SlowToBegin(SlowRunner):
    """Takes long for the first step too."""

    def start(self, call: object, sink: Callable[[Any], None], timeout: float) -> int:
        asyncio.get_running_loop().call_later(self.pause, super().start, call, sink, timeout)
        return 1


async def pinged(reply: Delivery) -> web.StreamResponse:
    return await deliver_stream(reply, Renderer("nothing"), keep_alive=b"event: ping\n\n")


@pytest.mark.parametrize(
    ("model", "send", "comment"),
    [
        (MODELS["chat"], text("nothing"), ": keep-alive\n\n"),
        (MODELS["chat"], pinged, "event: ping\n\n"),
        (MODELS["speech"], audio("nothing"), ": keep-alive\n\n"),
    ],
    ids=["text", "text with an event", "audio"],
)
@pytest.mark.parametrize("backend", [SlowRunner, SlowToBegin])
async def test_a_comment_breaks_every_silence(
    serve: Callable[[Handler], Awaitable[str]],
    backend: type[SlowRunner],
    model: Model,
    send: Callable[[Delivery], Awaitable[web.StreamResponse]],
    comment: str,
) -> None:
    slow = backend(model)
    async with connect(await serve(streaming(slow, send, keep_alive_seconds=0.2))) as connection:
        for _ in range(2):
            await connection.send(request("POST", "/v1/chat/completions"))
            body = (await connection.response()).body.decode()
            comments = [silence.count(comment) for silence in re.split(r"data: \w+\n\n", body)]
            assert body.replace(comment, "") == "data: one\n\ndata: two\n\ndata: end\n\n"
            # Before the first step, between it and the second, before the charge is made, and after the end.
            assert [bool(count) for count in comments] == [backend is SlowToBegin, True, True, False]
    assert slow.outcomes == [COMPLETED] * 2


async def nothing(*_: object) -> web.StreamResponse:
    return web.Response()


def test_a_method_of_a_path_has_one_route() -> None:
    route = Route(method="GET", path="/models", name="models", scope="models", handler=nothing)
    other = Route(method="POST", path="/models", name="models", scope="models", handler=nothing)
    service([route, other]).application()
    with pytest.raises(ValueError, match="two routes for GET /models"):
        service([route, other, route]).application()
